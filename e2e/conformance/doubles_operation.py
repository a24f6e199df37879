"""Wrong doubles for the flows of messages: resending, flow control, expiry, retained messages."""

import time
from collections.abc import Callable

import wire
from doubles import DOUBLES, Double, Link, Sent
from wire import Kind, Packet, replace, string

Up = list[tuple[int, bytes]]
ERROR = 0x80


def _down(kind: Kind, change: Callable[[Packet, Link], Sent]) -> Double:
    """Changes packets of one kind that the broker sends."""
    return Double(lambda packet, link: change(packet, link) if packet.kind == kind else [packet])


def _up(kind: Kind, change: Callable[[int, bytes, Link], Up]) -> Double:
    """Changes packets of one kind that clients send."""
    return _reading(lambda first, body, link: change(first, body, link) if first >> 4 == kind else [(first, body)])


def _reading(up: Callable[[int, bytes, Link], Up]) -> Double:
    """Changes packets of clients; the relay knows the level only where it reads what the broker sends."""
    return Double(lambda packet, link: [packet], up)


def _id_plus_one(kind: Kind) -> Double:
    return _down(kind, lambda packet, link: [replace(packet, packet_id=packet.packet_id + 1)])


# What the broker resends, and what it should not.


def _resend_unasked(packet: Packet, link: Link) -> Sent:
    """Sends the last message once more before it answers a ping."""
    if packet.kind == Kind.PUBLISH and packet.qos:
        link.memory["last"] = packet
    if packet.kind == Kind.PINGRESP and "last" in link.memory:
        again = link.memory["last"]
        return [replace(again, flags=again.flags | 8), packet]
    return [packet]


def _is_resent_release(packet: Packet, link: Link) -> bool:
    """Whether this is a PUBREL on a connection that has not subscribed, but resumed a session."""
    if packet.kind == Kind.SUBACK:
        link.memory["subscribed"] = True
    return packet.kind == Kind.PUBREL and "subscribed" not in link.memory


def _release_as_publish(packet: Packet, link: Link) -> Sent:
    """Begins again with the message where only its release has to be repeated."""
    if not _is_resent_release(packet, link):
        return [packet]
    return [Packet(Kind.PUBLISH, 0x0C, packet_id=packet.packet_id, topic="t")]


def _release_forgotten(packet: Packet, link: Link) -> Sent:
    return [] if _is_resent_release(packet, link) else [packet]


def _only_resent(change: Callable[[Packet], Sent]) -> Double:
    return _down(Kind.PUBLISH, lambda packet, link: change(packet) if packet.dup else [packet])


def _acks_swapped(packet: Packet, link: Link) -> Sent:
    """Holds each first acknowledgement back until the second one of its kind has passed."""
    if packet.kind not in (Kind.PUBACK, Kind.PUBREC, Kind.PUBREL):
        return [packet]
    held = link.memory.pop(packet.kind, None)
    if held is None:
        link.memory[packet.kind] = packet
        return []
    return [packet, held]


def _forgets_after_a_second(packet: Packet, link: Link) -> Sent:
    born = link.memory.setdefault("born", time.monotonic())
    return [] if packet.kind == Kind.PUBLISH and time.monotonic() > born + 1 else [packet]


def _releases_swapped(packet: Packet, link: Link) -> Sent:
    """Turns the order of two releases around that are sent again."""
    if not _is_resent_release(packet, link):
        return [packet]
    held = link.memory.pop("release", None)
    if held is None:
        link.memory["release"] = packet
        return []
    return [packet, held]


OFFERED: dict[str, tuple[Link, Packet]] = {}


def _offered_to_others(packet: Packet, link: Link) -> Sent:
    """Gives a message of QoS 1 or 2 also to the next client that gets one of its topic."""
    if packet.kind != Kind.PUBLISH or not packet.qos:
        return [packet]
    owner, earlier = OFFERED.setdefault(packet.topic, (link, packet))
    return [packet] if owner is link else [earlier, packet]


# Messages of clients: a published message is taken apart and put together again.


def _parts(first: int, body: bytes) -> tuple[bytes, bytes, bytes]:
    """The topic of a PUBLISH, its packet id, which may be empty, and the rest."""
    end = 2 + int.from_bytes(body[:2], "big")
    behind = end + (2 if first & 6 else 0)
    return body[2:end], body[end:behind], body[behind:]


def _elsewhere(first: int, body: bytes) -> tuple[int, bytes]:
    """The same message to a topic that nobody knows."""
    topic, packet_id, rest = _parts(first, body)
    return first, string(topic + b"~") + packet_id + rest


def _dup_published_again(first: int, body: bytes, link: Link) -> Up:
    topic, _, rest = _parts(first, body)
    return [(first, body), *([(first & 0xF1, string(topic) + rest)] if first & 8 else [])]


