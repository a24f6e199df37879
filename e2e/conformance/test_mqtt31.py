"""MQTT 3.1, which calls itself MQIsdp and has the level 3, and the bridges of Mosquitto.

A bridge sets the highest bit of its level: 0x83 for MQTT 3.1, 0x84 for 3.1.1.
"""

import pytest
import wire
from registry import statement
from wire import Kind, Property, Will

IDENTIFIER_REJECTED = 2
STRICT = '[limits]\nprofile = "strict"\n'
"""The configuration of a broker that keeps to the letter of the older documents, too."""
DUP = 8


def durable(level: int) -> dict:
    """CONNECT options of a session that outlives its connection."""
    return {"clean": False, "props": [(Property.SESSION_EXPIRY, 600)] if level == 5 else None}


def take(one: wire.Client, payload: bytes, qos: int) -> wire.Packet:
    """Receives this message at this QoS and acknowledges it to its end."""
    message = one.expect(Kind.PUBLISH)
    assert (message.payload, message.qos) == (payload, qos)
    if qos == 1:
        one.send(wire.ack(Kind.PUBACK, message.packet_id))
    if qos == 2:
        one.send(wire.ack(Kind.PUBREC, message.packet_id))
        release = one.expect(Kind.PUBREL, packet_id=message.packet_id)
        assert (release.flags, len(release.body)) == (2, 2)
        one.send(wire.ack(Kind.PUBCOMP, message.packet_id))
    return message


@pytest.fixture
def bridge(dial, unique):
    """Opens a connection that says it is a bridge."""

    def open_one(level: int, client_id=None, **options) -> wire.Client:
        one = dial(level)
        one.client_id = unique("b") if client_id is None else client_id
        name = "MQIsdp" if level == 3 else "MQTT"
        one.send(wire.connect(one.client_id, level | 0x80, name=name, **options))
        assert one.expect(Kind.CONNACK).code == 0
        return one

    return open_one


@statement("U5-56", wrong=["connack-dropped", "level-3-unknown", "connack-session-present-flipped"])
def test_connect(dial, unique):
    """MQIsdp with level 3 is accepted, by a CONNACK of two bytes, the first of them 0."""
    one = dial(3)
    assert one.introduce(unique("c")).body == b"\0\0"
    one.ping()


@statement("U5-56", wrong=["close-hidden", "connack-code-zeroed"])
@pytest.mark.parametrize(
    ("name", "level"), [("MQTT", 3), ("MQIsdp", 4), ("MQIsdp", 5), ("MQISDP", 3), ("MQIsdpX", 3), ("MQIsdp", 2)]
)
def test_name_and_level_belong_together(dial, unique, name, level):
    """MQIsdp goes with level 3, and level 3 with MQIsdp; anything else is refused."""
    # A refusal has the form of the level.
    offender = dial(min(max(level, 3), 5))
    offender.send(wire.connect(unique("c"), level, name=name))
    ending = offender.expect_closed()
    assert ending is None or ending.code != 0


@statement("U5-56", wrong="connack-refused")
@pytest.mark.parametrize("name", ["a", "0123456789abcdefghijklm", "with space/+#é", "-"])
def test_client_ids(client, name):
    """One to 23 characters of any kind make a client id."""
    client(name, level=3).ping()


@statement("U5-56", wrong=["close-hidden", "connack-code-2-zeroed", "connack-code-5"])
@pytest.mark.parametrize("clean", [True, False])
def test_empty_client_id(dial, clean):
    """An empty client id is refused with the return code 2, also with Clean Session."""
    offender = dial(3)
    assert offender.introduce("", clean=clean).code == IDENTIFIER_REJECTED
    assert offender.expect_closed() is None


@statement("U5-56", wrong="connack-refused")
@pytest.mark.parametrize("length", [24, 200])
def test_long_client_ids(client, unique, length):
    """More than 23 characters are let pass, since devices have them."""
    client(unique("c").ljust(length, "x"), level=3).ping()


@statement("U5-56", wrong=["close-hidden", "connack-code-2-zeroed", "connack-code-5"])
@pytest.mark.parametrize("length", [24, 200])
def test_long_client_ids_to_the_letter(dial, own_broker, unique, length):
    """To the letter, more than 23 characters are refused with the return code 2."""
    offender = dial(3, to=own_broker(STRICT))
    assert offender.introduce(unique("c").ljust(length, "x")).code == IDENTIFIER_REJECTED
    assert offender.expect_closed() is None


