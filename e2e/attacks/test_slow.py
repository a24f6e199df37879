"""Peers that begin and do not go on: slow CONNECT, TLS handshake and upgrade (class 8).

CVE-2020-13849 (SlowITe: MQTT 3.1.1 leaves it to the client how long a server waits, so few machines keep
all of a broker's connections busy). That silence ends a connection is in test_websocket.py and test_tls.py;
here somebody keeps on saying a little.
"""

import contextlib
import itertools
import select
import socket
import ssl
import time
from collections.abc import Iterator

import mqtt
import packets
import pytest
import websocket
from broker import Broker
from packets import Kind
from websocket import BINARY, Frame, encode

from attacks.conftest import open_stream
from attacks.measure import PATIENCE_SECS, closed, descriptors, ended, eventually, expect_descriptors, resident_bytes

pytestmark = pytest.mark.bellbird

HANDSHAKE_SECS = 1
IMPATIENT = f"[limits]\nhandshake_secs = {HANDSHAKE_SECS}\n"
PATIENT = "[limits]\nhandshake_secs = 600\n"
BYTES_EACH_MAX = 64 * 1024
"""What a connection that has not said who it is may cost: attacks.md allows 64 kB."""
CROWD = 250
LONG_CONNECT = packets.connect("x" * 60_000)
LONG_REQUEST = websocket.request(Cookie="x" * 6_000)


def client_hello() -> bytes:
    """What a client of TLS says first."""
    context, incoming, outgoing = ssl.create_default_context(), ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def unfinished(broker: Broker) -> dict[str, tuple[tuple[str, int], bytes]]:
    """Where to begin what is not gone on with, and with what."""
    return {
        "nothing": (broker.address, b""),
        "half a CONNECT": (broker.address, packets.connect("c", 5)[:9]),
        "half a long CONNECT": (broker.address, LONG_CONNECT[:10]),
        "nothing for TLS": (broker.tls_address, b""),
        "half a ClientHello": (broker.tls_address, client_hello()[:80]),
        "a ClientHello": (broker.tls_address, client_hello()),
        "half a request": (broker.websocket_address, LONG_REQUEST[:60]),
        "an upgrade": (broker.websocket_address, websocket.request()),
        "an upgrade and half a frame": (broker.websocket_address, websocket.request() + b"\x82"),
        "an upgrade and half a CONNECT": (
            broker.websocket_address,
            websocket.request() + encode(Frame(BINARY, packets.connect("c")[:9])),
        ),
        "half a ClientHello for WebSocket": (broker.websocket_tls_address, client_hello()[:80]),
    }


DRIPS = ["CONNECT", "ClientHello", "request", "frames of CONNECT", "CONNECT over TLS", "pings of WebSocket"]


@pytest.mark.parametrize("what", DRIPS)
def test_saying_a_little_prolongs_nothing(launch, certificates, what):
    """A byte now and then: the connection ends as if nothing had come, and others come in meanwhile."""
    broker = launch(IMPATIENT)
    doors = {"CONNECT": broker.address, "ClientHello": broker.tls_address, "request": broker.websocket_address}
    if what in doors:
        stream = socket.create_connection(doors[what], PATIENCE_SECS)
        data = {"CONNECT": LONG_CONNECT, "ClientHello": client_hello() * 5, "request": LONG_REQUEST}[what]
        pieces = bits(data)
    elif what == "CONNECT over TLS":
        stream, pieces = open_stream(broker, "tls", certificates), bits(LONG_CONNECT)
    else:
        stream = websocket.connect(broker.websocket_address).stream
        frames = (encode(Frame(BINARY, bit)) for bit in bits(LONG_CONNECT))
        pieces = itertools.repeat(encode(Frame(websocket.PING, b"alive?"))) if "pings" in what else frames
    with stream:
        assert drip(stream, pieces), "nothing ended it"
    with mqtt.Client(broker.address) as one:
        one.connect("honest")
        one.ping()


def bits(data: bytes) -> Iterator[bytes]:
    """Byte by byte."""
    return (data[at : at + 1] for at in range(len(data)))


