"""Wrong doubles for subscriptions, for the ends of connections, for enhanced authentication and MQTT 3.1."""

from collections.abc import Callable

import wire
from doubles import DOUBLES, Double, Link, Sent
from wire import Kind, Packet, Property, replace, string

Up = list[tuple[int, bytes]]
Filters = list[tuple[bytes, int | None]]

METHOD, DATA = 0x15, 0x16
LONG = "a reason that nobody with a small Maximum Packet Size has room for, " * 3
RIGHT_FLAGS = {Kind.SUBSCRIBE: 2, Kind.UNSUBSCRIBE: 2, Kind.PUBREL: 2}
NOBODY = b"nobody/has/this"


def _down(kind: Kind, change: Callable[[Packet, Link], Sent]) -> Double:
    """Changes packets of one kind that the broker sends."""
    return Double(lambda packet, link: change(packet, link) if packet.kind == kind else [packet])


def _up(kind: Kind, change: Callable[[bytes, Link], bytes]) -> Double:
    """Changes the bodies of packets of one kind that clients send."""
    return Double(
        up=lambda first, body, link: [(first, change(body, link) if first >> 4 == kind else body)]
    )


def _with(kind: Kind, *pairs) -> Double:
    """These properties more."""
    return _down(kind, lambda packet, link: [replace(packet, pairs=packet.pairs + pairs)])


def _set(kind: Kind, **values) -> Double:
    return _down(kind, lambda packet, link: [replace(packet, **values)])


# Requests: their filters, one by one.


def _filters(kind: Kind, change: Callable[[Filters, Link], Filters]) -> Callable:
    """Changes the list of filters of SUBSCRIBE or UNSUBSCRIBE; ill-formed packets pass as they are."""

    def up(first: int, body: bytes, link: Link) -> Up:
        if first >> 4 != kind:
            return [(first, body)]
        fields, filters = wire._Fields(body), []
        try:
            head = fields.take(2)
            head += fields.take(1 + body[2]) if link.level == 5 else b""
            while fields.left():
                name = fields.binary()
                filters.append((name, fields.number(1) if kind == Kind.SUBSCRIBE else None))
        except ValueError:
            return [(first, body)]
        for name, options in change(filters, link):
            head += string(name) + (b"" if options is None else bytes([options]))
        return [(first, head)]

    return up


def _subscribe(change: Callable[[Filters, Link], Filters]) -> Double:
    return Double(up=_filters(Kind.SUBSCRIBE, change))


def _unsubscribe(change: Callable[[Filters, Link], Filters]) -> Double:
    return Double(up=_filters(Kind.UNSUBSCRIBE, change))


def _both(change: Callable[[Filters, Link], Filters]) -> Double:
    """The same change to SUBSCRIBE and UNSUBSCRIBE."""
    several = [_filters(kind, change) for kind in (Kind.SUBSCRIBE, Kind.UNSUBSCRIBE)]
    return Double(
        up=lambda first, body, link: several[first >> 4 == Kind.UNSUBSCRIBE](first, body, link)
    )


def _named(change: Callable[[bytes], bytes]) -> Callable[[Filters, Link], Filters]:
    return lambda filters, link: [(change(name), options) for name, options in filters]


def _optioned(change: Callable[[int], int]) -> Double:
    return _subscribe(lambda filters, link: [(name, change(options)) for name, options in filters])


def _filled(filters: Filters, link: Link) -> Filters:
    return filters or [(NOBODY, 0)]


def _filled_leaving(filters: Filters, link: Link) -> Filters:
    return filters or [(NOBODY, None)]


def _first_only(filters: Filters, link: Link) -> Filters:
    """All but the first filter have no effect."""
    return filters[:1] + [(NOBODY, options) for _, options in filters[1:]]


def _first_options_stay(filters: Filters, link: Link) -> Filters:
    """Subscribing again with the same filter leaves the options as they were."""
    known = link.memory.setdefault("options", {})
    return [(name, known.setdefault(name, options)) for name, options in filters]


def _well_formed(name: bytes) -> bytes:
    return name.decode(errors="replace").replace("\0", "?").encode()


def _normal(name: bytes) -> bytes:
    """Takes filters for the same that differ in case or in a slash at the end."""
    return name.lower().rstrip(b"/")


def _plus_means_all(filters: Filters, link: Link) -> Filters:
    """Leaving by a filter with wildcards leaves what the filter matches."""
    known = link.memory.get("known", [])
    found: Filters = []
    for name, options in filters:
        stem = name.rstrip(b"+#")
        matches = [(one, options) for one in known if stem != name and one.startswith(stem)]
        found += matches or [(name, options)]
    return found


