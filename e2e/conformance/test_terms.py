"""Sections 3.1 and 3.2, where the operator has set bounds: what a listener offers, and who is let in."""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterator

import pytest
import wire
from broker import Broker
from doubles_publish import LONG
from mqtt import Closed
from publishing import SAID
from registry import statement
from wire import BAD_CLIENT_ID, KEEP_ALIVE_TIMEOUT, Kind, Property, Will

RETAIN_AVAILABLE, SERVER_KEEP_ALIVE = 0x25, 0x13
BAD_USER_NAME, NOT_AUTHORIZED = 0x86, 0x87
RETAIN_NOT_SUPPORTED, QOS_NOT_SUPPORTED = 0x9A, 0x9B


class Configured(Broker):
    """A broker whose listeners are those of its configuration file, without options beside them."""

    def _command(self) -> list[str]:
        options = ("--listen", "--tls")
        return [argument for argument in super()._command() if not argument.startswith(options)]


@pytest.fixture
def listener(tmp_path, certificates) -> Iterator[Callable[..., Broker]]:
    """Starts a broker with these settings for its listeners, and these texts as files of users and of rules."""
    brokers: list[Broker] = []

    def start(settings: str = "", **access: str) -> Broker:
        lines = [f'tls.certificates = "{certificates.server}"', f'tls.keys = "{certificates.server_key}"']
        for transport in ("tcp", "websocket", "tls", "websocket_tls"):
            lines += ["[[listeners]]", 'address = "127.0.0.1:0"', settings, f'transport = "{transport}"']
        own = Configured(tmp_path / "data", shards=2).offer_unix().offer_websocket().offer_tls(certificates)
        lines += ["[[listeners]]", f'unix_path = "{own.unix_path}"', settings]
        for name, text in access.items():
            file = tmp_path / name
            file.write_text(text)
            file.chmod(0o600)
            lines += ["[access]"] * ("[access]" not in lines) + [f'{name} = "{file}"']
        configuration = tmp_path / "bellbird.toml"
        configuration.write_text("\n".join(lines) + "\n")
        own.arguments = [f"--config={configuration}"]
        brokers.append(own)
        own.start()
        return own

    yield start
    for own in brokers:
        own.close()
        print(own.log())


def password_line(name: str, password: bytes) -> str:
    """A line of a password file in Mosquitto's format."""
    salt, rounds = b"twelve bytes", 1000
    digest = hashlib.pbkdf2_hmac("sha512", password, salt, rounds)
    return f"{name}:$7${rounds}${b64encode(salt).decode()}${b64encode(digest).decode()}\n"


QOS = pytest.mark.parametrize("qos", [0, 1])


@statement("MQTT-3.2.2-9", wrong="connack-properties-stripped")
@QOS
def test_maximum_qos(dial, listener, unique, qos):
    """A broker without QoS 2, or without QoS 1 and 2, says so."""
    connack = dial(to=listener(f"qos_max = {qos}")).connect(unique("c"))
    assert connack.values(Property.MAXIMUM_QOS) == [qos]


@statement("MQTT-3.2.2-9", wrong="connack-maximum-qos-2")
def test_no_maximum_qos(dial, unique):
    """A broker with all three does not speak of it: there is no Maximum QoS of 2."""
    assert not dial().connect(unique("c")).values(Property.MAXIMUM_QOS)


@statement("MQTT-3.2.2-10", wrong="suback-refused")
@QOS
@pytest.mark.parametrize("asked", [0, 1, 2])
def test_subscribing_above_the_maximum_qos(client, listener, unique, qos, asked):
    """One may subscribe with each QoS all the same; messages come with what there is."""
    one, topic = client(to=listener(f"qos_max = {qos}")), unique("t")
    (code,) = one.subscribe((topic, asked)).codes
    assert code <= asked
    one.send_publish(topic, b"", qos=qos)
    packets = [one.receive() for _ in range(1 + qos)]
    (message,) = [packet for packet in packets if packet.kind == Kind.PUBLISH]
    assert message.qos == min(qos, asked)