@statement("U5-56", wrong="connack-refused")
def test_client_ids_of_23_to_the_letter(client, own_broker):
    """To the letter, 23 characters are fine; they are counted as characters, not as bytes."""
    broker = own_broker(STRICT)
    for name in ("0123456789abcdefghijklm", "é" * 23):
        client(name, level=3, to=broker).ping()


@statement("U5-56", wrong=["publish-dropped", "publish-dup-flipped", "message-with-properties"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages(client, unique, qos):
    """Messages go both ways at each QoS."""
    one, other, topic = client(level=3), client(level=3), unique("t")
    assert one.subscribe((topic, qos)).codes == (qos,)
    for payload in (b"first", b"second"):
        other.publish(topic, payload, qos=qos)
        message = take(one, payload, qos)
        assert (message.topic, message.dup, message.retain) == (topic, False, False)
    one.ping()


@statement("U5-56", wrong=["suback-codes-reversed", "ack-id-plus-one", "unsuback-with-codes"])
def test_subscriptions(client, unique):
    """SUBACK tells the QoS granted for each filter, UNSUBACK nothing but the packet identifier."""
    one, topic = client(level=3), unique("t")
    assert one.subscribe(*((f"{topic}/{qos}", qos) for qos in (2, 0, 1))).codes == (2, 0, 1)
    one.send(wire.unsubscribe(7, [f"{topic}/0", "never"], 3))
    assert one.expect(Kind.UNSUBACK).body == b"\0\7"


@statement("U5-56", wrong="unsubscribe-lost")
def test_unsubscribe(client, unique):
    """A filter that was left brings no messages any more."""
    one, topic = client(level=3), unique("t")
    one.subscribe((f"{topic}/+", 0), (f"{topic}/stays", 0))
    one.unsubscribe(f"{topic}/+")
    one.send_publish(f"{topic}/gone", b"gone", qos=0)
    one.send_publish(f"{topic}/stays", b"next", qos=0)
    assert one.expect(Kind.PUBLISH).payload == b"next"


@statement("U5-56", wrong=["dup-refused", "suback-dropped"])
@pytest.mark.parametrize("level", [3])
def test_dup_of_subscribe(client, unique, level):
    """MQTT 3.1 has DUP on SUBSCRIBE: a repeated one is answered like the first."""
    one, topic = client(level=level), unique("t")
    for flags in (2, 2 | DUP):
        one.send(wire.subscribe(7, [(topic, 1)], level, flags=flags))
        assert one.expect(Kind.SUBACK, packet_id=7).codes == (1,)


@statement("U5-56", wrong=["dup-refused", "unsuback-dropped"])
def test_dup_of_unsubscribe(client, unique):
    """MQTT 3.1 has DUP on UNSUBSCRIBE."""
    one, topic = client(level=3), unique("t")
    one.subscribe((topic, 1))
    for flags in (2, 2 | DUP):
        one.send(wire.unsubscribe(7, [topic], 3, flags=flags))
        one.expect(Kind.UNSUBACK, packet_id=7)


@statement("U5-56", wrong=["dup-refused", "pubcomp-dropped", "publish-doubled"])
def test_dup_of_pubrel(client, unique):
    """MQTT 3.1 has DUP on PUBREL, and the message behind it is delivered once all the same."""
    one, other, topic = client(level=3), client(level=3), unique("t")
    one.subscribe((topic, 2))
    other.send(wire.publish(topic, b"once", 3, qos=2, packet_id=7))
    other.expect(Kind.PUBREC, packet_id=7)
    for flags in (2, 2 | DUP):
        other.send(wire.ack(Kind.PUBREL, 7, flags=flags))
        other.expect(Kind.PUBCOMP, packet_id=7)
    take(one, b"once", 2)
    other.publish(topic, b"next", qos=2)
    take(one, b"next", 2)


@statement("U5-56", wrong=["close-hidden", "request-flags-corrected"])
@pytest.mark.parametrize("level", [4, 5])
@pytest.mark.parametrize("kind", ["SUBSCRIBE", "UNSUBSCRIBE", "PUBREL"])
def test_no_dup_in_later_versions(client, unique, level, kind):
    """Later versions have no DUP there."""
    offender = client()
    offender.send(
        {
            "SUBSCRIBE": wire.subscribe(7, [("t", 1)], level, flags=2 | DUP),
            "UNSUBSCRIBE": wire.unsubscribe(7, ["t"], level, flags=2 | DUP),
            "PUBREL": wire.ack(Kind.PUBREL, 7, flags=2 | DUP),
        }[kind]
    )
    offender.expect_refused(wire.MALFORMED)


@statement("U5-56", wrong=["publish-dropped", "publish-payload-bit-flipped"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_will(client, unique, qos):
    """The will of a connection that ends without DISCONNECT is published."""
    witness, topic = client(level=3), unique("t")
    witness.subscribe((topic, 2))
    client(level=3, will=Will(topic, b"will", qos=qos)).close()
    take(witness, b"will", qos)


@statement("U5-56", wrong="client-disconnect-dropped")
def test_will_after_disconnect(client, unique):
    """After DISCONNECT there is no will."""
    witness, topic = client(level=3), unique("t")
    witness.subscribe((topic, 1))
    one = client(level=3, will=Will(topic, b"will", qos=1))
    one.send(wire.disconnect())
    one.close()
    client(one.client_id, level=3).send_publish(topic, b"later", qos=1)
    take(witness, b"later", 1)


@statement("U5-56", wrong=["publish-dropped", "publish-retain-flipped"])
def test_retained_messages(client, unique):
    """A retained message comes to later subscribers with RETAIN, and to the earlier ones without."""
    early, late, topic = client(level=3), client(level=3), unique("t")
    early.subscribe((topic, 0))
    late.publish(topic, b"kept", retain=True)
    assert not early.expect(Kind.PUBLISH).retain
    late.subscribe((topic, 0))
    assert late.expect(Kind.PUBLISH).retain


@statement("U5-56", wrong=["publish-dropped", "connect-clean-flipped"])
@pytest.mark.parametrize("qos", [1, 2])
def test_a_session_is_kept(client, unique, qos):
    """Without Clean Session, messages wait for the client; CONNACK does not speak of the session."""
    one, other, topic = client(level=3, clean=False), client(level=3), unique("t")
    one.subscribe((topic, qos))
    one.leave()
    other.publish(topic, b"queued", qos=qos)
    again = client(one.client_id, level=3, clean=False)
    take(again, b"queued", qos)


@statement("U5-56", wrong="connack-session-present-flipped")
def test_no_session_present(client, dial):
    """Also when a session is resumed, the first byte of CONNACK is 0: MQTT 3.1 has nothing there."""
    one = client(level=3, clean=False)
    one.leave()
    assert dial(3).introduce(one.client_id, clean=False).body == b"\0\0"


@statement("U5-56", wrong=["connect-clean-cleared", "publish-dropped"])
def test_clean_session(client, unique):
    """With Clean Session, what was before is forgotten."""
    one, topic = client(level=3, clean=False), unique("t")
    one.subscribe((topic, 0))
    one.leave()
    again = client(one.client_id, level=3)
    again.send_publish(topic, b"forgotten", qos=0)
    again.subscribe((topic, 0))
    again.send_publish(topic, b"new", qos=0)
    assert again.expect(Kind.PUBLISH).payload == b"new"


@statement("U5-56", wrong=["connect-keepalive-zeroed", "close-hidden"])
def test_keep_alive(client):
    """A client that is silent for one and a half times its keep alive is cut off."""
    assert client(level=3, keepalive=1).expect_closed(within=1.5 + 1) is None


@statement("U5-56", wrong="close-hidden")
def test_takeover(client):
    """The second connection of a client id ends the first one."""
    first = client(level=3)
    second = client(first.client_id, level=3)
    assert first.expect_closed() is None
    second.ping()


PAIRS = [(3, 4), (3, 5), (4, 3), (5, 3)]


@statement("U5-56", wrong=["publish-dropped", "publish-payload-bit-flipped", "message-with-properties"])
@pytest.mark.parametrize(("source", "level"), PAIRS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_between_versions(client, unique, source, level, qos):
    """Clients of all versions exchange messages; properties of 5.0 stay behind for the others."""
    one, other, topic = client(), client(level=source), unique("t")
    one.subscribe((topic, qos))
    props = [(Property.USER_PROPERTY, ("a", "b")), (0x03, "text")] if source == 5 else None
    other.publish(topic, b"payload", qos=qos, props=props)
    message = take(one, b"payload", qos)
    assert (message.topic, message.pairs) == (topic, ())


@statement("U5-56", wrong=["publish-dropped", "publish-retain-flipped"])
@pytest.mark.parametrize(("source", "level"), PAIRS)
def test_retained_messages_between_versions(client, unique, source, level):
    """Also what was kept for later."""
    topic = unique("t")
    client(level=source).publish(topic, b"kept", retain=True)
    one = client()
    one.subscribe((topic, 0))
    message = one.expect(Kind.PUBLISH)
    assert (message.payload, message.retain) == (b"kept", True)


@statement("U5-56", wrong=["publish-dropped", "publish-payload-bit-flipped"])
@pytest.mark.parametrize(("source", "level"), PAIRS)
def test_wills_between_versions(client, unique, source, level):
    """Also wills."""
    one, topic = client(), unique("t")
    one.subscribe((topic, 0))
    client(level=source, will=Will(topic, b"will")).close()
    assert one.expect(Kind.PUBLISH).payload == b"will"


@statement("U5-56", wrong=["publish-dropped", "connect-clean-flipped"])
@pytest.mark.parametrize(("source", "level"), PAIRS)
def test_sessions_between_versions(client, unique, source, level):
    """A client that comes back with another version finds its session."""
    first, other, topic = client(level=source, **durable(source)), client(), unique("t")
    first.subscribe((topic, 1))
    first.leave()
    other.publish(topic, b"queued")
    take(client(first.client_id, **durable(level)), b"queued", 1)


@statement("U5-56", wrong="close-hidden")
@pytest.mark.parametrize(("source", "level"), PAIRS)
def test_takeover_between_versions(client, source, level):
    """A client id is one and the same in all versions."""
    first = client(level=source)
    second = client(first.client_id)
    first.expect_refused(wire.SESSION_TAKEN_OVER)
    second.ping()


BRIDGES = pytest.mark.parametrize("level", [3, 4])


@statement("U5-56", wrong=["connack-dropped", "connack-refused", "publish-dropped"])
@BRIDGES
def test_bridge(bridge, client, unique, level):
    """A bridge is a client like others: it is accepted, subscribes and publishes."""
    one, other, topic = bridge(level), client(), unique("t")
    one.subscribe((topic, 2))
    other.subscribe((topic + "/back", 2))
    for qos in (0, 1, 2):
        other.publish(topic, b"there", qos=qos)
        take(one, b"there", qos)
        one.publish(topic + "/back", b"back", qos=qos)
        take(other, b"back", qos)


@statement("U5-56", wrong=["bridge-bit-ignored", "publish-dropped"])
@BRIDGES
@pytest.mark.parametrize("qos", [0, 1])
def test_bridge_and_its_own_messages(bridge, client, unique, level, qos):
    """What a bridge publishes does not come back to it, lest it goes in circles."""
    one, other, topic = bridge(level), client(), unique("t")
    one.subscribe((topic, qos))
    one.publish(topic, b"own", qos=qos)
    other.publish(topic, b"other", qos=qos)
    take(one, b"other", qos)


@statement("U5-56", wrong=["bridge-bit-ignored", "publish-retain-flipped"])
@BRIDGES
@pytest.mark.parametrize("retain", [True, False])
def test_bridge_and_retain(bridge, client, unique, level, retain):
    """A message comes to a bridge with RETAIN as it was published, so that the other side keeps it too."""
    one, other, topic = bridge(level), client(), unique("t")
    one.subscribe((topic, 0))
    # A retained one goes ahead, so that it shows that the bit counts.
    for flag in (True, retain):
        other.publish(topic, b"state", retain=flag)
        assert one.expect(Kind.PUBLISH).retain == flag


@statement("U5-56", wrong="publish-dropped")
@BRIDGES
def test_bridge_with_a_session(bridge, client, unique, level):
    """The session of a bridge is kept as well, and its subscriptions stay what they are."""
    one, other, topic = bridge(level, clean=False), client(), unique("t")
    one.subscribe((topic, 1))
    one.leave()
    other.publish(topic, b"queued", retain=True)
    again = bridge(level, one.client_id, clean=False)
    assert take(again, b"queued", 1).retain
    again.publish(topic, b"own")
    other.publish(topic, b"other")
    take(again, b"other", 1)


@statement("U5-56", wrong=["close-hidden", "connack-code-zeroed"])
@pytest.mark.parametrize(("name", "level"), [("MQTT", 0x83), ("MQIsdp", 0x84), ("MQTT", 0x82), ("MQTT", 0xC4)])
def test_the_bit_changes_nothing_else(dial, unique, name, level):
    """Without the bit, the level is still one that goes with the name."""
    offender = dial(4)
    offender.send(wire.connect(unique("b"), level, name=name))
    ending = offender.expect_closed()
    assert ending is None or ending.code != 0
