"""Sections 4.6 and 4.9: the order of messages, and how many of them may be on their way."""

import pytest
import wire
from operation import RECEIVE_MAXIMUM_EXCEEDED, durable, start_release, table, take
from registry import statement
from wire import Kind, Property

COUNT = 60
IGNORED = ["connect-receive-maximum-ignored", "connect-receive-maximum-plus-one"]


def receiving(most: int, **options) -> dict:
    """CONNECT options of a session that is kept and takes this many messages at once."""
    return durable(5, (Property.RECEIVE_MAXIMUM, most), **options)


@statement("MQTT-4.6.0-5", "MQTT-4.6.0-6", wrong="publish-order-swapped")
@statement("MQTT311-4.6.0-5", "MQTT311-4.6.0-6", wrong="publish-order-swapped")
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_order_of_messages(client, unique, level, qos):
    """Of each publisher the messages to a topic come in the order in which they were published."""
    one, topic = client(), unique("t")
    one.subscribe((topic, qos))
    others = [client(), client()]
    for number in range(COUNT):
        for name, other in enumerate(others):
            other.send_publish(topic, b"%d %d" % (name, number), qos=qos)
            if qos == 2:
                other.send(wire.ack(Kind.PUBREL, number + 1))
    seen: list[list[int]] = [[], []]
    while sum(map(len, seen)) < 2 * COUNT:
        packet = one.receive()
        if packet.kind == Kind.PUBLISH:
            name, number = map(int, packet.payload.split())
            seen[name].append(number)
            if packet.qos:
                one.send(wire.ack(Kind.PUBACK if qos == 1 else Kind.PUBREC, packet.packet_id))
        else:
            assert packet.kind == Kind.PUBREL
            one.send(wire.ack(Kind.PUBCOMP, packet.packet_id))
    assert seen == [list(range(COUNT))] * 2


@statement("MQTT311-4.6.0-6", wrong="acks-swapped")
@pytest.mark.parametrize(("qos", "kind"), [(1, Kind.PUBACK), (2, Kind.PUBREC)])
def test_order_of_acknowledgements(client, unique, level, qos, kind):
    """PUBACKs and PUBRECs come in the order of the messages."""
    other, topic = client(), unique("t")
    ids = [7, 3, 500, 4, 65535, 1]
    other.send(b"".join(wire.publish(topic, b"", level, qos=qos, packet_id=one) for one in ids))
    assert [other.expect(kind).packet_id for _ in ids] == ids


@statement("MQTT311-4.6.0-6", wrong="acks-swapped")
def test_order_of_releases(client, unique, level):
    """PUBRELs come in the order of the PUBRECs."""
    one, other, topic = client(), client(), unique("t")
    one.subscribe((topic, 2))
    for _ in range(6):
        other.publish(topic, b"", qos=2)
    ids = [one.expect(Kind.PUBLISH).packet_id for _ in range(6)]
    one.send(b"".join(wire.ack(Kind.PUBREC, packet_id) for packet_id in ids))
    assert [one.expect(Kind.PUBREL).packet_id for _ in ids] == ids


@statement("MQTT-4.6.0-5", wrong="publish-order-swapped")
@pytest.mark.parametrize("qos", [1, 2])
def test_order_of_what_waited(client, unique, qos):
    """Also messages that waited for their receiver come in order, those sent before first."""
    one, other, topic = client(**durable()), client(), unique("t")
    one.subscribe((topic, qos))
    for number in range(4):
        other.publish(topic, b"%d" % number, qos=qos)
        one.expect(Kind.PUBLISH)
    one.close()
    for number in range(4, 8):
        other.publish(topic, b"%d" % number, qos=qos)
    again = client(one.client_id, **durable())
    assert [again.expect(Kind.PUBLISH).payload for _ in range(8)] == [b"%d" % number for number in range(8)]


def in_flight(one: wire.Client) -> list[wire.Packet]:
    """The messages that have come before the answer to a ping."""
    one.send(wire.pingreq())
    seen = [one.receive()]
    while seen[-1].kind != Kind.PINGRESP:
        seen.append(one.receive())
    assert {packet.kind for packet in seen[:-1]} <= {Kind.PUBLISH}
    return seen[:-1]


@statement("MQTT-4.9.0-1", "MQTT-4.9.0-2", "H-16", wrong=[*IGNORED, "publish-dropped"])
@pytest.mark.parametrize("most", [1, 2, 5])
@pytest.mark.parametrize("qos", [1, 2])
def test_receive_maximum(client, unique, most, qos):
    """At least one message comes at first, and no more than the client's Receive Maximum, on each connection."""
    one, other, topic = client(**receiving(most)), client(), unique("t")
    one.subscribe((topic, qos))
    for number in range(most + 3):
        other.publish(topic, b"%d" % number, qos=qos)
    other.publish(topic, b"last", qos=qos)
    # A message may be on its way still when its publisher is told: the first one is waited for.
    seen = [one.expect(Kind.PUBLISH), *in_flight(one)]
    for _ in range(2):
        assert 1 <= len(seen) <= most
        one.close()
        one = client(one.client_id, **receiving(most))
        seen = [one.expect(Kind.PUBLISH), *in_flight(one)]
    assert len(seen) <= most


