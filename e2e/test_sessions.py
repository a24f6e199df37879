"""Sessions: presence, redelivery, take-over, keep alive."""

import time

import packets
import pytest
from packets import Kind, Property

SESSION_TAKEN_OVER = 0x8E
KEEP_ALIVE_TIMEOUT = 0x8D


def durable(level, receive_maximum=65535):
    """CONNECT options of a session that outlives its connection; 3.1.1 knows no maximum."""
    props = {Property.SESSION_EXPIRY: 3600, Property.RECEIVE_MAXIMUM: receive_maximum}
    return {"clean": False, "props": props if level == 5 else None}


def test_session_present(dial, level):
    """[MQTT-3.2.2-2], [MQTT-3.2.2-3]: true only when a stored session is resumed."""
    expected = [
        (durable(level), False),
        (durable(level), True),
        ({"clean": True}, False),
        (durable(level), False),
    ]
    for options, present in expected:
        connection = dial(level)
        assert connection.connect("s", **options).session_present == present
        connection.disconnect()


def test_a_clean_session_forgets_subscriptions_and_messages(client, level):
    first, publisher = client("s", level, **durable(level)), client("p", level)
    first.subscribe(("t", 1))
    first.disconnect()
    publisher.publish("t", b"queued")
    client("s", level, clean=True).disconnect()
    again = client("s", level, **durable(level))
    publisher.publish("t", b"unheard")
    again.subscribe(("t", 1))
    publisher.publish("t", b"heard")
    again.expect_message(b"heard")


def test_an_unsubscribed_session_queues_nothing(client, level):
    first, publisher = client("s", level, **durable(level)), client("p", level)
    first.subscribe(("left", 1), ("kept", 1))
    first.unsubscribe("left")
    first.disconnect()
    publisher.publish("left", b"unwanted")
    publisher.publish("kept", b"wanted")
    client("s", level, **durable(level)).expect_message(b"wanted")


def test_session_expires_with_its_connection(dial):
    """MQTT 5 without Session Expiry: Clean Start 0 finds nothing to resume."""
    for _ in range(2):
        connection = dial(5)
        assert not connection.connect("s", clean=False).session_present
        connection.subscribe(("t", 1))
        connection.disconnect()


def test_redelivery_keeps_id_and_order_and_sets_dup(client, dial, level):
    """[MQTT-4.4.0-1], [MQTT-3.3.1-1], [MQTT-4.6.0-1]."""
    subscriber, publisher = client("s", level, **durable(level)), client("p", level)
    subscriber.subscribe(("t", 1))
    for number in range(5):
        publisher.publish("t", b"%d" % number)
    first = [subscriber.expect_message(ack=number < 2) for number in range(5)]
    assert not any(message.dup for message in first)
    subscriber.ping()
    subscriber.close()

    subscriber = dial(level)
    assert subscriber.connect("s", **durable(level)).session_present
    second = [subscriber.expect_message() for _ in range(3)]
    assert all(message.dup for message in second)
    assert [(message.packet_id, message.payload) for message in second] == [
        (message.packet_id, message.payload) for message in first[2:]
    ]
    subscriber.ping()
    subscriber.close()

    subscriber = client("s", level, **durable(level))
    publisher.publish("t", b"fresh")
    assert not subscriber.expect_message(b"fresh").dup


def test_a_publish_sent_again_is_acknowledged_again(client, level):
    """A publisher that missed a PUBACK repeats with DUP; at QoS 1 both may be delivered."""
    subscriber, publisher = client("s", level), client("p", level)
    subscriber.subscribe(("t", 1))
    publisher.publish("t", b"once")
    publisher.send(packets.publish("t", b"once", level, qos=1, packet_id=1, dup=True))
    publisher.expect(Kind.PUBACK, packet_id=1)
    assert not subscriber.expect_message(b"once").dup
    assert not subscriber.expect_message(b"once").dup


def test_the_offline_queue_drains_in_order(client, level):
    """Also past any limit of messages in flight."""
    client("s", level, **durable(level)).subscribe(("t", 1))
    publisher = client("p", level)
    for number in range(300):
        publisher.publish("t", b"%d" % number)
    subscriber = client("s", level, **durable(level))
    assert [int(subscriber.expect_message().payload) for _ in range(300)] == list(range(300))


