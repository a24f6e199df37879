"""Section 4.8: shared subscriptions."""

import pytest
import wire
from operation import durable, take
from registry import statement
from test_topics import refused_filter
from wire import PROTOCOL_ERROR, Kind, Property

COUNT = 10


def member(client, group: str, topic: str, qos: int = 1, **options) -> wire.Client:
    """A client that has joined a group."""
    one = client(**options)
    assert one.subscribe((f"$share/{group}/{topic}", qos)).codes == (qos,)
    return one


def drain(one: wire.Client) -> list[bytes]:
    """The payloads that have come, acknowledged, before the answer to a ping."""
    one.send(wire.pingreq())
    seen = []
    while (packet := one.receive()).kind != Kind.PINGRESP:
        assert packet.kind == Kind.PUBLISH
        if packet.qos:
            one.send(wire.ack(Kind.PUBACK, packet.packet_id))
        seen.append(packet.payload)
    return seen


def collect(some: list[wire.Client], count: int) -> list[list[bytes]]:
    """What each of these has got, once there are so many messages in all; afterwards nothing more comes."""
    seen: list[list[bytes]] = [[] for _ in some]
    rounds = 0
    while sum(map(len, seen)) < count:
        # Each ping is a round trip; messages are on their way for some of them at most.
        rounds += 1
        assert rounds < 500, f"only {seen}"
        for one, payloads in zip(some, seen, strict=True):
            payloads += drain(one)
    for one, payloads in zip(some, seen, strict=True):
        payloads += drain(one)
    return seen


@statement("MQTT-4.8.2-1", "H-37", wrong="subscribe-never-refused")
@pytest.mark.parametrize("wanted", ["$share//t", "$share/", "$share//", "$share//#"])
def test_groups_have_names(client, wanted):
    """A shared filter has a share name of one character or more."""
    refused_filter(client(), wire.subscribe(1, [(wanted, 0)], 5))


@statement("MQTT-4.8.2-2", "H-37", wrong="subscribe-never-refused")
@pytest.mark.parametrize("wanted", ["$share/g", "$share/g/", "$share/a+/t", "$share/+/t", "$share/#/t", "$share/a#/t"])
def test_names_of_groups(client, wanted):
    """A share name has no wildcards, and a slash and a filter come behind it."""
    refused_filter(client(), wire.subscribe(1, [(wanted, 0)], 5))


@statement("MQTT-4.8.2-1", "MQTT-4.8.2-2", "U5-49", wrong=["share-ignored", "publish-dropped", "publish-doubled"])
def test_one_member_gets_it(client, unique):
    """Each message goes to exactly one member of the group."""
    topic, group = unique("t"), unique("g")
    some, other = [member(client, group, topic) for _ in range(3)], client()
    for number in range(COUNT):
        other.publish(topic, b"%d" % number)
    seen = collect(some, COUNT)
    assert sorted(sum(seen, [])) == [b"%d" % number for number in range(COUNT)]


@statement("U5-49", wrong="share-groups-merged")
def test_groups_are_independent(client, unique):
    """Each group gets each message, also a group with another filter."""
    topic, groups = unique("t"), [unique("g"), unique("g"), unique("g")]
    some = [member(client, group, name) for group, name in zip(groups, [topic, topic, "+/" + topic], strict=True)]
    some.append(member(client, groups[0], topic))
    other = client()
    for number in range(COUNT):
        other.publish(topic, b"%d" % number)
    assert len(sum(collect([some[0], some[3]], COUNT), [])) == COUNT
    assert len(sum(collect([some[1]], COUNT), [])) == COUNT
    assert not drain(some[2])


@statement("U5-38", wrong=["share-ignored", "publish-doubled"])
def test_shared_and_not(client, unique):
    """The same filter, shared and not, makes two subscriptions, and each gives a copy."""
    topic = unique("t")
    one = member(client, unique("g"), topic)
    one.subscribe((topic, 1))
    other = client()
    other.publish(topic, b"twice")
    other.publish(topic, b"again")
    assert sorted(sum(collect([one], 4), [])) == [b"again"] * 2 + [b"twice"] * 2


