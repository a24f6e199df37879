"""WebSocket peers that mean harm (class 13); more of them are in test_websocket.py of the folder above.

CVE-2026-25627 (NanoMQ: a frame that was no packet was read beyond its end) and CVE-2026-27571 (NATS: a
compressed frame of few bytes became as many as memory held, before anybody had said who it was).
"""

import zlib

import mqtt
import packets
import pytest
import websocket
from packets import Kind
from websocket import BINARY, CONTINUATION, PING, PONG, PROTOCOL_ERROR, Frame, WebSocket, encode

from attacks.measure import MIB, allocated_bytes, resident_bytes

pytestmark = pytest.mark.bellbird

OFFERS = [
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits; server_no_context_takeover",
    "x-webkit-deflate-frame",
    "permessage-bzip2, permessage-deflate",
]
COMPRESSED = 4
"""The reserved bit of a frame that says so."""


@pytest.mark.parametrize("offered", OFFERS)
def test_compression_is_never_agreed_on(launch, offered):
    """The upgrade is granted without it, and a frame that is compressed all the same ends the connection."""
    broker = launch()
    opened = WebSocket(broker.websocket_address)
    response = opened.upgrade(Sec_WebSocket_Extensions=offered)
    assert response.status == 101
    assert "sec-websocket-extensions" not in response.fields
    bomb = zlib.compressobj(wbits=-15)
    data = bomb.compress(bytes(64 * MIB)) + bomb.flush(zlib.Z_SYNC_FLUSH)
    before = resident_bytes(broker)
    opened.send(Frame(BINARY, data[:60_000], reserved=COMPRESSED))
    assert opened.expect_closed(PROTOCOL_ERROR) == []
    assert resident_bytes(broker) - before < MIB
    opened.close()


@pytest.mark.parametrize("reserved", [1, 2, 4, 7])
@pytest.mark.parametrize("opcode", [CONTINUATION, BINARY, PING, PONG, websocket.CLOSE])
def test_reserved_bits_end_the_connection(launch, opcode, reserved):
    """In each kind of frame: no extension was agreed on that would mean something by them."""
    broker = launch()
    opened = websocket.connect(broker.websocket_address)
    opened.send(Frame(opcode, b"", reserved=reserved))
    assert opened.expect_closed(PROTOCOL_ERROR) == []
    opened.close()


def test_empty_frames_are_nothing(launch):
    """A hundred thousand frames and fragments without a byte in them, before CONNECT and after."""
    broker = launch()
    opened = websocket.connect(broker.websocket_address)
    before = allocated_bytes(broker)
    fragments = encode(Frame(BINARY, final=False)) + encode(Frame(CONTINUATION, final=False)) * 500
    flood = (encode(Frame(BINARY)) * 500 + fragments + encode(Frame(CONTINUATION))) * 10
    for _ in range(5):
        opened.stream.sendall(flood)
    one = mqtt.Client.over(opened)
    one.connect("c")
    for _ in range(5):
        opened.stream.sendall(flood)
    one.ping()
    assert allocated_bytes(broker) - before < MIB
    one.close()


def test_a_message_without_end(launch):
    """One message of fragments that never ends carries packet after packet, and is kept nowhere."""
    broker = launch()
    opened = websocket.connect(broker.websocket_address)
    packet = packets.publish("t", b"x" * 1000)
    opened.send(Frame(BINARY, packets.connect("c"), final=False))
    one = mqtt.Client.over(opened)
    assert one.expect(Kind.CONNACK).code == 0
    before = allocated_bytes(broker)
    halves = [Frame(CONTINUATION, half, final=False) for half in (packet[:400], packet[400:])]
    for _ in range(200):
        opened.send(*halves * 50)
    opened.send(Frame(CONTINUATION, packets.pingreq(), final=False))
    one.expect(Kind.PINGRESP)
    assert broker.metrics()['bellbird_publishes_received_total{qos="0"}'] == 10_000
    assert allocated_bytes(broker) - before < MIB
    one.close()


def test_a_message_within_a_message(launch):
    """A second message may not begin before the first has ended."""
    broker = launch()
    opened = websocket.connect(broker.websocket_address)
    opened.send(Frame(BINARY, packets.connect("c")[:4], final=False), Frame(BINARY, packets.connect("c")[4:]))
    assert opened.expect_closed(PROTOCOL_ERROR) == []
    opened.close()


def test_pings_before_connect_cost_nothing(launch):
    """Who has not said who it is and reads nothing is owed one pong at most."""
    broker = launch("[limits]\nhandshake_secs = 600\n")
    opened, before = websocket.connect(broker.websocket_address), resident_bytes(broker)
    flood = b"".join(encode(Frame(PING, b"%125d" % number)) for number in range(1000))
    for _ in range(100):
        opened.stream.sendall(flood)
    opened.send(Frame(PING, b"last"))
    with mqtt.Client(broker.address) as one:
        one.connect("honest")
        one.ping()
    while (frame := opened.receive()).payload != b"last":
        assert frame.opcode == PONG
    assert resident_bytes(broker) - before < 2 * MIB
    opened.close()


def test_one_byte_in_each_frame(launch):
    """Seven bytes of frame for one of a packet of 20 kB, which arrives as it was."""
    broker = launch()
    with mqtt.Client(broker.address) as witness:
        witness.connect("witness")
        witness.subscribe(("t", 0))
        one = mqtt.Client.over(websocket.connect(broker.websocket_address))
        one.connect("c")
        payload = bytes(number % 251 for number in range(20_000))
        packet = packets.publish("t", payload)
        one.socket.send(*(Frame(BINARY, packet[at : at + 1]) for at in range(len(packet))))
        assert witness.expect_message().payload == payload
        one.close()


HEADS = {
    "fields without end": lambda: b"GET /mqtt HTTP/1.1\r\n" + b"a: b\r\n" * 5000,
    "a field without end": lambda: b"GET /mqtt HTTP/1.1\r\nHost: " + b"x" * 20_000,
    "a path without end": lambda: b"GET /" + b"x" * 20_000,
    "spaces without end": lambda: b" " * 20_000,
    "ends of lines": lambda: b"\r\n" * 10_000,
}


@pytest.mark.parametrize("case", HEADS)
def test_heads_that_do_not_end(launch, case):
    """Refused with a status of HTTP once they are longer than any that is meant well."""
    broker = launch()
    opened, before = WebSocket(broker.websocket_address), resident_bytes(broker)
    opened.stream.sendall(HEADS[case]())
    assert 400 <= opened.response().status < 500
    assert opened.receive() is None
    assert resident_bytes(broker) - before < MIB
    opened.close()


def test_a_request_in_two_minds(launch, client):
    """Bytes behind the request are frames and nothing else: no second request, no bare packets."""
    broker = launch()
    for behind in (websocket.request(), packets.connect("smuggled"), b"GET / HTTP/1.1\r\n\r\n"):
        opened = WebSocket(broker.websocket_address)
        opened.stream.sendall(websocket.request() + behind)
        assert opened.response().status == 101
        frames = opened.expect_closed(websocket.PROTOCOL_ERROR, websocket.UNSUPPORTED, websocket.TOO_BIG)
        assert frames == []
        opened.close()
    assert broker.metrics()['bellbird_sessions{state="connected"}'] == 0