@statement("MQTT-4.9.0-2", "U5-50", "H-16", wrong=IGNORED)
@table(
    {
        "PUBACK": (1, [(Kind.PUBACK, None)]),
        "PUBACK with an error": (1, [(Kind.PUBACK, 0x83)]),
        "PUBREC with an error": (2, [(Kind.PUBREC, 0x83)]),
        "PUBCOMP": (2, [(Kind.PUBREC, None), (Kind.PUBCOMP, None)]),
        "PUBCOMP with an error": (2, [(Kind.PUBREC, None), (Kind.PUBCOMP, 0x92)]),
    }
)
def test_each_end_makes_room_for_one(client, unique, case):
    """Each PUBACK, PUBCOMP and PUBREC with an error lets one more message come; other PUBRECs do not."""
    qos, answers = case
    one, other, topic = client(**receiving(2)), client(), unique("t")
    one.subscribe((topic, qos))
    for number in range(6):
        other.publish(topic, b"%d" % number, qos=qos)
    waiting = [one.expect(Kind.PUBLISH), one.expect(Kind.PUBLISH)]
    for number in range(2, 6):
        assert not in_flight(one)
        packet_id = waiting.pop(0).packet_id
        for kind, code in answers:
            one.send(wire.ack(kind, packet_id, code))
            if (kind, code) == (Kind.PUBREC, None):
                one.expect(Kind.PUBREL, packet_id=packet_id)
                assert not in_flight(one)
        waiting.append(one.expect(Kind.PUBLISH))
        assert waiting[-1].payload == b"%d" % number


@statement("U5-50", wrong=IGNORED)
def test_no_more_room_than_at_first(client, unique):
    """Acknowledgements beyond what was sent do not let more come than the Receive Maximum."""
    one, other, topic = client(**receiving(2)), client(), unique("t")
    one.subscribe((topic, 1))
    other.publish(topic, b"0")
    first = take(one)
    one.send(wire.ack(Kind.PUBACK, first.packet_id) * 3)
    one.ping()
    for _ in range(5):
        other.publish(topic, b"")
    seen = [one.expect(Kind.PUBLISH), one.expect(Kind.PUBLISH), *in_flight(one)]
    assert len(seen) == 2


@statement("MQTT-4.9.0-3", wrong=["keepalive-answer-dropped", "suback-dropped", "puback-dropped", "unsuback-dropped"])
def test_other_packets_at_zero_quota(client, unique):
    """While no message may be sent, all other packets are answered as ever."""
    one, other, topic = client(**receiving(1)), client(), unique("t")
    one.subscribe((topic, 1))
    other.publish(topic, b"first")
    other.publish(topic, b"second")
    message = one.expect(Kind.PUBLISH)
    one.ping()
    one.subscribe((topic + "/other", 0))
    one.publish(topic + "/elsewhere", b"", qos=1)
    one.publish(topic + "/elsewhere", b"", qos=2)
    one.unsubscribe(topic + "/other")
    one.send(wire.ack(Kind.PUBACK, message.packet_id))
    take(one, b"second")


@statement("MQTT-4.9.0-3", "MQTT-4.9.0-1", wrong=["pubrel-dropped", "connect-receive-maximum-ignored"])
def test_releases_at_zero_quota(client, unique):
    """PUBREL costs no quota, and a message that is past PUBREC keeps its own until PUBCOMP."""
    one, other, topic = client(**receiving(1)), client(), unique("t")
    one.subscribe((topic, 2))
    other.publish(topic, b"first", qos=2)
    other.publish(topic, b"second", qos=2)
    message = one.expect(Kind.PUBLISH)
    one.send(wire.ack(Kind.PUBREC, message.packet_id))
    one.expect(Kind.PUBREL, packet_id=message.packet_id)
    one.ping()
    one.send(wire.ack(Kind.PUBCOMP, message.packet_id))
    take(one, b"second")


@statement("U5-32", "U5-53", "H-17", wrong=["close-hidden", "disconnect-reason-generic"])
def test_above_the_broker_s_receive_maximum(dial, own_broker, unique):
    """One message more than the announced Receive Maximum, none of them completed, ends the connection."""
    offender, topic = dial(to=own_broker("[limits]\nreceive_max = 3\n")), unique("t")
    assert offender.connect(unique("c")).values(Property.RECEIVE_MAXIMUM) == [3]
    for number in range(3):
        start_release(offender, topic, b"%d" % number)
    offender.send_publish(topic, b"surplus", qos=2)
    offender.expect_refused(RECEIVE_MAXIMUM_EXCEEDED)


@statement("U5-50", wrong=["pubcomp-dropped", "pubrec-dropped"])
def test_the_broker_s_receive_maximum_again_and_again(dial, own_broker, unique):
    """Each PUBCOMP gives room for one more of the client's messages."""
    one, topic = dial(to=own_broker("[limits]\nreceive_max = 2\n")), unique("t")
    one.connect(unique("c"))
    waiting = [start_release(one, topic, b"") for _ in range(2)]
    for _ in range(5):
        packet_id = waiting.pop(0)
        one.send(wire.ack(Kind.PUBREL, packet_id))
        one.expect(Kind.PUBCOMP, packet_id=packet_id)
        waiting.append(start_release(one, topic, b""))
