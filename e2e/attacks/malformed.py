"""The table of malformed packets: each one wrong by construction, with the rule that says so.

A case is a well-formed packet (`shapes.py`) with one thing wrong, or bytes that are no packet of a
client. What a server only may refuse, and the quirks of docs/profiles.md, are not in it; nor is what
MQTT 3.1 leaves open and its successors forbid. Rules are named by the statements of 5.0 and 3.1.1,
else by the section.
"""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from packets import Kind, string, varint

from attacks import shapes as s
from attacks.shapes import ALLOWED, Shape, packet, section, shapes

MALFORMED, PROTOCOL_ERROR, BAD_VERSION, BAD_CLIENT_ID = 0x81, 0x82, 0x84, 0x85
BAD_METHOD, BAD_TOPIC, BAD_ALIAS, TOO_LARGE = 0x8C, 0x90, 0x94, 0x95
IS_MALFORMED, IS_ERROR = frozenset({MALFORMED}), frozenset({PROTOCOL_ERROR})
EITHER = IS_MALFORMED | IS_ERROR
"""Where the standard leaves open which of the two it is."""
NEVER: frozenset[int] = frozenset()
LEVELS = (3, 4, 5)
VERSIONS = {3: "3.1", 4: "3.1.1", 5: "5.0"}


@dataclass(frozen=True)
class Case:
    """Bytes that must end the connection."""

    level: int
    group: str
    what: str
    rule: str
    data: bytes
    codes: frozenset[int]
    """The reasons that DISCONNECT or CONNACK may give; before 5.0 those of a CONNACK."""
    is_first: bool = False
    """Sent in place of CONNECT; else behind one that was accepted."""
    may_be_silent: bool = False
    """Whether the connection may end without a word also where 5.0 has one for it."""

    @property
    def name(self) -> str:
        """How a failure is told."""
        return f"{VERSIONS[self.level]} {self.group}: {self.what} [{self.rule}]"


def table() -> list[Case]:
    """All cases, in the same order each time; bytes that several families make are there once."""
    cases = (case for level in LEVELS for make in FAMILIES for case in make(level))
    found: dict[tuple, Case] = {}
    for case in cases:
        found.setdefault((case.level, case.is_first, case.data), case)
    return list(found.values())


def variation(shape: Shape, what: str, rule: str, data: bytes, codes: frozenset[int]) -> Case:
    """A case made of a shape; what is wrong with a CONNECT may be left unsaid [MQTT-3.1.4-1]."""
    is_first = shape.kind == Kind.CONNECT
    if is_first and shape.level < 5:
        codes = NEVER
    what = f"{shape.name}, {what}"
    return Case(shape.level, shape.kind.name, what, rule, data, codes, is_first, is_first)


# --- fixed headers --------------------------------------------------------------------------------


def fixed_flags(level: int) -> Iterator[Case]:
    """Reserved bits; MQTT 3.1 calls them unused rather than 0."""
    rule = "MQTT-2.1.3-1" if level == 5 else "MQTT311-2.2.2-2"
    for shape in shapes(level):
        wrong = [flags for flags in range(16) if flags != shape.flags] if level > 3 else []
        if shape.kind == Kind.PUBLISH:
            wrong = [flags for flags in wrong if flags & 6 == 0 and flags & 8] if shape.flags == 0 else []
        for flags in wrong:
            codes = EITHER if shape.kind in (Kind.PUBLISH, Kind.AUTH) else IS_MALFORMED
            yield variation(shape, f"flags {flags:04b}", rule, shape.encode(flags=flags), codes)
        if shape.kind == Kind.PUBLISH:
            for flags in (6, 7, 14, 15):
                rule_of_qos = "MQTT-3.3.1-4" if level == 5 else "MQTT311-3.3.1-4"
                data = shape.encode(flags=flags)
                yield variation(shape, f"QoS 3, flags {flags:04b}", rule_of_qos, data, IS_MALFORMED)


