"""Publishes to offline sessions, kills the broker, restarts it and counts what is left.

1,000 persistent sessions subscribe and leave; 20 messages of QoS 1 are published to each;
the broker is killed with SIGKILL, started again on its data, and each session comes back.
In every second run the segments of the log are small, so that checkpoints are made meanwhile.
With --random the kill comes at a random moment of the publishing, and what counts is what had been
acknowledged up to then.
Status 1 when Bellbird has lost a session or a message that it had acknowledged.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import packets
from broker import KINDS, SCRATCH, Broker
from packets import Kind
from swarm import Member, Swarm

PATIENCE_SECS = 60.0
QUIET_SECS = 10.0
SILENCE_AFTER_LOSS_SECS = 1.0
"""How long nothing may come before messages that are still missing count as lost."""

CONNECTING_AT_ONCE = 100
PUBLISHERS = 20
WINDOW = 100


@dataclass
class Load:
    """How much to do."""

    sessions: int
    messages: int

    @property
    def total(self) -> int:
        """Messages over all sessions."""
        return self.sessions * self.messages


@dataclass
class Result:
    """The count of one run."""

    broker: str
    acknowledged: int
    delivered: int
    lost: int
    duplicates: int
    disordered: int
    unknown: int
    sessions_present: int
    publish_secs: float
    restart_secs: float
    total_secs: float

    def faults(self, load: Load) -> list[str]:
        """What Bellbird must never show."""
        found = []
        if self.lost:
            found.append(f"{self.lost} acknowledged messages lost")
        if self.sessions_present != load.sessions:
            found.append(f"{load.sessions - self.sessions_present} acknowledged sessions lost")
        if self.disordered:
            found.append(f"{self.disordered} messages out of order")
        if self.unknown:
            found.append(f"{self.unknown} messages that nobody published to that session")
        return found


class Subscriber(Member):
    """Sets its session up: CONNECT and SUBSCRIBE at once, DISCONNECT after the SUBACK."""

    def __init__(self, address: tuple[str, int], number: int):
        super().__init__(address)
        self.subscribed = False
        self.outgoing += packets.connect(f"session-{number}", clean=False)
        self.outgoing += packets.subscribe(1, [(f"kill/{number}/#", 1)])

    def received(self, first: int, body: bytes) -> None:
        if first >> 4 == Kind.CONNACK:
            assert body == b"\0\0", f"unexpected CONNACK {body.hex()} of a new session"
        else:
            assert (first >> 4, body) == (Kind.SUBACK, b"\0\1\1"), f"{first:02x} {body.hex()}"
            self.subscribed = True
            self.outgoing += packets.disconnect()


class Publisher(Member):
    """Sends its share of the messages with a window of unacknowledged ones."""

    def __init__(self, address: tuple[str, int], number: int, load: Load):
        super().__init__(address)
        self.acknowledged: set[bytes] = set()
        self.waiting: dict[int, bytes] = {}
        self.left = iter(
            (session, message)
            for message in range(load.messages)
            for session in range(number, load.sessions, PUBLISHERS)
        )
        self.packet_id = 0
        self.outgoing += packets.connect(f"publisher-{number}")

    def received(self, first: int, body: bytes) -> None:
        if first >> 4 == Kind.CONNACK:
            for _ in range(WINDOW):
                self._publish_next()
            return
        assert (first >> 4, len(body)) == (Kind.PUBACK, 2), f"{first:02x} {body.hex()}"
        self.acknowledged.add(self.waiting.pop(int.from_bytes(body, "big")))
        self._publish_next()

    def _publish_next(self) -> None:
        for session, message in self.left:
            self.packet_id += 1
            payload = b"%d/%d" % (session, message)
            self.waiting[self.packet_id] = payload
            self.outgoing += packets.publish(
                f"kill/{session}/in", payload, qos=1, packet_id=self.packet_id
            )
            return


class Returner(Member):
    """Resumes its session after the restart and notes all that it gets.

    A PING after the last expected message has the last word, so that duplicates are seen too.
    """

    def __init__(self, address: tuple[str, int], number: int, expected: set[bytes]):
        super().__init__(address)
        self.number = number
        self.missing = set(expected)
        self.session_present = False
        self.payloads: list[bytes] = []
        self.pinged = self.done = False
        self.outgoing += packets.connect(f"session-{number}", clean=False)

    def received(self, first: int, body: bytes) -> None:
        match first >> 4:
            case Kind.PUBLISH:
                at = 2 + int.from_bytes(body[:2], "big")
                payload = body[at + 2 :]
                self.payloads.append(payload)
                self.missing.discard(payload)
                self.outgoing += packets.puback(int.from_bytes(body[at : at + 2], "big"))
            case Kind.CONNACK:
                assert body[1] == 0, f"session-{self.number} refused: {body.hex()}"
                self.session_present = body[0] == 1
            case Kind.PINGRESP:
                self.done = True
            case _:
                raise AssertionError(f"session-{self.number}: {first:02x} {body.hex()}")
        if not self.pinged and not (self.session_present and self.missing):
            self.pinged = True
            self.outgoing += packets.pingreq()


def one_run(broker: Broker, load: Load, kill_after: int | None) -> Result:
    """Does it all once, on an empty data directory; kill_after is in acknowledgements."""
    started = time.monotonic()
    broker.start()
    try:
        set_sessions_up(broker, load)
        publishing = time.monotonic()
        acknowledged = publish_and_kill(broker, load, kill_after)
        killed = time.monotonic()
        broker.start()
        ready = time.monotonic()
        returners = resume_sessions(broker, load, acknowledged)
    except BaseException:
        print(broker.log(), file=sys.stderr)
        raise
    finally:
        broker.kill()
    return count(
        broker, returners, acknowledged, (started, publishing, killed, ready, time.monotonic())
    )


def set_sessions_up(broker: Broker, load: Load) -> None:
    """Makes the sessions, a hundred at a time, and leaves them offline."""
    for start in range(0, load.sessions, CONNECTING_AT_ONCE):
        numbers = range(start, min(start + CONNECTING_AT_ONCE, load.sessions))
        with Swarm(Subscriber(broker.address, number) for number in numbers) as swarm:
            finished = swarm.run_until(
                lambda: all(member.closed for member in swarm.members), PATIENCE_SECS, QUIET_SECS
            )
            subscribed = sum(member.subscribed for member in swarm.members)
            assert finished, f"only {subscribed} of {len(numbers)} sessions could be set up"


def publish_and_kill(broker: Broker, load: Load, kill_after: int | None) -> set[bytes]:
    """Publishes, kills, and returns all that the broker acknowledged before its end."""
    members = [Publisher(broker.address, number, load) for number in range(PUBLISHERS)]
    goal = load.total if kill_after is None else kill_after
    with Swarm(members) as swarm:
        reached = swarm.run_until(
            lambda: sum(len(member.acknowledged) for member in members) >= goal,
            PATIENCE_SECS,
            QUIET_SECS,
        )
        broker.kill()
        # Acknowledgements that were still on their way count as well.
        swarm.run_until(
            lambda: all(member.closed for member in members), PATIENCE_SECS, QUIET_SECS
        )
    acknowledged = set().union(*(member.acknowledged for member in members))
    assert reached, f"only {len(acknowledged)} of {goal} PUBACKs"
    return acknowledged


def resume_sessions(broker: Broker, load: Load, acknowledged: set[bytes]) -> list[Returner]:
    """Connects each session again and lets it take what is there for it."""
    expected: list[set[bytes]] = [set() for _ in range(load.sessions)]
    for payload in acknowledged:
        expected[int(payload.split(b"/")[0])].add(payload)
    returners: list[Returner] = []
    for start in range(0, load.sessions, CONNECTING_AT_ONCE):
        numbers = range(start, min(start + CONNECTING_AT_ONCE, load.sessions))
        group = [Returner(broker.address, number, expected[number]) for number in numbers]
        with Swarm(group) as swarm:
            swarm.run_until(
                lambda: all(member.done or member.closed for member in swarm.members),
                PATIENCE_SECS,
                SILENCE_AFTER_LOSS_SECS,
            )
        returners += group
    return returners


def count(
    broker: Broker, returners: list[Returner], acknowledged: set[bytes], times: tuple[float, ...]
) -> Result:
    """Compares what came back with what had been acknowledged."""
    started, publishing, killed, ready, ended = times
    delivered, copies, disordered, unknown = set(), 0, 0, 0
    for member in returners:
        delivered.update(member.payloads)
        copies += len(member.payloads)
        first_copies = list(dict.fromkeys(member.payloads))
        numbers = [int(payload.split(b"/")[1]) for payload in first_copies]
        disordered += sum(later < earlier for earlier, later in zip(numbers, numbers[1:]))
        unknown += sum(int(payload.split(b"/")[0]) != member.number for payload in first_copies)
    return Result(
        broker=broker.kind,
        acknowledged=len(acknowledged),
        delivered=len(delivered),
        lost=len(acknowledged - delivered),
        duplicates=copies - len(delivered),
        disordered=disordered,
        unknown=unknown,
        sessions_present=sum(member.session_present for member in returners),
        publish_secs=killed - publishing,
        restart_secs=ready - killed,
        total_secs=ended - started,
    )


HEADER = (
    f"{'run':>4} {'broker':<10} {'acknowledged':>12} {'delivered':>9} {'lost':>6} {'duplicates':>10} "
    f"{'sessions present':>16} {'publish s':>9} {'restart s':>9} {'run s':>6}"
)


def row(run: int, result: Result) -> str:
    """One line of the table under HEADER."""
    return (
        f"{run:>4} {result.broker:<10} {result.acknowledged:>12} {result.delivered:>9} "
        f"{result.lost:>6} {result.duplicates:>10} {result.sessions_present:>16} "
        f"{result.publish_secs:>9.2f} {result.restart_secs:>9.3f} {result.total_secs:>6.2f}"
    )


def summary(kind: str, results: list[Result]) -> str:
    """The sums over all runs of one broker."""
    return (
        f"{kind}: {len(results)} runs, {sum(result.acknowledged for result in results)} acknowledged, "
        f"{sum(result.lost for result in results)} of them lost, "
        f"{sum(result.duplicates for result in results)} duplicates, "
        f"restart median {statistics.median(result.restart_secs for result in results):.3f} s"
    )


def small_segments(directory: Path) -> str:
    """Settings with which checkpoints are made all the time."""
    settings = directory / "bellbird.toml"
    settings.write_text("[store]\nsegment_bytes = 65536\n")
    return str(settings)


def main() -> int:
    """Runs what the command line asks for and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broker", choices=KINDS, default="bellbird")
    parser.add_argument("--beside", action="store_true", help="run mosquitto too, in turns")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--random", action="store_true", help="kill at a random moment")
    parser.add_argument("--seed", type=int, default=None, help="of the random moments")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=20, help="per session")
    options = parser.parse_args()

    load = Load(options.sessions, options.messages)
    seed = options.seed if options.seed is not None else time.time_ns() % 1_000_000
    moments = random.Random(seed)
    kinds = list(dict.fromkeys([options.broker, *(["mosquitto"] if options.beside else [])]))
    results: dict[str, list[Result]] = {kind: [] for kind in kinds}
    faults: list[str] = []
    SCRATCH.mkdir(parents=True, exist_ok=True)
    if options.random:
        print(f"killing at random moments, seed {seed}")
    print(HEADER)
    for run in range(1, options.runs + 1):
        kill_after = moments.randrange(load.total) if options.random else None
        for kind in kinds:
            with tempfile.TemporaryDirectory(dir=SCRATCH, prefix="kill-") as directory:
                broker = KINDS[kind](Path(directory) / "data", options.shards)
                if kind == "bellbird" and run % 2 == 0:
                    broker.arguments = ["--config", small_segments(Path(directory))]
                result = one_run(broker, load, kill_after)
            results[kind].append(result)
            print(row(run, result), flush=True)
            if kind == "bellbird":
                faults += [f"run {run}: {fault}" for fault in result.faults(load)]
    for kind in kinds:
        print(summary(kind, results[kind]))
    for fault in faults:
        print(f"failed: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
