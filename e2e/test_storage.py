"""A disk that is full or fails: what is refused, what goes on, and that it recovers by itself.

Most of it is made with `store.free_bytes_min`, which SIGHUP sets above what is free and back; a
volume that is really full needs root, for a small tmpfs.
A log that fails is made by a limit on the size of files (`RLIMIT_FSIZE`): the next write is refused.
"""

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import packets
import pytest
from broker import shown
from mqtt import Client
from packets import Kind, Property, Will
from process import Process
from test_admin import Watched

pytestmark = pytest.mark.bellbird

MIB = 1 << 20
QUOTA_EXCEEDED, IMPLEMENTATION_SPECIFIC, SERVER_UNAVAILABLE = 0x97, 0x83, 0x88
LOG_FAILED = 74
NOTHING_IS_ENOUGH = 1 << 50


class Stored(Watched):
    """A broker with a configuration file, which may be changed while it runs."""

    def __init__(self, directory: Path, shards: int = 1, **settings):
        super().__init__(directory / "data", shards)
        self.file = directory / "bellbird.toml"
        self.settings = {"free_bytes_min": 0, **settings}
        self.write()
        self.arguments += [f"--config={self.file}"]

    def write(self, **changed) -> None:
        """Writes the file."""
        self.settings.update(changed)
        lines = [f"{key} = {value}" for key, value in self.settings.items()]
        self.file.write_text(
            "\n".join(["[store]", *lines, "[limits]", "receive_max = 10", "queue_bytes_max = 100000000"])
        )

    def fill(self) -> None:
        """The disk is full from here on."""
        self.write(free_bytes_min=NOTHING_IS_ENOUGH)
        os.kill(self.pid, signal.SIGHUP)
        self.process.expect("the disk is full: .* free on the volume of .*; free space there")
        self.metrics()  # Every event loop answers after it has heard.

    def clear(self) -> None:
        """It has room again."""
        self.write(free_bytes_min=0)
        os.kill(self.pid, signal.SIGHUP)
        self.process.expect("the disk has room again")
        self.metrics()

    def fail(self) -> None:
        """The next write to the log fails."""
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

    def storage(self) -> str:
        """What the metrics say of it."""
        states = ["ready", "full", "failed"]
        metrics = self.metrics()
        return next(state for state in states if metrics[f'bellbird_storage{{state="{state}"}}'])


@pytest.fixture
def broker(tmp_path, shards) -> Iterator[Stored]:
    """A broker whose clients wait for long."""
    broker = Stored(tmp_path, shards, hold_secs=600)
    with shown(broker):
        yield broker


def durable(level: int) -> dict:
    """A session that stays."""
    return {"clean": False} | ({"props": {Property.SESSION_EXPIRY: 3600}} if level == 5 else {})


def reason(client: Client, kind: Kind, **publish) -> int:
    """Publishes and returns the reason code of the answer."""
    packet_id = client.send_publish(publish.pop("topic", "kept/1"), b"refused", **publish)
    return client.expect(kind, packet_id=packet_id).code


def test_messages_of_5_0_are_refused_and_nobody_gets_them(broker, client):
    """0x97 at QoS 1 and 2, also for retained and delayed ones, before anybody has the message."""
    client("away", 5, **durable(5)).subscribe(("kept/#", 2))
    live = client("live", 5)
    live.subscribe(("#", 2))
    publisher = client("publisher", 5, **durable(5))
    broker.fill()
    assert broker.storage() == "full"
    assert broker.get("/ready") == (
        200,
        "ready, but the disk is full: messages that must be stored are refused\n",
    )
    assert reason(publisher, Kind.PUBACK, qos=1) == QUOTA_EXCEEDED
    assert reason(publisher, Kind.PUBREC, qos=2) == QUOTA_EXCEEDED
    # Its packet id outlives the connection, so QoS 2 of a persistent session is stored as well.
    assert reason(publisher, Kind.PUBREC, qos=2, topic="else") == QUOTA_EXCEEDED
    assert reason(publisher, Kind.PUBACK, qos=1, topic="r", retain=True) == QUOTA_EXCEEDED
    assert reason(publisher, Kind.PUBACK, qos=1, topic="$delayed/1/x") == QUOTA_EXCEEDED
    live.ping()
    assert broker.metrics()["bellbird_storage_refused_total"] == 5
    # The packet ids are free, and what is refused is no message under way.
    for number in range(30):
        assert reason(publisher, Kind.PUBREC, qos=1 + 1) == QUOTA_EXCEEDED, number
    broker.clear()
    publisher.publish("kept/1", b"stored", qos=1)
    live.expect_message(b"stored")


