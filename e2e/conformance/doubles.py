"""The wrong doubles: brokers that break one rule, each by name.

A double changes packets between client and broker: `down` those of the broker, `up` those of the client.
What it returns is sent in place of the packet; the packet itself means that nothing was changed.
A test that passes with its double asserts nothing.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from websocket import Frame
from wire import Kind, Packet, encode, replace, string

ACKS = {Kind.PUBACK, Kind.PUBREC, Kind.PUBREL, Kind.PUBCOMP}
ENDS = {Kind.CONNACK, Kind.DISCONNECT}
GENERIC = {4: 5, 5: 0x80}
"""A refusal without a reason: 3.1.1 has no code for that, so it says not authorized."""


@dataclass
class Link:
    """One relayed connection: the level its client speaks, and what a double wants to remember."""

    level: int = 5
    memory: dict = field(default_factory=dict)
    ended: bool = False


Sent = list[Packet | bytes]


@dataclass(frozen=True)
class Double:
    """One way to be wrong."""

    down: Callable[[Packet, Link], Sent] | None = None
    up: Callable[[int, bytes, Link], list[tuple[int, bytes]]] | None = None
    hides_close: bool = False
    request: Callable[[bytes], bytes] | None = None
    """Changes the HTTP request for a WebSocket, `response` its answer."""
    response: Callable[[bytes], bytes] | None = None
    frames_up: Callable[[Frame, Link], list[Frame]] | None = None
    """Changes frames of the client, `frames_down` those of the broker."""
    frames_down: Callable[[Frame, Link], list[Frame]] | None = None


def _changed(kinds, change: Callable[[Packet], dict], when=lambda packet: True) -> Double:
    """Other values for some fields of these kinds of packets."""
    kinds = {kinds} if isinstance(kinds, Kind) else kinds

    def down(packet: Packet, link: Link) -> Sent:
        fits = packet.kind in kinds and when(packet)
        return [replace(packet, **change(packet)) if fits else packet]

    return Double(down)


def _dropped(kinds, when=lambda packet: True) -> Double:
    """Nothing in place of these kinds of packets."""
    kinds = {kinds} if isinstance(kinds, Kind) else kinds
    return Double(lambda packet, link: [] if packet.kind in kinds and when(packet) else [packet])


def _doubled(kind: Kind) -> Double:
    return Double(lambda packet, link: [packet] * (2 if packet.kind == kind else 1))


def _flag(bit: int, kinds=Kind.PUBLISH) -> Double:
    return _changed(kinds, lambda packet: {"flags": packet.flags ^ bit})


def _stripped(kinds, name: int | None = None) -> Double:
    """Without this property, or without any."""

    def change(packet: Packet) -> dict:
        kept = tuple(pair for pair in packet.pairs if name is not None and pair[0] != name)
        return {"pairs": kept}

    return _changed(kinds, change)


def _added(kinds, *pairs) -> Double:
    return _changed(kinds, lambda packet: {"pairs": packet.pairs + pairs})


def _refused(packet: Packet) -> bool:
    return packet.code >= 0x80 or (packet.kind == Kind.CONNACK and packet.code > 0)


def _reason_generic(packet: Packet, link: Link) -> Sent:
    if packet.kind in ENDS | ACKS and _refused(packet):
        return [replace(packet, code=GENERIC[link.level])]
    return [packet]


def _lowered_qos(packet: Packet, link: Link) -> Sent:
    if packet.kind != Kind.PUBLISH or not packet.qos:
        return [packet]
    return [replace(packet, flags=packet.flags - 2, packet_id=packet.packet_id)]


def _swapped(packet: Packet, link: Link) -> Sent:
    """Holds each first publish back until the second one has passed."""
    if packet.kind != Kind.PUBLISH:
        return [packet]
    held = link.memory.pop("held", None)
    if held is None:
        link.memory["held"] = packet
        return []
    return [packet, held]


def _one_packet_id(packet: Packet, link: Link) -> Sent:
    if packet.kind != Kind.PUBLISH or not packet.qos:
        return [packet]
    return [replace(packet, packet_id=link.memory.setdefault("id", packet.packet_id))]


def _id_at_qos_0(packet: Packet, link: Link) -> Sent:
    if packet.kind != Kind.PUBLISH or packet.qos:
        return [packet]
    data = encode(replace(packet, topic="", payload=b""), link.level)
    section = data[4:]
    body = string(packet.topic) + b"\0\1" + section + packet.payload
    return [bytes([data[0], len(body)]) + body]


def _length_left_out(packet: Packet, link: Link) -> Sent:
    """Without the property length where it is zero."""
    if link.level < 5 or packet.pairs or packet.kind not in {Kind.SUBACK, Kind.UNSUBACK, Kind.PUBLISH}:
        return [packet]
    return [encode(packet, 4)]


def _second_connack(packet: Packet, link: Link) -> Sent:
    if packet.kind == Kind.CONNACK:
        link.memory["connack"] = packet
    elif packet.kind in (Kind.PINGRESP, Kind.AUTH):
        return [link.memory["connack"], packet]
    return [packet]


def _late_connack(packet: Packet, link: Link) -> Sent:
    """CONNACK behind the packet after it."""
    if packet.kind == Kind.CONNACK and not packet.code:
        link.memory["connack"] = packet
        return []
    return [packet, *([link.memory.pop("connack")] if "connack" in link.memory else [])]


def _eager_close(packet: Packet, link: Link) -> Sent:
    """Closes where the broker answers anything but a CONNACK."""
    if packet.kind == Kind.CONNACK:
        return [packet]
    link.ended = True
    return []


def _legal_connect_refused(packet: Packet, link: Link) -> Sent:
    if packet.kind != Kind.CONNACK or packet.code:
        return [packet]
    link.ended = True
    return [replace(packet, code=GENERIC[link.level], ack_flags=0, pairs=())]


def _connect_changed(change: Callable[[bytearray, int], None]) -> Double:
    """Changes the CONNECT on its way to the broker; `change` gets its body and where its flags are."""

    def up(first: int, body: bytes, link: Link) -> list[tuple[int, bytes]]:
        if first >> 4 == Kind.CONNECT:
            mutable = bytearray(body)
            with contextlib.suppress(IndexError):
                # A CONNECT cut short passes as it is.
                change(mutable, 3 + int.from_bytes(body[:2], "big"))
            body = bytes(mutable)
        return [(first, body)]

    return Double(up=up)


def _xor_flags(bits: int) -> Callable[[bytearray, int], None]:
    def change(body: bytearray, at: int) -> None:
        body[at] ^= bits

    return change


def _clear_clean(body: bytearray, at: int) -> None:
    body[at] &= ~2


def _zero_keepalive(body: bytearray, at: int) -> None:
    body[at + 1 : at + 3] = b"\0\0"


def _same_client_id(body: bytearray, at: int) -> None:
    """Keeps only the length of the client id."""
    # Behind the keep alive, in 5.0 behind a property section of up to 127 bytes as well.
    at += 3
    if body[at - 4] == 5:
        at += 1 + body[at]
    length = int.from_bytes(body[at : at + 2], "big")
    body[at + 2 : at + 2 + length] = b"x" * length


def _up_dropped(kind: Kind) -> Double:
    return Double(up=lambda first, body, link: [] if first >> 4 == kind else [(first, body)])


def _bom_stripped(packet: Packet) -> dict:
    return {"topic": packet.topic.replace("\ufeff", "")}


def _flipped(payload: bytes) -> bytes:
    return bytes([payload[0] ^ 1]) + payload[1:] if payload else b"?"


DOUBLES = {
    "nothing": Double(),
    # connections
    "close-hidden": Double(
        lambda packet, link: [] if packet.kind in ENDS and _refused(packet) else [packet],
        hides_close=True,
    ),
    "eager-close": Double(_eager_close),
    "reason-generic": Double(_reason_generic),
    "disconnect-reason-generic": _changed(
        Kind.DISCONNECT, lambda packet: {"code": 0x80}, _refused
    ),
    "disconnect-dropped": _dropped(Kind.DISCONNECT),
    # CONNECT, CONNACK
    "connect-clean-flipped": _connect_changed(_xor_flags(2)),
    "connect-clean-cleared": _connect_changed(_clear_clean),
    "connect-reserved-cleared": _connect_changed(_xor_flags(1)),
    "connect-keepalive-zeroed": _connect_changed(_zero_keepalive),
    "connect-client-id-same": _connect_changed(_same_client_id),
    "connack-dropped": _dropped(Kind.CONNACK),
    "connack-late": Double(_late_connack),
    "connack-repeated": Double(_second_connack),
    "connack-refused": Double(_legal_connect_refused),
    "connack-code-zeroed": _changed(Kind.CONNACK, lambda packet: {"code": 0}),
    "connack-session-present-flipped": _changed(
        Kind.CONNACK,
        lambda packet: {"ack_flags": packet.ack_flags ^ 1},
    ),
    "connack-flags-reserved": _changed(
        Kind.CONNACK, lambda packet: {"ack_flags": packet.ack_flags | 0x80}
    ),
    "connack-properties-stripped": _stripped(Kind.CONNACK),
    "connack-response-information": _added(Kind.CONNACK, (0x1A, "reply/here")),
    "connack-assigned-id-same": _changed(
        Kind.CONNACK,
        lambda packet: {
            "pairs": tuple((name, "same" if name == 0x12 else value) for name, value in packet.pairs)
        },
    ),
    # PUBLISH
    "publish-dropped": _dropped(Kind.PUBLISH),
    "publish-doubled": _doubled(Kind.PUBLISH),
    "publish-order-swapped": Double(_swapped),
    "publish-payload-bit-flipped": _changed(
        Kind.PUBLISH, lambda packet: {"payload": _flipped(packet.payload)}
    ),
    "publish-topic-changed": _changed(Kind.PUBLISH, lambda packet: {"topic": packet.topic + "x"}),
    "publish-bom-stripped": _changed(Kind.PUBLISH, _bom_stripped),
    "publish-qos-lowered": Double(_lowered_qos),
    "publish-retain-flipped": _flag(1),
    "publish-dup-flipped": _flag(8),
    "publish-id-at-qos-0": Double(_id_at_qos_0),
    "publish-id-repeated": Double(_one_packet_id),
    "publish-id-zeroed": _changed(Kind.PUBLISH, lambda packet: {"packet_id": 0}),
    "publish-properties-stripped": _stripped(Kind.PUBLISH),
    "publish-property-order-reversed": _changed(
        Kind.PUBLISH, lambda packet: {"pairs": packet.pairs[::-1]}
    ),
    "alias-sent": _added(Kind.PUBLISH, (0x23, 1)),
    # acknowledgements
    "packet-id-changed": _changed(
        ACKS | {Kind.SUBACK, Kind.UNSUBACK, Kind.PUBLISH},
        lambda packet: {"packet_id": packet.packet_id ^ 0x4000},
        lambda packet: packet.packet_id > 0,
    ),
    "ack-id-plus-one": _changed(
        ACKS | {Kind.SUBACK, Kind.UNSUBACK}, lambda packet: {"packet_id": packet.packet_id + 1}
    ),
    "ack-properties-added": _added(ACKS | {Kind.SUBACK, Kind.UNSUBACK}, (0x1F, "because")),
    "ack-code-zeroed": _changed(ACKS, lambda packet: {"code": 0}),
    "puback-id-plus-one": _changed(Kind.PUBACK, lambda packet: {"packet_id": packet.packet_id + 1}),
    "puback-dropped": _dropped(Kind.PUBACK),
    "pubrec-dropped": _dropped(Kind.PUBREC),
    "pubrel-dropped": _dropped(Kind.PUBREL),
    "pubcomp-dropped": _dropped(Kind.PUBCOMP),
    # subscriptions
    "suback-dropped": _dropped(Kind.SUBACK),
    "suback-codes-zeroed": _changed(Kind.SUBACK, lambda packet: {"codes": (0,) * len(packet.codes)}),
    "suback-codes-reversed": _changed(Kind.SUBACK, lambda packet: {"codes": packet.codes[::-1]}),
    "suback-code-count-off": _changed(Kind.SUBACK, lambda packet: {"codes": (*packet.codes, 0)}),
    "unsuback-dropped": _dropped(Kind.UNSUBACK),
    "unsubscribe-ignored": Double(
        lambda packet, link: [packet],
        up=lambda first, body, link: [
            # The id and, in 5.0, no properties; the filter becomes one that nobody has.
            (first, body[:-1] + b"~") if first >> 4 == Kind.UNSUBSCRIBE else (first, body)
        ],
    ),
    # the rest
    "keepalive-answer-dropped": _dropped(Kind.PINGRESP),
    "client-disconnect-dropped": _up_dropped(Kind.DISCONNECT),
    "flags-reserved": _flag(4, ACKS | {Kind.CONNACK, Kind.SUBACK, Kind.UNSUBACK, Kind.PINGRESP}),
    "property-length-left-out": Double(_length_left_out),
}
