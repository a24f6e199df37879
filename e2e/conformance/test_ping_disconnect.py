"""Sections 3.12 to 3.14: PINGREQ, PINGRESP and DISCONNECT."""

import pytest
import wire
from registry import statement
from wire import MALFORMED, PROTOCOL_ERROR, SESSION_TAKEN_OVER, Kind, Property, Will

CLOSED = ["close-hidden"]
SAID = ["close-hidden", "disconnect-reason-generic"]
OF_A_SERVER = {*range(0x80, 0x84), 0x87, 0x89, 0x8B, *range(0x8C, 0x91), *range(0x93, 0xA3)}
"""The reasons that a server's DISCONNECT may give."""
OF_A_CLIENT = {0x04, *range(0x80, 0x84), 0x90, *range(0x93, 0x9A)}
"""The reasons other than 0 that a client's DISCONNECT may give."""


def table(data: dict) -> pytest.MarkDecorator:
    """One run for each entry, named by its key."""
    return pytest.mark.parametrize("case", data.values(), ids=data.keys())


def kept(secs: int = 600) -> list:
    """Properties of a session that outlives its connection."""
    return [(Property.SESSION_EXPIRY, secs)]


def willed(client, unique, **options) -> tuple[wire.Client, wire.Client, str]:
    """A client with a will, somebody who sees the will, and its topic."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 1))
    return client(will=Will(topic, b"will", qos=1), **options), witness, topic


def expect_no_will(client, left: wire.Client, witness: wire.Client, topic: str) -> None:
    """The next message on the topic is a later one, published when the client id is free again."""
    client(left.client_id).send_publish(topic, b"later", qos=1)
    assert witness.expect(Kind.PUBLISH).payload == b"later"


@statement("MQTT-3.12.4-1", "MQTT311-3.12.4-1", wrong="keepalive-answer-dropped")
def test_ping(client, level):
    """PINGREQ is answered by PINGRESP, which is nothing but its header."""
    one = client()
    one.send(wire.pingreq())
    pong = one.expect(Kind.PINGRESP)
    assert (pong.flags, pong.body) == (0, b"")


@statement("MQTT-3.12.4-1", "MQTT311-3.12.4-1", wrong=["keepalive-answer-dropped", "pong-doubled"])
def test_several_pings(client, unique, level):
    """Each PINGREQ has its own PINGRESP."""
    one = client()
    one.send(wire.pingreq() * 5 + wire.publish(unique("t"), b"", level, qos=1, packet_id=9))
    kinds = [one.receive().kind for _ in range(6)]
    assert sorted(kinds) == sorted([Kind.PINGRESP] * 5 + [Kind.PUBACK])


@statement("H-39", wrong=[*CLOSED, "surplus-ignored"])
@pytest.mark.parametrize("level", [4, 5])
@pytest.mark.parametrize("body", [b"\0", b"ping"])
def test_ping_with_a_body(client, level, body):
    """PINGREQ is nothing but its header: more makes it malformed."""
    offender = client()
    offender.send(wire.pingreq(body=body))
    offender.expect_refused(MALFORMED)


BAD_CONNECTS = {
    "reserved flag": {"flags": 0x03},
    "will QoS 3": {"will": Will("w"), "flags": 0x1E},
    "client id": {"client_id": b"\xff"},
    "Receive Maximum 0": {"props": [(0x21, 0)]},
    "property twice": {"props": [(0x27, 99), (0x27, 99)]},
    "unknown method": {"props": [(0x15, "unheard of")]},
    "surplus": {"surplus": b"x"},
}


@statement("MQTT-3.14.0-1", wrong="disconnect-in-place-of-connack")
@table(BAD_CONNECTS)
def test_no_disconnect_for_a_bad_connect(dial, unique, case):
    """The broker has no DISCONNECT for a CONNECT that it refuses: a CONNACK or only a close."""
    offender = dial()
    offender.send(wire.connect(**{"client_id": unique("c"), "level": 5, **case}))
    ending = offender.expect_closed()
    assert ending is None or ending.kind == Kind.CONNACK


@statement("MQTT-3.14.1-1", wrong=[*SAID, "request-flags-corrected"])
@statement("MQTT311-3.14.1-1", wrong=[*CLOSED, "request-flags-corrected"])
@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15])
def test_flags_of_disconnect(client, unique, level, flags):
    """The flags of DISCONNECT are 0; with others it is malformed and no orderly end: the will is sent."""
    offender, witness, _ = willed(client, unique)
    offender.send(wire.disconnect(flags=flags))
    offender.expect_refused(MALFORMED)
    assert witness.expect(Kind.PUBLISH).payload == b"will"


@statement("H-39", wrong=[*CLOSED, "surplus-ignored"])
@pytest.mark.parametrize(
    ("level", "body"), [(4, b"\0"), (4, b"\0\0"), (5, b"\0\0\0"), (5, b"\0\5"), (5, b"\4\1\x11")]
)
def test_disconnect_out_of_shape(client, unique, level, body):
    """A DISCONNECT with surplus or missing bytes is malformed and no orderly end."""
    offender, witness, _ = willed(client, unique)
    offender.send(wire.frame(Kind.DISCONNECT, 0, body))
    offender.expect_refused(MALFORMED)
    assert witness.expect(Kind.PUBLISH).payload == b"will"


def connect_twice(client):
    """A second CONNECT on the same connection."""
    one = client(props=kept())
    one.send(wire.connect(one.client_id, 5))
    return one


def taken_over(client):
    """Another connection with the same client id."""
    one = client(props=kept())
    client(one.client_id)
    return one


def provoking(data: bytes):
    """A packet that the broker cannot take."""

    def provoke(client):
        one = client(props=kept())
        one.send(data)
        return one

    return provoke


ENDS = {
    "CONNECT twice": connect_twice,
    "taken over": taken_over,
    "malformed": provoking(wire.pingreq(flags=1)),
    "of a server": provoking(wire.frame(Kind.CONNACK, 0, b"\0\0\0")),
    "type 0": provoking(b"\0\0"),
    "alias 0": provoking(wire.publish("t", b"", 5, props=[(Property.TOPIC_ALIAS, 0)])),
    "alias too high": provoking(wire.publish("t", b"", 5, props=[(Property.TOPIC_ALIAS, 0xFFFF)])),
    "unknown alias": provoking(wire.publish("", b"", 5, props=[(Property.TOPIC_ALIAS, 1)])),
    "wildcard": provoking(wire.publish("a/#", b"", 5)),
    "too large": provoking(b"\x30\xff\xff\xff\x7f"),
    "AUTH": provoking(wire.auth(0x18, [(0x15, "x")])),
    "too many": provoking(
        b"".join(wire.publish("t", b"", 5, qos=2, packet_id=number) for number in range(1, 65_000))
    ),
}


@statement("MQTT-3.14.2-1", wrong=["disconnect-unlisted", "disconnect-of-a-client"])
@statement("MQTT-3.14.2-2", wrong="disconnect-with-session-expiry")
@table({name: case for name, case in ENDS.items() if name != "too many"})
def test_reasons_of_the_broker(client, case):
    """The broker's DISCONNECT has a reason listed for servers, and never a Session Expiry Interval."""
    ending = case(client).expect_closed()
    assert ending is not None, "closed without a reason"
    assert ending.code in OF_A_SERVER
    assert not ending.values(Property.SESSION_EXPIRY)