def test_what_needs_no_disk_goes_on(broker, client, level):
    """QoS 0, and QoS 1 without a persistent holder; QoS 0 to be retained is delivered only."""
    client("away", level, **durable(level)).subscribe(("kept/#", 1))
    live = client("live", level)
    live.subscribe(("#", 1))
    publisher = client("publisher", level)
    publisher.publish("kept/r", b"before", qos=0, retain=True)
    live.expect_message(b"before")
    broker.fill()
    publisher.publish("kept/1", b"0", qos=0)
    publisher.publish("else", b"1", qos=1)
    publisher.publish("kept/r", b"after", qos=0, retain=True)
    for payload in [b"0", b"1", b"after"]:
        live.expect_message(payload)
    later = client("later", level)
    later.subscribe(("kept/r", 0))
    later.expect_message(b"before")
    assert broker.metrics()["bellbird_storage_omitted_total"] == 1


def test_sessions_go_on(broker, client, level):
    """Clients connect, subscribe, fetch what waits for them and end: that is what brings room back."""
    away = client("away", level, **durable(level))
    away.subscribe(("kept/#", 2))
    away.disconnect()
    publisher = client("publisher", level)
    for number in range(3):
        publisher.publish("kept/1", b"%d" % number, qos=1)
    broker.fill()
    back = client("away", level, **durable(level))
    for number in range(3):
        back.expect_message(b"%d" % number)
    back.subscribe(("more/#", 1))
    back.unsubscribe("more/#")
    back.disconnect()
    client("new", level, **durable(level)).subscribe(("kept/#", 1))
    broker.kill()
    broker.start()
    again = Client(broker.address, level)
    assert again.connect("away", **durable(level)).session_present
    again.ping()
    again.close()


def test_acknowledgements_of_3_1_1_are_held_until_there_is_room(broker, client):
    """They come in their order; what the client sends beside them goes on, and so does PINGREQ."""
    away = client("away", 4, **durable(4))
    away.subscribe(("kept/#", 2))
    away.disconnect()
    live = client("live", 4)
    live.subscribe(("#", 2))
    publisher = client("publisher", 4, **durable(4))
    broker.fill()
    held = [publisher.send_publish("kept/1", b"%d" % number, qos=1 + number % 2) for number in range(6)]
    kept = publisher.send_publish("kept/r", b"6", qos=1, retain=True)
    publisher.send_publish("kept/1", b"not held", qos=0)
    publisher.ping()
    got = []
    while b"not held" not in got:
        got.append(live.expect(Kind.PUBLISH).payload)
    broker.clear()
    for number, packet_id in enumerate(held):
        kind = Kind.PUBREC if number % 2 else Kind.PUBACK
        publisher.expect(kind, packet_id=packet_id)
    publisher.expect(Kind.PUBACK, packet_id=kept)
    broker.kill()
    broker.start()
    with Client(broker.address) as back:
        assert back.connect("away", **durable(4)).session_present
        back.send(b"")
        for number in range(7):
            message = back.expect_message(b"%d" % number)
            if message.qos == 2:
                back.send(packets.pubrec(message.packet_id))


