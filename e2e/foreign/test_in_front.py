"""HAProxy and nginx in front of the broker, as their users set them up."""

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mqtt
import pytest
from broker import free_port, metrics
from packets import Kind
from process import Process, bellbird_binary
from tls import Certificates
from websocket import WebSocket

pytestmark = pytest.mark.bellbird

CLIENT = "127.0.0.2"
"""Whence clients come here; the proxies come from 127.0.0.1."""
PROXIES = 'proxies = ["127.0.0.1"]\n'
FORWARDED = PROXIES + 'transport = "websocket"\nproxies_say = "x_forwarded_for"\n'


class Behind:
    """A broker with one listener, behind a proxy."""

    def __init__(self, folder: Path, terms: str):
        self.folder = folder
        settings = folder / "bellbird.toml"
        settings.write_text(f'[[listeners]]\naddress = "127.0.0.1:0"\nanonymous = true\n{terms}')
        command = [bellbird_binary(), "start", f"--config={settings}", f"--data={folder / 'data'}"]
        self.process = Process(command)
        self.port = int(self.process.expect(r"^listening on 127\.0\.0\.1:(\d+) ")[1])
        self.process.expect("^ready$")

    def connections(self) -> int:
        """How many there have been."""
        return int(metrics(self.folder / "data")["bellbird_connections_accepted_total"])

    def clients(self) -> str:
        """What the operator is shown of them."""
        command = [bellbird_binary(), "clients", f"--data={self.folder / 'data'}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout


@contextmanager
def running(behind: Behind, proxy: Process) -> Iterator[None]:
    """Ends both, and shows what they said."""
    try:
        yield
    finally:
        for process in (proxy, behind.process):
            process.kill()
            print(process.output())


def haproxy(folder: Path, port: int, bind: str, frontend: str, server: str) -> Process:
    """HAProxy with one way through it."""
    settings = folder / "haproxy.cfg"
    settings.write_text(
        "global\n  maxconn 100\n"
        "defaults\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
        f"frontend here\n  bind 127.0.0.1:{port} {bind}\n  {frontend}\n  default_backend there\n"
        f"backend there\n  {frontend}\n  server bellbird {server}\n"
    )
    return Process(["haproxy", "-db", "-f", str(settings)])


def nginx(folder: Path, within: str, module: str = "") -> Process:
    """nginx in the foreground, with all that it writes in this folder."""
    settings = folder / "nginx.conf"
    folders = "client_body fastcgi proxy scgi uwsgi".split()
    temporary = "".join(f"{name}_temp_path {folder}/{name};\n" for name in folders)
    body = f"http {{\naccess_log off;\n{temporary}{within}\n}}\n" if not module else f"stream {{\n{within}\n}}\n"
    settings.write_text(
        f"{module}daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\n"
        f"error_log stderr notice;\nevents {{}}\n{body}"
    )
    return Process(["/usr/sbin/nginx", "-p", str(folder), "-e", "stderr", "-c", str(settings)])


def dial(port: int) -> socket.socket:
    """A stream to a proxy, once it listens."""
    stream = socket.create_connection(("127.0.0.1", port), mqtt.PATIENCE_SECS, (CLIENT, 0))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def assert_is_served(behind: Behind, client: mqtt.Client, shown: str) -> None:
    """Messages go both ways, and the operator sees where the client is."""
    client.connect("brought")
    client.subscribe(("t", 2))
    client.send_publish("t", b"x" * 100_000)
    came = {packet.kind: packet for packet in (client.receive(), client.receive())}
    assert came.keys() == {Kind.PUBACK, Kind.PUBLISH}
    assert len(came[Kind.PUBLISH].payload) == 100_000
    assert re.search(shown, behind.clients()), behind.clients()


@pytest.mark.parametrize("word", ["send-proxy", "send-proxy-v2"])
def test_haproxy(tmp_path, word):
    """Both versions of its protocol, with the client's own address and port."""
    behind, port = Behind(tmp_path, PROXIES), free_port()
    proxy = haproxy(tmp_path, port, "", "mode tcp", f"127.0.0.1:{behind.port} {word}")
    with running(behind, proxy):
        wait_for(proxy, port)
        with mqtt.Client.over(dial(port)) as client:
            assert_is_served(behind, client, f"{CLIENT}:{client.port}")


def test_haproxy_looks_whether_the_broker_is_there(tmp_path):
    """Its checks are connections of its own, and no reason to complain."""
    behind, port = Behind(tmp_path, PROXIES), free_port()
    there = f"127.0.0.1:{behind.port} send-proxy-v2 check check-send-proxy inter 20ms"
    proxy = haproxy(tmp_path, port, "", "mode tcp", there)
    with running(behind, proxy):
        wait_for(proxy, port)
        with mqtt.Client.over(dial(port)) as client:
            client.connect("brought")
            while behind.connections() < 10:
                client.ping()
        assert " refused" not in behind.process.output()


def test_haproxy_ends_tls(tmp_path):
    """And says which certificate it has verified, which is the user."""
    made = Certificates(tmp_path / "tls", "--client=ada")
    both = tmp_path / "both.pem"
    both.write_text(made.server.read_text() + made.server_key.read_text())
    behind = Behind(tmp_path, f'{PROXIES}proxied_clients = "encrypted"\nproxied_user_names = true\n')
    port = free_port()
    bind = f"ssl crt {both} ca-file {made.authority} verify optional"
    proxy = haproxy(tmp_path, port, bind, "mode tcp", f"127.0.0.1:{behind.port} send-proxy-v2-ssl-cn")
    with running(behind, proxy):
        wait_for(proxy, port)
        with mqtt.Client.over(made.seal(dial(port))) as client:
            assert_is_served(behind, client, f"{CLIENT}:{client.port}")
            assert "ada" not in behind.clients()
        certificate, key = made.client("ada")
        command = ["mosquitto_pub", "-h", "localhost", "-p", str(port), "-t", "t", "-m", "x", "-q", "1", "-d"]
        command += ["--cafile", str(made.authority), "--cert", str(certificate), "--key", str(key)]
        subprocess.run(command, timeout=20, check=True)
        with mqtt.Client.over(made.seal(dial(port), "ada")) as client:
            assert_is_served(behind, client, "ada")


def test_haproxy_forwards_websockets(tmp_path):
    behind, port = Behind(tmp_path, FORWARDED), free_port()
    server = f"127.0.0.1:{behind.port}"
    proxy = haproxy(tmp_path, port, "", "mode http\n  option forwardfor", server)
    with running(behind, proxy):
        wait_for(proxy, port)
        websocket = WebSocket.over(dial(port))
        assert websocket.upgrade().status == 101
        with mqtt.Client.over(websocket) as client:
            assert_is_served(behind, client, f"{CLIENT}(?!:)")


def test_nginx_forwards_websockets(tmp_path):
    behind, port = Behind(tmp_path, FORWARDED), free_port()
    proxy = nginx(
        tmp_path,
        f"server {{\nlisten 127.0.0.1:{port};\nlocation /mqtt {{\n"
        f"proxy_pass http://127.0.0.1:{behind.port};\nproxy_http_version 1.1;\n"
        'proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection "upgrade";\n'
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n}\n}",
    )
    with running(behind, proxy):
        wait_for(proxy, port)
        websocket = WebSocket.over(dial(port))
        assert websocket.upgrade(x_forwarded_for="203.0.113.7").status == 101
        with mqtt.Client.over(websocket) as client:
            # What the client itself has written is not believed.
            assert_is_served(behind, client, f"{CLIENT}(?!:)")


def test_nginx_passes_streams_on(tmp_path):
    """With version 1 of the PROXY protocol, which is what it speaks."""
    behind, port = Behind(tmp_path, PROXIES), free_port()
    stream = f"server {{\nlisten 127.0.0.1:{port};\nproxy_pass 127.0.0.1:{behind.port};\nproxy_protocol on;\n}}"
    proxy = nginx(tmp_path, stream, "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n")
    with running(behind, proxy):
        wait_for(proxy, port)
        with mqtt.Client.over(dial(port)) as client:
            assert_is_served(behind, client, f"{CLIENT}:{client.port}")


def wait_for(proxy: Process, port: int) -> None:
    """Until it listens, which neither of them says in a way that is the same everywhere."""
    listening = f":{port:04X} 00000000:0000 0A"
    while listening not in Path("/proc/net/tcp").read_text():
        assert proxy.child.poll() is None, f"it ended:\n{proxy.output()}"
