"""Malformed packets close the connection that sent them, say why in MQTT 5, and disturb nobody else."""

import packets
import pytest
from mqtt import Closed
from packets import Kind

MALFORMED, PROTOCOL_ERROR, BAD_VERSION = 0x81, 0x82, 0x84
BAD_FILTER, BAD_TOPIC, BAD_ALIAS, TOO_LARGE, BAD_QOS = 0x8F, 0x90, 0x94, 0x95, 0x9B
INVALID = {MALFORMED, PROTOCOL_ERROR}


def v5_publish(props, topic="t"):
    """A PUBLISH of MQTT 5 with these properties."""
    return packets.publish(topic, b"x", 5, props=props)


AFTER_CONNECT = {
    "reserved type 0": ((4, 5), bytes.fromhex("00 00"), INVALID),
    "SUBSCRIBE with flags 0": ((4,), bytes.fromhex("80 06 00 01 00 01 61 00"), INVALID),
    "SUBSCRIBE with flags 0, v5": ((5,), bytes.fromhex("80 07 00 01 00 00 01 61 00"), INVALID),
    "SUBSCRIBE without filters": ((4,), bytes.fromhex("82 02 00 01"), INVALID),
    "SUBSCRIBE without filters, v5": ((5,), bytes.fromhex("82 03 00 01 00"), INVALID),
    "SUBSCRIBE with id 0": ((4,), packets.subscribe(0, [("a", 0)]), INVALID),
    "SUBSCRIBE with id 0, v5": ((5,), packets.subscribe(0, [("a", 0)], 5), INVALID),
    "SUBSCRIBE with QoS 3": ((4,), packets.subscribe(1, [("a", 3)]), INVALID),
    "SUBSCRIBE with QoS 3, v5": ((5,), packets.subscribe(1, [("a", 3)], 5), INVALID),
    "SUBSCRIBE with reserved options": ((5,), packets.subscribe(1, [("a", 0xC0)], 5), INVALID),
    "PINGREQ with flags": ((4, 5), bytes.fromhex("c1 00"), INVALID),
    "PINGREQ with a body": ((4, 5), bytes.fromhex("c0 01 00"), INVALID),
    "PUBLISH with QoS 3": ((4,), bytes.fromhex("36 06 00 01 61 00 01 78"), INVALID),
    "PUBLISH with QoS 3, v5": ((5,), bytes.fromhex("36 07 00 01 61 00 01 00 78"), INVALID),
    "PUBLISH with QoS 1 and id 0": ((4,), packets.publish("a", b"", qos=1), INVALID),
    "PUBLISH with QoS 1 and id 0, v5": ((5,), packets.publish("a", b"", 5, qos=1), INVALID),
    "PUBLISH to a filter": ((4,), packets.publish("a/#", b""), INVALID | {BAD_TOPIC}),
    "PUBLISH to a filter, v5": ((5,), packets.publish("a/#", b"", 5), INVALID | {BAD_TOPIC}),
    "PUBLISH to no topic": ((4,), packets.publish("", b""), INVALID | {BAD_TOPIC}),
    "PUBLISH to no topic, v5": ((5,), packets.publish("", b"", 5), INVALID | {BAD_TOPIC}),
    "topic with NUL": ((4,), packets.publish("a\0b", b""), INVALID | {BAD_TOPIC}),
    "topic with NUL, v5": ((5,), packets.publish("a\0b", b"", 5), INVALID | {BAD_TOPIC}),
    "topic not UTF-8": ((4,), packets.publish(b"\xff\xfe", b""), INVALID | {BAD_TOPIC}),
    "topic not UTF-8, v5": ((5,), packets.publish(b"\xff\xfe", b"", 5), INVALID | {BAD_TOPIC}),
    "topic with a surrogate": ((4,), packets.publish(b"a\xed\xa0\x80", b""), INVALID | {BAD_TOPIC}),
    "topic longer than the packet": ((4, 5), bytes.fromhex("30 03 00 05 61"), INVALID),
    "remaining length of five bytes": ((4, 5), bytes.fromhex("30 ff ff ff ff 01"), INVALID | {TOO_LARGE}),
    "CONNACK from a client": ((4, 5), bytes.fromhex("20 02 00 00"), INVALID),
    "topic alias 0": ((5,), v5_publish({0x23: 0}), {BAD_ALIAS, PROTOCOL_ERROR}),
    "unknown topic alias": ((5,), v5_publish({0x23: 1}, ""), {BAD_ALIAS, PROTOCOL_ERROR}),
    "unknown property": ((5,), bytes.fromhex("30 06 00 01 61 02 7f 00"), INVALID),
    "property twice": ((5,), bytes.fromhex("30 08 00 01 61 04 01 00 01 00"), INVALID),
    "property of CONNECT in PUBLISH": ((5,), bytes.fromhex("30 07 00 01 61 03 21 00 05"), INVALID),
    "subscription id in PUBLISH": ((5,), v5_publish({0x0B: 1}), INVALID),
}

