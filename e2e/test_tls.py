"""MQTT over TLS: versions, names, tickets, certificates that change, and peers that are slow or not TLS."""

import contextlib
import os
import resource
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import mqtt
import packets
import pytest
from broker import Broker, shown
from packets import Kind, Property
from process import bellbird_binary
from tls import Certificates
from websocket import connect as connect_websocket

pytestmark = pytest.mark.bellbird

LARGE = 300_000
"""Several records each way."""
FLEET = 1000
RELOADED = r" (?:info|error): reload(?: refused, everything stays as it was)?: (.*)$"


@pytest.fixture
def certificates(tmp_path) -> Certificates:
    """Those of this test."""
    return Certificates(tmp_path / "tls")


@pytest.fixture
def broker(tmp_path, shards, certificates) -> Iterator[Broker]:
    """A broker that listens for TLS, with and without WebSocket."""
    broker = Broker(tmp_path / "data", shards).offer_tls(certificates)
    with shown(broker):
        yield broker


@pytest.fixture(params=["tls", "websocket-tls"])
def door(request, broker, certificates) -> Iterator[Callable[..., mqtt.Client]]:
    """Opens connections without CONNECT, and closes them at the end."""
    opened: list[mqtt.Client] = []

    def open_one(level: int = 4, receive_bytes: int | None = None) -> mqtt.Client:
        if request.param == "tls":
            stream = certificates.seal(dial(broker.tls_address, receive_bytes))
        else:
            stream = connect_websocket(broker.websocket_tls_address, certificates.seal)
        opened.append(mqtt.Client.over(stream, level))
        return opened[-1]

    yield open_one
    for client in opened:
        client.close()


def dial(address: tuple[str, int], receive_bytes: int | None = None) -> socket.socket:
    """A stream to the broker, of which the system keeps little that is not read if told so."""
    stream = socket.socket()
    if receive_bytes:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    stream.settimeout(mqtt.PATIENCE_SECS)
    stream.connect(address)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def test_large_messages_cross(door):
    """What spans many records arrives, at each QoS, also between shards."""
    here, there = door(), door()
    here.connect("here")
    there.connect("there")
    here.subscribe(("t", 2))
    for qos in (0, 1):
        payload = os.urandom(LARGE)
        there.publish("t", payload, qos=qos)
        assert here.expect_message().payload == payload


def test_who_reads_late_gets_all(door):
    """Records that the system does not take wait, and come whole and in order."""
    slow, fast = door(receive_bytes=4096), door()
    slow.connect("slow")
    fast.connect("fast")
    slow.subscribe(("t", 1))
    payloads = [bytes([number]) * 100_000 for number in range(45)]
    for payload in payloads:
        fast.publish("t", payload)
    for payload in payloads:
        assert slow.expect_message().payload == payload
    slow.ping()


def test_a_session_goes_on(door, broker):
    """A session outlives its connection and the broker."""
    one = door()
    one.connect("one", clean=False)
    one.subscribe(("t", 1))
    one.disconnect()
    other = door()
    other.connect("other")
    other.publish("t", b"meanwhile")
    broker.kill()
    broker.start()
    again = door()
    assert again.connect("one", clean=False).session_present
    assert again.expect_message().payload == b"meanwhile"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_end_is_said(broker, version):
    """The broker closes with `close_notify`, so that nobody can cut a connection unseen."""
    context = ssl.create_default_context(cafile=broker.tls.authority)
    context.maximum_version = context.minimum_version = version
    stream = context.wrap_socket(
        dial(broker.tls_address), server_hostname="localhost", suppress_ragged_eofs=False
    )
    stream.sendall(packets.connect("c", 4) + packets.disconnect())
    data = b""
    while more := stream.recv(4096):
        data += more
    assert data == b"\x20\x02\x00\x00"
    stream.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_comes_back_is_known(broker, version):
    """A ticket saves the certificate and its signature, until the next reload."""
    context = ssl.create_default_context(cafile=broker.tls.authority)
    context.maximum_version = context.minimum_version = version

    def visit(session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession]:
        with context.wrap_socket(
            dial(broker.tls_address), server_hostname="localhost", session=session
        ) as stream:
            client = mqtt.Client.over(stream)
            client.connect("c")
            client.ping()
            return stream.session_reused, stream.session

    is_reused, ticket = visit(None)
    assert not is_reused
    is_reused, ticket = visit(ticket)
    assert is_reused
    reload(broker)
    is_reused, ticket = visit(ticket)
    assert not is_reused, "certificates may have been revoked"


