"""Packets of clients in parts, so that each part can be made wrong by itself.

A shape is well formed as it stands, and the tests send it as it stands too: what is refused of its
variations is refused for what was changed. Level 3 is MQTT 3.1, which calls itself MQIsdp.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from packets import Kind, string, varint

Properties = tuple[tuple[int, bytes], ...]


@dataclass(frozen=True)
class Field:
    """A part of a packet, as it stands in there."""

    name: str
    data: bytes
    is_text: bool = False
    """A string: two bytes of length, then UTF-8."""
    may_end_before: bool = False
    """The packet is whole without this part and what follows."""
    is_loose: bool = False
    """Any number of its bytes is right."""
    place: str = ""
    """Whose properties they are, if it is a section of properties."""
    properties: Properties = ()


@dataclass(frozen=True)
class Shape:
    """A packet of a client."""

    kind: Kind
    level: int
    flags: int
    fields: tuple[Field, ...]
    title: str = ""
    """Tells shapes of one kind apart."""

    @property
    def name(self) -> str:
        """What it is called in the names of cases."""
        return f"{self.kind.name} {self.title}".strip()

    def body(self, changed: dict[str, bytes] | None = None) -> bytes:
        """All behind the fixed header, with some parts replaced."""
        changed = changed or {}
        return b"".join(changed.get(field.name, field.data) for field in self.fields)

    def encode(self, changed: dict[str, bytes] | None = None, flags: int | None = None) -> bytes:
        """The packet, whose remaining length is always right."""
        return packet(self.kind, self.flags if flags is None else flags, self.body(changed))

    def cuts(self) -> Iterator[tuple[int, bool]]:
        """The lengths that the body must not have, and whether a part ends just there."""
        at = 0
        for field in self.fields:
            for inside in range(len(field.data)):
                is_whole = field.is_loose or (inside == 0 and field.may_end_before)
                if not is_whole:
                    yield at + inside, inside == 0
            at += len(field.data)

    def sections(self) -> Iterator[Field]:
        """Its sections of properties."""
        return (field for field in self.fields if field.place)


def packet(kind: int, flags: int, body: bytes) -> bytes:
    """A fixed header and what follows."""
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


def section(properties: Properties) -> bytes:
    """Properties with their length in front."""
    data = b"".join(bytes([name]) + value for name, value in properties)
    return varint(len(data)) + data


def props(place: str, *properties: tuple[int, bytes], may_end_before: bool = False) -> Field:
    """A section of properties as a part of a packet."""
    name = f"properties of {place}"
    return Field(name, section(properties), False, may_end_before, False, place, properties)


def text(name: str, value: str, **options) -> Field:
    """A string as a part of a packet."""
    return Field(name, string(value), is_text=True, **options)


# --- properties -----------------------------------------------------------------------------------

PAYLOAD_FORMAT, MESSAGE_EXPIRY, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION = 0x01, 0x02, 0x03, 0x08, 0x09
SUBSCRIPTION_ID, SESSION_EXPIRY, METHOD, AUTH_DATA = 0x0B, 0x11, 0x15, 0x16
PROBLEM_INFORMATION, WILL_DELAY, RESPONSE_INFORMATION, REASON_STRING = 0x17, 0x18, 0x19, 0x1F
RECEIVE_MAXIMUM, TOPIC_ALIAS_MAXIMUM, TOPIC_ALIAS = 0x21, 0x22, 0x23
USER_PROPERTY, MAXIMUM_PACKET_SIZE = 0x26, 0x27

VALUES: dict[int, bytes] = {
    PAYLOAD_FORMAT: b"\x01",
    MESSAGE_EXPIRY: (60).to_bytes(4, "big"),
    CONTENT_TYPE: string("text/plain"),
    RESPONSE_TOPIC: string("re/ply"),
    CORRELATION: string(b"\x00\xff\x01"),
    SUBSCRIPTION_ID: varint(300),
    SESSION_EXPIRY: bytes(4),
    0x12: string("id"),
    0x13: (60).to_bytes(2, "big"),
    METHOD: string("SOME-METHOD"),
    AUTH_DATA: string(b"\x00\xff"),
    PROBLEM_INFORMATION: b"\x01",
    WILL_DELAY: (5).to_bytes(4, "big"),
    RESPONSE_INFORMATION: b"\x00",
    0x1A: string("info"),
    0x1C: string("other:1883"),
    REASON_STRING: string("because"),
    RECEIVE_MAXIMUM: (10).to_bytes(2, "big"),
    TOPIC_ALIAS_MAXIMUM: (5).to_bytes(2, "big"),
    TOPIC_ALIAS: (3).to_bytes(2, "big"),
    0x24: b"\x01",
    0x25: b"\x01",
    USER_PROPERTY: string("key") + string("value"),
    MAXIMUM_PACKET_SIZE: (4096).to_bytes(4, "big"),
    0x28: b"\x01",
    0x29: b"\x01",
    0x2A: b"\x01",
}
"""A good value of each property there is (section 2.2.2.2 of 5.0)."""

TEXTS = {CONTENT_TYPE, RESPONSE_TOPIC, METHOD, REASON_STRING}
"""Properties of clients that are one string."""

BINARIES = {CORRELATION, AUTH_DATA}

_OF_MESSAGES = (PAYLOAD_FORMAT, MESSAGE_EXPIRY, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION, USER_PROPERTY)
ALLOWED: dict[str, tuple[int, ...]] = {
    "CONNECT": (SESSION_EXPIRY, RECEIVE_MAXIMUM, MAXIMUM_PACKET_SIZE, TOPIC_ALIAS_MAXIMUM,
                RESPONSE_INFORMATION, PROBLEM_INFORMATION, USER_PROPERTY, METHOD, AUTH_DATA),
    "will": (*_OF_MESSAGES, WILL_DELAY),
    "PUBLISH": (*_OF_MESSAGES, TOPIC_ALIAS),
    "PUBACK": (REASON_STRING, USER_PROPERTY),
    "PUBREC": (REASON_STRING, USER_PROPERTY),
    "PUBREL": (REASON_STRING, USER_PROPERTY),
    "PUBCOMP": (REASON_STRING, USER_PROPERTY),
    "SUBSCRIBE": (SUBSCRIPTION_ID, USER_PROPERTY),
    "UNSUBSCRIBE": (USER_PROPERTY,),
    "DISCONNECT": (SESSION_EXPIRY, REASON_STRING, USER_PROPERTY),
    "AUTH": (METHOD, AUTH_DATA, REASON_STRING, USER_PROPERTY),
}  # fmt: skip
"""What a client may put where (table 2-4 of 5.0, without what only servers send)."""

UNASKED = {METHOD, AUTH_DATA}
"""Allowed in CONNECT, but the connection then goes another way than that of the table."""


# --- shapes ---------------------------------------------------------------------------------------


def shapes(level: int) -> Iterator[Shape]:
    """All that a client of this version may send, each with and without what is optional."""
    yield connect(level, title="small")
    yield connect(level, will=True, user=True, password=True, title="full")
    yield from _publishes(level)
    for kind in (Kind.PUBACK, Kind.PUBREC, Kind.PUBREL, Kind.PUBCOMP):
        yield from _acks(kind, level)
    yield from _requests(level)
    yield Shape(Kind.PINGREQ, level, 0, ())
    if level < 5:
        yield Shape(Kind.DISCONNECT, level, 0, ())
        return
    for kind, place, filled in (
        (Kind.DISCONNECT, "DISCONNECT", (SESSION_EXPIRY, REASON_STRING, USER_PROPERTY)),
        (Kind.AUTH, "AUTH", ALLOWED["AUTH"]),
    ):
        code = Field("code", b"\x19" if kind == Kind.AUTH else b"\0", may_end_before=True)
        all_of_them = props(place, *((one, VALUES[one]) for one in filled), may_end_before=True)
        yield Shape(kind, level, 0, (code, all_of_them), "with properties")


def connect(
    level: int, *, will: bool = False, user: bool = False, password: bool = False, title: str = ""
) -> Shape:
    """CONNECT, with what is asked for; the parts have good lengths whatever the flags are."""
    flags = 2 | (4 | 1 << 3 if will else 0) | user << 7 | password << 6
    fields = [
        text("protocol name", "MQIsdp" if level == 3 else "MQTT"),
        Field("protocol level", bytes([level])),
        Field("connect flags", bytes([flags])),
        Field("keep alive", b"\0\0"),
    ]
    if level == 5:
        filled = [one for one in ALLOWED["CONNECT"] if one not in UNASKED] if title == "full" else []
        fields.append(props("CONNECT", *((one, VALUES[one]) for one in filled)))
    fields.append(text("client id", "malformed"))
    fields += will_fields(level) if will else []
    # MQTT 3.1 lets user name and password be missing although the flags announce them.
    if user:
        fields.append(text("user name", "user", may_end_before=level == 3))
    if password:
        fields.append(Field("password", string(b"\xffpass"), may_end_before=level == 3))
    return Shape(Kind.CONNECT, level, 0, tuple(fields), title)


def will_fields(level: int) -> list[Field]:
    """What CONNECT says of a will."""
    filled = props("will", *((one, VALUES[one]) for one in ALLOWED["will"]))
    topic, payload = text("will topic", "will/topic"), Field("will payload", string(b"\xffgone"))
    return [filled, topic, payload] if level == 5 else [topic, payload]


def _publishes(level: int) -> Iterator[Shape]:
    identity = Field("packet id", b"\x12\x34")
    payload = Field("payload", b"\xff\0payload", may_end_before=True, is_loose=True)
    for qos in (0, 1, 2):
        fields = [text("topic", "some/topic")] + [identity] * (qos > 0)
        if level == 5:
            # A payload that is text, since the properties say so.
            filled = [(one, VALUES[one]) for one in ALLOWED["PUBLISH"]] if qos == 1 else []
            fields.append(props("PUBLISH", *filled))
            payload = replace(payload, data=b"payload")
        yield Shape(Kind.PUBLISH, level, qos << 1, (*fields, payload), f"QoS {qos}")


def _acks(kind: Kind, level: int) -> Iterator[Shape]:
    flags, identity = 2 if kind == Kind.PUBREL else 0, Field("packet id", b"\x43\x21")
    yield Shape(kind, level, flags, (identity,), "short")
    if level == 5:
        filled = props(
            kind.name, *((one, VALUES[one]) for one in ALLOWED[kind.name]), may_end_before=True
        )
        code = Field("code", b"\0", may_end_before=True)
        yield Shape(kind, level, flags, (identity, code, filled), "long")


def _requests(level: int) -> Iterator[Shape]:
    """Each with two filters, of which the second may be missing."""
    for kind in (Kind.SUBSCRIBE, Kind.UNSUBSCRIBE):
        fields = [Field("packet id", b"\x12\x34")]
        if level == 5:
            fields.append(props(kind.name, *((one, VALUES[one]) for one in ALLOWED[kind.name])))
        for number, name in enumerate(("some/+/topic", "other/#"), 1):
            fields.append(text(f"filter {number}", name, may_end_before=number == 2))
            if kind == Kind.SUBSCRIBE:
                fields.append(Field(f"options {number}", b"\x01"))
        yield Shape(kind, level, 2, tuple(fields))