def types(level: int) -> Iterator[Case]:
    """Types that are reserved, and those of servers."""
    reserved = (0,) if level == 5 else (0, 15)
    for kind, flags, body in itertools.product(reserved, range(16), (b"", b"\0\1", bytes(40))):
        what = f"type {kind}, flags {flags:04b}, {len(body)} bytes"
        yield Case(level, "types", what, "2.1.2", packet(kind, flags, body), IS_MALFORMED)
    end = b"\0" if level == 5 else b""
    of_servers = {
        Kind.CONNACK: (b"\0\0" + end, b"\1\0" + end, b"\0\5" + end, b""),
        Kind.SUBACK: (b"\0\1" + end + b"\0", b"\0\1" + end + b"\x80", b""),
        Kind.UNSUBACK: (b"\0\1" + (end + b"\0" if level == 5 else b""), b""),
        Kind.PINGRESP: (b"", b"\0"),
    }
    for kind, bodies in of_servers.items():
        for body, flags in itertools.product(bodies, range(16)):
            what = f"{kind.name} of a client, flags {flags:04b}, {body.hex(' ') or 'empty'}"
            yield Case(level, "types", what, "2.1.2", packet(kind, flags, body), EITHER)


def lengths(level: int) -> Iterator[Case]:
    """Remaining lengths of five bytes, longer than needed, and larger than any packet may be."""
    seen = set()
    for shape in shapes(level):
        first, body = shape.kind << 4 | shape.flags, shape.body()
        if first not in seen:
            seen.add(first)
            for digits in (b"\x80\x80\x80\x80\x00", b"\x80\x80\x80\x80\x01", b"\xff\xff\xff\xff\x01", b"\xff" * 5):
                data, codes = bytes([first]) + digits, IS_MALFORMED | {TOO_LARGE}
                what = f"a remaining length of {digits.hex(' ')}"
                yield variation(shape, what, "MQTT311-2.2.3, U5-2", data, codes)
            # The default of packet_bytes_max, and of what may come before CONNECT: docs/memory.md.
            for size in (1_048_600, 16_777_216, 268_435_455):
                codes = frozenset({TOO_LARGE})
                if shape.kind not in (Kind.PUBLISH, Kind.SUBSCRIBE, Kind.UNSUBSCRIBE):
                    # Nor may a packet of this type be so long.
                    codes |= IS_MALFORMED
                data = bytes([first]) + varint(size)
                yield variation(shape, f"a remaining length of {size}", "3.2.2.3.6", data, codes)
        if level == 5:
            for digits in longer(len(body)):
                data = bytes([first]) + digits + body
                yield variation(shape, f"{len(digits)} bytes of length", "MQTT-1.5.5-1", data, IS_MALFORMED)


def longer(number: int) -> Iterator[bytes]:
    """A number as a variable byte integer of more bytes than it needs."""
    digits = varint(number)
    for size in range(len(digits) + 1, 5):
        padding = size - len(digits)
        yield digits[:-1] + bytes([digits[-1] | 0x80]) + b"\x80" * (padding - 1) + b"\0"


def truncations(level: int) -> Iterator[Case]:
    """Each packet cut at each byte that it needs, with the remaining length of what is left."""
    for shape in shapes(level):
        body = shape.body()
        for size, at_a_border in shape.cuts():
            codes = EITHER if at_a_border or shape.kind == Kind.AUTH else IS_MALFORMED
            data = packet(shape.kind, shape.flags, body[:size])
            yield variation(shape, f"cut to {size} bytes", "4.13.1, MQTT311-4.8.0-1", data, codes)


def surplus(level: int) -> Iterator[Case]:
    """Bytes behind the last field."""
    for shape in shapes(level):
        if shape.kind == Kind.PUBLISH or (shape.kind == Kind.CONNECT and level == 3):
            continue
        more = [b"\0", b"xxxxxxx", b"\xff" * 40]
        # Two bytes of zero would be an empty filter, which is another mistake.
        more += [b"\0\0"] if shape.kind != Kind.UNSUBSCRIBE else []
        if shape.title == "short" and level == 5:
            # A byte behind the packet id is a reason: see reasons().
            more = []
        codes = EITHER if shape.kind == Kind.AUTH else IS_MALFORMED
        for data in more:
            what = f"with {len(data)} bytes more"
            cut = packet(shape.kind, shape.flags, shape.body() + data)
            yield variation(shape, what, "4.13.1, MQTT311-4.8.0-1", cut, codes)
        if not shape.fields:
            for size in range(3, 30):
                cut = packet(shape.kind, shape.flags, bytes(size))
                yield variation(shape, f"with {size} bytes of zero", "4.13.1, MQTT311-4.8.0-1", cut, codes)


