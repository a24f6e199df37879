"""Section 3.1: CONNECT, its flags and its payload, and what the broker does with it."""

import time

import pytest
import wire
from registry import statement
from wire import (
    BAD_VERSION,
    KEEP_ALIVE_TIMEOUT,
    MALFORMED,
    PROTOCOL_ERROR,
    SESSION_TAKEN_OVER,
    Kind,
    Property,
    Will,
)

CLOSED = ["close-hidden"]
SAID = ["close-hidden", "disconnect-reason-generic"]


def table(data: dict) -> pytest.MarkDecorator:
    """One run for each entry, named by its key."""
    return pytest.mark.parametrize("case", data.values(), ids=data.keys())


def durable(level: int, **options) -> dict:
    """CONNECT options of a session that outlives its connection."""
    props = [(Property.SESSION_EXPIRY, 600)] if level == 5 else None
    return {"clean": False, "props": props, **options}


@statement("MQTT-3.1.0-1", "MQTT311-3.1.0-1", wrong=CLOSED)
@table(
    {
        "PUBLISH": lambda level: wire.publish("t", b"", level),
        "SUBSCRIBE": lambda level: wire.subscribe(1, [("t", 0)], level),
        "PINGREQ": lambda level: wire.pingreq(),
        "DISCONNECT": lambda level: wire.disconnect(),
    }
)
def test_another_first_packet(dial, level, case):
    """The first packet is CONNECT; anything else ends the connection without a CONNACK."""
    offender = dial()
    offender.send(case(level))
    ending = offender.expect_closed()
    assert ending is None or ending.kind != Kind.CONNACK


@statement("MQTT-3.1.0-2", wrong=SAID)
@statement("MQTT311-3.1.0-2", wrong=CLOSED)
def test_second_connect(client, level):
    """CONNECT comes once on a connection."""
    offender = client()
    offender.send(wire.connect(offender.client_id, level))
    offender.expect_refused(PROTOCOL_ERROR)


NAMES = pytest.mark.parametrize("name", ["MQTX", "mqtt", "MQTTX", "MQT"])


@statement("MQTT-3.1.2-1", wrong=CLOSED)
@NAMES
def test_another_protocol_name(dial, unique, name):
    """The name is MQTT and nothing else; a CONNACK may say that it is not known."""
    offender = dial()
    offender.send(wire.connect(unique("c"), 5, name=name))
    offender.expect_unwelcome(BAD_VERSION)


@statement("MQTT311-3.1.2-1", wrong=[*CLOSED, "connack-code-zeroed"])
@NAMES
def test_another_protocol_name_in_3(dial, unique, level, name):
    """Another name is another specification, which may have a refusal, but not an acceptance."""
    offender = dial()
    offender.send(wire.connect(unique("c"), level, name=name))
    ending = offender.expect_closed()
    assert ending is None or ending.code != 0


@statement("MQTT-3.1.2-2", wrong=CLOSED)
@pytest.mark.parametrize("version", [6, 127])
def test_unknown_version(dial, unique, version):
    """A level that is not spoken here may be told so with 0x84."""
    offender = dial(5)
    offender.send(wire.connect(unique("c"), version))
    offender.expect_unwelcome(BAD_VERSION)


@statement("MQTT311-3.1.2-2", wrong=["close-hidden", "connack-dropped"])
@pytest.mark.parametrize("version", [0, 1, 2])
def test_unknown_version_of_3(dial, unique, level, version):
    """A level that is not spoken here gets the return code 0x01 and a close.

    What came after 5.0 is answered as 5.0 says: see test_unknown_version.
    """
    offender = dial(4)
    offender.send(wire.connect(unique("c"), version, name="MQTT"))
    offender.expect_refused(1)


@statement("MQTT-3.1.2-3", wrong=["close-hidden", "connect-reserved-cleared"])
@statement("MQTT311-3.1.2-3", wrong=["close-hidden", "connect-reserved-cleared"])
def test_reserved_connect_flag(dial, unique, level):
    """Bit 0 of the connect flags is 0."""
    offender = dial()
    offender.send(wire.connect(unique("c"), level, flags=0x03))
    offender.expect_unwelcome(MALFORMED)


