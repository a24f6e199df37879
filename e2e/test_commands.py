"""`bellbird pub` and `bellbird sub`: with each other, with mosquitto's clients and broker."""

import json
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from broker import Broker, Mosquitto, bellbird_binary, shown
from foreign import Kind, Message
from foreign import Mosquitto as MosquittoClient
from process import Process
from tls import Certificates

PATIENCE_SECS = 30

DONE, SYSTEM, USAGE, UNREACHABLE, REFUSED, MESSAGE_REFUSED, SUBSCRIPTION_REFUSED, LOST = range(8)
TIMED_OUT, INTERRUPTED = 27, 130


@pytest.fixture
def mosquitto(tmp_path) -> Iterator[Broker]:
    """Debian's mosquitto: what they say is understood there as well."""
    with Mosquitto(tmp_path / "mosquitto") as broker:
        yield broker


def command(verb: str, broker: Broker, level: int, *options) -> list[str]:
    """The words of a command on a broker."""
    host, port = broker.address
    version = {4: "311", 5: "mqttv5"}[level]
    words = [bellbird_binary(), verb, "-h", host, "-p", port, "-V", version, *options]
    return [str(word) for word in words]


def run(words: list[str], *, status: int = DONE, stdin: bytes = b"", **options):
    """Runs a command to its end and expects an exit code; gives stdout and stderr."""
    done = subprocess.run(words, input=stdin, capture_output=True, timeout=PATIENCE_SECS, **options)
    assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
    assert b"panicked" not in done.stderr
    return done.stdout, done.stderr.decode()


def publish(broker: Broker, level: int, *options, **expected):
    """Runs `bellbird pub`."""
    return run(command("pub", broker, level, *options), **expected)


def collect(broker: Broker, level: int, *options, **expected) -> bytes:
    """Runs `bellbird sub` and gives its stdout."""
    return run(command("sub", broker, level, "-W", 20, *options), **expected)[0]


@contextmanager
def subscriber(broker: Broker, level: int, *options) -> Iterator[Process]:
    """`bellbird sub` from when its subscription is there; its stderr stands among its lines."""
    process = Process(command("sub", broker, level, "-d", *options))
    try:
        process.expect("^received SUBACK")
        yield process
    finally:
        process.kill()


qualities = pytest.mark.parametrize("qos", [0, 1, 2], ids="qos={}".format)


@qualities
def test_one_publishes_and_the_other_prints(broker, level, qos):
    with subscriber(broker, level, "-t", "a/#", "-v", "-q", qos, "-C", 3) as lines:
        publish(broker, level, "-t", "a/b", "-m", "text", "-q", qos)
        publish(broker, level, "-t", "a/n", "-n", "-q", qos)
        publish(broker, level, "-t", "a/minus", "-m", "-5", "-q", qos)
        lines.expect("^a/b text$")
        lines.expect("^a/n $")
        lines.expect("^a/minus -5$")
        assert lines.finish() == DONE


@qualities
def test_crossing_with_the_clients_of_mosquitto(broker, level, qos):
    with closing(Kind(MosquittoClient, level).connect(broker, "theirs")) as theirs:
        theirs.subscribe("x", qos)
        publish(broker, level, "-t", "x", "-m", "from here", "-q", qos)
        assert theirs.receive() == Message("x", "from here", qos)
        with subscriber(broker, level, "-t", "x", "-q", qos, "-F", "%t|%p|%q|%r", "-C", 1) as ours:
            theirs.publish(Message("x", "from there", qos))
            ours.expect(rf"^x\|from there\|{qos}\|0$")
            assert ours.finish() == DONE


def test_qos_2(broker, level):
    check_qos_2(broker, level)


def test_qos_2_with_mosquitto(mosquitto, level):
    check_qos_2(mosquitto, level)