def test_a_ping_behind_what_is_not_read_is_answered(broker, client):
    """Twice as many as Receive Maximum, and a PINGREQ behind them: the rest is not read."""
    client("away", 4, **durable(4)).subscribe(("kept/#", 1))
    publisher = client("publisher", 4, keepalive=1)
    broker.fill()
    bodies = [b"%d" % number + b"x" * 100 for number in range(20)]
    frames = [
        packets.publish("kept/1", body, 4, qos=1, packet_id=number)
        for number, body in enumerate(bodies, 1)
    ]
    publisher.send(b"".join(frames) + packets.pingreq())
    publisher.expect(Kind.PINGRESP)
    # Longer than its keep alive allows: what cannot be heard is not silent.
    for _ in range(3):
        publisher.ping()
    broker.clear()
    for number in range(1, 21):
        publisher.expect(Kind.PUBACK, packet_id=number)


def test_a_goodbye_behind_what_is_not_read_is_heard(broker, client):
    """A client that says DISCONNECT and closes has no will, however long it was not read."""
    client("away", 4, **durable(4)).subscribe(("kept/#", 1))
    witness = client("witness", 4)
    witness.subscribe(("will", 0), ("last", 0))
    leaver = client("leaver", 4, will=Will("will", b"said"))
    broker.fill()
    frames = [packets.publish("kept/1", b"%d" % n, 4, qos=1, packet_id=n) for n in range(1, 21)]
    last = packets.publish("last", b"word", 4)
    leaver.send(b"".join(frames) + last + packets.disconnect())
    leaver.close()
    # Another one that waits just so: once it is heard, so was whoever waited before it.
    publisher = client("publisher", 4)
    for _ in range(3):
        publisher.send(b"".join(frames) + packets.pingreq())
        publisher.expect(Kind.PINGRESP)
    broker.clear()
    publisher.send_publish("will", b"none", qos=0)
    assert [witness.expect_message().payload for _ in range(2)] == [b"word", b"none"]


def test_nobody_waits_for_ever(tmp_path):
    """After `hold_secs` the connection ends; its session and what it published stay."""
    broker = Stored(tmp_path, hold_secs=1)
    with shown(broker), Client(broker.address) as away, Client(broker.address) as publisher:
        away.connect("away", clean=False)
        away.subscribe(("kept/#", 2))
        publisher.connect("publisher", clean=False)
        broker.fill()
        packet_id = publisher.send_publish("kept/1", b"held", qos=2)
        assert publisher.expect_closed() is None
        broker.process.expect("client .*publisher.* disconnected: .* was not stored")
        assert broker.metrics()['bellbird_connections_closed_total{cause="storage"}'] == 1
        broker.clear()
        with Client(broker.address) as again:
            assert again.connect("publisher", clean=False).session_present
            again.send(packets.publish("kept/1", b"held", 4, qos=2, packet_id=packet_id, dup=True))
            again.expect(Kind.PUBREC, packet_id=packet_id)
        message = away.expect_message(b"held")
        away.send(packets.pubrec(message.packet_id))
        assert away.receive().kind == Kind.PUBREL


@pytest.fixture
def small_volume(tmp_path) -> Iterator[Path]:
    """A volume of 24 MiB."""
    volume = tmp_path / "volume"
    volume.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", volume], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"A VOLUME THAT IS REALLY FULL IS NOT TESTED HERE: {mounted.stderr.strip()}")
    yield volume
    subprocess.run(["umount", "--lazy", volume], check=True)


