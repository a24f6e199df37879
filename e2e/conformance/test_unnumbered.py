"""Rules of MQTT 5.0 without a number: what a broker offers and refuses, packets and their forms."""

import pytest
import wire
from operation import durable, release, start_release, table, take
from registry import statement
from wire import MALFORMED, PROTOCOL_ERROR, Kind, Property, Will

SAID = ["close-hidden", "disconnect-reason-generic"]


@statement("U5-1", wrong=SAID)
@table({"U+0001": "\x01", "U+007F": "\x7f", "U+0085": "\x85", "U+FDD0": "\ufdd0", "U+FFFF": "\uffff"})
@pytest.mark.parametrize("place", ["topic", "filter"])
def test_control_characters_and_non_characters(client, own_broker, case, place):
    """A strict listener refuses control characters and code points that are no characters."""
    offender = client(to=own_broker('[limits]\nprofile = "strict"\n'))
    if place == "topic":
        offender.send(wire.publish(f"a{case}b", b"", 5))
    else:
        offender.send(wire.subscribe(1, [(f"a{case}b", 0)], 5))
    offender.expect_refused(MALFORMED)


@statement("U5-14", wrong="connack-refused")
def test_a_will_that_is_no_text(dial, unique):
    """A will that is not the text it says may be refused, by the reason for that; or accepted."""
    one = dial()
    connack = one.introduce(unique("c"), will=Will("w", b"\xff", props=[(0x01, 1)]))
    assert connack.code in (0, 0x99)


@statement("U5-16", wrong="connack-properties-stripped")
def test_a_shorter_session_expiry(dial, own_broker, unique):
    """The broker's Session Expiry Interval overrides the client's, and CONNACK says so."""
    one = dial(to=own_broker("[limits]\nsession_expiry_secs_max = 5\n"))
    assert one.connect(unique("c"), **durable(secs=600)).values(Property.SESSION_EXPIRY) == [5]


@statement("U5-16", wrong=["connack-session-present-flipped"])
def test_the_shorter_session_expiry_counts(client, dial, own_broker, pass_secs):
    """After the broker's interval the session is gone."""
    broker = own_broker("[limits]\nsession_expiry_secs_max = 1\n")
    first = client(to=broker, **durable(secs=600))
    first.leave()
    pass_secs(3)
    assert not dial(to=broker).connect(first.client_id, **durable()).session_present


UNAVAILABLE = {
    # The setting, what CONNACK says of it, what a client sends all the same, the reason against it.
    "QoS 2": ("qos_max = 1", (0x24, 1), lambda: wire.publish("t", b"", 5, qos=2, packet_id=1), 0x9B),
    "QoS 1": ("qos_max = 0", (0x24, 0), lambda: wire.publish("t", b"", 5, qos=1, packet_id=1), 0x9B),
    "retained": ("retain = false", (0x25, 0), lambda: wire.publish("t", b"r", 5, retain=True), 0x9A),
    "wildcard": ("wildcards = false", (0x28, 0), lambda: wire.subscribe(1, [("t/+", 0)], 5), 0xA2),
    "identifier": (
        "subscription_ids = false",
        (0x29, 0),
        lambda: wire.subscribe(1, [("t", 0)], 5, [(0x0B, 1)]),
        0xA1,
    ),
    "shared": ("shared = false", (0x2A, 0), lambda: wire.subscribe(1, [("$share/g/t", 0)], 5), 0x9E),
}
IDS = {
    "QoS 2": "U5-17",
    "QoS 1": "U5-17",
    "retained": "U5-18",
    "wildcard": "U5-20",
    "identifier": "U5-21",
    "shared": "U5-22",
}


@pytest.mark.parametrize(
    ("setting", "announced", "make", "code"),
    [
        pytest.param(
            *row,
            id=name,
            marks=statement(
                IDS[name], wrong=["connack-properties-stripped", "subscribe-never-refused"]
            ),
        )
        for name, row in UNAVAILABLE.items()
    ],
)
def test_what_is_not_available(dial, own_broker, unique, setting, announced, make, code):
    """What CONNACK says is not available ends the connection; a SUBACK may say the same of a filter."""
    one = dial(to=own_broker(f"[limits]\n{setting}\n"))
    assert announced in one.connect(unique("c")).pairs
    one.send(make())
    answer = one.receive()
    if answer.kind == Kind.SUBACK and announced[0] != 0x29:
        assert answer.codes == (code,)
    else:
        assert (answer.kind, answer.code) == (Kind.DISCONNECT, code)
        assert one.expect_closed() is None


@statement("U5-23", wrong=SAID)
def test_dup_at_qos_0(client):
    """DUP at QoS 0 is an error: malformed or of the protocol."""
    offender = client()
    offender.send(wire.publish("t", b"", 5, dup=True))
    ending = offender.expect_closed()
    assert ending and ending.code in (MALFORMED, PROTOCOL_ERROR)


