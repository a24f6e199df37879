"""Packets by hand: any packet, well formed or not, and each received one with nothing left out.

Properties are lists of (id, value) pairs, since their order and repetition matter here.
Text fields take bytes as well, which pass unchecked. Level 3 is MQTT 3.1, which calls itself MQIsdp.
"""

import time
from dataclasses import dataclass, replace

import mqtt
import packets
from packets import BINARIES, STRINGS, WIDTHS, Kind, Property, frame, string, varint

Pairs = list[tuple[int, object]]

SUCCESS, UNSPECIFIED = 0x00, 0x80
MALFORMED, PROTOCOL_ERROR, BAD_VERSION, BAD_CLIENT_ID = 0x81, 0x82, 0x84, 0x85
KEEP_ALIVE_TIMEOUT, SESSION_TAKEN_OVER = 0x8D, 0x8E


class Malformed(AssertionError):
    """The broker sent something that is no packet of MQTT."""


@dataclass(frozen=True)
class Packet(packets.Packet):
    """A received packet: `pairs` are its properties in order, `body` is all behind the header."""

    ack_flags: int = 0
    pairs: tuple = ()
    body: bytes = b""

    def values(self, name: int) -> list:
        """The values of one property, in order."""
        return [value for key, value in self.pairs if key == name]


@dataclass(frozen=True)
class Will:
    """What CONNECT says of a will."""

    topic: str | bytes
    payload: bytes = b"will"
    qos: int = 0
    retain: bool = False
    props: Pairs | None = None


def properties(pairs) -> bytes:
    """A property section from pairs or a dict; bytes pass as they are, with their own length."""
    if isinstance(pairs, bytes):
        return pairs
    pairs = pairs.items() if isinstance(pairs, dict) else pairs or ()
    encoded = b"".join(bytes([name]) + _value(name, value) for name, value in pairs)
    return varint(len(encoded)) + encoded


def _value(name: int, value) -> bytes:
    if name in WIDTHS:
        return value.to_bytes(WIDTHS[name], "big")
    if name == Property.SUBSCRIPTION_ID:
        return varint(value)
    if name == Property.USER_PROPERTY:
        return string(value[0]) + string(value[1])
    return string(value)


def connect(
    client_id: str | bytes | None,
    level: int,
    *,
    clean: bool = True,
    keepalive: int = 0,
    props=None,
    will: Will | None = None,
    username: str | bytes | None = None,
    password: bytes | None = None,
    name: str | bytes | None = None,
    flags: int | None = None,
    surplus: bytes = b"",
) -> bytes:
    """CONNECT; `flags` replaces the connect flags and changes nothing else, None leaves out the id."""
    computed, fields = 2 if clean else 0, [string(client_id)] if client_id is not None else []
    if will:
        computed |= 4 | will.qos << 3 | will.retain << 5
        fields += [properties(will.props)] if level == 5 else []
        fields += [string(will.topic), string(will.payload)]
    if username is not None:
        computed |= 0x80
        fields.append(string(username))
    if password is not None:
        computed |= 0x40
        fields.append(string(password))
    head = string(name or ("MQIsdp" if level == 3 else "MQTT"))
    head += bytes([level, computed if flags is None else flags]) + keepalive.to_bytes(2, "big")
    head += properties(props) if level == 5 else b""
    return frame(Kind.CONNECT, 0, head + b"".join(fields) + surplus)


def publish(
    topic: str | bytes,
    payload: bytes,
    level: int,
    *,
    qos: int = 0,
    packet_id: int = 0,
    retain: bool = False,
    dup: bool = False,
    props=None,
) -> bytes:
    """PUBLISH; the packet id is left out at QoS 0."""
    identity = packet_id.to_bytes(2, "big") if qos else b""
    section = properties(props) if level == 5 else b""
    flags = dup << 3 | qos << 1 | retain
    return frame(Kind.PUBLISH, flags, string(topic) + identity + section + payload)