def check_qos_2(broker: Broker, level: int) -> None:
    """Many at once, in order."""
    count = 200
    with subscriber(broker, level, "-t", "t", "-q", 2, "-F", "%q %p", "-C", count) as lines:
        text = "".join(f"{number}\n" for number in range(count))
        publish(broker, level, "-t", "t", "-l", "-q", 2, stdin=text.encode())
        assert lines.finish() == DONE
        printed = [line for line in lines.lines if re.match(r"2 \d+$", line)]
        assert printed == [f"2 {number}" for number in range(count)]


def test_a_session_of_qos_2_resumes_without_repetitions(broker, level):
    check_resumption(broker, level)


def test_a_session_of_qos_2_resumes_with_mosquitto(mosquitto, level):
    check_resumption(mosquitto, level)


def check_resumption(broker: Broker, level: int) -> None:
    """-C ends in the middle of the queue: what was printed is not printed again."""
    options = ["-c", "-i", "me", "-t", "t", "-q", 2]
    collect(broker, level, *options, "-E")
    publish(broker, level, "-t", "t", "-l", "-q", 2, stdin=b"1\n2\n3\n4\n5\n")
    first = collect(broker, level, *options, "-C", 2)
    second = collect(broker, level, *options, "-C", 3)
    assert (first, second) == (b"1\n2\n", b"3\n4\n5\n")


@qualities
def test_lines_of_stdin(broker, level, qos):
    """Many, but no more than a queue holds; one of them empty, the last one without its end."""
    words = [f"line {number}" for number in range(800)] + ["", "last"]
    with subscriber(broker, level, "-t", "t", "-q", 1, "-F", "[%p]", "-C", len(words)) as lines:
        stdin = "\n".join(words).encode()
        publish(broker, level, "-t", "t", "-l", "-q", qos, "-M", 7, stdin=stdin)
        assert lines.finish() == DONE
        assert [line for line in lines.lines if line[0] == "["] == [f"[{word}]" for word in words]


def test_a_file_and_all_of_stdin_byte_by_byte(broker, level, tmp_path):
    payload = bytes(range(256)) * 1000
    (tmp_path / "file").write_bytes(payload)
    publish(broker, level, "-t", "t", "-r", "-f", tmp_path / "file")
    assert collect(broker, level, "-t", "t", "-N", "-C", 1) == payload
    publish(broker, level, "-t", "t", "-r", "-s", stdin=payload[::-1])
    assert collect(broker, level, "-t", "t", "-C", 1) == payload[::-1] + b"\n"


def test_repetitions(broker, level):
    with subscriber(broker, level, "-t", "t", "-q", 1, "-C", 50) as lines:
        publish(broker, level, "-t", "t", "-m", "again", "--repeat", 50, "-q", 1)
        assert lines.finish() == DONE
    _, log = publish(
        broker, level, "-t", "t", "-m", "x", "--repeat", 3, "--repeat-delay", 0.05, "-d"
    )
    assert log.count("sending PUBLISH") == 3


def test_retained_messages(broker, level):
    for name in ("a", "b", "c"):
        publish(broker, level, "-t", f"r/{name}", "-m", name, "-r", "-q", 1)
    found = collect(broker, level, "-t", "r/#", "-T", "r/b", "-F", "%t %r", "-C", 2)
    assert sorted(found.split(b"\n")) == [b"", b"r/a 1", b"r/c 1"]
    with subscriber(broker, level, "-t", "r/#", "-R", "-C", 1) as lines:
        publish(broker, level, "-t", "r/d", "-m", "live")
        assert lines.finish() == DONE
        assert "live" in lines.lines
    # An empty retained message removes; the one that comes live ends --retained-only.
    found = collect(broker, level, "-t", "r/#", "-T", "r/c", "--remove-retained", "--retained-only")
    assert sorted(found.split()) == [b"a", b"b"]
    assert collect(broker, level, "-t", "r/#", "-v", "-C", 1) == b"r/c c\n"