def test_a_volume_that_is_really_full(small_volume):
    """The system has no room for a write; when there is room it is written, and nothing was lost."""
    broker = Stored(small_volume, hold_secs=600, segment_bytes=4 * MIB)
    with shown(broker), Client(broker.address, 5) as away, Client(broker.address, 5) as publisher:
        filler = small_volume / "filler"
        filler.write_bytes(bytes(12 * MIB))
        away.connect("away", **durable(5))
        away.subscribe(("kept/#", 1))
        away.disconnect()
        publisher.connect("publisher")
        accepted = 0
        while "the disk is full" not in broker.log():
            packet_id = publisher.send_publish("kept/1", b"%06d" % accepted + bytes(100_000), qos=1)
            while not publisher.buffer and "the disk is full" not in broker.log():
                publisher.socket.settimeout(0.05)
                try:
                    publisher.buffer += publisher.socket.recv(1 << 16)
                except TimeoutError:
                    pass
            if publisher.buffer:
                assert publisher.expect(Kind.PUBACK, packet_id=packet_id).code == 0
                accepted += 1
        assert broker.storage() == "full"
        with Client(broker.address, 5) as another:
            another.connect("another")
            assert reason(another, Kind.PUBACK, qos=1) == QUOTA_EXCEEDED
        filler.unlink()
        broker.process.expect("the disk has room again")
        # What had no room was tried again until it had.
        assert publisher.expect(Kind.PUBACK, packet_id=packet_id).code == 0
        accepted += 1
        broker.kill()
        broker.start()
        with Client(broker.address, 5) as back:
            assert back.connect("away", **durable(5)).session_present
            for number in range(accepted):
                assert back.expect_message().payload.startswith(b"%06d" % number)


def test_a_log_that_fails(tmp_path):
    """What must be stored is refused, with words where there are words; the rest goes on."""
    broker = Stored(tmp_path, hold_secs=1)
    with shown(broker):
        dial = lambda level=5: Client(broker.address, level)  # noqa: E731
        with dial() as there, dial() as live, dial() as publisher, dial(4) as old, dial(4) as older:
            there.connect("there", **durable(5))
            there.subscribe(("kept/#", 1))
            live.connect("live")
            live.subscribe(("#", 1))
            publisher.connect("publisher")
            old.connect("old")
            older.connect("older", **durable(4))
            broker.fail()
            publisher.send_publish("kept/1", b"lost", qos=1)
            live.expect_message(b"lost")
            broker.process.expect("the log has failed: cannot append to .*File too large")
            # What waited before is not answered any more.
            assert publisher.expect_closed().code == IMPLEMENTATION_SPECIFIC
            assert broker.storage() == "failed"
            assert broker.get("/ready")[0] == 503
            with dial() as second:
                second.connect("second")
                assert reason(second, Kind.PUBACK, qos=1) == IMPLEMENTATION_SPECIFIC
                assert reason(second, Kind.PUBREC, qos=2) == IMPLEMENTATION_SPECIFIC
                second.publish("kept/1", b"QoS 0", qos=0)
                second.publish("else", b"QoS 1", qos=1)
                there.expect_message(b"QoS 0")
                for payload in [b"QoS 0", b"QoS 1"]:
                    live.expect_message(payload)
                assert second.subscribe(("a", 1)).codes == (1,)
            assert there.subscribe(("a", 1)).codes == (IMPLEMENTATION_SPECIFIC,)
            assert there.unsubscribe("kept/#").codes == (IMPLEMENTATION_SPECIFIC,)
            assert older.subscribe(("a", 1)).codes == (0x80,)
            older.send(packets.unsubscribe(9, ["a"]))
            assert older.expect_closed() is None
            old.send_publish("kept/1", b"refused", qos=1)
            assert old.expect_closed() is None
            for level, code in [(5, SERVER_UNAVAILABLE), (4, 3)]:
                with dial(level) as late:
                    late.send(packets.connect("late", level, **durable(level)))
                    assert late.expect(Kind.CONNACK).code == code
        os.kill(broker.pid, signal.SIGTERM)
        assert broker.process.finish() == LOG_FAILED


def test_a_log_that_fails_ends_the_broker_if_it_is_to(tmp_path):
    """With a status of its own, whatever else happens."""
    broker = Stored(tmp_path, on_failure='"end"')
    with shown(broker), Client(broker.address) as client:
        broker.fail()
        client.send(packets.connect("c", clean=False))
        assert broker.process.finish() == LOG_FAILED
        process: Process = broker.process
        assert "the log has failed" in process.output()