def test_receive_maximum_of_the_client(client):
    """[MQTT-3.3.4-9]: no more than two unacknowledged, also after a reconnect."""
    options = durable(5, receive_maximum=2)
    subscriber, publisher = client("s", 5, **options), client("p", 5)
    subscriber.subscribe(("t", 1))
    for number in range(6):
        publisher.publish("t", b"%d" % number)
    for _ in range(2):
        held = [subscriber.expect_message(b"%d" % number, ack=False) for number in range(2)]
        subscriber.ping()
        subscriber.close()
        subscriber = client("s", 5, **options)
    held = [subscriber.expect_message(ack=False) for _ in range(2)]
    for number in range(2, 6):
        subscriber.send(packets.puback(held.pop(0).packet_id))
        held.append(subscriber.expect_message(b"%d" % number, ack=False))


@pytest.mark.bellbird
def test_takeover_tells_the_old_connection(client):
    """[MQTT-3.1.4-3]."""
    old = client("s", 5)
    client("s", 5).ping()
    ending = old.expect_closed()
    assert ending and ending.code == SESSION_TAKEN_OVER


def test_takeover_ends_the_old_connection(client):
    """[MQTT-3.1.4-2] of 3.1.1, which has no words for it."""
    old = client("s", 4)
    client("s", 4).ping()
    assert old.expect_closed() is None


def test_takeover_keeps_inflight_and_queued_messages(client, dial, level):
    options = durable(level, receive_maximum=3)
    old, publisher = client("s", level, **options), client("p", level)
    old.subscribe(("t", 1))
    for number in range(30):
        publisher.publish("t", b"%d" % number)
    for number in range(3):
        old.expect_message(b"%d" % number, ack=False)
    new = dial(level)
    assert new.connect("s", **options).session_present
    received = [new.expect_message() for _ in range(30)]
    assert [int(message.payload) for message in received] == list(range(30))
    assert all(message.dup for message in received[:3])


def test_nothing_is_lost_in_takeovers_under_load(client, level):
    """A session wanders over connections while a publisher never stops."""
    subscriber, publisher = client("s", level, **durable(level)), client("p", level)
    subscriber.subscribe(("t", 1))
    seen = set()
    for burst in range(20):
        for number in range(burst * 20, burst * 20 + 20):
            publisher.send_publish("t", b"%d" % number)
        subscriber = client("s", level, **durable(level))
        seen.update(int(subscriber.expect_message().payload) for _ in range(5))
    for _ in range(400):
        publisher.expect(Kind.PUBACK)
    while len(seen) < 400:
        seen.add(int(subscriber.expect_message().payload))
    assert seen == set(range(400))


def test_a_dead_connection_loses_nothing(client, level):
    """Messages written to a socket whose reader is gone are redelivered."""
    subscriber, publisher = client("s", level, **durable(level)), client("p", level)
    subscriber.subscribe(("t", 1))
    for number in range(50):
        publisher.send_publish("t", b"%d" % number)
        if number == 25:
            subscriber.close()
    for _ in range(50):
        publisher.expect(Kind.PUBACK)
    subscriber = client("s", level, **durable(level))
    assert [int(subscriber.expect_message().payload) for _ in range(50)] == list(range(50))


@pytest.mark.bellbird
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "receiving"])
def test_keep_alive_ends_a_silent_connection(client, dial, level, busy):
    """[MQTT-3.1.2-22]: at one and a half times, and what the broker sends does not count."""
    silent, talker = dial(level), client("talker", level)
    started = time.monotonic()
    silent.send(packets.connect("silent", level, keepalive=1) + _busy_subscription(level))
    silent.expect(Kind.CONNACK)
    silent.expect(Kind.SUBACK)
    ending = None
    while time.monotonic() < started + 5:
        if not busy:
            ending = silent.expect_closed()
            break
        talker.publish("chatter", b"x", qos=0)
        if (ending := _ending_or_message(silent)) is not False:
            break
    else:
        pytest.fail("a silent connection with keep alive 1 still open after 5 s")
    elapsed = time.monotonic() - started
    assert 1.49 <= elapsed < 5, f"closed after {elapsed:.2f} s"
    assert ending is None or ending.code == KEEP_ALIVE_TIMEOUT


def _busy_subscription(level):
    return packets.subscribe(1, [("chatter", 0)], level)


def _ending_or_message(connection):
    """False for a message; else the DISCONNECT, or None at a bare end."""
    try:
        packet = connection.receive()
    except AssertionError:
        return None
    return False if packet.kind == Kind.PUBLISH else packet


def test_keep_alive_zero_means_none(client, level):
    """The connection with keep alive 1 serves as the clock."""
    patient = client("patient", level, keepalive=0)
    client("clock", level, keepalive=1).expect_closed()
    patient.ping()
