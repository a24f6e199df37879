"""Section 1 and 2: strings, integers, fixed header, packet identifiers, properties."""

import pytest
import wire
from registry import statement
from wire import MALFORMED, PROTOCOL_ERROR, Kind, Property, Will

CLOSED = ["close-hidden"]
SAID = ["close-hidden", "reason-generic"]

NOT_UTF_8 = {
    "surrogate": b"a\xed\xa0\x80",
    "overlong": b"a\xc0\xaf",
    "cut short": b"a\xe2\x82",
    "lone continuation": b"a\x80",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
}
IN_CONNECT = {
    "client id": lambda text: {"client_id": text},
    "will topic": lambda text: {"will": Will(text)},
    "user name": lambda text: {"username": text},
}
IN_CONNECT_5 = {
    "authentication method": lambda text: {"props": [(0x15, text)]},
    "content type of the will": lambda text: {"will": Will("w", props=[(0x03, text)])},
    "response topic of the will": lambda text: {"will": Will("w", props=[(0x08, text)])},
}
AFTER_CONNECT = {
    "topic": lambda text, level: wire.publish(text, b"", level),
    "filter": lambda text, level: wire.subscribe(1, [(text, 0)], level),
    "filter to leave": lambda text, level: wire.unsubscribe(1, [text], level),
}
AFTER_CONNECT_5 = {
    "content type": lambda text, level: wire.publish("t", b"", 5, props=[(0x03, text)]),
    "response topic": lambda text, level: wire.publish("t", b"", 5, props=[(0x08, text)]),
    "reason string": lambda text, level: wire.disconnect(0, [(0x1F, text)]),
}


def table(data: dict) -> pytest.MarkDecorator:
    """One run for each entry, named by its key."""
    return pytest.mark.parametrize("case", data.values(), ids=data.keys())


def refused(dial, unique, text: bytes, place) -> None:
    """CONNECT with this text in this place ends the connection."""
    options = {"client_id": unique("c"), **place(text)}
    offender = dial()
    offender.send(wire.connect(options.pop("client_id"), offender.level, **options))
    offender.expect_unwelcome(MALFORMED)


@statement("MQTT-1.5.4-1", wrong=SAID)
@statement("MQTT311-1.5.3-1", wrong=CLOSED)
@pytest.mark.parametrize("text", NOT_UTF_8.values(), ids=NOT_UTF_8.keys())
@table(AFTER_CONNECT)
def test_ill_formed_text(client, level, text, case):
    """Strings are well-formed UTF-8, without surrogates."""
    offender = client()
    offender.send(case(text, level))
    offender.expect_refused(MALFORMED)


@statement("MQTT-1.5.4-1", wrong=SAID)
@pytest.mark.parametrize("text", NOT_UTF_8.values(), ids=NOT_UTF_8.keys())
@table(AFTER_CONNECT_5)
def test_ill_formed_text_in_a_property(client, text, case):
    """Strings in properties are strings too."""
    offender = client()
    offender.send(case(text, 5))
    offender.expect_refused(MALFORMED)


@statement("MQTT-1.5.4-1", "MQTT-3.1.3-4", "MQTT-3.1.3-11", "MQTT-3.1.3-12", wrong=CLOSED)
@statement("MQTT311-1.5.3-1", "MQTT311-3.1.3-4", "MQTT311-3.1.3-10", "MQTT311-3.1.3-11", wrong=CLOSED)
@pytest.mark.parametrize("text", NOT_UTF_8.values(), ids=NOT_UTF_8.keys())
@table(IN_CONNECT)
def test_ill_formed_text_in_connect(dial, unique, level, text, case):
    """Client id, will topic and user name are strings."""
    refused(dial, unique, text, case)


@statement("MQTT-1.5.4-1", wrong=CLOSED)
@pytest.mark.parametrize("text", NOT_UTF_8.values(), ids=NOT_UTF_8.keys())
@table(IN_CONNECT_5)
def test_ill_formed_text_in_a_property_of_connect(dial, unique, text, case):
    """Also the properties of CONNECT and of its will."""
    refused(dial, unique, text, case)


