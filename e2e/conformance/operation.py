"""What the tests of section 4 share: sessions that are kept, and messages taken to their end."""


import pytest
import wire
from wire import Kind, Packet, Property

TOPIC_ALIAS_INVALID, PACKET_TOO_LARGE, RECEIVE_MAXIMUM_EXCEEDED = 0x94, 0x95, 0x93
NOT_FOUND = 0x92


def table(data: dict) -> pytest.MarkDecorator:
    """One run for each entry, named by its key."""
    return pytest.mark.parametrize("case", data.values(), ids=data.keys())


def durable(level: int = 5, *props, secs: int = 600, **options) -> dict:
    """CONNECT options of a session that outlives its connection, with further properties in 5.0."""
    kept = [(Property.SESSION_EXPIRY, secs), *props] if level == 5 else None
    return {"clean": False, "props": kept, **options}


def take(one: wire.Client, payload: bytes | None = None, *, within: float = 0) -> Packet:
    """The next packet, which must be a PUBLISH, with this payload if one is given; finishes its flow."""
    message = one.receive("a message", within=within)
    assert message.kind == Kind.PUBLISH, f"expected a message, got {message}"
    assert payload in (None, message.payload), f"expected {payload!r}, got {message}"
    if message.qos == 1:
        one.send(wire.ack(Kind.PUBACK, message.packet_id))
    elif message.qos == 2:
        one.send(wire.ack(Kind.PUBREC, message.packet_id))
        one.expect(Kind.PUBREL, packet_id=message.packet_id)
        one.send(wire.ack(Kind.PUBCOMP, message.packet_id))
    return message


def start_release(one: wire.Client, topic: str, payload: bytes, **options) -> int:
    """Publishes at QoS 2 up to the PUBREC, and returns the packet id."""
    packet_id = one.send_publish(topic, payload, qos=2, **options)
    one.expect(Kind.PUBREC, packet_id=packet_id)
    return packet_id


def release(one: wire.Client, packet_id: int) -> Packet:
    """Sends PUBREL and returns the PUBCOMP."""
    one.send(wire.ack(Kind.PUBREL, packet_id))
    return one.expect(Kind.PUBCOMP, packet_id=packet_id)
