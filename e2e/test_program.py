"""The program itself: what it prints, how it ends, and how it names what is wrong."""

import os
import re
import shlex
import signal
import socket
import subprocess
import time

import pytest
from broker import Broker, bellbird_binary
from mqtt import Client
from process import Process

pytestmark = pytest.mark.bellbird


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_ends_with_status_0(broker, client, number):
    """With a connected client, which finds its connection closed."""
    connected = client("s")
    broker.stop(number)
    assert connected.expect_closed() is None


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2"])
def test_signals_without_a_meaning(broker, client, name):
    """Mosquitto has one for them."""
    os.kill(broker.pid, signal.Signals[name])
    broker.process.expect(f"info: {name} does nothing: ")
    client("s").ping()
    broker.stop()


@pytest.mark.parametrize("after", ["first line", "start"])
def test_nobody_reads_what_it_prints(tmp_path, after):
    """As with `bellbird start | head -1`, and with standard output closed from the start."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = probe.getsockname()
    command = [bellbird_binary(), "start", f"--listen=127.0.0.1:{address[1]}"]
    command += [f"--data={tmp_path / 'data'}", f"--config={tmp_path / 'bellbird.toml'}"]
    (tmp_path / "bellbird.toml").write_text("")
    reader, writer = os.pipe()
    if after == "start":
        os.close(reader)
    child = subprocess.Popen(command, stdout=writer, stderr=writer)
    os.close(writer)
    try:
        if after == "first line":
            with open(reader, "rb") as lines:
                assert lines.readline().startswith(b"bellbird ")
        for number in range(2):
            with wait_for(address) as client:
                client.connect(f"c{number}")
            os.kill(child.pid, signal.SIGHUP)
        child.terminate()
        assert child.wait(15) == 0
    finally:
        child.kill()
        child.wait()


def wait_for(address: tuple[str, int]) -> Client:
    """A client of a broker that is about to listen."""
    deadline = time.monotonic() + 15
    while True:
        try:
            return Client(address)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, f"nobody listens on {address}"
            time.sleep(0.01)


def test_configuration_file(tmp_path):
    settings = tmp_path / "bellbird.toml"
    settings.write_text(
        f'listen = ["127.0.0.1:0", "127.0.0.1:0"]\ndata = "{tmp_path / "data"}"\n'
        'shards = 2\ndurability = "written"\n'
    )
    process = Process([bellbird_binary(), "start", f"--config={settings}"])
    try:
        ports = [int(process.expect(r"^listening on 127\.0\.0\.1:(\d+) ")[1]) for _ in range(2)]
        process.expect("^ready$")
        assert len(set(ports)) == 2
        for number, port in enumerate(ports):
            with Client(("127.0.0.1", port)) as client:
                client.connect(f"s{number}")
        assert (tmp_path / "data").is_dir()
        process.child.terminate()
        assert process.finish() == 0
    finally:
        process.kill()


@pytest.mark.parametrize("durability", ["synced", "written", "memory"])
def test_durabilities(tmp_path, durability):
    settings = tmp_path / "bellbird.toml"
    settings.write_text(f'durability = "{durability}"\n')
    broker = Broker(tmp_path / "data")
    broker.arguments = [f"--config={settings}"]
    with broker, Client(broker.address) as subscriber, Client(broker.address) as publisher:
        subscriber.connect("s", clean=False)
        subscriber.subscribe(("t", 1))
        publisher.connect("p")
        publisher.publish("t", b"x")
        subscriber.expect_message(b"x")
        broker.stop()


def test_durability_by_topic(tmp_path):
    settings = tmp_path / "bellbird.toml"
    settings.write_text(
        'durability = "written"\n'
        '[[topic_durability]]\nfilter = "t/#"\ndurability = "memory"\n'
        '[[topic_durability]]\nfilter = "t/2"\ndurability = "synced"\n'
    )
    broker = Broker(tmp_path / "data")
    broker.arguments = [f"--config={settings}"]
    with broker, Client(broker.address) as subscriber, Client(broker.address) as publisher:
        levels = "written; memory for messages to t/#; synced for messages to t/2"
        assert f"durability: {levels}" in broker.log()
        subscriber.connect("s", clean=False)
        subscriber.subscribe(("#", 2))
        publisher.connect("p", clean=False)
        for number, topic in enumerate(["t/1", "u", "t/2", "u"]):
            publisher.publish(topic, b"%d" % number, qos=1)
        for number in range(4):
            subscriber.expect_message(b"%d" % number)
        broker.stop()


def test_what_the_start_proposes_works(broker):
    """The commands under "try it", as they stand there."""
    lines = broker.log().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("try it"))
    subscribe, publish = (shlex.split(line) for line in lines[at + 1 : at + 3])
    subscriber = Process([*subscribe, "-C", "1", "-d"])
    try:
        subscriber.expect("SUBACK")
        subprocess.run(publish, check=True, timeout=10)
        subscriber.expect("^hello/world hi there$")
    finally:
        subscriber.kill()


def test_what_the_start_proposes_where_users_are_needed(tmp_path):
    users = tmp_path / "users"
    users.write_text("")
    broker = Broker(tmp_path / "data")
    broker.arguments = [f"--users={users}"]
    with broker:
        assert f"sub -h 127.0.0.1 -p {broker.port} -u NAME -P PASSWORD -t" in broker.log()


def test_taken_port(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as occupant:
        address = f"127.0.0.1:{occupant.getsockname()[1]}"
        complaint = fail(f"--listen={address}", f"--data={tmp_path / 'data'}")
    assert address in complaint
    assert "listen" in complaint, "the remedy should name the setting"


def test_unwritable_data_directory(tmp_path):
    """Below a regular file, where not even root can make a directory."""
    (tmp_path / "file").write_text("in the way")
    directory = tmp_path / "file" / "data"
    assert str(directory) in fail("--listen=127.0.0.1:0", f"--data={directory}")


def test_data_directory_in_use(broker, client):
    complaint = fail("--listen=127.0.0.1:0", f"--data={broker.directory}")
    assert str(broker.directory) in complaint
    assert "in use" in complaint
    client("s").ping()


def test_a_killed_broker_leaves_no_lock(broker):
    broker.kill()
    broker.start()
    broker.stop()


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ('listen = ["127.0.0.1:0"]\ndurabilty = "synced"\n', "durabilty", 2),
        ('# comment\n\ndurability = "sync"\n', "durability", 3),
        ('shards = "two"\n', "shards", 1),
        ('data = "d"\nlisten = ["nowhere"]\n', "listen", 2),
    ],
    ids=["unknown key", "unknown value", "wrong type", "no address"],
)
def test_bad_configuration(tmp_path, text, key, line):
    settings = tmp_path / "bellbird.toml"
    settings.write_text(text)
    complaint = fail(f"--config={settings}", f"--data={tmp_path / 'data'}")
    assert str(settings) in complaint
    assert key in complaint
    assert f"line {line}" in complaint or f"{settings}:{line}" in complaint


def test_missing_configuration_file(tmp_path):
    settings = tmp_path / "absent.toml"
    assert str(settings) in fail(f"--config={settings}")


def fail(*arguments: str) -> str:
    """Starts the broker with arguments that it must refuse, and returns its complaint."""
    process = Process([bellbird_binary(), "start", *arguments])
    status = process.finish()
    complaint = process.output()
    assert status == 1, f"status {status}:\n{complaint}"
    assert "error: " in complaint
    assert "panicked" not in complaint
    return complaint
