"""What a client keeps of its session on disk, so that its packet ids outlive it.

A file of lines that only grows. The client notes what it is about to do and flushes before its bytes
leave, so what the file says is what another client with the same name has to go on with.
"""

from dataclasses import dataclass, field
from pathlib import Path

Key = tuple[str, int]
"""A message: the name of its stream, and its number there."""


@dataclass
class Sending:
    """An outgoing message that the broker has not taken over completely."""

    number: int
    released: bool = False


@dataclass
class Kept:
    """All that a file says."""

    connections: int = 0
    established: bool = False
    subscribed: bool = False
    last_number: int = 0
    sending: dict[int, Sending] = field(default_factory=dict)
    arriving: dict[int, Key] = field(default_factory=dict)
    """Packet ids of QoS 2 that were received and not yet released."""
    freed: set[int] = field(default_factory=set)
    """Packet ids that were released since the file began."""
    settled: dict[str, int] = field(default_factory=dict)
    """Of each stream, everything up to this number is here."""
    receipts: list[tuple[Key, int]] = field(default_factory=list)
    """Messages in the order of their arrival, with the QoS they came with; repetitions included."""


class ClientStore:
    """The file of one client."""

    def __init__(self, path: Path):
        self.path = path
        self.buffer: list[str] = []
        self.file = path.open("a")

    def note(self, line: str) -> None:
        """Adds a line, which is on the disk after the next flush."""
        self.buffer.append(line)

    def flush(self) -> None:
        """Writes what was noted."""
        if self.buffer:
            self.file.write("\n".join(self.buffer) + "\n")
            self.file.flush()
            self.buffer.clear()

    def close(self) -> None:
        """Closes the file; what was not flushed is lost."""
        self.buffer.clear()
        self.file.close()

    def read(self) -> Kept:
        """What the file says."""
        kept = Kept()
        for line in self.path.read_text().splitlines():
            what, *words = line.split(" ")
            _NOTES[what](kept, *words)
        return kept

    def rewrite(self, kept: Kept, settled: dict[str, int]) -> None:
        """Begins the file anew with what is left to know; up to these numbers all was received."""
        lines = [f"connect {kept.connections}", f"number {kept.last_number}"]
        lines += ["established"] * kept.established + ["subscribed"] * kept.subscribed
        for packet_id, sending in kept.sending.items():
            lines.append(f"send {packet_id} {sending.number}")
            lines += [f"release {packet_id}"] * sending.released
        lines += [f"take {packet_id} {name} {n}" for packet_id, (name, n) in kept.arriving.items()]
        # The broker may not have noted the end of an exchange yet, and ask again.
        lines += [f"freed {packet_id}" for packet_id in kept.freed]
        lines += [f"settled {stream} {number}" for stream, number in settled.items()]
        successor = self.path.with_suffix(".new")
        successor.write_text("\n".join(lines) + "\n")
        successor.rename(self.path)
        self.file.close()
        self.file = self.path.open("a")


def _connect(kept: Kept, number: str) -> None:
    kept.connections = int(number)


def _established(kept: Kept) -> None:
    kept.established = True


def _subscribed(kept: Kept) -> None:
    kept.subscribed = True


def _number(kept: Kept, number: str) -> None:
    kept.last_number = int(number)


def _send(kept: Kept, packet_id: str, number: str) -> None:
    kept.sending[int(packet_id)] = Sending(int(number))
    kept.last_number = max(kept.last_number, int(number))


def _release(kept: Kept, packet_id: str) -> None:
    kept.sending[int(packet_id)].released = True


def _done(kept: Kept, packet_id: str) -> None:
    del kept.sending[int(packet_id)]


def _take(kept: Kept, packet_id: str, stream: str, number: str) -> None:
    kept.arriving[int(packet_id)] = (stream, int(number))
    kept.receipts.append(((stream, int(number)), 2))


def _free(kept: Kept, packet_id: str) -> None:
    del kept.arriving[int(packet_id)]
    kept.freed.add(int(packet_id))


def _freed(kept: Kept, packet_id: str) -> None:
    kept.freed.add(int(packet_id))


def _message(kept: Kept, stream: str, number: str) -> None:
    kept.receipts.append(((stream, int(number)), 1))


def _settled(kept: Kept, stream: str, number: str) -> None:
    kept.settled[stream] = int(number)


_NOTES = {
    "connect": _connect,
    "established": _established,
    "subscribed": _subscribed,
    "number": _number,
    "send": _send,
    "release": _release,
    "done": _done,
    "take": _take,
    "free": _free,
    "freed": _freed,
    "message": _message,
    "settled": _settled,
}