@statement("MQTT-3.1.2-4", "MQTT-3.1.4-4", wrong=["connect-clean-cleared", "publish-dropped"])
@statement("MQTT311-3.1.2-6", "MQTT311-3.1.4-3", wrong=["connect-clean-cleared", "publish-dropped"])
def test_clean_start_drops_the_session(client, unique, level):
    """What was subscribed before a clean start is forgotten."""
    first, topic = client(**durable(level)), unique("t")
    first.subscribe((topic, 1))
    first.leave()
    again = client(first.client_id, **durable(level, clean=True))
    again.send_publish(topic, b"forgotten", qos=0)
    again.subscribe((topic, 1))
    again.send_publish(topic, b"new", qos=0)
    assert again.expect(Kind.PUBLISH).payload == b"new"


@statement("MQTT-3.1.2-5", "MQTT-3.1.2-23", "MQTT-3.1.4-4", wrong=["publish-dropped", "connect-clean-flipped"])
@statement(
    "MQTT311-3.1.2-4", "MQTT311-3.1.2-5", "MQTT311-3.1.4-3", wrong=["publish-dropped", "connect-clean-flipped"]
)
@pytest.mark.parametrize("qos", [1, 2])
def test_a_session_is_resumed(client, unique, level, qos):
    """A session that is kept collects messages, and the next connection gets them."""
    first, other, topic = client(**durable(level)), client(), unique("t")
    first.subscribe((topic, qos))
    first.leave()
    other.publish(topic, b"queued", qos=qos)
    again = client(first.client_id, **durable(level))
    assert again.expect(Kind.PUBLISH).payload == b"queued"


@statement("MQTT-3.1.2-6", wrong="connack-session-present-flipped")
@statement("MQTT311-3.1.2-4", wrong="connack-session-present-flipped")
def test_a_session_is_created(client, dial, unique, level):
    """Without a stored session, one begins that can be resumed later."""
    name = unique("c")
    for present in (False, True):
        one = dial()
        assert one.connect(name, **durable(level)).session_present == present
        one.leave()


@statement("MQTT311-3.1.2-7", wrong=["publish-dropped", "publish-retain-flipped"])
def test_retained_messages_outlive_the_session(client, unique, level):
    """A retained message is no part of the session that published it."""
    one, topic = client(clean=True), unique("t")
    one.publish(topic, b"kept", retain=True)
    one.leave()
    other = client()
    other.subscribe((topic, 0))
    message = other.expect(Kind.PUBLISH)
    assert (message.payload, message.retain) == (b"kept", True)


@statement("MQTT-3.1.2-7", "MQTT-3.1.2-8", wrong=["publish-dropped", "publish-payload-bit-flipped"])
@statement("MQTT311-3.1.2-8", wrong=["publish-dropped", "publish-payload-bit-flipped"])
def test_the_will_is_published(client, unique, level):
    """The will of a connection that ends without DISCONNECT is published as it was given."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 2))
    client(will=Will(topic, b"gone", qos=2)).close()
    message = witness.expect(Kind.PUBLISH)
    assert (message.topic, message.payload, message.qos) == (topic, b"gone", 2)


@statement("MQTT-3.1.2-8", "MQTT-3.1.2-10", wrong="client-disconnect-dropped")
@statement("MQTT311-3.1.2-8", "MQTT311-3.1.2-10", wrong="client-disconnect-dropped")
def test_the_will_is_deleted_by_disconnect(client, unique, level):
    """After DISCONNECT there is no will: the next message is the next one published."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 0))
    one = client(will=Will(topic, b"gone"))
    one.send(wire.disconnect())
    one.close()
    # The connection has ended when its client id is free again.
    client(one.client_id, clean=True).send_publish(topic, b"next", qos=0)
    assert witness.expect(Kind.PUBLISH).payload == b"next"


@statement("MQTT-3.1.2-10", wrong="publish-doubled")
@statement("MQTT311-3.1.2-10", wrong="publish-doubled")
def test_the_will_is_published_once(client, unique, level):
    """A will that was published is gone, also for the next connection of its session."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 0))
    first = client(**durable(level, will=Will(topic, b"gone")))
    first.close()
    assert witness.expect(Kind.PUBLISH).payload == b"gone"
    client(first.client_id, **durable(level)).close()
    witness.send_publish(topic, b"next", qos=0)
    assert witness.expect(Kind.PUBLISH).payload == b"next"


@statement("MQTT311-3.1.2-12", wrong="publish-doubled")
def test_no_will(client, unique, level):
    """Without a will nothing is published at the end, not even on the topic of an earlier will."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 0))
    first = client(will=Will(topic, b"gone"))
    first.close()
    witness.expect(Kind.PUBLISH)
    client(first.client_id).close()
    witness.send_publish(topic, b"next", qos=0)
    assert witness.expect(Kind.PUBLISH).payload == b"next"