# --- strings --------------------------------------------------------------------------------------

ILL_FORMED = [
    bytes.fromhex(digits)
    for digits in (
        "80", "bf", "80 bf", "80 80 80",
        "c2", "c2 41", "df ff", "e2", "e2 82", "e2 41 80", "e2 82 41", "ef bf c0",
        "f0", "f0 9f", "f0 9f 98", "f0 41 98 80", "f0 9f 41 80", "f0 9f 98 41",
        "c0 af", "c1 bf", "e0 80 af", "e0 9f bf", "f0 80 80 af", "f0 8f bf bf",
        "f4 90 80 80", "f5 80 80 80", "f7 bf bf bf", "f8 88 80 80 80", "fc 84 80 80 80 80",
        "fe", "ff", "fe ff", "ff fe",
    )
]  # fmt: skip
"""No UTF-8 in any version: cut, overlong, beyond U+10FFFF, bytes that it does not have."""

FORBIDDEN = [
    bytes.fromhex(digits)
    for digits in (
        "00", "c0 80", "e0 80 80", "f0 80 80 80",
        "ed a0 80", "ed af bf", "ed b0 80", "ed bf bf", "ed a0 bd ed b8 80",
    )
]  # fmt: skip
"""U+0000, also overlong, and surrogates. MQTT 3.1 does not say it of its strings, which it compares with
those of Java, where both are to be found."""


def bad_texts(level: int) -> Iterator[tuple[str, bytes, str]]:
    """What no string holds: alone, between letters, and at the end."""
    rule = {3: "2.5 of 3.1", 4: "MQTT311-1.5.3-1", 5: "MQTT-1.5.4-1"}[level]
    nul = {3: "", 4: "MQTT311-1.5.3-2", 5: "MQTT-1.5.4-2"}[level]
    for data in ILL_FORMED + (FORBIDDEN if level > 3 else []):
        for where, whole in (("alone", data), ("between", b"a" + data + b"z"), ("last", b"abc" + data)):
            yield f"{data.hex(' ')} {where}", whole, nul if data == b"\0" else rule


def strings(level: int) -> Iterator[Case]:
    """Each string that is a part of its packet, ill formed, or longer than what follows."""
    done = set()
    for shape in shapes(level):
        for field in shape.fields:
            key = (shape.kind, field.name)
            if not field.is_text or field.name == "protocol name" or key in done:
                continue
            done.add(key)
            for what, data, rule in bad_texts(level):
                whole = shape.encode({field.name: string(data)})
                yield variation(shape, f"{field.name} {what}", rule, whole, IS_MALFORMED)
    for shape in shapes(level):
        for field in shape.fields:
            if field.is_text or field.name in ("password", "will payload"):
                yield from _longer_strings(shape, field)


def _longer_strings(shape: Shape, field: s.Field) -> Iterator[Case]:
    """The length of a string points past the end of its packet."""
    at = sum(len(one.data) for one in itertools.takewhile(lambda one: one is not field, shape.fields))
    left = len(shape.body()) - at - 2
    for length in (left + 1, left + 2, left + 255, 0x7FFF, 0xFFFF):
        data = shape.encode({field.name: length.to_bytes(2, "big") + field.data[2:]})
        what = f"{field.name} of {length} bytes where {left} follow"
        yield variation(shape, what, "4.13.1, MQTT311-4.8.0-1", data, IS_MALFORMED)


# --- properties -----------------------------------------------------------------------------------


@functools.cache
def hosts() -> dict[str, tuple[Shape, str]]:
    """For each place of properties a shape that has it, and what the part is called there."""
    found: dict[str, tuple[Shape, str]] = {}
    for shape in shapes(5):
        for field in shape.sections():
            found.setdefault(field.place, (shape, field.name))
    return found