def test_versions(tmp_path, certificates):
    """No version below 1.2 is spoken, and none below `version_min`."""
    for least in ("1.2", "1.3"):
        broker = Broker(tmp_path / least).offer_tls(certificates)
        settings = write(tmp_path, f'[tls]\nversion_min = "{least}"\n')
        broker.arguments = [f"--config={settings}"]
        with shown(broker):
            for option, version in (("-tls1", "1.0"), ("-tls1_1", "1.1"), ("-tls1_2", "1.2"), ("-tls1_3", "1.3")):
                found = s_client(broker, option, "-cipher", "DEFAULT@SECLEVEL=0")
                is_spoken = "Verification: OK" in found and "New, TLSv" in found
                assert is_spoken == (version >= least), f"{version} of {least}: {found}"


def test_protocols_are_agreed_on(broker):
    """ALPN, also that of AWS; a client that asks for something else is refused."""
    for name in ("mqtt", "x-amzn-mqtt-ca"):
        assert f"ALPN protocol: {name}\n" in s_client(broker, "-alpn", name)
    assert "alert no application protocol" in s_client(broker, "-alpn", "smtp")
    broker.process.expect(r"warn: TLS connection from \S+ ended: .*\(ALPN\) that is not spoken here$")


def test_a_host_gets_its_certificate(tmp_path, shards, certificates):
    """With several certificates, the one for the host that the client names (SNI)."""
    other = Certificates(tmp_path / "other", "--host=other.example")
    broker = Broker(tmp_path / "data", shards).offer_tls(certificates)
    broker.arguments = [f"--tls-certificate={other.server}", f"--tls-key={other.server_key}"]
    with shown(broker):
        for name, authority in (("localhost", certificates), ("other.example", other), (None, certificates)):
            context = ssl.create_default_context(cafile=authority.authority)
            context.check_hostname = name is not None
            with context.wrap_socket(dial(broker.tls_address), server_hostname=name) as stream:
                mqtt.Client.over(stream).connect("c")


def test_what_is_no_tls_has_a_line(broker):
    """The wrong port is the mistake that everybody makes: the log says which way round."""
    with dial(broker.tls_address) as stream:
        stream.sendall(packets.connect("c", 4))
        assert stream.recv(4096)[0] == 21, "an alert"
        assert stream.recv(4096) == b""
    broker.process.expect(r"warn: TLS connection from \S+ ended: .* it is to connect with TLS, or to another port$")
    with pytest.raises((ssl.SSLError, OSError)):
        broker.tls.seal(dial(broker.address))
    broker.process.expect(r"warn: a connection from \S+ refused: ")


def test_who_does_not_trust_has_a_line(broker):
    """Nor does the client that lacks the authority's certificate."""
    with pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(dial(broker.tls_address), server_hostname="localhost")
    broker.process.expect(r"warn: TLS connection from \S+ ended: .* does not trust this server's certificate: ")


@pytest.mark.parametrize("bytes_sent", [0, 5, 100])
def test_a_handshake_does_not_take_for_ever(tmp_path, certificates, bytes_sent):
    """Whoever begins and does not go on is disconnected as one who does not say CONNECT."""
    broker = Broker(tmp_path / "data").offer_tls(certificates)
    settings = write(tmp_path, "[limits]\nhandshake_secs = 1\n")
    broker.arguments = [f"--config={settings}"]
    with shown(broker), dial(broker.tls_address) as stream:
        stream.sendall(client_hello()[:bytes_sent])
        assert stream.recv(4096) == b""


def test_other_certificates_under_a_fleet(broker, certificates):
    """A thousand connections with traffic keep theirs; who comes then is shown the new one."""
    # Each connection is a file, here and there.
    for process in (0, broker.pid):
        soft, hard = resource.prlimit(process, resource.RLIMIT_NOFILE)
        resource.prlimit(process, resource.RLIMIT_NOFILE, (max(soft, min(hard, 3 * FLEET)), hard))
    fleet = []
    with contextlib.ExitStack() as stack:
        for number in range(FLEET):
            client = mqtt.Client.over(certificates.seal(dial(broker.tls_address)))
            fleet.append(client)
            stack.callback(client.close)
            # At once: all handshakes together may take longer than a stranger may be silent.
            client.send(packets.connect(f"c{number}", 4))
        for client in fleet:
            client.expect(Kind.CONNACK)
        before = shown_certificate(broker)
        unacknowledged = [client.send_publish("t", b"before") for client in fleet]
        certificates.renew()
        reload(broker)
        for client, packet_id in zip(fleet, unacknowledged, strict=True):
            client.expect(Kind.PUBACK, packet_id=packet_id)
        unacknowledged = [client.send_publish("t", b"after") for client in fleet]
        for client, packet_id in zip(fleet, unacknowledged, strict=True):
            client.expect(Kind.PUBACK, packet_id=packet_id)
        assert shown_certificate(broker) != before