def _notes_filters(filters: Filters, link: Link) -> Filters:
    link.memory.setdefault("known", []).extend(name for name, _ in filters)
    return filters


def _wildcard_leaves_more(first: int, body: bytes, link: Link) -> Up:
    change = _notes_filters if first >> 4 == Kind.SUBSCRIBE else _plus_means_all
    return _filters(Kind(first >> 4), change)(first, body, link) if first >> 4 in (8, 10) else [(first, body)]


def _plain(name: bytes) -> bytes:
    return name.split(b"/", 2)[2] if name.startswith(b"$share/") else name


def _cut_at_the_end(first: int, body: bytes, link: Link) -> Up:
    """Repairs what lacks its last byte, the options of a SUBSCRIBE."""
    if first >> 4 != Kind.SUBSCRIBE:
        return [(first, body)]
    return [(first, body + b"\0")]


def _right_flags(first: int, body: bytes, link: Link) -> Up:
    kind = first >> 4
    return [(kind << 4 | RIGHT_FLAGS.get(kind, 0), body) if kind != Kind.PUBLISH else (first, body)]


# Answers to requests.


def _codes(kind: Kind, change: Callable[[tuple], tuple]) -> Double:
    return _down(kind, lambda packet, link: [replace(packet, codes=change(packet.codes))])


def _unlisted(packet: Packet, link: Link) -> Sent:
    """Codes of another packet where a subscription failed."""
    wrong = 0x87 if link.level < 5 else 0x81
    return [replace(packet, codes=tuple(wrong if code >= 0x80 else code for code in packet.codes))]


def _one_each(packet: Packet, link: Link) -> Sent:
    """An answer for each filter."""
    return [replace(packet, codes=(code,)) for code in packet.codes]


def _close_after_failure(packet: Packet, link: Link) -> Sent:
    if packet.kind in (Kind.SUBACK, Kind.UNSUBACK) and any(code >= 0x10 for code in packet.codes):
        link.ended = True
    return [packet]


def _unsuback_with_codes(packet: Packet, link: Link) -> Sent:
    return [packet] if link.level == 5 else [replace(packet, codes=(0,))]


def _silent_about_nothing(packet: Packet, link: Link) -> Sent:
    """No UNSUBACK where nothing was deleted."""
    return [] if packet.codes and set(packet.codes) == {0x11} else [packet]


# Messages of subscriptions.


def _retained_once(packet: Packet, link: Link) -> Sent:
    """A retained message is sent for the first subscription only."""
    if not packet.retain:
        return [packet]
    seen = link.memory.setdefault("seen", set())
    if packet.topic in seen:
        return []
    seen.add(packet.topic)
    return [packet]


def _gap_at_resubscribing(packet: Packet, link: Link) -> Sent:
    """Loses the message behind a SUBACK, but for the first one."""
    if packet.kind == Kind.SUBACK:
        link.memory["subacks"] = link.memory.get("subacks", 0) + 1
        link.memory["gap"] = link.memory["subacks"] > 1
    if packet.kind == Kind.PUBLISH and not packet.retain and link.memory.pop("gap", False):
        return []
    return [packet]


def _qos_raised(packet: Packet, link: Link) -> Sent:
    if packet.qos == 2:
        return [packet]
    return [replace(packet, flags=packet.flags + 2, packet_id=packet.packet_id or 9)]


# The end of a connection.


def _followed(packet: Packet, link: Link) -> Sent:
    return [packet, Packet(Kind.PINGRESP, 0)]


def _overtaken(first: int, body: bytes, link: Link) -> Up:
    """Hears DISCONNECT only after the packet behind it."""
    if first >> 4 == Kind.DISCONNECT:
        link.memory["end"] = (first, body)
        return []
    end = link.memory.pop("end", None)
    return [(first, body), *([end] if end else [])]


def _connect_refused_by_disconnect(code: int) -> Double:
    """Refuses CONNECT with DISCONNECT: lets a right CONNECT pass instead, and changes the answer."""

    def up(first: int, body: bytes, link: Link) -> Up:
        if first >> 4 != Kind.CONNECT:
            return [(first, body)]
        good = wire.connect("", 5)
        return [(good[0], good[2:])]

    def down(packet: Packet, link: Link) -> Sent:
        if packet.kind != Kind.CONNACK:
            return [packet]
        link.ended = True
        return [Packet(Kind.DISCONNECT, 0, code=code)]

    return Double(down, up)


