"""What clients do that nobody here wrote, each in all protocol versions that it speaks."""

import queue
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from foreign import KINDS, Kind, Message, Paho

SUCCESSION = 20
"""Messages one after the other, where the order counts."""

MANY = 1000
IN_FLIGHT = 80
"""Fewer than Bellbird takes of unfinished messages."""

PORTION = 10
"""No more than brokers take of messages that are not acknowledged, if nothing else is said."""

every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)
every_qos = pytest.mark.parametrize("qos", [0, 1, 2], ids="qos={}".format)
newest = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.level == 5], ids=str)


def by_quality(messages: list[Message]) -> list[Message]:
    """Sorted by QoS: some clients hand out a message of QoS 2 later, when it is released."""
    return sorted(messages, key=lambda message: message.qos)


def able(what: str, *levels: int):
    """All kinds that can do something, in these protocol versions or in all."""
    found = [kind for kind in KINDS if kind.able(what) and kind.level in (levels or (3, 4, 5))]
    return pytest.mark.parametrize("kind", found, ids=str)


@every_kind
@every_qos
def test_publishes_and_subscribes(connect, unique, kind, qos):
    topic = unique("plant/") + "/speed"
    subscriber, publisher = connect(kind), connect(kind)
    assert subscriber.subscribe(topic.replace("/speed", "/+"), qos) == qos
    messages = [Message(topic, f"{number} m/s", qos) for number in range(SUCCESSION)]
    for message in messages:
        publisher.publish(message)
    assert [subscriber.receive() for _ in messages] == messages


@every_kind
@pytest.mark.parametrize("qos", [0, 1, pytest.param(2, marks=pytest.mark.bellbird)], ids="qos={}".format)
def test_publishes_many_at_once(connect, unique, kind, qos):
    """A thousand, as fast as the client's own flow control lets them out; without one, in portions.

    Before 5.0 there is nothing to keep to: the broker reads as fast as it can.
    """
    topic, subscriber, publisher = unique("many"), connect(kind), connect(kind)
    subscriber.subscribe(topic, qos)
    messages = [Message(topic, f"{number}", qos) for number in range(MANY)]
    is_bounded = kind.make.bounds_itself or kind.level < 5
    size = MANY if is_bounded else PORTION
    for start in range(0, MANY, size):
        publisher.publish_at_once(messages[start : start + size])
    assert [subscriber.receive() for _ in messages] == messages


@every_kind
def test_the_lower_quality_of_the_two_counts(connect, unique, kind):
    topic, publisher = unique("q"), connect(kind)
    subscribers = [connect(kind) for _ in range(3)]
    for granted, subscriber in enumerate(subscribers):
        assert subscriber.subscribe(topic, granted) == granted
    for qos in range(3):
        publisher.publish(Message(topic, "x", qos))
        for granted, subscriber in enumerate(subscribers):
            assert subscriber.receive() == Message(topic, "x", min(qos, granted))


@every_kind
def test_meets_other_clients_and_versions(connect, unique, kind):
    topic, one = unique("meet"), connect(kind)
    others = [connect(other) for other in KINDS[:3] if other != kind]
    for client in (one, *others):
        client.subscribe(f"{topic}/#", 2)
    for qos, sender in enumerate((one, others[0], one)):
        message = Message(f"{topic}/{qos}", "grüße, 你好", qos)
        sender.publish(message)
        assert [client.receive() for client in (one, *others)] == [message] * (1 + len(others))


@every_kind
def test_large_message(connect, unique, kind):
    topic, subscriber, publisher = unique("large"), connect(kind), connect(kind)
    subscriber.subscribe(topic, 1)
    large = Message(topic, "0123456789" * 10_000, 1)
    publisher.publish(large)
    assert subscriber.receive() == large


@able("unsubscribe")
def test_unsubscribes(connect, unique, kind):
    topic, subscriber, publisher = unique("un"), connect(kind), connect(kind)
    subscriber.subscribe(f"{topic}/left", 1)
    subscriber.subscribe(f"{topic}/kept", 1)
    subscriber.unsubscribe(f"{topic}/left")
    publisher.publish(Message(f"{topic}/left", "unwanted", 1))
    publisher.publish(Message(f"{topic}/kept", "wanted", 1))
    assert subscriber.receive().payload == "wanted"


@every_kind
@every_qos
def test_retained_message_and_its_removal(connect, unique, kind, qos):
    topic, publisher = unique("lamp"), connect(kind)
    state = Message(f"{topic}/state", "on", qos, retain=True)
    witness = connect(kind)
    witness.subscribe(f"{topic}/#", qos)
    for payload in ("off", "on"):
        publisher.publish(replace(state, payload=payload))
        assert witness.receive() == replace(state, payload=payload, retain=False)
    newcomer = connect(kind)
    newcomer.subscribe(f"{topic}/#", qos)
    assert newcomer.receive() == state
    publisher.publish(replace(state, payload=""))
    assert witness.receive() == replace(state, payload="", retain=False)
    latecomer = connect(kind)
    latecomer.subscribe(f"{topic}/#", qos)
    publisher.publish(Message(f"{topic}/live", "live", qos))
    assert latecomer.receive() == Message(f"{topic}/live", "live", qos)


