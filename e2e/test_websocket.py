"""MQTT over WebSocket: the upgrade, frames in all sizes, and peers that mean harm or know no better."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import mqtt
import packets
import pytest
from broker import Broker, shown
from packets import Kind
from websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    NORMAL,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    UNSUPPORTED,
    Frame,
    WebSocket,
    encode,
    request,
)

pytestmark = pytest.mark.bellbird

GOING_AWAY = 1001
HEAD_BYTES_MAX = 8192


@pytest.fixture
def broker(tmp_path, shards) -> Iterator[Broker]:
    """A broker that listens for both."""
    broker = Broker(tmp_path / "data", shards).offer_websocket()
    with shown(broker):
        yield broker


@pytest.fixture
def raw(broker) -> Iterator[Callable[..., WebSocket]]:
    """Opens WebSockets, upgraded or not."""
    opened: list[WebSocket] = []

    def open_one(*, upgraded: bool = True) -> WebSocket:
        opened.append(WebSocket(broker.websocket_address))
        if upgraded:
            assert opened[-1].upgrade().status == 101
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def framed(raw) -> Callable[..., mqtt.Client]:
    """Connects clients of MQTT over WebSocket."""

    def open_one(client_id: str, level: int = 4, **options) -> mqtt.Client:
        one = mqtt.Client.over(raw(), level)
        one.connect(client_id, **options)
        return one

    return open_one


def test_both_transports_meet(framed, client, level):
    here, there = framed("here", level), client("there", level)
    for one in (here, there):
        one.subscribe(("t", 1))
    for sender in (here, there):
        sender.send_publish("t", b"x", qos=0)
        for one in (here, there):
            one.expect_message(b"x")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 32_768, 65_535, 65_536, 200_000])
def test_payload_sizes(framed, level, size):
    subscriber, publisher = framed("s", level), framed("p", level)
    subscriber.subscribe(("big", 1))
    payload = bytes(number % 251 for number in range(size))
    publisher.publish("big", payload)
    assert subscriber.expect_message().payload == payload


@pytest.mark.parametrize("size", [1, 3, 50, 100_000])
def test_all_in_one_stream(raw, level, size):
    """The request, frames of this size and what they hold, in segments of this size.

    Twenty clients, so that some of them move to another shard in the middle of a frame, and before
    the answer to the upgrade has been read.
    """
    for number in range(20):
        opened, name = raw(upgraded=False), f"c{number}"
        conversation = (
            packets.connect(name, level)
            + packets.subscribe(1, [(name, 1)], level)
            + packets.publish(name, b"hello", level, qos=1, packet_id=2)
            + packets.pingreq()
        )
        parts = [conversation[at : at + size] for at in range(0, len(conversation), size)]
        stream = request() + b"".join(encode(Frame(BINARY, part)) for part in parts)
        for at in range(0, len(stream), size):
            opened.stream.sendall(stream[at : at + size])
        assert opened.response().status == 101
        one = mqtt.Client.over(opened, level)
        one.expect(Kind.CONNACK)
        found = {one.receive().kind for _ in range(4)}
        assert found == {Kind.SUBACK, Kind.PUBLISH, Kind.PUBACK, Kind.PINGRESP}


def test_pings_are_answered_between_fragments(raw):
    opened = raw()
    connect = packets.connect("c", 4)
    opened.send(Frame(BINARY, connect[:5], final=False), Frame(PING, b"there?"))
    assert opened.receive() == Frame(PONG, b"there?")
    opened.send(Frame(PONG, b"unasked"), Frame(CONTINUATION, connect[5:]))
    mqtt.Client.over(opened).expect(Kind.CONNACK)


@pytest.mark.parametrize("code", [None, NORMAL, 4000])
def test_close_is_answered_and_says_the_will(framed, client, code):
    witness = client("witness")
    witness.subscribe(("will", 1))
    opened = framed("c", will=packets.Will("will", b"gone")).socket
    opened.send(
        Frame(BINARY, packets.publish("will", b"before", 4)),
        Frame(CLOSE, b"" if code is None else code.to_bytes(2, "big")),
    )
    assert opened.expect_closed(code) == []
    witness.expect_message(b"before")
    witness.expect_message(b"gone")


def test_disconnect_ends_with_a_close_frame(framed):
    opened = framed("c").socket
    opened.sendall(packets.disconnect())
    assert opened.expect_closed(NORMAL) == []


def test_the_end_of_the_broker_is_told(broker, framed):
    opened = framed("c", 5).socket
    broker.stop()
    [frame] = opened.expect_closed(GOING_AWAY)
    assert packets.split(bytearray(frame.payload))[0] >> 4 == Kind.DISCONNECT


REFUSED = {
    "another path": ("/other", {}, 404, {}),
    "no path": ("/", {}, 404, {}),
    "no subprotocol": ("/mqtt", {"Sec_WebSocket_Protocol": None}, 400, {}),
    "another subprotocol": ("/mqtt", {"Sec_WebSocket_Protocol": "chat"}, 400, {}),
    "a page for people": ("/mqtt", {"Upgrade": None, "Connection": "close"}, 426, {"upgrade": "websocket"}),
    "an old version": ("/mqtt", {"Sec_WebSocket_Version": "8"}, 426, {"sec-websocket-version": "13"}),
    "a long head": ("/mqtt", {"Cookie": "x" * HEAD_BYTES_MAX}, 431, {}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_requests_that_are_refused(raw, case):
    path, changes, status, fields = REFUSED[case]
    opened = raw(upgraded=False)
    response = opened.upgrade(path, **changes)
    assert response.status == status
    assert fields.items() <= response.fields.items()
    assert b"/mqtt" in response.body
    assert opened.receive() is None


@pytest.mark.parametrize(
    "first", [packets.connect("c", 4), bytes.fromhex("16 03 01 02 00 01")], ids=["MQTT", "TLS"]
)
def test_who_speaks_something_else_is_told_at_once(raw, first):
    opened = raw(upgraded=False)
    opened.stream.sendall(first)
    assert opened.response().status == 400
    assert opened.receive() is None


BROKEN = {
    "text": (encode(Frame(TEXT, packets.pingreq())), UNSUPPORTED),
    "no mask": (encode(Frame(BINARY, packets.pingreq()), masked=False), PROTOCOL_ERROR),
    "compressed": (encode(Frame(BINARY, packets.pingreq(), reserved=4)), PROTOCOL_ERROR),
    "unknown opcode": (encode(Frame(3)), PROTOCOL_ERROR),
    "continuation of nothing": (encode(Frame(CONTINUATION, b"x")), PROTOCOL_ERROR),
    "long ping": (encode(Frame(PING, b"x" * 126)), PROTOCOL_ERROR),
    "ping in fragments": (encode(Frame(PING, final=False)), PROTOCOL_ERROR),
    "2^32 bytes declared": (encode(Frame(BINARY, b""), length=1 << 32), TOO_BIG),
    "2^63 bytes declared": (encode(Frame(BINARY, b""), length=1 << 63), PROTOCOL_ERROR),
    "close with half a code": (encode(Frame(CLOSE, b"x")), PROTOCOL_ERROR),
    "close with a code of nobody": (encode(Frame(CLOSE, b"\x03\xed")), PROTOCOL_ERROR),
}


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "before CONNECT"])
@pytest.mark.parametrize("case", BROKEN)
def test_broken_frames_end_their_connection_only(framed, raw, client, case, connected):
    data, code = BROKEN[case]
    witness, opened = client("witness"), framed("c").socket if connected else raw()
    opened.stream.sendall(data)
    assert opened.expect_closed(code) == []
    witness.ping()


def test_packets_do_not_wait_for_their_frame(broker, raw):
    """A hundred peers announce frames as long as packets may be: nothing is kept for them."""
    before, connect = resident_bytes(broker), packets.connect("", 4)
    head = bytes([0x80 | BINARY, 0xFF]) + (268_435_460).to_bytes(8, "big") + bytes(4)
    opened = [raw() for _ in range(100)]
    for one in opened:
        one.stream.sendall(head + connect[:5])
    for one in opened:
        one.stream.sendall(connect[5:])
        mqtt.Client.over(one).expect(Kind.CONNACK)
    assert resident_bytes(broker) - before < 4 << 20


def resident_bytes(broker: Broker) -> int:
    """What the broker's process has in memory."""
    return int(Path(f"/proc/{broker.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_flood_of_pings_by_who_reads_nothing(broker, framed, client):
    """What waits for the peer is one pong: the latest ping's."""
    opened, before = framed("c").socket, resident_bytes(broker)
    flood = b"".join(encode(Frame(PING, b"%125d" % number)) for number in range(1000))
    for _ in range(200):
        opened.stream.sendall(flood)
    opened.send(Frame(PING, b"last"))
    other = client("other")
    other.ping()
    while (frame := opened.receive()).payload != b"last":
        assert frame.opcode == PONG
    assert resident_bytes(broker) - before < 4 << 20


def test_a_client_that_reads_late_gets_whole_frames(broker, framed, client, tmp_path):
    """It reads nothing while more is published than sockets hold, then finds each frame whole."""
    start_with(broker, tmp_path, f"[limits]\noutbox_bytes_max = {64 << 20}\n")
    slow, publisher = framed("slow"), client("p")
    slow.subscribe(("t", 0))
    payload, count = os.urandom(40_000), 400
    for number in range(count):
        publisher.publish("t", number.to_bytes(4, "big") + payload)
    for number in range(count):
        assert slow.expect_message().payload == number.to_bytes(4, "big") + payload
    slow.ping()


def start_with(broker: Broker, tmp_path: Path, text: str) -> None:
    """Starts the broker once more, with this file."""
    broker.stop()
    file = tmp_path / "bellbird.toml"
    file.write_text(text)
    broker.arguments = [f"--config={file}"]
    broker.start()


@pytest.mark.parametrize("sent", [0, 1, 60], ids="{} bytes".format)
def test_a_slow_handshake_is_cut_off(broker, raw, tmp_path, sent):
    start_with(broker, tmp_path, "[limits]\nhandshake_secs = 1\n")
    opened = raw(upgraded=False)
    opened.stream.sendall(request()[:sent])
    assert opened.receive() is None
    # And who asks for the upgrade at once, and then says nothing.
    assert raw().expect_closed(NORMAL) == []
