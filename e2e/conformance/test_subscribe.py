"""Sections 3.8 and 3.9: SUBSCRIBE with its options, and SUBACK."""

import pytest
import wire
from registry import statement
from wire import MALFORMED, PROTOCOL_ERROR, Kind, Property

CLOSED = ["close-hidden"]
SAID = ["close-hidden", "disconnect-reason-generic"]
NO_LOCAL, RETAIN_AS_PUBLISHED = 0x04, 0x08
LISTED = {
    4: {0, 1, 2, 0x80},
    5: {0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2},
}
"""The codes that SUBACK may carry."""
BAD = "a#b"
"""A filter that fails alone: the broker answers it in the SUBACK and does not end the connection."""


def table(data: dict) -> pytest.MarkDecorator:
    """One run for each entry, named by its key."""
    return pytest.mark.parametrize("case", data.values(), ids=data.keys())


def retained_and_back(client, unique, level: int, **options) -> tuple[wire.Client, str]:
    """A connection, and a topic on which a retained message waits."""
    one, topic = client(**options), unique("t")
    one.publish(topic, b"kept", retain=True)
    return one, topic


@statement("MQTT-3.8.1-1", wrong=[*SAID, "request-flags-corrected"])
@statement("MQTT311-3.8.1-1", wrong=[*CLOSED, "request-flags-corrected"])
@pytest.mark.parametrize("flags", [0, 1, 3, 4, 6, 8, 10, 15])
def test_flags_of_subscribe(client, level, flags):
    """The flags of SUBSCRIBE are 0010, and everything else ends the connection."""
    offender = client()
    offender.send(wire.subscribe(1, [("t", 0)], level, flags=flags))
    offender.expect_refused(MALFORMED)


@statement("MQTT-3.8.3-1", wrong=[*SAID, "request-text-corrected"])
@statement("MQTT311-3.8.3-1", wrong=[*CLOSED, "request-text-corrected"])
@pytest.mark.parametrize("text", [b"\xff", b"a/\xed\xa0\x80", b"a/\xc0\x80", b"a\0b"])
def test_filters_are_strings(client, level, text):
    """A topic filter is UTF-8, also behind a good one."""
    offender = client()
    offender.send(wire.subscribe(1, [("t", 0), (text, 0)], level))
    offender.expect_refused(MALFORMED)


@statement("MQTT-3.8.3-2", wrong=[*SAID, "subscribe-empty-filled"])
@statement("MQTT311-3.8.3-3", wrong=[*CLOSED, "subscribe-empty-filled"])
def test_subscribe_without_filter(client, level):
    """SUBSCRIBE asks for something; nothing at all is a protocol error."""
    offender = client()
    offender.send(wire.subscribe(1, [], level))
    offender.expect_refused(PROTOCOL_ERROR)


@statement("MQTT-3.8.3-2", wrong=[*SAID, "subscribe-options-completed"])
@statement("MQTT311-3.8.3-3", wrong=[*CLOSED, "subscribe-options-completed"])
def test_filter_without_options(client, level):
    """Behind each filter there is its options byte; where it lacks the packet is cut short."""
    offender = client()
    section = b"\0" if level == 5 else b""
    offender.send(wire.frame(Kind.SUBSCRIBE, 2, b"\0\1" + section + wire.string("t")))
    offender.expect_refused(MALFORMED)


