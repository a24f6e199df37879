"""`bellbird bench` against the broker itself: each scenario, and what it says."""

import json
import re
import subprocess

import pytest

from broker import Broker, bellbird_binary, shown
from tls import Certificates

pytestmark = pytest.mark.bellbird

TROUBLE = ("lost", "duplicates", "overtaken", "refused", "foreign")
SHORT = "--seconds 0.3 --warmup 0.1"


def carried_out(broker, line):
    """The ended run."""
    host, port = broker.address
    words = [bellbird_binary(), "bench", "--json", "--target", f"{host}:{port}", *line.split()]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def bench(broker, line):
    """What a run found."""
    done = carried_out(broker, line)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_nothing_wrong(phase):
    """No delivery is missing, and none is too many."""
    assert {kind: phase[kind] for kind in TROUBLE} == dict.fromkeys(TROUBLE, 0)


def at_the_end(broker, what):
    """A figure of the broker's last line."""
    broker.stop()
    return int(re.search(rf"^ended: .*\b{what}=(\d+)", broker.log(), re.MULTILINE)[1])


@pytest.mark.parametrize("line", [
    "--scenario pair", "--scenario pair --qos 2 --mqtt 5", "--scenario fan-in --qos 1",
    "--scenario fan-out --publishers 3", "--scenario wild", "--scenario shared",
    "--scenario shared --qos 1 --mqtt 3", "--scenario durable", "--scenario pair --rate 500",
    "--scenario pair --background 50 --keep-alive 30", "--preset p2p-1k-1k-1k-1k",
    "--preset sharedsub-1k-5-1k-1k", "--preset fanout-1-1k-1-1k --rate 20",
])
def test_messages_for_a_time(broker, line):
    """What is published arrives, once and in order."""
    load = bench(broker, f"{line} {SHORT}")["load"]
    assert load["delivered"] > 0
    check_nothing_wrong(load)


@pytest.mark.parametrize("line", [
    "--scenario pair", "--scenario pair --qos 2 --payload 60000", "--scenario fan-out --mqtt 5 --payload 3000",
    "--scenario durable", "--scenario offline --clients 30", "--scenario retained --topics 300",
    "--scenario connect --clients 150", "--scenario subscribe --clients 5 --filters 100",
])  # fmt: skip
@pytest.mark.parametrize("door", ["tls", "websocket", "websocket-tls"])
def test_over_each_door(tmp_path, door, line):
    """The same through what stands between."""
    made = Certificates(tmp_path / "tls")
    broker = Broker(tmp_path / "data", shards=2).offer_websocket().offer_tls(made)
    with shown(broker):
        port = {"tls": broker.tls_port, "websocket": broker.websocket_port}.get(door, broker.websocket_tls_port)
        words = [bellbird_binary(), "bench", "--json", "--target", f"localhost:{port}", *line.split()]
        words += ["--cafile", str(made.authority)] if "tls" in door else []
        words += ["--websocket"] if "websocket" in door else []
        words += SHORT.split() if "clients" not in line and "topics" not in line else []
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        for phase in result.values():
            if isinstance(phase, dict) and "lost" in phase:
                check_nothing_wrong(phase)
        assert result["over"] == {"tls": "TLS", "websocket": "WebSocket"}.get(door, "WebSocket over TLS")


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_retained_messages_are_stored_and_sent_and_removed(broker, qos):
    """All of them arrive, and afterwards nothing is retained."""
    result = bench(broker, f"--scenario retained --topics 300 --publishers 7 --qos {qos}")
    assert result["store"]["acknowledged"] == result["clear"]["acknowledged"] == 300
    assert result["replay"]["delivered"] == 300
    for phase in ("store", "replay", "clear"):
        check_nothing_wrong(result[phase])
    assert at_the_end(broker, "retained") == 0


def test_connections_come_and_stay(broker):
    """Each is let in, its latency counted, and gone afterwards."""
    result = bench(broker, "--scenario connect --clients 150 --outstanding 20 --seconds 0.1")
    assert result["connect"]["acknowledged"] == 150
    assert result["connect"]["ack_latency"]["count"] == 150
    assert result["held"]["count"] == 150


def test_connections_come_at_a_rate(broker):
    """So many per second, and no faster."""
    line = "--scenario connect --clients 30 --rate 100 --seconds 0.1"
    connect = bench(broker, line)["connect"]
    assert connect["acknowledged"] == 30
    assert connect["seconds"] >= 0.29, "the last is due after 29 hundredths"


@pytest.mark.parametrize("mqtt", [3, 5])
def test_subscriptions_come_and_go(broker, mqtt):
    """All are granted, and none is left."""
    line = f"--scenario subscribe --clients 7 --filters 30 --mqtt {mqtt}"
    result = bench(broker, line)
    for phase in ("subscribe", "unsubscribe"):
        assert result[phase]["acknowledged"] == 210
        check_nothing_wrong(result[phase])
    assert result["held"]["count"] == 210
    assert at_the_end(broker, "subscriptions") == 0


def test_a_queue_waits_for_its_session_over_a_kill(broker):
    """What was acknowledged is there after the broker was killed."""
    line = "--scenario offline --clients 20 --messages 5"
    assert bench(broker, f"{line} --phase fill")["fill"]["acknowledged"] == 100
    broker.kill()
    broker.start()
    drain = bench(broker, f"{line} --phase drain")["drain"]
    assert (drain["delivered"], drain["resumed_sessions"]) == (100, 20)
    check_nothing_wrong(drain)


@pytest.mark.parametrize("line, named", [
    ("--scenario retained --rate 5", "--rate"),
    ("--preset composite --scenario pair", "--scenario"),
    ("--keep-alive 3", "--keep-alive"),
])
def test_options_that_do_not_fit_are_refused(broker, line, named):
    """By name, and before anything is sent."""
    done = carried_out(broker, line)
    assert done.returncode in (1, 2)
    assert named in done.stderr


def test_it_is_for_a_person_as_well(broker):
    """Words and numbers instead of JSON."""
    host, port = broker.address
    words = [bellbird_binary(), "bench", "--target", f"{host}:{port}", *SHORT.split()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert "pair, MQTT 3 over TCP, QoS 0" in done.stdout
    assert "delivered" in done.stdout
