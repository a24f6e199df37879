"""Section 3.3.4: how many messages may wait for their acknowledgement, both ways."""

import pytest
import wire
from publishing import RECEIVE_MAXIMUM_EXCEEDED, SAID, durable, until_pong
from registry import statement
from wire import Kind, Property

KEPT = 3


@pytest.fixture
def publisher(dial, own_broker, unique):
    """A client of a broker that takes a few unacknowledged messages at most."""
    one = dial(to=own_broker(f"[limits]\nreceive_max = {KEPT}\n"))
    assert one.connect(unique("c")).values(Property.RECEIVE_MAXIMUM) == [KEPT]
    return one


def fill(one: wire.Client, topic: str, count: int) -> list[int]:
    """Publishes at QoS 2 up to the PUBREC, so often."""
    ids = [one.send_publish(topic, b"", qos=2) for _ in range(count)]
    assert [one.expect(Kind.PUBREC).packet_id for _ in ids] == ids
    return ids


@statement("MQTT-3.3.4-7", "U5-32", "H-17", wrong=SAID)
@pytest.mark.parametrize("qos", [1, 2])
def test_above_the_receive_maximum(publisher, unique, qos):
    """One message more than the broker's Receive Maximum, of whichever QoS, ends the connection."""
    fill(publisher, unique("t"), KEPT)
    publisher.send_publish(unique("t"), b"", qos=qos)
    publisher.expect_refused(RECEIVE_MAXIMUM_EXCEEDED)


@statement("MQTT-3.3.4-7", "U5-32", wrong=["eager-close", "pubcomp-dropped"])
def test_at_the_receive_maximum(publisher, unique):
    """As many as the Receive Maximum are taken, QoS 0 does not count, and each PUBCOMP makes room for one."""
    topic = unique("t")
    ids = fill(publisher, topic, KEPT)
    publisher.publish(topic, b"", qos=0)
    for packet_id in ids:
        publisher.send(wire.ack(Kind.PUBREL, packet_id))
        publisher.expect(Kind.PUBCOMP, packet_id=packet_id)
        fill(publisher, topic, 1)


@statement("MQTT-3.3.4-9", "H-16", wrong=["connect-receive-maximum-plus-one", "publish-dropped"])
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("maximum", [1, 2])
def test_the_receive_maximum_of_a_client(client, unique, qos, maximum):
    """The broker keeps to the client's Receive Maximum: the next message comes when one is over."""
    one, other, topic = client(props=[(Property.RECEIVE_MAXIMUM, maximum)]), client(), unique("t")
    one.subscribe((topic, qos))
    for number in range(4):
        other.publish(topic, b"%d" % number, qos=qos)
    ids = [one.expect(Kind.PUBLISH).packet_id for _ in range(maximum)]
    for number in range(maximum, 4):
        assert not until_pong(one)
        if qos == 1:
            one.send(wire.ack(Kind.PUBACK, ids.pop(0)))
        else:
            one.send(wire.ack(Kind.PUBREC, ids[0]))
            one.expect(Kind.PUBREL, packet_id=ids[0])
            assert not until_pong(one)
            one.send(wire.ack(Kind.PUBCOMP, ids.pop(0)))
        message = one.expect(Kind.PUBLISH)
        assert message.payload == b"%d" % number
        ids.append(message.packet_id)


@statement("MQTT-3.3.4-9", "H-16", wrong=["connect-receive-maximum-plus-one", "publish-dropped"])
@pytest.mark.parametrize("qos", [1, 2])
def test_the_receive_maximum_across_a_reconnect(client, unique, qos):
    """The next connection has the Receive Maximum that it asked for, also for what is sent again."""
    first, other, topic = client(**durable(5)), client(), unique("t")
    first.subscribe((topic, qos))
    for number in range(3):
        other.publish(topic, b"%d" % number, qos=qos)
    for _ in range(3):
        first.expect(Kind.PUBLISH)
    first.close()
    again = client(first.client_id, **durable(5, (Property.RECEIVE_MAXIMUM, 1)))
    assert again.expect(Kind.PUBLISH).payload == b"0"
    assert not until_pong(again)


@statement("MQTT-3.3.4-10", wrong=["silent-while-open", "suback-dropped"])
@pytest.mark.parametrize("qos", [1, 2])
def test_other_packets_at_the_receive_maximum(client, unique, qos):
    """While no message may be sent to the client, it gets all other packets."""
    one, topic = client(props=[(Property.RECEIVE_MAXIMUM, 1)]), unique("t")
    one.subscribe((topic, qos))
    one.send(wire.publish(topic, b"first", 5, qos=qos, packet_id=100))
    assert {one.receive().kind, one.receive().kind} >= {Kind.PUBLISH}
    one.send(wire.publish(topic, b"second", 5, qos=1, packet_id=200))
    one.expect(Kind.PUBACK, packet_id=200)
    one.send(wire.publish(unique("t"), b"", 5, qos=2, packet_id=300))
    one.expect(Kind.PUBREC, packet_id=300)
    one.send(wire.ack(Kind.PUBREL, 300))
    one.expect(Kind.PUBCOMP, packet_id=300)
    one.send(wire.subscribe(400, [(unique("t"), 0)], 5))
    one.expect(Kind.SUBACK, packet_id=400)
    one.send(wire.unsubscribe(500, [unique("t")], 5))
    one.expect(Kind.UNSUBACK, packet_id=500)
    one.ping()
