"""Sections 3.10 and 3.11: UNSUBSCRIBE and UNSUBACK."""

import pytest
import wire
from registry import statement
from wire import MALFORMED, PROTOCOL_ERROR, Kind, Property

CLOSED = ["close-hidden"]
SAID = ["close-hidden", "disconnect-reason-generic"]
NOTHING_THERE = 0x11
LISTED = {0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91}
"""The codes that UNSUBACK of 5.0 may carry; before 5.0 it has none."""


def durable(level: int) -> dict:
    """CONNECT options of a session that outlives its connection."""
    return {"clean": False, "props": [(Property.SESSION_EXPIRY, 600)] if level == 5 else None}


def codes(level: int, *wanted: int) -> tuple:
    """What UNSUBACK carries at this level."""
    return wanted if level == 5 else ()


@statement("MQTT-3.10.1-1", wrong=[*SAID, "request-flags-corrected"])
@statement("MQTT311-3.10.1-1", wrong=[*CLOSED, "request-flags-corrected"])
@pytest.mark.parametrize("flags", [0, 1, 3, 4, 6, 8, 10, 15])
def test_flags_of_unsubscribe(client, level, flags):
    """The flags of UNSUBSCRIBE are 0010, and everything else ends the connection."""
    offender = client()
    offender.send(wire.unsubscribe(1, ["t"], level, flags=flags))
    offender.expect_refused(MALFORMED)


@statement("MQTT-3.10.3-1", wrong=[*SAID, "request-text-corrected"])
@statement("MQTT311-3.10.3-1", wrong=[*CLOSED, "request-text-corrected"])
@pytest.mark.parametrize("text", [b"\xff", b"a/\xed\xa0\x80", b"a/\xc0\x80", b"a\0b"])
def test_filters_are_strings(client, level, text):
    """A topic filter is UTF-8, also behind a good one."""
    offender = client()
    offender.send(wire.unsubscribe(1, ["t", text], level))
    offender.expect_refused(MALFORMED)


@statement("MQTT311-3.10.3-1", wrong=CLOSED)
@pytest.mark.parametrize("surplus", [b"\0", b"\0\x05t"])
def test_filters_are_packed(client, level, surplus):
    """Behind a filter there is the next one or the end."""
    offender = client()
    offender.send(wire.frame(Kind.UNSUBSCRIBE, 2, b"\0\1" + wire.string("t") + surplus))
    offender.expect_refused()


@statement("MQTT-3.10.3-2", wrong=[*SAID, "unsubscribe-empty-filled"])
@statement("MQTT311-3.10.3-2", wrong=[*CLOSED, "unsubscribe-empty-filled"])
def test_unsubscribe_without_filter(client, level):
    """UNSUBSCRIBE names something; nothing at all is a protocol error."""
    offender = client()
    offender.send(wire.unsubscribe(1, [], level))
    offender.expect_refused(PROTOCOL_ERROR)


@statement("MQTT-3.10.4-1", wrong=["filters-normalised", "unsubscribe-by-matching"])
@statement("MQTT311-3.10.4-1", wrong=["filters-normalised", "unsubscribe-by-matching"])
@pytest.mark.parametrize("subscribed", ["{}/a", "{}/+", "{}/#", "{}/+/"])
def test_near_matches_stay(client, unique, level, subscribed):
    """A filter that is only similar, or that matches the subscribed one, deletes nothing."""
    one, other, topic = client(), client(), unique("t")
    name = subscribed.format(topic)
    # Each of the doubles takes one of these for the same.
    near = [f"{topic}/b", topic, name.upper(), name.rstrip("/"), f"{topic}/+", f"{topic}/#", "#", "+/a", f"{topic}/a/"]
    near = [similar for similar in near if similar != name]
    one.subscribe((name, 1))
    assert set(one.unsubscribe(*near).codes) <= {NOTHING_THERE}
    published = f"{topic}/a/" if name.endswith("+/") else f"{topic}/a"
    other.publish(published, b"still there")
    assert one.expect(Kind.PUBLISH).payload == b"still there"


