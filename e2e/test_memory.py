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
def broker(tmp_path, shards) -> Iterator[Watched]:
    """A broker that may have 32 MiB."""
    settings = tmp_path / "bellbird.toml"
    settings.write_text(f"[limits]\nmemory_bytes_max = {CEILING_BYTES}\nhandshake_secs = 60\n")
    broker = Watched(tmp_path / "data", shards)
    broker.arguments.append(f"--config={settings}")
    with shown(broker):
        yield broker


def test_queues_fill_the_memory_and_nothing_acknowledged_is_lost(broker):
    """Forty sessions are away, each with room for 1 MiB: more than the broker may have."""
    for number in range(SESSIONS):
        with Client(broker.address, 5) as client:
            client.connect(f"away-{number}", clean=False, props={Property.SESSION_EXPIRY: 3600})
            client.subscribe((f"to/{number}", 1))
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
            with Client(broker.address, 5) as client:
                client.connect(f"away-{number}", clean=False, props={Property.SESSION_EXPIRY: 3600})
                for _ in range(acknowledged[number]):
                    client.expect_message(BODY)
                client.ping()
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