def _reuse_swallowed(first: int, body: bytes, link: Link) -> Up:
    """Takes each second message with the same packet id for a repetition of the first."""
    packet_id = _parts(first, body)[1]
    known = packet_id in link.memory.setdefault("ids", set())
    link.memory["ids"] |= {packet_id} - {b""}
    return [_elsewhere(first, body) if known else (first, body)]


def _without(properties: bytes, name: int) -> bytes:
    """A property section without one of its properties."""
    kept = [pair for pair in wire._Fields(properties).properties() if pair[0] != name]
    return wire.properties(kept)


def _section(body: bytes, at: int) -> bytes:
    """The property section that begins here; its length takes one byte in these tests."""
    return body[at : at + 1 + body[at]]


def _publish_without(name: int) -> Double:
    def change(first: int, body: bytes, link: Link) -> Up:
        topic, packet_id, rest = _parts(first, body)
        section = _section(rest, 0)
        kept = _without(section, name) if link.level == 5 else section
        return [(first, string(topic) + packet_id + kept + rest[len(section) :])]

    return _up(Kind.PUBLISH, change)


def _connect_property(name: int, change: Callable[[int], int | None]) -> Double:
    """Another value for a property of CONNECT, or none at all."""

    def up(first: int, body: bytes, link: Link) -> Up:
        at = 6 + int.from_bytes(body[:2], "big")
        if body[at - 4] != 5:
            return [(first, body)]
        section = _section(body, at)
        pairs = [
            (key, change(value) if key == name else value) for key, value in wire._Fields(section).properties()
        ]
        changed = wire.properties([pair for pair in pairs if pair[1] is not None])
        return [(first, body[:at] + changed + body[at + len(section) :])]

    return _up(Kind.CONNECT, up)


def _will_delay(value: int) -> Double:
    """The will of CONNECT waits this long, whatever was asked for."""

    def up(first: int, body: bytes, link: Link) -> Up:
        asked = body.find(b"\x05\x18\0\0")
        if asked < 0:
            return [(first, body)]
        return [(first, body[: asked + 2] + value.to_bytes(4, "big") + body[asked + 6 :])]

    return _up(Kind.CONNECT, up)


def _clean(first: int, body: bytes, link: Link) -> Up:
    at = 3 + int.from_bytes(body[:2], "big")
    return [(first, body[:at] + bytes([body[at] | 2]) + body[at + 1 :])]


# Subscriptions: each filter is changed with its options.


def _subscription(change: Callable[[bytes, int], tuple[bytes, int]]) -> Double:
    def up(first: int, body: bytes, link: Link) -> Up:
        fields = wire._Fields(body)
        # Only packets that are well formed come here, but for bad filters.
        head = fields.take(2)
        head += fields.take(1 + fields.body[2]) if link.level == 5 else b""
        wanted = b""
        while fields.left():
            name, options = fields.binary(), fields.number(1)
            name, options = change(name, options)
            wanted += string(name) + bytes([options])
        return [(first, head + wanted)]

    return _up(Kind.SUBSCRIBE, up)


def _aged(seconds: int) -> Callable[[Packet, Link], Sent]:
    def change(packet: Packet, link: Link) -> Sent:
        pairs = tuple((name, value + seconds * (name == 2) if name == 2 else value) for name, value in packet.pairs)
        return [replace(packet, pairs=pairs)]

    return change


def _raised(packet: Packet, link: Link) -> Sent:
    if packet.qos == 2:
        return [packet]
    return [replace(packet, flags=packet.flags + 2, packet_id=packet.packet_id or 7)]


def _client_error_ignored(first: int, body: bytes, link: Link) -> Up:
    is_error = first >> 4 in (Kind.PUBACK, Kind.PUBREC, Kind.PUBCOMP) and len(body) > 2 and body[2] >= ERROR
    return [] if is_error else [(first, body)]


def _alias_kept(first: int, body: bytes, link: Link) -> Up:
    """Keeps the first topic of an alias, whatever is bound to it later."""
    topic, packet_id, rest = _parts(first, body)
    known = link.memory.setdefault("aliases", set())
    section = _section(rest, 0)
    alias = dict(wire._Fields(section).properties()).get(0x23)
    if not topic or alias not in known:
        known.add(alias)
        return [(first, body)]
    return [(first, string(topic) + packet_id + _without(section, 0x23) + rest[len(section) :])]


def _one_dropped(packet: Packet, link: Link) -> Sent:
    link.memory["count"] = link.memory.get("count", 0) + 1
    return [] if link.memory["count"] == 1000 else [packet]


