"""QoS 2 at each of its steps, through reconnections, SIGTERM and kill -9."""

import packets
import pytest
from mqtt import Kind
from test_restart import ending, restart
from test_sessions import durable


def test_one_message_once(client, level):
    """[MQTT-4.3.3-8], [MQTT-4.3.3-10] to -12."""
    subscriber, publisher = client("s", level), client("p", level)
    subscriber.subscribe(("t", 2))
    for _ in range(3):
        publisher.send(packets.publish("t", b"once", level, qos=2, packet_id=9))
        publisher.expect(Kind.PUBREC, packet_id=9)
    message = subscriber.expect(Kind.PUBLISH)
    assert (message.payload, message.qos, message.dup) == (b"once", 2, False)
    publisher.send(packets.pubrel(9))
    publisher.expect(Kind.PUBCOMP, packet_id=9)
    subscriber.send(packets.pubrec(message.packet_id))
    subscriber.expect(Kind.PUBREL, packet_id=message.packet_id)
    subscriber.send(packets.pubcomp(message.packet_id))
    subscriber.ping()
    publisher.send(packets.publish("t", b"another", level, qos=2, packet_id=9))
    assert subscriber.expect(Kind.PUBLISH).payload == b"another"


@pytest.fixture(params=["reconnect", "stop", pytest.param("kill", marks=pytest.mark.bellbird)])
def interrupt(request, broker):
    """Cuts the connections in one of three ways; the client comes back to its session."""

    def cut(client):
        if request.param == "reconnect":
            client.close()
        else:
            restart(broker, request.param)

    return cut


def test_a_delivery_goes_on_where_it_was(client, dial, level, interrupt):
    """[MQTT-4.4.0-1]: PUBLISH with DUP before PUBREC, PUBREL after it, with the same packet id."""
    subscriber, publisher = client("s", level, **durable(level)), client("p", level)
    subscriber.subscribe(("t", 2))
    for number in range(3):
        publisher.send(packets.publish("t", b"%d" % number, level, qos=2, packet_id=number + 1))
        publisher.expect(Kind.PUBREC, packet_id=number + 1)
    first = [subscriber.expect(Kind.PUBLISH) for _ in range(3)]
    subscriber.send(packets.pubrec(first[0].packet_id))
    subscriber.expect(Kind.PUBREL, packet_id=first[0].packet_id)
    interrupt(subscriber)

    subscriber = dial(level)
    assert subscriber.connect("s", **durable(level)).session_present
    subscriber.expect(Kind.PUBREL, packet_id=first[0].packet_id)
    again = [subscriber.expect(Kind.PUBLISH) for _ in range(2)]
    assert all(message.dup for message in again)
    assert [(message.packet_id, message.payload) for message in again] == [
        (message.packet_id, message.payload) for message in first[1:]
    ]
    subscriber.send(packets.pubcomp(first[0].packet_id))
    for message in again:
        subscriber.send(packets.pubrec(message.packet_id))
        subscriber.expect(Kind.PUBREL, packet_id=message.packet_id)
        subscriber.send(packets.pubcomp(message.packet_id))
    subscriber.ping()


def test_a_publish_goes_on_where_it_was(client, dial, level, interrupt):
    """[MQTT-4.3.3-10], for a publisher that missed its PUBREC."""
    options = durable(level)
    publisher = client("p", level, **options)
    client("s", level, **options).subscribe(("t", 2))
    publisher.send(packets.publish("t", b"once", level, qos=2, packet_id=5))
    publisher.expect(Kind.PUBREC, packet_id=5)
    interrupt(publisher)

    publisher = dial(level)
    assert publisher.connect("p", **options).session_present
    publisher.send(packets.publish("t", b"once", level, qos=2, packet_id=5, dup=True))
    publisher.expect(Kind.PUBREC, packet_id=5)
    publisher.send(packets.pubrel(5))
    publisher.expect(Kind.PUBCOMP, packet_id=5)
    publisher.send(packets.publish("t", b"last", level, qos=2, packet_id=6))
    publisher.expect(Kind.PUBREC, packet_id=6)
    subscriber = client("s", level, **options)
    assert [subscriber.expect(Kind.PUBLISH).payload for _ in range(2)] == [b"once", b"last"]


@ending
def test_the_offline_queue_of_qos_2(broker, client, level, end):
    """Also past the window, and over the broker's end."""
    options = durable(level)
    client("s", level, **options).subscribe(("t", 2))
    publisher = client("p", level)
    for number in range(150):
        publisher.send(packets.publish("t", b"%d" % number, level, qos=2, packet_id=number + 1))
        publisher.expect(Kind.PUBREC, packet_id=number + 1)
        publisher.send(packets.pubrel(number + 1))
        publisher.expect(Kind.PUBCOMP, packet_id=number + 1)
    restart(broker, end)
    subscriber = client("s", level, **options)
    received = []
    while len(received) < 150:
        packet = subscriber.receive()
        if packet.kind == Kind.PUBLISH:
            received.append(int(packet.payload))
            subscriber.send(packets.pubrec(packet.packet_id))
        elif packet.kind == Kind.PUBREL:
            subscriber.send(packets.pubcomp(packet.packet_id))
    assert received == list(range(150))