MOSQUITTO_TOLERATES = {
    "PINGREQ with flags",
    "PINGREQ with a body",
    "remaining length of five bytes",
    "CONNACK from a client",
    "topic alias 0",
    "property twice",
    "subscription id in PUBLISH",
}
"""Accepted there, or refused without a word or with another one."""

FIRST_PACKET = {
    "PUBLISH before CONNECT": packets.publish("a", b"x"),
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": bytes.fromhex("16 03 01 00 f4 01 00 00 f0 03 03"),
    "another protocol name": bytes.fromhex("10 0d 00 04 4d 51 58 58 04 02 00 00 00 01 61"),
    "CONNECT with the reserved flag": bytes.fromhex("10 0d 00 04 4d 51 54 54 04 03 00 00 00 01 61"),
    "CONNECT cut short": bytes.fromhex("10 08 00 04 4d 51 54 54 04 02"),
}


@pytest.fixture
def bystander(client):
    """Checks that a client that did nothing wrong still gets its messages."""
    subscriber = client("bystander")
    subscriber.subscribe(("news", 1))

    def check():
        client("publisher").publish("news", b"undisturbed")
        subscriber.expect_message(b"undisturbed")

    return check


@pytest.mark.parametrize(
    ("level", "data", "codes"),
    [
        pytest.param(
            level,
            data,
            codes,
            id=f"{name}-level={level}",
            marks=[pytest.mark.bellbird] if name in MOSQUITTO_TOLERATES else [],
        )
        for name, (levels, data, codes) in AFTER_CONNECT.items()
        for level in levels
    ],
)
def test_after_connect(client, bystander, level, data, codes):
    offender = client("offender", level)
    offender.send(data)
    ending = offender.expect_closed()
    bystander()
    if level == 5:
        assert ending and ending.code in codes, f"expected one of {codes}, got {ending}"
    else:
        assert ending is None


@pytest.mark.parametrize("data", FIRST_PACKET.values(), ids=FIRST_PACKET.keys())
def test_first_packet(dial, bystander, data):
    """[MQTT-3.1.0-1]: closed; what looks like a CONNECT may be refused in words."""
    offender = dial()
    offender.send(data)
    ending = offender.expect_closed()
    assert ending is None or (data[0] == 0x10 and ending.code != 0)
    bystander()


@pytest.mark.bellbird
def test_second_connect(client, bystander, level):
    """[MQTT-3.1.0-2]."""
    offender = client("offender", level)
    offender.send(packets.connect("offender", level))
    ending = offender.expect_closed()
    assert ending is None if level == 4 else ending.code == PROTOCOL_ERROR
    bystander()


def test_unknown_protocol_level(dial, bystander):
    """[MQTT-3.1.2-2]: refused in the words of 3.1.1 or of 5.0."""
    offender = dial()
    offender.send(packets.connect("offender", 9))
    first, body = _first_packet(offender)
    assert first >> 4 == Kind.CONNACK and body[1] in (1, BAD_VERSION)
    bystander()


def _first_packet(connection):
    while (packet := packets.split(connection.buffer)) is None:
        connection.buffer += connection.socket.recv(4096)
    return packet


def test_malformed_connect_of_version_5(dial, bystander):
    """[MQTT-3.1.2-3]: the reserved flag."""
    offender = dial(5)
    offender.send(bytes.fromhex("10 0e 00 04 4d 51 54 54 05 03 00 00 00 00 01 61"))
    ending = offender.expect_closed()
    assert ending is None or (ending.kind, ending.code) == (Kind.CONNACK, MALFORMED)
    bystander()


def test_empty_client_id_without_clean_session(dial, bystander):
    """[MQTT-3.1.3-8] of 3.1.1: identifier rejected, then closed."""
    offender = dial()
    offender.send(packets.connect("", clean=False))
    ending = offender.expect_closed()
    assert ending and (ending.kind, ending.code) == (Kind.CONNACK, 2)
    bystander()


def test_invalid_filters_are_refused(client, bystander, level):
    """[MQTT-4.7.1-1]: either the one subscription or the whole connection."""
    for number, pattern in enumerate(("a/#/b", "a#", "a+/b", "#/a")):
        offender = client(f"offender{number}", level)
        offender.send(packets.subscribe(1, [(pattern, 0)], level))
        try:
            answer = offender.receive()
        except Closed:
            continue
        if answer.kind == Kind.SUBACK:
            assert answer.codes == ((0x80,) if level == 4 else (BAD_FILTER,))
        else:
            assert answer.kind == Kind.DISCONNECT and answer.code in INVALID | {BAD_FILTER}
    bystander()
