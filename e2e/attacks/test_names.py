"""Names that would write into the log, or onto the terminal of whoever reads it (class 16).

CVE-2020-13821 (HiveMQ: a client identifier ran as a script in the console) and CVE-2019-11287 (RabbitMQ: a
header did, from its logs). What is refused has such a test in test_log.py; here is everything that the
broker says of clients, and the commands.
"""

import json
import re
import subprocess
from pathlib import Path

import mqtt
import packets
import pytest
from broker import Broker
from packets import Kind, Will
from process import bellbird_binary
from websocket import WebSocket

pytestmark = pytest.mark.bellbird

EVERYTHING = '[log]\nlevel = "debug"\nevents = true\n'
FORGED = "forged"
NASTY = {
    "line feed": f"x\n2026-01-01T00:00:00.000Z info: {FORGED}",
    "carriage return": f"x\r2026-01-01T00:00:00.000Z info: {FORGED}",
    "escape": f"x\x1b[2J\x1b]0;{FORGED}\x07",
    "control sequence of one character": f"x\x9b2J{FORGED}",
    "next line": f"x\x85{FORGED}",
    "line separator": f"x\u2028{FORGED}\u2029",
    "backspace": f"secret\x08\x08\x08\x08\x08\x08{FORGED}",
    "bidirectional": f"x\u202e{FORGED}\u2066",
    "script": f'x"><script>alert("{FORGED}")</script>',
    "quote": f'x" as user "admin" connected, {FORGED}',
    "backslash": f"x\\n{FORGED}\\",
}
RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What must not stand in a line as it is; its end is looked for apart."""
LINE = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z (?:error|warn|info|debug): ")


def say_everything(broker: Broker, name: str, level: int) -> None:
    """Lets this name stand wherever a client may put one."""
    with mqtt.Client(broker.address, level) as other, mqtt.Client(broker.address, level) as one:
        other.connect("other")
        one.connect(name, user=name, password="unlogged", will=Will("w/" + name, b"gone"))
        one.subscribe((name, 1), ("$share/group/" + name, 1), ("$exclusive/x/" + name, 1))
        one.send(packets.publish(name, b"x", level, qos=1, packet_id=7, retain=True))
        while one.receive().kind != Kind.PUBACK:
            pass
        one.send(packets.publish("$" + name, b"x", level, qos=0))
        one.send(packets.unsubscribe(9, [name], level) + packets.publish("#" + name, b"x", level))
        while one.receive().kind != Kind.UNSUBACK:
            pass
    with mqtt.Client(broker.address, level) as again:
        again.send(packets.connect(name, level, will=Will("$" + name, b"x")))
        again.expect_closed()


@pytest.mark.parametrize("what", NASTY)
def test_no_name_writes_into_the_log(launch, level, what):
    """With every line that there is: each is the broker's own, and printable."""
    broker, name = launch(EVERYTHING), NASTY[what]
    say_everything(broker, name, level)
    for path, fields in ((f"/{name}", {}), ("/mqtt", {"Origin": name}), ("/mqtt", {"Sec_WebSocket_Protocol": name})):
        if not set(name) & {"\n", "\r"}:
            opened = WebSocket(broker.websocket_address)
            opened.stream.sendall(request_bytes(path, fields))
            opened.response()
            opened.close()
    broker.stop()
    lines = broker.log().splitlines(keepends=False)
    about = [line for line in lines if FORGED in line]
    assert about, "the name is in the log somewhere"
    for line in about:
        assert LINE.match(line), f"a line that a client wrote: {line!r}"
        assert not RAW.search(line), f"raw: {line!r}"
    if what == "quote":
        assert not [line for line in about if 'as user "admin"' in line], "a quote ends nothing"
    assert "unlogged" not in broker.log()


def request_bytes(path: str, fields: dict[str, str]) -> bytes:
    """An upgrade with any characters in it."""
    usual = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
             "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "mqtt"}  # fmt: skip
    usual |= {name.replace("_", "-"): value for name, value in fields.items()}
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in usual.items()), "", ""]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize("what", NASTY)
def test_no_name_commands_the_terminal(launch, client, what):
    """`bellbird clients` prints a printable line for each; JSON and metrics are whole and say the true name."""
    broker, name = launch(), NASTY[what]
    client(broker, name, user=name, password="unlogged")
    client(broker, "other")
    for form in ("clients", "status"):
        text = command(form, broker.directory)
        assert not RAW.search(text), f"raw: {text!r}"
        assert not [line for line in text.splitlines() if line.startswith(("2026-", FORGED))]
    assert len(command("clients", broker.directory).splitlines()) <= 3, "a line for each, and one above them"
    # JSON may hold what other texts call the end of a line.
    found = [json.loads(line) for line in command("clients", broker.directory, "--json").strip().split("\n")]
    assert {one["client_id"] for one in found} == {name, "other"}
    metrics = broker.ask_control(b"GET /metrics HTTP/1.0\r\n\r\n").split(b"\r\n\r\n", 1)[1].decode()
    assert FORGED not in metrics
    for line in metrics.splitlines():
        assert re.match(r"^(?:#|bellbird_\w+(?:\{[^}]*\})? -?[\d.]+$)", line), line


def command(form: str, directory: Path, *arguments: str) -> str:
    """What a command prints; its ends of lines as they are."""
    line = [bellbird_binary(), form, f"--data={directory}", *arguments]
    done = subprocess.run(line, capture_output=True, timeout=20, check=True)
    return done.stdout.decode()
