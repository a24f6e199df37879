"""One run of kills: a broker on one data directory, everybody who lives on it, and their accidents."""

import contextlib
import os
import random
import signal
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from broker import Broker, bellbird_binary
from client_store import Kept
from kill_load_checks import (
    Reader,
    RetainedLedger,
    WillLedger,
    is_under_way,
    judge_files,
    judge_metrics,
)
from kill_load_clients import Client, MortalClient, Observer, Publisher
from kill_load_faults import Fault
from kill_load_plan import (
    HOLDERS,
    LANES,
    MORTALS,
    STREAMS,
    SUBSCRIPTIONS,
    WITNESSES,
    delivered_qos,
    lanes_of,
)
from kill_load_subscriber import Subscriber
from swarm import Swarm

SETTLE_EVERY = 10
"""Kills between two rests: seldom enough that queues and exchanges grow old, and files stay small."""

BACKLOG_MAX = 600
"""Deliveries that a client may be behind before publishers wait for it."""

PATIENCE_SECS = 60.0
QUIET_SECS = 10.0
"""How long nothing may come before a rest counts as reached, whatever is missing."""

TURN_SECS = 0.02
LIMITS = """\
queue_messages_max = 1000000
queue_bytes_max = 1073741824
"""
SMALL_SEGMENTS = "[store]\nsegment_bytes = 65536\n"


