"""What the log says of clients: refusals, and with `log.events` everything."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import packets
import pytest
from broker import Broker, bellbird_binary
from mqtt import Client
from packets import Kind
from process import Process
from websocket import WebSocket

pytestmark = pytest.mark.bellbird

STAMP = r"^\d{4}-\d\d-\d\dT[\d:.]+Z "
USERS = (
    "bob:$7$101$BWyUz/tJB4PB+q//$4okwKvoVcgnaVXMAb+1I3z54XWAxsSQGvOx0HKOCG0Uaz7ydOzNd6rguJOqjV/"
    "Jw8LFfKbDog7f83SC+r0wmLg==\n"
)
"""bob's password is `secret`."""


@pytest.fixture
def guarded(tmp_path, shards) -> Iterator[Broker]:
    """A broker with a user and a rule; tests add to its arguments and start it."""
    (tmp_path / "users").write_text(USERS)
    (tmp_path / "acl").write_text("user bob\ntopic bob/#\n")
    broker = Broker(tmp_path / "data", shards)
    broker.arguments = [f"--users={tmp_path / 'users'}", f"--acl={tmp_path / 'acl'}"]
    try:
        yield broker
    finally:
        broker.kill()
        print(broker.log())


def settings(directory: Path, text: str) -> str:
    """An option that names a file with these settings."""
    path = directory / "bellbird.toml"
    path.write_text(text)
    return f"--config={path}"


def refused(broker: Broker, client_id: str, level: int = 5, **options) -> int:
    """The code that a CONNECT is refused with."""
    with Client(broker.address, level) as client:
        client.send(packets.connect(client_id, level, **options))
        return client.expect_closed().code


def test_each_refused_login_has_a_line(guarded, level):
    """With client, user, address and reason; never with a password, and with names escaped."""
    guarded.start()
    log = guarded.process
    refused(guarded, "c", level, user="bob", password="guess-1")
    log.expect(
        STAMP + r'warn: login of client "c" as user "bob" from 127\.0\.0\.1:\d+ refused: '
        r"wrong user name or password$"
    )
    refused(guarded, "c", level, user="eve", password="guess-2")
    log.expect(r'client "c" as user "eve" from')
    refused(guarded, "nobody", level)
    log.expect(
        r'warn: login of client "nobody" from 127\.0\.0\.1:\d+ refused: '
        r"clients without a user name are not let in here$"
    )
    forged = '\n2026-01-01T00:00:00.000Z info: all is well\x1b[2J"'
    refused(guarded, forged, level, user=forged)
    log.expect(r'login of client "\\n2026-.* all is well\\u\{1b\}\[2J\\"" as user "\\n2026')
    guarded.stop()
    assert "guess" not in guarded.log()
    assert "\x1b" not in guarded.log()


def test_an_attack_does_not_fill_the_log(guarded, shards):
    """What is left out is counted, also when the attack is over."""
    guarded.start()
    attempts = 60
    for number in range(attempts):
        refused(guarded, f"c{number}")
    told = 0
    while told < attempts:
        line = guarded.process.expect(r"warn: (?:login of client|and (\d+) more refused logins)")
        told += int(line[1] or 1)
    assert told == attempts
    assert guarded.log().count("login of client") < attempts


def test_each_refused_publication_and_subscription_has_a_line(guarded, level):
    guarded.start()
    log = guarded.process
    with Client(guarded.address, level) as bob:
        bob.connect("c", user="bob", password="secret")
        bob.subscribe(("eve/#", 1), ("bob/#", 1))
        log.expect(
            STAMP + r'info: subscription of client "c" as user "bob" to "eve/#" refused: '
            r"the rules do not allow it$"
        )
        bob.send_publish("eve/x", b"x", qos=0)
        log.expect(
            STAMP + r'info: publication of client "c" as user "bob" to "eve/x" refused: '
            r"the rules do not allow it$"
        )
    guarded.stop()
    assert '"bob/#"' not in guarded.log()


def test_a_level_that_does_not_want_to_know(guarded, tmp_path):
    guarded.arguments.append(settings(tmp_path, '[log]\nlevel = "error"\n'))
    guarded.start()
    refused(guarded, "c")
    guarded.stop()
    assert "login" not in guarded.log()


def test_events_are_sentences(guarded, tmp_path, shards):
    """Whatever the level; which ones there are, with client and topic."""
    text = '[log]\nlevel = "error"\nevents = true\n[limits]\ninflight_max = 1\nqueue_messages_max = 1\n'
    guarded.arguments.append(settings(tmp_path, text))
    guarded.start()
    log = guarded.process
    refused(guarded, "c")
    expect_each(log, [r'warn: login of client "c" from 127\.0\.0\.1:\d+ refused: '])
    bob = Client(guarded.address, 5)
    bob.connect("c", user="bob", password="secret", clean=False, props={0x11: 60})
    bob.subscribe(("bob/a", 1))
    with Client(guarded.address, 5) as publisher:
        publisher.connect("p", user="bob", password="secret")
        for payload in b"1", b"2", b"3":
            publisher.publish("bob/a", payload)
    bob.expect_message(b"1")
    bob.expect_message(b"2")
    bob.unsubscribe("bob/a")
    bob.close()
    expect_each(
        log,
        [
            STAMP + r'info: client "c" as user "bob" connected from 127\.0\.0\.1:\d+ with MQTT 5\.0'
            r" and is new$",
            r'client "c" subscribed to "bob/a" with QoS 1$',
            r'client "p" published to "bob/a" with QoS 1$',
            r'"bob/a" delivered to client "c" with QoS 1 as packet 1$',
            r'"bob/a" dropped for "c": queue_full$',
            r'client "c" acknowledged packet 1, "bob/a"$',
            r'client "c" unsubscribed from "bob/a"$',
            r'client "c" as user "bob" disconnected: the connection was lost$',
        ],
    )


