"""System calls of the broker for one delivery on the main paths, beside those that were noted.

Clients go a course in lockstep: twenty messages in one write, and the next twenty when all is
answered. strace counts the calls of two runs, a short and a long one, and what the long one has
more is what its messages took: the start, the end and the timers are in both. Beside
counts/baseline.json a course may cost 5 % more or less; with --rebase the file is written anew.
"""

import argparse
import re
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import baseline
import packets
from broker import KINDS
from mqtt import Client
from packets import Kind

KEY = "system calls"
BATCH = 20
"""Messages of one write."""
LEVEL = 4
BESIDE = {"futex", "mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "accept4", "close",
          "shutdown", "epoll_ctl", "exit", "rt_sigprocmask", "sigaltstack"}
"""How threads wait for each other, memory, and connections that come and go: not of a message."""


class Course:
    """One publisher, subscribers to its topic; all of them get each message."""

    def __init__(self, qos: int, subscribers: int, *, away: bool = False):
        self.qos, self.subscribers, self.away = qos, subscribers, away
        # Of the short run and of the long one. An absent session has room for so many messages.
        self.rounds = (10, 45) if away else (50, 250)

    def deliveries(self, rounds: int) -> int:
        """What the calls are divided by."""
        return rounds * BATCH * self.subscribers

    def go(self, address: tuple[str, int], rounds: int) -> None:
        """Publishes so many batches, each when the one before has arrived and is answered."""
        with ExitStack() as stack:
            def client(name: str, **options) -> Client:
                opened = stack.enter_context(Client(address, LEVEL))
                opened.connect(name, **options)
                return opened

            subscribers = [client(f"s{number}", clean=not self.away)
                           for number in range(self.subscribers)]
            for one in subscribers:
                one.subscribe(("a/b", self.qos))
            if self.away:
                for one in subscribers:
                    one.disconnect()
                subscribers = []
            publisher = client("p")
            for _ in range(rounds):
                self.batch(publisher, subscribers)

    def batch(self, publisher: Client, subscribers: list[Client]) -> None:
        """One round."""
        ids = range(1, BATCH + 1) if self.qos else [0] * BATCH
        publisher.send(b"".join(
            packets.publish("a/b", b"x" * 16, LEVEL, qos=self.qos, packet_id=packet_id)
            for packet_id in ids))
        for packet_id in ids if self.qos else ():
            publisher.expect(Kind.PUBACK, packet_id=packet_id)
        for one in subscribers:
            got = [one.expect(Kind.PUBLISH).packet_id for _ in range(BATCH)]
            if self.qos:
                one.send(b"".join(map(packets.puback, got)) + packets.pingreq())
                one.expect(Kind.PINGRESP)


COURSES = {
    "1:1 of QoS 0": Course(0, 1),
    "1:1 of QoS 1": Course(1, 1),
    "1:1 of QoS 1, durable, away": Course(1, 1, away=True),
    "1:100 of QoS 0": Course(0, 100),
}


def traced(course: Course, rounds: int, scratch: Path) -> dict[str, int]:
    """How often the broker called what."""
    log = scratch / f"calls-{rounds}"
    strace = ["strace", "-f", "-qq", "-c", f"-o{log}"]
    broker = KINDS["bellbird"](scratch / f"data-{rounds}", 1, strace)
    with broker:
        course.go(broker.address, rounds)
        broker.stop()
    line = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", re.MULTILINE)
    return {name: int(count) for count, name in line.findall(log.read_text()) if name != "total"}


def count(course: Course) -> dict[str, float]:
    """Calls for one delivery, by name."""
    with tempfile.TemporaryDirectory() as scratch:
        short, long = (traced(course, rounds, Path(scratch)) for rounds in course.rounds)
    few, many = course.rounds
    deliveries = course.deliveries(many - few)
    more = {name: (calls - short.get(name, 0)) / deliveries for name, calls in long.items()}
    return {name: each for name, each in more.items() if name not in BESIDE and each >= 0.0005}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rebase", action="store_true", help="note what is counted now")
    options = parser.parse_args()
    counted = {name: count(course) for name, course in COURSES.items()}
    sums = {name: round(sum(calls.values()), 3) for name, calls in counted.items()}
    if options.rebase:
        baseline.note({KEY: sums})
    parts = {name: ", ".join(f"{call} {each:.3f}" for call, each in sorted(calls.items()))
             for name, calls in counted.items()}
    noted = baseline.read().get(KEY, {})
    wrong = baseline.show("system calls for one delivery", noted, sums, digits=3, parts=parts)
    return baseline.blame(wrong, "python3 e2e/calls.py")


if __name__ == "__main__":
    sys.exit(main())
