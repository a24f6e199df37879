"""What must be true of retained messages, wills and everything that was published, over all kills."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import packets
from client_store import Kept
from kill_load_clients import Observer
from kill_load_plan import HOLDERS, LANES, MORTALS, STREAMS, SUBSCRIPTIONS, WITNESSES, lanes_of
from packets import Kind
from swarm import Member

SHOWN = 5
"""Messages that a complaint names, of all those it is about."""

RETAINED = [stream for stream in STREAMS.values() if stream.retain]
FILTERS = [f"{stream.root}/{stream.name}/#" for stream in RETAINED]


class RetainedLedger:
    """Of each retained topic: what the broker has answered for, and what was sent to it."""

    def __init__(self):
        topics = [stream.topic_of(lane) for stream in RETAINED for lane in range(LANES)]
        self.taken = dict.fromkeys(topics, 0)
        self.sent = dict.fromkeys(topics, 0)
        self.stream_of = {stream.topic_of(lane): stream for stream in RETAINED for lane in range(LANES)}

    def note_sent(self, stream: str, number: int) -> None:
        self._note(self.sent, stream, number)

    def note_taken(self, stream: str, number: int) -> None:
        self._note(self.taken, stream, number)

    def may_be_clear(self, topic: str, taken: int) -> bool:
        """Whether the topic may have no retained message, if this was taken before the question."""
        numbers = range(taken, self.sent[topic] + 1, LANES)
        return taken == 0 or any(self.stream_of[topic].is_clearing(number) for number in numbers)

    @staticmethod
    def _note(numbers: dict[str, int], stream: str, number: int) -> None:
        topic = STREAMS[stream].topic_of(number)
        if topic in numbers:
            numbers[topic] = max(numbers[topic], number)


class Reader(Member):
    """Asks for all retained messages and judges them: the last acknowledged one, or a later one."""

    name, level = "reader", 4

    def __init__(
        self, address: tuple[str, int], ledger: RetainedLedger, observer: Observer, tamper=None
    ):
        super().__init__(address)
        self.tamper = tamper
        self.ledger, self.observer = ledger, observer
        # With QoS 0, so that nothing is dropped with its session.
        self.outgoing += packets.connect("", clean=True)
        self.outgoing += packets.subscribe(1, [(name, 0) for name in FILTERS])
        self.outgoing += packets.pingreq()
        self.taken = dict(ledger.taken)
        self.seen: dict[str, int] = {}
        self.done = False

    def received(self, first: int, body: bytes) -> None:
        for one in self.tamper(self, first, body) if self.tamper else ((first, body),):
            self._received(*one)

    def _received(self, first: int, body: bytes) -> None:
        if first >> 4 == Kind.PUBLISH and first & 1:
            self._judge(packets.decode(first, body))
        elif first >> 4 == Kind.PINGRESP:
            self._judge_missing()
            self.done = True
            self.observer.figures["retained read"] += len(self.seen)
            self.outgoing += packets.unsubscribe(2, FILTERS)
        elif first >> 4 == Kind.UNSUBACK:
            self.outgoing += packets.disconnect()

    def _judge(self, message: packets.Packet) -> None:
        topic, number = message.topic, int(message.payload.split(b" ", 2)[1])
        lowest, highest = self.taken[topic], self.ledger.sent[topic]
        self.seen[topic] = number
        is_whole = message.payload == self.ledger.stream_of[topic].payload_of(number)
        if not lowest <= number <= highest or number % LANES != int(topic[-1]) or not is_whole:
            self._complain(f"{topic} has {number} where {lowest} to {highest} can be")

    def _judge_missing(self) -> None:
        for topic, taken in self.taken.items():
            if topic not in self.seen and not self.ledger.may_be_clear(topic, taken):
                self._complain(f"{topic} has nothing, though {taken} was acknowledged")

    def _complain(self, text: str) -> None:
        self.observer.complain("retained", text)


@dataclass
class WillEntry:
    """What is to become of the will of one connection.

    `connecting`: CONNECT was sent. `up`: the will is stored. `owed`: it must be heard. `pending`: it
    must be heard once its delay is over, unless the client comes back. `left`: the client said
    goodbye. `never`: it must not be heard. `may`: nobody can know.
    """

    state: str
    life: int
    ended_at: float = 0.0
    ended_life: int = 0


class WillLedger:
    """The wills of all connections, and how often each was heard."""

    def __init__(self, observer: Observer):
        self.observer = observer
        self.entries: dict[tuple[str, int], WillEntry] = {}
        self.heard: dict[str, Counter] = {name: Counter() for name in WITNESSES}
        self.settled_life = 0

    def connecting(self, name: str, number: int) -> None:
        """CONNECT leaves."""
        self.entries[name, number] = WillEntry("connecting", self.observer.life)

    def up(self, name: str, number: int) -> None:
        """The broker has answered so that the will is stored, and what was before it is past."""
        now, life = time.monotonic(), self.observer.life
        self.entries[name, number].state = "up"
        for (other, before), entry in self.entries.items():
            if other != name or before >= number:
                continue
            if entry.state == "pending":
                is_back_in_time = now - entry.ended_at < MORTALS[name].delay_secs
                entry.state = "never" if is_back_in_time else "may"
            elif entry.state == "left":
                # The goodbye stands in the log before this connection, but for a kill in between.
                entry.state = "never" if entry.ended_life == life else "may"

    def ended(self, name: str, number: int, how: str) -> None:
        """The connection is over: by `goodbye`, `unsure` if it was heard, or `cut`."""
        entry = self.entries[name, number]
        entry.ended_at, entry.ended_life = time.monotonic(), self.observer.life
        if entry.state == "connecting" or how == "unsure":
            entry.state = "may"
        elif how == "goodbye":
            entry.state = "left"
        else:
            entry.state = "pending" if MORTALS[name].delay_secs else "owed"

    def expected(self) -> Iterator[tuple[str, int]]:
        """Wills that have to be heard if nobody comes back."""
        for (name, number), entry in self.entries.items():
            is_pending = entry.state == "pending" and (name, number + 1) not in self.entries
            if entry.state == "owed" or is_pending:
                yield name, number

    def missing(self, fresh: dict[str, Counter]) -> list[tuple[str, int]]:
        """Those of them that a witness has not heard, neither before nor now."""
        return [
            key
            for key in self.expected()
            if any(not self.heard[name][key] and not fresh[name][key] for name in WITNESSES)
        ]

    def settle(self, fresh: dict[str, Counter]) -> None:
        """Judges all wills, now that nothing is on its way; forgets those of long ago."""
        complain = self.observer.complain
        for key in self.missing(fresh):
            complain("will", f"{key} was not heard: {self.entries[key]}")
        for name in WITNESSES:
            self.heard[name].update(fresh[name])
        for key in set().union(*self.heard.values()):
            copies = [self.heard[name][key] for name in WITNESSES]
            entry = self.entries.get(key)
            if entry is None or entry.state in ("connecting", "up", "never", "left"):
                complain("will", f"{key} was heard {copies} times: {entry}")
            elif MORTALS[key[0]].qos == 2:
                # A crash between the publication and the note of it has it published again.
                lives = self.observer.life - entry.ended_life + 1
                if copies[0] != copies[1] or copies[0] > lives:
                    complain("will", f"{key} was heard {copies} times in {lives} lives: {entry}")
        for key, entry in list(self.entries.items()):
            # One that nobody could know about may still come.
            is_past = entry.ended_life <= self.settled_life or entry.state in ("owed", "never")
            if is_past and entry.state not in ("connecting", "up", "pending"):
                copies = self.heard[WITNESSES[0]][key]
                self.observer.figures["wills"] += copies
                self.observer.figures["wills twice"] += MORTALS[key[0]].qos == 2 and copies > 1
                for name in WITNESSES:
                    del self.heard[name][key]
                del self.entries[key]
        self.settled_life = self.observer.life


def judge_files(
    files: dict[str, Kept], before: dict[str, int], sent: dict[str, int], observer: Observer
) -> None:
    """Compares what all subscribers have on disk with what was published since the last time."""
    for holder in HOLDERS:
        members = [each.name for each in SUBSCRIPTIONS.values() if each.holder == holder]
        once, all_numbers = {name: Counter() for name in STREAMS}, {name: set() for name in STREAMS}
        for member in members:
            for (name, number), qos in files[member].receipts:
                if name in STREAMS:
                    all_numbers[name].add(number)
                    once[name][number] += qos == 2
        for name in STREAMS:
            lanes = lanes_of(holder, name)
            wanted = {n for n in range(before[name] + 1, sent[name] + 1) if n % LANES in lanes}
            lost = sorted(wanted - all_numbers[name])
            if lost:
                text = f"{holder} never got {len(lost)} of {name}: {lost[:SHOWN]}"
                observer.complain("lost", text)
            doubled = sorted(number for number, copies in once[name].items() if copies > 1)
            if doubled:
                text = f"{holder} got {len(doubled)} of {name} twice with QoS 2: {doubled[:SHOWN]}"
                observer.complain("doubled", text)
        if len(members) == 1:
            _judge_order(files[members[0]], holder, observer)


def _judge_order(kept: Kept, holder: str, observer: Observer) -> None:
    newest: dict[str, int] = {}
    firsts = dict.fromkeys(key for key, _ in kept.receipts if key[0] in STREAMS)
    for name, number in firsts:
        if number < newest.get(name, 0):
            observer.complain("order", f"{holder} got {name} {number} after {newest[name]}")
        newest[name] = number


def is_under_way(values: dict[str, float]) -> bool:
    """Whether a delivery has not come to its end."""
    return any(values[f"bellbird_deliveries_{name}"] for name in ("inflight", "queued", "unsent"))


def judge_metrics(values: dict[str, float], observer: Observer, *, at_rest: bool) -> None:
    """No delivery may be dropped for any reason; at rest, none may be on its way either."""
    for name, value in values.items():
        # A message of QoS 0 may be on its way to a reader that has left since. If anybody else's
        # session had ended, it would not be present, and what it waits for would be lost.
        if "session_ended" in name:
            continue
        if name.startswith("bellbird_deliveries_dropped_total{") and value:
            observer.complain("dropped", f"{name} is {value:.0f}")
    if not at_rest:
        return
    for name in ("inflight", "queued", "unsent"):
        if values[f"bellbird_deliveries_{name}"]:
            observer.complain("rest", f"{values[f'bellbird_deliveries_{name}']:.0f} {name} at rest")
    # A group is one, whoever its members are.
    filters = {(each.holder, pattern) for each in SUBSCRIPTIONS.values() for pattern, _ in each.filters}
    subscriptions = len(filters)
    if values["bellbird_subscriptions"] != subscriptions:
        text = f"{values['bellbird_subscriptions']:.0f} subscriptions instead of {subscriptions}"
        observer.complain("session", text)
