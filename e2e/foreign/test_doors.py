"""What foreign clients do over WebSocket, TLS and Unix sockets: what carries their bytes, and little else, differs."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from foreign import DOOR_KINDS, Kind, Message, Paho

pytestmark = pytest.mark.bellbird

SUCCESSION = 20
MANY = 500
LARGE = (1 << 20) - 1000
"""About as much as the broker takes by default: many frames to the client, one or many from it."""

every_kind = pytest.mark.parametrize("kind", DOOR_KINDS, ids=str)
every_library = pytest.mark.parametrize("kind", [kind for kind in DOOR_KINDS if kind.able("come back")], ids=str)
every_qos = pytest.mark.parametrize("qos", [0, 1, 2], ids="qos={}".format)


@every_kind
@every_qos
def test_publishes_and_subscribes(connect, unique, kind, qos):
    topic, subscriber, publisher = unique("door"), connect(kind), connect(kind)
    assert subscriber.subscribe(topic, qos) == qos
    messages = [Message(topic, f"{number}", qos) for number in range(SUCCESSION)]
    for message in messages:
        publisher.publish(message)
    assert [subscriber.receive() for _ in messages] == messages


@every_kind
@pytest.mark.parametrize("qos", [1, 2], ids="qos={}".format)
def test_publishes_many_at_once(connect, unique, kind, qos):
    topic, subscriber, publisher = unique("many"), connect(kind), connect(kind)
    subscriber.subscribe(topic, qos)
    size = MANY if kind.make.bounds_itself or kind.level < 5 else 10
    messages = [Message(topic, f"{number}", qos) for number in range(MANY)]
    for start in range(0, MANY, size):
        publisher.publish_at_once(messages[start : start + size])
    assert [subscriber.receive() for _ in messages] == messages


@every_kind
def test_meets_clients_over_tcp(connect, unique, kind):
    topic, here, there = unique("meet"), connect(kind), connect(Kind(Paho, kind.level))
    for client in (here, there):
        client.subscribe(f"{topic}/#", 2)
    for qos, sender in enumerate((here, there, here)):
        message = Message(f"{topic}/{qos}", "grüße, 你好", qos)
        sender.publish(message)
        assert [client.receive() for client in (here, there)] == [message] * 2


@every_library
@pytest.mark.parametrize("qos", [1, 2], ids="qos={}".format)
def test_large_message(connect, unique, kind, qos):
    topic, subscriber, publisher = unique("large"), connect(kind), connect(kind)
    subscriber.subscribe(topic, qos)
    large = Message(topic, "0123456789abcdef" * (LARGE // 16), qos)
    publisher.publish(large)
    assert subscriber.receive() == large


@every_kind
@pytest.mark.parametrize("end", ["leave", "drop"])
def test_session_over_reconnection(connect, unique, kind, end):
    topic, name, publisher = unique("keep"), unique("s"), connect(kind)
    away = connect(kind, name, clean=False)
    away.subscribe(topic, 2)
    getattr(away, end)()
    missed = [Message(topic, f"{number}", 1) for number in range(SUCCESSION)]
    for message in missed:
        publisher.publish(message)
    back = connect(kind, name, clean=False)
    assert back.session_present in (True, None)
    assert [back.receive() for _ in missed] == missed


@every_kind
def test_will(connect, unique, kind):
    topic, witness = unique("will"), connect(kind)
    witness.subscribe(topic, 1)
    connect(kind, will=Message(topic, "gone", 1)).drop()
    assert witness.receive() == Message(topic, "gone", 1)


@every_library
def test_coming_back_after_a_kill(own_broker, connect, kind):
    """The broker dies while messages are under way; both clients come back by themselves."""
    broker, messages = own_broker, [Message("t", f"{number}", 1) for number in range(80)]
    options = {"to": broker, "clean": False, "comes_back": True}
    subscriber, publisher = connect(kind, "s", **options), connect(kind, "p", **options)
    subscriber.subscribe("t", 1)
    with ThreadPoolExecutor() as pool:
        publishing = pool.submit(publisher.publish_at_once, messages)
        received = [subscriber.receive() for _ in range(10)]
        broker.kill()
        broker.start()
        for client in (subscriber, publisher):
            client.come_back()
        publishing.result()
    publisher.publish(Message("t", "end", 1))
    while received[-1].payload != "end":
        received.append(subscriber.receive())
    assert list(dict.fromkeys(received)) == [*messages, Message("t", "end", 1)]
