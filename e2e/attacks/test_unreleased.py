"""QoS 2 that is never released, identifiers that run out, and clients that acknowledge nothing (class 10).

CVE-2023-28366 (Mosquitto: messages of QoS 2 with the same identifier, never answered, leaked memory).
That 5.0 has its Receive Maximum is in conformance/test_receive_maximum.py.
"""

import contextlib
import select

import packets
import pytest
from mqtt import Client
from packets import Kind

from attacks.measure import MIB, allocated_bytes, closed, dropped, eventually, resident_bytes

pytestmark = pytest.mark.bellbird

QUICK = 'durability = "memory"\n'
CEILING_BYTES = 32 * MIB
IDS = range(1, 65_536)
INFLIGHT_MAX, QUEUE_MAX = 100, 1000
"""The defaults of docs/configuration.md."""
RECEIVED = "bellbird_messages_received_total"


def expect_acks(one: Client, kind: Kind, count: int) -> list[int]:
    """The packet ids of so many acknowledgements, read in bulk."""
    wanted = bytearray()
    while len(wanted) < 4 * count:
        wanted += one.socket.recv(1 << 18)
    heads = {bytes(wanted[at : at + 2]) for at in range(0, len(wanted), 4)}
    assert heads == {bytes([kind << 4 | (2 if kind == Kind.PUBREL else 0), 2])}, heads
    return [int.from_bytes(wanted[at + 2 : at + 4], "big") for at in range(0, len(wanted), 4)]


def in_parts(one: Client, kind: Kind, messages: list[bytes]) -> list[int]:
    """Sends a thousand at a time and reads what answers them."""
    found = []
    for start in range(0, len(messages), 1000):
        part = messages[start : start + 1000]
        one.send(b"".join(part))
        found += expect_acks(one, kind, len(part))
    return found


@pytest.mark.parametrize("level", [3, 4])
def test_all_identifiers_are_open(launch, client, level):
    """65,535 messages without PUBREL, then all of them again: published once each, a few bytes kept for each."""
    broker = launch(QUICK)
    flood, other = client(broker, "flood", 4), client(broker, "other")
    before, received = allocated_bytes(broker), broker.metrics()[RECEIVED]
    for attempt in range(3):
        messages = [packets.publish("t", b"%d" % attempt, qos=2, packet_id=one, dup=attempt > 0) for one in IDS]
        assert in_parts(flood, Kind.PUBREC, messages) == list(IDS)
        assert broker.metrics()[RECEIVED] - received == len(IDS), "a repetition was published"
        assert allocated_bytes(broker) - before < 64 * len(IDS) + MIB
    other.publish("t", b"alive")
    assert in_parts(flood, Kind.PUBCOMP, [packets.pubrel(one) for one in IDS]) == list(IDS)
    assert allocated_bytes(broker) - before < MIB
    flood.ping()


def test_identifiers_are_kept_with_the_session_only(launch, client):
    """Sessions that end take their open identifiers along, be it fifty thousand."""
    broker = launch(QUICK)
    witness = client(broker, "witness")
    before = allocated_bytes(broker)
    for number in range(10):
        flood = client(broker, f"flood{number}", 4)
        in_parts(flood, Kind.PUBREC, [packets.publish("t", b"", qos=2, packet_id=one) for one in IDS[:5000]])
        flood.close()
        # The same name again, and clean: what was there is gone for certain.
        client(broker, f"flood{number}", 4).disconnect()
    assert allocated_bytes(broker) - before < MIB
    witness.ping()