@statement("MQTT-3.14.2-1", wrong="client-disconnect-taken-for-0")
@pytest.mark.parametrize("code", sorted(OF_A_CLIENT))
def test_reasons_of_a_client(client, unique, code):
    """A client may give any reason that is listed for clients; all but 0 let the will be sent."""
    one, witness, _ = willed(client, unique)
    one.send(wire.disconnect(code))
    assert one.expect_closed() is None
    assert witness.expect(Kind.PUBLISH).payload == b"will"


@statement("MQTT-3.14.2-1", wrong=["client-disconnect-taken-for-0", "close-hidden"])
@pytest.mark.parametrize("code", [0x01, 0x18, 0x7F, 0x8B, 0x8E, 0x9C, 0xA2, 0xFF])
def test_other_reasons_of_a_client(client, unique, code):
    """A reason that is not for clients is no orderly end; what is said about it is left open."""
    one, witness, _ = willed(client, unique)
    one.send(wire.disconnect(code))
    ending = one.expect_closed()
    assert ending is None or ending.code in (MALFORMED, PROTOCOL_ERROR)
    assert witness.expect(Kind.PUBLISH).payload == b"will"


@statement("MQTT-3.14.2-3", "H-22", wrong="disconnect-reason-long")
@statement("MQTT-3.14.2-4", wrong="disconnect-user-property-long")
@table(ENDS)
def test_disconnect_for_a_small_client(client, dial, own_broker, unique, case):
    """Reasons in words are left out of a DISCONNECT that would be too large with them."""
    broker = own_broker()
    # The smallest that a client can ask for and still be greeted.
    size = 2 + len(dial(to=broker).connect(unique("c"), props=[(0x27, 200)]).body)

    def small(client_id=None, **options):
        return client(client_id, to=broker, **{**options, "props": [(0x27, size)]})

    offender = case(small)
    while (packet := offender.receive("DISCONNECT")).kind != Kind.DISCONNECT:
        assert packet.kind == Kind.PUBREC
    assert 2 + len(packet.body) <= size


@statement("MQTT-3.14.4-1", wrong="client-disconnect-overtaken")
@statement("MQTT311-3.14.4-2", wrong="client-disconnect-overtaken")
@pytest.mark.parametrize("qos", [0, 1])
def test_nothing_behind_disconnect(client, unique, level, qos):
    """What a client sends behind its DISCONNECT has no effect."""
    witness, one, topic = client(), client(), unique("t")
    witness.subscribe((topic, 1))
    bad = wire.publish(topic, b"behind", level, qos=qos, packet_id=1)
    one.send(wire.disconnect() + bad)
    assert one.expect_closed() is None
    # Published at the same QoS: only there the order is promised.
    client(one.client_id).send_publish(topic, b"later", qos=qos)
    assert witness.expect(Kind.PUBLISH).payload == b"later"