@statement("MQTT-3.8.3-3", wrong=["subscribe-no-local-cleared", "publish-dropped"])
def test_no_local(client, unique):
    """With No Local, what a client publishes itself does not come back; what others publish comes."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, NO_LOCAL | 1))
    one.publish(topic, b"own")
    other.publish(topic, b"other")
    assert one.expect(Kind.PUBLISH).payload == b"other"


@statement("MQTT-3.8.3-3", wrong="publish-dropped")
def test_local(client, unique):
    """Without No Local, what a client publishes itself does come back."""
    one, topic = client(), unique("t")
    one.subscribe((topic, 0))
    one.send_publish(topic, b"own", qos=0)
    assert one.expect(Kind.PUBLISH).payload == b"own"


@statement("MQTT-3.8.3-4", "H-30", wrong=[*SAID, "subscribe-no-local-cleared"])
def test_no_local_of_a_shared_subscription(client, unique):
    """No Local makes no sense for a shared subscription and is a protocol error."""
    offender = client()
    offender.send(wire.subscribe(1, [(f"$share/g/{unique('t')}", NO_LOCAL)], 5))
    offender.expect_refused(PROTOCOL_ERROR)


@statement("MQTT-3.8.3-5", wrong=[*SAID, "subscribe-reserved-cleared"])
@pytest.mark.parametrize("options", [0x40, 0x80, 0xC1])
def test_reserved_options(client, options):
    """The two highest bits of the options are 0, for each filter of the list."""
    offender = client()
    offender.send(wire.subscribe(1, [("t", 0), ("u", options)], 5))
    offender.expect_refused(MALFORMED)


@statement("MQTT311-3-8.3-4", wrong=[*CLOSED, "subscribe-reserved-cleared-311"])
@pytest.mark.parametrize("options", [3, 0x04, 0x08, 0x10, 0x20, 0x40, 0x81])
def test_reserved_bits_and_qos_3(client, level, options):
    """The byte behind a filter is 0, 1 or 2 in 3.1.1."""
    offender = client()
    offender.send(wire.subscribe(1, [("t", 0), ("u", options)], level))
    offender.expect_refused()


@statement("U5-36", wrong=[*SAID, "subscribe-value-3-lowered"])
@table({"QoS 3": 0x03, "Retain Handling 3": 0x30})
def test_options_out_of_range(client, case):
    """There is no QoS 3 and no Retain Handling 3."""
    offender = client()
    offender.send(wire.subscribe(1, [("t", case)], 5))
    offender.expect_refused(PROTOCOL_ERROR)


@statement("U5-35", wrong=SAID)
@table(
    {
        "0": [(Property.SUBSCRIPTION_ID, 0)],
        "twice": [(Property.SUBSCRIPTION_ID, 1), (Property.SUBSCRIPTION_ID, 2)],
        "twice the same": [(Property.SUBSCRIPTION_ID, 1), (Property.SUBSCRIPTION_ID, 1)],
    }
)
def test_bad_subscription_identifiers(client, case):
    """A Subscription Identifier is not 0, and there is one at most."""
    offender = client()
    offender.send(wire.subscribe(1, [("t", 0)], 5, case))
    offender.expect_refused(PROTOCOL_ERROR)


@statement("H-27", wrong=["retained-without-subscription-id", "publish-properties-stripped"])
@pytest.mark.parametrize("number", [1, 127, 128, 268_435_455])
def test_subscription_identifiers(client, unique, number):
    """The identifier of a subscription stands in its messages, also in the retained ones."""
    one, topic = retained_and_back(client, unique, 5)
    one.subscribe((topic, 0), props=[(Property.SUBSCRIPTION_ID, number)])
    assert one.expect(Kind.PUBLISH).values(Property.SUBSCRIPTION_ID) == [number]
    one.send_publish(topic, b"live", qos=0)
    assert one.expect(Kind.PUBLISH).values(Property.SUBSCRIPTION_ID) == [number]


@statement("MQTT-3.8.4-1", "MQTT-3.8.4-2", wrong=["suback-dropped", "ack-id-plus-one"])
@statement("MQTT311-3.8.4-1", "MQTT311-3.8.4-2", wrong=["suback-dropped", "ack-id-plus-one"])
@pytest.mark.parametrize("packet_id", [1, 0x1234, 0xFFFE])
def test_subscribe_is_answered(client, unique, level, packet_id):
    """SUBACK answers SUBSCRIBE with its packet identifier."""
    one = client()
    one.send(wire.subscribe(packet_id, [(unique("t"), 0)], level))
    one.expect(Kind.SUBACK, packet_id=packet_id)


@statement("MQTT-3.8.4-1", "MQTT311-3.8.4-1", wrong="suback-dropped")
def test_a_failed_subscribe_is_answered(client, level):
    """Also if nothing was granted."""
    one = client()
    one.send(wire.subscribe(9, [(BAD, 0)], level))
    assert one.expect(Kind.SUBACK, packet_id=9).codes[0] >= 0x80


@statement("U5-54", wrong="close-after-failure")
def test_a_failed_subscribe_ends_nothing(client):
    """A filter that is refused leaves the connection as it was."""
    one = client()
    assert one.subscribe((BAD, 0)).codes[0] >= 0x80
    one.ping()


@statement("MQTT-3.8.4-3", wrong=["subscribe-first-options-stay", "publish-doubled"])
@statement("MQTT311-3.8.4-3", wrong=["subscribe-first-options-stay", "publish-doubled"])
@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0), (1, 0)])
def test_subscribing_again(client, unique, level, before, after):
    """The same filter again replaces the subscription: each message comes once, at the new QoS."""
    one, other, topic = client(), client(), unique("t")
    assert one.subscribe((topic, before)).codes == (before,)
    assert one.subscribe((topic, after)).codes == (after,)
    for payload in (b"first", b"second"):
        other.publish(topic, payload, qos=2)
        message = one.expect(Kind.PUBLISH)
        assert (message.payload, message.qos) == (payload, after)


@statement("MQTT-3.8.4-3", "H-33", wrong=["subscribe-first-options-stay", "message-subscription-id-first"])
def test_subscribing_again_replaces_everything(client, unique):
    """Also No Local, Retain As Published and the identifier are those of the second SUBSCRIBE."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, NO_LOCAL), props=[(Property.SUBSCRIPTION_ID, 1)])
    one.subscribe((topic, RETAIN_AS_PUBLISHED), props=[(Property.SUBSCRIPTION_ID, 2)])
    one.send_publish(topic, b"own", qos=0)
    message = one.expect(Kind.PUBLISH)
    assert (message.payload, message.values(Property.SUBSCRIPTION_ID)) == (b"own", [2])
    other.publish(topic, b"kept", retain=True)
    assert one.expect(Kind.PUBLISH).retain
    one.subscribe((topic, 0x20))
    other.publish(topic, b"kept", retain=True)
    message = one.expect(Kind.PUBLISH)
    assert (message.retain, message.values(Property.SUBSCRIPTION_ID)) == (False, [])