def _disconnect_coded(code: int) -> Double:
    """Takes each DISCONNECT for one with this reason, without properties."""

    def change(body: bytes, link: Link) -> bytes:
        return bytes([code]) if link.level == 5 else body

    return _up(Kind.DISCONNECT, change)


def _disconnect_stripped(body: bytes, link: Link) -> bytes:
    return body[:1]


def _disconnect_shortened(first: int, body: bytes, link: Link) -> Up:
    """Does not mind surplus bytes in DISCONNECT and PINGREQ."""
    if first >> 4 in (Kind.DISCONNECT, Kind.PINGREQ):
        return [(first, b"")]
    return [(first, body)]


# Enhanced authentication.


def _auth_fields(body: bytes) -> tuple[int, list]:
    fields = wire._Fields(body)
    code = fields.number(1) if fields.left() else 0
    return code, list(fields.properties()) if fields.left() else []


def _client_auth(change: Callable[[int, list, Link], tuple[int, list]]) -> Double:
    """Changes code and properties of each AUTH of the client."""

    def up(body: bytes, link: Link) -> bytes:
        code, pairs = change(*_auth_fields(body), link)
        return bytes([code]) + wire.properties(pairs)

    return _up(Kind.AUTH, up)


def _right_method(code: int, pairs: list, link: Link) -> tuple[int, list]:
    """Does not mind which method AUTH names, if any."""
    kept = [pair for pair in pairs if pair[0] != METHOD]
    return code, [(METHOD, "BELLBIRD-TEST"), *kept]


def _method_changed(packet: Packet) -> tuple:
    return tuple((name, value + "-2" if name == METHOD else value) for name, value in packet.pairs)


def _without_method(packet: Packet) -> tuple:
    return tuple(pair for pair in packet.pairs if pair[0] != METHOD)


def _auths_and_connack(change: Callable[[Packet], tuple], *kinds: Kind) -> Double:
    def down(packet: Packet, link: Link) -> Sent:
        return [replace(packet, pairs=change(packet)) if packet.kind in kinds else packet]

    return Double(down)


def _auth_before_connack(packet: Packet, link: Link) -> Sent:
    if packet.code or packet.ack_flags:
        return [packet]
    return [Packet(Kind.AUTH, 0, code=0), packet]


def _auth_as_connack(packet: Packet, link: Link) -> Sent:
    """Ends the authentication of CONNECT as if it were one of later."""
    return [packet] if packet.code else [Packet(Kind.AUTH, 0, code=0, pairs=packet.pairs)]


def _connack_as_auth(packet: Packet, link: Link) -> Sent:
    """Ends a later authentication as if it were that of CONNECT."""
    return [packet] if packet.code else [Packet(Kind.CONNACK, 0, pairs=packet.pairs)]


def _answered_right(packet: Packet, link: Link) -> Sent:
    link.memory["challenge"] = (packet.values(DATA) or [b""])[0]
    return [packet]


def _right_answer(code: int, pairs: list, link: Link) -> tuple[int, list]:
    """Answers the challenge in the client's place."""
    if "challenge" not in link.memory or code == 0x19:
        return code, pairs
    kept = [pair for pair in pairs if pair[0] != DATA]
    return code, [*kept, (DATA, link.memory["challenge"][::-1])]


ANSWERING = _down(Kind.AUTH, _answered_right).down, _client_auth(_right_answer).up


def _challenge_constant(packet: Packet, link: Link) -> Sent:
    pairs = tuple((name, b"12345678" if name == DATA else value) for name, value in packet.pairs)
    return [replace(packet, pairs=pairs)]


def _method_ignored(body: bytes, link: Link) -> bytes:
    """CONNECT without its properties."""
    at = 6 + int.from_bytes(body[:2], "big")
    return body[:at] + b"\0" + body[at + 1 + body[at] :] if body[at - 4] == 5 else body


# MQTT 3.1.


def _connect_level(change: Callable[[int], int]) -> Double:
    def up(body: bytes, link: Link) -> bytes:
        at = 2 + int.from_bytes(body[:2], "big")
        return body[:at] + bytes([change(body[at])]) + body[at + 1 :]

    return _up(Kind.CONNECT, up)


