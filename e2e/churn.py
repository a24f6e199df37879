"""Turns everything over ten times and looks at what is left: on the disk and in memory.

In each turn persistent sessions subscribe and leave, get more messages than a segment of the log
holds, and come back for them; retained messages are replaced by others; sessions of the turn
before, which kept messages that nobody fetched, are ended. Then nothing of the turn is alive.
Status 1 when the directory or the process do not come back to about where they began.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import packets
from broker import SCRATCH, Broker
from kill import CONNECTING_AT_ONCE, PATIENCE_SECS, QUIET_SECS, Returner, Subscriber
from packets import Kind
from swarm import Member, Swarm

SESSIONS = 400
MESSAGES = 100
RETAINED = 1000
LEFT_BEHIND = 100
WINDOW = 100
PAYLOAD = b"." * 500

SETTLE_SECS = 150.0
"""Memory goes back to the system at most once a minute."""
DISK_BYTES = 4 * (16 << 20) + (4 << 20)
"""What docs/store.md allows beside what lives: four segments; and what lives here."""
MEMORY_BYTES = 32 << 20
"""What the process may keep beyond what it had at the start."""


class Sender(Member):
    """Publishes with a window of unacknowledged messages."""

    def __init__(self, address: tuple[str, int], messages: Iterator[tuple[str, bytes, bool]]):
        super().__init__(address)
        self.messages = messages
        self.packet_id = self.open = 0
        self.done = False
        self.outgoing += packets.connect("sender")

    def received(self, first: int, body: bytes) -> None:
        if first >> 4 == Kind.CONNACK:
            for _ in range(WINDOW):
                self._send_next()
            return
        assert (first >> 4, len(body)) == (Kind.PUBACK, 2), f"{first:02x} {body.hex()}"
        self.open -= 1
        self._send_next()
        self.done = self.open == 0

    def _send_next(self) -> None:
        for topic, payload, retain in self.messages:
            self.packet_id = self.packet_id % 65535 + 1
            self.open += 1
            self.outgoing += packets.publish(
                topic, payload, qos=1, packet_id=self.packet_id, retain=retain
            )
            return


class Ender(Member):
    """Ends a session by a clean start."""

    def __init__(self, address: tuple[str, int], number: int):
        super().__init__(address)
        self.done = False
        self.outgoing += packets.connect(f"session-{number}", clean=True)

    def received(self, first: int, body: bytes) -> None:
        assert (first >> 4, body) == (Kind.CONNACK, b"\0\0"), f"{first:02x} {body.hex()}"
        self.done = True


def messages(turn: int) -> Iterator[tuple[str, bytes, bool]]:
    """Those of one turn: to be fetched, to be left behind, and to be retained."""
    for number in range(MESSAGES):
        for session in [*range(SESSIONS), *left_behind(turn)]:
            yield f"kill/{session}/in", b"%d/%d" % (session, number) + PAYLOAD, False
    for topic in range(RETAINED):
        yield f"kept/{topic}", b"%d" % turn + PAYLOAD, True


def left_behind(turn: int) -> range:
    """Sessions that nobody comes back to."""
    return range(SESSIONS + turn * LEFT_BEHIND, SESSIONS + (turn + 1) * LEFT_BEHIND)


def in_groups(address: tuple[str, int], kind: type[Member], numbers: list, *arguments) -> None:
    """One member for each number, a hundred at a time, until each is done."""
    for start in range(0, len(numbers), CONNECTING_AT_ONCE):
        group = [kind(address, number, *arguments) for number in numbers[start:][:CONNECTING_AT_ONCE]]
        with Swarm(group) as swarm:
            finished = swarm.run_until(
                lambda: all(member.closed or member.done for member in swarm.members),
                PATIENCE_SECS,
                QUIET_SECS,
            )
            assert finished, f"{kind.__name__}: {sum(not member.closed for member in group)} wait"


class Mover(Subscriber):
    """Is done once it has left."""

    done = False


class Fetcher(Returner):
    """Takes all that waits."""

    def __init__(self, address: tuple[str, int], number: int):
        expected = {b"%d/%d" % (number, message) + PAYLOAD for message in range(MESSAGES)}
        super().__init__(address, number, expected)


def one_turn(broker: Broker, turn: int) -> None:
    """Fills and drains."""
    in_groups(broker.address, Mover, [*range(SESSIONS if turn == 0 else 0), *left_behind(turn)])
    with Swarm([Sender(broker.address, messages(turn))]) as swarm:
        sender = swarm.members[0]
        assert swarm.run_until(lambda: sender.done, PATIENCE_SECS, QUIET_SECS), "no PUBACK"
    if turn:
        in_groups(broker.address, Ender, list(left_behind(turn - 1)))
    in_groups(broker.address, Fetcher, list(range(SESSIONS)))


def disk_bytes(directory: Path) -> int:
    """What the data take; files come and go."""
    sizes = 0
    for file in directory.iterdir():
        try:
            sizes += file.stat().st_size
        except FileNotFoundError:
            continue
    return sizes


def resident_bytes(pid: int) -> int:
    """What the process has in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def main() -> int:
    """Prints a line for each turn, and what became of it all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=10)
    turns = parser.parse_args().turns
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="churn-", dir=SCRATCH) as scratch:
        broker = Broker(Path(scratch) / "data")
        broker.start()
        pid = broker.pid
        try:
            first = resident_bytes(pid)
            print(f"{'turn':>4} {'disk MB':>8} {'memory MB':>9}", flush=True)
            for turn in range(turns):
                one_turn(broker, turn)
                disk, memory = disk_bytes(broker.directory), resident_bytes(pid)
                print(f"{turn + 1:>4} {disk / 1e6:>8.1f} {memory / 1e6:>9.1f}", flush=True)
            in_groups(broker.address, Ender, list(left_behind(turns - 1)))
            deadline = time.monotonic() + SETTLE_SECS
            while True:
                disk, memory = disk_bytes(broker.directory), resident_bytes(pid)
                if disk <= DISK_BYTES and memory <= first + MEMORY_BYTES:
                    break
                if time.monotonic() > deadline:
                    break
                in_groups(broker.address, Ender, [0])
        finally:
            broker.kill()
    print(f" end {disk / 1e6:>8.1f} {memory / 1e6:>9.1f}, {first / 1e6:.1f} MB at the start")
    return int(disk > DISK_BYTES or memory > first + MEMORY_BYTES)


if __name__ == "__main__":
    sys.exit(main())
