"""Subscribers that do not read, or hardly (class 14).

CVE-2024-48077 (NanoMQ: queues for clients that do not read grew until the broker was ended).
"""

import contextlib
import socket

import packets
import pytest
from mqtt import PATIENCE_SECS
from packets import Kind

from attacks.measure import MIB, allocated_bytes, dropped, eventually

pytestmark = pytest.mark.bellbird

OUTBOX_BYTES, QUEUE_BYTES = 64 * 1024, 128 * 1024
LIMITED = f"""durability = "memory"
[limits]
outbox_bytes_max = {OUTBOX_BYTES}
queue_bytes_max = {QUEUE_BYTES}
"""
STALLED = 20
PAYLOAD = b"x" * 4000
COUNT = 3000
WINDOW = 100


def stalled(address: tuple[str, int], number: int, qos: int, clean: bool = True) -> socket.socket:
    """A subscriber of which the system keeps little, and which reads nothing."""
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stream.settimeout(PATIENCE_SECS)
    stream.connect(address)
    stream.sendall(packets.connect(f"stalled{number}", clean=clean) + packets.subscribe(1, [("t", qos)]))
    return stream


@pytest.mark.parametrize("qos", [0, 1])
def test_who_does_not_read_is_bounded_in_bytes(launch, client, qos):
    """Twelve megabytes for each of twenty: they cost what is set, and who reads gets every message."""
    broker = launch(LIMITED)
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(stalled(broker.address, number, qos)) for number in range(STALLED)]
        reader, publisher = client(broker, "reader"), client(broker, "publisher")
        reader.subscribe(("t", 1))
        eventually(broker, "all subscribed", lambda: broker.metrics()["bellbird_subscriptions"] == STALLED + 1)
        before = allocated_bytes(broker)
        for start in range(0, COUNT, WINDOW):
            numbers = range(start, start + WINDOW)
            ids = [publisher.send_publish("t", b"%05d" % number + PAYLOAD, qos=1) for number in numbers]
            for number in numbers:
                assert reader.expect_message().payload[:5] == b"%05d" % number
            for packet_id in ids:
                publisher.expect(Kind.PUBACK, packet_id=packet_id)
        # An outbox may be over by what was put into it last, and a buffer that grows has room.
        each = 2 * OUTBOX_BYTES + (QUEUE_BYTES if qos else 0) + 32 * 1024
        most = STALLED * each + 2 * MIB
        eventually(broker, "no more than is set", lambda: allocated_bytes(broker) - before < most)
        lost = dropped(broker, "queue_full" if qos else "outbox_full")
        assert lost > STALLED * COUNT // 2
        reader.ping()
        equation(broker)
        for stream in streams:
            stream.close()
        eventually(broker, "they are gone", lambda: broker.metrics()["bellbird_subscriptions"] == 1)
        # Two connections that are there, and caches.
        eventually(broker, "their memory too", lambda: allocated_bytes(broker) - before < 2 * MIB)
        equation(broker)


def equation(broker) -> None:
    """No delivery is forgotten: docs/metrics.md."""
    metrics = broker.metrics()
    done = metrics["bellbird_deliveries_done_total"] + metrics["bellbird_deliveries_expired_total"]
    gone = sum(value for name, value in metrics.items() if name.startswith("bellbird_deliveries_dropped_total"))
    here = sum(metrics[f"bellbird_deliveries_{place}"] for place in ("inflight", "queued", "unsent"))
    assert metrics["bellbird_deliveries_routed_total"] == done + gone + here


def test_one_that_reads_a_little_gets_what_it_reads_whole(launch, client):
    """A thousand bytes at a time: each packet of the stream is whole, and the numbers only go up."""
    broker = launch(LIMITED)
    slow = stalled(broker.address, 0, 0)
    publisher = client(broker, "publisher")
    eventually(broker, "it subscribed", lambda: broker.metrics()["bellbird_subscriptions"] == 1)
    buffer, seen = bytearray(), []
    for number in range(COUNT):
        publisher.send_publish("t", b"%05d" % number + PAYLOAD, qos=0)
        buffer += slow.recv(1000)
    publisher.send_publish("t", b"99999", qos=0)
    publisher.ping()
    while not seen or seen[-1] != 99_999:
        while (packet := packets.split(buffer)) is not None:
            if packet[0] >> 4 == Kind.PUBLISH:
                seen.append(int(packet[1][3:8]))
        if not seen or seen[-1] != 99_999:
            buffer += slow.recv(1 << 16)
            # The last one may have been dropped as well; more come until one has room.
            publisher.send_publish("t", b"99999", qos=0)
    numbers = [number for number in seen if number != 99_999]
    assert numbers == sorted(set(numbers))
    assert dropped(broker, "outbox_full") >= COUNT - len(numbers) > 0
    slow.close()
