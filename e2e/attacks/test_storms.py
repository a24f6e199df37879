"""Storms: retained messages, wills, and who subscribes to all of them (classes 3 and 4).

FlashMQ limited in 2026 how fast a client may make nodes of its tree of retained messages: a million topics
with a byte each were more memory than anybody had thought of.
"""

import contextlib
import socket

import packets
import pytest
from mqtt import PATIENCE_SECS, Client
from packets import Kind, Will

from attacks.measure import MIB, allocated_bytes, eventually, resident_bytes

pytestmark = pytest.mark.bellbird

TOPICS_MAX, BYTES_MAX = 2000, 4 * MIB
LIMITED = f"""durability = "memory"
[limits]
retained_messages_max = {TOPICS_MAX}
retained_bytes_max = {BYTES_MAX}
"""
QUOTA_EXCEEDED, TAKEN_FOR_NOBODY = 0x97, 0x10
CONNECTED = 'bellbird_sessions{state="connected"}'
WINDOW = 100
"""The Receive Maximum that is announced by default."""


def publish_all(one: Client, topics: list[str], payload: bytes) -> list[int]:
    """Publishes retained messages for nobody at QoS 1, as many at a time as may be; 0 or the error of each."""
    codes = []
    for start in range(0, len(topics), WINDOW):
        batch = topics[start : start + WINDOW]
        ids = [one.send_publish(topic, payload, retain=True) for topic in batch]
        codes += [one.expect(Kind.PUBACK, packet_id=packet_id).code for packet_id in ids]
    return [0 if code == TAKEN_FOR_NOBODY else code for code in codes]


def test_a_flood_of_topics_stops_at_the_limit(launch, client):
    """Exactly as many as the limit says are kept, those that are there can be replaced and cleared."""
    broker = launch(LIMITED)
    one, spare = client(broker), []
    for attempt in range(6):
        topics = [f"flood{attempt}/{number % 50}/{number}/of/levels" for number in range(3 * TOPICS_MAX)]
        codes = publish_all(one, topics, b"x")
        assert (codes.count(0), codes.count(QUOTA_EXCEEDED)) == (TOPICS_MAX, 2 * TOPICS_MAX)
        assert broker.metrics()["bellbird_retained_messages"] == TOPICS_MAX
        assert publish_all(one, topics[:100], b"another") == [0] * 100
        assert publish_all(one, topics[:TOPICS_MAX], b"") == [0] * TOPICS_MAX
        assert broker.metrics()["bellbird_retained_messages"] == 0
        spare.append(allocated_bytes(broker))
    # Caches fill meanwhile; ten thousand topics of five levels would be far more.
    assert spare[-1] - spare[0] < MIB, f"nodes stay behind: {spare}"


def test_a_flood_of_bytes_stops_at_the_limit(launch, client):
    """The same by bytes: what is refused is kept by nobody."""
    broker = launch(LIMITED)
    one, size = client(broker), 100_000
    before = allocated_bytes(broker)
    codes = publish_all(one, [f"large/{number}" for number in range(100)], b"x" * size)
    assert codes == [0] * codes.count(0) + [QUOTA_EXCEEDED] * codes.count(QUOTA_EXCEEDED)
    assert BYTES_MAX // (size + 100) <= codes.count(0) <= BYTES_MAX // size
    assert broker.metrics()["bellbird_retained_bytes"] <= BYTES_MAX
    # What was refused is gone once the log has dealt with what came before it.
    eventually(broker, "the rest is free", lambda: allocated_bytes(broker) - before < BYTES_MAX + 2 * MIB)


def test_an_older_client_does_not_get_past_the_limit(launch, client):
    """Whatever it is told, what is beyond the limit is not kept."""
    broker = launch(LIMITED)
    publish_all(client(broker), [f"full/{number}" for number in range(TOPICS_MAX)], b"x")
    for number in range(20):
        one = client(broker, level=4)
        one.send(packets.publish(f"more/{number}", b"x", qos=1, packet_id=1, retain=True) + packets.pingreq())
        with contextlib.suppress(AssertionError):
            one.receive()
        one.close()
    assert broker.metrics()["bellbird_retained_messages"] == TOPICS_MAX


@pytest.mark.xfail(
    strict=False,  # how much is in use at the end depends on the allocator
    reason="retained messages may take all memory up to where it is short, and stay: who is new is locked out",
)
def test_a_flood_locks_nobody_out(launch, client, dial):
    """With the limits as they are, one client's retained messages leave room for clients that are new."""
    broker = launch(f'durability = "memory"\n[limits]\nmemory_bytes_max = {32 * MIB}\n')
    keeper = client(broker)
    # Small ones, so that what is under way between two answers makes no difference.
    codes = publish_all(keeper, [f"full/{number}" for number in range(16_000)], b"x" * 2000)
    assert QUOTA_EXCEEDED in codes, "there is an end to it"
    one = dial(broker)
    one.send(packets.connect("new", 5))
    assert one.expect(Kind.CONNACK).code == 0
    assert one.subscribe(("t", 1)).codes == (1,)


def test_everybody_subscribes_to_everything(launch, client):
    """Fifty who read get each message once; fifty who do not read cost what their outbox may hold."""
    broker = launch(LIMITED)
    topics = [f"kept/{number}" for number in range(TOPICS_MAX)]
    one = client(broker)
    assert set(publish_all(one, topics, b"x" * 1000)) == {0}
    before = resident_bytes(broker)
    with contextlib.ExitStack() as stack:
        stalled = [stack.enter_context(deaf(broker.address)) for _ in range(50)]
        for number, stream in enumerate(stalled):
            stream.sendall(packets.connect(f"deaf{number}") + packets.subscribe(1, [("#", 0)]))
        readers = [client(broker) for _ in range(50)]
        for reader in readers:
            reader.send(packets.subscribe(1, [("kept/#", 0)], 5))
        for reader in readers:
            assert sorted(read_retained(reader, TOPICS_MAX)) == sorted(topics)
        for number in range(100):
            one.publish(f"live/{number}", b"x")
        # 1 MiB is the default of outbox_bytes_max; the messages themselves are there once for all.
        assert resident_bytes(broker) - before < 100 * (MIB + MIB // 2)
        one.ping()


def deaf(address: tuple[str, int]) -> socket.socket:
    """A connection of which the system keeps little that is not read, and nobody reads."""
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stream.settimeout(PATIENCE_SECS)
    stream.connect(address)
    return stream


def read_retained(one: Client, count: int) -> list[str]:
    """The topics of so many retained messages, and the SUBACK that may stand anywhere between."""
    found = [one.receive() for _ in range(count + 1)]
    one.ping()
    assert [packet.kind for packet in found].count(Kind.SUBACK) == 1
    return [packet.topic for packet in found if packet.kind == Kind.PUBLISH]


def test_a_storm_of_wills(launch, client):
    """Five hundred clients go at once: each will is heard once, and nothing of them stays."""
    broker, count = launch(), 500
    witness = client(broker)
    witness.subscribe(("gone/#", 0))
    before = broker.metrics()[CONNECTED]
    doomed = [client(broker, f"doomed{number}", will=Will(f"gone/{number}", b"x" * 100)) for number in range(count)]
    for one in doomed:
        one.close()
    heard = [witness.expect(Kind.PUBLISH).topic for _ in range(count)]
    witness.ping()
    assert sorted(heard) == sorted(f"gone/{number}" for number in range(count))
    eventually(broker, "their sessions are gone", lambda: broker.metrics()[CONNECTED] == before)