def test_json(broker, level):
    publish(broker, level, "-t", "j", "-m", 'hä "q"', "-r", "-q", 1)
    one = json.loads(collect(broker, level, "-t", "j", "-q", 1, "--json", "-C", 1))
    assert (one["topic"], one["payload"], one["retain"], one["qos"]) == ("j", 'hä "q"', 1, 1)
    publish(broker, level, "-t", "j", "-m", '{"t": 27.0}', "-r")
    raw = collect(broker, level, "-t", "j", "-F", "%J", "-C", 1)
    assert json.loads(raw)["payload"] == {"t": 27.0}


def test_formats_as_mosquitto_writes_them(broker, level):
    """The same format, the same message, the same bytes."""
    properties = ["content-type", "text", "message-expiry-interval", 77, "response-topic", "r"]
    options = []
    if level == 5:
        for name, value in zip(properties[::2], properties[1::2], strict=True):
            options += ["-D", "publish", name, value]
        options += ["-D", "publish", "user-property", "k", "v"]
    publish(broker, level, "-t", "f/g", "-m", "payload", "-r", "-q", 1, *options)
    layout = r"[%t][%10t][%-10t][%.2t][%p][%q][%r][%l][%05l][%x][%X][%C][%F][%P][%R][%%][@@][\t]"
    ours = collect(broker, level, "-t", "f/g", "-q", 1, "-F", layout, "-C", 1)
    words = command("sub", broker, level, "-t", "f/g", "-q", 1, "-F", layout, "-C", 1)
    theirs, _ = run(["mosquitto_sub", *words[2:6], "-V", "mqttv5" if level == 5 else "mqttv311", *words[8:]])
    assert ours == theirs


def test_properties_arrive(broker):
    with subscriber(broker, 5, "-t", "t", "--json", "-C", 1) as lines:
        options = ["-D", "publish", "user-property", "k", "v", "-D", "publish", "content-type", "c"]
        publish(broker, 5, "-t", "t", "-m", "x", *options)
        one = json.loads(lines.expect(r"^\{.*")[0])
        assert one["properties"] == {"content-type": "c", "user-properties": {"k": "v"}}


def test_sessions_stay(broker, level):
    options = ["-c", "-i", "lamp", "-q", 1, "-t", "lamp/#"]
    assert collect(broker, level, *options, "-E") == b""
    publish(broker, level, "-t", "lamp/on", "-m", "now", "-q", 1)
    assert collect(broker, level, *options, "-C", 1, "-v") == b"lamp/on now\n"
    collect(broker, level, "-c", "-i", "lamp", "-U", "lamp/#", "-E")
    publish(broker, level, "-t", "lamp/on", "-m", "later", "-q", 1)
    words = command("sub", broker, level, "-c", "-i", "lamp", "-q", 1, "-t", "other", "-W", 1)
    assert run(words, status=TIMED_OUT)[0] == b""


def test_a_closed_pipe_is_no_mistake(broker, level):
    """`| head -1` goes away while messages come."""
    words = command("sub", broker, level, "-t", "t", "-q", 1)
    lines = Process(["sh", "-c", '("$@"; echo "status $?" >&2) | head -1', "sh", *words, "-d"])
    try:
        lines.expect("^received SUBACK")
        publish(broker, level, "-t", "t", "-m", "first", "-q", 1)
        lines.expect("^first$")
        # The reader may still be closing when the next one comes.
        publish(broker, level, "-t", "t", "-m", "x" * 1000, "-q", 1, "--repeat", 200, "--repeat-delay", 0.01)
        lines.expect("^status 0$")
        assert "panicked" not in lines.output()
    finally:
        # The shell's children hold its output open until they have ended, too.
        broker.kill()
        lines.kill()


def test_help_on_a_closed_pipe(broker):
    for verb in ("pub", "sub"):
        done = run(["sh", "-c", '"$@" | true; echo $?', "sh", bellbird_binary(), verb, "--help"])
        assert done == (b"0\n", "")
        text, _ = run([bellbird_binary(), verb, "--help"])
        assert b"Exit codes:" in text and b"BELLBIRD_PASSWORD" in text


