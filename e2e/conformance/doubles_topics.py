"""Wrong doubles for names, filters and shared subscriptions."""

import unicodedata
from collections.abc import Callable

import wire
from doubles import DOUBLES, Double, Link, Sent
from doubles_operation import Up, _down, _parts, _reading, _subscription, _up
from wire import Kind, Packet, replace, string


def _normalised(first: int, body: bytes, link: Link) -> Up:
    topic, packet_id, rest = _parts(first, body)
    return [(first, string(unicodedata.normalize("NFC", topic.decode())) + packet_id + rest)]


def _without_form(first: int, body: bytes, link: Link) -> Up:
    """Makes names that people may take for the same one the same."""
    if first >> 4 not in (Kind.PUBLISH, Kind.SUBSCRIBE):
        return [(first, body)]
    if first >> 4 == Kind.PUBLISH:
        topic, packet_id, rest = _parts(first, body)
        return [(first, string(_simple(topic)) + packet_id + rest)]
    return _subscription(lambda name, options: (_simple(name), options)).up(first, body, link)


def _simple(name: bytes) -> bytes:
    name = name.lower().replace(b"%20", b" ").replace(b"a/../", b"").replace(b"  ", b" ")
    return name.replace(b"//", b"/").rstrip(b"/")


def _dollar_up(first: int, body: bytes, link: Link) -> Up:
    """Takes topics with $ for topics like all others."""
    if first >> 4 in (Kind.PUBLISH, Kind.SUBSCRIBE):
        body = body.replace(b"$", b"S")
    return [(first, body)]


def _plain(name: bytes) -> bytes:
    return name.split(b"/", 2)[2] if name.startswith(b"$share/") else name


def _one_group(name: bytes) -> bytes:
    return b"$share/one/" + _plain(name) if name.startswith(b"$share/") else name


def _wildcards_swapped(name: bytes) -> bytes:
    return name[:-1].replace(b"+", b"-") + name[-1:].translate(bytes.maketrans(b"#+", b"+#"))


def _group_ignored_when_leaving(first: int, body: bytes, link: Link) -> Up:
    fields = wire._Fields(body)
    head = fields.take(3)
    return [(first, head + string(_plain(fields.binary())))]


def _never_refused(packet: Packet, link: Link) -> Sent:
    """Grants what is asked for, and keeps the connection whatever was asked for."""
    if packet.kind == Kind.DISCONNECT:
        return []
    if packet.kind == Kind.SUBACK:
        return [replace(packet, codes=(0,) * len(packet.codes))]
    return [packet]


def _other_subscription_id(packet: Packet, link: Link) -> Sent:
    return [replace(packet, pairs=(*packet.pairs, (0x0B, 77)))]


def _strip_id(packet: Packet, link: Link) -> Sent:
    return [replace(packet, pairs=tuple(pair for pair in packet.pairs if pair[0] != 0x0B))]


DOUBLES.update(
    {
        "dollar-ordinary": Double(
            lambda packet, link: [replace(packet, topic=packet.topic.replace("S", "$"))]
            if packet.kind == Kind.PUBLISH
            else [packet],
            _dollar_up,
        ),
        "topic-normalised": _up(Kind.PUBLISH, _normalised),
        "topic-without-form": _reading(_without_form),
        "publish-topic-cut": _down(
            Kind.PUBLISH, lambda packet, link: [replace(packet, topic=packet.topic[:-1])]
        ),
        "wildcards-swapped": _subscription(lambda name, options: (_wildcards_swapped(name), options)),
        "subscribe-options-ignored": _subscription(lambda name, options: (name, options & 3)),
        "subscribe-never-refused": Double(_never_refused, hides_close=True),
        "share-ignored": _subscription(lambda name, options: (_plain(name), options)),
        "share-groups-merged": _subscription(lambda name, options: (_one_group(name), options)),
        "unsubscribe-share-ignored": _up(Kind.UNSUBSCRIBE, _group_ignored_when_leaving),
        "unsuback-code-count-off": _down(
            Kind.UNSUBACK, lambda packet, link: [replace(packet, codes=(*packet.codes, 0))]
        ),
        "subscription-ids-dropped": _down(Kind.PUBLISH, _strip_id),
        "subscription-id-added": _down(Kind.PUBLISH, _other_subscription_id),
    }
)
