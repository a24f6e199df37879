"""Wrong doubles for PUBLISH and its acknowledgements, for topic aliases, and for what CONNACK offers."""

from collections.abc import Callable

import wire
from doubles import DOUBLES, Double, Link, Sent
from doubles_operation import Up, _down, _parts, _subscription, _up
from wire import Kind, Packet, Property, replace, string

LONG = "a reason that nobody with a small Maximum Packet Size has room for"
ACKS = (Kind.PUBACK, Kind.PUBREC, Kind.PUBREL, Kind.PUBCOMP)


def _with(kinds, *pairs) -> Double:
    """These properties more, in packets of these kinds."""
    return Double(
        lambda packet, link: [replace(packet, pairs=packet.pairs + pairs) if packet.kind in kinds else packet]
    )


def _coded(codes: dict[Kind, int]) -> Double:
    """These reason codes, whatever they were."""

    def down(packet: Packet, link: Link) -> Sent:
        fits = packet.kind in codes and link.level == 5
        return [replace(packet, code=codes[packet.kind]) if fits else packet]

    return Double(down)


# Messages.


def _dup_noted(first: int, body: bytes, link: Link) -> Up:
    if first >> 4 == Kind.PUBLISH and first & 8:
        link.memory["dup"] = 8
    return [(first, body)]


def _dup_passed_on(packet: Packet, link: Link) -> Sent:
    return [replace(packet, flags=packet.flags | link.memory.get("dup", 0))]


def _latin_1(packet: Packet, link: Link) -> Sent:
    """The topic in another encoding."""
    data = wire.encode(replace(packet, topic=""), link.level)
    topic = packet.topic.encode("latin-1", "replace")
    return [wire.frame(packet.kind, packet.flags, string(topic) + data[4:])]


def _topic_behind(packet: Packet, link: Link) -> Sent:
    """The topic behind everything else, of a message at QoS 0."""
    section = wire.properties(packet.pairs) if link.level == 5 else b""
    return [wire.frame(packet.kind, packet.flags, section + packet.payload + string(packet.topic))]


def _changed(name: int, value):
    if name == Property.USER_PROPERTY:
        return value[0], value[1] + "x"
    if isinstance(value, int):
        return value ^ 1
    return value + ("x" if isinstance(value, str) else b"x")


def _values_changed(packet: Packet, link: Link) -> Sent:
    return [replace(packet, pairs=tuple((name, _changed(name, value)) for name, value in packet.pairs))]


def _once_each(packet: Packet, link: Link) -> Sent:
    """Of user properties with the same name only the last."""
    last = {value[0]: (name, value) for name, value in packet.pairs if name == Property.USER_PROPERTY}
    others = tuple(pair for pair in packet.pairs if pair[0] != Property.USER_PROPERTY)
    return [replace(packet, pairs=(*others, *last.values()))]


