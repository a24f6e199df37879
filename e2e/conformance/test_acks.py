"""Sections 3.4 to 3.7: PUBACK, PUBREC, PUBREL and PUBCOMP, their flags, reasons and properties."""

import pytest
import wire
from publishing import SAID, table
from registry import statement
from wire import MALFORMED, Kind, Packet, Property

PUBLISH_REASONS = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}
RELEASE_REASONS = {0x00, 0x92}
NOT_FOUND = 0x92
SMALL = 64
"""A Maximum Packet Size with room for a CONNACK, but not for long reasons."""


def puback(one: wire.Client, topic: str) -> Packet:
    """A PUBACK of the broker."""
    return one.expect(Kind.PUBACK, packet_id=one.send_publish(topic, b"", qos=1))


def pubrec(one: wire.Client, topic: str) -> Packet:
    """A PUBREC of the broker."""
    return one.expect(Kind.PUBREC, packet_id=one.send_publish(topic, b"", qos=2))


def unknown_pubrel(one: wire.Client, topic: str) -> Packet:
    """The PUBREL that answers a PUBREC for nothing."""
    one.send(wire.ack(Kind.PUBREC, 4711))
    return one.expect(Kind.PUBREL, packet_id=4711)


def unknown_pubcomp(one: wire.Client, topic: str) -> Packet:
    """The PUBCOMP that answers a PUBREL for nothing."""
    one.send(wire.ack(Kind.PUBREL, 4711))
    return one.expect(Kind.PUBCOMP, packet_id=4711)


def pubcomp(one: wire.Client, topic: str) -> Packet:
    """The PUBCOMP at the end of a message."""
    packet_id = one.send_publish(topic, b"", qos=2)
    one.expect(Kind.PUBREC, packet_id=packet_id)
    one.send(wire.ack(Kind.PUBREL, packet_id))
    return one.expect(Kind.PUBCOMP, packet_id=packet_id)


def pubrel(one: wire.Client, topic: str) -> Packet:
    """The PUBREL of a message that the broker sends."""
    one.subscribe((topic, 2))
    one.send_publish(topic, b"", qos=2)
    (message,) = [packet for packet in (one.receive(), one.receive()) if packet.kind == Kind.PUBLISH]
    one.send(wire.ack(Kind.PUBREC, message.packet_id))
    return one.expect(Kind.PUBREL, packet_id=message.packet_id)


UNLISTED = ["ack-code-unlisted"]


@pytest.mark.parametrize(
    ("get", "allowed"),
    [
        pytest.param(puback, PUBLISH_REASONS, marks=statement("MQTT-3.4.2-1", wrong=UNLISTED), id="PUBACK"),
        pytest.param(pubrec, PUBLISH_REASONS, marks=statement("MQTT-3.5.2-1", wrong=UNLISTED), id="PUBREC"),
        pytest.param(pubrel, {0}, marks=statement("MQTT-3.6.2-1", wrong=UNLISTED), id="PUBREL"),
        pytest.param(
            unknown_pubrel, RELEASE_REASONS, marks=statement("MQTT-3.6.2-1", wrong=UNLISTED), id="unknown PUBREL"
        ),
        pytest.param(pubcomp, {0}, marks=statement("MQTT-3.7.2-1", wrong=UNLISTED), id="PUBCOMP"),
        pytest.param(
            unknown_pubcomp, RELEASE_REASONS, marks=statement("MQTT-3.7.2-1", wrong=UNLISTED), id="unknown PUBCOMP"
        ),
    ],
)
def test_reasons(client, unique, get, allowed):
    """Each acknowledgement gives one of the reasons that its section lists."""
    assert get(client(), unique("t")).code in allowed


@pytest.mark.parametrize(
    "get",
    [
        pytest.param(unknown_pubrel, marks=statement("MQTT-3.6.2-1", wrong="ack-code-zeroed"), id="PUBREL"),
        pytest.param(unknown_pubcomp, marks=statement("MQTT-3.7.2-1", wrong="ack-code-zeroed"), id="PUBCOMP"),
    ],
)
def test_an_unknown_packet_id(client, unique, get):
    """An identifier that stands for no message is answered with the reason for that."""
    assert get(client(), unique("t")).code == NOT_FOUND