def test_renewed_files_are_noticed(broker, certificates):
    """Without a word to the broker, and not while only one of the two is new."""
    before = shown_certificate(broker)
    assert 822 <= days_left(broker) <= 824
    certificates.server_key.write_text((certificates.directory / "ca.key").read_text())
    broker.process.expect(r"error: files of certificates have changed, the old ones stay: .* does not belong")
    assert shown_certificate(broker) == before
    certificates.renew("--days=20")
    broker.process.expect(r"warn: the certificate in \S+ is good for (?:19|20|21) more days only: renew it$")
    broker.process.expect(r"info: files of certificates have changed, and were read again$")
    assert days_left(broker) <= 21
    assert shown_certificate(broker) != before


def days_left(broker: Broker) -> float:
    """What the metrics say."""
    address = "{}:{}".format(*broker.tls_address)
    return broker.metrics()[f'bellbird_certificate_days_left{{listener="{address}"}}']


def test_bad_new_files_change_nothing(broker, certificates):
    """With any mistake the old ones stay, and the log names the file."""
    before = shown_certificate(broker)
    key = certificates.server_key.read_text()
    for text, words in (
        ("", "has no private key"),
        (Path(certificates.directory / "ca.key").read_text(), "does not belong to the first certificate in"),
        ("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n", "it is no PEM"),
    ):
        certificates.server_key.write_text(text)
        said = reload(broker)
        assert words in said, said
        assert str(certificates.server_key) in said, said
        assert shown_certificate(broker) == before
    certificates.server_key.write_text(key)
    assert "certificates were read again" in reload(broker)


