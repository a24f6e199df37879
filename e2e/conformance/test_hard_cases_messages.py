"""Hard cases: subscriptions that overlap or change, their identifiers, retained messages."""

import pytest
import wire
from operation import durable, table, take
from registry import statement
from wire import PROTOCOL_ERROR, Kind, Property

SAID = ["close-hidden", "disconnect-reason-generic"]
RETAINED = 100_000


def identified(one: wire.Client, wanted: str, options: int, number: int) -> None:
    """Subscribes with a Subscription Identifier."""
    assert one.subscribe((wanted, options), props=[(Property.SUBSCRIPTION_ID, number)]).codes == (options & 3,)


def copies(one: wire.Client) -> list[wire.Packet]:
    """The messages that have come, after the first of them, before the answer to a ping."""
    seen = [one.expect(Kind.PUBLISH)]
    one.send(wire.pingreq())
    while (packet := one.receive()).kind != Kind.PINGRESP:
        assert packet.kind == Kind.PUBLISH
        seen.append(packet)
    return seen


@statement("H-26", wrong=["publish-qos-lowered", "subscription-ids-dropped", "subscription-id-added"])
@table({"highest first": (2, 1, 0), "highest last": (0, 1, 2)})
def test_overlapping_subscriptions(client, unique, case):
    """A message comes with the highest QoS of all that match, and with the identifiers of all that match.

    The broker may send one copy, or one for each subscription.
    """
    one, other, topic = client(), client(), unique("t")
    filters = [f"{topic}/a", f"{topic}/+", f"{topic}/#"]
    for number, (wanted, qos) in enumerate(zip(filters, case, strict=True), 1):
        identified(one, wanted, qos, number)
    identified(one, f"{topic}/other", 2, 9)
    other.publish(f"{topic}/a", b"", qos=2)
    seen = copies(one)
    assert max(packet.qos for packet in seen) == 2
    assert sorted(sum((packet.values(Property.SUBSCRIPTION_ID) for packet in seen), [])) == [1, 2, 3]


@statement("H-26", wrong="subscription-id-added")
def test_overlapping_with_and_without_ids(client, unique):
    """A subscription without an identifier adds none."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, 1))
    identified(one, f"{topic}/#", 1, 5)
    other.publish(topic, b"")
    assert sum((packet.values(Property.SUBSCRIPTION_ID) for packet in copies(one)), []) == [5]


@statement("H-27", wrong=["subscription-ids-dropped", "subscription-id-added"])
@pytest.mark.parametrize("number", [1, 127, 128, 268_435_455])
def test_identifiers_of_retained_messages(client, unique, number):
    """A retained message that comes for a subscription carries its identifier."""
    one, other, topic = client(), client(), unique("t")
    other.publish(topic, b"kept", retain=True)
    identified(one, topic, 1, number)
    assert take(one, b"kept").values(Property.SUBSCRIPTION_ID) == [number]


@statement("H-28", wrong=SAID)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_identifiers_of_clients(client, qos):
    """A client's PUBLISH has no Subscription Identifier."""
    offender = client()
    offender.send_publish("t", b"", qos=qos, props=[(Property.SUBSCRIPTION_ID, 1)])
    offender.expect_refused(PROTOCOL_ERROR)


@statement("H-28", wrong=SAID)
def test_identifier_0(client):
    """A Subscription Identifier is not 0."""
    offender = client()
    offender.send(wire.subscribe(1, [("t", 0)], 5, [(Property.SUBSCRIPTION_ID, 0)]))
    offender.expect_refused(PROTOCOL_ERROR)


def handled(client, unique, handling: int) -> list[bool]:
    """Whether a retained message comes with the first SUBSCRIBE, and with the second one."""
    one, other, topic = client(), client(), unique("t")
    other.publish(topic, b"kept", retain=True)
    found = []
    for _ in range(2):
        one.subscribe((topic, 1 | handling << 4))
        other.publish(topic, b"live")
        seen: list[wire.Packet] = []
        while b"live" not in {packet.payload for packet in seen}:
            seen += copies(one)
        found.append(b"kept" in {packet.payload for packet in seen})
        assert all(packet.retain == (packet.payload == b"kept") for packet in seen)
        for packet in seen:
            one.send(wire.ack(Kind.PUBACK, packet.packet_id))
    return found


@statement("H-32", wrong="subscribe-options-ignored")
@pytest.mark.parametrize(("handling", "wanted"), [(1, [True, False]), (2, [False, False])])
def test_retain_handling(client, unique, handling, wanted):
    """Retained messages come with the first SUBSCRIBE only, or never."""
    assert handled(client, unique, handling) == wanted


