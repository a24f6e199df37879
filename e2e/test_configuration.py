"""Settings: files, the environment, listeners with terms of their own, SIGHUP, and all mistakes at once."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import packets
import pytest
from broker import bellbird_binary
from mqtt import Client
from packets import Kind, Property
from process import Process
from websocket import WebSocket

pytestmark = pytest.mark.bellbird

SERVER_KEEP_ALIVE = 0x13
RELOADED = r" (?:info|error): reload: (.*)$"


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., tuple[Process, list[int]]]]:
    """Starts a broker with the file `bellbird.toml`; gives it and its ports."""
    started: list[Process] = []

    def start_one(text: str, **environment: str) -> tuple[Process, list[int]]:
        settings = write(tmp_path, f'data = "{tmp_path / "data"}"\nshards = 2\n{text}')
        listeners = text.count("127.0.0.1:0")
        command = [bellbird_binary(), "start", f"--config={settings}"]
        process = Process(command, {**os.environ, **environment})
        started.append(process)
        listening = r"^listening on 127\.0\.0\.1:(\d+) "
        ports = [int(process.expect(listening)[1]) for _ in range(listeners)]
        process.expect("^ready$")
        return process, ports

    yield start_one
    for process in started:
        process.kill()
        print(process.output())


def start_fails(settings: Path) -> str:
    """What a start says that ends with a mistake."""
    command = [bellbird_binary(), "start", f"--config={settings}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1, done
    return done.stderr


def test_all_mistakes_at_once(tmp_path):
    settings = write(
        tmp_path,
        "# comment\n"
        "shards = 99\n"
        "prot = 1883\n"
        "[limits]\n"
        'receive_max = "ten"\n'
        "recieve_max = 10\n"
        "[[listeners]]\n"
        'address = "127.0.0.1:1"\n'
        "qos_mx = 1\n"
        "[[rewrites]]\n"
        'from = "a/+"\n'
        'to = "b/$2"\n',
    )
    status, output = check(settings, BELLBIRD_DURABILITY="sync")
    assert status == 1
    assert output.startswith("error: 7 mistakes")
    expected = [
        (f"{settings}:2: shards = 99", "1 to 64"),
        (f"{settings}:3: there is no setting prot", "--reference"),
        (f'{settings}:5: limits.receive_max = "ten"', "1 to 65535"),
        (f"{settings}:6: there is no setting limits.recieve_max", "mean limits.receive_max?"),
        (f"{settings}:9: there is no setting qos_mx", "mean qos_max?"),
        (f"{settings}:12: rewrites[0].to", "$2"),
        ("environment, BELLBIRD_DURABILITY: durability = sync", 'mean "synced"?'),
    ]
    found = [line for line in output.splitlines()[1:] if " | " not in line]
    assert len(found) == len(expected), output
    for line, (beginning, remedy) in zip(found, expected, strict=True):
        assert line.startswith(beginning)
        assert remedy in line
    assert "    9 | qos_mx = 1" in output, "the line should be quoted"


def test_check_says_what_would_start(tmp_path):
    text = 'listen = ["127.0.0.1:1883"]\nadmin.listen = "127.0.0.1:9883"\n[limits]\nqos_max = 1\n'
    status, output = check(write(tmp_path, text))
    assert status == 0
    assert "127.0.0.1:1883" in output
    assert "health and metrics on http://127.0.0.1:9883\n" in output
    assert "no mistakes" in output


def test_check_warns_of_open_doors(tmp_path):
    settings = write(tmp_path, '[[listeners]]\naddress = "0.0.0.0:1883"\nanonymous = true\n')
    status, output = check(settings)
    assert status == 0
    assert "warning: " in output
    assert "lets everybody in" in output


def test_check_reads_the_files_of_users_and_rules(tmp_path):
    """Their mistakes come with their lines, beside those of the settings."""
    users, acl = tmp_path / "users", tmp_path / "acl"
    access = f'[access]\nusers = "{users}"\nacl = "{acl}"\n'
    settings = write(tmp_path, access)
    status, output = check(settings)
    assert status == 1
    assert f"cannot read the password file (--users, or users in [access]) {users}: " in output
    assert f"{settings}:2: cannot read the password file" in output
    assert f"{settings}:3: cannot read the ACL file" in output
    users.write_text("bob:hunter2hunter2\nx:$9$a$b$c\n")
    status, output = check(settings)
    assert status == 1
    assert f"cannot read the ACL file (--acl, or acl in [access]) {acl}: " in output
    assert f"{users}:2: " in output, "one file does not hide the other"
    acl.write_text("user bob\ntopic raed a\n")
    status, output = check(settings)
    assert status == 1
    assert f"{users}:1: " in output
    assert f"{users}:2: " in output
    assert "of an unknown kind; known are $argon2id$, $7$ and $6$" in output
    assert f'{acl}:2: unknown kind of access "raed"' in output
    assert "hunter2" not in output
    status, output = check(write(tmp_path, "shards = 99\n" + access))
    assert status == 1
    assert f"{settings}:1: shards = 99" in output
    assert f"{acl}:2: " in output
    status, output = check(write(tmp_path, f'shards = 99\n[access]\nacl = "{acl}"\n'))
    assert f"{settings}:1: shards = 99" in output
    assert f"{acl}:2: " in output
    assert start_fails(settings) == output, "the start says the same"
    users.write_text("")
    acl.write_text("user zed\ntopic a\npattern write %x/#\n")
    status, output = check(write(tmp_path, access))
    assert status == 0
    assert f'warning: {acl}:1: user "zed" is not in the password file\n' in output
    assert f"warning: {acl}:3: %x stands for itself: " in output
    acl.write_text("topic read public/#\n")
    status, output = check(write(tmp_path, access))
    assert status == 0
    assert f"0 users in {users}\nrules in {acl}\nno mistakes\n" in output


def test_a_text_without_quotes(tmp_path):
    status, output = check(write(tmp_path, "[log]\nlevel = info\nevents = yes\n"))
    assert status == 1
    assert 'a text stands in quotes: level = "info"' in output
    assert "give true or false" in output


def test_the_reference_is_in_the_help():
    command = [bellbird_binary(), "check", "--help"]
    help_text = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    assert "--reference" in help_text.stdout


def test_environment_overrides_the_file(start):
    _, ports = start(
        'listen = ["127.0.0.1:0"]\n[limits]\nreceive_max = 5\n', BELLBIRD_LIMITS_RECEIVE_MAX="7"
    )
    assert welcome(ports[0])[Property.RECEIVE_MAXIMUM] == 7


def test_each_listener_announces_its_own_terms(start):
    _, ports = start(
        "[limits]\nreceive_max = 9\n"
        '[[listeners]]\naddress = "127.0.0.1:0"\nqos_max = 1\nkeep_alive_secs_max = 30\n'
        '[[listeners]]\naddress = "127.0.0.1:0"\nreceive_max = 3\n'
    )
    first, second = (welcome(port) for port in ports)
    assert first[Property.RECEIVE_MAXIMUM] == 9
    assert first[Property.MAXIMUM_QOS] == 1
    assert first[SERVER_KEEP_ALIVE] == 30
    assert second[Property.RECEIVE_MAXIMUM] == 3
    assert Property.MAXIMUM_QOS not in second
    assert SERVER_KEEP_ALIVE not in second


def test_sighup_changes_limits_for_new_connections(start, tmp_path):
    """A client that was promised a packet size keeps it; a broken file changes nothing."""
    text = 'listen = ["127.0.0.1:0"]\n[limits]\npacket_bytes_max = 1000\n'
    process, ports = start(text)
    with Client(("127.0.0.1", ports[0]), 5) as early:
        early.connect("early")
        assert reload(process, tmp_path, "packet_bytes_max = 1000", "packet_bytes_max = 100") == (
            "changed: limits.packet_bytes_max"
        )
        early.publish("t", bytes(500))
        with Client(("127.0.0.1", ports[0]), 5) as late:
            late.connect("late")
            late.send_publish("t", bytes(500))
            assert late.expect_closed().code == 0x95
        reload_refused(process, tmp_path, "packet_bytes_max = 100", "packet_bytes_max = true")
        process.expect(r":5: limits\.packet_bytes_max = true is true or false")
        with Client(("127.0.0.1", ports[0]), 5) as late:
            late.connect("late")
            late.send_publish("t", bytes(500))
            assert late.expect_closed().code == 0x95
        early.publish("t", bytes(500))


def test_sighup_names_what_waits_for_the_next_start(start, tmp_path):
    process, _ = start('listen = ["127.0.0.1:0"]\n')
    assert reload(process, tmp_path, "shards = 2", "shards = 3") == "nothing has changed yet"
    assert "warn: reload: these wait for the next start: shards" in process.output()


def test_sighup_says_what_it_opens(start, tmp_path):
    """Whoever leaves out a line by mistake is to see what that means."""
    (tmp_path / "users").write_text("")
    (tmp_path / "acl").write_text("topic read public/#\n")
    users, acl = f'users = "{tmp_path / "users"}"\n', f'acl = "{tmp_path / "acl"}"\n'
    process, _ = start(f'listen = ["127.0.0.1:0"]\n[access]\n{users}{acl}')
    done = reload(process, tmp_path, acl, "")
    assert done == "changed: access.acl; users were read again"
    process.expect("warn: reload: there are no rules any more .* everything now$")
    assert reload(process, tmp_path, users, "") == "changed: access.users"
    process.expect(r"warn: reload: there are no users any more .* lets in clients without a user name")
    assert process.output().count(" lets in clients without ") == 1


def test_the_level_of_the_log(start):
    """Someone who sends no MQTT is worth a line at debug."""
    process, ports = start('listen = ["127.0.0.1:0"]\n[log]\nlevel = "debug"\n')
    with Client(("127.0.0.1", ports[0])) as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        client.expect_closed()
    process.expect(r" debug: .*no packet: .*; it looks like HTTP")


def welcome(port: int) -> dict:
    """The properties of the CONNACK of a client of 5.0 that asks for nothing."""
    with Client(("127.0.0.1", port), 5) as client:
        client.send(packets.connect("s", 5, keepalive=0))
        return client.expect(Kind.CONNACK).properties


def reload(process: Process, directory: Path, old: str, new: str) -> str:
    """Changes the file, sends SIGHUP and returns what came of it."""
    change(process, directory, old, new)
    return process.expect(RELOADED)[1]


def reload_refused(process: Process, directory: Path, old: str, new: str) -> None:
    """The same with one mistake."""
    change(process, directory, old, new)
    process.expect("error: reload refused, everything stays as it was: 1 mistake")


def change(process: Process, directory: Path, old: str, new: str) -> None:
    """Changes the file and sends SIGHUP."""
    settings = directory / "bellbird.toml"
    text = settings.read_text()
    assert old in text
    settings.write_text(text.replace(old, new))
    os.kill(process.child.pid, signal.SIGHUP)


def write(directory: Path, text: str) -> Path:
    """Writes the settings of a test."""
    settings = directory / "bellbird.toml"
    settings.write_text(text)
    return settings


def check(settings: Path, **environment: str) -> tuple[int, str]:
    """Runs `bellbird check`; its status and all that it printed."""
    done = subprocess.run(
        [bellbird_binary(), "check", f"--config={settings}"],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=10,
        check=False,
    )
    return done.returncode, done.stdout


def test_websocket_for_the_pages_of_one_site(start):
    process, [port] = start(
        '[[listeners]]\naddress = "127.0.0.1:0"\ntransport = "websocket"\n'
        'websocket_path = "/broker/ws"\nwebsocket_origins = ["https://app.example.com"]\n'
    )
    assert "(mqtt, websocket at /broker/ws)" in process.output()
    for origin, path, status in (
        ("https://app.example.com", "/broker/ws", 101),
        (None, "/broker/ws", 101),
        ("https://evil.example.com", "/broker/ws", 403),
        ("null", "/broker/ws", 403),
        ("https://app.example.com", "/mqtt", 404),
    ):
        one = WebSocket(("127.0.0.1", port))
        assert one.upgrade(path, Origin=origin).status == status, (origin, path)
        one.close()
