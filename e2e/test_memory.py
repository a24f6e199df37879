"""The ceiling of the broker's memory: what it does without, and that it recovers."""

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import packets
import pytest
from broker import shown
from mqtt import Client
from packets import Kind, Property
from test_admin import Watched

pytestmark = pytest.mark.bellbird

MIB = 1 << 20
CEILING_BYTES = 32 * MIB
BODY = b"x" * 100_000
SESSIONS = 40
STRANGERS = 450
QUOTA_EXCEEDED, SERVER_BUSY = 0x97, 0x89


@pytest.fixture
def queue_memory_bytes():
    """The default."""
    return 256 * 1024


@pytest.fixture
def broker(tmp_path, shards, queue_memory_bytes) -> Iterator[Watched]:
    """A broker that may have 32 MiB."""
    settings = tmp_path / "bellbird.toml"
    settings.write_text(
        f"[limits]\nmemory_bytes_max = {CEILING_BYTES}\nhandshake_secs = 60\n"
        f"queue_memory_bytes = {queue_memory_bytes}\n"
    )
    broker = Watched(tmp_path / "data", shards)
    broker.arguments.append(f"--config={settings}")
    with shown(broker):
        yield broker


def test_queues_leave_memory_before_they_fill_it(broker):
    """Forty sessions are away, each with 1 MB waiting: more than the broker may have."""
    go_away(broker)
    with Client(broker.address, 5) as publisher:
        publisher.connect("publisher")
        for place in range(10 * SESSIONS):
            assert publish(publisher, f"to/{place % SESSIONS}") == 0
        metrics = broker.metrics()
        assert metrics["bellbird_queued_bytes"] > CEILING_BYTES
        assert metrics["bellbird_queued_memory_bytes"] < CEILING_BYTES // 2
        assert stage(broker) == "ample"
        for number in range(SESSIONS):
            come_back(broker, number, 10)
        assert publish(publisher, "to/0") == 0


# The sixteenth that stays of it when memory gets tight is more than the broker has.
@pytest.mark.parametrize("queue_memory_bytes", [1 << 30])
def test_queues_fill_the_memory_and_nothing_acknowledged_is_lost(broker):
    """The same, but that the operator wants all of it in memory."""
    go_away(broker)
    with Client(broker.address, 5) as publisher:
        publisher.connect("publisher")
        acknowledged = [0] * SESSIONS
        for place in range(10 * SESSIONS):
            number = place % SESSIONS
            reason = publish(publisher, f"to/{number}")
            assert reason in (0, QUOTA_EXCEEDED)
            acknowledged[number] += reason == 0
            if reason:
                break
        assert reason == QUOTA_EXCEEDED
        assert 200 < sum(acknowledged) < 330, "32 MiB of 100 kB each"
        assert stage(broker) == "exhausted"
        assert peak_bytes(broker) < CEILING_BYTES * 6 // 5 + 16 * MIB
        with Client(broker.address, 5) as stranger:
            stranger.send(packets.connect("stranger", 5))
            assert stranger.expect(Kind.CONNACK).code == SERVER_BUSY
        for number in range(SESSIONS):
            come_back(broker, number, acknowledged[number])
        assert stage(broker) == "ample"
        assert publish(publisher, "to/0") == 0
    log = broker.log()
    assert re.search(r"memory is exhausted: 3\d of 32 MiB in use; no messages", log), log
    assert re.search(r"memory is ample again", log), log


def test_half_packets_fill_the_memory_and_others_are_served_again(broker):
    """Strangers keep what is held for them just within bounds; what they say waits, or they go."""
    half = bytes([0x10]) + packets.varint(99_000) + bytes(80_000)
    with contextlib.ExitStack() as stack, Client(broker.address, 5) as client:
        client.connect("before")
        strangers = [stack.enter_context(Client(broker.address)) for _ in range(STRANGERS)]
        for stranger in strangers:
            stranger.send(half)
        deadline = time.monotonic() + 20
        while stage(broker) != "short" or publish(client, "t") == QUOTA_EXCEEDED:
            assert time.monotonic() < deadline
        assert peak_bytes(broker) < CEILING_BYTES * 6 // 5 + 16 * MIB


def go_away(broker: Watched) -> None:
    """Makes sessions whose clients are away."""
    for number in range(SESSIONS):
        with Client(broker.address, 5) as client:
            client.connect(f"away-{number}", clean=False, props={Property.SESSION_EXPIRY: 3600})
            client.subscribe((f"to/{number}", 1))


def come_back(broker: Watched, number: int, messages: int) -> None:
    """Takes all that waits for one of them."""
    with Client(broker.address, 5) as client:
        client.connect(f"away-{number}", clean=False, props={Property.SESSION_EXPIRY: 3600})
        for _ in range(messages):
            client.expect_message(BODY)
        client.ping()


def publish(client: Client, topic: str) -> int:
    """The reason code of the PUBACK."""
    packet_id = client.send_publish(topic, BODY)
    return client.expect(Kind.PUBACK, packet_id=packet_id).code


def stage(broker: Watched) -> str:
    """What the metrics say of the memory."""
    found = [name for name, value in broker.metrics().items() if "memory_stage" in name and value]
    return re.search(r'stage="(\w+)"', found[0])[1]


def peak_bytes(broker: Watched) -> int:
    """The most that the process ever had in memory."""
    status = Path(f"/proc/{broker.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
