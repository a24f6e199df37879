"""MQTT 3.1.1 and 5.0 packets as bytes, written from the specification alone.

The tests use it to say exactly what goes over the wire, so it shares nothing with Bellbird's codec.
Versions are named by their protocol level: 4 is MQTT 3.1.1, 5 is MQTT 5.0.
"""

from dataclasses import dataclass, field
from enum import IntEnum


class Kind(IntEnum):
    """Control packet types."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class Property(IntEnum):
    """The properties that tests send or look at."""

    MESSAGE_EXPIRY = 0x02
    CONTENT_TYPE = 0x03
    SUBSCRIPTION_ID = 0x0B
    SESSION_EXPIRY = 0x11
    ASSIGNED_CLIENT_ID = 0x12
    WILL_DELAY = 0x18
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS = 0x23
    MAXIMUM_QOS = 0x24
    USER_PROPERTY = 0x26
    SUBSCRIPTION_IDS_AVAILABLE = 0x29


WIDTHS = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), 4),
}
STRINGS = {0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F}
BINARIES = {0x09, 0x16}


@dataclass(frozen=True)
class Packet:
    """A packet received from the broker; fields that its kind lacks keep their defaults."""

    kind: Kind
    flags: int
    packet_id: int = 0
    topic: str = ""
    payload: bytes = b""
    code: int = 0
    codes: tuple[int, ...] = ()
    session_present: bool = False
    properties: dict = field(default_factory=dict)

    @property
    def qos(self) -> int:
        """QoS of a PUBLISH."""
        return self.flags >> 1 & 3

    @property
    def dup(self) -> bool:
        """DUP flag of a PUBLISH."""
        return bool(self.flags & 8)

    @property
    def retain(self) -> bool:
        """RETAIN flag of a PUBLISH."""
        return bool(self.flags & 1)


def varint(number: int) -> bytes:
    """A variable byte integer."""
    encoded = bytearray()
    while True:
        number, digit = divmod(number, 128)
        encoded.append(digit | (128 if number else 0))
        if not number:
            return bytes(encoded)


def string(text: str | bytes) -> bytes:
    """A string or binary field with its length in front; bytes pass unchecked."""
    data = text.encode() if isinstance(text, str) else text
    return len(data).to_bytes(2, "big") + data


def properties(values: dict | None) -> bytes:
    """A property section; a list as value repeats its property."""
    encoded = bytearray()
    for name, value in (values or {}).items():
        for item in value if isinstance(value, list) else [value]:
            encoded.append(name)
            encoded += _property(name, item)
    return varint(len(encoded)) + encoded


def _property(name: int, value) -> bytes:
    if name in WIDTHS:
        return value.to_bytes(WIDTHS[name], "big")
    if name == Property.SUBSCRIPTION_ID:
        return varint(value)
    if name == Property.USER_PROPERTY:
        return string(value[0]) + string(value[1])
    return string(value)


def frame(kind: int, flags: int, body: bytes) -> bytes:
    """A packet with its fixed header."""
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


@dataclass(frozen=True)
class Will:
    """What CONNECT says of a will."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    props: dict | None = None


def connect(
    client_id: str,
    level: int = 4,
    *,
    clean: bool = True,
    keepalive: int = 0,
    props: dict | None = None,
    will: Will | None = None,
    user: str | None = None,
    password: str | None = None,
) -> bytes:
    """CONNECT, with what is given of will, user name and password."""
    flags, last = 2 if clean else 0, b""
    if will:
        flags |= 4 | will.qos << 3 | will.retain << 5
        section = properties(will.props) if level == 5 else b""
        last = section + string(will.topic) + string(will.payload)
    if user is not None:
        flags |= 0x80
        last += string(user)
    if password is not None:
        flags |= 0x40
        last += string(password)
    head = string("MQTT") + bytes([level, flags]) + keepalive.to_bytes(2, "big")
    section = properties(props) if level == 5 else b""
    return frame(Kind.CONNECT, 0, head + section + string(client_id) + last)


def publish(
    topic: str | bytes,
    payload: bytes,
    level: int = 4,
    *,
    qos: int = 0,
    packet_id: int = 0,
    retain: bool = False,
    dup: bool = False,
    props: dict | None = None,
) -> bytes:
    """PUBLISH; the packet id is left out at QoS 0."""
    flags = dup << 3 | qos << 1 | retain
    identity = packet_id.to_bytes(2, "big") if qos else b""
    section = properties(props) if level == 5 else b""
    return frame(Kind.PUBLISH, flags, string(topic) + identity + section + payload)


def puback(packet_id: int) -> bytes:
    """PUBACK with success, in the short form that is the same in both versions."""
    return frame(Kind.PUBACK, 0, packet_id.to_bytes(2, "big"))


def pubrec(packet_id: int) -> bytes:
    """PUBREC with success, in the short form that is the same in both versions."""
    return frame(Kind.PUBREC, 0, packet_id.to_bytes(2, "big"))


