"""Section 3.2: CONNACK, its flags, its reason code and its properties."""

import pytest
import wire
from registry import statement
from wire import Kind, Property

REASONS = {
    4: {1, 2, 3, 4, 5},
    5: {*range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F},
}
"""The reasons that a CONNACK may give for a refusal."""


def refused(dial, unique, level: int) -> tuple[wire.Client, wire.Packet]:
    """A connection that is refused in words, and the words.

    Before 5.0 an empty id to be kept, and in 5.0 a method of authentication that nobody knows.
    """
    offender = dial()
    if level == 4:
        return offender, offender.introduce("", clean=False)
    return offender, offender.introduce(unique("c"), props=[(0x15, "unheard of")])


@statement("MQTT-3.2.0-1", "MQTT311-3.2.0-1", wrong="connack-late")
def test_connack_is_first(dial, unique, level):
    """CONNACK comes before everything else, also before the messages of a resumed session."""
    name, topic = unique("c"), unique("t")
    props = [(Property.SESSION_EXPIRY, 600)] if level == 5 else None
    one, other = dial(), dial()
    one.send(wire.connect(name, level, clean=False, props=props) + wire.subscribe(1, [(topic, 1)], level))
    assert {one.receive().kind for _ in range(2)} == {Kind.CONNACK, Kind.SUBACK}
    one.close()
    other.send(wire.connect(unique("c"), level) + wire.publish(topic, b"", level, qos=1, packet_id=1))
    assert {other.receive().kind for _ in range(2)} == {Kind.CONNACK, Kind.PUBACK}
    again = dial()
    again.send(wire.connect(name, level, clean=False, props=props) + wire.pingreq())
    assert again.receive().kind == Kind.CONNACK


@statement("MQTT-3.2.0-2", wrong="connack-repeated")
def test_connack_comes_once(client, unique):
    """There is one CONNACK on a connection, whatever else is answered."""
    one, topic = client(), unique("t")
    one.send(wire.pingreq() + wire.subscribe(1, [(topic, 0)], 5) + wire.pingreq())
    kinds = [one.receive().kind for _ in range(3)]
    assert sorted(kinds) == sorted([Kind.PINGRESP, Kind.SUBACK, Kind.PINGRESP])


@statement("MQTT-3.2.2-1", wrong="connack-flags-reserved")
@pytest.mark.parametrize("present", [0, 1])
def test_connect_acknowledge_flags(dial, unique, present):
    """Of the Connect Acknowledge Flags only bit 0 is ever set."""
    name, options = unique("c"), {"clean": False, "props": [(Property.SESSION_EXPIRY, 600)]}
    for _ in range(present):
        first = dial()
        first.connect(name, **options)
        first.leave()
    assert dial().introduce(name, **options).ack_flags == present


@statement("MQTT-3.2.2-2", "MQTT311-3.2.2-1", wrong=["connack-session-present-flipped", "connack-refused"])
def test_session_present_after_a_clean_start(dial, unique, level):
    """A clean start is accepted with Session Present 0, also where a session was stored."""
    name, props = unique("c"), [(Property.SESSION_EXPIRY, 600)] if level == 5 else None
    first = dial()
    first.connect(name, clean=False, props=props)
    first.leave()
    connack = dial().introduce(name, clean=True, props=props)
    assert (connack.session_present, connack.code) == (False, 0)


@statement("MQTT-3.2.2-3", wrong="connack-session-present-flipped")
@statement("MQTT311-3.2.2-2", "MQTT311-3.2.2-3", wrong="connack-session-present-flipped")
def test_session_present(dial, unique, level):
    """Session Present says whether there was a session to resume."""
    name, props = unique("c"), [(Property.SESSION_EXPIRY, 600)] if level == 5 else None
    for present in (False, True, True):
        one = dial()
        assert one.introduce(name, clean=False, props=props).session_present == present
        one.leave()


@statement("MQTT-3.2.2-6", "MQTT311-3.2.2-4", wrong=["connack-session-present-flipped", "connack-code-zeroed"])
def test_session_present_of_a_refusal(dial, unique, level):
    """A refusal has Session Present 0."""
    _, connack = refused(dial, unique, level)
    assert connack.code and connack.ack_flags == 0


@statement("MQTT-3.2.2-7", "MQTT311-3.2.2-5", wrong="close-hidden")
def test_a_refusal_is_followed_by_the_close(dial, unique, level):
    """Behind a CONNACK that refuses there is only the end."""
    offender, connack = refused(dial, unique, level)
    assert connack.code
    offender.expect_closed()


@statement("MQTT-3.2.2-8", wrong="connack-code-zeroed")
def test_reasons_of_refusals(dial, unique):
    """A refusal gives one of the reasons that are listed for CONNACK."""
    _, connack = refused(dial, unique, 5)
    assert connack.code in REASONS[5]


@statement("MQTT311-3.2.2-6", wrong="close-hidden")
def test_no_return_code_fits(dial, unique, level):
    """A CONNECT that is malformed has no return code of its own: a close and no CONNACK."""
    offender = dial()
    offender.send(wire.connect(unique("c"), level, flags=0x03))
    assert offender.expect_closed() is None


@statement("MQTT-3.2.2-16", "MQTT-3.1.3-6", wrong=["connack-assigned-id-same", "connack-properties-stripped"])
def test_assigned_ids_are_unique(dial):
    """Each client without an id is told one of its own."""
    found = [dial().connect("").values(Property.ASSIGNED_CLIENT_ID) for _ in range(5)]
    assert all(len(one) == 1 and one[0] for one in found)
    assert len({one[0] for one in found}) == 5


@statement("MQTT-3.2.2-15", "U5-19", "H-23", wrong=["close-hidden", "disconnect-reason-generic"])
def test_above_the_maximum_packet_size(dial, own_broker, unique):
    """A packet above the broker's Maximum Packet Size ends the connection, from its header on."""
    offender = dial(to=own_broker("[limits]\npacket_bytes_max = 1000\n"))
    assert offender.connect(unique("c")).values(0x27) == [1000]
    whole = wire.publish("t", b"x" * 1000, 5)
    offender.send(whole[: whole.index(b"\0\1t")])
    offender.expect_refused(0x95)


@statement("MQTT-3.2.2-17", "MQTT-3.2.2-18", "H-24", wrong=["close-hidden", "disconnect-reason-generic"])
def test_above_the_topic_alias_maximum(dial, unique):
    """A Topic Alias above the broker's maximum, which is 0 if it is not told, ends the connection."""
    offender = dial()
    maximum = (offender.connect(unique("c")).values(0x22) or [0])[0]
    offender.send(wire.publish("t", b"", 5, props=[(Property.TOPIC_ALIAS, maximum + 1)]))
    offender.expect_refused(0x94)
