"""What was acknowledged is there after the broker's end, be it SIGTERM or kill -9."""

import os

import pytest
from test_sessions import durable

ENDS = [
    "stop",
    pytest.param("kill", marks=pytest.mark.bellbird),
]
ending = pytest.mark.parametrize("end", ENDS)


def restart(broker, end):
    """Ends the broker in the named way and starts it again on the same port."""
    getattr(broker, end)()
    broker.start()


@ending
def test_sessions_and_queues_survive(broker, client, dial, level, end):
    client("s", level, **durable(level)).subscribe(("a/+", 1), ("b", 1))
    publisher = client("p", level)
    for number in range(100):
        publisher.publish(f"a/{number}", b"%d" % number)
    restart(broker, end)
    subscriber = dial(level)
    assert subscriber.connect("s", **durable(level)).session_present
    for number in range(100):
        assert subscriber.expect_message(b"%d" % number).topic == f"a/{number}"
    client("p", level).publish("b", b"subscription still works")
    subscriber.expect_message(b"subscription still works")


@ending
def test_retained_messages_survive(broker, client, level, end):
    publisher = client("p", level)
    for number in range(20):
        publisher.publish(f"r/{number}", b"old", retain=True)
        publisher.publish(f"r/{number}", b"%d" % number, retain=True)
    for number in range(0, 20, 2):
        publisher.publish(f"r/{number}", b"", retain=True)
    restart(broker, end)
    subscriber = client("s", level)
    subscriber.subscribe(("r/#", 1))
    received = [subscriber.expect_message() for _ in range(10)]
    assert all(message.retain for message in received)
    assert sorted(int(message.payload) for message in received) == list(range(1, 20, 2))
    client("p", level).publish("r/end", b"live")
    assert not subscriber.expect_message(b"live").retain


@ending
def test_unacknowledged_messages_are_sent_again(broker, client, level, end):
    """Those in flight at the end come again, before the queued ones.

    Not necessarily with the same ids and with DUP: what was sent at QoS 1 is not on the disk.
    """
    options = durable(level, receive_maximum=4)
    subscriber, publisher = client("s", level, **options), client("p", level)
    subscriber.subscribe(("t", 1))
    for number in range(12):
        publisher.publish("t", b"%d" % number)
    for number in range(4):
        subscriber.expect_message(b"%d" % number, ack=False)
    restart(broker, end)
    subscriber = client("s", level, **options)
    received = [subscriber.expect_message() for _ in range(12)]
    assert [int(message.payload) for message in received] == list(range(12))


@ending
def test_unsubscribed_and_ended_sessions_stay_so(broker, client, dial, level, end):
    first = client("left", level, **durable(level))
    first.subscribe(("t", 1), ("kept", 1))
    first.unsubscribe("t")
    client("ended", level, **durable(level)).subscribe(("t", 1))
    client("ended", level, clean=True)
    restart(broker, end)
    publisher = client("p", level)
    publisher.publish("t", b"unwanted")
    publisher.publish("kept", b"wanted")
    client("left", level, **durable(level)).expect_message(b"wanted")
    assert not dial(level).connect("ended", **durable(level)).session_present


@ending
def test_acknowledged_messages_do_not_return(broker, client, level, end):
    """A subscriber's acknowledgement is recorded without wait, so only SIGTERM promises this."""
    subscriber, publisher = client("s", level, **durable(level)), client("p", level)
    subscriber.subscribe(("t", 1))
    for number in range(50):
        publisher.publish("t", b"%d" % number)
    for number in range(50):
        subscriber.expect_message(b"%d" % number)
    subscriber.ping()
    restart(broker, end)
    client("p", level).publish("t", b"fresh")
    subscriber = client("s", level, **durable(level))
    if end == "stop":
        subscriber.expect_message(b"fresh")
    else:
        while subscriber.expect_message().payload != b"fresh":
            pass


@ending
def test_many_restarts(broker, client, level, end):
    """Each life adds to the queue of the lives before."""
    client("s", level, **durable(level)).subscribe(("t", 1))
    for life in range(5):
        client("p", level).publish("t", b"%d" % life)
        restart(broker, end)
    subscriber = client("s", level, **durable(level))
    assert [int(subscriber.expect_message().payload) for _ in range(5)] == list(range(5))


@pytest.mark.bellbird
@ending
def test_the_number_of_shards_may_change(broker, client, dial, level, end):
    """Nothing on disk mentions a shard."""
    names = [f"s{number}" for number in range(8)]
    for name in names:
        client(name, level, **durable(level)).subscribe(("t", 1))
    client("p", level).publish("t", b"before")
    client("p", level).publish("r", b"retained", retain=True)
    getattr(broker, end)()
    broker.shards = 3 - broker.shards
    broker.start()
    for name in names:
        subscriber = dial(level)
        assert subscriber.connect(name, **durable(level)).session_present
        subscriber.expect_message(b"before")
        subscriber.subscribe(("r", 1))
        subscriber.expect_message(b"retained")


@pytest.mark.bellbird
def test_a_torn_tail_is_cut(broker, client, level):
    """Bytes of an unfinished write at the end of the newest file cost nothing that was acknowledged."""
    client("s", level, **durable(level)).subscribe(("t", 1))
    client("p", level).publish("t", b"stored")
    broker.kill()
    newest = max(
        (path for path in broker.directory.rglob("*") if path.is_file() and path.stat().st_size),
        key=lambda path: (path.stat().st_mtime_ns, path.name),
    )
    with newest.open("ab") as file:
        file.write(os.urandom(37))
    broker.start()
    subscriber = client("s", level, **durable(level))
    subscriber.expect_message(b"stored")