def with_section(place: str, data: bytes) -> tuple[Shape, bytes]:
    """A shape, and its bytes with these in place of the properties and their length."""
    shape, name = hosts()[place]
    return shape, shape.encode({name: data})


def at(place: str, data: bytes, what: str, rule: str, codes: frozenset[int]) -> Case:
    """A case whose properties are these bytes, length and all."""
    shape, whole = with_section(place, data)
    what = f"properties of {place}: {what}"
    return variation(shape, what, rule, whole, EITHER if place == "AUTH" else codes)


def foreign_properties(level: int) -> Iterator[Case]:
    """Properties that are unknown, and those of other packets."""
    if level < 5:
        return
    for place, allowed in ALLOWED.items():
        for name, value in s.VALUES.items():
            if name in allowed or (place == "DISCONNECT" and name == 0x1C):
                continue
            # A subscription identifier in a client's PUBLISH has a statement of its own.
            codes = EITHER if (place, name) == ("PUBLISH", s.SUBSCRIPTION_ID) else IS_MALFORMED
            data = section(((name, value),))
            yield at(place, data, f"0x{name:02x}, which is not for it", "U5-4, 2.2.2.2", codes)
        for name in range(0x80):
            if name not in s.VALUES:
                data = section(((name, b"\0\0\0\0"),))
                yield at(place, data, f"0x{name:02x}, which is unknown", "U5-4, 2.2.2.2", IS_MALFORMED)
        for name in (0x80, 0x81, 0xFF, 0x3FFF, 0x4000, 0x1FFFFF, 0xFFFFFFF):
            data = varint(name) + bytes(4)
            data = varint(len(data)) + data
            yield at(place, data, f"0x{name:x}, which is unknown", "U5-4, 2.2.2.2", IS_MALFORMED)
        for name, value in s.VALUES.items():
            data = bytes([name | 0x80, 0]) + value
            data = varint(len(data)) + data
            what = f"0x{name:02x} in two bytes"
            yield at(place, data, what, "MQTT-1.5.5-1, 2.2.2.2", IS_MALFORMED)


def repeated_properties(level: int) -> Iterator[Case]:
    """Each property twice that may be given once: side by side, and with another between."""
    if level < 5:
        return
    between = (s.USER_PROPERTY, s.VALUES[s.USER_PROPERTY])
    for place, allowed in ALLOWED.items():
        for name in allowed:
            if name == s.USER_PROPERTY:
                continue
            one, codes = (name, s.VALUES[name]), IS_ERROR
            if (place, name) == ("CONNECT", s.METHOD):
                codes |= {BAD_METHOD}
            for what, some in (("side by side", (one, one)), ("apart", (one, between, one))):
                data = section(some)
                yield at(place, data, f"0x{name:02x} twice, {what}", "U5-5, 2.2.2.2", codes)


def cut_properties(level: int) -> Iterator[Case]:
    """Sections that end within a property, begin with a wrong length, or point past the end."""
    if level < 5:
        return
    for place, allowed in ALLOWED.items():
        for name in allowed:
            whole = bytes([name]) + s.VALUES[name]
            for size in range(1, len(whole)):
                data, what = whole[:size], f"0x{name:02x} cut to {size} bytes"
                yield at(place, varint(size) + data, what, "4.13.1", IS_MALFORMED)
                # The section ends too early, and the bytes of the property go on behind it.
                data, what = varint(size) + whole, f"0x{name:02x} behind an end after {size} bytes"
                yield at(place, data, what, "4.13.1", IS_MALFORMED)
        shape, name = hosts()[place]
        yield from _section_lengths(place, shape, name)