@statement("MQTT-4.8.2-3", wrong="publish-qos-raised")
def test_granted_qos_of_members(client, unique):
    """Each member gets messages at no more than the QoS it was granted, and no less than it could."""
    topic = unique("t")
    some, other = [member(client, unique("g"), topic, qos) for qos in (0, 1, 2)], client()
    other.publish(topic, b"", qos=2)
    assert [one.expect(Kind.PUBLISH).qos for one in some] == [0, 1, 2]
    other.publish(topic, b"", qos=1)
    assert [one.expect(Kind.PUBLISH).qos for one in some] == [0, 1, 1]


@statement("MQTT-4.8.2-3", wrong="publish-qos-raised")
def test_granted_qos_within_a_group(client, unique):
    """Members of one group with different QoS each keep their own."""
    topic, group = unique("t"), unique("g")
    some, other = [member(client, group, topic, qos) for qos in (0, 1)], client()
    for _ in range(COUNT):
        other.publish(topic, b"", qos=2)
    for one, most in zip(some, (0, 1), strict=True):
        one.send(wire.pingreq())
        while (packet := one.receive()).kind != Kind.PINGRESP:
            assert packet.qos <= most


def begun(client, unique, qos: int, **options) -> tuple[wire.Client, wire.Client, wire.Client, str, wire.Packet]:
    """A message that the first of two members has got, and not acknowledged; and its publisher."""
    topic, group = unique("t"), unique("g")
    first, other = member(client, group, topic, qos, **options), client()
    other.publish(topic, b"begun", qos=qos)
    message = first.expect(Kind.PUBLISH)
    return first, member(client, group, topic, qos), other, topic, message


def gets_no_old_message(second: wire.Client, other: wire.Client, topic: str) -> None:
    """The next message that the other member gets is a new one, also if it comes by another subscription."""
    second.subscribe((topic, 1))
    other.publish(topic, b"next", qos=1)
    assert second.expect(Kind.PUBLISH).payload == b"next"
    assert set(drain(second)) <= {b"next"}


@statement("MQTT-4.8.2-4", wrong=["offered-to-others", "resend-dropped", "resend-id-changed"])
def test_a_begun_message_is_finished_with_its_member(client, unique):
    """A message of QoS 2 that was sent to a member comes again to that member, and to no other."""
    first, second, other, topic, message = begun(client, unique, 2, **durable())
    first.close()
    gets_no_old_message(second, other, topic)
    again = client(first.client_id, **durable())
    assert again.expect(Kind.PUBLISH, packet_id=message.packet_id).payload == b"begun"


@statement("MQTT-4.8.2-5", wrong="offered-to-others")
def test_a_begun_message_ends_with_its_session(client, unique):
    """If the session ends first, its message of QoS 2 goes to nobody."""
    first, second, other, topic, _ = begun(client, unique, 2)
    first.leave()
    # The id is free again when the session has ended.
    client(first.client_id).ping()
    gets_no_old_message(second, other, topic)


@statement("MQTT-4.8.2-6", wrong="offered-to-others")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_refused_message_is_discarded(client, unique, qos):
    """A member's PUBACK or PUBREC with an error is the end of the message for the group."""
    first, second, other, topic, message = begun(client, unique, qos)
    first.send(wire.ack(Kind.PUBACK if qos == 1 else Kind.PUBREC, message.packet_id, 0x80))
    first.ping()
    first.leave()
    gets_no_old_message(second, other, topic)


@statement("U5-48", wrong="publish-dropped")
def test_an_unfinished_message_of_qos_1_goes_on(client, unique):
    """If a member's session ends before its PUBACK, the message should go to another member."""
    first, second, *_ = begun(client, unique, 1)
    first.leave()
    take(second, b"begun")


