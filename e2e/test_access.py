"""Users from a password file and topics from an ACL file, as clients and operators meet them."""

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import packets
import pytest
from broker import Broker, bellbird_binary, shown
from mqtt import Client
from packets import Kind, Will
from process import Process

pytestmark = pytest.mark.bellbird

NOT_AUTHORIZED = 0x87
BAD_PASSWORD = {4: 4, 5: 0x86}
NOT_WELCOME = {4: 5, 5: NOT_AUTHORIZED}
REFUSED = {4: 0x80, 5: NOT_AUTHORIZED}

ACL = """\
topic read public/#

user bob
topic bob/#
topic deny bob/secret
topic read public/#
topic write in/+

user tool
topic #

pattern readwrite own/%u/#
pattern readwrite dev/%c/#
"""


@pytest.fixture(scope="module")
def users(tmp_path_factory) -> Path:
    """A password file written by mosquitto_passwd and by `bellbird passwd`, in all three forms."""
    path = tmp_path_factory.mktemp("access") / "users"
    _mosquitto_passwd("-c", "-b", path, "bob", "secret")
    _mosquitto_passwd("-H", "sha512", "-b", path, "old", "secret")
    for name in ("tool", "+", "x#", "bob/x", "$SYS"):
        assert passwd(path, name, "--format=mosquitto", password="secret\n") == ""
    assert passwd(path, "new", password="secret") == ""
    return path


@pytest.fixture
def guarded(tmp_path, shards, users) -> Iterator[Broker]:
    """A broker with users, an ACL and a welcome for anonymous clients."""
    acl = tmp_path / "acl"
    acl.write_text(ACL)
    broker = Broker(tmp_path / "data", shards)
    broker.arguments = [f"--users={users}", f"--acl={acl}", "--anonymous"]
    with shown(broker):
        yield broker


@pytest.fixture
def enter(guarded) -> Iterator[Callable[..., Client]]:
    """Connects as a user whose password is `secret`, or as nobody, and closes at the end."""
    clients: list[Client] = []

    def open_one(client_id: str, user: str | None = None, level: int = 5, **options) -> Client:
        clients.append(Client(guarded.address, level))
        if user is not None:
            options |= {"user": user, "password": "secret"}
        clients[-1].connect(client_id, **options)
        return clients[-1]

    yield open_one
    for client in clients:
        client.close()


@pytest.mark.parametrize("user", ["bob", "old", "tool", "new"])
def test_passwords(tmp_path, shards, users, level, user):
    """Each form of hash; the right password, a wrong one, none, and an unknown user."""
    broker = Broker(tmp_path / "data", shards)
    broker.arguments = [f"--users={users}"]
    with broker:
        cases = [
            ({"user": user, "password": "secret"}, 0),
            ({"user": user, "password": "Secret"}, BAD_PASSWORD[level]),
            ({"user": user, "password": ""}, BAD_PASSWORD[level]),
            ({"user": user}, BAD_PASSWORD[level]),
            ({"user": f"{user}x", "password": "secret"}, BAD_PASSWORD[level]),
            ({}, NOT_WELCOME[level]),
        ]
        for options, expected in cases:
            with Client(broker.address, level) as client:
                client.send(packets.connect("c", level, **options))
                if expected == 0:
                    assert client.expect(Kind.CONNACK).code == 0
                    client.ping()
                else:
                    assert client.expect_closed().code == expected, options


def test_publish(enter):
    """A refused PUBLISH: 5.0 is told so, 3.1.1 is disconnected, and nobody gets it."""
    witness = enter("w", "tool")
    witness.subscribe(("#", 1))
    bob = enter("c", "bob")
    for topic, expected in [
        ("bob/x", 0),
        ("bob/secret", NOT_AUTHORIZED),
        ("public/x", NOT_AUTHORIZED),
        ("in/x", 0),
        ("own/bob/x", 0),
        ("own/tool/x", NOT_AUTHORIZED),
        ("dev/c/x", 0),
        ("dev/d/x", NOT_AUTHORIZED),
    ]:
        packet_id = bob.send_publish(topic, b"x")
        # [MQTT-3.4.2-1]: 0x10 says that nobody subscribed, which is a success.
        code = bob.expect(Kind.PUBACK, packet_id=packet_id).code
        assert code == expected, topic
        if expected == 0:
            assert witness.expect_message(b"x").topic == topic
    old = enter("o", "bob", 4)
    old.send_publish("public/x", b"x")
    assert old.expect_closed() is None
    witness.ping()