def _section_lengths(place: str, shape: Shape, name: str) -> Iterator[Case]:
    one = bytes([s.USER_PROPERTY]) + s.VALUES[s.USER_PROPERTY]
    for number in (0, 1, 3):
        data = one * number
        for digits in longer(len(data)):
            what = f"{number} of them, and {len(digits)} bytes of length"
            yield at(place, digits + data, what, "MQTT-1.5.5-1", IS_MALFORMED)
        for digits in (b"\x80\x80\x80\x80\x00", b"\x80\x80\x80\x80\x01", b"\xff\xff\xff\xff\x7f"):
            what = f"{number} of them, and a length of {digits.hex(' ')}"
            yield at(place, digits + data, what, "U5-2", IS_MALFORMED)
        # So long that the packet ends before it does.
        fields = itertools.dropwhile(lambda field: field.name != name, shape.fields)
        behind = len(data) + sum(len(field.data) for field in itertools.islice(fields, 1, None))
        for length in (behind + 1, 16_383, 2_097_151, 268_435_455):
            what = f"{number} of them, and a length of {length}"
            yield at(place, varint(length) + data, what, "4.13.1", IS_MALFORMED)


def property_values(level: int) -> Iterator[Case]:
    """Values out of their range."""
    if level < 5:
        return
    for place, name, rule in (
        ("CONNECT", s.PROBLEM_INFORMATION, "U5-11"),
        ("CONNECT", s.RESPONSE_INFORMATION, "U5-10"),
        ("PUBLISH", s.PAYLOAD_FORMAT, "3.3.2.3.2"),
        ("will", s.PAYLOAD_FORMAT, "3.1.3.2.3"),
    ):
        for value in range(2, 256):
            data, what = section(((name, bytes([value])),)), f"0x{name:02x} with the value {value}"
            yield at(place, data, what, rule, EITHER if name == s.PAYLOAD_FORMAT else IS_ERROR)
    zeros = {"CONNECT": ((s.RECEIVE_MAXIMUM, 2, "U5-8"), (s.MAXIMUM_PACKET_SIZE, 4, "U5-9")),
             "SUBSCRIBE": ((s.SUBSCRIPTION_ID, 1, "U5-35"),)}  # fmt: skip
    for place, properties in zeros.items():
        for name, width, rule in properties:
            yield at(place, section(((name, bytes(width)),)), f"0x{name:02x} with 0", rule, IS_ERROR)
    for value in (b"\x80\x00", b"\x81\x00", b"\xac\x82\x00", b"\xff\xff\xff\xff\x01", b"\x80\x80\x80\x80\x80"):
        data, what = section(((s.SUBSCRIPTION_ID, value),)), f"subscription id {value.hex(' ')}"
        yield at("SUBSCRIBE", data, what, "MQTT-1.5.5-1, U5-2", IS_MALFORMED)
    # The defaults announce 16 aliases: docs/configuration.md, topic_alias_max.
    for alias in (0, 17, 255, 256, 32_768, 65_535):
        data = section(((s.TOPIC_ALIAS, alias.to_bytes(2, "big")),))
        yield at("PUBLISH", data, f"topic alias {alias}", "MQTT-3.3.2-8, -9", frozenset({BAD_ALIAS}))
    data = section(((s.AUTH_DATA, string("data")),))
    yield at("CONNECT", data, "authentication data without a method", "U5-12", IS_ERROR)
    for secs in (1, 60, 0xFFFFFFFF):
        data = section(((s.SESSION_EXPIRY, secs.to_bytes(4, "big")),))
        yield at("DISCONNECT", data, f"session expiry {secs} after 0", "U5-41", IS_ERROR)
    for place, name in itertools.product(("PUBLISH", "will"), WILD):
        data = section(((s.RESPONSE_TOPIC, string(name)),))
        yield at(place, data, f"response topic {name}", "MQTT-3.3.2-14", EITHER | {BAD_TOPIC})


def property_strings(level: int) -> Iterator[Case]:
    """Each string in each section, ill formed, or longer than what follows."""
    if level < 5:
        return
    for place, allowed in ALLOWED.items():
        for name in allowed:
            if name == s.USER_PROPERTY:
                for what, data, rule in bad_texts(5):
                    key, value = string(data) + string("value"), string("key") + string(data)
                    for part, pair in (("key", key), ("value", value)):
                        whole = section(((name, pair),))
                        yield at(place, whole, f"user property, {part} {what}", rule, IS_MALFORMED)
            elif name in s.TEXTS:
                for what, data, rule in bad_texts(5):
                    whole = section(((name, string(data)),))
                    yield at(place, whole, f"0x{name:02x} {what}", rule, IS_MALFORMED)
            if name in s.TEXTS | s.BINARIES | {s.USER_PROPERTY}:
                value = s.VALUES[name]
                for length in (len(value) - 1, len(value), 255, 0xFFFF):
                    whole = section(((name, length.to_bytes(2, "big") + value[2:]),))
                    what = f"0x{name:02x}, a length of {length} where {len(value) - 2} follow"
                    yield at(place, whole, what, "4.13.1", IS_MALFORMED)


