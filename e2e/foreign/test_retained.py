"""A hundred thousand retained messages by wildcard to a client that is slow: all are delivered.

Nothing bounds them but the client's own flow: what a session may have queued counts live messages.
"""

from dataclasses import replace

import mqtt
import packets
import pytest
from packets import Kind

from foreign import KINDS, Aiomqtt, Client, Message

COUNT = 100_000
PAYLOAD = "x" * 150
"""So long that all of them together are more than sockets and pipes hold."""

BATCH = 100
"""Messages of one QoS that are published at once, no more than may be unfinished at QoS 2."""

ROUND_TRIPS = 200
"""How much others do while the client takes nothing."""

SLOW = [kind for kind in KINDS if kind.level > 3 and kind.make is not Aiomqtt]
"""Not 3.1, which differs from 3.1.1 in CONNECT only; nor aiomqtt, which takes thrice as long as
paho, with which it reads."""


@pytest.fixture(scope="module")
def plenty(broker) -> dict[str, Message]:
    """The retained messages by topic."""
    messages = [
        Message(f"plenty/{n % 100}/{n}", f"{n} {PAYLOAD}", n // BATCH % 3, retain=True)
        for n in range(COUNT)
    ]
    with mqtt.Client(broker.address) as publisher:
        publisher.connect("plenty")
        for start in range(0, COUNT, BATCH):
            publish_batch(publisher, messages[start : start + BATCH])
    return {message.topic: message for message in messages}


def publish_batch(publisher: mqtt.Client, batch: list[Message]) -> None:
    """Publishes messages of one QoS and waits for their acknowledgements."""
    ids, qos = range(1, len(batch) + 1), batch[0].qos
    publisher.send(b"".join(_publish(*pair) for pair in zip(ids, batch, strict=True)))
    if qos == 2:
        for number in ids:
            publisher.expect(Kind.PUBREC, packet_id=number)
        publisher.send(b"".join(packets.pubrel(number) for number in ids))
    for number in ids if qos else ():
        publisher.expect(Kind.PUBACK if qos == 1 else Kind.PUBCOMP, packet_id=number)


@pytest.mark.bellbird
@pytest.mark.parametrize("kind", SLOW, ids=str)
def test_all_reach_a_slow_client(broker, connect, unique, plenty, kind):
    check_all_delivered(broker, connect(kind), unique(), plenty, 2)


@pytest.mark.bellbird
@pytest.mark.parametrize("kind", [kind for kind in SLOW if kind.level == 5], ids=str)
def test_all_reach_a_slow_client_at_qos_0(broker, connect, unique, plenty, kind):
    check_all_delivered(broker, connect(kind), unique(), plenty, 0)


def check_all_delivered(broker, slow: Client, name: str, plenty: dict[str, Message], qos: int) -> None:
    """Subscribes, takes nothing for a while, then all: each once, and what was live meanwhile."""
    slow.subscribe("plenty/+/#", qos)
    slow.hold()
    live = {f"plenty/live/{n}": Message(f"plenty/live/{n}", f"{n}", 1) for n in range(ROUND_TRIPS)}
    with mqtt.Client(broker.address) as other:
        other.connect(name)
        for message in live.values():
            other.publish(message.topic, message.payload.encode())
    assert slow.inbox.qsize() < COUNT // 2, "not slow at all"
    slow.release()
    expected = {
        topic: replace(message, qos=min(message.qos, qos))
        for topic, message in (plenty | live).items()
    }
    received = [slow.receive() for _ in expected]
    assert {message.topic: message for message in received} == expected


def _publish(number: int, message: Message) -> bytes:
    payload, retain = message.payload.encode(), message.retain
    return packets.publish(
        message.topic, payload, 4, qos=message.qos, packet_id=number, retain=retain
    )