def _dup_refused(first: int, body: bytes, link: Link) -> Up:
    """A packet with DUP gets flags that no version knows."""
    kinds = (Kind.SUBSCRIBE, Kind.UNSUBSCRIBE, Kind.PUBREL)
    return [(first | 0x0F, body) if first >> 4 in kinds and first & 8 else (first, body)]


def _id_accepted(packet: Packet, link: Link) -> Sent:
    return [replace(packet, code=0) if packet.code == 2 else packet]


def _connack_code(packet: Packet, link: Link) -> Sent:
    return [replace(packet, code=5) if packet.code else packet]


def _properties_out_of_place(packet: Packet, link: Link) -> Sent:
    """Messages in the form of 5.0 for earlier versions, and for 5.0 with a property that nobody gave."""
    if packet.kind != Kind.PUBLISH:
        return [packet]
    if link.level == 5:
        return [replace(packet, pairs=(*packet.pairs, (0x03, "text")))]
    return [wire.encode(packet, 5)]


NEW = {
    # requests
    "request-flags-corrected": Double(up=_right_flags),
    "request-text-corrected": _both(_named(_well_formed)),
    "subscribe-empty-filled": _subscribe(_filled),
    "subscribe-options-completed": Double(up=_cut_at_the_end),
    "unsubscribe-empty-filled": _unsubscribe(_filled_leaving),
    "subscribe-no-local-cleared": _optioned(lambda options: options & ~4),
    "subscribe-reserved-cleared": _optioned(lambda options: options & 0x3F),
    "subscribe-reserved-cleared-311": _optioned(lambda options: 1 if options == 3 else options & 3),
    "subscribe-value-3-lowered": _optioned(
        lambda options: options & ~0x20 if options & 0x30 == 0x30 else options & ~2
    ),
    "subscribe-first-only": _subscribe(_first_only),
    "subscribe-first-options-stay": _subscribe(_first_options_stay),
    "subscribe-share-plain": _subscribe(_named(_plain)),
    "subscribe-filter-lost": _subscribe(_named(lambda name: NOBODY)),
    "unsubscribe-first-only": _unsubscribe(_first_only),
    "unsubscribe-lost": _unsubscribe(_named(lambda name: NOBODY)),
    "unsubscribe-share-plain": _unsubscribe(_named(_plain)),
    "filters-normalised": _both(_named(_normal)),
    "unsubscribe-by-matching": Double(up=_wildcard_leaves_more),
    # answers
    "suback-split": _down(Kind.SUBACK, _one_each),
    "suback-raised": _codes(Kind.SUBACK, lambda codes: tuple(min(code + 1, 2) for code in codes)),
    "suback-unlisted": _down(Kind.SUBACK, _unlisted),
    "suback-reason-long": _with(Kind.SUBACK, (0x1F, LONG)),
    "suback-user-property-long": _with(Kind.SUBACK, (Property.USER_PROPERTY, ("why", LONG))),
    "unsuback-split": _down(Kind.UNSUBACK, _one_each),
    "unsuback-doubled": _down(Kind.UNSUBACK, lambda packet, link: [packet, packet]),
    "unsuback-unlisted": _codes(Kind.UNSUBACK, lambda codes: tuple(code + 1 for code in codes)),
    "unsuback-zeroed": _codes(Kind.UNSUBACK, lambda codes: (0,) * len(codes)),
    "unsuback-reversed": _codes(Kind.UNSUBACK, lambda codes: codes[::-1]),
    "unsuback-count-off": _codes(Kind.UNSUBACK, lambda codes: (*codes, 0)),
    "unsuback-with-codes": _down(Kind.UNSUBACK, _unsuback_with_codes),
    "unsuback-about-nothing-dropped": _down(Kind.UNSUBACK, _silent_about_nothing),
    "unsuback-reason-long": _with(Kind.UNSUBACK, (0x1F, LONG)),
    "unsuback-user-property-long": _with(Kind.UNSUBACK, (Property.USER_PROPERTY, ("why", LONG))),
    "close-after-failure": Double(_close_after_failure),
    # messages
    "retained-once": _down(Kind.PUBLISH, _retained_once),
    "resubscribe-gap": Double(_gap_at_resubscribing),
    "message-qos-raised": _down(Kind.PUBLISH, _qos_raised),
    "message-repeat-dropped": _down(
        Kind.PUBLISH, lambda packet, link: [] if packet.dup else [packet]
    ),
    "message-subscription-id-first": _down(
        Kind.PUBLISH,
        lambda packet, link: [replace(packet, pairs=tuple((n, 1 if n == 0x0B else v) for n, v in packet.pairs))],
    ),
    "retained-without-subscription-id": _down(
        Kind.PUBLISH, lambda packet, link: [replace(packet, pairs=()) if packet.retain else packet]
    ),
    # the end
    "close-withheld": Double(hides_close=True),
    "pong-doubled": _down(Kind.PINGRESP, lambda packet, link: [packet, packet]),
    "surplus-ignored": Double(up=_disconnect_shortened),
    "disconnect-in-place-of-connack": _connect_refused_by_disconnect(0x81),
    "disconnect-unlisted": _set(Kind.DISCONNECT, code=0x84),
    "disconnect-of-a-client": _set(Kind.DISCONNECT, code=0x04),
    "disconnect-with-session-expiry": _with(Kind.DISCONNECT, (Property.SESSION_EXPIRY, 5)),
    "disconnect-reason-long": _with(Kind.DISCONNECT, (0x1F, LONG)),
    "disconnect-user-property-long": _with(Kind.DISCONNECT, (Property.USER_PROPERTY, ("why", LONG))),
    "disconnect-followed": _down(Kind.DISCONNECT, _followed),
    "client-disconnect-overtaken": Double(up=_overtaken),
    "client-disconnect-taken-for-0": _disconnect_coded(0),
    "client-disconnect-taken-for-4": _disconnect_coded(4),
    "client-disconnect-stripped": _up(Kind.DISCONNECT, _disconnect_stripped),
    # authentication
    "auth-dropped": _down(Kind.AUTH, lambda packet, link: []),
    "auth-code-zeroed": _set(Kind.AUTH, code=0),
    "auth-code-unlisted": _set(Kind.AUTH, code=0x1A),
    "auth-challenge-constant": _down(Kind.AUTH, _challenge_constant),
    "auth-method-dropped": _auths_and_connack(_without_method, Kind.AUTH),
    "auth-method-changed": _auths_and_connack(_method_changed, Kind.AUTH),
    "connack-method-dropped": _auths_and_connack(_without_method, Kind.CONNACK),
    "connack-method-changed": _auths_and_connack(_method_changed, Kind.CONNACK),
    "connack-method-added": _with(Kind.CONNACK, (METHOD, "BELLBIRD-TEST")),
    "auth-unasked": _down(Kind.CONNACK, _auth_before_connack),
    "auth-in-place-of-connack": _down(Kind.CONNACK, _auth_as_connack),
    "connack-in-place-of-auth": _down(Kind.AUTH, _connack_as_auth),
    "auth-reason-long": _with(Kind.AUTH, (0x1F, LONG)),
    "auth-user-property-long": _with(Kind.AUTH, (Property.USER_PROPERTY, ("why", LONG))),
    "client-auth-dropped": Double(
        up=lambda first, body, link: [] if first >> 4 == Kind.AUTH else [(first, body)]
    ),
    "client-auth-continues": _client_auth(lambda code, pairs, link: (0x18, pairs)),
    "client-auth-begins-again": _client_auth(lambda code, pairs, link: (0x19, pairs)),
    "client-auth-method-corrected": _client_auth(_right_method),
    "client-auth-answered-right": Double(*ANSWERING),
    "connect-method-ignored": _up(Kind.CONNECT, _method_ignored),
    # MQTT 3.1
    "bridge-bit-ignored": _connect_level(lambda level: level & 0x7F),
    "level-3-unknown": _connect_level(lambda level: 7 if level & 0x7F == 3 else level),
    "dup-refused": Double(up=_dup_refused),
    "connack-code-2-zeroed": _down(Kind.CONNACK, _id_accepted),
    "connack-code-5": _down(Kind.CONNACK, _connack_code),
    "message-with-properties": Double(_properties_out_of_place),
}
assert not NEW.keys() & DOUBLES.keys(), f"named twice: {NEW.keys() & DOUBLES.keys()}"


def _level_noted(up: Callable[[int, bytes, Link], Up]) -> Callable[[int, bytes, Link], Up]:
    """Reads the level off CONNECT before `up` needs it."""

    def noting(first: int, body: bytes, link: Link) -> Up:
        at = 2 + int.from_bytes(body[:2], "big")
        if first >> 4 == Kind.CONNECT and at < len(body):
            link.level = 5 if body[at] == 5 else 4
        return up(first, body, link)

    return noting


DOUBLES.update(
    {name: replace(double, up=_level_noted(double.up)) if double.up else double for name, double in NEW.items()}
)
