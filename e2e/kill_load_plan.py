"""Who publishes what to whom under the kills: streams, subscriptions, groups and wills.

A message says its stream and its number, and both say everything else about it: topic, QoS, RETAIN and
payload. So whoever gets one can judge it, and one that is sent again is the same to the byte.
"""

from dataclasses import dataclass
from functools import cache

from client_store import Key

LANES = 4
"""Topics of a stream: its messages go to one after the other."""

PADDING = b"." * 8192
WILL_DELAY_SECS = 1


@dataclass(frozen=True)
class Stream:
    """What one publisher publishes."""

    name: str
    level: int
    qos: tuple[int, ...]
    """The QoS of its messages, in turns."""
    root: str = "load"
    retain: bool = False
    clears: int = 0
    """Every so manieth message has no payload, and clears its topic's retained message."""
    lowest_ids: bool = False
    """Takes the lowest packet id that is free, so that each is used again as soon as possible."""

    def topic_of(self, number: int) -> str:
        return f"{self.root}/{self.name}/{number % LANES}"

    def qos_of(self, number: int) -> int:
        return self.qos[number % len(self.qos)]

    def is_clearing(self, number: int) -> bool:
        return self.clears > 0 and number % self.clears == 0

    def payload_of(self, number: int) -> bytes:
        if self.is_clearing(number):
            return b""
        length = 6000 if number % 101 == 0 else number * 7919 % 700
        return b"%s %d %s" % (self.name.encode(), number, PADDING[:length])


@dataclass(frozen=True)
class Subscription:
    """A session with its filters; a member of a group if `group` names one."""

    name: str
    level: int
    filters: tuple[tuple[str, int], ...]
    group: str = ""
    away: float = 0.05
    """How likely its client stays away for a round."""
    receive_maximum: int = 0

    @property
    def holder(self) -> str:
        """Who has to get a message: the group, or the session itself."""
        return self.group or self.name


@dataclass(frozen=True)
class Mortal:
    """A client with a will in each CONNECT, whose payload names the connection."""

    name: str
    level: int
    qos: int
    delay_secs: int = 0
    clean: bool = False

    @property
    def topic(self) -> str:
        return f"will/{self.name}"


STREAMS = {
    stream.name: stream
    for stream in (
        Stream("p1", 4, (1,)),
        Stream("p2", 5, (1,), lowest_ids=True),
        Stream("p3", 4, (2,), lowest_ids=True),
        Stream("p4", 5, (2,)),
        Stream("p5", 4, (1, 2), lowest_ids=True),
        # All messages of one topic have one QoS: one of QoS 1 that comes twice may overtake one of
        # QoS 2 that does not, and then it is right that it is the retained one.
        Stream("p6", 5, (2, 1), retain=True),
        Stream("p7", 4, (1, 2), root="kept", retain=True, clears=7),
    )
}

WILLS = ("will/#", 2)
SUBSCRIPTIONS = {
    each.name: each
    for each in (
        Subscription("s1", 4, (("load/#", 1),)),
        Subscription("s2", 4, (("load/#", 2), WILLS)),
        Subscription("s3", 5, (("load/+/0", 1), ("load/p5/#", 2))),
        Subscription("s4", 5, (("load/#", 2), WILLS), receive_maximum=10),
        Subscription("s5", 4, (("load/+/1", 2),), away=0.5),
        Subscription("s6", 5, (("load/+/2", 1), ("load/p4/+", 2)), away=0.5),
        Subscription("a1", 4, (("$share/a/load/#", 1),), group="a"),
        Subscription("a2", 5, (("$share/a/load/#", 1),), group="a"),
        Subscription("a3", 5, (("$share/a/load/#", 1),), group="a", away=0.5),
        Subscription("b1", 4, (("$share/b/load/#", 2),), group="b"),
        Subscription("b2", 5, (("$share/b/load/#", 2),), group="b"),
        Subscription("b3", 4, (("$share/b/load/#", 2),), group="b", away=0.5),
    )
}
WITNESSES = [each.name for each in SUBSCRIPTIONS.values() if WILLS in each.filters]
HOLDERS = list(dict.fromkeys(each.holder for each in SUBSCRIPTIONS.values()))

MORTALS = {
    mortal.name: mortal
    for mortal in (
        Mortal("w1", 4, 2),
        Mortal("w2", 5, 1),
        Mortal("w3", 5, 2, delay_secs=WILL_DELAY_SECS),
        Mortal("w4", 4, 2, clean=True),
        Mortal("w5", 5, 2, delay_secs=WILL_DELAY_SECS),
    )
}


def matches(pattern: str, topic: str) -> bool:
    """Whether a filter of the plan matches a topic."""
    levels = topic.split("/")
    wanted = pattern.split("/")[2 if pattern.startswith("$share/") else 0 :]
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at >= len(levels) or level not in ("+", levels[at]):
            return False
    return len(wanted) == len(levels)


@cache
def granted(subscription: str, topic: str) -> int:
    """The highest QoS with which this session gets this topic; 0 if it does not."""
    filters = SUBSCRIPTIONS[subscription].filters
    return max((qos for pattern, qos in filters if matches(pattern, topic)), default=0)


def delivered_qos(subscription: str, key: Key) -> int:
    """The QoS that this message has to come with; 0 if it must not come."""
    name, number = key
    stream = STREAMS[name]
    return min(stream.qos_of(number), granted(subscription, stream.topic_of(number)))


@cache
def lanes_of(holder: str, stream: str) -> frozenset[int]:
    """The lanes of a stream that this session or group gets."""
    one = next(each.name for each in SUBSCRIPTIONS.values() if each.holder == holder)
    return frozenset(
        lane for lane in range(LANES) if granted(one, STREAMS[stream].topic_of(lane)) > 0
    )