def drip(stream: socket.socket, pieces: Iterator[bytes]) -> bool:
    """Sends one piece after the other, with a little time between; whether the broker made an end of it."""
    deadline = time.monotonic() + PATIENCE_SECS
    stream.setblocking(False)
    for piece in pieces:
        if time.monotonic() > deadline:
            return False
        try:
            stream.send(piece)
            select.select([stream], [], [], 0.02)
            if not stream.recv(4096):
                return True
        except (BlockingIOError, ssl.SSLWantReadError):
            continue
        except OSError:
            return True
    return False


def test_what_is_not_finished_costs_little_and_ends(launch, certificates):
    """Hundreds of each kind: their memory is bounded, honest clients come in, and all descriptors return."""
    broker = launch(PATIENT)
    with contextlib.ExitStack() as stack:
        for what, (address, data) in unfinished(broker).items():
            before, open_before = resident_bytes(broker), descriptors(broker)
            accepted = broker.metrics()["bellbird_connections_accepted_total"]
            crowd = [stack.enter_context(socket.create_connection(address, PATIENCE_SECS)) for _ in range(CROWD)]
            for one in crowd:
                one.sendall(data)
            eventually(
                broker,
                f"{what}: all are accepted",
                lambda wanted=accepted + CROWD: broker.metrics()["bellbird_connections_accepted_total"] >= wanted,
            )
            for door in ("tcp", "websocket", "tls", "websocket-tls"):
                with contextlib.closing(mqtt.Client.over(open_stream(broker, door, certificates))) as honest:
                    honest.connect("honest")
                    honest.ping()
            cost = (resident_bytes(broker) - before) / CROWD
            assert cost < BYTES_EACH_MAX, f"{what}: {cost:.0f} bytes each"
            for one in crowd:
                one.close()
            expect_descriptors(broker, open_before)


def test_all_of_them_are_cut_off(launch):
    """Without a word from them, each of the connections ends by itself, and is counted."""
    broker = launch(IMPATIENT)
    with contextlib.ExitStack() as stack:
        open_before, ended_before, count = descriptors(broker), ended(broker), 0
        streams = []
        for address, data in unfinished(broker).values():
            for _ in range(20):
                streams.append(stack.enter_context(socket.create_connection(address, PATIENCE_SECS)))
                streams[-1].sendall(data)
                count += 1
        for stream in streams:
            with contextlib.suppress(ConnectionError):
                while stream.recv(4096):
                    pass
        eventually(broker, "all have ended", lambda: ended(broker) >= ended_before + count)
        expect_descriptors(broker, open_before)


def test_a_crowd_keeps_nobody_out(launch, client, dial):
    """More strangers than may be: they make room for each other, and nobody who is through CONNECT goes."""
    most, count = 200, 60
    broker = launch(f"[limits]\nhandshake_secs = 600\nstrangers_max = {most}\n")
    doors = ("tcp", "websocket", "tls", "websocket-tls")
    members = [client(broker, door=door) for door in doors for _ in range(5)]
    with contextlib.ExitStack() as stack:
        open_before = descriptors(broker)
        for what, (address, data) in unfinished(broker).items():
            for _ in range(count):
                one = stack.enter_context(socket.create_connection(address, PATIENCE_SECS))
                with contextlib.suppress(ConnectionError):
                    one.sendall(data)
            for door in doors:
                honest = client(broker, f"honest after {what}", door=door)
                honest.ping()
                honest.close()
        # They are counted in bulk, so that an eighth more may be there.
        total, left = count * len(unfinished(broker)), most + most // 8
        eventually(broker, "all but so many have ended", lambda: closed(broker, "crowded") >= total - left)
        assert closed(broker, "crowded") <= total
        expect_descriptors(broker, open_before + left)
        for member in members:
            member.ping()


def test_a_session_that_is_begun_is_not_in_a_hurry(launch, dial):
    """The deadline is for who has not said CONNECT; who has may be silent, and slow within a packet."""
    broker = launch(IMPATIENT)
    one, clock = dial(broker), dial(broker)
    one.connect("one")
    one.send(packets.publish("t", b"x" * 100, 5)[:20])
    # Somebody who says nothing is cut off behind it, which tells the time.
    assert clock.expect_closed() is None
    one.send(packets.publish("t", b"x" * 100, 5)[20:] + packets.pingreq())
    assert one.receive().kind == Kind.PINGRESP