@statement("MQTT-3.10.4-1", "MQTT-3.10.4-2", wrong="unsubscribe-lost")
@statement("MQTT311-3.10.4-1", "MQTT311-3.10.4-2", wrong="unsubscribe-lost")
@pytest.mark.parametrize("name", ["{}/a", "{}/+", "{}/#", "+/{}"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_no_messages_after_unsuback(client, unique, level, name, qos):
    """The same filter deletes the subscription, and no message comes on it any more."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((name.format(topic), qos), (f"{topic}/next/stays", qos))
    one.unsubscribe(name.format(topic))
    other.publish(f"a/{topic}" if name == "+/{}" else f"{topic}/a", b"gone", qos=qos)
    other.publish(f"{topic}/next/stays", b"next", qos=qos)
    assert one.expect(Kind.PUBLISH).payload == b"next"


@statement("MQTT-3.10.4-2", wrong="unsubscribe-lost")
@statement("MQTT311-3.10.4-2", wrong="unsubscribe-lost")
def test_nothing_is_queued_after_unsuback(client, unique, level):
    """For a client that is away no message is queued on a filter that it has left."""
    one, other, topic = client(**durable(level)), client(), unique("t")
    one.subscribe((topic, 1), (topic + "/stays", 1))
    one.unsubscribe(topic)
    one.leave()
    other.publish(topic, b"gone")
    other.publish(topic + "/stays", b"next")
    again = client(one.client_id, **durable(level))
    assert again.expect(Kind.PUBLISH).payload == b"next"


@statement("MQTT-3.10.4-3", wrong="pubrel-dropped")
@statement("MQTT311-3.10.4-3", wrong="pubrel-dropped")
def test_a_started_delivery_goes_on(client, unique, level):
    """A message of QoS 2 that was sent before the filter was left is taken to its end."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, 2))
    other.publish(topic, b"started", qos=2)
    message = one.expect(Kind.PUBLISH)
    one.unsubscribe(topic)
    one.send(wire.ack(Kind.PUBREC, message.packet_id))
    assert one.expect(Kind.PUBREL, packet_id=message.packet_id).code == 0
    one.send(wire.ack(Kind.PUBCOMP, message.packet_id))
    one.ping()


@statement("MQTT-3.10.4-3", wrong="message-repeat-dropped")
@statement("MQTT311-3.10.4-3", wrong="message-repeat-dropped")
@pytest.mark.parametrize("qos", [1, 2])
def test_a_started_delivery_outlives_the_connection(client, unique, level, qos):
    """A message that was sent and not acknowledged is sent again, though its filter was left."""
    one, other, topic = client(**durable(level)), client(), unique("t")
    one.subscribe((topic, qos))
    other.publish(topic, b"started", qos=qos)
    message = one.expect(Kind.PUBLISH)
    one.unsubscribe(topic)
    one.close()
    again = client(one.client_id, **durable(level)).expect(Kind.PUBLISH)
    assert (again.payload, again.packet_id, again.dup) == (b"started", message.packet_id, True)


@statement("MQTT-3.10.4-4", "MQTT-3.10.4-5", wrong=["unsuback-dropped", "ack-id-plus-one"])
@statement("MQTT311-3.10.4-4", wrong=["unsuback-dropped", "ack-id-plus-one", "unsuback-with-codes"])
@pytest.mark.parametrize("packet_id", [1, 0x1234, 0xFFFE])
def test_unsubscribe_is_answered(client, unique, level, packet_id):
    """UNSUBACK answers UNSUBSCRIBE with its packet identifier, and before 5.0 with nothing else."""
    one, topic = client(), unique("t")
    one.subscribe((topic, 0))
    one.send(wire.unsubscribe(packet_id, [topic], level))
    assert one.expect(Kind.UNSUBACK, packet_id=packet_id).codes == codes(level, 0)


@statement("MQTT-3.10.4-5", wrong=["unsuback-about-nothing-dropped", "unsuback-zeroed"])
@statement("MQTT311-3.10.4-5", wrong="unsuback-dropped")
def test_nothing_to_delete(client, unique, level):
    """UNSUBACK comes also if there was no such subscription, and says so in 5.0."""
    one = client()
    one.send(wire.unsubscribe(0x0707, [unique("t")], level))
    assert one.expect(Kind.UNSUBACK, packet_id=0x0707).codes == codes(level, NOTHING_THERE)


@statement("MQTT-3.10.4-5", wrong="unsuback-zeroed")
def test_deleted_twice(client, unique):
    """What was deleted is not there any more for the next UNSUBSCRIBE."""
    one, topic = client(), unique("t")
    one.subscribe((topic, 0))
    assert [one.unsubscribe(topic).codes for _ in range(2)] == [(0,), (NOTHING_THERE,)]


@statement("U5-54", wrong="close-after-failure")
def test_nothing_to_delete_ends_nothing(client, unique):
    """A filter that could not be deleted leaves the connection as it was."""
    one = client()
    one.unsubscribe(unique("t"))
    one.ping()


@statement("MQTT-3.10.4-6", wrong=["unsubscribe-first-only", "unsuback-doubled", "unsuback-split"])
@statement("MQTT311-3.10.4-6", wrong=["unsubscribe-first-only", "unsuback-doubled"])
def test_several_filters(client, unique, level):
    """A list of filters acts like an UNSUBSCRIBE for each of them, but has one UNSUBACK."""
    one, other, topics = client(), client(), [unique("t") for _ in range(5)]
    one.subscribe(*((topic, 0) for topic in topics))
    one.send(wire.unsubscribe(77, topics[:4], level) + wire.pingreq())
    answers = sorted(one.receive().kind for _ in range(2))
    assert answers == sorted([Kind.UNSUBACK, Kind.PINGRESP])
    for topic in topics:
        other.publish(topic, topic.encode(), qos=0)
    assert one.expect(Kind.PUBLISH).topic == topics[4]


def tight(dial, own_broker, unique) -> tuple[wire.Client, int]:
    """A client whose Maximum Packet Size is just that of its CONNACK, and this size."""
    broker = own_broker()
    first = dial(5, to=broker).connect(unique("c"), props=[(0x27, 200)])
    size = 2 + len(first.body)
    one = dial(5, to=broker)
    one.connect(unique("c"), props=[(0x27, size)])
    return one, size


@statement("MQTT-3.11.2-1", "H-22", wrong="unsuback-reason-long")
@statement("MQTT-3.11.2-2", wrong="unsuback-user-property-long")
def test_unsuback_for_a_small_client(dial, own_broker, unique):
    """Reasons in words are left out of an UNSUBACK that would be too large with them."""
    one, size = tight(dial, own_broker, unique)
    # Just as many codes as there is room for: fixed header, identifier, property length.
    answer = one.unsubscribe(*["never"] * (size - 5))
    assert 2 + len(answer.body) <= size and len(answer.codes) == size - 5


@statement("MQTT-3.11.3-1", wrong=["unsuback-reversed", "unsuback-zeroed"])
def test_the_order_of_codes(client, unique):
    """The codes of UNSUBACK stand in the order of the filters."""
    one, topics = client(), [unique("t") for _ in range(3)]
    one.subscribe(*((topic, 0) for topic in topics))
    answer = one.unsubscribe("never", topics[0], topics[1], "never/either", topics[0], topics[2])
    assert answer.codes == (NOTHING_THERE, 0, 0, NOTHING_THERE, NOTHING_THERE, 0)


@statement("MQTT-3.11.3-2", "U5-39", wrong=["unsuback-count-off", "unsuback-unlisted"])
@pytest.mark.parametrize("count", [1, 2, 200])
def test_a_listed_code_for_each_filter(client, unique, count):
    """UNSUBACK has as many codes as UNSUBSCRIBE had filters, all of them listed."""
    one, topic = client(), unique("t")
    one.subscribe((f"{topic}/0", 0))
    answer = one.unsubscribe(*(f"{topic}/{number}" for number in range(count)))
    assert len(answer.codes) == count and set(answer.codes) <= LISTED


@statement("MQTT-3.11.3-2", wrong="unsuback-unlisted")
@pytest.mark.parametrize("name", ["a#b", "", "a+", "$share", "$share/g", "$share//t", "$share/a+/t"])
def test_listed_codes_for_bad_filters(client, name):
    """A filter that nobody can have subscribed to gets a listed code too."""
    (code,) = client().unsubscribe(name).codes
    assert code in LISTED - {0}


@statement("U5-40", wrong=["unsubscribe-share-plain", "unsubscribe-lost"])
def test_leaving_a_group(client, unique):
    """The full filter of a shared subscription deletes that one, and not its like."""
    one, other, topic = client(), client(), unique("t")
    names = [f"$share/g/{topic}", f"$share/h/{topic}", topic]
    assert one.subscribe(*((name, 0) for name in names)).codes == (0, 0, 0)
    for left, name in ((3, names[0]), (2, names[1]), (1, None)):
        other.publish(topic, b"%d" % left)
        assert {one.expect(Kind.PUBLISH).payload for _ in range(left)} == {b"%d" % left}
        if name:
            assert one.unsubscribe(name).codes == (0,)