def ack(kind: Kind, packet_id: int, code: int | None = None, props=None, flags=None) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP; without code and properties in the short form."""
    body = packet_id.to_bytes(2, "big")
    if code is not None:
        body += bytes([code])
    if props is not None:
        body += properties(props)
    return frame(kind, (2 if kind == Kind.PUBREL else 0) if flags is None else flags, body)


def subscribe(packet_id: int, filters, level: int, props=None, flags: int = 2) -> bytes:
    """SUBSCRIBE; each filter comes with its options byte, which is the QoS before 5.0."""
    section = properties(props) if level == 5 else b""
    wanted = b"".join(string(name) + bytes([options]) for name, options in filters)
    return frame(Kind.SUBSCRIBE, flags, packet_id.to_bytes(2, "big") + section + wanted)


def unsubscribe(packet_id: int, filters, level: int, props=None, flags: int = 2) -> bytes:
    """UNSUBSCRIBE."""
    section = properties(props) if level == 5 else b""
    return frame(
        Kind.UNSUBSCRIBE, flags, packet_id.to_bytes(2, "big") + section + b"".join(map(string, filters))
    )


def pingreq(flags: int = 0, body: bytes = b"") -> bytes:
    """PINGREQ."""
    return frame(Kind.PINGREQ, flags, body)


def disconnect(code: int | None = None, props=None, flags: int = 0) -> bytes:
    """DISCONNECT; without code and properties in the short form."""
    body = b"" if code is None else bytes([code])
    return frame(Kind.DISCONNECT, flags, body + (b"" if props is None else properties(props)))


def auth(code: int | None = None, props=None, flags: int = 0) -> bytes:
    """AUTH."""
    body = b"" if code is None else bytes([code])
    return frame(Kind.AUTH, flags, body + (b"" if props is None else properties(props)))


def decode(first: int, body: bytes, level: int) -> Packet:
    """Reads a packet that a broker may send, or raises Malformed."""
    try:
        return _decode(first, body, level)
    except (ValueError, IndexError) as error:
        raise Malformed(f"{error}: {first:02x} {body.hex(' ')}") from None


def _decode(first: int, body: bytes, level: int) -> Packet:
    fields = _Fields(body)
    kind = Kind(first >> 4)
    known: dict = {"kind": kind, "flags": first & 15, "body": body}
    five = level == 5
    if kind == Kind.PUBLISH:
        known["topic"] = fields.text()
        if first & 6:
            known["packet_id"] = fields.number(2)
    elif kind == Kind.CONNACK:
        known["ack_flags"], known["code"] = fields.number(1), fields.number(1)
        known["session_present"] = bool(known["ack_flags"] & 1)
        # Who is refused for its version may be told so in the form of another one.
        five = five and not (known["code"] and not fields.left())
    elif kind in (Kind.DISCONNECT, Kind.AUTH):
        known["code"] = fields.number(1) if fields.left() else 0
        five = five and fields.left() > 0
    elif kind not in (Kind.PINGREQ, Kind.PINGRESP):
        known["packet_id"] = fields.number(2)
        if kind not in (Kind.SUBACK, Kind.UNSUBACK):
            known["code"] = fields.number(1) if five and fields.left() else 0
            five = five and fields.left() > 0
    if five and kind not in (Kind.PINGREQ, Kind.PINGRESP):
        known["pairs"] = fields.properties()
        known["properties"] = dict(known["pairs"])
    if kind == Kind.PUBLISH:
        known["payload"] = fields.rest()
    elif kind in (Kind.SUBACK, Kind.UNSUBACK):
        known["codes"] = tuple(fields.rest())
    if fields.left():
        raise ValueError(f"surplus bytes in {kind.name}")
    return Packet(**known)


def encode(packet: Packet, level: int) -> bytes:
    """The bytes of a packet that a broker may send; what `decode` reads."""
    kind, section = packet.kind, properties(packet.pairs) if level == 5 else b""
    identity = packet.packet_id.to_bytes(2, "big")
    match kind:
        case Kind.CONNACK:
            body = bytes([packet.ack_flags, packet.code]) + section
        case Kind.PUBLISH:
            body = string(packet.topic) + (identity if packet.qos else b"") + section + packet.payload
        case Kind.SUBACK | Kind.UNSUBACK:
            body = identity + section + bytes(packet.codes)
        case Kind.PINGRESP:
            body = b""
        case Kind.DISCONNECT | Kind.AUTH:
            body = bytes([packet.code]) + section
        case _:
            body = identity + (bytes([packet.code]) + section if packet.code or packet.pairs else b"")
    return frame(kind, packet.flags, body)


class _Fields:
    """Reads fields off a packet's body."""

    def __init__(self, body: bytes):
        self.body, self.at = body, 0

    def left(self) -> int:
        return len(self.body) - self.at

    def take(self, count: int) -> bytes:
        if self.left() < count:
            raise ValueError("packet too short")
        self.at += count
        return self.body[self.at - count : self.at]

    def rest(self) -> bytes:
        return self.take(self.left())

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        return self.binary().decode()

    def varint(self) -> int:
        number = 0
        for shift in (0, 7, 14, 21):
            digit = self.number(1)
            number |= (digit & 127) << shift
            if digit < 128:
                return number
        raise ValueError("variable byte integer too long")

    def properties(self) -> tuple:
        length = self.varint()
        section, pairs = _Fields(self.take(length)), []
        while section.left():
            name = section.number(1)
            pairs.append((name, section.value(name)))
        return tuple(pairs)

    def value(self, name: int):
        if name in WIDTHS:
            return self.number(WIDTHS[name])
        if name in STRINGS:
            return self.text()
        if name in BINARIES:
            return self.binary()
        if name == Property.SUBSCRIPTION_ID:
            return self.varint()
        if name == Property.USER_PROPERTY:
            return self.text(), self.text()
        raise ValueError(f"unknown property 0x{name:02x}")