def test_subscribe(enter, level):
    """Granted, unless nothing of it could ever be received."""
    bob = enter("c", "bob", level)
    cases = {
        "#": 0,
        "bob/#": 0,
        "bob/+": 0,
        "bob/secret": REFUSED[level],
        "in/x": REFUSED[level],
        "public": 0,
        "own/bob": 0,
        "own/+/x": 0,
        "own/tool/#": REFUSED[level],
        "dev/c/x": 0,
        "$SYS/#": REFUSED[level],
    }
    granted = bob.subscribe(*((filter, 0) for filter in cases)).codes
    assert dict(zip(cases, granted, strict=True)) == cases


def test_deliveries_are_filtered(enter):
    """Live and retained, for a subscription to everything."""
    tool = enter("t", "tool")
    for topic in ("bob/r", "bob/secret", "own/tool/r", "public/r"):
        tool.publish(topic, b"retained", retain=True)
    bob, nobody = enter("c", "bob"), enter("n")
    seen = {}
    for client in (bob, nobody):
        assert client.subscribe(("#", 1)).codes == (1,)
    for topic in ("bob/x", "bob/secret", "in/x", "own/bob/x", "own/tool/x", "dev/c/x", "public/x"):
        tool.publish(topic, b"live")
    tool.publish("public/end", b"end")
    for name, client in {"bob": bob, "nobody": nobody}.items():
        seen[name] = set()
        while (message := client.expect_message()).payload != b"end":
            seen[name].add(message.topic)
    assert seen["bob"] == {"bob/r", "bob/x", "own/bob/x", "dev/c/x", "public/r", "public/x"}
    assert seen["nobody"] == {"public/r", "public/x"}


@pytest.mark.parametrize("attack", ["+", "x#", "bob/x", "$SYS"])
def test_names_widen_no_pattern(enter, attack):
    """As user name and as client identifier."""
    tool = enter("t", "tool")
    mallory = enter(attack, attack)
    # A `$` behind the first level is a letter like any other.
    granted = 0 if attack == "$SYS" else NOT_AUTHORIZED
    assert mallory.subscribe((f"own/{attack.strip('#')}/x", 0)).codes == (granted,)
    assert mallory.subscribe(("own/bob/#", 0), ("dev/c/#", 0)).codes == (NOT_AUTHORIZED,) * 2
    # With patterns of its own, something of this may be received; nothing of others is.
    mallory.subscribe(("#", 0), ("own/#", 0), ("dev/#", 0))
    for topic in ("own/bob/x", "dev/c/x", "own/bob/x/y"):
        tool.publish(topic, b"not for mallory")
        packet_id = mallory.send_publish(topic, b"from mallory")
        assert mallory.expect(Kind.PUBACK, packet_id=packet_id).code == NOT_AUTHORIZED
    mallory.ping()


def test_a_will_is_judged(enter):
    tool = enter("t", "tool")
    tool.subscribe(("#", 0))
    enter("a", "bob", will=Will("public/will", b"no")).close()
    enter("b", "bob", will=Will("bob/will", b"yes")).close()
    tool.expect_message(b"yes")
    tool.ping()


def test_hanging_up_while_the_password_is_looked_at(guarded, enter):
    """Many clients that do not wait for the answer; their successors get their own."""
    for _ in range(20):
        with Client(guarded.address, 5) as hasty:
            hasty.send(packets.connect("c", 5, user="tool", password="secret"))
        with Client(guarded.address, 5) as liar:
            liar.send(packets.connect("c", 5, user="tool", password="wrong"))
            assert liar.expect_closed().code == BAD_PASSWORD[5]
    enter("c", "bob").ping()