@statement("MQTT-3.1.2-14", wrong="publish-retain-flipped")
@statement("MQTT311-3.1.2-16", wrong="publish-retain-flipped")
def test_a_will_that_is_not_retained(client, unique, level):
    """Without Will Retain, whoever subscribes later does not get the will."""
    witness, late, topic = client(), client(), unique("t")
    witness.subscribe((topic, 0))
    client(will=Will(topic, b"gone", retain=False)).close()
    assert not witness.expect(Kind.PUBLISH).retain
    late.subscribe((topic, 0))
    late.send_publish(topic, b"next", qos=0)
    message = late.expect(Kind.PUBLISH)
    assert (message.payload, message.retain) == (b"next", False)


@statement("MQTT-3.1.2-15", wrong=["publish-retain-flipped", "publish-dropped"])
@statement("MQTT311-3.1.2-17", wrong=["publish-retain-flipped", "publish-dropped"])
def test_a_will_that_is_retained(client, unique, level):
    """With Will Retain, whoever subscribes later gets the will."""
    witness, late, topic = client(), client(), unique("t")
    witness.subscribe((topic, 0))
    client(will=Will(topic, b"gone", retain=True)).close()
    witness.expect(Kind.PUBLISH)
    late.subscribe((topic, 0))
    message = late.expect(Kind.PUBLISH)
    assert (message.payload, message.retain) == (b"gone", True)


FLAGS_AND_PAYLOAD = {
    # Each: the ids in 5.0 and in 3.1.1, the connect flags, options for what the payload holds.
    "will without fields": ("MQTT-3.1.2-9", "MQTT311-3.1.2-9", 0x06, {}),
    "no will, but its fields": (None, "MQTT311-3.1.2-11", 0x02, {"will": Will("w")}),
    "no will, but QoS 1": ("MQTT-3.1.2-11", "MQTT311-3.1.2-13", 0x0A, {}),
    "no will, but QoS 2": ("MQTT-3.1.2-11", "MQTT311-3.1.2-11", 0x12, {}),
    "will QoS 3": ("MQTT-3.1.2-12", "MQTT311-3.1.2-14", 0x1E, {"will": Will("w")}),
    "no will, but retain": ("MQTT-3.1.2-13", "MQTT311-3.1.2-15", 0x22, {}),
    "no user name flag, but one": ("MQTT-3.1.2-16", "MQTT311-3.1.2-18", 0x02, {"username": "u"}),
    "user name flag, but none": ("MQTT-3.1.2-17", "MQTT311-3.1.2-19", 0x82, {}),
    "no password flag, but one": (
        "MQTT-3.1.2-18",
        "MQTT311-3.1.2-20",
        0x82,
        {"username": "u", "password": b"p"},
    ),
    "password flag, but none": ("MQTT-3.1.2-19", "MQTT311-3.1.2-21", 0xC2, {"username": "u"}),
    "password without user name": (None, "MQTT311-3.1.2-22", 0x42, {"password": b"p"}),
    "no client id": ("MQTT-3.1.3-3", "MQTT311-3.1.3-3", 0x02, {"client_id": None}),
    "password before user name": (
        "MQTT-3.1.3-1",
        "MQTT311-3.1.3-1",
        0xC2,
        {"client_id": None, "surplus": b"\0\1c\0\1\xff\0\1u"},
    ),
}


@pytest.mark.parametrize(
    ("level", "flags", "options"),
    [
        pytest.param(level, flags, options, marks=statement(name, wrong=CLOSED), id=f"{what}-level={level}")
        for what, (five, three, flags, options) in FLAGS_AND_PAYLOAD.items()
        for level, name in ((5, five), (4, three))
        if name
    ],
)
def test_flags_and_payload_disagree(dial, unique, level, flags, options):
    """The payload holds, in its order, exactly what the connect flags announce."""
    offender = dial()
    given = {"client_id": unique("c"), "flags": flags, **options}
    offender.send(wire.connect(level=level, **given))
    offender.expect_unwelcome(MALFORMED)


