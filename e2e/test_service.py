"""What a service manager such as systemd hears (sd_notify)."""

import contextlib
import ctypes
import itertools
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker import bellbird_binary
from mqtt import Client
from process import Process

pytestmark = pytest.mark.bellbird

WATCHDOG_SECS = 0.4


class Manager:
    """Listens as systemd does."""

    def __init__(self, path: Path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.environment = {**os.environ, "NOTIFY_SOCKET": str(path)}

    def watch(self) -> None:
        """Wants to hear that all is well."""
        self.environment["WATCHDOG_USEC"] = str(int(WATCHDOG_SECS * 1e6))

    def hear(self, patience_secs: float) -> dict[str, str] | None:
        """The next message, by its keys; None if there is none."""
        self.socket.settimeout(max(patience_secs, 0))
        try:
            lines = self.socket.recv(4096).decode().splitlines()
        except (TimeoutError, BlockingIOError):
            return None
        return dict(line.split("=", 1) for line in lines)

    def expect(self, key: str, value: str = "", patience_secs: float = 15.0) -> dict[str, str]:
        """Waits for a message that has this key and in which the value begins so."""
        deadline = time.monotonic() + patience_secs
        heard = []
        while (message := self.hear(deadline - time.monotonic())) is not None:
            if key in message and message[key].startswith(value):
                return message
            heard.append(message)
        raise AssertionError(f"no {key}={value} in {patience_secs} s, but {heard}")


@pytest.fixture
def manager() -> Iterator[Manager]:
    """One that has not heard anything. The address of a socket must be short."""
    with tempfile.TemporaryDirectory() as directory:
        manager = Manager(Path(directory) / "notify")
        with manager.socket:
            yield manager


@contextlib.contextmanager
def started(manager: Manager, directory: Path, *arguments: str, shards: int = 2) -> Iterator[Process]:
    """A broker that this manager has started, and that may not be ready yet."""
    command = [bellbird_binary(), "start", "--listen=127.0.0.1:0", f"--data={directory}"]
    process = Process([*command, f"--shards={shards}", *arguments], env=manager.environment)
    try:
        yield process
    finally:
        process.kill()
        print(process.output())


def port_of(process: Process) -> int:
    return int(process.expect(r"^listening on 127\.0\.0\.1:(\d+) ")[1])


def test_ready_reloading_stopping(tmp_path, manager):
    settings = tmp_path / "bellbird.toml"
    settings.write_text("")
    with started(manager, tmp_path / "data", f"--config={settings}") as process:
        first = manager.hear(15)
        assert first["READY"] == "1"
        port = port_of(process)
        assert first["STATUS"] == f"127.0.0.1:{port} (tcp)"
        with Client(("127.0.0.1", port)) as client:
            client.connect("c")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        os.kill(process.child.pid, signal.SIGHUP)
        reloading = manager.expect("RELOADING")
        assert before <= int(reloading["MONOTONIC_USEC"])
        assert int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        manager.expect("READY")
        # A reload that is refused is over as well.
        settings.write_text("shards = 99\n")
        os.kill(process.child.pid, signal.SIGHUP)
        manager.expect("RELOADING")
        manager.expect("READY")
        process.expect("error: reload refused")
        os.kill(process.child.pid, signal.SIGTERM)
        assert manager.expect("STOPPING") == {"STOPPING": "1", "STATUS": "ending"}
        assert process.finish() == 0
        assert manager.hear(0) is None


def test_nothing_is_ready_before_a_start_that_fails(tmp_path, manager):
    with socket.create_server(("127.0.0.1", 0)) as occupant:
        address = f"--listen=127.0.0.1:{occupant.getsockname()[1]}"
        with started(manager, tmp_path / "data", address) as process:
            assert process.finish() == 1
    assert manager.hear(0) is None


def test_the_watchdog_is_fed_twice_in_its_time(tmp_path, manager):
    """With the number of clients, which the manager shows."""
    manager.watch()
    with started(manager, tmp_path / "data") as process:
        port = port_of(process)
        with Client(("127.0.0.1", port)) as client, Client(("127.0.0.1", port)) as guest:
            client.connect("c", clean=False)
            guest.connect("g")
            line = f"127.0.0.1:{port} (tcp): 2 clients connected, 0 away"
            assert manager.expect("STATUS", line)["WATCHDOG"] == "1"
        line = f"127.0.0.1:{port} (tcp): 0 clients connected, 1 away"
        assert manager.expect("STATUS", line)["WATCHDOG"] == "1"
        times = []
        for _ in range(5):
            manager.expect("WATCHDOG")
            times.append(time.monotonic())
        # On a busy machine some come late, but not all of them; the first may have waited here.
        assert times[-1] - times[0] > 1.4 * WATCHDOG_SECS
        assert min(after - before for before, after in itertools.pairwise(times)) < 0.75 * WATCHDOG_SECS


def test_another_process_is_not_watched(tmp_path, manager):
    """WATCHDOG_PID says whom the manager means."""
    manager.watch()
    manager.environment["WATCHDOG_PID"] = str(os.getpid())
    with started(manager, tmp_path / "data"):
        manager.expect("READY")
        assert "WATCHDOG" not in manager.expect("STATUS")


@pytest.mark.parametrize("shard", [0, 1])
def test_the_watchdog_is_not_fed_while_an_event_loop_is_stuck(tmp_path, manager, shard):
    """One thread is held as a debugger would; the rest of the process goes on."""
    manager.watch()
    with started(manager, tmp_path / "data") as process:
        manager.expect("WATCHDOG")
        with held(process.child.pid, f"shard-{shard}"):
            complaint = "error: an event loop does not answer: .* is not told that all is well"
            process.expect(complaint)
            # It may have been fed just before.
            manager.expect("STATUS", "an event loop does not answer")
            deadline = time.monotonic() + 4 * WATCHDOG_SECS
            while message := manager.hear(deadline - time.monotonic()):
                assert "WATCHDOG" not in message
        manager.expect("WATCHDOG")
        process.expect("info: all event loops answer again")
        process.child.terminate()
        assert process.finish() == 0


@contextlib.contextmanager
def held(pid: int, name: str) -> Iterator[None]:
    """One thread of a child does not run meanwhile."""
    tasks = Path(f"/proc/{pid}/task")
    named = (task for task in tasks.iterdir() if (task / "comm").read_text() == name + "\n")
    thread = int(next(named).name)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long

    def trace(request: int) -> None:
        if libc.ptrace(request, thread, None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")

    trace(0x4206)  # PTRACE_SEIZE
    trace(0x4207)  # PTRACE_INTERRUPT
    os.waitpid(thread, 0x40000000)  # __WALL
    try:
        yield
    finally:
        trace(17)  # PTRACE_DETACH


def test_a_manager_that_is_not_there(tmp_path, manager):
    """Nobody needs to hear anything."""
    manager.environment["NOTIFY_SOCKET"] += "-nowhere"
    with started(manager, tmp_path / "data") as process:
        process.expect("warn: the service manager cannot be told how the broker is: .*-nowhere")
        with Client(("127.0.0.1", port_of(process))) as client:
            client.connect("c")
        process.child.terminate()
        assert process.finish() == 0


def activated(listening: socket.socket, *arguments: str) -> Process:
    """A broker that is handed this socket, as systemd does it: as descriptor 3, for this process."""
    prepare = 'exec 3<&"$1"; shift; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
    command = ["bash", "-c", prepare, "bash", str(listening.fileno()), bellbird_binary(), "start"]
    return Process([*command, *arguments], descriptors=(listening.fileno(),))


def test_a_socket_that_the_manager_has_bound(tmp_path):
    """It is there before the broker, and while it is started anew: nobody is refused."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        arguments = [f"--listen=127.0.0.1:{address[1]}", f"--data={tmp_path / 'data'}"]
        for number in range(2):
            with Client(address) as client:
                process = activated(listening, *arguments)
                try:
                    client.connect(f"c{number}")
                    assert port_of(process) == address[1]
                    process.child.terminate()
                    assert process.finish() == 0
                finally:
                    process.kill()


def test_a_socket_that_no_listener_wants(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = activated(listening, "--listen=127.0.0.1:0", f"--data={tmp_path / 'data'}")
        assert process.finish() == 1
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        complaint = f"the service manager listens on {address} for the broker, and no listener has"
        assert complaint in process.output()


def test_a_socket_that_is_not_for_clients(tmp_path, manager):
    """Neither a datagram nor a stream of TCP."""
    process = activated(manager.socket, "--listen=127.0.0.1:0", f"--data={tmp_path / 'data'}")
    assert process.finish() == 1
    assert "socket 0 of LISTEN_FDS = 1 is none that listens for TCP" in process.output()


def test_sockets_of_another_process_are_let_be(tmp_path):
    """LISTEN_PID says whose they are."""
    environment = {**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    command = [bellbird_binary(), "start", "--listen=127.0.0.1:0", f"--data={tmp_path / 'data'}"]
    process = Process(command, env=environment)
    try:
        process.expect("^ready$")
        process.child.terminate()
        assert process.finish() == 0
    finally:
        process.kill()