def test_a_broken_configuration_is_told(tmp_path, certificates):
    """Each mistake by its setting, with what to do."""
    pair = f'certificates = "{certificates.server}"\nkeys = "{certificates.server_key}"\n'
    listener = '[[listeners]]\naddress = "127.0.0.1:0"\n'

    def check(text: str, *words: str) -> None:
        command = [bellbird_binary(), "check", f"--config={write(tmp_path, text)}"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        output = found.stdout + found.stderr
        for word in words:
            assert word in output, output

    check('listen_tls = ["127.0.0.1:0"]\n', "is to be encrypted and has no certificate", "--tls-certificate")
    check(f'{listener}transport = "tls"\n', "listeners[0].address", "has no certificate")
    check(
        f'listen_tls = ["127.0.0.1:0"]\n[tls]\ncertificates = "{certificates.server}"\n',
        "tls has 1 certificate and 0 keys",
    )
    check(f'[tls]\n{pair}', "warning: [tls] means nothing, for no listener is encrypted")
    check(f'{listener}[listeners.tls]\n{pair}', "listeners[0].tls means nothing", 'transport = "tls"')
    check(f'{listener}tls = true\n', "listeners[0].tls is a table")
    check(f'{listener}transport = "tls"\n[listeners.tls]\nkey = "x"\n', "there is no setting key", "did you mean keys?")
    check(f'listen_tls = ["127.0.0.1:0"]\n[tls]\nversion_min = "1.1"\n{pair}', "tls.version_min", '"1.2", "1.3"')
    check(
        f'listen_tls = ["127.0.0.1:0"]\n[tls]\ncertificates = "nothing"\nkeys = "{certificates.server_key}"\n',
        "cannot read nothing: No such file",
        "bellbird cert init",
    )
    asking = f'{pair}client_certificates = "required"\nclient_authorities = "{certificates.authority}"\n'
    check(
        f'[tls]\n{asking}user_name_from = "{{cn}}"\n{listener}transport = "tls"\n'
        f'{listener}transport = "tls"\n[listeners.tls]\nclient_certificates = "none"\n',
        "no mistakes",
    )
    check(f'listen_tls = ["127.0.0.1:0"]\n[tls]\nclient_certificates = "required"\n{pair}', "client_authorities beside it")
    check(f'listen_tls = ["127.0.0.1:0"]\n[tls]\nuser_name_from = "{{cn}}"\n{pair}', "tls.user_name_from means nothing")
    check(f'listen_tls = ["127.0.0.1:0"]\n[tls]\nuser_name_from = "{{name}}"\n{pair}', "none of {cn} {dn}")
    check(
        f'{listener}transport = "websocket_tls"\n[listeners.tls]\n{pair}',
        "(mqtt, websocket over tls at /mqtt)",
        "no mistakes",
    )


@pytest.fixture
def known(tmp_path) -> Iterator[Callable[..., Broker]]:
    """Starts a broker that asks clients for certificates of its own authority; the text is behind `[tls]`."""
    with contextlib.ExitStack() as stack:

        def start(text: str, demand: str = "required", others: str = "") -> Broker:
            certificates = Certificates(tmp_path / "tls", "--client=sensor-1", "--client=sensor-2")
            settings = f'{others}[tls]\nclient_certificates = "{demand}"\n'
            settings += f'client_authorities = "{certificates.authority}"\n{text}'
            broker = Broker(tmp_path / "data", shards=2).offer_tls(certificates)
            broker.arguments = [f"--config={write(tmp_path, settings)}"]
            return stack.enter_context(shown(broker))

        yield start


def certified(broker: Broker, name: str) -> ssl.SSLContext:
    """For a client with its own certificate."""
    context = ssl.create_default_context(cafile=broker.tls.authority)
    context.load_cert_chain(*broker.tls.client(name))
    return context


def visit(broker: Broker, context: ssl.SSLContext, client_id: str = "", session=None, **options):
    """Connects; gives the CONNACK and the ticket, or raises what the end of the connection raises."""
    with context.wrap_socket(dial(broker.tls_address), server_hostname="localhost", session=session) as stream:
        client = mqtt.Client.over(stream, options.pop("level", 4))
        client.send(packets.connect(client_id, client.level, **options))
        connack = client.expect(Kind.CONNACK)
        if connack.code == 0:
            client.ping()
        return connack, stream.session


REFUSED = (ssl.SSLError, ConnectionError, mqtt.Closed)
"""In TLS 1.3 a client hears of it only when it reads."""


def test_certificates_of_clients(known):
    """Who has none, or one of somebody else, is not let in, and the log says so."""
    broker = known("")
    assert visit(broker, certified(broker, "sensor-1"), "c")[0].code == 0
    with pytest.raises(REFUSED):
        visit(broker, broker.tls.context, "c")
    broker.process.expect(r"warn: TLS connection from \S+ ended: .*: the client shows no certificate, ")
    stranger = Certificates(broker.tls.directory.parent / "stranger", "--client=sensor-1")
    context = ssl.create_default_context(cafile=broker.tls.authority)
    context.load_cert_chain(*stranger.client("sensor-1"))
    with pytest.raises(REFUSED):
        visit(broker, context, "c")
    broker.process.expect(r"warn: TLS connection from \S+ ended: .*: no authority that is trusted here ")


def test_certificates_may_be_optional(known):
    """Who has none comes without; a wrong one is worse than none."""
    broker = known('user_name_from = "{cn}"\n', demand="optional")
    visit(broker, broker.tls.context, "without")
    visit(broker, certified(broker, "sensor-1"), "with")


def test_a_certificate_is_a_user_name(known, tmp_path):
    """It needs no password, beats what CONNECT says, and is what rules speak of."""
    rules = tmp_path / "rules"
    rules.write_text("user sensor-1\ntopic write t/1\npattern read t/%u\n")
    rules.chmod(0o600)
    broker = known('user_name_from = "{cn}"\n', others=f'[access]\nanonymous = false\nacl = "{rules}"\n')
    context = certified(broker, "sensor-1")
    with context.wrap_socket(dial(broker.tls_address), server_hostname="localhost") as stream:
        client = mqtt.Client.over(stream, 5)
        client.connect("c", user="sensor-2", password="whatever")
        listed = subprocess.run(
            [bellbird_binary(), "clients", f"--data={broker.directory}"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        assert "sensor-1" in listed.stdout, listed
        client.publish("t/1", b"allowed")
        client.send_publish("t/2", b"not")
        assert client.expect(Kind.PUBACK).code == 0x87


def test_a_certificate_is_a_client_identifier(known):
    """A client may say its own or none, in 5.0 it is told, and no other."""
    broker = known('client_id_from = "{ou}-{cn}"\n')
    context = certified(broker, "sensor-1")
    assert visit(broker, context, "client-sensor-1")[0].code == 0
    connack, _ = visit(broker, context, "", level=5)
    assert connack.properties[Property.ASSIGNED_CLIENT_ID] == "client-sensor-1", connack
    assert visit(broker, context, "client-sensor-2", level=5)[0].code == 0x85
    broker.process.expect(r"warn: login of client \"client-sensor-2\" from \S+ refused: ")


def test_a_revoked_certificate_is_nobody(known):
    """From the reload on, with a ticket as well; who is connected stays."""
    broker = known("")
    one, other = certified(broker, "sensor-1"), certified(broker, "sensor-2")
    _, ticket = visit(broker, one, "one")
    with one.wrap_socket(dial(broker.tls_address), server_hostname="localhost") as stream:
        client = mqtt.Client.over(stream)
        client.connect("stays")
        path = broker.tls.revoke("sensor-1")
        configuration = Path(broker.arguments[0].split("=", 1)[1])
        configuration.write_text(configuration.read_text() + f'client_crls = "{path}"\n')
        assert "changed: tls.client_crls" in reload(broker)
        client.ping()
    for session in (None, ticket):
        with pytest.raises(REFUSED):
            visit(broker, one, "one", session)
        broker.process.expect(r"warn: TLS connection from \S+ ended: .*: the client's certificate is revoked$")
    assert visit(broker, other, "other")[0].code == 0
    path.write_text("")
    assert "has no list of revoked certificates" in reload(broker)


def test_mosquitto_shows_its_certificate(known):
    """With --cert and --key, as its users know it."""
    broker = known('user_name_from = "{cn}"\n')
    command = ["mosquitto_pub", "-h", "localhost", "-p", str(broker.tls_address[1]), "-t", "t", "-m", "x", "-q", "1"]
    command += ["--cafile", str(broker.tls.authority)]
    certificate, key = broker.tls.client("sensor-1")
    subprocess.run([*command, "--cert", str(certificate), "--key", str(key)], timeout=20, check=True)
    refused = subprocess.run(command, capture_output=True, timeout=20, check=False)
    assert refused.returncode != 0
    ours = [bellbird_binary(), "pub", *command[1:], "--cert", str(certificate), "--key", str(key)]
    subprocess.run(ours, timeout=20, check=True)
    refused = subprocess.run([bellbird_binary(), "pub", *command[1:]], capture_output=True, text=True, check=False)
    assert refused.returncode == 3, refused
    assert "perhaps the server wants a certificate: --cert" in refused.stderr


def test_certificates_of_ones_own(tmp_path):
    """`bellbird cert init` makes what is missing, hides keys, and leaves what is there."""
    made = Certificates(tmp_path / "made", "--host=broker.example", "--client=sensor-1")
    names = ["ca.key", "ca.pem", "client-sensor-1.key", "client-sensor-1.pem", "server.key", "server.pem"]
    assert sorted(path.name for path in made.directory.iterdir()) == names
    for path in made.directory.iterdir():
        assert path.stat().st_mode & 0o777 == (0o600 if path.suffix == ".key" else 0o644), path
    for name, purpose in (("server", "sslserver"), ("client-sensor-1", "sslclient")):
        command = ["openssl", "verify", "-purpose", purpose, "-CAfile", str(made.authority)]
        command += ["-x509_strict", str(made.directory / f"{name}.pem")]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found
    before = {path: path.read_bytes() for path in made.directory.iterdir()}
    said = made.make("--client=sensor-2")
    assert said.count("is there and stays") == 2, said
    assert all(path.read_bytes() == content for path, content in before.items())
    (made.directory / "server.key").unlink()
    with pytest.raises(subprocess.CalledProcessError) as failed:
        made.make()
    assert "server.pem is there without" in failed.value.stderr


def reload(broker: Broker) -> str:
    """Sends SIGHUP, and returns what the log says of it."""
    os.kill(broker.pid, signal.SIGHUP)
    said = broker.process.expect(RELOADED)[1]
    # Each shard answers, which it does after it has heard of it.
    broker.metrics()
    return said


def shown_certificate(broker: Broker) -> bytes:
    """What somebody who comes now is shown."""
    with broker.tls.seal(dial(broker.tls_address)) as stream:
        return stream.getpeercert(binary_form=True)


def s_client(broker: Broker, *options: str) -> str:
    """What openssl has to say of the broker."""
    command = ["openssl", "s_client", "-connect", f"localhost:{broker.tls_address[1]}"]
    command += ["-CAfile", str(broker.tls.authority), *options]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=20, check=False)
    return done.stdout + done.stderr


def client_hello() -> bytes:
    """What a client begins with."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def write(folder: Path, text: str) -> Path:
    """A configuration file."""
    path = folder / "bellbird.toml"
    path.write_text(text)
    return path
