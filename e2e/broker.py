"""Brokers under test, as processes: Bellbird, and Debian's mosquitto to compare with."""

import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from process import ROOT, Process, bellbird_binary
from tls import Certificates

SCRATCH = ROOT / "target" / "e2e" / "tmp"
"""Where the scripts put data directories: on the disk of the tree, since a RAM disk never syncs."""


class Broker:
    """A broker that keeps its data directory and its port from one start to the next."""

    kind = "bellbird"

    def __init__(self, directory: Path, shards: int = 1, wrapper: list[str] | None = None):
        self.directory = directory
        self.shards = shards
        self.wrapper = wrapper or []
        self.arguments: list[str] = []
        self.port = 0
        self.websocket_port: int | None = None
        self.tls: Certificates | None = None
        self.tls_port = self.websocket_tls_port = 0
        self.unix_directory: tempfile.TemporaryDirectory | None = None
        self.process: Process | None = None
        self.past_output = ""

    def __enter__(self) -> "Broker":
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Kills the broker, and removes what it has outside of its data directory."""
        self.kill()
        if self.unix_directory:
            self.unix_directory.cleanup()

    @property
    def address(self) -> tuple[str, int]:
        """Where clients connect to."""
        return "127.0.0.1", self.port

    @property
    def websocket_address(self) -> tuple[str, int]:
        """Where clients connect to over WebSocket."""
        assert self.websocket_port is not None, "the broker was started without a WebSocket"
        return "127.0.0.1", self.websocket_port

    def offer_websocket(self) -> "Broker":
        """Also listens for MQTT over WebSocket, from the next start on."""
        self.websocket_port = self.websocket_port or 0
        return self

    def offer_tls(self, certificates: Certificates) -> "Broker":
        """Also listens for MQTT over TLS, with and without WebSocket, from the next start on."""
        self.tls = certificates
        return self

    def offer_unix(self) -> "Broker":
        """Also listens for MQTT on a Unix socket, from the next start on."""
        # The address of a socket has 107 bytes, which the directory of a test alone may take.
        self.unix_directory = self.unix_directory or tempfile.TemporaryDirectory(prefix="bellbird-")
        return self

    @property
    def unix_path(self) -> str:
        """Where clients connect to through the file system."""
        assert self.unix_directory, "the broker was started without a Unix socket"
        return f"{self.unix_directory.name}/mqtt.sock"

    @property
    def unix_address(self) -> tuple[str, int]:
        """The same for clients that want a port, which means nothing."""
        return self.unix_path, 1

    @property
    def tls_address(self) -> tuple[str, int]:
        """Where clients connect to over TLS."""
        assert self.tls_port, "the broker was started without TLS"
        return "127.0.0.1", self.tls_port

    @property
    def websocket_tls_address(self) -> tuple[str, int]:
        """Where clients connect to over WebSocket over TLS."""
        assert self.websocket_tls_port, "the broker was started without TLS"
        return "127.0.0.1", self.websocket_tls_port

    @property
    def pid(self) -> int:
        """The broker's process id, which under a wrapper is that of its child."""
        pid = self.process.child.pid
        if not self.wrapper:
            return pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def start(self) -> None:
        """Starts the broker and waits until it is ready."""
        self.process = Process(self.wrapper + self._command())
        self._wait_until_ready()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ends the broker with a signal and expects status 0."""
        os.kill(self.pid, number)
        status = self.process.finish()
        log = self._retire()
        assert status == 0, f"status {status} after signal {number}; its output:\n{log}"

    def kill(self) -> None:
        """Kills the broker, if it runs, before it can write anything more."""
        if self.process is None:
            return
        if self.process.child.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.process.child.wait()
        self.process.kill()
        self._retire()

    def log(self) -> str:
        """The output of all starts so far."""
        return self.past_output + (self.process.output() if self.process else "")

    def metrics(self, patience_secs: float = 10.0) -> dict[str, float]:
        """All metrics by name, labels included."""
        return metrics(self.directory, patience_secs)

    def ask_control(self, request: bytes, patience_secs: float = 10.0) -> bytes:
        """What the control socket answers."""
        return ask_control(self.directory, request, patience_secs)

    def _retire(self) -> str:
        log = self.process.output()
        self.past_output += log + "\n--- end of the process ---\n"
        self.process = None
        return log

    def _command(self) -> list[str]:
        is_offered = self.websocket_port is not None
        websocket = [f"--listen-websocket=127.0.0.1:{self.websocket_port}"] if is_offered else []
        return [
            bellbird_binary(),
            "start",
            f"--listen=127.0.0.1:{self.port}",
            *websocket,
            *(self._tls_arguments() if self.tls else []),
            *([f"--listen-unix={self.unix_path}"] if self.unix_directory else []),
            f"--data={self.directory}",
            f"--shards={self.shards}",
            *self.arguments,
        ]

    def _tls_arguments(self) -> list[str]:
        return [
            f"--listen-tls=127.0.0.1:{self.tls_port}",
            f"--listen-websocket-tls=127.0.0.1:{self.websocket_tls_port}",
            f"--tls-certificate={self.tls.server}",
            f"--tls-key={self.tls.server_key}",
        ]

    def _wait_until_ready(self) -> None:
        found = self.process.expect(r"^listening on 127\.0\.0\.1:(\d+) \(mqtt, tcp\)$")
        self.port = int(found[1])
        if self.unix_directory:
            self.process.expect(r"^listening on \S+ \(mqtt, unix socket\)$")
        if self.websocket_port is not None:
            found = self.process.expect(r"^listening on \S+:(\d+) \(mqtt, websocket at /mqtt\)$")
            self.websocket_port = int(found[1])
        if self.tls:
            found = self.process.expect(r"^listening on \S+:(\d+) \(mqtt, tls\)$")
            self.tls_port = int(found[1])
            found = self.process.expect(r"^listening on \S+:(\d+) \(mqtt, websocket over tls at /mqtt\)$")
            self.websocket_tls_port = int(found[1])
        self.process.expect("^ready$")


class Mosquitto(Broker):
    """Debian's mosquitto with persistence on and everything else at its defaults."""

    kind = "mosquitto"

    def _command(self) -> list[str]:
        self.port = self.port or free_port()
        self.directory.mkdir(parents=True, exist_ok=True)
        settings = self.directory / "mosquitto.conf"
        settings.write_text(
            f"listener {self.port} 127.0.0.1\n"
            "allow_anonymous true\n"
            "persistence true\n"
            f"persistence_location {self.directory.resolve()}/\n"
            "log_dest stderr\n"
            "user root\n"
        )
        return ["/usr/sbin/mosquitto", "-c", str(settings)]

    def _wait_until_ready(self) -> None:
        self.process.expect(r"mosquitto version \S+ running")


KINDS = {broker.kind: broker for broker in (Broker, Mosquitto)}


def ask_control(data: Path, request: bytes, patience_secs: float = 10.0) -> bytes:
    """What the control socket in a data directory answers."""
    # The address of a socket has 107 bytes, which the directory alone may take.
    directory = os.open(data, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(patience_secs)
            control.connect(f"/proc/self/fd/{directory}/control.sock")
            control.sendall(request)
            return b"".join(iter(lambda: control.recv(1 << 16), b""))
    finally:
        os.close(directory)


def metrics(data: Path, patience_secs: float = 10.0) -> dict[str, float]:
    """All metrics by name, labels included, from the control socket in a data directory."""
    answer = ask_control(data, b"GET /metrics HTTP/1.0\r\n\r\n", patience_secs).decode()
    lines = answer.split("\r\n\r\n", 1)[-1].splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


@contextmanager
def shown(broker: Broker) -> Iterator[Broker]:
    """A running broker, whose log is shown if the test fails."""
    try:
        broker.start()
        yield broker
    finally:
        broker.close()
        print(broker.log())


KIND_UNDER_TEST = os.environ.get("BROKER", Broker.kind)
"""BROKER=mosquitto checks the tests rather than the broker."""


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