# --- CONNECT --------------------------------------------------------------------------------------


def connect_flags(level: int) -> Iterator[Case]:
    """Each byte of flags that no CONNECT has, with a payload that is as the flags say."""
    for flags in range(256):
        will, qos, user, password = flags & 4, flags >> 3 & 3, flags & 0x80, flags & 0x40
        rules = []
        if flags & 1 and level > 3:
            rules.append("MQTT-3.1.2-3")
        if qos == 3 and will:
            rules.append("MQTT-3.1.2-12")
        if level > 3 and not will and (qos or flags & 0x20):
            rules.append("MQTT-3.1.2-11, -13")
        if level < 5 and password and not user:
            rules.append("MQTT311-3.1.2-22")
        shape = s.connect(level, will=bool(will), user=bool(user), password=bool(password))
        data = shape.encode({"connect flags": bytes([flags])})
        if rules:
            yield variation(shape, f"flags {flags:08b}", "; ".join(rules), data, EITHER)
        elif level > 3:
            yield from _payloads(shape, flags)


def _payloads(shape: Shape, flags: int) -> Iterator[Case]:
    """Good flags, and a payload with a field less or one more."""
    rule = "MQTT-3.1.3-1"
    last = shape.fields[-1]
    less = replace(shape, fields=shape.fields[:-1])
    wrong = {"connect flags": bytes([flags])}
    yield variation(shape, f"flags {flags:08b} and no {last.name}", rule, less.encode(wrong), IS_MALFORMED)
    more = replace(shape, fields=(*shape.fields, s.text("surplus", "one more")))
    yield variation(shape, f"flags {flags:08b} and one field more", rule, more.encode(wrong), IS_MALFORMED)


def protocol_names(level: int) -> Iterator[Case]:
    """Names and levels that do not belong together, or to no version."""
    names = ["", "M", "MQ", "MQT", "MQTTT", "MQTT ", " MQTT", "mqtt", "Mqtt", "MQTt", "MQXX", "MQIsd", "MQIsdpp",
             "MQISDP", "mqisdp", "MQIsdp5", "MQTTSN", "MQTT-SN", "AMQP", "HTTP", "STOMP", "x" * 300]  # fmt: skip
    own, other = ("MQIsdp", "MQTT") if level == 3 else ("MQTT", "MQIsdp")
    shape = s.connect(level)
    for name in [*names, own.lower(), own + "\u00e9", other]:
        data = shape.encode({"protocol name": string(name)})
        yield _unwelcome(level, f"the name {name[:12]!r}", data, "MQTT-3.1.2-1, MQTT311-3.1.2-1")
    for what, data in (("NUL", b"MQTT\0"), ("no UTF-8", b"MQT\xd4"), ("four bytes of 0", bytes(4))):
        whole = shape.encode({"protocol name": string(data)})
        yield _unwelcome(level, f"a name with {what}", whole, "MQTT-3.1.2-1, MQTT311-3.1.2-1")
    # The highest bit is the mark of Mosquitto's bridges.
    for number in range(256):
        if number & 0x7F not in LEVELS:
            data = shape.encode({"protocol level": bytes([number])})
            yield _unwelcome(level, f"the level {number}", data, "MQTT-3.1.2-2, MQTT311-3.1.2-2")


def _unwelcome(level: int, what: str, data: bytes, rule: str) -> Case:
    """A CONNECT of a version that is not spoken here: the answer may be in the words of any version."""
    codes = frozenset({1, MALFORMED, PROTOCOL_ERROR, BAD_VERSION})
    return Case(level, "CONNECT", what, rule, data, codes, True, True)


