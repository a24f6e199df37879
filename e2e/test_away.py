"""Long queues: most messages are in the log only, and are back when their turn comes."""

import pytest
from broker import shown
from packets import Kind
from test_admin import Watched
from test_sessions import durable

pytestmark = pytest.mark.bellbird

SETTINGS = """
[limits]
queue_messages_max = 100000
queue_bytes_max = 100000000
queue_memory_bytes = 4000
"""
MESSAGES = 3000


@pytest.fixture
def segment_bytes():
    """So small that checkpoints are made all the time."""
    return 65536


@pytest.fixture
def broker(tmp_path, shards, segment_bytes):
    """A broker whose queues keep next to nothing in memory."""
    settings = tmp_path / "long.toml"
    settings.write_text(f"{SETTINGS}[store]\nsegment_bytes = {segment_bytes}\n")
    broker = Watched(tmp_path / "data", shards)
    broker.arguments += ["--config", str(settings)]
    with shown(broker):
        yield broker


def fill(client, first=0):
    """Publishes to a/0, a/1 and a/2 in turn."""
    publisher = client("p", 4)
    for number in range(first, first + MESSAGES):
        publisher.send_publish(f"a/{number % 3}", payload(number), qos=1)
        if number % 50 == 49:
            for _ in range(50):
                publisher.expect(Kind.PUBACK)
    publisher.close()


def payload(number):
    return b"%d " % number + b"." * (number % 300)


def take(session, first=0):
    """Takes what waits: each message once, and in order."""
    for number in range(first, first + MESSAGES):
        session.expect_message(payload(number))


@pytest.mark.parametrize("end", [None, "stop", "kill"])
def test_all_come_back_in_order(broker, client, end, level):
    names = ["s0", "s1", "s2"]
    for name in names:
        client(name, level, **durable(level)).subscribe(("a/#", 1))
    for name in names:
        client(name, level, **durable(level)).disconnect()
    fill(client)
    metrics = broker.metrics()
    assert metrics["bellbird_deliveries_queued"] == 3 * MESSAGES
    assert metrics["bellbird_queued_bytes"] > 1_000_000
    assert metrics["bellbird_queued_memory_bytes"] <= 3 * 4000
    if end:
        getattr(broker, end)()
        broker.start()
        assert broker.metrics()["bellbird_queued_memory_bytes"] == 0
    for name in names:
        session = client(name, level, **durable(level))
        # More comes while it is at it.
        if name == "s1":
            fill(client, MESSAGES)
        take(session)
        if name != "s0":
            take(session, MESSAGES)
    late = client("s0", level, **durable(level))
    take(late, MESSAGES)
    metrics = broker.metrics()
    assert metrics["bellbird_deliveries_queued"] == 0
    dropped = {name: value for name, value in metrics.items() if "deliveries_dropped" in name}
    assert not any(dropped.values()), dropped


@pytest.mark.parametrize("segment_bytes", [1 << 24])
def test_a_damaged_message_is_lost_alone_and_told(broker, client):
    client("s", 4, **durable(4)).subscribe(("a/#", 1))
    client("s", 4, **durable(4)).disconnect()
    fill(client)
    needle = payload(1500)
    logs = broker.directory.glob("*.log")
    damaged = next(file for file in logs if needle in file.read_bytes())
    with damaged.open("r+b") as file:
        at = file.read().index(needle)
        file.seek(at)
        file.write(b"X")
    session = client("s", 4, **durable(4))
    for number in range(MESSAGES):
        if number != 1500:
            assert session.expect_message().payload == payload(number)
    assert broker.metrics()['bellbird_deliveries_dropped_total{reason="unreadable"}'] == 1
    broker.process.expect(r"error: a message is lost: the message at position \d+ cannot be read")
    assert damaged.name in broker.log()