@statement("MQTT-3.2.2-11", "U5-17", wrong=SAID)
@pytest.mark.parametrize(("maximum", "qos"), [(0, 1), (0, 2), (1, 2)])
def test_publishing_above_the_maximum_qos(client, listener, unique, maximum, qos):
    """Who publishes above the Maximum QoS is sent away with the reason for that."""
    offender = client(to=listener(f"qos_max = {maximum}"))
    offender.send_publish(unique("t"), b"", qos=qos)
    offender.expect_refused(QOS_NOT_SUPPORTED)


@statement("MQTT-3.2.2-11", wrong="eager-close")
def test_publishing_at_the_maximum_qos(client, listener, unique):
    """Up to the Maximum QoS one may publish."""
    one = client(to=listener("qos_max = 1"))
    one.publish(unique("t"), b"", qos=0)
    one.publish(unique("t"), b"", qos=1)


@statement("MQTT-3.2.2-12", wrong=["close-hidden", "connack-code-zeroed"])
@pytest.mark.parametrize(("maximum", "qos"), [(0, 1), (0, 2), (1, 2)])
def test_a_will_above_the_maximum_qos(dial, listener, unique, maximum, qos):
    """A will above the Maximum QoS is refused together with its CONNECT."""
    offender = dial(to=listener(f"qos_max = {maximum}"))
    assert offender.introduce(unique("c"), will=Will("w", qos=qos)).code == QOS_NOT_SUPPORTED
    offender.expect_closed()


@statement("MQTT-3.2.2-13", wrong=["close-hidden", "connack-code-zeroed"])
def test_a_retained_will_without_retain(dial, listener, unique):
    """Where nothing is retained, neither is a will."""
    offender = dial(to=listener("retain = false"))
    assert offender.introduce(unique("c"), will=Will("w", retain=True)).code == RETAIN_NOT_SUPPORTED
    offender.expect_closed()


@statement("MQTT-3.2.2-14", "U5-18", wrong=[*SAID, "connack-properties-stripped"])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("payload", [b"kept", b""])
def test_publishing_without_retain(dial, listener, unique, qos, payload):
    """Who was told that nothing is retained and publishes with RETAIN is sent away with that reason."""
    offender = dial(to=listener("retain = false"))
    assert offender.connect(unique("c")).values(RETAIN_AVAILABLE) == [0]
    offender.send_publish(unique("t"), payload, qos=qos, retain=True)
    offender.expect_refused(RETAIN_NOT_SUPPORTED)


@statement("H-40", wrong="connack-properties-stripped")
@pytest.mark.parametrize("asked", [0, 61, 65535])
def test_server_keep_alive(dial, listener, unique, asked):
    """Who asks for a longer Keep Alive than the operator wants, or for none, is told which one it has."""
    one = dial(to=listener("keep_alive_secs_max = 60"))
    assert one.connect(unique("c"), keepalive=asked).values(SERVER_KEEP_ALIVE) == [60]


@statement("H-40", wrong="connack-server-keep-alive")
def test_no_server_keep_alive(dial, unique):
    """Where the client's own Keep Alive is in force, nothing else is said."""
    assert dial().connect(unique("c"), keepalive=61).values(SERVER_KEEP_ALIVE) in ([], [61])


@statement("H-40", wrong=SAID)
def test_server_keep_alive_is_in_force(dial, listener, unique):
    """The Keep Alive that the client was told is the one by which it is judged."""
    one = dial(to=listener("keep_alive_secs_max = 1"))
    one.connect(unique("c"), keepalive=600)
    # A broker may look around once a second only.
    one.expect_refused(KEEP_ALIVE_TIMEOUT, within=1.5 + 1)


@statement("U5-16", wrong="connack-properties-stripped")
def test_session_expiry_of_the_broker(dial, own_broker, unique):
    """Who asks for a longer session than the operator allows is told how long it has."""
    one = dial(to=own_broker("[limits]\nsession_expiry_secs_max = 100\n"))
    props = [(Property.SESSION_EXPIRY, 600)]
    assert one.connect(unique("c"), clean=False, props=props).values(Property.SESSION_EXPIRY) == [100]