@statement("MQTT-3.8.4-4", "H-33", wrong="retained-once")
@statement("MQTT311-3.8.4-3", wrong="retained-once")
def test_subscribing_again_brings_retained_messages(client, unique, level):
    """With Retain Handling 0 the retained messages are sent again each time."""
    one, topic = retained_and_back(client, unique, level)
    for _ in range(3):
        one.subscribe((topic, 0))
        message = one.expect(Kind.PUBLISH)
        assert (message.payload, message.retain) == (b"kept", True)


@statement("MQTT-3.8.4-4", "H-33", wrong="resubscribe-gap")
@statement("MQTT311-3.8.4-3", wrong="resubscribe-gap")
def test_no_gap_while_subscribing_again(client, unique, level):
    """Messages that are published while the subscription is replaced are not lost."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, 1))
    count = 60
    for number in range(count):
        if number % 3 == 0:
            one.send(wire.subscribe(1000 + number, [(topic, 1)], level))
        other.send_publish(topic, b"%d" % number, qos=1)
    found = []
    while len(found) < count:
        packet = one.receive(f"all messages, but only {len(found)}")
        if packet.kind == Kind.PUBLISH:
            found.append(int(packet.payload))
            one.send(wire.ack(Kind.PUBACK, packet.packet_id))
    assert found == list(range(count))


@statement("MQTT-3.8.4-5", wrong=["subscribe-first-only", "suback-split"])
@statement("MQTT311-3.8.4-4", wrong=["subscribe-first-only", "suback-split"])
def test_several_filters(client, unique, level):
    """A list of filters acts like a SUBSCRIBE for each of them, but has one SUBACK."""
    one, topics = client(), [unique("t") for _ in range(5)]
    one.send(wire.subscribe(1, [(topic, 0) for topic in topics], level) + wire.pingreq())
    answers = sorted(one.receive().kind for _ in range(2))
    assert answers == sorted([Kind.SUBACK, Kind.PINGRESP])
    for topic in topics:
        one.send_publish(topic, topic.encode(), qos=0)
        assert one.expect(Kind.PUBLISH).topic == topic


@statement("MQTT-3.8.4-5", wrong="subscribe-first-options-stay")
@statement("MQTT311-3.8.4-4", wrong="subscribe-first-options-stay")
def test_the_same_filter_twice_in_a_list(client, unique, level):
    """They act in the order of the list: the later one replaces the earlier one."""
    one, other, topic = client(), client(), unique("t")
    assert one.subscribe((topic, 2), (topic, 1)).codes == (2, 1)
    for payload in (b"first", b"second"):
        other.publish(topic, payload, qos=2)
        message = one.expect(Kind.PUBLISH)
        assert (message.payload, message.qos) == (payload, 1)


@statement("MQTT-3.8.4-6", "U5-39", wrong="suback-code-count-off")
@statement("MQTT311-3.8.4-5", wrong="suback-code-count-off")
@pytest.mark.parametrize("count", [1, 2, 200])
def test_a_code_for_each_filter(client, unique, level, count):
    """SUBACK has as many codes as SUBSCRIBE had filters."""
    topic = unique("t")
    answer = client().subscribe(*((f"{topic}/{number}", 0) for number in range(count)))
    assert len(answer.codes) == count


@statement("MQTT-3.9.3-1", wrong=["suback-codes-reversed", "suback-codes-zeroed"])
@statement("MQTT311-3.9.3-1", wrong=["suback-codes-reversed", "suback-codes-zeroed"])
def test_the_order_of_codes(client, unique, level):
    """The codes of SUBACK stand in the order of the filters, granted and refused ones mixed."""
    topic = unique("t")
    filters = [(BAD, 0), *((f"{topic}/{qos}", qos) for qos in (2, 0, 1)), (BAD, 1), (f"{topic}/x", 2)]
    codes = client().subscribe(*filters).codes
    assert [min(code, 0x80) for code in codes] == [0x80, 2, 0, 1, 0x80, 2]


@statement("MQTT-3.8.4-7", wrong=["suback-codes-zeroed", "suback-raised"])
@statement("MQTT311-3.8.4-5", wrong=["suback-codes-zeroed", "suback-raised"])
def test_codes_show_what_was_granted(client, unique, level):
    """The code is the highest QoS at which messages come, and not above what was asked for."""
    one, other = client(), client()
    for wanted in (0, 1, 2):
        topic = unique("t")
        (granted,) = one.subscribe((topic, wanted)).codes
        assert granted <= wanted
        other.publish(topic, qos=2)
        assert one.expect(Kind.PUBLISH).qos == granted


@statement("MQTT-3.8.4-7", "MQTT311-3.8.4-5", wrong="suback-codes-zeroed")
def test_codes_show_what_failed(client, level):
    """A filter that is not granted has a code that says so."""
    (code,) = client().subscribe((BAD, 1)).codes
    assert code == (0x8F if level == 5 else 0x80)


@statement("MQTT-3.8.4-8", wrong=["publish-qos-lowered", "message-qos-raised"])
@statement("MQTT311-3.8.4-6", wrong=["publish-qos-lowered", "message-qos-raised"])
def test_the_lower_qos_counts(client, unique, level):
    """A message comes at the lower one of its own QoS and that of the subscription."""
    one, other = client(), client()
    for granted in (0, 1, 2):
        for published in (0, 1, 2):
            topic = unique("t")
            one.subscribe((topic, granted))
            other.publish(topic, b"", qos=published)
            message = one.expect(Kind.PUBLISH)
            assert (message.topic, message.qos) == (topic, min(granted, published))


def tight(dial, own_broker, unique) -> tuple[wire.Client, int]:
    """A client whose Maximum Packet Size is just that of its CONNACK, and this size."""
    broker = own_broker()
    first = dial(5, to=broker).connect(unique("c"), props=[(0x27, 200)])
    size = 2 + len(first.body)
    one = dial(5, to=broker)
    one.connect(unique("c"), props=[(0x27, size)])
    return one, size


@statement("MQTT-3.9.2-1", "H-22", wrong="suback-reason-long")
@statement("MQTT-3.9.2-2", wrong="suback-user-property-long")
def test_suback_for_a_small_client(dial, own_broker, unique):
    """Reasons in words are left out of a SUBACK that would be too large with them."""
    one, size = tight(dial, own_broker, unique)
    # Just as many codes as there is room for: fixed header, identifier, property length.
    answer = one.subscribe(*[(BAD, 0)] * (size - 5))
    assert 2 + len(answer.body) <= size and len(answer.codes) == size - 5


@statement("MQTT-3.9.3-2", "MQTT311-3.9.3-2", wrong="suback-unlisted")
def test_codes_that_are_listed(client, unique, level):
    """SUBACK has no other codes than those listed for it, whatever was asked for."""
    topic = unique("t")
    names = [topic, BAD, "", "#/a", "a+", "$share", "$share/g", "$share//a", f"$share/g/{topic}", "$x/#", "a/" * 500]
    answer = client().subscribe(*((name, number % 3) for number, name in enumerate(names)))
    assert set(answer.codes) <= LISTED[level]
    assert max(answer.codes) >= 0x80, "nothing was refused"


@statement("MQTT311-3.8.3-2", wrong="suback-codes-zeroed")
@pytest.mark.parametrize("name", ["+", "#", "a/+/b", "a/#"])
def test_no_wildcards(client, own_broker, level, name):
    """A broker that has wildcards switched off refuses filters that have them, and those alone."""
    one = client(to=own_broker("[limits]\nwildcards = false\n"))
    assert one.subscribe((name, 0), ("a/b", 0)).codes == (0x80, 0)


@statement("U5-37", wrong=["publish-dropped", "suback-dropped"])
def test_messages_and_suback(client, unique):
    """A retained message comes with its SUBACK, before or behind it."""
    one, topic = retained_and_back(client, unique, 5)
    one.send(wire.subscribe(1, [(topic, 0)], 5))
    assert {one.receive().kind for _ in range(2)} == {Kind.SUBACK, Kind.PUBLISH}


@statement("U5-38", wrong=["subscribe-share-plain", "publish-doubled"])
def test_shared_and_not(client, unique):
    """The same filter with and without a group are two subscriptions with a copy each."""
    one, other, topic = client(), client(), unique("t")
    assert one.subscribe((topic, 0), (f"$share/g/{topic}", 0)).codes == (0, 0)
    for payload in (b"a", b"b"):
        other.publish(topic, payload)
    assert sorted(one.expect(Kind.PUBLISH).payload for _ in range(4)) == [b"a", b"a", b"b", b"b"]
    one.unsubscribe(f"$share/g/{topic}")
    other.publish(topic, b"c")
    other.publish(topic, b"d")
    assert [one.expect(Kind.PUBLISH).payload for _ in range(2)] == [b"c", b"d"]
