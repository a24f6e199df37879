"""Section 4.13: what the broker does about malformed packets, protocol errors and other errors."""

import pytest
import wire
from operation import table
from registry import statement
from wire import MALFORMED, PROTOCOL_ERROR, Kind

SAID = ["close-hidden", "disconnect-reason-generic"]

CUT = {4: b"\4\0\1\0\5", 5: b"\5\0\1\0\0\5"}
BOTH = {
    # Each with the reason that 5.0 has for it.
    "reserved type": (MALFORMED, lambda level: b"\x00\x00"),
    "QoS 3": (MALFORMED, lambda level: b"\x36" + wire.publish("t", b"", level, qos=1, packet_id=1)[1:]),
    "PUBLISH cut in the topic": (MALFORMED, lambda level: b"\x30\x03\x00\x05a"),
    "PUBLISH without a packet id": (MALFORMED, lambda level: b"\x32\x03\x00\x01t"),
    "SUBSCRIBE cut in the filter": (MALFORMED, lambda level: wire.subscribe(1, [], level)[:1] + CUT[level]),
    "SUBSCRIBE without options": (MALFORMED, lambda level: subscribe_cut(level)),
    "PUBACK of one byte": (MALFORMED, lambda level: b"\x40\x01\x00"),
    "PINGREQ with a body": (MALFORMED, lambda level: wire.pingreq(body=b"\0")),
    "packets of the broker": (PROTOCOL_ERROR, lambda level: b"\xd0\x00"),
    "SUBACK": (PROTOCOL_ERROR, lambda level: wire.frame(Kind.SUBACK, 0, b"\0\1\0\0"[: 4 if level == 5 else 3])),
    "no filters": (PROTOCOL_ERROR, lambda level: wire.subscribe(1, [], level)),
    "no filters to leave": (PROTOCOL_ERROR, lambda level: wire.unsubscribe(1, [], level)),
}
FIVE = {
    "reserved options": (MALFORMED, wire.subscribe(1, [("t", 0x40)], 5)),
    "unknown property": (MALFORMED, wire.publish("t", b"", 5, props=b"\x02\x7e\x00")),
    "properties beyond the end": (MALFORMED, b"\x30\x04\x00\x01t\x05"),
    "surplus in DISCONNECT": (MALFORMED, wire.frame(Kind.DISCONNECT, 0, b"\0\0\0")),
    "surplus in PUBREL": (MALFORMED, wire.frame(Kind.PUBREL, 2, b"\0\1\0\0\0")),
    "unknown reason": (PROTOCOL_ERROR, wire.ack(Kind.PUBACK, 1, 0x7F)),
    "Payload Format 2": (PROTOCOL_ERROR, wire.publish("t", b"", 5, props=[(0x01, 2)])),
    "Subscription Identifier 0": (PROTOCOL_ERROR, wire.subscribe(1, [("t", 0)], 5, [(0x0B, 0)])),
    "Topic Alias 0": (0x94, wire.publish("t", b"", 5, props=[(0x23, 0)])),
    "AUTH without a method": (PROTOCOL_ERROR, wire.auth(0x19)),
    "wildcards in the name": (0x90, wire.publish("t/#", b"", 5)),
}


def subscribe_cut(level: int) -> bytes:
    """A SUBSCRIBE whose only filter lacks its options."""
    return wire.frame(Kind.SUBSCRIBE, 2, b"\0\1" + (b"\0" if level == 5 else b"") + wire.string("t"))


@statement("MQTT-4.13.1-1", "MQTT-4.13.2-1", "U5-53", "H-39", wrong=SAID)
@statement("MQTT311-4.8.0-1", wrong="close-hidden")
@table(BOTH)
def test_violations(client, level, case):
    """A packet that breaks the rules ends its connection; 5.0 says why."""
    code, make = case
    offender = client()
    offender.send(make(level))
    offender.expect_refused(code)


@statement("MQTT-4.13.1-1", "MQTT-4.13.2-1", "U5-53", "H-39", wrong=SAID)
@table(FIVE)
def test_violations_of_5(client, case):
    """The reason is the most specific one."""
    code, data = case
    offender = client()
    offender.send(data)
    offender.expect_refused(code)


@statement("MQTT-4.13.1-1", wrong="publish-dropped")
@statement("MQTT311-4.8.0-1", wrong="publish-dropped")
def test_violations_hurt_nobody_else(client, unique, level):
    """Only the connection that broke a rule is closed, and what it did before stands."""
    one, offender, topic = client(), client(), unique("t")
    one.subscribe((topic, 0))
    offender.send(wire.publish(topic, b"before", level) + b"\x00\x00" + wire.publish(topic, b"after", level))
    offender.expect_refused(MALFORMED)
    assert one.expect(Kind.PUBLISH).payload == b"before"
    client().publish(topic, b"next", qos=0)
    assert one.expect(Kind.PUBLISH).payload == b"next"


@statement("MQTT-4.13.2-1", wrong="close-hidden")
@pytest.mark.parametrize("code", [0x80, 0x81, 0x82, 0x83, 0x93, 0x95, 0x99])
def test_disconnect_with_an_error(client, code):
    """A client's DISCONNECT with an error is the end, as without one."""
    one = client()
    one.send(wire.disconnect(code) + wire.pingreq())
    assert one.expect_closed() is None


@statement("MQTT-4.13.2-1", wrong="close-hidden")
def test_connack_with_an_error(dial, unique):
    """A CONNACK with an error is followed by the close, whatever the client sends."""
    one = dial()
    one.send(wire.connect(unique("c"), 5, props=[(0x15, "unheard of")]))
    connack = one.expect(Kind.CONNACK)
    assert connack.code >= 0x80
    one.send(wire.pingreq())
    assert one.expect_closed() is None


@statement("U5-54", wrong="eager-close")
@pytest.mark.parametrize("qos", [1, 2])
def test_errors_of_acknowledgements(client, unique, qos):
    """A client's PUBACK or PUBREC with an error leaves the connection as it was."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, qos))
    for payload in (b"first", b"second"):
        other.publish(topic, payload, qos=qos)
        message = one.expect(Kind.PUBLISH)
        assert message.payload == payload
        one.send(wire.ack(Kind.PUBACK if qos == 1 else Kind.PUBREC, message.packet_id, 0x97))
    one.ping()


@statement("U5-54", wrong=["eager-close", "suback-dropped", "unsuback-dropped"])
def test_errors_of_subscriptions(client, unique):
    """A filter that is refused in SUBACK, and one that is not there in UNSUBACK, leave the others alone."""
    one, other, topic = client(), client(), unique("t")
    one.send(wire.subscribe(1, [(topic, 1), ("$share/own", 1)], 5))
    codes = one.expect(Kind.SUBACK).codes
    assert codes[0] == 1 and codes[1] >= 0x80
    assert one.unsubscribe("never").codes == (0x11,)
    other.publish(topic, b"alive")
    assert one.expect(Kind.PUBLISH).payload == b"alive"


@statement("U5-54", wrong=["eager-close", "ack-code-zeroed"])
def test_an_unknown_release(client):
    """PUBREL and PUBREC for an id that nobody knows are answered by 0x92, and go on."""
    one = client()
    one.send(wire.ack(Kind.PUBREL, 77))
    assert one.expect(Kind.PUBCOMP, packet_id=77).code == 0x92
    one.send(wire.ack(Kind.PUBREC, 78))
    assert one.expect(Kind.PUBREL, packet_id=78).code == 0x92
    one.ping()