@statement("MQTT-1.5.4-2", "H-38", wrong=SAID)
@statement("MQTT311-1.5.3-2", wrong=CLOSED)
@table(AFTER_CONNECT)
def test_nul(client, level, case):
    """No string holds U+0000."""
    offender = client()
    offender.send(case(b"a\0b", level))
    offender.expect_refused(MALFORMED)


@statement("MQTT-1.5.4-2", "H-38", wrong=SAID)
@table(AFTER_CONNECT_5)
def test_nul_in_a_property(client, case):
    """No string in a property holds U+0000."""
    offender = client()
    offender.send(case(b"a\0b", 5))
    offender.expect_refused(MALFORMED)


@statement("MQTT-1.5.4-2", "H-38", wrong=CLOSED)
@statement("MQTT311-1.5.3-2", wrong=CLOSED)
@table(IN_CONNECT)
def test_nul_in_connect(dial, unique, level, case):
    """No string in CONNECT holds U+0000."""
    refused(dial, unique, b"a\0b", case)


@statement("MQTT-1.5.4-2", "H-38", wrong=CLOSED)
@table(IN_CONNECT_5)
def test_nul_in_a_property_of_connect(dial, unique, case):
    """No string in the properties of CONNECT holds U+0000."""
    refused(dial, unique, b"a\0b", case)


@statement("MQTT-1.5.4-3", "MQTT311-1.5.3-3", wrong=["publish-bom-stripped", "publish-topic-changed"])
def test_a_bom_is_a_character(client, unique, level):
    """EF BB BF is U+FEFF wherever it stands, and part of the topic."""
    one, topic = client(), "\ufeff" + unique("t") + "\ufeff"
    one.subscribe((topic, 0))
    one.send_publish(topic, b"", qos=0)
    assert one.expect(Kind.PUBLISH).topic == topic


@statement("MQTT-1.5.4-3", "MQTT311-1.5.3-3", wrong=["publish-payload-bit-flipped"])
def test_a_bom_tells_topics_apart(client, unique, level):
    """A filter without U+FEFF does not match a topic that begins with it."""
    one, topic = client(), unique("t")
    one.subscribe((topic, 0))
    one.send_publish("\ufeff" + topic, b"another topic", qos=0)
    one.send_publish(topic, b"this topic", qos=0)
    assert one.expect(Kind.PUBLISH).payload == b"this topic"


@statement("MQTT-1.5.5-1", wrong=SAID)
@table(
    {
        "remaining length in two bytes": b"\xc0\x80\x00",
        "remaining length in four bytes": b"\x30\x84\x80\x80\x00\x00\x01t\x00",
        "property length in two bytes": b"\x30\x05\x00\x01t\x80\x00",
        "subscription id in two bytes": b"\x82\x0a\x00\x01\x03\x0b\x81\x00\x00\x01t\x00",
    }
)
def test_longer_than_needed(client, case):
    """A variable byte integer takes as few bytes as it can."""
    offender = client()
    offender.send(case)
    offender.expect_refused(MALFORMED)


@statement("U5-2", wrong=SAID)
@table(
    {
        "remaining length": b"\x30\xff\xff\xff\xff\x01",
        "property length": b"\x30\x08\x00\x01t\x80\x80\x80\x80\x01",
    }
)
def test_five_bytes(client, case):
    """A variable byte integer has at most four bytes."""
    offender = client()
    offender.send(case)
    offender.expect_refused(MALFORMED)


@statement("MQTT-1.5.7-1", wrong=SAID)
@table({"name": (b"\xff", "value"), "value": ("name", b"\xff"), "NUL": ("name", b"\0")})
def test_string_pairs(client, case):
    """Both halves of a User Property are strings."""
    offender = client()
    offender.send(wire.publish("t", b"", 5, props=[(Property.USER_PROPERTY, case)]))
    offender.expect_refused(MALFORMED)


