"""The rows that e2e/compare measures: scenarios, the figures in them, and what is aimed at."""

import shlex

from disturbance import Removed, Slow, Walked, Wild


class Figure:
    """One row of the table: a number of a run's JSON."""

    def __init__(self, title, path, unit, aim="", limit=None, more_is_better=False, of_best=None,
                 then=None, of_sync=None):
        self.title, self.path, self.unit, self.aim = title, path, unit, aim
        self.limit, self.more_is_better = limit, more_is_better
        self.of_best, self.then, self.of_sync = of_best, then, of_sync
        """`then`: what the best peer had where the limit was set, and on that machine."""
        if of_best is not None:
            self.aim = f"≤ {of_best} × the best peer"
        if of_sync is not None:
            self.aim = f"≤ {of_sync} × the disk's p99"
        if then is not None:
            self.aim = f"{aim}, or {limit / then:.2f} × the best peer"

    def read(self, result):
        """The number in a result; None if the run did not give it."""
        for key in self.path.split("."):
            result = result.get(key) if isinstance(result, dict) else None
        return result

    def best(self, values):
        """The best of several brokers' medians; None if there is none."""
        choose = max if self.more_is_better else min
        return choose((value for value in values if value is not None), default=None)

    def verdict(self, value, peers, sync):
        """Whether the aim is met, where it is a number, or a part of the best peer's or of what
        the bare disk has."""
        limit, best = self.limit, self.best(peers)
        if self.of_best is not None and best is not None:
            limit = self.of_best * best
        if self.of_sync is not None and sync is not None:
            limit = self.of_sync * sync
        if limit is None or value is None:
            return ""
        if value >= limit if self.more_is_better else value <= limit:
            return "yes"
        if self.then is not None and best and value / best <= limit / self.then:
            return "as a ratio"
        return "no"


class Run:
    """A scenario, carried out once per broker and repetition."""

    def __init__(self, name, arguments, figures, durable=False, shards=1, timed=True,
                 killed=False, ours=False, disturbance=None, door="tcp"):
        self.name, self.arguments, self.figures = name, shlex.split(arguments), figures
        self.durable, self.shards, self.timed = durable, shards, timed
        self.killed, self.ours = killed, ours
        """Killed and started again between the phases `fill` and `drain`; our own broker only."""
        self.disturbance = disturbance
        """What is done to the broker meanwhile."""
        self.door = door
        """What carries MQTT: `tcp`, `tls`, `websocket` or `websocket-tls`."""

    @property
    def is_pinned(self):
        """More shards than one need more CPUs than one."""
        return self.shards == 1