def test_the_timeout_has_a_code(broker, level):
    _, told = run(command("sub", broker, level, "-t", "t", "-W", 1), status=TIMED_OUT)
    assert "-W" in told
    _, told = run(command("sub", broker, level, "-t", "t", "-W", 1, "--quiet"), status=TIMED_OUT)
    assert told == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_disconnect(broker, level, number):
    for options, status in (([], DONE), (["-C", "5"], INTERRUPTED)):
        with subscriber(broker, level, "-t", "t", *options) as lines:
            lines.child.send_signal(number)
            assert lines.finish() == status
            assert "sending DISCONNECT (success)" in lines.lines


def test_a_signal_ends_pub_that_waits_for_lines(broker, level):
    words = command("pub", broker, level, "-t", "t", "-l", "-d")
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with child:
        while "received CONNACK" not in child.stderr.readline():
            pass
        child.send_signal(signal.SIGINT)
        # Its stdin stays open until it has ended: the end of stdin would be another way to end.
        assert child.wait(PATIENCE_SECS) == INTERRUPTED
        assert "sending DISCONNECT" in child.stderr.read()


@pytest.mark.parametrize("verb", ["pub", "sub"])
def test_nobody_listens(verb):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        words = [bellbird_binary(), verb, "-h", "127.0.0.1", "-p", str(port), "-t", "t"]
        _, told = run([*words, *(["-n"] if verb == "pub" else [])], status=UNREACHABLE)
    assert str(port) in told and "-h and -p" in told


def test_wills(broker, level):
    check_wills(broker, level)


def test_wills_with_mosquitto(mosquitto, level):
    check_wills(mosquitto, level)


def check_wills(broker: Broker, level: int) -> None:
    """That of a client that is killed, and what a later subscriber finds of it."""
    with subscriber(broker, level, "-t", "w", "-F", "%t %p %q", "-q", 1, "-C", 1) as lines:
        will = ["--will-topic", "w", "--will-payload", "gone", "--will-qos", 1, "--will-retain"]
        with subscriber(broker, level, "-t", "t", *will) as dying:
            dying.child.kill()
            lines.expect("^w gone 1$")
        assert lines.finish() == DONE
    assert collect(broker, level, "-t", "w", "-F", "%r %p", "-C", 1) == b"1 gone\n"