def pubrel(packet_id: int) -> bytes:
    """PUBREL with success, in the short form that is the same in both versions."""
    return frame(Kind.PUBREL, 2, packet_id.to_bytes(2, "big"))


def pubcomp(packet_id: int) -> bytes:
    """PUBCOMP with success, in the short form that is the same in both versions."""
    return frame(Kind.PUBCOMP, 0, packet_id.to_bytes(2, "big"))


def subscribe(
    packet_id: int, filters: list[tuple[str, int]], level: int = 4, props: dict | None = None
) -> bytes:
    """SUBSCRIBE; each filter comes with its options byte, which is the QoS in 3.1.1."""
    section = properties(props) if level == 5 else b""
    wanted = b"".join(string(name) + bytes([options]) for name, options in filters)
    return frame(Kind.SUBSCRIBE, 2, packet_id.to_bytes(2, "big") + section + wanted)


def unsubscribe(packet_id: int, filters: list[str], level: int = 4) -> bytes:
    """UNSUBSCRIBE."""
    section = properties(None) if level == 5 else b""
    unwanted = b"".join(map(string, filters))
    return frame(Kind.UNSUBSCRIBE, 2, packet_id.to_bytes(2, "big") + section + unwanted)


def pingreq() -> bytes:
    """PINGREQ."""
    return frame(Kind.PINGREQ, 0, b"")


def disconnect() -> bytes:
    """DISCONNECT in the short form that is the same in both versions."""
    return frame(Kind.DISCONNECT, 0, b"")


def split(buffer: bytearray) -> tuple[int, bytes] | None:
    """Takes the first whole packet off the buffer: its first byte and its body."""
    length, shift = 0, 0
    for at in range(1, min(len(buffer), 5)):
        length |= (buffer[at] & 127) << shift
        shift += 7
        if buffer[at] < 128:
            end = at + 1 + length
            if len(buffer) < end:
                return None
            first, body = buffer[0], bytes(buffer[at + 1 : end])
            del buffer[:end]
            return first, body
    return None


def decode(first: int, body: bytes, level: int = 4) -> Packet:
    """Reads a packet that a broker may send."""
    kind, flags, reader = Kind(first >> 4), first & 15, _Reader(body, level)
    match kind:
        case Kind.CONNACK:
            present, code = reader.number(1), reader.number(1)
            packet = Packet(
                kind, flags, code=code, session_present=present == 1, properties=reader.properties()
            )
        case Kind.PUBLISH:
            topic = reader.string().decode()
            packet_id = reader.number(2) if flags & 6 else 0
            values = reader.properties()
            packet = Packet(
                kind, flags, packet_id=packet_id, topic=topic, payload=reader.rest(), properties=values
            )
        case Kind.SUBACK | Kind.UNSUBACK:
            packet_id, values = reader.number(2), reader.properties()
            packet = Packet(
                kind, flags, packet_id=packet_id, codes=tuple(reader.rest()), properties=values
            )
        case Kind.PINGRESP:
            packet = Packet(kind, flags)
        case Kind.DISCONNECT:
            packet = Packet(
                kind, flags, code=reader.optional_code(), properties=reader.properties()
            )
        case _:
            packet_id = reader.number(2)
            packet = Packet(
                kind,
                flags,
                packet_id=packet_id,
                code=reader.optional_code(),
                properties=reader.properties(),
            )
    if reader.left():
        raise ValueError(f"surplus bytes in {kind.name}: {body.hex(' ')}")
    return packet


class _Reader:
    """Reads fields off a packet's body."""

    def __init__(self, body: bytes, level: int):
        self.body, self.level, self.at = body, level, 0

    def left(self) -> int:
        return len(self.body) - self.at

    def take(self, count: int) -> bytes:
        if self.left() < count:
            raise ValueError(f"packet too short: {self.body.hex(' ')}")
        self.at += count
        return self.body[self.at - count : self.at]

    def rest(self) -> bytes:
        return self.take(self.left())

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def string(self) -> bytes:
        return self.take(self.number(2))

    def optional_code(self) -> int:
        return self.number(1) if self.left() else 0

    def varint(self) -> int:
        number, shift = 0, 0
        while True:
            digit = self.number(1)
            number |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                return number

    def properties(self) -> dict:
        if self.level < 5 or not self.left():
            return {}
        end = self.varint() + self.at
        values: dict = {}
        while self.at < end:
            name = self.number(1)
            value = self._property(name)
            if name in (Property.USER_PROPERTY, Property.SUBSCRIPTION_ID):
                values.setdefault(name, []).append(value)
            else:
                values[name] = value
        return values

    def _property(self, name: int):
        if name in WIDTHS:
            return self.number(WIDTHS[name])
        if name in STRINGS:
            return self.string().decode()
        if name in BINARIES:
            return self.string()
        if name == Property.SUBSCRIPTION_ID:
            return self.varint()
        if name == Property.USER_PROPERTY:
            return self.string().decode(), self.string().decode()
        raise ValueError(f"unknown property 0x{name:02x} in {self.body.hex(' ')}")
