"""Faults that the checks under kills must find: planted into the broker's files, or into the wire."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import packets
from kill_load_plan import LANES, STREAMS
from packets import Kind

Packets = list[tuple[int, bytes]]
UNUSED_ID = 60_000
"""A packet id that no run gets to."""

DATA_BYTES_MIN = 8192


class Fault:
    """A broker that is wrong in one thing; this one in nothing."""

    def __init__(self, name: str, *checks: str, broker: str = "bellbird", settings: str = ""):
        self.name, self.checks, self.broker, self.settings = name, set(checks), broker, settings
        self.runs = 10
        self.planted: int | None = None
        """How often, where that is counted."""

    def between(self, directory: Path, number: int) -> None:
        """After a kill, before the next start."""

    def tamper(self, client, first: int, body: bytes) -> Packets:
        """What becomes of a packet on its way to a client."""
        return [(first, body)]


def all_faults(chance: random.Random) -> list[Fault]:
    """Each of them once, and before them a run without any, in which nothing may be found."""
    return [
        Fault("no fault"),
        Fault("mosquitto, which writes its state every half an hour", "session", broker="mosquitto"),
        Fault("a queue of 20 messages", "lost", "dropped", settings="queue_messages_max = 20"),
        InFiles("the data is gone", empty, "session"),
        InFiles("the oldest file is gone", delete_oldest, "session", "lost", "start", "log"),
        InFiles("the newest segment is gone", delete_newest, "lost", "doubled", "session", "will"),
        InFiles(
            "the newest segment lacks its last KiB",
            lambda directory: truncate_newest(directory, chance.randint(4096, DATA_BYTES_MIN)),
            *("lost", "doubled", "session", "will", "packet id", "retained", "log"),
        ),
        OldBackup("an old copy of the data", "lost", "doubled", "session", "packet id", "retained"),
        OnWire("a message that does not arrive", swallow, "lost"),
        OnWire("a message of QoS 2 twice", double, "doubled"),
        Passing("a message of QoS 2 to two members of a group", "doubled"),
        OnWire("a packet id that is in use", reuse_id, "packet id"),
        OnWire("a repetition without DUP", clear_dup, "packet id"),
        OnWire("a PUBACK with another packet id", shift_puback, "packet id"),
        OnWire("a PUBACK that refuses", refuse, "refused"),
        Swapping("two messages in the wrong order", "order"),
        OnWire("no session present", hide_session, "session"),
        OnWire("a lower QoS", lower_qos, "stranger"),
        OnWire("an old retained message", age_retained, "retained"),
        OnWire("no retained message", hide_retained, "retained"),
        OnWire("the will of another connection", exchange_will, "will", every=1),
        OnWire("a will that is not said", swallow_will, "will", every=1),
    ]


# --- files ----------------------------------------------------------------------------------------


class InFiles(Fault):
    """Does something once to the data of a broker that has been killed."""

    def __init__(self, name: str, change: Callable[[Path], bool], *checks: str):
        super().__init__(name, *checks)
        self.change, self.is_done = change, False

    def between(self, directory: Path, number: int) -> None:
        if number >= 4 and not self.is_done:
            self.is_done = self.change(directory)


class OldBackup(Fault):
    """Puts the data back to where it was some kills ago."""

    def between(self, directory: Path, number: int) -> None:
        copy = directory.with_name("copy")
        if number == 3:
            shutil.copytree(directory, copy, ignore=shutil.ignore_patterns("*.sock"))
        elif number == 7:
            shutil.rmtree(directory)
            copy.rename(directory)


def empty(directory: Path) -> bool:
    """Removes all data."""
    shutil.rmtree(directory)
    return True


def delete_oldest(directory: Path) -> bool:
    """Removes the file that everything began in, or the checkpoint of it."""
    min([*directory.glob("*.log"), *directory.glob("*.checkpoint")]).unlink()
    return True


def delete_newest(directory: Path) -> bool:
    """Removes the newest segment, once there is something in it."""
    newest = max(directory.glob("*.log"))
    if data_bytes(newest) < DATA_BYTES_MIN:
        return False
    newest.unlink()
    return True


def truncate_newest(directory: Path, count: int) -> bool:
    """Cuts so many bytes of data off the newest segment, once it has them."""
    newest = max(directory.glob("*.log"))
    end = data_bytes(newest)
    if end < DATA_BYTES_MIN:
        return False
    with newest.open("r+b") as file:
        file.truncate(end - count)
    return True


def data_bytes(segment: Path) -> int:
    """How far a segment is written; zeros come behind."""
    return len(segment.read_bytes().rstrip(b"\0"))


# --- the wire -------------------------------------------------------------------------------------


class OnWire(Fault):
    """Changes some of the packets that clients get."""

    def __init__(
        self, name: str, change: Callable[..., Packets | None], *checks: str, every: int = 20
    ):
        super().__init__(name, *checks)
        self.change, self.every, self.seen, self.planted = change, every, 0, 0

    def tamper(self, client, first: int, body: bytes) -> Packets:
        changed = self.change(client, first, body)
        if changed is None:
            return [(first, body)]
        self.seen += 1
        if self.seen % self.every:
            return [(first, body)]
        self.planted += 1
        if not changed and is_publish(first, 1):
            # As if the broker took it for acknowledged.
            client.say(packets.puback(parts(body, client.level)[1]))
        return changed


class Swapping(Fault):
    """Lets a message be overtaken by the next one of its stream."""

    def __init__(self, name: str, *checks: str):
        super().__init__(name, *checks)
        self.held: tuple[int, bytes] | None = None

    def tamper(self, client, first: int, body: bytes) -> Packets:
        if client.name != "s1" or b"p1 " not in body or first >> 4 != Kind.PUBLISH:
            return [(first, body)]
        if self.held is None:
            self.held = (first, body)
            return []
        overtaken, self.held = self.held, None
        return [(first, body), overtaken]


class Passing(Fault):
    """Shows a message of one member to another one as well."""

    def __init__(self, name: str, *checks: str):
        super().__init__(name, *checks)
        self.copy: bytes | None = None

    def tamper(self, client, first: int, body: bytes) -> Packets:
        if client.name == "b1" and is_publish(first, 2) and self.copy is None:
            topic, _, payload = parts(body, 4)
            self.copy = packets.string(topic) + UNUSED_ID.to_bytes(2, "big") + b"\0" + payload
        elif client.name == "b2" and self.copy and is_publish(first, 2):
            copy, self.copy = self.copy, b""
            return [(first, body), (Kind.PUBLISH << 4 | 4, copy)]
        return [(first, body)]


def is_publish(first: int, qos: int) -> bool:
    """Whether this is a PUBLISH of this QoS that is no repetition."""
    return first & 0xFE == Kind.PUBLISH << 4 | qos << 1


def parts(body: bytes, level: int) -> tuple[bytes, int, bytes]:
    """Topic, packet id and payload of a PUBLISH with QoS 1 or 2 and without properties."""
    at = 2 + int.from_bytes(body[:2], "big")
    return body[2:at], int.from_bytes(body[at : at + 2], "big"), body[at + 2 + (level == 5) :]


def with_id(body: bytes, packet_id: int) -> bytes:
    """The same PUBLISH under another packet id."""
    at = 2 + int.from_bytes(body[:2], "big")
    return body[:at] + packet_id.to_bytes(2, "big") + body[at + 2 :]


def swallow(client, first: int, body: bytes) -> Packets | None:
    """A message does not arrive, and no other member gets it."""
    is_it = client.name in ("a1", "a2") and is_publish(first, 1) and not client.holds_from
    return [] if is_it else None


def double(client, first: int, body: bytes) -> Packets | None:
    """As if the broker had forgotten that it had sent the message."""
    if client.name != "s2" or not is_publish(first, 2) or b"will/" in body[:8]:
        return None
    return [(first, body), (first, with_id(body, UNUSED_ID))]


def reuse_id(client, first: int, body: bytes) -> Packets | None:
    """As if the broker had forgotten which packet ids are not released."""
    if client.name not in ("s2", "s4") or not is_publish(first, 2) or not client.kept.arriving:
        return None
    client.open_ids.clear()
    return [(first, with_id(body, next(iter(client.kept.arriving))))]


def clear_dup(client, first: int, body: bytes) -> Packets | None:
    """[MQTT-3.3.1-1] not kept."""
    if first >> 4 != Kind.PUBLISH or not first & 8 or first >> 1 & 3 != 2:
        return None
    if parts(body, client.level)[1] not in client.kept.arriving:
        return None
    return [(first & ~8, body)]


def shift_puback(client, first: int, body: bytes) -> Packets | None:
    """The acknowledgement of something else."""
    if first >> 4 != Kind.PUBACK or client.name not in STREAMS:
        return None
    return [(first, (UNUSED_ID).to_bytes(2, "big") + body[2:])]


def refuse(client, first: int, body: bytes) -> Packets | None:
    """Quota exceeded."""
    if first >> 4 != Kind.PUBACK or client.level != 5:
        return None
    return [(first, body[:2] + b"\x97")]


def hide_session(client, first: int, body: bytes) -> Packets | None:
    """[MQTT-3.2.2-2] not kept."""
    if first >> 4 != Kind.CONNACK or body[0] != 1:
        return None
    return [(first, b"\0" + body[1:])]


def lower_qos(client, first: int, body: bytes) -> Packets | None:
    """QoS 1 for what was published and subscribed to with QoS 2."""
    if client.name != "s2" or not is_publish(first, 2):
        return None
    return [(first & ~6 | 2, body)]


def retained_number(client, first: int, body: bytes) -> tuple[bytes, int] | None:
    """Topic and number of a retained message that a reader gets."""
    if client.name != "reader" or first != Kind.PUBLISH << 4 | 1:
        return None
    at = 2 + int.from_bytes(body[:2], "big")
    return body[2:at], int(body[at:].split(b" ", 2)[1])


def age_retained(client, first: int, body: bytes) -> Packets | None:
    """The value of long ago."""
    found = retained_number(client, first, body)
    if found is None or found[1] <= 30 * LANES:
        return None
    topic, number = found
    older = next(one for one in range(number - 30 * LANES, number, LANES) if one % 7)
    payload = STREAMS[topic.split(b"/")[1].decode()].payload_of(older)
    return [(first, packets.string(topic) + payload)]


def hide_retained(client, first: int, body: bytes) -> Packets | None:
    """Nothing where something is."""
    found = retained_number(client, first, body)
    return [] if found and found[0].startswith(b"load/") else None


def exchange_will(client, first: int, body: bytes) -> Packets | None:
    """What an earlier connection wanted said; the same again in a repetition."""
    if first >> 4 != Kind.PUBLISH or b"w1 " not in body[:20]:
        return None
    head, number, rest = body.rsplit(b" ", 2)
    return None if int(number) % 3 else [(first, b"%s %d %s" % (head, int(number) - 1, rest))]


def swallow_will(client, first: int, body: bytes) -> Packets | None:
    """One that came with QoS 1 does not arrive."""
    is_it = client.name == "s2" and is_publish(first, 1) and b"w2 " in body[:20]
    return [] if is_it else None