def test_stopping_while_passwords_are_looked_at(guarded):
    clients = [Client(guarded.address, 5) for _ in range(40)]
    for number, client in enumerate(clients):
        client.send(packets.connect(f"c{number}", 5, user="tool", password="secret"))
    clients[0].expect(Kind.CONNACK)
    guarded.stop()
    for client in clients:
        client.close()


def test_mistakes_are_told_at_once(tmp_path):
    users, acl = tmp_path / "users", tmp_path / "acl"
    users.write_text("bob:hunter2\nnobody\n")
    acl.write_text("user bob\ntopci read a\ntopic read a/#/b\n")
    process = Process(
        [bellbird_binary(), "start", "--listen=127.0.0.1:0", f"--data={tmp_path / 'data'}"]
        + [f"--users={users}", f"--acl={acl}"]
    )
    assert process.finish() == 1
    complaint = process.output()
    for place in (f"{users}:1: ", f"{users}:2: ", f"{acl}:2: ", f"{acl}:3: "):
        assert place in complaint, complaint
    assert "bellbird passwd" in complaint
    assert 'did you mean "topic"' in complaint
    assert "hunter2" not in complaint


def test_passwd_edits_a_file(tmp_path):
    """Created for its owner only; what is there keeps its lines and its mode."""
    path = tmp_path / "users"
    assert "there is no file" in passwd(path, "bob", "--delete", option="")
    assert passwd(path, "bob", password="one\n") == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = path.read_text()
    path.write_text(f"# ours\n{first}")
    path.chmod(0o640)
    assert passwd(path, "eve", "--format=mosquitto", password="two\r\n") == ""
    assert passwd(path, "bob", password="three") == ""
    lines = path.read_text().splitlines()
    assert [line.split("$")[0:2] for line in lines] == [["# ours"], ["bob:", "argon2id"], ["eve:", "7"]]
    assert lines[1] != first.strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert passwd(path, "bob", "--delete", option="") == ""
    assert "no user" in passwd(path, "bob", "--delete", option="")
    assert "colon" in passwd(path, "a:b", password="x")
    assert "empty" in passwd(path, "eve", password="\n")
    assert "more than one line" in passwd(path, "eve", password="a\nb\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["users"]
    assert path.read_text().startswith("# ours\neve:$7$")


def test_passwd_asks_twice_on_a_terminal(tmp_path):
    """Without echo; two passwords that differ change nothing."""
    path = tmp_path / "users"
    for answers, is_written in (("a\nb\n", False), ("a\na\n", True)):
        child, terminal = os.forkpty()
        if child == 0:
            os.execv(bellbird_binary(), ["bellbird", "passwd", str(path), "bob"])
        seen = b""
        for prompt, answer in zip((b"Password: ", b"Once more: "), answers.split(), strict=False):
            while not seen.endswith(prompt):
                seen += os.read(terminal, 1024)
            os.write(terminal, answer.encode() + b"\n")
        try:
            while rest := os.read(terminal, 1024):
                seen += rest
        except OSError:
            pass  # Linux says EIO when the other end is closed.
        _, status = os.waitpid(child, 0)
        os.close(terminal)
        assert (os.waitstatus_to_exitcode(status) == 0) == is_written
        assert path.exists() == is_written
        if not is_written:
            assert b"not the same" in seen


def passwd(path: Path, name: str, *options: str, password: str = "", option="--password-stdin") -> str:
    """Runs `bellbird passwd` and returns its complaint, empty if it has none."""
    command = [bellbird_binary(), "passwd", str(path), name, *options, option]
    done = subprocess.run([word for word in command if word], input=password.encode(), capture_output=True)
    complaint = done.stderr.decode()
    assert (done.returncode == 0) == (complaint == ""), complaint
    assert "panicked" not in complaint
    return complaint


def _mosquitto_passwd(*arguments: str | Path) -> None:
    subprocess.run(["mosquitto_passwd", *map(str, arguments)], check=True, capture_output=True)
