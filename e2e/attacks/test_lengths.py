"""Lengths that are declared and never sent, before CONNECT and after (class 9).

CVE-2017-7651 (Mosquitto: a CONNECT that declared much took as much memory at once, from anybody) and
CVE-2023-0809 (Mosquitto: the same for packets before CONNECT that were no CONNECT).
"""

import contextlib
import socket

import mqtt
import packets
import pytest
from packets import varint
from websocket import BINARY, Frame, encode, request

from attacks.measure import MIB, PATIENCE_SECS, descriptors, ended, eventually, resident_bytes

pytestmark = pytest.mark.bellbird

LARGEST = 268_435_455
WIDE_OPEN = "[limits]\npacket_bytes_max = 268435460\nhandshake_secs = 600\n"
BYTES_EACH_MAX = 64 * 1024
FIRST_BYTES_MAX = 100_000
"""docs/memory.md: before CONNECT is through."""
RECEIVED = "bellbird_received_bytes_total"
KINDS = {"PUBLISH": 0x30, "PUBLISH QoS 2": 0x34, "SUBSCRIBE": 0x82, "UNSUBSCRIBE": 0xA2}


@pytest.mark.parametrize("door", ["tcp", "websocket", "tls", "websocket-tls"])
def test_nobody_declares_much_before_connect(launch, dial, door):
    """More than 100 kB ends the connection at its header, however much a packet may have later."""
    broker = launch(WIDE_OPEN)
    for size in (FIRST_BYTES_MAX + 1, 1 << 24, LARGEST):
        one = dial(broker, 4, door)
        one.send(b"\x10" + varint(size) + packets.connect("c", 4)[2:12])
        assert one.expect_closed() is None


def test_what_is_declared_before_connect_takes_nothing(launch):
    """Hundreds of strangers declare what they may, and send ten bytes of it."""
    broker = launch(WIDE_OPEN)
    half = b"\x10" + varint(FIRST_BYTES_MAX - 100) + packets.connect("c", 5)[2:12]
    assert_cheap(broker, [broker.address] * 400, half)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [3, 4, 5])
def test_what_is_declared_after_connect_takes_nothing(launch, level, kind):
    """A hundred clients declare 256 MB each, and send ten bytes of it."""
    broker = launch(WIDE_OPEN)
    hello = packets.connect("", 4) if level < 5 else packets.connect("", 5)
    begun = bytes([KINDS[kind]]) + varint(LARGEST) + b"\0\4some\0\1\0\0"
    streams = assert_cheap(broker, [broker.address] * 100, hello + begun)
    assert streams


@pytest.mark.parametrize("fragments", [1, 50])
def test_what_frames_declare_takes_nothing(launch, fragments):
    """Packets of 256 MB over WebSocket, in one frame that says so too, or in small fragments."""
    broker = launch(WIDE_OPEN)
    begun = b"\x30" + varint(LARGEST) + b"\0\4some" + bytes(94)
    data = request() + encode(Frame(BINARY, packets.connect("")))
    if fragments == 1:
        data += encode(Frame(BINARY, begun[:10]), length=LARGEST + 5)
    else:
        size = len(begun) // fragments
        parts = [begun[at : at + size] for at in range(0, len(begun), size)]
        data += b"".join(encode(Frame(0 if at else BINARY, part, final=False)) for at, part in enumerate(parts))
    assert_cheap(broker, [broker.websocket_address] * 100, data)


def assert_cheap(broker, addresses: list[tuple[str, int]], data: bytes) -> int:
    """Sends this on a connection each, and looks at what the process has more; how many there were."""
    with contextlib.ExitStack() as stack:
        with mqtt.Client(broker.address) as warm:
            warm.connect("warm")
        before, open_before, over = resident_bytes(broker), descriptors(broker), ended(broker)
        received = broker.metrics()[RECEIVED]
        for address in addresses:
            stream = stack.enter_context(socket.create_connection(address, PATIENCE_SECS))
            stream.sendall(data)
        # Masks and heads of frames are read as well, so all has been read when at least so much has.
        wanted = received + len(data) * len(addresses)
        eventually(broker, "all is read", lambda: broker.metrics()[RECEIVED] >= wanted)
        assert descriptors(broker) >= open_before + len(addresses) - 1, "they are still there"
        cost = (resident_bytes(broker) - before) / len(addresses)
        assert cost < BYTES_EACH_MAX, f"{cost:.0f} bytes each"
        assert ended(broker) - over <= 1
        with mqtt.Client(broker.address) as one:
            one.connect("honest")
            one.ping()
    return len(addresses)


def test_what_came_is_given_back(launch, dial):
    """A large packet is sent for the most part, by twenty: what they had goes when they go."""
    broker = launch(WIDE_OPEN)
    begun = b"\x30" + varint(LARGEST) + bytes(4 * MIB)
    with mqtt.Client(broker.address) as one:
        one.connect("measure")
        before = broker.metrics()["bellbird_memory_bytes"]
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stream = stack.enter_context(mqtt.Client(broker.address))
                stream.connect("")
                stream.send(begun)
            wanted = 20 * 4 * MIB
            eventually(broker, "all is read", lambda: broker.metrics()[RECEIVED] >= wanted)
            taken = broker.metrics()["bellbird_memory_bytes"] - before
            assert taken < 2 * wanted + MIB, "no more than a vector that grows"
        eventually(broker, "it is free", lambda: broker.metrics()["bellbird_memory_bytes"] - before < MIB)
        one.ping()
