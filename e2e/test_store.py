"""`bellbird store`: what is in the data of a broker that is stopped, and what is damaged."""

import contextlib
import json
import subprocess
import time

import pytest
from broker import bellbird_binary
from mqtt import PATIENCE_SECS
from packets import Kind
from test_sessions import durable

pytestmark = pytest.mark.bellbird


def store(broker, command, data=None):
    program = [bellbird_binary(), "store", command, str(data or broker.directory)]
    return subprocess.run(program, capture_output=True, text=True, timeout=60)


def backup(broker, to):
    program = [bellbird_binary(), "store", "backup", str(broker.directory), str(to)]
    return subprocess.run(program, capture_output=True, text=True, timeout=60)


@pytest.fixture
def filled(broker, client):
    """Data with a session, three messages that wait for it, and a retained one."""
    session = client("s", 4, **durable(4))
    session.subscribe(("a/+", 1))
    session.disconnect()
    publisher = client("p", 4)
    for number in range(3):
        publisher.publish(f"a/{number}", b"waits %d" % number)
    publisher.publish("r", b"stays", retain=True)
    broker.stop()
    return broker


def segments(broker):
    return sorted(broker.directory.glob("*.log"))


def flip(file, needle):
    content = bytearray(file.read_bytes())
    content[content.index(needle)] ^= 1
    file.write_bytes(content)


def test_check_tells_what_is_there(filled):
    checked = store(filled, "check")
    assert checked.returncode == 0, checked.stderr
    for words in ["1 session,", "1 subscription,", "3 waiting deliveries,", "1 retained message,"]:
        assert words in checked.stdout
    assert "no damage" in checked.stdout
    assert all(file.name in checked.stdout for file in segments(filled))


def test_check_changes_nothing(filled):
    before = {file.name: file.read_bytes() for file in filled.directory.iterdir() if file.is_file()}
    assert store(filled, "check").returncode == store(filled, "dump").returncode == 0
    after = {file.name: file.read_bytes() for file in filled.directory.iterdir() if file.is_file()}
    assert before == after


def test_dump_prints_a_line_for_each_record(filled):
    dumped = store(filled, "dump")
    assert dumped.returncode == 0, dumped.stderr
    records = [json.loads(line) for line in dumped.stdout.splitlines()]
    appends = [record for record in records if record["kind"] == "append"]
    assert [record["payload"] for record in appends] == [f"waits {number}" for number in range(3)]
    assert [record["topic"] for record in appends] == ["a/0", "a/1", "a/2"]
    commits = [record for record in records if record["kind"] == "commit"]
    operations = [operation for record in commits for operation in record["operations"]]
    assert {"s"} == {operation["open"] for operation in operations if "open" in operation}
    assert any(operation.get("subscribe") == "a/+" for operation in operations)
    assert any(record["kind"] == "retain" and record["payload"] == "stays" for record in records)
    positions = [record["position"] for record in records]
    assert positions == sorted(positions)


def test_damage_is_told_and_set_aside(filled, client):
    damaged = segments(filled)[0]
    flip(damaged, b"waits 1")
    checked = store(filled, "check")
    assert checked.returncode == 1
    assert "1 stored record is lost" in checked.stderr
    assert "sets the damaged files aside" in checked.stderr
    assert str(damaged) in checked.stdout and "checksum" in checked.stdout
    assert store(filled, "dump").returncode == 1
    repaired = store(filled, "repair")
    assert repaired.returncode == 0, repaired.stderr
    aside = damaged.with_name(damaged.name + ".damaged")
    assert str(aside) in repaired.stdout and aside.exists()
    assert store(filled, "check").returncode == 0
    filled.start()
    subscriber = client("s", 4, **durable(4))
    subscriber.expect_message(b"waits 0")
    subscriber.expect_message(b"waits 2")


def test_repair_of_what_is_sound_loses_nothing(filled, client):
    for _ in range(2):
        assert store(filled, "repair").returncode == 0
    assert len(list(filled.directory.glob("*.checkpoint"))) == 1
    assert "no damage" in store(filled, "check").stdout
    filled.start()
    subscriber = client("s", 4, **durable(4))
    for number in range(3):
        subscriber.expect_message(b"waits %d" % number)
    newcomer = client("n", 4)
    newcomer.subscribe(("r", 0))
    newcomer.expect_message(b"stays")


@pytest.mark.parametrize("command", ["check", "dump", "repair", "backup"])
def test_a_directory_without_a_log(broker, tmp_path, command):
    """Whoever mistypes a path is not told that all is well, and finds nothing made there."""
    empty, copy = tmp_path / "empty", tmp_path / "copy"
    empty.mkdir()
    (empty / "notes.log").write_text("not ours")
    words = [bellbird_binary(), "store", command, str(empty)]
    words += [str(copy)] if command == "backup" else []
    refused = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1
    assert "there is no log in this directory" in refused.stderr
    assert [file.name for file in empty.iterdir()] == ["notes.log"]
    assert not copy.exists()


@pytest.mark.parametrize("running", [False, True])
def test_backup_of_a_damaged_log(broker, client, tmp_path, running):
    """What stands behind the damage is copied, and the damage is told, while a broker runs too."""
    session = client("s", 4, **durable(4))
    session.subscribe(("a/+", 1))
    session.disconnect()
    publisher = client("p", 4)
    for number in range(9):
        publisher.publish(f"a/{number}", b"waits %d" % number)
    if not running:
        broker.stop()
    damaged = segments(broker)[-1]
    flip(damaged, b"waits 1")
    copied = backup(broker, tmp_path / "copy")
    assert copied.returncode == 1
    assert "what was copied is damaged: " in copied.stderr
    assert "LOST 1 stored record in 1 damaged place" in copied.stderr
    assert damaged.name in copied.stderr
    broker.kill()
    dumped = store(broker, "dump", tmp_path / "copy").stdout
    payloads = [json.loads(line).get("payload") for line in dumped.splitlines()]
    assert [it for it in payloads if it] == [f"waits {number}" for number in range(9) if number != 1]


