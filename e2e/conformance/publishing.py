"""What the tests of sections 3.3 to 3.7 share."""

import pytest
import wire
from wire import Kind, Packet, Property

CLOSED = ["close-hidden"]
SAID = ["close-hidden", "disconnect-reason-generic"]
TOPIC_NAME_INVALID, RECEIVE_MAXIMUM_EXCEEDED, TOPIC_ALIAS_INVALID = 0x90, 0x93, 0x94


def table(data: dict) -> pytest.MarkDecorator:
    """One run for each entry, named by its key."""
    return pytest.mark.parametrize("case", data.values(), ids=data.keys())


def durable(level: int, *props) -> dict:
    """CONNECT options of a session that outlives its connection, with further properties in 5.0."""
    return {"clean": False, "props": [(Property.SESSION_EXPIRY, 600), *props] if level == 5 else None}


def until_pong(one: wire.Client) -> list[Packet]:
    """All messages that come before the answer to a ping; those of QoS 1 and 2 are not acknowledged."""
    one.send(wire.pingreq())
    messages = []
    while (packet := one.receive("PINGRESP")).kind != Kind.PINGRESP:
        assert packet.kind == Kind.PUBLISH, f"expected a message, got {packet}"
        messages.append(packet)
    return messages


def found(one: wire.Client, topic: str, options: int = 0, *, count: int = 0, props=None) -> list[Packet]:
    """Subscribes, and returns what comes of it, up to a message published behind it; at least `count`."""
    marker = f"marker/{one.client_id}"
    one.send(wire.subscribe(next(one.packet_ids), [(topic, options)], one.level, props))
    one.send(wire.subscribe(next(one.packet_ids), [(marker, 0)], one.level))
    one.send(wire.publish(marker, b"marker", one.level))
    messages, marked = [], False
    while not marked or len(messages) < count:
        packet = one.receive(f"{count} messages and the marker, but only {messages}")
        marked |= packet.topic == marker
        messages += [packet] if packet.kind == Kind.PUBLISH and packet.topic != marker else []
    return messages