def client_ids(level: int) -> Iterator[Case]:
    """Those that may be refused only in words."""
    if level == 5:
        return
    shape = s.connect(level)
    for flags in (0, 2):
        if level == 3 or flags == 0:
            changed = {"client id": string(""), "connect flags": bytes([flags])}
            what = f"an empty client id and flags {flags:08b}"
            rule = "3.1 of 3.1" if level == 3 else "MQTT311-3.1.3-8"
            yield Case(level, "CONNECT", what, rule, shape.encode(changed), frozenset({2}), True)


def will_topics(level: int) -> Iterator[Case]:
    """Wills to filters, and to no topic; MQTT 3.1 says that of PUBLISH only."""
    if level == 3:
        return
    shape = s.connect(level, will=True)
    codes = EITHER | {BAD_TOPIC} if level == 5 else frozenset({3, 5})
    for name in [*WILD, ""]:
        data = shape.encode({"will topic": string(name)})
        case = variation(shape, f"a will to {name!r}", "MQTT-3.3.2-2, MQTT-4.7.3-1", data, codes)
        yield replace(case, codes=codes)


def firsts(level: int) -> Iterator[Case]:
    """Anything but CONNECT at first; the connection ends without a word of a version unknown yet."""
    rule = "MQTT-3.1.0-1, MQTT-3.14.0-1"
    for shape in shapes(level):
        if shape.kind != Kind.CONNECT:
            what = f"{shape.name} before CONNECT"
            yield Case(level, "first", what, rule, shape.encode(), NEVER, True, True)
    if level != 4:
        return
    for kind, flags, body in itertools.product(range(16), range(16), (b"", b"\0\1", b"\0\4MQTT\4\2\0\0\0\1a")):
        if kind != Kind.CONNECT:
            what = f"type {kind}, flags {flags:04b}, {len(body)} bytes before CONNECT"
            yield Case(level, "first", what, rule, packet(kind, flags, body), NEVER, True, True)


def second_connects(level: int) -> Iterator[Case]:
    """CONNECT comes once, of whatever version and however good."""
    rule = "MQTT-3.1.0-2, MQTT311-3.1.0-2"
    for other in LEVELS:
        for shape in shapes(other):
            if shape.kind != Kind.CONNECT:
                continue
            for what, changed in (
                ("", {}),
                (", not clean", {"connect flags": bytes([shape.fields[2].data[0] & ~2])}),
                (", of somebody else", {"client id": string("bystander")}),
            ):
                what = f"a second {shape.name} of {VERSIONS[other]}{what}"
                yield Case(level, "CONNECT", what, rule, shape.encode(changed), IS_ERROR)
            for size, _ in shape.cuts():
                what = f"a second {shape.name} of {VERSIONS[other]}, cut to {size} bytes"
                data = packet(Kind.CONNECT, 0, shape.body()[:size])
                yield Case(level, "CONNECT", what, rule, data, EITHER)


# --- what single packets say ----------------------------------------------------------------------

WILD = ["#", "+", "a/#", "a/+", "+/a", "a/+/b", "a#", "a+", "+a", "#a", "a/b#", "a/#/b", "/+", "/#", "$SYS/#", "$a/+"]
"""No topics, since they have wildcards in them."""


def topics(level: int) -> Iterator[Case]:
    """PUBLISH to filters, and to no topic."""
    rule = "MQTT-3.3.2-2" if level == 5 else "MQTT311-3.3.2-2"
    for shape in shapes(level):
        if shape.kind == Kind.PUBLISH:
            for name in WILD:
                data = shape.encode({"topic": string(name)})
                yield variation(shape, f"to {name}", rule, data, EITHER | {BAD_TOPIC})
            if level > 3:
                # One of these shapes has a topic alias, which nothing was bound to.
                data, codes = shape.encode({"topic": string("")}), EITHER | {BAD_TOPIC, BAD_ALIAS}
                yield variation(shape, "to no topic", "U5-27, U5-29, MQTT311-4.7.3-1", data, codes)