def test_a_crowd_with_all_identifiers_stays_below_the_ceiling(launch, client):
    """Sixty clients open far more than may be allocated: some of them go, and others are served."""
    broker = launch(f"{QUICK}[limits]\nmemory_bytes_max = {CEILING_BYTES}\n")
    witness, before = client(broker, "witness"), resident_bytes(broker)
    crowd = [client(broker, f"flood{number}", 4) for number in range(60)]
    for start in range(1, 65_001, 1000):
        part = b"".join(packets.publish("t", b"", qos=2, packet_id=one) for one in range(start, start + 1000))
        for flood in crowd:
            with contextlib.suppress(ConnectionError):
                flood.send(part)
                if select.select([flood.socket], [], [], 0)[0]:
                    flood.socket.recv(1 << 18)
        assert allocated_bytes(broker) < CEILING_BYTES * 6 // 5
    # Before 5.0 a message that cannot be taken ends its connection.
    assert closed(broker, "memory") + closed(broker, "protocol") > 0, "some of them are gone"
    assert resident_bytes(broker) - before < CEILING_BYTES * 6 // 5 + 16 * MIB
    witness.ping()
    for flood in crowd:
        flood.close()
    eventually(broker, "memory is free again", lambda: allocated_bytes(broker) < CEILING_BYTES // 4)
    client(broker, "later").ping()


@pytest.mark.parametrize("qos", [1, 2])
def test_who_acknowledges_nothing_has_a_window_and_a_queue(launch, client, level, qos):
    """As many as documented are sent and wait, and the others are dropped and counted."""
    broker, count = launch(QUICK), 3000
    silent, publisher = client(broker, "silent", level), client(broker, "publisher")
    silent.subscribe(("t", qos))
    for start in range(0, count, 100):
        ids = [publisher.send_publish("t", b"%d" % number) for number in range(start, start + 100)]
        for packet_id in ids:
            publisher.expect(Kind.PUBACK, packet_id=packet_id)
    # The publisher's own QoS is 1, and so is that of each delivery.
    sent = [silent.expect(Kind.PUBLISH) for _ in range(INFLIGHT_MAX)]
    silent.ping()
    assert [int(message.payload) for message in sent] == list(range(INFLIGHT_MAX))
    assert len({message.packet_id for message in sent}) == INFLIGHT_MAX
    metrics = broker.metrics()
    assert metrics["bellbird_deliveries_inflight"] == INFLIGHT_MAX
    assert metrics["bellbird_deliveries_queued"] == QUEUE_MAX
    assert dropped(broker, "queue_full") == count - INFLIGHT_MAX - QUEUE_MAX


def test_coming_back_without_an_answer(launch, client):
    """Twenty times the same: the same messages under the same identifiers, and nothing more is kept."""
    broker = launch(QUICK)
    silent = client(broker, "silent", 4, clean=False)
    silent.subscribe(("t", 2))
    publisher = client(broker, "publisher", 4)
    for number in range(INFLIGHT_MAX):
        publisher.send(packets.publish("t", b"%d" % number, qos=2, packet_id=7))
        publisher.expect(Kind.PUBREC)
        publisher.send(packets.pubrel(7))
        publisher.expect(Kind.PUBCOMP)
    first = [silent.expect(Kind.PUBLISH) for _ in range(INFLIGHT_MAX)]
    silent.close()
    before = 0.0
    for attempt in range(20):
        silent = client(broker, "silent", 4, clean=False)
        again = [silent.expect(Kind.PUBLISH) for _ in range(INFLIGHT_MAX)]
        assert [(one.packet_id, one.payload) for one in again] == [(one.packet_id, one.payload) for one in first]
        assert all(one.dup for one in again)
        silent.close()
        before = before or allocated_bytes(broker)
        assert allocated_bytes(broker) - before < 128 * 1024, attempt
    assert broker.metrics()["bellbird_deliveries_inflight"] == INFLIGHT_MAX


def test_one_identifier_for_everything(launch, client, level):
    """A flood of different messages under one identifier, never released, is one message."""
    broker = launch(QUICK)
    flood, witness = client(broker, "flood", level), client(broker, "witness")
    witness.subscribe(("t", 0))
    before, count = allocated_bytes(broker), 5000
    messages = [packets.publish("t", b"%d" % number * 50, level, qos=2, packet_id=9) for number in range(count)]
    assert set(in_parts(flood, Kind.PUBREC, messages)) == {9}
    assert witness.expect(Kind.PUBLISH).payload == b"0" * 50
    witness.ping()
    assert allocated_bytes(broker) - before < MIB