@statement("MQTT-3.14.4-1", "MQTT-3.14.4-2", wrong=["disconnect-followed", "close-withheld"])
@table({name: case for name, case in ENDS.items() if name != "too many"})
def test_the_broker_closes_behind_disconnect(client, case):
    """Behind the broker's DISCONNECT there is nothing but the end."""
    ending = case(client).expect_closed()
    assert ending is not None and ending.kind == Kind.DISCONNECT


@statement("MQTT-3.14.4-1", wrong="disconnect-followed")
def test_no_messages_behind_disconnect(client, unique):
    """Also the messages for a client end with the DISCONNECT that ends its connection."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, 0))
    for number in range(20):
        other.send_publish(topic, b"%d" % number, qos=0)
    client(one.client_id)
    other.publish(topic, b"late", qos=0)
    while (packet := one.receive("DISCONNECT")).kind != Kind.DISCONNECT:
        assert packet.kind == Kind.PUBLISH and packet.payload != b"late"
    assert packet.code == SESSION_TAKEN_OVER
    assert one.expect_closed() is None


@statement("U5-42", wrong="close-withheld")
@pytest.mark.parametrize("level", [4, 5])
def test_the_broker_closes_after_disconnect(client, level):
    """After a client's DISCONNECT the broker closes, if the client does not."""
    one = client()
    one.send(wire.disconnect())
    assert one.expect_closed() is None


@statement("MQTT-3.14.4-3", "H-7", wrong=["client-disconnect-dropped", "client-disconnect-taken-for-4"])
@statement("MQTT311-3.14.4-3", wrong="client-disconnect-dropped")
@pytest.mark.parametrize("retain", [False, True])
def test_disconnect_deletes_the_will(client, unique, level, retain):
    """After DISCONNECT with 0 the will is gone and never published, nor retained."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 1))
    one = client(will=Will(topic, b"will", qos=1, retain=retain))
    one.send(wire.disconnect())
    one.close()
    expect_no_will(client, one, witness, topic)


@statement("MQTT-3.14.4-3", "U5-43", wrong="client-disconnect-taken-for-4")
@table({"nothing": b"", "a reason": b"\0", "no properties": b"\0\0", "properties": b"\0\5\x11\0\0\0\0"})
def test_forms_of_disconnect(client, unique, case):
    """DISCONNECT may leave out its properties, and its reason as well, which then is 0."""
    one, witness, topic = willed(client, unique)
    one.send(wire.frame(Kind.DISCONNECT, 0, case))
    assert one.expect_closed() is None
    expect_no_will(client, one, witness, topic)


@statement("MQTT-3.14.4-3", "H-7", "U5-43", wrong="client-disconnect-taken-for-0")
@table({"a reason": b"\4", "no properties": b"\4\0", "properties": b"\4\5\x11\0\0\0\0"})
def test_disconnect_with_will(client, unique, case):
    """With the reason 0x04 a client leaves in order and has its will published."""
    one, witness, _ = willed(client, unique)
    one.send(wire.frame(Kind.DISCONNECT, 0, case))
    assert one.expect_closed() is None
    assert witness.expect(Kind.PUBLISH).payload == b"will"


@statement("U5-41", "H-36", wrong=[*SAID, "client-disconnect-stripped"])
@pytest.mark.parametrize("props", [None, [(Property.SESSION_EXPIRY, 0)]], ids=["absent", "0"])
@pytest.mark.parametrize("secs", [1, 0xFFFFFFFF])
def test_no_session_at_the_last_moment(client, dial, unique, props, secs):
    """A session that was to end with its connection cannot be kept by DISCONNECT; the will is sent."""
    one, witness, _ = willed(client, unique, props=props)
    one.send(wire.disconnect(0, kept(secs)))
    one.expect_refused(PROTOCOL_ERROR)
    assert witness.expect(Kind.PUBLISH).payload == b"will"
    assert not dial().connect(one.client_id, clean=False).session_present


@statement("H-36", wrong="client-disconnect-stripped")
def test_a_session_given_up(client, dial, unique):
    """DISCONNECT may end a session that CONNECT wanted to be kept."""
    one = client(clean=False, props=kept())
    one.send(wire.disconnect(0, kept(0)))
    assert one.expect_closed() is None
    assert not dial().connect(one.client_id, clean=False).session_present


@statement("H-36", wrong="client-disconnect-stripped")
def test_a_session_kept_for_longer(client, dial, unique):
    """DISCONNECT may lengthen the time that a session is kept for."""
    one, topic = client(clean=False, props=kept(1)), unique("t")
    one.send(wire.disconnect(0, kept(600)))
    assert one.expect_closed() is None
    # The time that the statement is about is that of another session, which ends in the meantime.
    other = client(clean=False, props=kept(2), will=Will(topic, b"over", props=[(Property.WILL_DELAY, 600)]))
    witness = client()
    witness.subscribe((topic, 0))
    other.close()
    assert witness.receive("the end of a session", within=2 + 1).payload == b"over"
    assert dial().connect(one.client_id, clean=False, props=kept()).session_present