@pytest.mark.parametrize("command", ["check", "dump", "repair"])
def test_a_running_broker_is_left_alone(broker, command):
    refused = store(broker, command)
    assert refused.returncode == 1
    assert "in use by another process; stop it first" in refused.stderr
    assert "--data" not in refused.stderr


@pytest.mark.parametrize("command", ["check", "dump", "repair"])
def test_a_directory_that_is_not_there_is_not_made(broker, tmp_path, command):
    missing = tmp_path / "missing"
    refused = store(broker, command, missing)
    assert refused.returncode == 1
    assert f"{missing}: there is no such directory" in refused.stderr
    assert not missing.exists()


def test_backup_of_a_running_broker(broker, client, dial, tmp_path):
    """Whatever was acknowledged before a copy began is in it."""
    session = client("s", 4, **durable(4))
    session.subscribe(("a", 1))
    session.disconnect()
    publisher = client("p", 4)
    copies = []
    for number in range(300):
        publisher.publish("a", b"%d" % number)
        if number % 50 == 49:
            copies.append((number, tmp_path / str(number)))
            copied = backup(broker, copies[-1][1])
            assert copied.returncode == 0, copied.stderr
    broker.stop()
    for number, copy in copies:
        broker.directory = copy
        broker.start()
        subscriber = dial(4)
        assert subscriber.connect("s", **durable(4)).session_present
        for payload in range(number + 1):
            subscriber.expect_message(b"%d" % payload)
        broker.stop()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_space_comes_back(broker, client, dial, end):
    """Queues fill and drain, retained messages change, sessions come and go, ten times over."""
    settings = broker.directory.with_name("small.toml")
    settings.write_text('[store]\nsegment_bytes = 65536\n[log]\nlevel = "debug"\n')
    broker.stop()
    broker.arguments = ["--config", str(settings)]
    broker.start()
    client("s", 4, **durable(4)).subscribe(("queue/#", 1))
    for turn in range(10):
        passing = client(f"passing{turn}", 4, **durable(4))
        passing.subscribe(("queue/#", 1))
        passing.close()
        publisher = client("p", 4)
        for number in range(100):
            publisher.publish(f"queue/{number}", b"%d" % number + b"." * 500)
            publisher.publish(f"kept/{number % 10}", b"%d" % turn + b"." * 500, retain=True)
        broker.process.expect("debug: checkpoint: ")
        client(f"passing{turn}", 4, clean=True).close()
        subscriber = client("s", 4, **durable(4))
        for number in range(100):
            message = subscriber.expect_message()
            assert message.payload.startswith(b"%d." % number)
        # Nobody waits for the record of an acknowledgement; this one stands behind those.
        subscriber.publish("kept/end", b"x", retain=True)
        subscriber.close()
        getattr(broker, end)()
        size = sum(file.stat().st_size for file in broker.directory.iterdir())
        assert size < 1_500_000, "ten turns wrote much more"
        assert store(broker, "check").returncode == 0
        broker.start()
    newcomer = client("n", 4)
    newcomer.subscribe(("kept/#", 0))
    kept = [newcomer.expect_message() for _ in range(11)]
    kept = [message for message in kept if message.topic != "kept/end"]
    assert all(message.payload.startswith(b"9.") for message in kept)
    assert dial(4).connect("s", **durable(4)).session_present


@pytest.mark.parametrize("restarts", [False, True])
def test_a_drained_queue_leaves_the_disk(broker, client, dial, restarts):
    """What was delivered goes from the disk though nearly nothing is written any more."""
    settings = broker.directory.with_name("small.toml")
    limits = "[limits]\nqueue_messages_max = 5000\nqueue_bytes_max = 10000000\n"
    settings.write_text("[store]\nsegment_bytes = 65536\n" + limits)
    broker.stop()
    broker.arguments = ["--config", str(settings)]
    broker.start()

    def size() -> int:
        """As the files are at some moment: they come and go."""
        sizes = []
        for file in broker.directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                sizes.append(file.stat().st_size)
        return sum(sizes)

    subscriber = client("s", 4, **durable(4))
    subscriber.subscribe(("queue", 1))
    subscriber.close()
    publisher = client("p", 4)
    for number in range(2000):
        publisher.send_publish("queue", b"%d" % number + b"." * 500)
    for _ in range(2000):
        publisher.expect(Kind.PUBACK)
    if restarts:
        broker.stop()
        broker.start()
    assert size() > 1_000_000
    subscriber = client("s", 4, **durable(4))
    for number in range(2000):
        assert subscriber.expect_message().payload.startswith(b"%d." % number)
    deadline = time.monotonic() + PATIENCE_SECS
    while size() > 300_000:
        assert time.monotonic() < deadline, f"{size()} bytes for nothing"
        subscriber.ping()


def test_a_backup_never_overwrites_a_log(broker):
    refused = backup(broker, broker.directory)
    assert refused.returncode == 1
    assert "in use" in refused.stderr
    broker.stop()
    refused = backup(broker, broker.directory)
    assert refused.returncode == 1
    assert "there is a log already" in refused.stderr