@every_kind
@every_qos
def test_will(connect, unique, kind, qos):
    topic, witness = unique("will"), connect(kind)
    witness.subscribe(f"{topic}/#", 2)
    polite = connect(kind, will=Message(f"{topic}/polite", "farewell", qos))
    lost = connect(kind, will=Message(f"{topic}/lost", "gone", qos, retain=True))
    polite.leave()
    if kind.level in kind.make.levels_saying_will:
        assert witness.receive() == Message(f"{topic}/polite", "farewell", qos)
    lost.drop()
    assert witness.receive() == Message(f"{topic}/lost", "gone", qos)
    latecomer = connect(kind)
    latecomer.subscribe(f"{topic}/#", 2)
    assert latecomer.receive() == Message(f"{topic}/lost", "gone", qos, retain=True)


@every_kind
@pytest.mark.parametrize("end", ["leave", "drop"])
def test_session_over_reconnection(connect, unique, kind, end):
    topic, name, publisher = unique("keep"), unique("s"), connect(kind)
    away = connect(kind, name, clean=False)
    assert away.session_present in (False, None)
    away.subscribe(topic, 2)
    getattr(away, end)()
    missed = [Message(topic, f"{number}", 1 + number % 2) for number in range(SUCCESSION)]
    for message in missed:
        publisher.publish(message)
    back = connect(kind, name, clean=False)
    assert back.session_present in (True, None)
    assert by_quality([back.receive() for _ in missed]) == by_quality(missed)
    publisher.publish(Message(topic, "live", 2))
    assert back.receive() == Message(topic, "live", 2)
    back.leave()
    assert connect(kind, name, clean=True).session_present in (False, None)
    afresh = connect(kind, name, clean=False)
    assert afresh.session_present in (False, None)


@every_kind
@pytest.mark.parametrize("end", ["stop", pytest.param("kill", marks=pytest.mark.bellbird)])
def test_session_over_the_broker_s_end(own_broker, connect, kind, end):
    broker, queued = own_broker, [Message("keep/1", f"{number}", 1 + number % 2) for number in range(20)]
    away = connect(kind, "away", to=broker, clean=False)
    away.subscribe("keep/+", 2)
    away.leave()
    there = connect(kind, "there", to=broker, clean=False)
    there.subscribe("live", 2)
    publisher = connect(kind, to=broker)
    for message in queued:
        publisher.publish(message)
    retained = Message("lamp/state", "on", 1, retain=True)
    publisher.publish(retained)
    getattr(broker, end)()
    for client in (there, publisher):
        client.drop()
    broker.start()
    back = connect(kind, "away", to=broker, clean=False)
    there = connect(kind, "there", to=broker, clean=False)
    assert {back.session_present, there.session_present} <= {True, None}
    assert by_quality([back.receive() for _ in queued]) == by_quality(queued)
    publisher = connect(kind, to=broker)
    for client, topic in ((back, "keep/2"), (there, "live")):
        publisher.publish(Message(topic, "subscribed still", 2))
        assert client.receive() == Message(topic, "subscribed still", 2)
    newcomer = connect(kind, to=broker)
    newcomer.subscribe("lamp/#", 1)
    assert newcomer.receive() == retained