@statement("H-32", wrong=["publish-retain-flipped", "retain-not-stored"])
def test_retain_handling_0(client, unique):
    """Retained messages come with each SUBSCRIBE, also with one that repeats another."""
    assert handled(client, unique, 0) == [True, True]


@statement("H-32", "H-33", wrong=["publish-retain-flipped", "publish-doubled"])
def test_retained_as_published(client, unique):
    """With Retain As Published a message keeps its RETAIN flag, without it only retained ones that waited do."""
    one, other, topic = client(), client(), unique("t")
    for option, wanted in ((0x08, True), (0, False)):
        one.subscribe((topic, 1 | option | 0x20))
        other.publish(topic, b"kept", retain=True)
        assert take(one, b"kept").retain == wanted
        other.publish(topic, b"live")
        assert not take(one, b"live").retain
        one.ping()


@statement("H-33", wrong=["publish-qos-lowered", "subscription-ids-dropped", "publish-doubled"])
def test_subscribing_again(client, unique):
    """SUBSCRIBE with the same filter replaces the QoS and the identifier, and there is one copy."""
    one, other, topic = client(), client(), unique("t")
    identified(one, topic, 0, 1)
    identified(one, topic, 2, 2)
    other.publish(topic, b"", qos=2)
    assert [(packet.qos, packet.values(Property.SUBSCRIPTION_ID)) for packet in copies(one)] == [(2, [2])]
    one.subscribe((topic, 1))
    other.publish(topic, b"")
    assert [(packet.qos, packet.values(Property.SUBSCRIPTION_ID)) for packet in copies(one)] == [(1, [])]


@statement("H-33", wrong=["publish-one-dropped", "publish-doubled"])
def test_subscribing_again_leaves_no_gap(client, unique):
    """While a subscription is replaced, again and again, no message is lost."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, 0))
    rounds, each = 30, 40
    seen: list[int] = []
    for count in range(rounds):
        one.send(b"".join(wire.subscribe(number + 1, [(topic, 0x20)], 5) for number in range(10)))
        other.send(b"".join(wire.publish(topic, b"%d" % (count * each + number), 5) for number in range(each)))
        answers = 0
        while len(seen) < (count + 1) * each or answers < 10:
            packet = one.receive()
            answers += packet.kind == Kind.SUBACK
            seen += [int(packet.payload)] if packet.kind == Kind.PUBLISH else []
    assert seen == list(range(rounds * each))


@statement("H-34", wrong=["empty-retain-not-stored", "publish-retain-flipped"])
@pytest.mark.parametrize("restart", [False, True])
def test_an_empty_retained_message(client, own_broker, unique, restart):
    """An empty retained message is delivered as any other, removes what was retained, and is not retained."""
    broker, topic = own_broker(), unique("t")
    one, other = client(to=broker), client(to=broker)
    other.publish(topic, b"kept", retain=True)
    one.subscribe((topic, 1))
    take(one, b"kept")
    other.publish(topic, b"", retain=True)
    assert not take(one, b"").retain
    if restart:
        broker.kill()
        broker.start()
    late = client(to=broker)
    late.subscribe((topic, 1))
    late.send_publish(topic, b"next", qos=0)
    assert not take(late, b"next").retain


@statement("H-29", wrong="resend-unasked")
def test_no_retained_messages_on_resuming(client, unique):
    """A session that is resumed keeps its subscriptions and gets no retained messages for that."""
    one, other, topic = client(**durable()), client(), unique("t")
    one.subscribe((topic, 1))
    one.leave()
    other.publish(topic, b"kept", retain=True)
    again = client(one.client_id, **durable())
    take(again, b"kept")
    again.ping()
    again.leave()
    client(one.client_id, **durable()).ping()


@statement("H-35", wrong=["publish-one-dropped", "publish-doubled"])
def test_many_retained_messages(client, own_broker, unique):
    """100,000 retained messages all come to one slow subscriber, whatever a queue may hold."""
    broker, topic = own_broker(), unique("t")
    one, other = client(to=broker), client(to=broker)
    for start in range(0, RETAINED, 100):
        some = range(start, start + 100)
        other.send(
            b"".join(
                wire.publish(f"{topic}/{number}", b"x" * 20, 5, qos=1, packet_id=1 + number % 100, retain=True)
                for number in some
            )
        )
        for _ in some:
            other.expect(Kind.PUBACK)
    one.subscribe((topic + "/+", 1))
    seen: set[str] = set()
    count = 0
    while len(seen) < RETAINED:
        message = take(one)
        seen.add(message.topic)
        count += 1
        if count == 500:
            # Slow: meanwhile the broker serves others, and fills all that there is on the way here.
            for _ in range(200):
                other.publish(f"{topic}-elsewhere", b"")
    one.ping()
    assert count == RETAINED