FLAGS = {
    "PUBACK": lambda level: wire.ack(Kind.PUBACK, 1, flags=1),
    "PUBREC": lambda level: wire.ack(Kind.PUBREC, 1, flags=8),
    "PUBREL": lambda level: wire.ack(Kind.PUBREL, 1, flags=0),
    "PUBCOMP": lambda level: wire.ack(Kind.PUBCOMP, 1, flags=2),
    "SUBSCRIBE": lambda level: wire.subscribe(1, [("t", 0)], level, flags=0),
    "SUBSCRIBE with another bit": lambda level: wire.subscribe(1, [("t", 0)], level, flags=3),
    "UNSUBSCRIBE": lambda level: wire.unsubscribe(1, ["t"], level, flags=0),
    "PINGREQ": lambda level: wire.pingreq(flags=1),
    "DISCONNECT": lambda level: wire.disconnect(flags=4),
}


@statement("MQTT-2.1.3-1", "U5-3", wrong=SAID)
@statement("MQTT311-2.2.2-2", wrong=CLOSED)
@table(FLAGS)
def test_reserved_flags(client, level, case):
    """The flags of the fixed header are those of the table."""
    offender = client()
    offender.send(case(level))
    offender.expect_refused(MALFORMED)


@statement("MQTT-2.1.3-1", wrong=SAID)
def test_reserved_flags_of_auth(client):
    """The flags of AUTH are 0; without an Authentication Method the packet itself is out of place."""
    offender = client()
    offender.send(wire.auth(flags=1))
    offender.expect_refused(MALFORMED)


@statement("MQTT-2.1.3-1", wrong=CLOSED)
@statement("MQTT311-2.2.2-2", wrong=CLOSED)
def test_reserved_flags_of_connect(dial, unique, level):
    """The flags of CONNECT are 0; a CONNACK need not say so, since this may be no MQTT at all."""
    offender, data = dial(), bytearray(wire.connect(unique("c"), level))
    data[0] |= 1
    offender.send(bytes(data))
    ending = offender.expect_closed()
    assert ending is None or (level == 5 and ending.code == MALFORMED)


@statement("MQTT-2.1.3-1", "MQTT311-2.2.2-1", wrong="flags-reserved")
def test_flags_of_the_broker(client, unique, level):
    """What the broker sends has the flags of the table as well: 2 for PUBREL, else 0."""
    one, topic = client(), unique("t")
    seen = [one.subscribe((topic, 2))]
    one.send_publish(topic, b"", qos=2)
    one.send(wire.ack(Kind.PUBREL, 1 + seen[0].packet_id))
    while Kind.PUBCOMP not in {packet.kind for packet in seen} or seen[-1].kind != Kind.PUBREL:
        seen.append(one.receive())
        if seen[-1].kind == Kind.PUBLISH:
            one.send(wire.ack(Kind.PUBREC, seen[-1].packet_id))
        if seen[-1].kind == Kind.PUBREL and Kind.PUBCOMP not in {packet.kind for packet in seen}:
            seen.insert(0, one.expect(Kind.PUBCOMP))
    one.send_publish(topic, b"", qos=1)
    one.send(wire.unsubscribe(9, [topic], level) + wire.pingreq())
    while seen[-1].kind != Kind.PINGRESP:
        seen.append(one.receive())
    found = {packet.kind: packet.flags for packet in seen if packet.kind != Kind.PUBLISH}
    zeros = (Kind.SUBACK, Kind.PUBREC, Kind.PUBCOMP, Kind.PUBACK, Kind.UNSUBACK, Kind.PINGRESP)
    assert found == {Kind.PUBREL: 2, **dict.fromkeys(zeros, 0)}


