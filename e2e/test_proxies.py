"""What stands in front of the broker: the PROXY protocol, X-Forwarded-For, networks, and time."""

import contextlib
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mqtt
import packets
import pytest
from packets import Kind
from process import Process, bellbird_binary
from tls import Certificates
from websocket import WebSocket

pytestmark = pytest.mark.bellbird

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
BEHIND = 'proxies = ["127.0.0.1"]\n'
CLOCK_SECS = 0.005
"""The broker's clock counts milliseconds, and cuts what is less."""
LINE = b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 1883\r\n"


class Started:
    """A broker with one listener."""

    def __init__(self, settings: Path, folder: Path):
        self.settings, self.data = settings, folder / "data"
        command = [bellbird_binary(), "start", f"--config={settings}", f"--data={self.data}", "--shards=2"]
        self.process = Process(command)
        self.port = int(self.process.expect(r"^listening on 127\.0\.0\.1:(\d+) ")[1])
        self.process.expect("^ready$")

    def dial(self, first: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        """A stream from this address, on which something was said first."""
        stream = socket.create_connection(("127.0.0.1", self.port), mqtt.PATIENCE_SECS, (source, 0))
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.sendall(first)
        return stream

    def clients(self) -> str:
        """What the operator is shown of them."""
        command = [bellbird_binary(), "clients", f"--data={self.data}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout

    def reload(self) -> None:
        """Reads the settings again."""
        self.process.child.send_signal(signal.SIGHUP)
        self.process.expect(r" info: reload: changed: ")
        # Each shard answers, which it does after it has heard of it.
        self.clients()


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., Started]]:
    """Starts brokers with a listener that has these settings, and further tables behind it."""
    started: list[Started] = []

    def start_one(terms: str, tables: str = "") -> Started:
        settings = tmp_path / "bellbird.toml"
        settings.write_text(f'[[listeners]]\naddress = "127.0.0.1:0"\nanonymous = true\n{terms}{tables}')
        started.append(Started(settings, tmp_path))
        return started[-1]

    yield start_one
    for one in started:
        one.process.kill()
        print(one.process.output())


def header(source: tuple[str, int] = ("203.0.113.7", 5000), fields: bytes = b"", command: int = 1) -> bytes:
    """A header of version 2."""
    family = socket.AF_INET6 if ":" in source[0] else socket.AF_INET
    own, other = "::1" if ":" in source[0] else "10.0.0.1", socket.inet_pton
    body = other(family, source[0]) + other(family, own) + struct.pack("!HH", source[1], 1883) + fields
    transport = 0x21 if ":" in source[0] else 0x11
    return SIGNATURE + bytes([0x20 | command, transport]) + struct.pack("!H", len(body)) + body


def field(kind: int, value: bytes) -> bytes:
    """One field of a header."""
    return struct.pack("!BH", kind, len(value)) + value


def shown_tls(name: str = "", verify: int = 0) -> bytes:
    """That the client came to the proxy over TLS, perhaps with a certificate."""
    client = 3 if name else 1
    inner = field(0x21, b"TLSv1.3") + (field(0x22, name.encode()) if name else b"")
    return field(0x20, struct.pack("!BI", client, verify) + inner)


def assert_refused(stream: socket.socket) -> None:
    """Nothing is said, and the connection ends."""
    with contextlib.suppress(ConnectionResetError):
        assert stream.recv(1) == b""