class Killer:
    """Kills a broker at a moment of its own, whatever the harness is doing then."""

    def __init__(self, broker: Broker, observer: Observer):
        self.broker, self.observer = broker, observer
        signal.signal(signal.SIGALRM, self._kill)

    def arm(self, secs: float) -> None:
        """Kills after so many seconds."""
        signal.setitimer(signal.ITIMER_REAL, max(secs, 0.0001))

    def disarm(self) -> None:
        """Kills no more."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _kill(self, *_) -> None:
        if self.broker.process is None:
            # It is being started just now.
            self.arm(0.001)
            return
        self.observer.is_killed = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.broker.process.child.pid, signal.SIGKILL)


class Run:
    """One data directory, and everybody who lives on it."""

    def __init__(self, broker: Broker, directory: Path, seed: int, fault: Fault | None = None):
        self.broker, self.directory, self.fault = broker, directory, fault
        self.tamper = fault.tamper if fault else None
        self.moments = random.Random(seed)
        self.observer = Observer()
        self.figures = self.observer.figures
        self.killer = Killer(broker, self.observer)
        self.retained = RetainedLedger()
        self.wills = WillLedger(self.observer)
        self.swarm = Swarm()
        self.published = dict.fromkeys(STREAMS, 0)
        self.settled = dict.fromkeys(STREAMS, 0)
        self.owed: Counter[str] = Counter()
        """Of each session or group: deliveries since the last rest."""
        self.is_publishing = True
        self.output = ""
        """What the broker said in its last life."""
        self.checkpoints: set[Path] = set()
        """Those that were there at a kill."""
        self.restart_secs: list[float] = []
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.sessions = directory / "clients"
        self.sessions.mkdir()
        self.clients: dict[str, Client] = {}
        for name in [*SUBSCRIPTIONS, *STREAMS, *MORTALS]:
            self.rebuild(name)

    @property
    def complaints(self) -> list[tuple[str, str]]:
        """What was wrong so far."""
        return self.observer.complaints

    @property
    def publishers(self) -> list[Publisher]:
        return [self.clients[name] for name in STREAMS]

    @property
    def subscribers(self) -> list[Subscriber]:
        return [self.clients[name] for name in SUBSCRIPTIONS]

    # --- clients ----------------------------------------------------------------------------------

    def rebuild(self, name: str) -> None:
        """Makes a client out of its file."""
        if name in STREAMS:
            client = Publisher(name, self.sessions, self.observer)
            client.window = self.moments.choice((1, 5, 20, 60))
            client.on_taken = lambda numbers: [self.retained.note_taken(name, one) for one in numbers]
        elif name in SUBSCRIPTIONS:
            client = Subscriber(name, self.sessions, self.observer)
        else:
            client = MortalClient(name, self.sessions, self.observer, self.wills)
        client.tamper = self.tamper
        self.clients[name] = client

    def connect(self, name: str) -> None:
        """Connects a client, unless it is connected or the broker is gone."""
        client = self.clients[name]
        if client.connection is not None or self.observer.is_killed:
            return
        try:
            connection = client.open(self.broker.address)
        except OSError as error:
            if not self.observer.is_killed:
                self.observer.complain("disconnected", f"{name} cannot connect: {error}")
            return
        self.swarm.add(connection)
        self.swarm.flush(connection)

    def lose(self, name: str, *, takeover: bool = False) -> None:
        """Loses a client with its connection, which the broker does not notice with a takeover."""
        self.figures["clients lost"] += 1
        connection = self.clients[name].abandon(keeps=self.moments.random() < 0.5)
        if connection is not None:
            connection.outgoing.clear()
            if not takeover:
                self.swarm.remove(connection)
        self.rebuild(name)

    def cut(self, name: str) -> None:
        """Cuts the connection of a client, which goes on without its file."""
        client = self.clients[name]
        if client.connection is None:
            return
        client.flush()
        if name in MORTALS:
            self.wills.ended(name, client.number, "unsure" if client.is_leaving else "cut")
        connection, client.connection, client.is_up = client.connection, None, False
        connection.client = None
        self.swarm.remove(connection)

    # --- a life of the broker ---------------------------------------------------------------------

    def round(self, number: int, settles: bool) -> None:
        """Starts the broker, lets everybody at it, kills it."""
        moments = self.moments
        self.configure(number)
        kind = moments.choices(("start", "return", "load"), (12, 20, 68))[0]
        typical = statistics.median(self.restart_secs or [0.05])
        if settles:
            moment = None
        elif kind == "start":
            moment = moments.uniform(0, 1.3 * typical)
        elif kind == "return":
            moment = typical + moments.uniform(0, 0.1)
        else:
            moment = typical + moments.uniform(0.1, 1.4)
        self.live(moment, settles)

    def configure(self, number: int) -> None:
        """Another number of shards in each life, and small segments in every second."""
        self.broker.shards = (1, 2, 4)[number % 3]
        if self.broker.kind == "bellbird":
            settings = self.directory / "bellbird.toml"
            limits = (self.fault and self.fault.settings) or LIMITS
            segments = SMALL_SEGMENTS if number % 2 else ""
            settings.write_text(f"[limits]\n{limits}\n[sys]\ninterval_secs = 0\n{segments}")
            self.broker.arguments = ["--config", str(settings)]
            # Nobody else can take a port while the broker is away that it does not ask for.
            self.broker.port = 0

    def live(self, moment: float | None, settles: bool) -> None:
        """One life; it ends at this moment, or after a rest."""
        self.observer.life += 1
        self.observer.is_killed = False
        if moment is not None:
            self.killer.arm(moment)
        if self.start():
            self.return_all(settles)
            while not self.observer.is_killed and not settles:
                self.turn()
            if settles:
                self.settle()
                self.schedule(0.3)
                self.killer.arm(self.moments.uniform(0, 0.3))
                while not self.observer.is_killed:
                    self.turn()
        self.killer.disarm()
        self.bury()

    def start(self) -> bool:
        """Starts the broker; False if it was killed before it was ready."""
        started = time.monotonic()
        try:
            self.broker.start()
        except AssertionError as error:
            if not self.observer.is_killed:
                self.observer.complain("start", str(error))
                self.observer.is_killed = True
            self.figures["killed while starting"] += 1
            return False
        self.restart_secs.append(time.monotonic() - started)
        return True

    def return_all(self, settles: bool) -> None:
        """Most clients come back, some stay away; and a number of accidents are put on the list."""
        names = list(self.clients)
        self.moments.shuffle(names)
        for name in names:
            away = SUBSCRIPTIONS[name].away if name in SUBSCRIPTIONS else 0.1
            # Whoever has a will may stay away during a rest: it has to be heard then.
            if (settles and name not in MORTALS) or self.moments.random() >= away:
                client = self.clients[name]
                if isinstance(client, Subscriber):
                    client.is_eager = not settles and self.moments.random() < 0.3
                    client.holds_from = 0 if settles else self.holding()
                self.connect(name)
        if not settles:
            self.schedule(1.5)

    def holding(self) -> int:
        """From which packet on a subscriber stops acknowledging; 0 for most."""
        return self.moments.choice((0, 0, 0, 0, 2, self.moments.randint(2, 300)))

    def schedule(self, secs: float) -> None:
        """Accidents at random moments of the next seconds."""
        accidents = self.lose_one, self.cut_one, self.take_over_one, self.leave_one, self.bring_back
        weights = [3, 2, 1, 2, 3]
        now = time.monotonic()
        self.due = [(now + self.moments.uniform(0, 0.02), self.read_retained)]
        for _ in range(self.moments.randint(2, 8)):
            accident = self.moments.choices(accidents, weights)[0]
            self.due.append((now + self.moments.uniform(0, secs), accident))
        for accident in (self.read_retained, self.acknowledge_again, self.bring_back, self.scrape):
            self.due.append((now + self.moments.uniform(0.05, secs), accident))
        self.due.sort(key=lambda entry: entry[0], reverse=True)

    def turn(self) -> None:
        """Everybody's next step."""
        self.swarm.turn(TURN_SECS)
        for name, client in list(self.clients.items()):
            if client.is_lost:
                self.lose(name)
                self.connect(name)
        for member in [one for one in self.swarm.members if isinstance(one, Reader) and one.closed]:
            self.swarm.remove(member)
        self.publish()
        while self.due and self.due[-1][0] <= time.monotonic() and not self.observer.is_killed:
            self.due.pop()[1]()
        if self.broker.process.child.poll() is not None and not self.observer.is_killed:
            self.observer.complain("ended", "the broker ended by itself")
            self.observer.is_killed = True

    def publish(self) -> None:
        """Has publishers go on, unless somebody who listens is far behind."""
        if not self.is_publishing or self.behind() > BACKLOG_MAX:
            return
        for publisher in self.publishers:
            published = publisher.fill()
            if published:
                newest, name = publisher.kept.last_number, publisher.name
                for number in range(newest - published + 1, newest + 1):
                    self.retained.note_sent(name, number)
                    self.owed.update(one for one in HOLDERS if number % LANES in lanes_of(one, name))
                self.published[name] = newest
                self.swarm.flush(publisher.connection)

    def behind(self) -> int:
        """How far the slowest of those is that are there and acknowledge."""
        return max(
            (
                self.owed[one.name] - one.count
                for one in self.subscribers
                if one.is_up and not one.holds_from and not one.subscription.group
            ),
            default=0,
        )

    def bury(self) -> None:
        """The broker is dead: some clients go with it, others read what came before its end."""
        self.broker.kill()
        self.figures["kills"] += 1
        self.checkpoints.update(self.broker.directory.glob("*.checkpoint"))
        for name, client in self.clients.items():
            if client.connection is not None and (client.is_lost or self.moments.random() < 0.25):
                self.lose(name)
        for member in [one for one in self.swarm.members if one.closed or isinstance(one, Reader)]:
            self.swarm.remove(member)
        deadline = time.monotonic() + QUIET_SECS
        while any(not member.closed for member in self.swarm.members):
            assert time.monotonic() < deadline, "connections to a dead broker are open"
            self.swarm.turn(1.0)
        for name in [name for name, client in self.clients.items() if client.is_lost]:
            self.lose(name)
        for member in list(self.swarm.members):
            self.swarm.remove(member)
        self.judge_groups()
        self.output, self.broker.past_output = self.broker.past_output, ""
        for line in self.output.splitlines():
            if any(word in line for word in ("LOST", "panicked", "damaged")):
                self.observer.complain("log", line)

    def end(self) -> None:
        """Ends the broker and closes all that is open."""
        self.killer.disarm()
        self.broker.kill()
        self.output = self.output or self.broker.past_output
        for member in list(self.swarm.members):
            self.swarm.remove(member)
        self.swarm.selector.close()
        for client in self.clients.values():
            client.store.close()

    def judge_groups(self) -> None:
        """No two members of a group may have the same message of QoS 2."""
        for members in self.groups().values():
            for name in STREAMS:
                owner: dict[int, str] = {}
                for member in members:
                    for number in member.had[name]:
                        other = owner.setdefault(number, member.name)
                        if other != member.name and delivered_qos(member.name, (name, number)) == 2:
                            text = f"{other} and {member.name} have {name} {number} of QoS 2"
                            self.observer.complain("doubled", text)

    def groups(self) -> dict[str, list[Subscriber]]:
        """The members of each group."""
        names = {one.subscription.group for one in self.subscribers} - {""}
        return {
            name: [one for one in self.subscribers if one.subscription.group == name]
            for name in sorted(names)
        }

    # --- accidents --------------------------------------------------------------------------------

    def lose_one(self) -> None:
        """After its next packets, a client is lost."""
        client = self.clients[self.moments.choice(list(self.clients))]
        client.fuse = self.moments.choice((1, 2, self.moments.randint(1, 60)))

    def cut_one(self) -> None:
        name = self.present()
        if not name:
            return
        self.cut(name)
        if self.moments.random() < 0.7:
            client = self.clients[name]
            if isinstance(client, Subscriber):
                client.is_eager = self.moments.random() < 0.5
                client.fuse = self.moments.choice((0, 2, 3))
            self.connect(name)

    def take_over_one(self) -> None:
        """A client with the same file comes while the broker still has the other's connection."""
        name = self.present()
        if name:
            self.lose(name, takeover=True)
            self.connect(name)

    def present(self) -> str:
        """A client that has its CONNACK: of two CONNECT on their way, the broker may take the later
        one first, and then ends the wrong connection with good reason."""
        name = self.moments.choice(list(self.clients))
        return name if self.clients[name].is_up else ""

    def leave_one(self) -> None:
        client = self.clients[self.moments.choice([*SUBSCRIPTIONS, *MORTALS, *MORTALS])]
        if client.is_up and not client.is_leaving:
            client.leave()
            self.swarm.flush(client.connection)

    def bring_back(self) -> None:
        for name in self.clients:
            if self.moments.random() < 0.5:
                self.connect(name)

    def acknowledge_again(self) -> None:
        for subscriber in self.subscribers:
            if subscriber.connection is not None and self.moments.random() < 0.7:
                subscriber.acknowledge_again()
                self.swarm.flush(subscriber.connection)

    def read_retained(self) -> None:
        with contextlib.suppress(OSError):
            reader = Reader(self.broker.address, self.retained, self.observer, self.tamper)
            self.swarm.add(reader)
            self.swarm.flush(reader)

    def scrape(self, *, at_rest: bool = False) -> None:
        """Judges the metrics; a broker that is killed meanwhile has none."""
        if self.broker.kind != "bellbird":
            return
        metrics = self.metrics()
        deadline = time.monotonic() + QUIET_SECS
        # A will with a delay may be said once more just now.
        while at_rest and metrics and is_under_way(metrics) and time.monotonic() < deadline:
            self.turn()
            metrics = self.metrics()
        if metrics and not self.observer.is_killed:
            judge_metrics(metrics, self.observer, at_rest=at_rest)

    def metrics(self) -> dict[str, float]:
        """What the broker counts; nothing if it cannot say."""
        try:
            return self.broker.metrics(QUIET_SECS)
        except OSError as error:
            if not self.observer.is_killed:
                self.observer.complain("metrics", str(error))
            return {}

    # --- rest -------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Lets everything come to an end, and compares what is in the files."""
        self.is_publishing, self.due = False, []
        for client in self.clients.values():
            client.fuse = 0
        quiet_since, deadline = time.monotonic(), time.monotonic() + PATIENCE_SECS
        last, reason = None, "start"
        while reason and not self.observer.is_killed:
            self.turn()
            for name in [*SUBSCRIPTIONS, *STREAMS]:
                self.connect(name)
            state = self.figures.total(), len(self.wills.missing(self.fresh_wills()))
            if state != last:
                last, quiet_since = state, time.monotonic()
            reason = self.unsettled()
            now = time.monotonic()
            if reason and (now - quiet_since > QUIET_SECS or now > deadline):
                self.observer.complain("rest", f"no rest: {reason}")
                break
        self.ask_all()
        self.judge()
        self.is_publishing = True

    def ask_all(self) -> None:
        """A round trip for everybody: the broker has taken what they said, and they what it said."""
        asked = [client for client in self.clients.values() if client.is_up]
        for client in asked:
            client.ask()
            self.swarm.flush(client.connection)
        deadline = time.monotonic() + QUIET_SECS
        while any(not client.is_answered for client in asked if client.is_up):
            if time.monotonic() > deadline:
                self.observer.complain("rest", "no answer to PINGREQ")
                return
            self.turn()

    def unsettled(self) -> str:
        """What is still on its way."""
        for client in (*self.subscribers, *self.publishers):
            if not client.is_up:
                return f"{client.name} is not connected"
            if client.kept.sending or client.kept.arriving:
                return f"{client.name}: {client.kept.sending} {client.kept.arriving}"
        for subscriber in self.subscribers:
            if not subscriber.subscription.group and subscriber.count < self.owed[subscriber.name]:
                return f"{subscriber.name} has {subscriber.count} of {self.owed[subscriber.name]}"
        for group, members in self.groups().items():
            had = sum(len(set().union(*(one.had[name] for one in members))) for name in STREAMS)
            if had < self.owed[group]:
                return f"group {group} has {had} of {self.owed[group]}"
        missing = self.wills.missing(self.fresh_wills())
        return f"wills {missing}" if missing else ""

    def fresh_wills(self) -> dict[str, Counter]:
        """Wills that the witnesses have heard since the last rest."""
        return {name: self.clients[name].wills for name in WITNESSES}

    def judge(self) -> None:
        """Compares everything, from the files of the clients and from what the broker says."""
        reader = Reader(self.broker.address, self.retained, self.observer, self.tamper)
        self.swarm.add(reader)
        self.swarm.flush(reader)
        self.swarm.run_until(lambda: reader.closed, QUIET_SECS, QUIET_SECS)
        if not reader.done:
            self.observer.complain("retained", "no answer to SUBSCRIBE and PINGREQ")
        self.swarm.remove(reader)
        for client in self.clients.values():
            client.flush()
        files = {name: self.clients[name].store.read() for name in SUBSCRIPTIONS}
        sent = self.published
        judge_files(files, self.settled, sent, self.observer)
        fresh = {name: wills_of(files[name]) for name in WITNESSES}
        self.wills.settle(fresh)
        self.scrape(at_rest=True)
        self.settled = dict(sent)
        self.owed.clear()
        for name in [*SUBSCRIPTIONS, *STREAMS]:
            self.renew(name)
        self.figures["rests"] += 1

    def renew(self, name: str) -> None:
        """Begins a client's file anew, and puts another client into its connection."""
        old = self.clients[name]
        connection, old.connection = old.connection, None
        old.store.rewrite(old.kept, self.settled if name in SUBSCRIPTIONS else {})
        old.store.close()
        self.rebuild(name)
        new = self.clients[name]
        new.connection, new.is_up = connection, old.is_up
        if connection is not None:
            connection.client = new

    def check_store(self) -> None:
        """`bellbird store check` finds no damage in what the kill left."""
        if self.broker.kind != "bellbird":
            return
        program = [bellbird_binary(), "store", "check", str(self.broker.directory)]
        checked = subprocess.run(program, capture_output=True, text=True, timeout=QUIET_SECS)
        if checked.returncode:
            self.observer.complain("store", checked.stdout + checked.stderr)

    def play(self, runs: int) -> Iterator[int]:
        """All kills; yields the number of each, and ends after one that brought a complaint."""
        self.configure(0)
        self.live_first()
        for number in range(1, runs + 1):
            settles = number % SETTLE_EVERY == 0 or number == runs
            self.round(number, settles)
            if settles:
                self.check_store()
            yield number
            if self.complaints:
                return
            if self.fault:
                self.fault.between(self.broker.directory, number)

    def live_first(self) -> None:
        """Everybody subscribes, once and for all, before the first kill; it is not counted."""
        self.is_publishing = False
        self.observer.life += 1
        if not self.start():
            return
        for name in SUBSCRIPTIONS:
            self.connect(name)
        is_ready = lambda: all(one.kept.subscribed for one in self.subscribers)  # noqa: E731
        self.swarm.run_until(is_ready, PATIENCE_SECS, QUIET_SECS)
        assert is_ready(), "not everybody could subscribe"
        self.is_publishing = True
        self.observer.is_killed = True
        self.bury()
        self.figures["kills"] = 0


def wills_of(kept: Kept) -> Counter:
    """The wills in a file."""
    return Counter(key for key, _ in kept.receipts if key[0] in MORTALS)
