"""What an attack costs the broker, from outside and by its own account."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from broker import Broker

PATIENCE_SECS = 15.0
"""How long something may take that has to happen; reached on failure only."""
MIB = 1 << 20


def resident_bytes(broker: Broker) -> int:
    """What its process has in memory."""
    return int(Path(f"/proc/{broker.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def allocated_bytes(broker: Broker) -> float:
    """What it has allocated, by its own count."""
    return broker.metrics()["bellbird_memory_bytes"]


def descriptors(broker: Broker) -> int:
    """The files and sockets that are open there."""
    return len(os.listdir(f"/proc/{broker.pid}/fd"))


def stack_bytes(broker: Broker) -> int:
    """The stack of its first thread; those of others are in `resident_bytes`."""
    lines = Path(f"/proc/{broker.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmStk:"))) * 1024


def eventually(broker: Broker, what: str, holds: Callable[[], bool]) -> None:
    """Waits until something holds; between two looks the broker is asked for its metrics."""
    deadline = time.monotonic() + PATIENCE_SECS
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECS} s: {what}"
        broker.metrics()


def expect_descriptors(broker: Broker, most: int) -> None:
    """Waits until no more are open than these, but for one: that of whoever has just asked for metrics."""
    eventually(broker, f"at most {most} descriptors are open", lambda: descriptors(broker) <= most + 1)


def closed(broker: Broker, cause: str) -> int:
    """Connections that have ended for this cause."""
    return int(broker.metrics()[f'bellbird_connections_closed_total{{cause="{cause}"}}'])


def ended(broker: Broker) -> int:
    """Connections that have ended, or were refused before they had begun."""
    names = ("bellbird_connections_closed_total{", "bellbird_connections_refused_total{")
    return int(sum(value for key, value in broker.metrics().items() if key.startswith(names)))


def dropped(broker: Broker, reason: str) -> int:
    """Deliveries that were dropped for this reason."""
    return int(broker.metrics()[f'bellbird_deliveries_dropped_total{{reason="{reason}"}}'])


def assert_unhurt(broker: Broker) -> None:
    """The process runs, and nothing in its log speaks of a panic."""
    assert broker.process.child.poll() is None, f"the broker has ended:\n{broker.log()}"
    assert "panic" not in broker.log(), broker.log()