@statement("MQTT-3.1.2-17", "MQTT-3.1.2-19", "MQTT-3.1.3-1", wrong="connack-refused")
@statement("MQTT311-3.1.2-19", "MQTT311-3.1.2-21", "MQTT311-3.1.3-1", wrong="connack-refused")
def test_all_of_the_payload(client, level):
    """Will, user name and password in their order make a good CONNECT."""
    client(will=Will("w"), username="user", password=b"\0\xff").ping()


@statement("MQTT-3.1.2-19", wrong="connack-refused")
def test_a_password_alone(client):
    """5.0 allows a password without a user name."""
    client(password=b"token").ping()


@statement("MQTT-3.1.2-22", "MQTT-3.2.2-22", wrong=["connect-keepalive-zeroed", *SAID])
@statement("MQTT311-3.1.2-24", wrong=["connect-keepalive-zeroed", "close-hidden"])
def test_keep_alive(client, level):
    """After one and a half times the keep alive without a packet, the connection is closed."""
    started = time.monotonic()
    silent = client(keepalive=1)
    # A broker may look around once a second only: later is tolerated, earlier never.
    silent.expect_refused(KEEP_ALIVE_TIMEOUT, within=1.5 + 1)
    assert time.monotonic() - started >= 1.45


@statement("MQTT-3.1.2-25", wrong=["publish-dropped", "keepalive-answer-dropped"])
@statement("MQTT-3.1.2-24", wrong="publish-payload-bit-flipped")
def test_messages_too_large_for_the_client(client, unique):
    """A message above the client's Maximum Packet Size is passed over, and the next one comes."""
    small, other, topic = client(props=[(0x27, 64)]), client(), unique("t")
    small.subscribe((topic, 1))
    head = len(wire.publish(topic, b"", 5, qos=1))
    other.publish(topic, b"x" * (65 - head))
    other.publish(topic, b"y" * (64 - head))
    assert small.expect(Kind.PUBLISH).payload == b"y" * (64 - head)
    small.ping()


@statement("MQTT-3.1.2-27", "H-25", wrong="alias-sent")
@pytest.mark.parametrize("props", [None, [(0x22, 0)]], ids=["absent", "0"])
def test_no_alias_for_who_wants_none(client, unique, props):
    """Without a Topic Alias Maximum, or with 0, each message carries its topic and no alias."""
    one, topic = client(props=props), unique("t")
    one.subscribe((topic, 0))
    for _ in range(3):
        one.send_publish(topic, b"", qos=0)
        message = one.expect(Kind.PUBLISH)
        assert message.topic == topic and not message.values(Property.TOPIC_ALIAS)


@statement("MQTT-3.1.2-28", wrong="connack-response-information")
@pytest.mark.parametrize("props", [None, [(0x19, 0)]], ids=["absent", "0"])
def test_no_response_information(dial, unique, props):
    """Who does not ask for Response Information does not get it."""
    assert not dial().connect(unique("c"), props=props).values(0x1A)


@statement("MQTT-3.1.2-29", wrong="ack-properties-added")
def test_no_problem_information(client, unique):
    """With Request Problem Information 0 no acknowledgement carries reasons in words."""
    one, topic = client(props=[(0x17, 0)]), unique("t")
    for packet, kind in [
        (wire.subscribe(1, [(topic, 0)], 5), Kind.SUBACK),
        (wire.publish(topic + "/a", b"", 5, qos=1, packet_id=2), Kind.PUBACK),
        (wire.ack(Kind.PUBREL, 77), Kind.PUBCOMP),
        (wire.unsubscribe(3, [topic, "never"], 5), Kind.UNSUBACK),
    ]:
        one.send(packet)
        answer = one.expect(kind)
        assert not answer.values(0x1F) and not answer.values(Property.USER_PROPERTY)


@statement("MQTT-3.1.2-30", wrong=CLOSED)
def test_publish_during_authentication(dial, unique):
    """With an Authentication Method, a PUBLISH before CONNACK is out of place.

    A broker that does not know the method refuses the CONNECT itself, with 0x8C.
    """
    one = dial()
    connect = wire.connect(unique("c"), 5, props=[(0x15, "unheard of")])
    one.send(connect + wire.publish("t", b"", 5))
    ending = one.expect_closed()
    assert ending is None or ending.code in (PROTOCOL_ERROR, 0x8C)