@pytest.mark.parametrize("first, shown", [
    (LINE, "203.0.113.7:5000"),
    (b"PROXY TCP6 2001:db8::1 ::1 5000 1883\r\n", "[2001:db8::1]:5000"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1:"),
    (header(), "203.0.113.7:5000"),
    (header(("2001:db8::1", 5000)), "[2001:db8::1]:5000"),
    (header(fields=field(0x04, b"padding") + shown_tls()), "203.0.113.7:5000"),
    (header(command=0), "127.0.0.1:"),
])  # fmt: skip
@pytest.mark.parametrize("cut", [False, True], ids=["at once", "in pieces"])
def test_whoever_is_brought_is_shown(start, first, shown, cut):
    """With the address that the proxy says, however its bytes come."""
    broker = start(BEHIND)
    with broker.dial() as stream:
        if cut:
            for byte in first:
                stream.sendall(bytes([byte]))
        client = mqtt.Client.over(stream)
        stream.sendall((b"" if cut else first) + packets.connect("brought", 4))
        client.expect(Kind.CONNACK)
        assert shown in broker.clients()
        client.send_publish("t", b"x")
        client.expect(Kind.PUBACK)


@pytest.mark.parametrize("first, why", [
    (packets.connect("direct", 4), "it begins without a PROXY header: have the proxy send one"),
    (b"GET / HTTP/1.1\r\n", "it begins without a PROXY header"),
    (b"PROXY TCP4 nowhere 10.0.0.1 5000 1883\r\n", "its PROXY line means nothing"),
    (b"PROXY " + b"x" * 101, "its PROXY line means nothing"),
    (SIGNATURE + b"\x31\x11\0\0", "of another version than 1 or 2"),
    (SIGNATURE + b"\x21\x11\xff\xff", "too long"),
    (header()[:-1].replace(b"\0\x0c", b"\0\x0b"), "brings no stream"),
    (header(fields=b"\x04\0\xff"), "a field without an end"),
    (header(fields=field(0x03, b"\0\0\0\0")), "another checksum"),
])  # fmt: skip
def test_whoever_says_nothing_of_use_is_refused(start, first, why):
    broker = start(BEHIND)
    with broker.dial(first) as stream:
        assert_refused(stream)
    broker.process.expect(f"warn: connection from 127.0.0.1:[0-9]+ refused: .*{why}")


def test_nobody_comes_past_the_proxy(start):
    """Whoever could, could say to be anybody."""
    broker = start('proxies = ["127.0.0.9"]\n')
    with broker.dial(LINE) as stream:
        assert_refused(stream)
    broker.process.expect(r"warn: connection from 127.0.0.1:\d+ refused, by the listener's networks$")
    with broker.dial(LINE + packets.connect("brought", 4), source="127.0.0.9") as stream:
        mqtt.Client.over(stream).expect(Kind.CONNACK)


def test_networks(start):
    """Those of the listener count for who connects, and those who come later for other settings."""
    broker = start('allowed_networks = ["127.0.0.0/28"]\ndenied_networks = ["127.0.0.3"]\n')
    for source, is_let_in in (("127.0.0.1", True), ("127.0.0.3", False), ("127.0.0.77", False)):
        with contextlib.suppress(ConnectionResetError), broker.dial(source=source) as stream:
            stream.sendall(packets.connect("c", 4))
            assert bool(stream.recv(1)) == is_let_in, source
    with broker.dial(packets.connect("stays", 4)) as before:
        client = mqtt.Client.over(before)
        client.expect(Kind.CONNACK)
        text = broker.settings.read_text().replace("127.0.0.3", "127.0.0.1")
        broker.settings.write_text(text)
        broker.reload()
        client.ping()
        with broker.dial() as stream:
            assert_refused(stream)
    with broker.dial(packets.connect("c", 4), source="127.0.0.3") as stream:
        mqtt.Client.over(stream).expect(Kind.CONNACK)


def test_networks_are_those_of_whom_the_proxy_brings(start):
    broker = start(BEHIND + 'denied_networks = ["203.0.113.0/24", "127.0.0.0/8"]\n')
    with broker.dial(LINE) as stream:
        assert_refused(stream)
    broker.process.expect("warn: connection from 203.0.113.7:5000 refused: 203.0.113.7:5000 may not come here")
    with broker.dial(header(("198.51.100.9", 1)) + packets.connect("c", 4)) as stream:
        mqtt.Client.over(stream).expect(Kind.CONNACK)


@pytest.mark.parametrize("demand, fields, expected", [
    ("any", b"", "anonymous"),
    ("any", shown_tls("ada"), "ada"),
    ("encrypted", b"", "the client came to the proxy without TLS"),
    ("encrypted", shown_tls(), "anonymous"),
    ("certified", shown_tls(), "no certificate that the proxy has verified"),
    ("certified", shown_tls("ada", verify=18), "no certificate that the proxy has verified"),
    ("certified", shown_tls("ada"), "ada"),
])  # fmt: skip
def test_what_clients_have_shown_to_the_proxy(start, demand, fields, expected):
    """A name that the proxy has verified is the user name, and no password is asked for."""
    terms = f'{BEHIND}proxied_clients = "{demand}"\nproxied_user_names = true\n'
    broker = start(terms)
    with broker.dial(header(fields=fields)) as stream:
        if expected not in ("ada", "anonymous"):
            assert_refused(stream)
            broker.process.expect(f"warn: connection from .* refused: .*{expected}")
            return
        client = mqtt.Client.over(stream)
        client.send(packets.connect("c", 4))
        client.expect(Kind.CONNACK)
        assert ("ada" in broker.clients()) == (expected == "ada")


def test_tls_behind_the_header(start, tmp_path):
    """A proxy that passes TLS on speaks in front of it."""
    certificates = Certificates(tmp_path / "tls")
    tables = f'[listeners.tls]\ncertificates = "{certificates.server}"\nkeys = "{certificates.server_key}"\n'
    broker = start(f'{BEHIND}transport = "tls"\n', tables)
    client = mqtt.Client.over(certificates.seal(broker.dial(header())))
    with client:
        client.connect("within")
        assert "203.0.113.7:5000" in broker.clients()


def test_a_websocket_behind_the_header(start):
    broker = start(f'{BEHIND}transport = "websocket"\n')
    websocket = WebSocket(("127.0.0.1", broker.port))
    websocket.stream.sendall(LINE)
    assert websocket.upgrade().status == 101
    with mqtt.Client.over(websocket) as client:
        client.connect("within")
        assert "203.0.113.7:5000" in broker.clients()


@pytest.mark.parametrize("said, shown", [
    ("203.0.113.7", "203.0.113.7"),
    ("spoofed, 203.0.113.7", "203.0.113.7"),
    ("203.0.113.7, 127.0.0.1", "203.0.113.7"),
    ("2001:db8::1", "2001:db8::1"),
    ("nonsense", "127.0.0.1:"),
    (None, "127.0.0.1:"),
])  # fmt: skip
def test_forwarded_for(start, said, shown):
    """Whom a trusted proxy names in the request, and nobody whom others name."""
    terms = 'transport = "websocket"\nproxies_say = "x_forwarded_for"\n'
    broker = start(terms + 'proxies = ["127.0.0.1"]\ndenied_networks = ["198.51.100.0/24"]\n')
    websocket = WebSocket(("127.0.0.1", broker.port))
    assert websocket.upgrade(x_forwarded_for=said).status == 101
    with mqtt.Client.over(websocket) as client:
        client.connect("brought")
        assert shown in broker.clients()


def test_forwarded_for_of_nobody(start):
    """Who is no proxy is who it is, and whoever is denied is so behind the proxy, too."""
    terms = 'transport = "websocket"\nproxies_say = "x_forwarded_for"\n'
    broker = start(terms + 'proxies = ["127.0.0.9"]\ndenied_networks = ["198.51.100.0/24"]\n')
    websocket = WebSocket(("127.0.0.1", broker.port))
    assert websocket.upgrade(x_forwarded_for="203.0.113.7").status == 101
    with mqtt.Client.over(websocket) as client:
        client.connect("direct")
        assert "203.0.113.7" not in broker.clients()
    behind = WebSocket.over(broker.dial(source="127.0.0.9"))
    behind.upgrade(x_forwarded_for="198.51.100.9")
    behind.expect_closed(1000)
    broker.process.expect("warn: connection from 198.51.100.9 refused: 198.51.100.9 may not come here")


@pytest.mark.parametrize("terms, first, why", [
    (BEHIND + "proxy_secs = 1\n", b"", "proxy_secs"),
    (BEHIND + "proxy_secs = 1\n", LINE[:9], "proxy_secs"),
    ('transport = "tls"\ntls_secs = 1\n', b"", "tls_secs"),
    ('transport = "tls"\ntls_secs = 1\n', b"\x16\x03\x01\x02\x00", "tls_secs"),
    ('transport = "websocket"\nwebsocket_secs = 1\n', b"", "websocket_secs"),
    ('transport = "websocket"\nwebsocket_secs = 1\n', b"GET /mqtt HTTP/1.1\r\n", "websocket_secs"),
])  # fmt: skip
def test_each_stage_has_its_time(start, tmp_path, terms, first, why):
    """Whoever does not go on is disconnected, and told of; whoever has come through stays."""
    tables = ""
    if "tls" in terms:
        made = Certificates(tmp_path / "tls")
        tables = f'[listeners.tls]\ncertificates = "{made.server}"\nkeys = "{made.server_key}"\n'
    broker = start(terms, tables)
    with broker.dial(first) as stream:
        assert_refused(stream)
    broker.process.expect(rf"warn: connection from 127\.0\.0\.1:\d+ ended: .* in time \({why}\)$")


def test_strangers_make_room_for_each_other(start):
    """Whoever says nothing does not keep out who does."""
    broker = start("", "[limits]\nstrangers_max = 8\n")
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(broker.dial()) for _ in range(40)]
        client = mqtt.Client.over(stack.enter_context(broker.dial()))
        client.connect("honest")
        # Four may wait in each shard, wherever they came.
        left, deadline = set(idle), time.monotonic() + mqtt.PATIENCE_SECS
        while len(left) > 8:
            ended, _, _ = select.select(left, [], [], deadline - time.monotonic())
            assert ended, f"{len(left)} are there still"
            left -= set(ended)
        client.ping()