@statement("U5-24", "U5-25", wrong=["retain-not-stored", "publish-retain-flipped"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retained_messages(client, unique, qos):
    """A retained message of any QoS waits for whoever subscribes later, who sees that it was retained."""
    one, other, topic = client(), client(), unique("t")
    other.publish(topic, b"kept", qos=qos, retain=True)
    one.subscribe((topic, 2))
    message = take(one, b"kept")
    assert (message.retain, message.qos) == (True, qos)
    other.publish(topic, b"live", qos=qos, retain=True)
    assert not take(one, b"live").retain


@statement("U5-26", wrong=["message-expiry-ignored", "retain-not-stored"])
def test_retained_messages_expire(client, unique, pass_secs):
    """A retained message is no part of a session, and is gone when it has expired."""
    one, other, topic = client(), client(), unique("t")
    other.publish(topic + "/short", b"short", retain=True, props=[(Property.MESSAGE_EXPIRY, 1)])
    other.publish(topic + "/long", b"long", retain=True)
    other.leave()
    pass_secs(2, one)
    one.subscribe((topic + "/+", 1))
    take(one, b"long")
    one.ping()


@statement("U5-28", wrong="puback-generic")
def test_a_payload_that_is_no_text(client, unique):
    """A payload that is not the text it says may be refused, by the reason for that; or accepted."""
    one = client()
    one.send_publish(unique("t"), b"\xff", qos=1, props=[(0x01, 1)])
    # 0x10 says that nobody has subscribed.
    assert one.receive().code in (0, 0x10, 0x99)


@statement("U5-29", wrong=SAID)
def test_an_alias_without_a_topic(client):
    """An alias that has no topic yet does not come without one."""
    offender = client()
    offender.send(wire.publish("", b"", 5, props=[(Property.TOPIC_ALIAS, 1)]))
    offender.expect_refused(PROTOCOL_ERROR)


@statement("U5-30", wrong="alias-first-kept")
def test_another_topic_for_an_alias(client, unique):
    """A topic beside a known alias becomes its new topic."""
    one, other, topics = client(), client(), [unique("t"), unique("t")]
    one.subscribe(*((topic, 0) for topic in topics))
    for topic in (topics[0], "", topics[1], ""):
        other.send_publish(topic, b"", qos=0, props=[(Property.TOPIC_ALIAS, 1)])
    seen = [one.expect(Kind.PUBLISH).topic for _ in range(4)]
    assert sorted(seen) == sorted(topics * 2)


FORMS = {"no code": {}, "code alone": {"code": 0}, "code and no properties": {"code": 0, "props": []}}


@statement("U5-33", wrong="acks-refused")
@table(FORMS)
def test_forms_of_acknowledgements(client, unique, case):
    """Code and property length may be left out where they say nothing."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, 2))
    other.publish(topic, b"", qos=1)
    one.send(wire.ack(Kind.PUBACK, one.expect(Kind.PUBLISH).packet_id, **case))
    packet_id = other.send_publish(topic, b"", qos=2)
    other.expect(Kind.PUBREC, packet_id=packet_id)
    other.send(wire.ack(Kind.PUBREL, packet_id, **case))
    other.expect(Kind.PUBCOMP, packet_id=packet_id)
    message = one.expect(Kind.PUBLISH)
    one.send(wire.ack(Kind.PUBREC, message.packet_id, **case))
    one.expect(Kind.PUBREL, packet_id=message.packet_id)
    one.send(wire.ack(Kind.PUBCOMP, message.packet_id, **case))
    one.ping()


@statement("U5-34", wrong="puback-generic")
def test_a_message_for_nobody(client, unique):
    """That nobody subscribed may be said in PUBACK, by 0x10, and need not be."""
    one = client()
    packet_id = one.send_publish(unique("t"), b"", qos=1)
    assert one.expect(Kind.PUBACK, packet_id=packet_id).code in (0, 0x10)


@statement("U5-34", wrong="puback-nobody")
def test_a_message_for_somebody(client, unique):
    """Where somebody subscribed, PUBACK does not say that nobody has."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, 0))
    packet_id = other.send_publish(topic, b"", qos=1)
    assert other.expect(Kind.PUBACK, packet_id=packet_id).code == 0


@statement("U5-35", wrong=SAID)
@table({"0": [(0x0B, 0)], "twice": [(0x0B, 1), (0x0B, 1)]})
def test_bad_subscription_ids(client, case):
    """A SUBSCRIBE has at most one Subscription Identifier, which is not 0."""
    offender = client()
    offender.send(wire.subscribe(1, [("t", 0)], 5, case))
    offender.expect_refused(PROTOCOL_ERROR)


@statement("U5-36", wrong=SAID)
@table({"QoS 3": 3, "Retain Handling 3": 0x30})
def test_bad_options(client, case):
    """A QoS of 3 and a Retain Handling of 3 are protocol errors."""
    offender = client()
    offender.send(wire.subscribe(1, [("t", case)], 5))
    offender.expect_refused(PROTOCOL_ERROR)


@statement("U5-37", wrong=["suback-dropped", "publish-dropped"])
def test_messages_around_suback(client, unique):
    """Matching messages may come before SUBACK and after; both come."""
    one, other, topic = client(), client(), unique("t")
    other.publish(topic, b"", retain=False)
    other.publish(topic, b"kept", retain=True)
    one.send(wire.subscribe(1, [(topic, 0)], 5))
    assert {one.receive().kind for _ in range(2)} == {Kind.SUBACK, Kind.PUBLISH}


@statement("U5-39", wrong=["suback-code-count-off", "unsuback-code-count-off"])
@pytest.mark.parametrize("count", [1, 2, 20])
def test_a_code_for_each_filter(client, unique, count):
    """SUBACK and UNSUBACK have as many codes as there were filters."""
    one, names = client(), [unique("t") for _ in range(count)]
    assert one.subscribe(*((name, 0) for name in names)).codes == (0,) * count
    assert one.unsubscribe(*names).codes == (0,) * count


@statement("U5-41", "H-36", wrong=SAID)
def test_a_session_expiry_that_comes_too_late(client):
    """Who said 0 in CONNECT, or nothing, cannot say more in DISCONNECT."""
    for props in (None, [(Property.SESSION_EXPIRY, 0)]):
        offender = client(props=props)
        offender.send(wire.disconnect(0, [(Property.SESSION_EXPIRY, 60)]))
        offender.expect_refused(PROTOCOL_ERROR)


@statement("U5-41", wrong="client-disconnect-plain")
def test_such_a_disconnect_keeps_the_will(client, unique):
    """A DISCONNECT that was an error does not take back the will."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 0))
    offender = client(will=Will(topic, b"gone"))
    offender.send(wire.disconnect(0, [(Property.SESSION_EXPIRY, 60)]))
    take(witness, b"gone")


@statement("U5-42", wrong="close-hidden")
def test_the_broker_closes_after_disconnect(client):
    """Behind DISCONNECT the broker closes, where the client does not."""
    one = client()
    one.send(wire.disconnect(0))
    assert one.expect_closed() is None


DISCONNECTS = {
    # The forms, and whether the will is published.
    "nothing": (wire.disconnect(), False, "client-disconnect-as-loss"),
    "normal": (wire.disconnect(0), False, "client-disconnect-as-loss"),
    "normal, no properties": (wire.disconnect(0, []), False, "client-disconnect-as-loss"),
    "with the will": (wire.disconnect(4), True, "client-disconnect-plain"),
    "with the will, no properties": (wire.disconnect(4, []), True, "client-disconnect-plain"),
}


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        pytest.param(packet, expected, id=name, marks=statement("U5-43", "H-7", wrong=wrong))
        for name, (packet, expected, wrong) in DISCONNECTS.items()
    ],
)
def test_forms_of_disconnect(client, unique, packet, expected):
    """Without a code DISCONNECT means 0x00, which drops the will; 0x04 publishes it."""
    witness, topic = client(), unique("t")
    witness.subscribe((topic, 0))
    one = client(will=Will(topic, b"gone"))
    one.send(packet)
    assert one.expect_closed() is None
    client(one.client_id).publish(topic, b"next", qos=0)
    if expected:
        take(witness, b"gone")
    take(witness, b"next")


@statement("U5-44", wrong=SAID)
@pytest.mark.parametrize("props", [None, [(0x15, "unheard of")]], ids=["no method", "a method"])
@pytest.mark.parametrize("code", [0x18, 0x19])
def test_auth_without_authentication(client, code, props):
    """Who named no Authentication Method in CONNECT sends no AUTH."""
    offender = client()
    offender.send(wire.auth(code, props))
    offender.expect_refused(PROTOCOL_ERROR)


@statement("U5-56", wrong=["connack-refused", "publish-dropped", "suback-dropped"])
def test_the_old_protocol(client, unique):
    """MQTT 3.1 calls itself MQIsdp, at level 3."""
    one, topic = client(level=3), unique("t")
    assert one.subscribe((topic, 2)).codes == (2,)
    one.send_publish(topic, b"old", qos=0)
    take(one, b"old")
    start = start_release(one, unique("t"), b"")
    release(one, start)


@statement("U5-56", wrong="connack-dropped")
@pytest.mark.parametrize("level", [0x83, 0x84])
def test_the_mark_of_a_bridge(dial, unique, level):
    """Level bit 0x80 is another broker's mark; it is accepted, or refused as an unknown version."""
    one = dial(level & 7)
    name = "MQIsdp" if level == 0x83 else "MQTT"
    one.send(wire.connect(unique("c"), level, name=name))
    assert one.expect(Kind.CONNACK).code in (0, 1)