@statement("MQTT-3.1.3-2", "MQTT311-3.1.3-2", wrong="connect-client-id-same")
def test_the_client_id_is_the_key(dial, unique, level):
    """Two client ids, two sessions; the same one, the same session."""
    names = [unique("c"), unique("c")]
    for present in (False, True):
        for name in names:
            one = dial()
            assert one.connect(name, **durable(level)).session_present == present
            one.leave()


@statement("MQTT-3.1.3-5", "MQTT311-3.1.3-5", wrong="connack-refused")
@pytest.mark.parametrize(
    "name", ["a", "Z", "0", "0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ"]
)
def test_client_ids_that_are_always_good(client, level, name):
    """One to 23 letters and digits make a client id that each broker takes."""
    client(name).ping()


@statement("MQTT-3.1.3-6", "MQTT311-3.1.3-6", wrong=["connack-refused", "eager-close"])
def test_empty_client_ids(client, level):
    """Clients without an id get one each, so that they do not disturb each other."""
    several = [client("") for _ in range(3)]
    for one in several:
        one.ping()


@statement("MQTT-3.1.3-7", wrong=["connack-properties-stripped", "connack-assigned-id-same"])
def test_the_assigned_id_names_the_session(dial):
    """The id that the broker has chosen is told, and the session can be resumed by it."""
    first = dial()
    connack = first.connect("", **durable(5, clean=True))
    (name,) = connack.values(Property.ASSIGNED_CLIENT_ID) or [None]
    assert name, "no Assigned Client Identifier"
    first.leave()
    assert dial().connect(name, **durable(5)).session_present


@statement("MQTT311-3.1.3-7", "MQTT311-3.1.3-8", "H-40", wrong=["close-hidden", "connack-code-zeroed", "reason-generic"])
def test_an_empty_id_without_clean_session(dial, level):
    """A session to be kept needs a name: identifier rejected, and a close."""
    offender = dial()
    assert offender.introduce("", clean=False).code == 2
    assert offender.expect_closed() is None


@statement("MQTT-3.1.3-10", wrong=["publish-property-order-reversed", "publish-properties-stripped"])
def test_order_of_user_properties_in_a_will(client, unique):
    """User Properties of the will arrive in their order, repeated names included."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 0))
    pairs = [(0x26, ("b", "1")), (0x26, ("a", "2")), (0x26, ("b", "0"))]
    client(will=Will(topic, props=pairs)).close()
    assert witness.expect(Kind.PUBLISH).values(0x26) == [value for _, value in pairs]


@statement("MQTT-3.1.3-9", "H-4", wrong="publish-doubled")
def test_a_reconnect_in_time_cancels_the_will(client, unique):
    """A will with a delay is dropped when its session is resumed before the delay is over."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 0))
    first = client(**durable(5, will=Will(topic, b"never", props=[(0x18, 1)])))
    first.close()
    again = client(first.client_id, **durable(5, will=Will(topic, b"later", props=[(0x18, 2)])))
    again.close()
    assert witness.receive("a will", within=2).payload == b"later"
    witness.send_publish(topic, b"next", qos=0)
    assert witness.expect(Kind.PUBLISH).payload == b"next"


@statement("MQTT-3.1.4-1", wrong=CLOSED)
@statement("MQTT311-3.1.4-1", wrong=CLOSED)
@table(
    {
        "cut short": b"\x00\x04MQTT\x05\x02\x00",
        "cut in the client id": b"\x00\x04MQTT\x04\x02\x00\x00\x00\x05a",
        "empty": b"",
        "only a name": b"\x00\x04MQTT",
    }
)
def test_connect_out_of_shape(dial, level, case):
    """A CONNECT that does not follow its format ends the connection."""
    offender = dial()
    offender.send(wire.frame(Kind.CONNECT, 0, case.replace(b"T\x05", b"T" + bytes([level]))))
    offender.expect_unwelcome(MALFORMED)


@statement("MQTT-3.1.4-3", wrong=SAID)
@statement("MQTT311-3.1.4-2", wrong=CLOSED)
def test_takeover(client, level):
    """The second connection of a client id ends the first one."""
    first = client()
    second = client(first.client_id)
    first.expect_refused(SESSION_TAKEN_OVER)
    second.ping()