@pytest.mark.bellbird
@able("come back")
@pytest.mark.parametrize("qos", [1, 2], ids="qos={}".format)
def test_coming_back_after_a_kill(own_broker, connect, kind, qos):
    """The broker dies while messages are under way; both clients come back by themselves.

    Where a client cannot receive exactly once itself, paho does, of the same version.
    """
    broker, messages = own_broker, [Message("t", f"{number}", qos) for number in range(IN_FLIGHT)]
    options = {"to": broker, "clean": False, "comes_back": True}
    receiver = kind if qos == 1 or kind.able("receive once") else Kind(Paho, kind.level)
    subscriber, publisher = connect(receiver, "s", **options), connect(kind, "p", **options)
    subscriber.subscribe("t", qos)
    with ThreadPoolExecutor() as pool:
        publishing = pool.submit(publisher.publish_at_once, messages)
        received = [subscriber.receive() for _ in range(IN_FLIGHT // 8)]
        broker.kill()
        broker.start()
        for client in (subscriber, publisher):
            client.come_back()
        publishing.result()
    publisher.publish(Message("t", "end", qos))
    while received[-1].payload != "end":
        received.append(subscriber.receive())
    if qos == 1:
        received = list(dict.fromkeys(received))
    assert received == [*messages, Message("t", "end", qos)]


@every_kind
def test_shared_subscription(connect, unique, kind):
    topic, group = unique("share"), unique("g")
    inbox: queue.Queue = queue.Queue()
    members = [connect(kind, inbox=inbox) for _ in range(3)]
    for member in members:
        member.subscribe(f"$share/{group}/{topic}/+", 2)
    everything = connect(kind)
    everything.subscribe(f"{topic}/#", 2)
    publisher = connect(kind)
    messages = [Message(f"{topic}/{n}", "work", n % 3) for n in range(30)]
    for message in messages:
        publisher.publish(message)
    assert by_quality([everything.receive() for _ in messages]) == by_quality(messages)
    taken = [members[0].receive_with_receiver() for _ in messages]
    assert sorted((message for _, message in taken), key=str) == sorted(messages, key=str)
    assert {member for member, _ in taken} == set(members)
    publisher.publish(Message(f"{topic}/end", "end", 1))
    assert members[0].receive().payload == "end", "a second copy of some message came"


@newest
def test_properties(connect, unique, kind):
    topic, subscriber, publisher = unique("props"), connect(kind), connect(kind)
    subscriber.subscribe(f"{topic}/+", 1)
    sent = full(kind, f"{topic}/a")
    publisher.publish(sent)
    assert_came(subscriber.receive(), sent)


@newest
def test_properties_of_a_retained_message(connect, unique, kind):
    topic, publisher = unique("props"), connect(kind)
    sent = replace(full(kind, topic), retain=True)
    publisher.publish(sent)
    subscriber = connect(kind)
    subscriber.subscribe(topic, 1)
    assert_came(subscriber.receive(), sent)


@newest
def test_properties_of_a_will(connect, unique, kind):
    topic, witness = unique("props"), connect(kind)
    witness.subscribe(topic, 1)
    sent = full(kind, topic)
    connect(kind, will=sent).drop()
    assert_came(witness.receive(), sent)


@pytest.mark.bellbird
@newest
def test_properties_over_the_broker_s_end(own_broker, connect, kind):
    broker, sent = own_broker, full(kind, "props")
    subscriber = connect(kind, "away", to=broker, clean=False)
    subscriber.subscribe("props", 1, identifier=7)
    subscriber.leave()
    connect(kind, to=broker).publish(sent)
    broker.kill()
    broker.start()
    assert_came(connect(kind, "away", to=broker, clean=False).receive(), replace(sent, identifiers=(7,)))


@newest
def test_subscription_identifiers(connect, unique, kind):
    topic, publisher = unique("id"), connect(kind)
    subscribers = {number: connect(kind) for number in (1, 127, 268_435_455)}
    for number, subscriber in subscribers.items():
        assert subscriber.subscribe(f"{topic}/+", 1, identifier=number) == 1
    publisher.publish(Message(f"{topic}/x", "x", 1))
    for number, subscriber in subscribers.items():
        assert subscriber.receive() == Message(f"{topic}/x", "x", 1, identifiers=(number,))


@able("alias out", 5)
def test_topic_alias_of_the_publisher(connect, unique, kind):
    topic, subscriber, publisher = unique("alias"), connect(kind), connect(kind)
    subscriber.subscribe(topic, 1)
    publisher.publish(Message(topic, "with its name", 1, alias=1))
    publisher.publish(Message("", "with its alias", 1, alias=1))
    assert subscriber.receive() == Message(topic, "with its name", 1)
    assert subscriber.receive() == Message(topic, "with its alias", 1)


@able("alias in", 5)
def test_topic_aliases_of_the_broker(connect, unique, kind):
    topic, subscriber, publisher = unique("alias"), connect(kind, aliases_max=2), connect(kind)
    subscriber.subscribe(f"{topic}/+", 1)
    messages = [Message(f"{topic}/{n % 3}", f"{n}", 1) for n in range(12)]
    for message in messages:
        publisher.publish(message)
    assert [subscriber.receive() for _ in messages] == messages


EXPIRY_SECS = 600


def full(kind, topic: str) -> Message:
    """A message with all properties that an application can give it."""
    repeated = (("unit", "K"),) if kind.able("repeated user properties") else ()
    return Message(
        topic,
        "21.5",
        1,
        content_type="text/plain; charset=utf-8",
        response_topic="answers/to me",
        correlation="request 7",
        user_properties=(("unit", "°C"), ("sensor", "north wall"), *repeated),
        expiry_secs=EXPIRY_SECS,
    )


def assert_came(received: Message, sent: Message) -> None:
    """All is as it was sent, but that a message may have grown older."""
    assert EXPIRY_SECS - 30 <= received.expiry_secs <= EXPIRY_SECS
    assert replace(received, expiry_secs=EXPIRY_SECS) == sent
