"""The control socket, the port for health and metrics, the commands, and $SYS."""

import http.client
import json
import os
import re
import stat
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import packets
import pytest
from broker import Broker, bellbird_binary, shown
from mqtt import Client
from packets import Kind, Property
from process import Process

pytestmark = pytest.mark.bellbird


class Watched(Broker):
    """A broker with a port for metrics, that says $SYS every second."""

    def __init__(self, directory: Path, shards: int = 1):
        super().__init__(directory, shards)
        self.arguments = ["--admin=127.0.0.1:0", "--sys-interval=1"]
        self.admin_port = 0

    def _wait_until_ready(self) -> None:
        super()._wait_until_ready()
        ports = re.findall(r"^health and metrics on http://127\.0\.0\.1:(\d+)$", self.log(), re.M)
        self.admin_port = int(ports[-1])

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Status and body from the port."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metrics(self) -> dict[str, int]:
        """All metrics by name, labels included."""
        code, text = self.get("/metrics")
        assert code == 200
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {name: int(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def command(self, *arguments: str) -> subprocess.CompletedProcess:
        """One of the program's commands for this broker."""
        return run(*arguments, f"--data={self.directory}")


@pytest.fixture
def broker(tmp_path, shards) -> Iterator[Watched]:
    """A watched broker; its log is shown when the test fails."""
    broker = Watched(tmp_path / "data", shards)
    with shown(broker):
        yield broker


def run(*arguments: str) -> subprocess.CompletedProcess:
    """The program with these arguments, whatever its exit code."""
    command = [bellbird_binary(), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_the_socket_is_for_its_owner_and_goes_with_the_broker(broker):
    """A socket left by a broker that was killed is replaced."""
    door = broker.directory / "control.sock"
    assert stat.S_IMODE(door.stat().st_mode) == 0o600
    assert broker.ask_control(b"GET /health HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nok\n")
    broker.kill()
    assert door.is_socket()
    broker.start()
    assert broker.ask_control(b"GET /ready HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nready\n")
    broker.stop()
    assert not door.exists()


def test_commands(broker, client):
    """What a client does is seen; a kick closes its connection and keeps its session."""
    name = "a/b ü?%zz.."
    guest = client(name, level=5, clean=False, props={Property.SESSION_EXPIRY: 60})
    guest.subscribe(("t/#", 1))
    client("other").publish("t/1", b"xyz", qos=1)
    status = json.loads(broker.command("status", "--json").stdout)
    assert status["clients_connected"] == 2
    assert status["subscriptions"] == 1
    assert status["deliveries"]["inflight"] == 1
    answer = broker.command("status").stdout
    assert "2 connected, 0 away" in answer
    assert re.search(r"^retained      0, and \d+ of \$SYS$", answer, re.M)
    assert status["retained"] == 0 < status["retained_system"]
    word = "shard" if broker.shards == 1 else "shards"
    assert re.search(rf" {broker.shards} {word}$", answer, re.M)
    listed = broker.command("clients", "--json").stdout.splitlines()
    lines = {line["client_id"]: line for line in map(json.loads, listed)}
    assert set(lines) == {name, "other"}
    assert lines[name]["version"] == "5.0"
    assert lines[name]["address"].startswith("127.0.0.1:")
    assert lines[name]["inflight"] == 1
    assert lines[name]["subscriptions"] == 1
    assert len(broker.command("clients").stdout.splitlines()) == 3
    kicked = broker.command("kick", name)
    assert kicked.returncode == 0, kicked.stderr
    assert "is disconnected" in kicked.stdout
    guest.expect_message(b"xyz", ack=False)
    assert guest.expect_closed().code == 0x98
    again = broker.command("kick", name)
    assert again.returncode == 1
    assert "no such client is connected" in again.stderr
    listed = broker.command("clients", "--json").stdout.splitlines()
    lines = {line["client_id"]: line for line in map(json.loads, listed)}
    assert not lines[name]["connected"]


@pytest.mark.parametrize("is_away", [True, False], ids=["away", "connected"])
def test_the_end_of_a_session(broker, client, is_away):
    """Its queue and its subscriptions go with it, and a restart does not bring it back."""
    guest = client("a/b", level=5, clean=False, props={Property.SESSION_EXPIRY: 600})
    guest.subscribe(("t/#", 1))
    if is_away:
        guest.disconnect()
        client("other").publish("t/1", b"xyz", qos=1)
    ended = broker.command("kick", "--end-session", "a/b")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == 'client "a/b" has no session any more\n'
    if not is_away:
        assert guest.expect_closed().code == 0x98
    again = broker.command("kick", "--end-session", "a/b")
    assert again.returncode == 1
    assert "no such client has a session" in again.stderr
    broker.kill()
    broker.start()
    with Client(broker.address, 5) as guest:
        connack = guest.connect("a/b", clean=False, props={Property.SESSION_EXPIRY: 600})
        assert not connack.session_present
        guest.ping()


def test_pages_of_clients(broker, client):
    """Each client is on one page."""
    names = {f"c{number}" for number in range(40)}
    for name in names:
        client(name)
    seen, after = [], ""
    while True:
        path = f"/v1/clients?limit=1{after}"
        answer = broker.ask_control(f"GET {path} HTTP/1.0\r\n\r\n".encode()).split(b"\r\n\r\n")[1]
        page = json.loads(answer)
        seen += [line["client_id"] for line in page["clients"]]
        if page["next"] is None:
            break
        after = "&after=" + urllib.parse.quote(page["next"])
    assert sorted(seen) == sorted(names)


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /v1/clients?after=x",
        "GET /v1/clients?limit=x",
        "GET /v1/clients?limit=1&limit=2",
        "DELETE /v1/clients/%ff",
        "DELETE /v1/sessions/%ff",
        "DELETE /v1/sessions/%zz",
        "DELETE /v1/clients/a%2",
    ],
)
def test_what_is_not_understood_is_explained(broker, request_line):
    """In JSON, like every error."""
    head, body = broker.ask_control(f"{request_line} HTTP/1.0\r\n\r\n".encode()).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400 ")
    assert set(json.loads(body)) == {"error"}
    assert body.endswith(b"}\n")


def test_the_version_is_not_known_after_a_restart(broker, client):
    """The log does not say what a client spoke."""
    client("away", level=5, clean=False, props={Property.SESSION_EXPIRY: 600}).disconnect()

    def version() -> str | None:
        return json.loads(broker.command("clients", "--json").stdout)["version"]

    assert version() == "5.0"
    broker.stop()
    broker.start()
    assert version() is None
    assert re.search(r"^away +- +- +- +away ", broker.command("clients").stdout, re.M)
    with Client(broker.address, 5) as again:
        again.connect("away", clean=False, props={Property.SESSION_EXPIRY: 600})
        assert version() == "5.0"


def test_no_broker(tmp_path):
    """The commands say that there is none, and where they looked."""
    for command in (["status"], ["clients"], ["kick", "x"], ["kick", "--end-session", "x"]):
        answer = run(*command, f"--data={tmp_path}")
        assert answer.returncode == 1
        assert f"no broker runs on the data in {tmp_path}" in answer.stderr


def test_commands_ask_ones_own_broker_first(tmp_path):
    """And the service's only where there is none."""
    with Broker(tmp_path / "bellbird") as broker:
        answer = subprocess.run(
            [bellbird_binary(), "status"],
            env={**os.environ, "XDG_DATA_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert f"process {broker.pid}," in answer.stdout, answer.stderr


def test_metrics_are_for_this_machine(tmp_path):
    answer = run("start", "--listen=127.0.0.1:0", f"--data={tmp_path}", "--admin=0.0.0.0:0")
    assert answer.returncode == 1
    assert "give a loopback address" in answer.stderr


def test_the_port_offers_no_command(broker, client):
    client("guest")
    assert broker.get("/health") == (200, "ok\n")
    assert broker.get("/ready") == (200, "ready\n")
    code, body = broker.get("/metrics", "POST")
    assert (code, list(json.loads(body))) == (405, ["error"])
    for method, path in [
        ("GET", "/"),
        ("GET", "/v1/status"),
        ("GET", "/v1/clients"),
        ("DELETE", "/v1/clients/guest"),
        ("DELETE", "/v1/sessions/guest"),
    ]:
        code, body = broker.get(path, method)
        assert (code, list(json.loads(body))) == (404, ["error"])
    nowhere = broker.ask_control(b"GET /v2 HTTP/1.0\r\n\r\n")
    assert b'{"error":' in nowhere
    assert broker.metrics()['bellbird_sessions{state="connected"}'] == 1


def test_the_equation_holds(broker, client, dial):
    """With a subscriber that does not read, one that is away, and one whose session ends."""
    slow = client("slow")
    slow.subscribe(("flood/#", 0))
    away = client("away", level=5, clean=False, props={Property.SESSION_EXPIRY: 600})
    away.subscribe(("flood/#", 1))
    away.disconnect()
    gone = client("gone")
    gone.subscribe(("flood/#", 1))
    publisher = client("publisher")
    payload = bytes(60_000)
    for number in range(300):
        publisher.publish(f"flood/{number}", payload, qos=0)
    for number in range(20):
        publisher.publish(f"flood/{number}", b"kept", qos=1)
    gone.close()
    dial().send(b"\x00\x01")
    publisher.ping()
    found = broker.metrics()
    dropped = {name: value for name, value in found.items() if "_dropped_total{" in name}
    parts = sum(found[f"bellbird_deliveries_{part}"] for part in WAITING)
    ended = found["bellbird_deliveries_done_total"] + found["bellbird_deliveries_expired_total"]
    assert found["bellbird_deliveries_routed_total"] == ended + parts + sum(dropped.values())
    assert dropped['bellbird_deliveries_dropped_total{reason="outbox_full"}'] > 0
    assert dropped['bellbird_deliveries_dropped_total{reason="offline_qos0"}'] == 300
    assert found["bellbird_deliveries_queued"] >= 20
    assert found['bellbird_publishes_received_total{qos="0"}'] == 300
    assert found['bellbird_publishes_received_total{qos="1"}'] == 20
    assert found["bellbird_payload_received_bytes_total"] == 300 * 60_000 + 20 * 4
    assert found["bellbird_received_bytes_total"] > 18_000_000
    assert found["bellbird_messages_received_total"] == 320
    assert found["bellbird_subscriptions"] >= 2


def test_sys_topics(broker, client):
    """Values come as retained messages, then when they change, and nobody else may say them."""
    command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(broker.port), "-v", "-t", "$SYS/#"]
    watcher = Process(command)
    try:
        watcher.expect(r"^\$SYS/broker/version bellbird version \d")
        watcher.expect(r"^\$SYS/broker/clients/connected 1$")
        client("second")
        watcher.expect(r"^\$SYS/broker/clients/connected 2$")
        watcher.expect(r"^\$SYS/broker/retained messages/count \d+$")
        watcher.expect(r"^\$SYS/broker/load/messages/received/1min \d+\.\d\d$")
        watcher.expect(r"^\$SYS/broker/uptime \d+ seconds$")
        liar = client("liar", level=5)
        refused = liar.send_publish("$SYS/broker/uptime", b"0", qos=1)
        assert liar.expect(Kind.PUBACK, packet_id=refused).code == 0x87
        old = client("old")
        old.publish("$SYS/broker/uptime", b"0", qos=1)
        assert broker.metrics()["bellbird_publishes_refused_total"] == 2
        watcher.expect(r"^\$SYS/broker/uptime \d+ seconds$")
        assert "uptime 0\n" not in watcher.output()
    finally:
        watcher.kill()


def test_sys_topics_touch_no_disk(broker, client):
    """Also with a subscriber whose session is durable."""
    keeper = client("keeper", clean=False)
    keeper.send(packets.subscribe(1, [("$SYS/broker/uptime", 1)], 4))
    while keeper.receive().kind != Kind.SUBACK:
        pass  # What is published meanwhile may come first.

    def log_bytes() -> int:
        files = [path for path in broker.directory.rglob("*") if path.is_file()]
        return sum(os.stat(path).st_size for path in files)

    def written() -> int:
        text = Path(f"/proc/{broker.pid}/io").read_text()
        return int(re.search(r"^write_bytes: (\d+)$", text, re.M)[1])

    keeper.expect_message()
    before = log_bytes(), written()
    for _ in range(3):
        keeper.expect_message()
    assert (log_bytes(), written()) == before


def test_refusals_are_in_the_status(broker, client, dial):
    """As among the metrics: publications, and connections by what they were told."""
    client("liar", level=4).publish("$SYS/broker/uptime", b"0", qos=1)
    nobody = dial(4)
    nobody.send(packets.connect("", 4, clean=False))
    assert nobody.expect(Kind.CONNACK).code == 2
    status = json.loads(broker.command("status", "--json").stdout)
    refused = status["refused"]
    assert refused == {"publishes": 1, "connections": {"0x85": 1}}
    answer = broker.command("status").stdout
    assert "\nrefused       1 publication and 1 connection\n  0x85        1 client identifier" in answer


WAITING = ("inflight", "queued", "unsent")