@statement("MQTT-2.2.1-2", "MQTT311-2.3.1-5", wrong="publish-id-at-qos-0")
def test_no_packet_id_at_qos_0(client, unique, level):
    """At QoS 0 the payload begins right behind the topic and the properties."""
    one, topic = client(), unique("t")
    one.subscribe((topic, 0))
    one.send_publish(topic, b"payload", qos=0)
    behind_topic = b"\0" if level == 5 else b""
    assert one.expect(Kind.PUBLISH).body == wire.string(topic) + behind_topic + b"payload"


@statement("MQTT-2.2.1-3", "H-39", wrong=CLOSED)
@statement("MQTT311-2.3.1-1", wrong=CLOSED)
@table(
    {
        "PUBLISH at QoS 1": lambda level: wire.publish("t", b"", level, qos=1),
        "PUBLISH at QoS 2": lambda level: wire.publish("t", b"", level, qos=2),
        "SUBSCRIBE": lambda level: wire.subscribe(0, [("t", 0)], level),
        "UNSUBSCRIBE": lambda level: wire.unsubscribe(0, ["t"], level),
    }
)
def test_packet_id_0(client, level, case):
    """A packet identifier is not 0; 5.0 leaves open whether that is malformed or an error."""
    offender = client()
    offender.send(case(level))
    ending = offender.expect_closed()
    assert ending is None if level < 5 else ending.code in (MALFORMED, PROTOCOL_ERROR)


@statement("MQTT-2.2.1-4", "MQTT311-2.3.1-4", wrong=["publish-id-repeated", "publish-id-zeroed"])
@pytest.mark.parametrize("qos", [1, 2])
def test_packet_ids_of_the_broker(client, unique, level, qos):
    """Messages that wait for their acknowledgement have different identifiers, none of them 0."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, qos))
    for number in range(20):
        other.publish(topic, b"%d" % number, qos=qos)
    ids = {one.expect(Kind.PUBLISH).packet_id for _ in range(20)}
    assert len(ids) == 20 and 0 not in ids


@statement("MQTT-2.2.1-5", "MQTT311-2.3.1-6", wrong=["ack-id-plus-one", "packet-id-changed"])
def test_acknowledgements_repeat_the_id(client, unique, level):
    """PUBACK, PUBREC and PUBCOMP carry the identifier of their PUBLISH."""
    one, topic = client(), unique("t")
    one.send(wire.publish(topic, b"", level, qos=1, packet_id=0x1234))
    one.expect(Kind.PUBACK, packet_id=0x1234)
    one.send(wire.publish(topic, b"", level, qos=2, packet_id=0xFFFF))
    one.expect(Kind.PUBREC, packet_id=0xFFFF)
    one.send(wire.ack(Kind.PUBREL, 0xFFFF))
    one.expect(Kind.PUBCOMP, packet_id=0xFFFF)


@statement("MQTT-2.2.1-5", "MQTT311-2.3.1-6", wrong="ack-id-plus-one")
def test_release_repeats_the_id(client, unique, level):
    """The broker's PUBREL carries the identifier of its PUBLISH."""
    one, other, topic = client(), client(), unique("t")
    # The SUBACK would be changed too, so it is left unread until its id does not matter any more.
    one.send(wire.subscribe(1, [(topic, 2)], level))
    one.expect(Kind.SUBACK)
    other.send_publish(topic, b"", qos=2)
    other.send(wire.ack(Kind.PUBREL, 1))
    message = one.expect(Kind.PUBLISH)
    one.send(wire.ack(Kind.PUBREC, message.packet_id))
    one.expect(Kind.PUBREL, packet_id=message.packet_id)


@statement("MQTT-2.2.1-6", "MQTT311-2.3.1-7", wrong=["ack-id-plus-one", "packet-id-changed"])
def test_answers_repeat_the_id(client, unique, level):
    """SUBACK and UNSUBACK carry the identifier of the request."""
    one, topic = client(), unique("t")
    one.send(wire.subscribe(0xABCD, [(topic, 0)], level))
    one.expect(Kind.SUBACK, packet_id=0xABCD)
    one.send(wire.unsubscribe(0x0100, [topic], level))
    one.expect(Kind.UNSUBACK, packet_id=0x0100)