def test_refused_connections(tmp_path, level):
    """With names and passwords, one of them in the environment."""
    mosquitto = Mosquitto(tmp_path / "mosquitto")
    secrets = tmp_path / "secrets"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(secrets), "me", "right"], check=True)
    mosquitto.start()
    mosquitto.kill()
    # The settings are written anew at each start, so this one is started by hand.
    settings = tmp_path / "mosquitto" / "mosquitto.conf"
    lines = settings.read_text().replace("allow_anonymous true", "allow_anonymous false")
    settings.write_text(f"{lines}password_file {secrets}\n")
    process = Process(["/usr/sbin/mosquitto", "-c", str(settings)])
    try:
        process.expect(r"mosquitto version \S+ running")
        words = command("pub", mosquitto, level, "-t", "t", "-m", "x", "-q", 1)
        _, told = run(words, status=REFUSED)
        assert "not authorized" in told and "BELLBIRD_PASSWORD" in told
        run([*words, "-u", "me", "-P", "wrong"], status=REFUSED)
        run([*words, "-u", "me", "-P", "right"])
        run([*words, "-u", "me"], env={"BELLBIRD_PASSWORD": "right"})
        run([*words, "-u", "me"], env={"BELLBIRD_PASSWORD": "wrong"}, status=REFUSED)
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("options", "status", "answer"),
    [
        (["pub", "-q", "1", "-m", "x"], MESSAGE_REFUSED, "40 04 {id} 87 00"),
        (["pub", "-q", "2", "-m", "x"], MESSAGE_REFUSED, "50 04 {id} 97 00"),
        (["sub"], SUBSCRIPTION_REFUSED, "90 04 {id} 00 87"),
        (["sub"], LOST, "e0 02 8b 00"),
        (["sub"], LOST, ""),
        (["sub"], LOST, "00 00"),
    ],
)
def test_what_a_broker_may_answer(options, status, answer):
    """A broker that lets in and answers the next packet with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(bytes.fromhex("20 03 00 00 00"))
                connection.recv(4096)
                connection.sendall(bytes.fromhex(answer.format(id="00 01")))
                if status in (MESSAGE_REFUSED, SUBSCRIPTION_REFUSED):
                    assert connection.recv(4096)[0] == 0xE0, "DISCONNECT"

        thread = threading.Thread(target=serve)
        thread.start()
        words = [bellbird_binary(), options[0], "-h", "127.0.0.1", "-p", str(port), "-V", "5"]
        run([*words, "-t", "t", *options[1:]], status=status)
        thread.join(PATIENCE_SECS)
        assert not thread.is_alive()


@pytest.mark.parametrize("level", [4, 5])
def test_one_of_several_subscriptions_is_refused(broker, client, level):
    """That is told when it is answered, not when the command ends."""
    client("owner", 5).subscribe(("$exclusive/x", 1))
    words = command("sub", broker, level, "-t", "$exclusive/x", "-t", "y", "-C", 1)
    process = Process(words)
    try:
        process.expect(r'^error: the broker refused the subscription to "\$exclusive/x": ')
        publish(broker, level, "-t", "y", "-m", "hello")
        process.expect("^hello$")
        process.expect("^error: the broker refused 1 of 2 subscriptions$")
        assert process.finish() == SUBSCRIPTION_REFUSED
    finally:
        process.kill()
    words = command("sub", broker, level, "-t", "$exclusive/x", "-t", "y", "-W", 1)
    _, told = run(words, status=TIMED_OUT)
    assert 'refused the subscription to "$exclusive/x"' in told
    _, told = run([*words, "--quiet"], status=TIMED_OUT)
    assert told == ""


def test_only_what_is_printed_counts(broker):
    with subscriber(broker, 5, "-t", "j", "-F", "%J", "-C", 1) as lines:
        publish(broker, 5, "-t", "j", "-m", "{no json")
        lines.expect("^error: the payload is not valid JSON")
        publish(broker, 5, "-t", "j", "-m", "[1]")
        lines.expect(r'^\{.*"payload":\[1\]')
        assert lines.finish() == DONE


@pytest.mark.parametrize(
    ("words", "tip"),
    [
        (["check", "1.toml"], "tip: a configuration is named with --config: --config 1.toml"),
        (["start", "-c", "x"], "tip: a configuration is named with --config FILE"),
        (["start", "-p", "1883"], "--listen 127.0.0.1:1883"),
        (["sub", "-t", "a", "-v", "--json"], "Usage: bellbird sub [OPTIONS] -t <FILTER>\n"),
    ],
)
def test_what_was_meant(words, tip):
    _, told = run([bellbird_binary(), *words], status=USAGE)
    assert tip in told


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pub -t t", "--message"),
        ("pub -m x", "add -t"),
        ("pub -t a/# -m x", "wildcard"),
        ("pub -t t -m x -V mqttv4", "mqttv311"),
        ("pub -t t -m x -D publish content-type x", "mqttv5"),
        ("sub", "add -t"),
        ("sub -t a -c", "-i"),
        ("sub -t a -F %Q", "%Q"),
        ("sub -t a -C none", "none"),
        ("sub -t a -x 10", "only 5.0 has a session expiry; add -V mqttv5"),
        ("sub -t a -k -1", "-1 is not in 0..=65535"),
        ("pub -t a -m x -q -1", "-1 is not in 0..=2"),
        ("sub -t a --cafile no/ca.pem", "no/ca.pem cannot be used for TLS"),
        ("pub -t a -m x --cert c.pem", "--key"),
        ("pub -t a -m x --psk 12", "--psk is not there"),
        ("pub -t a -m x --insecure", "--insecure is for TLS: add --cafile"),
    ],
)
def test_mistakes_are_named(line, expected):
    _, told = run([bellbird_binary(), *line.split()], status=USAGE)
    assert expected in told


@pytest.fixture
def encrypted(tmp_path) -> Iterator[Broker]:
    """A broker that also listens for TLS, on an address as well that its certificate is not for."""
    broker = Broker(tmp_path / "data").offer_tls(Certificates(tmp_path / "tls"))
    broker.arguments = ["--listen-tls=127.0.0.2:0"]
    with shown(broker):
        yield broker


def elsewhere(broker: Broker) -> str:
    """The port of the other address."""
    return re.search(r"^listening on 127\.0\.0\.2:(\d+) ", broker.log(), re.MULTILINE)[1]


def over_tls(verb: str, broker: Broker, *options, host: str = "localhost") -> list[str]:
    """The words of a command on a broker that listens for TLS."""
    words = [bellbird_binary(), verb, "-h", host, "-p", broker.tls_address[1], *options]
    return [str(word) for word in words]


@pytest.mark.parametrize("version", [[], ["--tls-version", "tlsv1.2"], ["--tls-version", "tlsv1.3"]])
@pytest.mark.parametrize("size", [1, 200_000])
def test_over_tls(encrypted, version, size):
    trust = ["--cafile", encrypted.tls.authority, *version]
    process = Process(over_tls("sub", encrypted, *trust, "-t", "t", "-C", 1, "-d"))
    try:
        process.expect("^received SUBACK")
        payload = "x" * size
        run(over_tls("pub", encrypted, *trust, "-t", "t", "-s", "-q", 2), stdin=payload.encode())
        assert process.finish(PATIENCE_SECS) == DONE
        assert payload in process.output()
    finally:
        process.kill()


def test_many_lines_over_tls(encrypted):
    trust = ["--cafile", encrypted.tls.authority]
    lines = "".join(f"{number}\n" for number in range(900))
    process = Process(over_tls("sub", encrypted, *trust, "-t", "t", "-q", 1, "-C", 900, "-d"))
    try:
        process.expect("^received SUBACK")
        run(over_tls("pub", encrypted, *trust, "-t", "t", "-l", "-q", 1), stdin=lines.encode())
        assert process.finish(PATIENCE_SECS) == DONE
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("host", "options", "expected"),
    [
        ("localhost", ["--tls-use-os-certs"], "nobody who is trusted vouches for the server's certificate; --cafile"),
        ("127.0.0.2", ["--cafile", "CA"], "is for another host"),
        ("127.0.0.1", ["--cafile", "CA"], "does not speak TLS"),
        ("localhost", [], "perhaps it wants TLS, see --cafile"),
    ],
)
def test_no_tls_without_trust(encrypted, host, options, expected):
    words = over_tls("pub", encrypted, "-t", "t", "-m", "x", host=host)
    words += [str(encrypted.tls.authority) if option == "CA" else option for option in options]
    port = {"127.0.0.2": elsewhere(encrypted), "127.0.0.1": str(encrypted.port)}.get(host)
    words[5] = port or words[5]
    _, told = run(words, status=UNREACHABLE)
    assert expected in told


def test_another_host_if_told(encrypted):
    words = over_tls("pub", encrypted, "-t", "t", "-m", "x", host="127.0.0.2")
    words[5] = elsewhere(encrypted)
    run([*words, "--cafile", str(encrypted.tls.authority), "--insecure"])


def test_by_url_over_tls(encrypted):
    url = f"mqtts://localhost:{encrypted.tls_address[1]}/t"
    run([bellbird_binary(), "pub", "-L", url, "-m", "x", "--cafile", str(encrypted.tls.authority)])


def test_a_file_that_is_not_there(broker, level):
    _, told = publish(broker, level, "-t", "t", "-f", "no/such/file", status=SYSTEM)
    assert "no/such/file" in told