def _rounded_up(packet: Packet, link: Link) -> Sent:
    """A Message Expiry Interval from which nothing was taken, for those who publish with hundreds."""
    pairs = ((name, -(-value // 100) * 100 if name == 2 else value) for name, value in packet.pairs)
    return [replace(packet, pairs=tuple(pairs))]


def _one_id(packet: Packet, link: Link) -> Sent:
    """Not more than one subscription identifier."""
    ids = [pair for pair in packet.pairs if pair[0] == Property.SUBSCRIPTION_ID]
    return [replace(packet, pairs=tuple(pair for pair in packet.pairs if pair not in ids[1:]))]


# Answers.


def _qos_0_noted(first: int, body: bytes, link: Link) -> Up:
    if first >> 4 == Kind.PUBLISH and not first & 6:
        link.memory["unanswered"] = True
    return [(first, body)]


def _qos_0_answered(packet: Packet, link: Link) -> Sent:
    return [*([Packet(Kind.PUBACK, 0, packet_id=1)] if link.memory.pop("unanswered", False) else []), packet]


def _window_noted(first: int, body: bytes, link: Link) -> Up:
    if first >> 4 in (Kind.PUBACK, Kind.PUBCOMP):
        link.memory["open"] -= 1
    return [(first, body)]


def _silent_while_open(packet: Packet, link: Link) -> Sent:
    """Says nothing but messages while one of them waits for its acknowledgement."""
    if packet.kind == Kind.PUBLISH:
        link.memory["open"] = link.memory.get("open", 0) + (packet.qos > 0)
        return [packet]
    return [] if link.memory.get("open") else [packet]


# Retained messages.


def _first_stays(first: int, body: bytes, link: Link) -> Up:
    """A retained message is not replaced by the next one, but for an empty one."""
    topic, _, rest = _parts(first, body)
    known = link.memory.setdefault("retained", set())
    late = topic in known and rest.strip(b"\0")
    known |= {topic} if first & 1 else set()
    return [(first & 0xFE if late else first, body)]


def _filter_noted(first: int, body: bytes, link: Link) -> Up:
    if first >> 4 == Kind.SUBSCRIBE:
        at = 3 if link.level == 5 else 2
        link.memory[body[:2]] = wire._Fields(body[at:]).text()
    return [(first, body)]


def _empty_retained(packet: Packet, link: Link) -> Sent:
    """Behind each SUBACK an empty retained message."""
    if packet.kind != Kind.SUBACK:
        return [packet]
    return [packet, Packet(Kind.PUBLISH, 1, topic=link.memory[packet.body[:2]])]


def _retain_handling(handling: int) -> Double:
    return _subscription(lambda name, options: (name, options & 0xCF | handling << 4))


# Topic aliases of clients.

LAST_TOPICS: dict[int, bytes] = {}


def _alias(body: bytes, first: int) -> int | None:
    section = wire._Fields(_parts(first, body)[2]).properties()
    return dict(section).get(Property.TOPIC_ALIAS)


def _named(first: int, body: bytes, topic: bytes) -> Up:
    """The same message with a topic in words."""
    _, packet_id, rest = _parts(first, body)
    return [(first, string(topic) + packet_id + rest)]


def _alias_survives(first: int, body: bytes, link: Link) -> Up:
    """Knows the aliases of earlier connections."""
    topic, alias = _parts(first, body)[0], _alias(body, first)
    if topic:
        LAST_TOPICS[alias] = topic
    return [(first, body)] if topic else _named(first, body, LAST_TOPICS[alias])


def _alias_first_binding(first: int, body: bytes, link: Link) -> Up:
    """Takes an alias for the first topic it stood for."""
    topic, alias = _parts(first, body)[0], _alias(body, first)
    known = link.memory.setdefault(alias, topic)
    return [(first, body)] if topic else _named(first, body, known)


def _aliases_merged(first: int, body: bytes, link: Link) -> Up:
    """Takes each alias for the one last given."""
    topic = _parts(first, body)[0]
    link.memory["topic"] = topic or link.memory["topic"]
    return [(first, body)] if topic else _named(first, body, link.memory["topic"])


def _rejected_and_open(packet: Packet, link: Link) -> Sent:
    return [replace(packet, code=0x85 if link.level == 5 else 2, ack_flags=0)]


def _short_of(kinds, length: int) -> Callable[[int, bytes, Link], Up]:
    return lambda first, body, link: [] if first >> 4 in kinds and len(body) == length else [(first, body)]


UNLISTED = {Kind.PUBACK: 0x92, Kind.PUBREC: 0x92, Kind.PUBREL: 0x80, Kind.PUBCOMP: 0x80}

DOUBLES.update(
    {
        # messages
        "dup-passed-on": Double(
            lambda packet, link: _dup_passed_on(packet, link) if packet.kind == Kind.PUBLISH else [packet],
            _dup_noted,
        ),
        "topic-latin-1": _down(Kind.PUBLISH, _latin_1),
        "topic-behind": _down(Kind.PUBLISH, _topic_behind),
        "filter-widened": _subscription(lambda name, options: (b"#", options)),
        "publish-properties-changed": _down(Kind.PUBLISH, _values_changed),
        "user-properties-once": _down(Kind.PUBLISH, _once_each),
        "message-expiry-not-counted": _down(Kind.PUBLISH, _rounded_up),
        "subscription-id-one": _down(Kind.PUBLISH, _one_id),
        "alias-zero": _with([Kind.PUBLISH], (Property.TOPIC_ALIAS, 0)),
        "alias-too-high": _with([Kind.PUBLISH], (Property.TOPIC_ALIAS, 3)),
        # acknowledgements
        "qos-0-answered": Double(_qos_0_answered, _qos_0_noted),
        "silent-while-open": Double(_silent_while_open, _window_noted),
        "ack-reason-long": _with(ACKS, (0x1F, LONG)),
        "ack-user-property-long": _with(ACKS, (Property.USER_PROPERTY, ("why", LONG))),
        "ack-code-unlisted": _coded(UNLISTED),
        "ack-no-subscribers": _coded({Kind.PUBACK: 0x10, Kind.PUBREC: 0x10}),
        "client-ack-2-ignored": Double(up=_short_of(ACKS, 2)),
        "client-ack-3-ignored": Double(up=_short_of(ACKS, 3)),
        "client-ack-4-ignored": Double(up=_short_of(ACKS, 4)),
        # retained messages
        "retain-first-stays": _up(Kind.PUBLISH, _first_stays),
        "retain-empty-stored": Double(_empty_retained, _filter_noted),
        "retain-handling-0": _retain_handling(0),
        "retain-handling-1": _retain_handling(1),
        "retain-handling-2": _retain_handling(2),
        # aliases
        "alias-survives": _up(Kind.PUBLISH, _alias_survives),
        "alias-first-binding": _up(Kind.PUBLISH, _alias_first_binding),
        "aliases-merged": _up(Kind.PUBLISH, _aliases_merged),
        # CONNACK, SUBACK
        "connack-reason-long": _with([Kind.CONNACK], (0x1F, LONG)),
        "connack-user-property-long": _with([Kind.CONNACK], (Property.USER_PROPERTY, ("why", LONG))),
        "connack-maximum-qos-2": _with([Kind.CONNACK], (Property.MAXIMUM_QOS, 2)),
        "connack-server-keep-alive": _with([Kind.CONNACK], (0x13, 30)),
        "connack-id-rejected-and-open": _down(Kind.CONNACK, _rejected_and_open),
        "suback-refused": _down(
            Kind.SUBACK, lambda packet, link: [replace(packet, codes=(0x80,) * len(packet.codes))]
        ),
    }
)