class Client(mqtt.Client):
    """A connection that acknowledges nothing by itself, over a stream that a transport has opened."""

    def __init__(self, stream, level: int):
        self.level, self.socket, self.buffer = level, stream, bytearray()
        self.packet_ids = mqtt.itertools.cycle(range(1, 65536))
        self.client_id: str | bytes = ""

    def connect(self, client_id: str | bytes, **options) -> Packet:
        """Sends CONNECT and returns the CONNACK, which must be a success."""
        connack = self.introduce(client_id, **options)
        assert connack.code == 0, f"refused: {connack}"
        return connack

    def introduce(self, client_id: str | bytes, **options) -> Packet:
        """Sends CONNECT and returns the CONNACK, whatever it says."""
        self.client_id = client_id
        self.send(connect(client_id, self.level, **options))
        return self.expect(Kind.CONNACK)

    def subscribe(self, *filters: tuple[str, int], props=None) -> Packet:
        """Subscribes and returns the SUBACK."""
        packet_id = next(self.packet_ids)
        self.send(subscribe(packet_id, filters, self.level, props))
        return self.expect(Kind.SUBACK, packet_id=packet_id)

    def unsubscribe(self, *filters: str) -> Packet:
        """Unsubscribes and returns the UNSUBACK."""
        packet_id = next(self.packet_ids)
        self.send(unsubscribe(packet_id, filters, self.level))
        return self.expect(Kind.UNSUBACK, packet_id=packet_id)

    def send_publish(self, topic, payload, *, qos=1, retain=False, dup=False, props=None) -> int:
        """Sends a PUBLISH without waiting and returns its packet id, 0 at QoS 0."""
        packet_id = next(self.packet_ids) if qos else 0
        options = {"qos": qos, "packet_id": packet_id, "retain": retain, "dup": dup, "props": props}
        self.send(publish(topic, payload, self.level, **options))
        return packet_id

    def publish(self, topic, payload=b"", *, qos=1, retain=False, props=None) -> None:
        """Publishes and waits until the broker has taken it: by its answers, or by a round trip."""
        packet_id = self.send_publish(topic, payload, qos=qos, retain=retain, props=props)
        if qos == 0:
            self.ping()
        elif qos == 1:
            self.expect(Kind.PUBACK, packet_id=packet_id)
        else:
            self.expect(Kind.PUBREC, packet_id=packet_id)
            self.send(ack(Kind.PUBREL, packet_id))
            self.expect(Kind.PUBCOMP, packet_id=packet_id)

    def expect_refused(self, code: int | None = None, *, within: float = 0) -> Packet | None:
        """Waits for the close; in 5.0 the broker must have given this reason just before.

        Before 5.0 the close is without a word, but for a CONNACK with this code if one is given.
        """
        ending = self.expect_closed(within=within)
        if code is None or (self.level < 5 and code >= 0x80):
            assert ending is None, f"expected a close without a word, got {ending}"
        else:
            assert ending is not None, f"closed without the reason 0x{code:02x}"
            assert ending.code == code, f"expected the reason 0x{code:02x}, got {ending}"
        return ending

    def expect_unwelcome(self, code: int) -> None:
        """Waits for the close that answers a bad CONNECT; a CONNACK of 5.0 may say why before it.

        The specification lets the broker choose whether to say it [MQTT-3.1.4-1], but not what.
        3.1.1 knows no CONNACK for a CONNECT that breaks the format.
        """
        ending = self.expect_closed()
        if ending is not None:
            assert self.level == 5, f"expected a close without a word, got {ending}"
            assert (ending.kind, ending.code) == (Kind.CONNACK, code), f"not 0x{code:02x}: {ending}"

    def expect_closed(self, *, within: float = 0) -> Packet | None:
        """Waits for the end and returns the DISCONNECT or CONNACK before it.

        `within` is the time that the statement itself allows; the usual patience comes on top.
        """
        last = None
        try:
            last = self.receive("the end of the connection", within=within)
            assert last.kind in (Kind.DISCONNECT, Kind.CONNACK), f"expected the end, got {last}"
            surplus = self.receive("the end of the connection")
        except mqtt.Closed:
            return last
        raise AssertionError(f"expected the end of the connection, got {surplus}")

    def receive(self, wanted: str = "a packet", *, within: float = 0) -> Packet:
        """The next packet, whatever it is."""
        deadline = time.monotonic() + mqtt.PATIENCE_SECS + within
        while (parts := packets.split(self.buffer)) is None:
            self.buffer += self._read(wanted, deadline)
        return decode(*parts, self.level)

    def send(self, data: bytes) -> None:
        """Sends bytes as they are; that the broker has closed shows when something is expected."""
        try:
            self.socket.sendall(data)
        except ConnectionError:
            pass

    def leave(self) -> None:
        """Sends DISCONNECT, waits until the broker has closed its side, and closes."""
        self.send(disconnect())
        ending = self.expect_closed()
        assert ending is None, f"an answer to DISCONNECT: {ending}"
        self.close()
