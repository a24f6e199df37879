"""mqtt.js in a headless Chromium, over WebSocket and WebSocket over TLS, as a page uses it."""

import base64
import hashlib
import http.server
import json
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from broker import Broker, shown
from process import ROOT, Process, bellbird_binary
from tls import Certificates

pytestmark = pytest.mark.bellbird

LIBRARY = ROOT / "target" / "e2e" / "node" / "node_modules" / "mqtt" / "dist" / "mqtt.min.js"
BROWSER = "/usr/bin/chromium"
PATIENCE_SECS = 60
"""A browser takes some seconds to start where others work as well."""

PAGE = """<!doctype html><script src="/mqtt.js"></script><script>
const [url, options] = JSON.parse(decodeURIComponent(location.hash.slice(1)));
let isDone = false;
const done = result => {
  if (!isDone) fetch("/result", {method: "POST", body: JSON.stringify(result)});
  isDone = true;
};
const client = mqtt.connect(url, {reconnectPeriod: 0, connectTimeout: 20000, ...options});
const came = [];
client.on("error", error => done({error: String(error.message || error.type || error)}));
client.on("close", () => done({error: "closed"}));
client.on("connect", async () => {
  try {
    const granted = await client.subscribeAsync("page/#", {qos: 2});
    client.on("message", (topic, payload, packet) => {
      came.push([topic, payload.length > 100 ? payload.length : payload.toString(), packet.qos]);
      if (came.length === 4) done({granted: granted[0].qos, came});
    });
    for (const qos of [0, 1, 2]) await client.publishAsync("page/" + qos, "grüße, 你好", {qos});
    await client.publishAsync("page/large", "x".repeat(300000), {qos: 1});
  } catch (error) { done({error: String(error)}); }
});
</script>"""


class Page(http.server.BaseHTTPRequestHandler):
    """A page with the library, which says at the end what it has seen."""

    def do_GET(self) -> None:
        """Serves the page or the library."""
        if self.path == "/mqtt.js":
            self._answer("text/javascript", LIBRARY.read_bytes())
        else:
            self._answer("text/html; charset=utf-8", PAGE.encode())

    def do_POST(self) -> None:
        """Takes what the page has seen."""
        said = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.results.put(json.loads(said))
        self._answer("text/plain", b"")

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    """Those that the browser is told to trust."""
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    """Serves the page."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.results = queue.Queue()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def visit(tmp_path, certificates, server) -> Iterator[Callable[..., dict]]:
    """Opens the page in a browser of its own, and returns what it has seen of a broker."""
    browsers: list[Process] = []

    def one(broker: str, **options) -> dict:
        place = quote(json.dumps([broker, options]))
        command = [
            BROWSER,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            f"--user-data-dir={tmp_path / 'browser'}",
            # It trusts this one key, and judges all others as usual.
            f"--ignore-certificate-errors-spki-list={key_hash(certificates.server)}",
            f"http://127.0.0.1:{server.server_port}/#{place}",
        ]
        browsers.append(Process(command))
        return server.results.get(timeout=PATIENCE_SECS)

    yield one
    for browser in browsers:
        browser.child.terminate()
        browser.finish()
        print(browser.output())


def key_hash(certificate: Path) -> str:
    """The hash of a certificate's public key."""
    key = ["openssl", "x509", "-in", str(certificate), "-noout", "-pubkey"]
    pem = subprocess.run(key, check=True, capture_output=True).stdout
    binary = ["openssl", "pkey", "-pubin", "-outform", "der"]
    der = subprocess.run(binary, input=pem, check=True, capture_output=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_page_publishes_and_subscribes(tmp_path, visit, certificates, scheme, version):
    """At each QoS, with letters of many languages, and more than fits into one frame."""
    broker = Broker(tmp_path / "data", shards=2).offer_websocket().offer_tls(certificates)
    with shown(broker):
        port = broker.websocket_port if scheme == "ws" else broker.websocket_tls_port
        found = visit(f"{scheme}://localhost:{port}/mqtt", protocolVersion=version)
    text = "grüße, 你好"
    expected = [[f"page/{qos}", text, qos] for qos in range(3)] + [["page/large", 300_000, 1]]
    assert found == {"granted": 2, "came": expected}


@pytest.mark.parametrize("is_named", [True, False])
def test_pages_that_may_connect(tmp_path, visit, server, is_named):
    """Others are refused, and the log says which page it was."""
    origin = f"http://127.0.0.1:{server.server_port}"
    named = origin if is_named else "https://app.example.com"
    settings = tmp_path / "bellbird.toml"
    settings.write_text(
        '[[listeners]]\naddress = "127.0.0.1:0"\ntransport = "websocket"\n'
        f'websocket_origins = ["{named}"]\n'
    )
    process = Process([bellbird_binary(), "start", f"--config={settings}", f"--data={tmp_path / 'data'}"])
    try:
        port = process.expect(r"^listening on 127\.0\.0\.1:(\d+) ")[1]
        process.expect("^ready$")
        found = visit(f"ws://localhost:{port}/mqtt")
        assert ("came" in found) == is_named, found
        if not is_named:
            process.expect(f'warn: request for a WebSocket from .* refused: .*; origin "{origin}"$')
    finally:
        process.kill()


def test_a_certificate_that_nobody_trusts(tmp_path, visit):
    """The browser refuses it, and the log says so."""
    broker = Broker(tmp_path / "data").offer_tls(Certificates(tmp_path / "other"))
    with shown(broker):
        found = visit(f"wss://localhost:{broker.websocket_tls_port}/mqtt")
        assert "came" not in found
        broker.process.expect(r"warn: TLS connection from \S+ ended: ")