def _acks_refused(first: int, body: bytes, link: Link) -> Up:
    """Takes each acknowledgement for malformed."""
    is_ack = first >> 4 in (Kind.PUBACK, Kind.PUBREC, Kind.PUBREL, Kind.PUBCOMP)
    return [(0, b"") if is_ack else (first, body)]


def _wordy(packet: Packet, link: Link) -> Sent:
    """Gives reasons at length in all that has room for them."""
    if packet.kind in (Kind.CONNACK, Kind.PUBLISH, Kind.PINGRESP) or link.level < 5:
        return [packet]
    return [replace(packet, pairs=(*packet.pairs, (0x1F, "because " * 9)))]


DOUBLES.update(
    {
        # flows
        "pubrec-id-plus-one": _id_plus_one(Kind.PUBREC),
        "pubrel-id-plus-one": _id_plus_one(Kind.PUBREL),
        "pubcomp-id-plus-one": _id_plus_one(Kind.PUBCOMP),
        "publish-qos-raised": _down(Kind.PUBLISH, _raised),
        "publish-qos-0-raised": _down(
            Kind.PUBLISH, lambda packet, link: [packet] if packet.qos else _raised(packet, link)
        ),
        "resend-unasked": Double(_resend_unasked),
        "resend-dropped": _only_resent(lambda packet: []),
        "resend-id-changed": _only_resent(lambda packet: [replace(packet, packet_id=packet.packet_id ^ 0x4000)]),
        "resend-without-dup": _only_resent(lambda packet: [replace(packet, flags=packet.flags & 7)]),
        "release-as-publish": Double(_release_as_publish),
        "release-forgotten": Double(_release_forgotten),
        "releases-swapped": Double(_releases_swapped),
        "pubcomp-not-found": _down(
            Kind.PUBCOMP, lambda packet, link: [replace(packet, code=0x92 if link.level == 5 else 0)]
        ),
        "puback-generic": _down(Kind.PUBACK, lambda packet, link: [replace(packet, code=ERROR)]),
        "puback-nobody": _down(Kind.PUBACK, lambda packet, link: [replace(packet, code=0x10)]),
        "acks-refused": _reading(_acks_refused),
        "wordy": Double(_wordy),
        "publish-one-dropped": _down(Kind.PUBLISH, _one_dropped),
        "acks-swapped": Double(_acks_swapped),
        "forgets-after-a-second": Double(_forgets_after_a_second),
        "offered-to-others": Double(_offered_to_others),
        "dup-published-again": _up(Kind.PUBLISH, _dup_published_again),
        "dup-swallowed": _up(
            Kind.PUBLISH,
            lambda first, body, link: [_elsewhere(first, body) if first & 8 else (first, body)],
        ),
        "id-reuse-swallowed": _up(Kind.PUBLISH, _reuse_swallowed),
        "acked-and-lost": _up(
            Kind.PUBLISH, lambda first, body, link: [_elsewhere(first, body) if first & 6 else (first, body)]
        ),
        "client-errors-ignored": _reading(_client_error_ignored),
        # CONNECT
        "connect-clean-set": _up(Kind.CONNECT, _clean),
        "connect-expiry-forever": _connect_property(0x11, lambda value: 0xFFFFFFFF),
        "connect-receive-maximum-ignored": _connect_property(0x21, lambda value: None),
        "connect-receive-maximum-plus-one": _connect_property(0x21, lambda value: value + 1),
        "connect-maximum-packet-ignored": _connect_property(0x27, lambda value: None),
        "will-at-once": _will_delay(0),
        "will-late": _will_delay(600),
        "client-disconnect-plain": _up(Kind.DISCONNECT, lambda first, body, link: [(first, b"")]),
        "client-disconnect-as-loss": _up(
            Kind.DISCONNECT, lambda first, body, link: [(first, b"\x04" + body[1:] if link.level == 5 else body)]
        ),
        # properties of messages, retained messages
        "alias-first-kept": _up(Kind.PUBLISH, _alias_kept),
        "message-expiry-ignored": _publish_without(2),
        "message-expiry-restarted": _down(Kind.PUBLISH, _aged(100)),
        "will-delay-leaked": _down(
            Kind.PUBLISH, lambda packet, link: [replace(packet, pairs=(*packet.pairs, (0x18, 5)))]
        ),
        "retain-not-stored": _up(Kind.PUBLISH, lambda first, body, link: [(first & 0xFE, body)]),
        "retain-always-stored": _up(Kind.PUBLISH, lambda first, body, link: [(first | 1, body)]),
        "empty-retain-not-stored": _up(
            Kind.PUBLISH,
            lambda first, body, link: [
                (first & 0xFE if _parts(first, body)[2].rstrip(b"\0") == b"" else first, body)
            ],
        ),
    }
)