@statement("MQTT-2.2.2-1", wrong="property-length-left-out")
def test_no_properties_is_a_length_of_0(client, unique):
    """A packet without properties says so in its property length."""
    one, topic = client(), unique("t")
    assert one.subscribe((topic, 0)).body[2:] == b"\0\0"
    one.send_publish(topic, b"", qos=0)
    assert one.expect(Kind.PUBLISH).body[2 + len(topic) :] == b"\0"
    assert one.unsubscribe(topic).body[2:] == b"\0\0"


@statement("U5-4", "H-39", wrong=SAID)
@table(
    {
        "Receive Maximum in PUBLISH": wire.publish("t", b"", 5, props=[(0x21, 5)]),
        "Will Delay in PUBLISH": wire.publish("t", b"", 5, props=[(0x18, 5)]),
        "Content Type in SUBSCRIBE": wire.subscribe(1, [("t", 0)], 5, [(0x03, "x")]),
        "Subscription Identifier in UNSUBSCRIBE": wire.unsubscribe(1, ["t"], 5, [(0x0B, 1)]),
        "Topic Alias in PUBACK": wire.ack(Kind.PUBACK, 1, 0, [(0x23, 1)]),
        "Reason String in SUBSCRIBE": wire.subscribe(1, [("t", 0)], 5, [(0x1F, "x")]),
        "Message Expiry in DISCONNECT": wire.disconnect(0, [(0x02, 1)]),
        "unknown": wire.publish("t", b"", 5, props=b"\x02\x7f\x00"),
        "value longer than the section": wire.publish("t", b"\0\0\0", 5, props=b"\x03\x02\x00\x00"),
    }
)
def test_misplaced_properties(client, case):
    """A property that the packet does not know, or a value of another type, is malformed."""
    offender = client()
    offender.send(case)
    offender.expect_refused(MALFORMED)


@statement("U5-5", "H-39", wrong=SAID)
@table(
    {
        "Payload Format": wire.publish("t", b"", 5, props=[(0x01, 0), (0x01, 0)]),
        "Message Expiry": wire.publish("t", b"", 5, props=[(0x02, 9), (0x02, 9)]),
        "Content Type": wire.publish("t", b"", 5, props=[(0x03, "a"), (0x03, "b")]),
        "Response Topic": wire.publish("t", b"", 5, props=[(0x08, "a"), (0x08, "b")]),
        "Correlation Data": wire.publish("t", b"", 5, props=[(0x09, b"a"), (0x09, b"b")]),
        "Subscription Identifier": wire.subscribe(1, [("t", 0)], 5, [(0x0B, 1), (0x0B, 2)]),
        "Session Expiry": wire.disconnect(0, [(0x11, 0), (0x11, 0)]),
        "Reason String": wire.disconnect(0, [(0x1F, "a"), (0x1F, "b")]),
    }
)
def test_properties_given_twice(client, case):
    """All but User Property may be given once."""
    offender = client()
    offender.send(case)
    offender.expect_refused(PROTOCOL_ERROR)


@statement("U5-5", wrong=CLOSED)
@table(
    {
        "Session Expiry": [(0x11, 1), (0x11, 1)],
        "Receive Maximum": [(0x21, 9), (0x21, 9)],
        "Maximum Packet Size": [(0x27, 99), (0x27, 99)],
        "Topic Alias Maximum": [(0x22, 9), (0x22, 9)],
        "Request Response Information": [(0x19, 0), (0x19, 0)],
        "Request Problem Information": [(0x17, 1), (0x17, 1)],
    }
)
def test_properties_given_twice_in_connect(dial, unique, case):
    """All but User Property may be given once in CONNECT."""
    offender = dial()
    offender.send(wire.connect(unique("c"), 5, props=case))
    offender.expect_unwelcome(PROTOCOL_ERROR)