@statement("U5-40", "H-31", wrong=["unsubscribe-ignored", "unsubscribe-share-ignored"])
def test_leaving_a_group(client, unique):
    """UNSUBSCRIBE from the full filter ends that membership and nothing else."""
    topic, groups = unique("t"), [unique("g"), unique("g")]
    one, mate, other = client(), member(client, groups[0], topic), client()
    filters = [f"$share/{groups[0]}/{topic}", f"$share/{groups[1]}/{topic}", topic]
    one.subscribe(*((name, 1) for name in filters))
    assert one.unsubscribe(filters[0]).codes == (0,)
    for number in range(COUNT):
        other.publish(topic, b"%d" % number)
    assert sum(len(seen) for seen in collect([mate], COUNT)) == COUNT
    assert sum(len(seen) for seen in collect([one], 2 * COUNT)) == 2 * COUNT
    # To leave by the filter alone is to leave the subscription that is not shared.
    assert one.unsubscribe(topic).codes == (0,)
    other.publish(topic, b"shared")
    take(one, b"shared")
    one.ping()
    assert one.unsubscribe(topic, filters[0], filters[1]).codes == (0x11, 0x11, 0)


@statement("U5-25", "H-29", wrong="share-ignored")
def test_no_retained_messages_for_groups(client, unique):
    """Whoever joins a group gets no retained message for that, and none on resuming either."""
    topic, other = unique("t"), client()
    other.publish(topic, b"retained", retain=True)
    one = member(client, unique("g"), topic, **durable())
    one.ping()
    one.leave()
    again = client(one.client_id, **durable())
    other.publish(topic, b"next")
    message = take(again, b"next")
    assert not message.retain


@statement("U5-31", wrong=["subscription-id-added", "subscription-ids-dropped"])
def test_subscription_ids_of_members(client, unique):
    """A message to a member carries the identifier of that member's own subscription, and no other."""
    topic, group, some = unique("t"), unique("g"), [client(), client()]
    for number, one in enumerate(some, 1):
        one.subscribe((f"$share/{group}/{topic}", 0), props=[(Property.SUBSCRIPTION_ID, number)])
    stranger, other = client(), client()
    stranger.subscribe((topic, 0), props=[(Property.SUBSCRIPTION_ID, 99)])
    for _ in range(COUNT):
        other.publish(topic, b"")
        stranger.expect(Kind.PUBLISH)
    count = 0
    for number, one in enumerate(some, 1):
        one.send(wire.pingreq())
        while (packet := one.receive()).kind != Kind.PINGRESP:
            assert packet.values(Property.SUBSCRIPTION_ID) == [number]
            count += 1
    assert count > 0


@statement("H-30", wrong=["close-hidden", "disconnect-reason-generic"])
def test_no_local_in_a_group(client, unique):
    """No Local on a shared subscription is a protocol error."""
    offender = client()
    offender.send(wire.subscribe(1, [(f"$share/{unique('g')}/t", 1 | 4)], 5))
    offender.expect_refused(PROTOCOL_ERROR)


@statement("H-31", wrong=["connect-clean-set", "share-ignored"])
def test_groups_after_a_restart(client, own_broker, unique):
    """Members are members again after a restart, one message each, and can leave by the full filter."""
    broker, topic, group = own_broker(), unique("t"), unique("g")
    some = [member(client, group, topic, to=broker, **durable()) for _ in range(2)]
    broker.kill()
    broker.start()
    some = [client(one.client_id, to=broker, **durable()) for one in some]
    other = client(to=broker)
    for number in range(COUNT):
        other.publish(topic, b"%d" % number)
    assert sorted(sum(collect(some, COUNT), [])) == [b"%d" % number for number in range(COUNT)]
    assert some[0].unsubscribe(f"$share/{group}/{topic}").codes == (0,)
    for number in range(COUNT):
        other.publish(topic, b"%d" % number)
    assert len(collect(some[1:], COUNT)[0]) == COUNT