@statement("MQTT-3.1.4-5", "MQTT311-3.1.4-4", wrong=["connack-dropped", "connack-refused"])
def test_connect_is_acknowledged(dial, unique, level):
    """An accepted CONNECT is answered with CONNACK and 0."""
    assert dial().introduce(unique("c")).code == 0


@statement("MQTT311-7.0.0-2", wrong=["connack-refused", "suback-dropped", "unsuback-dropped"])
@statement("MQTT311-7.1.1-1", wrong=["publish-dropped", "publish-order-swapped", "publish-payload-bit-flipped"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_plain_client(client, unique, level, qos):
    """Whoever keeps to the specification needs nothing else: no byte is lost on its way, none overtakes."""
    one, topic = client(), unique("t")
    one.subscribe((topic, qos))
    payloads = [b"%d" % number for number in range(20)]
    for payload in payloads:
        one.send_publish(topic, payload, qos=0)
    assert [one.expect(Kind.PUBLISH).payload for _ in payloads] == payloads
    one.unsubscribe(topic)


@statement("MQTT-3.1.4-6", wrong="connect-reserved-cleared")
@statement("MQTT311-3.1.4-5", wrong="connect-reserved-cleared")
def test_data_behind_a_refused_connect(client, dial, unique, level):
    """What was sent behind a CONNECT that is refused has no effect."""
    witness, offender, topic = client(), dial(), unique("t")
    witness.subscribe((topic, 0))
    offender.send(wire.connect(unique("c"), level, flags=0x03) + wire.publish(topic, b"bad", level))
    # Whether it was refused is another test's question: here it is enough that all was read.
    offender.send(wire.disconnect())
    offender.expect_closed()
    witness.send_publish(topic, b"good", qos=0)
    assert witness.expect(Kind.PUBLISH).payload == b"good"


@statement("U5-8", "U5-9", "U5-10", "U5-11", "U5-12", wrong=CLOSED)
@table(
    {
        "Receive Maximum 0": [(0x21, 0)],
        "Maximum Packet Size 0": [(0x27, 0)],
        "Request Response Information 2": [(0x19, 2)],
        "Request Problem Information 2": [(0x17, 2)],
        "Authentication Data alone": [(0x16, b"data")],
    }
)
def test_values_out_of_range(dial, unique, case):
    """Values of CONNECT's properties that are protocol errors."""
    offender = dial()
    offender.send(wire.connect(unique("c"), 5, props=case))
    offender.expect_unwelcome(PROTOCOL_ERROR)


@statement("U5-53", wrong=["connack-dropped", "reason-generic"])
@pytest.mark.parametrize(
    ("options", "code"),
    [
        pytest.param({"flags": 0x03}, MALFORMED, id="reserved flag"),
        pytest.param({"client_id": b"\xff"}, MALFORMED, id="client id"),
        pytest.param({"props": [(0x21, 0)]}, PROTOCOL_ERROR, id="Receive Maximum 0"),
        pytest.param({"props": [(0x27, 9), (0x27, 9)]}, PROTOCOL_ERROR, id="property twice"),
    ],
)
def test_why_connect_was_refused(dial, unique, options, code):
    """A bad CONNECT of 5.0 should be answered by the most specific reason before the close."""
    offender = dial()
    offender.send(wire.connect(**{"client_id": unique("c"), "level": 5, **options}))
    offender.expect_refused(code)


@statement("U5-6", wrong=CLOSED)
def test_no_connect(dial, own_broker):
    """A connection on which nothing is said is closed after a while."""
    dial(to=own_broker("[limits]\nhandshake_secs = 1\n")).expect_refused(within=1 + 1)


@statement("U5-15", wrong=["connack-dropped", "publish-dropped"])
def test_packets_before_connack(dial, unique):
    """A client need not wait for CONNACK before it goes on."""
    one, topic = dial(), unique("t")
    one.send(
        wire.connect(unique("c"), 5) + wire.subscribe(1, [(topic, 0)], 5) + wire.publish(topic, b"early", 5)
    )
    one.expect(Kind.CONNACK)
    one.expect(Kind.SUBACK, packet_id=1)
    assert one.expect(Kind.PUBLISH).payload == b"early"