def expect_each(log: Process, patterns: list[str]) -> None:
    """Waits for a line of each pattern, in this order."""
    for pattern in patterns:
        log.expect(pattern)


def test_what_is_refused_in_words_of_5_is_a_reason_here_too(guarded):
    """A client of 3.1.1 is disconnected for what it may not publish: the line before says why."""
    guarded.start()
    with Client(guarded.address, 4) as bob:
        bob.connect("c", user="bob", password="secret")
        bob.send_publish("eve/x", b"x")
        assert bob.expect_closed() is None
    guarded.process.expect(r'publication of client "c" as user "bob" to "eve/x" refused')
    with Client(guarded.address, 5) as bob:
        bob.connect("c", user="bob", password="secret")
        packet_id = bob.send_publish("$x", b"x")
        assert bob.expect(Kind.PUBACK, packet_id=packet_id).code == 0x87
    guarded.process.expect(r'to "\$x" refused: topics that begin with \$ are not open to clients$')


def test_whoever_is_not_let_in_has_a_line(guarded, tmp_path):
    """Also where it is not a question of users: the session, the will, or the version."""
    guarded.arguments = [settings(tmp_path, "[limits]\nsessions_max = 1\n")]
    guarded.shards = 1
    guarded.start()
    log = guarded.process
    refused(guarded, "w", will=packets.Will("$SYS/x", b"gone"))
    log.expect(r'warn: login of client "w" from \S+ refused: its will names a topic that is not open')
    refused(guarded, "", level=4, clean=False)
    log.expect(r'warn: login of client "" from \S+ refused: its version does not allow this client')
    with Client(guarded.address, 5) as first:
        first.connect("first")
        refused(guarded, "second")
    log.expect(r'warn: login of client "second" from \S+ refused: .* as sessions_max allows$')


def test_who_breaks_the_protocol_has_a_line(guarded, tmp_path, level):
    """With address and reason, whether it had said its name or not."""
    guarded.arguments = [settings(tmp_path, "[limits]\npacket_bytes_max = 1000\n")]
    guarded.start()
    log = guarded.process
    with Client(guarded.address, level) as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        client.expect_closed()
    log.expect(STAMP + r"warn: a connection from 127\.0\.0\.1:\d+ refused: \w")
    with Client(guarded.address, level) as client:
        client.connect("c")
        client.send(b"\x30\xff\xff\x7f")
        client.expect_closed()
    log.expect(
        STAMP + r'warn: client "c" from 127\.0\.0\.1:\d+ disconnected: '
        r"the broker ended the connection \(packet too large, see packet_bytes_max\)$"
    )


def test_what_is_no_websocket_has_a_line(tmp_path):
    """With the address, the path, the page and the reason."""
    text = '[[listeners]]\naddress = "127.0.0.1:0"\ntransport = "websocket"\n'
    text += 'websocket_origins = ["https://app.example.com"]\n'
    command = [bellbird_binary(), "start", f"--data={tmp_path / 'data'}", settings(tmp_path, text)]
    log = Process(command)
    try:
        port = int(log.expect(r"^listening on \S+:(\d+) \(mqtt, websocket at /mqtt\)$")[1])
        with closing(WebSocket(("127.0.0.1", port))) as one:
            assert one.upgrade("/ws").status == 404
        log.expect(
            STAMP + r"warn: request for a WebSocket from 127\.0\.0\.1:\d+ refused: "
            r'there is nothing at this path; path "/ws"$'
        )
        with closing(WebSocket(("127.0.0.1", port))) as one:
            assert one.upgrade(Origin="https://evil.example").status == 403
        log.expect(
            r"refused: pages of this origin may not connect; "
            r'path "/mqtt"; origin "https://evil\.example"$'
        )
    finally:
        log.kill()


def test_what_limits_drop_has_a_line(guarded, tmp_path):
    """One for all of it, with numbers, the reason and a client."""
    guarded.arguments = [settings(tmp_path, "[limits]\nqueue_messages_max = 2\n")]
    guarded.start()
    with Client(guarded.address, 5) as away:
        away.connect("away", clean=False, props={0x11: 60})
        away.subscribe(("t", 1))
    with Client(guarded.address, 5) as publisher:
        publisher.connect("p")
        for _ in range(10):
            publisher.publish("t", b"x")
        guarded.process.expect(
            STAMP + r'warn: 8 deliveries dropped: 8 queue_full; for client "away" among others$'
        )
        publisher.publish("t", b"x")
    guarded.stop()
    assert guarded.log().count("dropped: ") == 1