IDS = {"long": "x" * 65535, "wildcards": "a/+/#", "spaces": " a b ", "controls": "a\1\x7f", "other scripts": "é🌡"}


@statement("MQTT-3.1.3-8", wrong=["connack-refused", "connack-id-rejected-and-open"])
@statement("MQTT311-3.1.3-9", wrong=["connack-refused", "connack-id-rejected-and-open"])
@pytest.mark.parametrize("name", IDS.values(), ids=IDS.keys())
def test_client_ids_that_may_be_rejected(dial, level, name):
    """A broker need not take these ids, but who is rejected for its id is told so, and sent away."""
    one = dial()
    code = one.introduce(name).code
    if code:
        assert code == (BAD_CLIENT_ID if level == 5 else 2)
        one.expect_closed()
    else:
        one.ping()


@statement("MQTT311-3.1.3-9", wrong=["close-hidden", "connack-dropped", "reason-generic"])
def test_a_client_id_that_is_rejected(dial, level):
    """A client id that nobody can take is answered with the return code 0x02 and the close."""
    dial().introduce("", clean=True)
    offender = dial()
    assert offender.introduce("", clean=False).code == 2
    assert offender.expect_closed() is None


@statement("MQTT-3.1.4-2", wrong=["close-hidden", "connack-code-zeroed", "reason-generic", "connack-refused"])
def test_who_is_let_in(dial, listener, unique):
    """Who does not prove to be a user is refused with the reason for that, and sent away."""
    broker = listener(users=password_line("alice", b"secret"))
    good = dial(to=broker)
    good.connect(unique("c"), username="alice", password=b"secret")
    for username, password in [("alice", b"wrong"), ("alice", None), ("bob", b"secret"), ("alice", b"")]:
        offender = dial(to=broker)
        connack = offender.introduce(unique("c"), username=username, password=password)
        assert connack.code in (BAD_USER_NAME, NOT_AUTHORIZED)
        offender.expect_closed()
    good.ping()


RULES = "topic read #\ntopic write open/#\n"
"""Who has no user name may read everything, and write a part of it."""


@statement("MQTT311-3.3.5-2", wrong="puback-dropped")
def test_publishing_without_permission(client, listener, level):
    """A PUBLISH that is not allowed is acknowledged as usual, or ends the connection."""
    one = client(to=listener(acl=RULES))
    one.publish("open/a", b"")
    packet_id = one.send_publish("closed", b"", qos=1)
    try:
        answer = one.receive("PUBACK or the end")
    except Closed:
        return
    assert (answer.kind, answer.packet_id) == (Kind.PUBACK, packet_id)


@statement("MQTT-3.4.2-1", "MQTT-3.5.2-1", wrong="ack-code-zeroed")
@pytest.mark.parametrize(("qos", "kind"), [(1, Kind.PUBACK), (2, Kind.PUBREC)], ids=["PUBACK", "PUBREC"])
def test_reasons_without_permission(client, listener, qos, kind):
    """In 5.0, who may not publish is told so in the acknowledgement, and the connection goes on."""
    one = client(to=listener(acl=RULES))
    one.subscribe(("#", 0))
    packet_id = one.send_publish("closed", b"", qos=qos)
    assert one.expect(kind, packet_id=packet_id).code == NOT_AUTHORIZED
    one.send_publish("open/a", b"", qos=0)
    assert one.expect(Kind.PUBLISH).topic == "open/a"


@statement("MQTT-3.2.2-19", "H-22", wrong="connack-reason-long")
@statement("MQTT-3.2.2-20", "H-22", wrong="connack-user-property-long")
@pytest.mark.parametrize("method", [None, "unheard of"], ids=["success", "refusal"])
def test_connack_in_a_small_packet(dial, unique, method):
    """Reason String and User Property are left out where the client has no room for them."""
    small = len(LONG)
    props = [(0x27, small), *([(0x15, method)] if method else [])]
    connack = dial().introduce(unique("c"), props=props)
    assert bool(connack.code) == bool(method)
    assert len(wire.frame(Kind.CONNACK, 0, connack.body)) <= small