@statement("U5-34", "MQTT-3.4.2-1", "MQTT-3.5.2-1", wrong="ack-no-subscribers")
@pytest.mark.parametrize("get", [puback, pubrec])
def test_reasons_with_a_subscriber(client, unique, get):
    """Who has a subscriber is told success, and not that there are none."""
    one, other, topic = client(), client(), unique("t")
    other.subscribe((topic, 2))
    assert get(one, topic).code == 0


@statement("U5-34", wrong="ack-code-unlisted")
@pytest.mark.parametrize("get", [puback, pubrec])
def test_reasons_without_subscribers(client, unique, get):
    """Who has no subscribers may be told so, or just success."""
    assert get(client(), unique("t")).code in (0x00, 0x10)


GETTERS = {"4": [puback], "5": [pubrec], "6": [pubrel, unknown_pubrel], "7": [pubcomp, unknown_pubcomp]}


@pytest.mark.parametrize(
    "get",
    [
        pytest.param(
            get,
            marks=[
                statement(f"MQTT-3.{section}.2-2", "H-22", wrong="ack-reason-long"),
                statement(f"MQTT-3.{section}.2-3", "H-22", wrong="ack-user-property-long"),
            ],
        )
        for section, getters in GETTERS.items()
        for get in getters
    ],
)
def test_acknowledgements_in_a_small_packet(client, unique, get):
    """Reason String and User Property are left out where the client has no room for them."""
    one = client(props=[(0x27, SMALL)])
    answer = get(one, unique("t"))
    size = len(wire.frame(answer.kind, answer.flags, answer.body))
    assert size <= SMALL


@statement("MQTT-3.6.1-1", "U5-3", wrong=SAID)
@statement("MQTT311-3.6.1-1", wrong="close-hidden")
@pytest.mark.parametrize("flags", [flags for flags in range(16) if flags != 2])
def test_flags_of_pubrel(client, unique, level, flags):
    """The flags of PUBREL are 0010, also where there is a message to release."""
    offender = client()
    offender.send(wire.ack(Kind.PUBREL, pubrec(offender, unique("t")).packet_id, flags=flags))
    offender.expect_refused(MALFORMED)


FORMS = {
    "2 bytes": ({}, "client-ack-2-ignored"),
    "3 bytes": ({"code": 0}, "client-ack-3-ignored"),
    "4 bytes": ({"code": 0, "props": []}, "client-ack-4-ignored"),
}
PROPERTIES = {
    "reason": [(0x1F, "because")],
    "user properties": [(Property.USER_PROPERTY, ("a", "1")), (Property.USER_PROPERTY, ("a", "2"))],
}


def exchange(one: wire.Client, topic: str, options: dict) -> None:
    """Each of the four acknowledgements from a client with a window of one message, in this form."""
    one.subscribe((topic, 2))
    for qos in (1, 2, 1):
        packet_id = one.send_publish(topic, b"%d" % qos, qos=qos)
        answers = {packet.kind: packet for packet in (one.receive(), one.receive())}
        assert answers.keys() == {Kind.PUBLISH, Kind.PUBACK if qos == 1 else Kind.PUBREC}
        message = answers[Kind.PUBLISH]
        if qos == 1:
            one.send(wire.ack(Kind.PUBACK, message.packet_id, **options))
            continue
        one.send(wire.ack(Kind.PUBREL, packet_id, **options))
        one.expect(Kind.PUBCOMP, packet_id=packet_id)
        one.send(wire.ack(Kind.PUBREC, message.packet_id, **options))
        one.expect(Kind.PUBREL, packet_id=message.packet_id)
        one.send(wire.ack(Kind.PUBCOMP, message.packet_id, **options))
    one.ping()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, marks=statement("U5-33", wrong=double), id=what)
        for what, (options, double) in FORMS.items()
    ],
)
def test_forms_of_acknowledgements(client, unique, options):
    """Success may be said in two bytes, three or four: each form has its effect."""
    exchange(client(props=[(Property.RECEIVE_MAXIMUM, 1)]), unique("t"), options)


@statement("U5-33", wrong="eager-close")
@table(PROPERTIES)
def test_acknowledgements_with_properties(client, unique, case):
    """A client may say why, in each acknowledgement."""
    one = client(props=[(Property.RECEIVE_MAXIMUM, 1)])
    exchange(one, unique("t"), {"code": 0, "props": case})
