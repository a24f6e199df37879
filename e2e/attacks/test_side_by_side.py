"""All attackers at once: what `half_open.py` measures in times, in counts.

A stream of QoS 1 goes on behind them: each message arrives once and in order. The process stays within its
limit, lets in who comes afterwards, and gives back what it had for the attackers.
"""

import re
from pathlib import Path

import mqtt
import pytest
from broker import Broker

from attacks.attackers import KINDS, Attackers
from attacks.measure import MIB, assert_unhurt, descriptors, expect_descriptors

pytestmark = pytest.mark.bellbird

LIMIT_BYTES = 256 * MIB
SETTINGS = f"""[limits]
memory_bytes_max = {LIMIT_BYTES * 3 // 4}
retained_bytes_max = {LIMIT_BYTES // 8}
handshake_secs = 2
"""
HALF_OPEN = 500
COUNT = 1500


def peak_bytes(broker: Broker) -> int:
    """The most that the process ever had in memory."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{broker.pid}/status").read_text())[1]) * 1024


def test_a_stream_goes_on_behind_all_of_them(launch, client):
    """Fifteen hundred messages at the pace of their acknowledgements, while nine attackers do their worst."""
    broker = launch(SETTINGS)
    subscriber, publisher = client(broker, "stream-in"), client(broker, "stream-out")
    subscriber.subscribe(("stream/t", 1))
    open_before = descriptors(broker)
    with Attackers(broker, list(KINDS), half_open=HALF_OPEN) as attackers:
        for number in range(COUNT):
            publisher.publish("stream/t", b"%d" % number)
            message = subscriber.expect_message(b"%d" % number)
            assert not message.dup
        with mqtt.Client(broker.address, 5) as stranger:
            stranger.connect("stranger")
            stranger.ping()
        assert_unhurt(broker)
    assert set(attackers.deeds) == set(KINDS), "each of them was at work to the end"
    assert all(attackers.deeds.values()), attackers.deeds
    publisher.ping()
    subscriber.ping()
    assert peak_bytes(broker) < LIMIT_BYTES
    expect_descriptors(broker, open_before)
    with mqtt.Client(broker.address, 5) as stranger:
        stranger.connect("stranger")
        stranger.ping()


def test_an_attacker_is_noticed_that_cannot_work(tmp_path):
    """The attackers are tested too: one that nobody answers never says that it is ready."""
    silent = Broker(tmp_path / "data")
    silent.port = silent.tls_port = silent.websocket_port = 1
    attackers = Attackers(silent, ["takeovers"])
    with pytest.raises(AssertionError):
        attackers.patience_secs = 1.0
        attackers.__enter__()
    assert all(process.child.poll() is not None for process in attackers.running.values())