def packet_ids(level: int) -> Iterator[Case]:
    """0 is no packet identifier."""
    rule = "MQTT-2.2.1-3" if level == 5 else "MQTT311-2.3.1-1"
    for shape in shapes(level):
        if shape.kind in (Kind.PUBLISH, Kind.SUBSCRIBE, Kind.UNSUBSCRIBE) and shape.flags:
            yield variation(shape, "packet id 0", rule, shape.encode({"packet id": b"\0\0"}), EITHER)


def options(level: int) -> Iterator[Case]:
    """Each byte of options that no subscription has, in the first and the second place."""
    shape = next(shape for shape in shapes(level) if shape.kind == Kind.SUBSCRIBE)
    for byte, place in itertools.product(range(256), (1, 2)):
        if level == 5:
            is_good = byte & 0xC0 == 0 and byte & 3 != 3 and byte & 0x30 != 0x30
            rule = "MQTT-3.8.3-5" if byte & 0xC0 else "U5-36"
            codes = IS_MALFORMED if byte & 0xC0 else EITHER
            codes |= IS_ERROR if byte & 3 == 3 or byte & 0x30 == 0x30 else NEVER
        else:
            # MQTT 3.1 does not say that the upper bits are 0.
            is_good = byte < 3 if level == 4 else byte != 3
            rule, codes = "MQTT311-3.8.3-4" if level == 4 else "3.8 of 3.1", NEVER
        if not is_good:
            what = f"options {byte:08b} of filter {place}"
            yield variation(shape, what, rule, shape.encode({f"options {place}": bytes([byte])}), codes)
    if level == 5:
        for byte in (0x04, 0x05, 0x06, 0x0C, 0x0D, 0x0E, 0x14, 0x24, 0x26):
            changed = {"filter 1": string("$share/group/topic"), "options 1": bytes([byte])}
            what = f"a shared subscription with options {byte:08b}"
            yield variation(shape, what, "MQTT-3.8.3-4", shape.encode(changed), IS_ERROR)


REASONS = {
    Kind.PUBACK: {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    Kind.PUBREC: {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    Kind.PUBREL: {0x00, 0x92},
    Kind.PUBCOMP: {0x00, 0x92},
    Kind.DISCONNECT: {0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99},
    Kind.AUTH: set(),
}
"""What a client may say (tables 3-4 to 3-10 of 5.0); AUTH means nothing on these connections."""


def reasons(level: int) -> Iterator[Case]:
    """Reason codes that their packet does not have, with properties and without."""
    if level < 5:
        return
    rules = {Kind.PUBACK: "MQTT-3.4.2-1", Kind.PUBREC: "MQTT-3.5.2-1", Kind.PUBREL: "MQTT-3.6.2-1",
             Kind.PUBCOMP: "MQTT-3.7.2-1", Kind.DISCONNECT: "MQTT-3.14.2-1", Kind.AUTH: "U5-44"}  # fmt: skip
    for shape in shapes(5):
        if shape.kind not in REASONS or shape.title == "short":
            continue
        for code in range(256):
            if code in REASONS[shape.kind]:
                continue
            bare = replace(shape, fields=tuple(one for one in shape.fields if not one.place))
            for what, one in (("", shape), (" alone", bare)):
                data = one.encode({"code": bytes([code])})
                case = variation(shape, f"reason 0x{code:02x}{what}", rules[shape.kind], data, EITHER)
                # What is said to somebody who goes is left open.
                yield replace(case, may_be_silent=shape.kind == Kind.DISCONNECT)


def nothing_asked(level: int) -> Iterator[Case]:
    """Requests without filters."""
    for shape in shapes(level):
        if shape.kind in (Kind.SUBSCRIBE, Kind.UNSUBSCRIBE):
            kept = tuple(one for one in shape.fields if one.name == "packet id" or one.place)
            rule = "MQTT-3.8.3-2, MQTT-3.10.3-2"
            yield variation(shape, "without filters", rule, replace(shape, fields=kept).encode(), EITHER)


FAMILIES = (
    fixed_flags, types, lengths, truncations, surplus, strings,
    foreign_properties, repeated_properties, cut_properties, property_values, property_strings,
    connect_flags, protocol_names, client_ids, will_topics, firsts, second_connects,
    topics, packet_ids, options, reasons, nothing_asked,
)  # fmt: skip