CPU = "load.broker.us_per_message"
MICROS = "µs CPU per delivery"
RUNS = [
    Run("qos0", "--scenario pair --payload 16",
        [Figure("1:1 QoS 0, 16 B", CPU, MICROS, "≤ 0.2", 0.2, then=0.59)]),
    Run("qos0-256", "--scenario pair --payload 256",
        [Figure("1:1 QoS 0, 256 B", CPU, MICROS, "≤ 0.25", 0.25, then=0.67)]),
    Run("fan-in", "--scenario fan-in --payload 16",
        [Figure("fan-in 50:1 QoS 0, 16 B", CPU, MICROS, "≤ 0.25", 0.25, then=0.76)]),
    Run("fan-out", "--scenario fan-out --payload 64",
        [Figure("fan-out 1:100 QoS 0, 64 B", CPU, MICROS, "≤ 0.15", 0.15, then=0.48)]),
    Run("fan-out-1000", "--scenario fan-out --subscribers 1000 --payload 64",
        [Figure("fan-out 1:1000 QoS 0, 64 B", CPU, MICROS, "≤ 0.45", 0.45, then=0.84)]),
    Run("wild", "--scenario wild --payload 64",
        [Figure("50 + filters among 1,000, 50 publishers, QoS 0, 64 B", CPU, MICROS,
                "≤ 0.28", 0.28, then=0.52)]),
    Run("qos1", "--scenario pair --qos 1 --payload 64",
        [Figure("1:1 QoS 1, 64 B, clean sessions", CPU, MICROS, "≤ 1.0", 1.0, then=1.8)]),
    Run("qos2", "--scenario pair --qos 2 --payload 64",
        [Figure("1:1 QoS 2, 64 B, clean sessions", CPU, MICROS, "≤ 1.6", 1.6, then=3.4)]),
    *(Run(f"{door}-qos{qos}", f"--scenario pair --qos {qos} --payload {size}",
          [Figure(f"1:1 QoS {qos}, {size} B, over {name}", CPU, MICROS, of_best=1.0)], door=door)
      for door, name in (("tls", "TLS"), ("websocket", "WebSocket"),
                         ("websocket-tls", "WebSocket over TLS"))
      for qos, size in ((0, 256), (1, 64))),
    Run("tls-connect", "--scenario connect --clients 2000 --seconds 1",
        [Figure("2,000 connections over TLS: handshake and CONNECT", "connect.broker.us_per_message",
                "µs CPU each", of_best=1.0),
         Figure("2,000 connections over TLS, idle", "held.resident_bytes_each",
                "resident bytes each", of_best=1.0)], timed=False, door="tls"),
    Run("pairs-2000-qos0", "--scenario pair --publishers 2000 --outstanding 1",
        [Figure("2,000 pairs, one message under way, QoS 0", CPU, MICROS,
                of_best=1.0)]),
    Run("pairs-2000-qos1", "--scenario pair --publishers 2000 --outstanding 1 --qos 1",
        [Figure("2,000 pairs, one message under way, QoS 1", CPU, MICROS,
                of_best=0.75)]),
    Run("durable", "--scenario durable --payload 64",
        [Figure("durable QoS 1, 100 × 100 outstanding", "load.acknowledged_per_s",
                "acknowledged per second", "≥ 100,000 or the disk's ceiling", 100_000, True),
         Figure("durable QoS 1, acknowledgement p50", "load.ack_latency.p50_us", "µs"),
         Figure("durable QoS 1, acknowledgement p99", "load.ack_latency.p99_us", "µs"),
         Figure("durable QoS 1, CPU", CPU, MICROS)], durable=True),
    Run("durable-paced", "--scenario durable --payload 64 --rate 20000",
        [Figure("durable QoS 1, 20,000/s paced, acknowledgement p50", "load.ack_latency.p50_us",
                "µs"),
         Figure("durable QoS 1, 20,000/s paced, acknowledgement p99", "load.ack_latency.p99_us",
                "µs", of_sync=3)], durable=True),
    Run("offline", "--scenario offline --payload 64 --clients 1000 --messages 20",
        [Figure("offline 1,000 × 20: fill", "fill.broker.us_per_message", "µs CPU per message",
                "≤ 3", 3, then=4.2),
         Figure("offline 1,000 × 20: drain", "drain.broker.us_per_message", MICROS,
                "≤ 1.5", 1.5, then=1.9),
         Figure("offline 1,000 × 20: lost", "drain.lost", "messages", "0", 0)],
        durable=True, timed=False),
    Run("killed", "--scenario offline --payload 64 --clients 1000 --messages 20",
        [Figure("killed with 20,000 messages in 1,000 sessions: back after", "restart.answered_seconds",
                "s", "≤ 0.1", 0.1),
         Figure("killed with 20,000 messages in 1,000 sessions: lost of what was acknowledged",
                "drain.lost", "messages", "0", 0)],
        durable=True, timed=False, killed=True),
    Run("killed-million", "--scenario offline --payload 64 --clients 1000 --messages 1000",
        [Figure("killed with 1,000,000 messages in 1,000 sessions: back after", "restart.answered_seconds",
                "s", "≤ 2", 2),
         Figure("killed with 1,000,000 messages in 1,000 sessions: lost", "drain.lost",
                "messages", "0", 0)],
        durable=True, timed=False, killed=True, ours=True),
    Run("connect", "--scenario connect --clients 10000 --seconds 1",
        [Figure("10,000 connections, 100 at a time: CONNECT", "connect.broker.us_per_message",
                "µs CPU each", "≤ 13", 13, then=16.5),
         Figure("10,000 connections, idle", "held.resident_bytes_each", "resident bytes each",
                "≤ 500", 500)], timed=False),
    Run("subscribe", "--scenario subscribe --clients 100 --filters 1000",
        [Figure("100 clients × 1,000 filters: SUBSCRIBE", "subscribe.broker.us_per_message",
                "µs CPU each", "≤ 2.5", 2.5, then=4.8),
         Figure("100 clients × 1,000 filters: UNSUBSCRIBE", "unsubscribe.broker.us_per_message",
                "µs CPU each"),
         Figure("100 clients × 1,000 filters", "held.resident_bytes_each", "resident bytes each",
                "≤ 150", 150)], timed=False),
    Run("retained", "--scenario retained --topics 100000",
        [Figure("100,000 retained, QoS 0: store", "store.broker.us_per_message", "µs CPU each",
                "≤ 3", 3, then=5.2),
         Figure("100,000 retained", "held.resident_bytes_each", "resident bytes each",
                "≤ 300", 300),
         Figure("100,000 retained to a new subscriber", "replay.delivered_per_s", "per second",
                "≥ 600,000", 600_000, True),
         Figure("100,000 retained to a new subscriber: lost", "replay.lost", "messages",
                "0", 0)], timed=False),
    Run("shared", "--scenario shared --payload 16",
        [Figure("10 publishers to 10 who share a subscription, QoS 0, 16 B", CPU, MICROS,
                of_best=1.0)]),
    Run("paced0", "--scenario pair --rate 5000",
        [Figure("5,000/s paced QoS 0, CPU", CPU, MICROS, of_best=0.9),
         Figure("5,000/s paced QoS 0, latency p50", "load.latency.p50_us", "µs",
                of_best=1.05),
         Figure("5,000/s paced QoS 0, latency p99", "load.latency.p99_us", "µs")]),
    Run("paced1", "--scenario pair --qos 1 --rate 5000",
        [Figure("5,000/s paced QoS 1, CPU", CPU, MICROS, of_best=0.95),
         Figure("5,000/s paced QoS 1, latency p50", "load.latency.p50_us", "µs",
                of_best=1.05),
         Figure("5,000/s paced QoS 1, latency p99", "load.latency.p99_us", "µs")]),
    Run("removed", "--scenario pair --rate 5000",
        [Figure("the same while a million subscriptions end, p99", "load.latency.p99_us", "µs")],
        disturbance=Removed),
    Run("walked", "--scenario pair --rate 5000",
        [Figure("the same while 100 `#` ask for a million retained and do not read, p99",
                "load.latency.p99_us", "µs")], disturbance=Walked),
    Run("wild-20", "--scenario pair --rate 5000",
        [Figure("the same beside 1,024 filters of 20 levels with `+` in all combinations, p99",
                "load.latency.p99_us", "µs")], disturbance=Wild),
    Run("fan-out-paced", "--scenario fan-out --subscribers 999 --rate 50 --payload 1000",
        [Figure("50/s of 1 kB to 999, latency p99", "load.latency.p99_us", "µs")]),
    Run("slow", "--scenario fan-out --subscribers 999 --rate 50 --payload 1000",
        [Figure("the same while one more reads 1 kB/s, p99", "load.latency.p99_us", "µs")],
        disturbance=Slow),
    Run("paced-pairs", "--scenario pair --publishers 20 --rate 50000",
        [Figure("20 pairs, 50,000/s paced QoS 0, CPU", CPU, MICROS, of_best=0.9)]),
    Run("two-shards", "--scenario pair --payload 16",
        [Figure("two shards, not pinned: 1:1 QoS 0, 16 B", CPU, MICROS)], shards=2),
    Run("two-shards-fan-out", "--scenario fan-out --payload 64",
        [Figure("two shards, not pinned: fan-out 1:100, 64 B", CPU, MICROS)], shards=2),
]
