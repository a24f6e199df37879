"""MQTT over Unix sockets: who may connect, who it was, and files that others have left."""

import os
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import mqtt
import pytest
from broker import Broker, shown
from process import Process, bellbird_binary

pytestmark = pytest.mark.bellbird


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path, as addresses of sockets need it."""
    with tempfile.TemporaryDirectory(prefix="bellbird-") as path:
        yield Path(path)


@pytest.fixture
def broker(tmp_path, shards) -> Iterator[Broker]:
    """A broker that listens on a Unix socket."""
    broker = Broker(tmp_path / "data", shards).offer_unix()
    with shown(broker):
        yield broker


def dial(path: str | Path) -> socket.socket:
    """A stream through this socket."""
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(mqtt.PATIENCE_SECS)
    stream.connect(str(path))
    return stream


def test_messages_cross_between_doors(broker):
    """Of all sizes, and each QoS."""
    with mqtt.Client.over(dial(broker.unix_path)) as here, mqtt.Client(broker.address) as there:
        here.connect("here")
        there.connect("there")
        here.subscribe(("t", 2))
        for qos, size in ((0, 1), (1, 300_000), (2, 1000)):
            payload = os.urandom(size)
            there.publish("t", payload, qos=qos)
            assert here.receive().payload == payload


def test_the_process_at_the_other_end_is_known(broker):
    """By its user and its number, in the log and in the list of clients."""
    with mqtt.Client.over(dial(broker.unix_path)) as client:
        client.connect("local")
        listed = subprocess.run(
            [bellbird_binary(), "clients", f"--data={broker.directory}"],
            capture_output=True, text=True, timeout=20, check=True,
        )  # fmt: skip
        assert f"uid {os.getuid()}, pid {os.getpid()}" in listed.stdout, listed
        client.socket.sendall(b"\x30\x80\x80\x80\x80\x01")
        client.expect_closed()
    broker.process.expect(rf'warn: client "local" from uid {os.getuid()}, pid {os.getpid()} disconnected')


def test_the_file_comes_and_goes(broker):
    """It is for user and group, goes with a clean end, and is replaced after another one."""
    path = Path(broker.unix_path)
    mode = path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660
    broker.stop()
    assert not path.exists()
    broker.start()
    broker.kill()
    assert path.exists(), "a killed process removes nothing"
    broker.start()
    with mqtt.Client.over(dial(path)) as client:
        client.connect("back")


def test_mode_and_owner_are_the_operators(tmp_path, place):
    """What the file system then says of it."""
    settings = tmp_path / "bellbird.toml"
    user, group = os.getuid(), os.getgid()
    settings.write_text(
        f'[[listeners]]\nunix_path = "{place}/s"\nunix_mode = "0602"\n'
        f'unix_owner = "{user}"\nunix_group = "{group}"\n'
    )
    process = Process([bellbird_binary(), "start", f"--config={settings}", f"--data={tmp_path / 'data'}"])
    try:
        process.expect(rf"^listening on {place}/s \(mqtt, unix socket\)$")
        # The commands that a start proposes are for this door.
        process.expect(rf"^  \S+ sub --unix {place}/s -t 'hello/#' -v$")
        process.expect("^ready$")
        found = (place / "s").stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o602, user, group)
        process.child.send_signal(signal.SIGTERM)
        assert process.finish() == 0
    finally:
        process.kill()


@pytest.mark.parametrize("what", ["another broker", "a file", "no directory", "too long"])
def test_a_path_that_cannot_be_had(tmp_path, place, what):
    """The start says which, and what to do; what was there stays."""
    path = place / "s"
    if what == "a file":
        path.write_text("mine")
    if what == "no directory":
        path = place / "deeper" / "s"
    if what == "too long":
        path = place / ("x" * 100)
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        if what == "another broker":
            listener.bind(str(path))
            listener.listen()
        command = [bellbird_binary(), "start", f"--listen-unix={path}", f"--data={tmp_path / 'data'}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    remedy = {
        "another broker": "another program listens there: stop it, or choose another with --listen-unix",
        "a file": "there is a file already, and it is no socket; move it away",
        "no directory": "create the directory that it is to be in",
        "too long": "and the system takes at most 107",
    }[what]
    assert done.returncode == 1, done
    assert f"cannot listen on {path}: " in done.stderr
    assert remedy in done.stderr
    if what == "a file":
        assert path.read_text() == "mine"


def test_our_own_commands(broker):
    """`bellbird sub` and `pub` with --unix."""
    sub = Process([bellbird_binary(), "sub", "--unix", broker.unix_path, "-t", "a/#", "-v", "-C", "1", "-d"])
    try:
        sub.expect("SUBACK")
        pub = [bellbird_binary(), "pub", "--unix", broker.unix_path, "-t", "a/b", "-m", "hi", "-q", "1"]
        subprocess.run(pub, timeout=20, check=True)
        sub.expect("^a/b hi$")
        assert sub.finish() == 0
    finally:
        sub.kill()
    nowhere = [bellbird_binary(), "pub", "--unix", broker.unix_path + "x", "-t", "a", "-m", "b"]
    done = subprocess.run(nowhere, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 3, done
    assert "is a broker running there? --unix names another place" in done.stderr