def test_connections_come_at_a_rate(start):
    """Those beyond it are accepted later, and lose nothing by it."""
    broker = start("connections_per_sec = 40\n")
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        clients = [mqtt.Client.over(stack.enter_context(broker.dial())) for _ in range(90)]
        for number, client in enumerate(clients):
            client.send(packets.connect(f"c{number}", 4))
        for client in clients:
            client.expect(Kind.CONNACK)
        # Each of two shards takes its twenty in a second, and twenty and the one under way at once.
        assert time.monotonic() - began >= (90 - 2 * 21) / 40 - CLOCK_SECS


@pytest.mark.parametrize("over", ["wait", "disconnect"])
def test_messages_come_at_a_rate(start, over):
    """Who publishes more waits, and gets all its acknowledgements; or it is told and disconnected."""
    broker = start(f'client_messages_per_sec = 10\nover_rate = "{over}"\n')
    with mqtt.Client.over(broker.dial(), 5) as client:
        client.connect("hasty")
        began = time.monotonic()
        ids = [client.send_publish("t", b"x") for _ in range(21)]
        if over == "wait":
            for packet_id in ids:
                client.expect(Kind.PUBACK, packet_id=packet_id)
            assert time.monotonic() - began >= 1.0 - CLOCK_SECS
        else:
            while (packet := client.receive()).kind == Kind.PUBACK:
                pass
            assert (packet.kind, packet.code) == (Kind.DISCONNECT, 0x96)


def test_versions(start):
    """Others are told so."""
    broker = start('versions = ["5.0"]\n')
    for level, code in ((5, 0), (4, 1), (3, 1)):
        with mqtt.Client.over(broker.dial(), level) as client:
            client.send(packets.connect(f"c{level}", level))
            assert client.expect(Kind.CONNACK).code == code
    broker.process.expect("refused: this version of MQTT is not among the listener's versions$")
