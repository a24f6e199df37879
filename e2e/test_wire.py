"""How packets lie in TCP segments must not matter, and answers are exact to the byte."""

import packets
import pytest
from packets import Kind, Property

SUBSCRIPTION_IDS_NOT_SUPPORTED = 0xA1


def test_exact_bytes_of_a_short_conversation(dial):
    """MQTT 3.1.1 leaves no freedom here: each answer is one fixed sequence of bytes."""
    connection = dial()
    for request, answer in [
        ("10 0d 00 04 4d 51 54 54 04 02 00 00 00 01 61", "20 02 00 00"),
        ("82 08 00 0a 00 03 61 2f 62 01", "90 03 00 0a 01"),
        ("32 08 00 03 61 2f 62 00 07 21", "40 02 00 07"),
        ("c0 00", "d0 00"),
        ("a2 07 00 0b 00 03 61 2f 62", "b0 02 00 0b"),
    ]:
        connection.send(bytes.fromhex(request))
        first, body = _next_raw(connection, skip=Kind.PUBLISH)
        assert (bytes([first, len(body)]) + body).hex(" ") == answer


def _next_raw(connection, skip):
    """The next packet unparsed, passing over the client's own message."""
    while True:
        packet = packets.split(connection.buffer)
        if packet is None:
            connection.buffer += connection.socket.recv(4096)
        elif packet[0] >> 4 != skip:
            return packet


def test_subscribe_and_publish_in_one_segment(client, level):
    one = client("one", level)
    one.send(
        packets.subscribe(1, [("self", 1)], level)
        + packets.publish("self", b"echo", level, qos=1, packet_id=2)
    )
    one.expect(Kind.SUBACK, packet_id=1)
    _expect_ack_and_message(one, 2, b"echo")


def test_connect_subscribe_and_publish_in_one_segment(dial, level):
    for number in range(10):
        one = dial(level)
        one.send(_conversation(number, level))
        _expect_answers(one)


def test_a_persistent_session_in_one_segment(dial):
    """The answers of a stored session wait for the disk; what follows must wait with them."""
    one = dial()
    one.send(
        packets.connect("eager", clean=False)
        + packets.subscribe(1, [("self", 1)])
        + packets.publish("self", b"echo", qos=1, packet_id=2)
        + packets.unsubscribe(3, ["self"])
        + packets.publish("self", b"unheard", qos=1, packet_id=4)
        + packets.subscribe(5, [("self", 1)])
        + packets.publish("self", b"again", qos=1, packet_id=6)
    )
    received = [one.receive() for _ in range(9)]
    assert [packet.payload for packet in received if packet.kind == Kind.PUBLISH] == [
        b"echo",
        b"again",
    ]
    answers = [(packet.kind, packet.packet_id) for packet in received if packet.kind != Kind.PUBLISH]
    assert sorted(answers) == sorted(
        [
            (Kind.CONNACK, 0),
            (Kind.SUBACK, 1),
            (Kind.PUBACK, 2),
            (Kind.UNSUBACK, 3),
            (Kind.PUBACK, 4),
            (Kind.SUBACK, 5),
            (Kind.PUBACK, 6),
        ]
    )


def test_byte_by_byte(dial, level):
    """Twenty clients, so that some of them move to another shard in the middle of a packet."""
    for number in range(20):
        one, conversation = dial(level), _conversation(number, level)
        for at in range(len(conversation)):
            one.send(conversation[at : at + 1])
        _expect_answers(one)


@pytest.mark.parametrize("cut", [5, 12, 20])
def test_a_connect_in_two_segments(dial, level, cut):
    """The second segment holds the rest of CONNECT, SUBSCRIBE, and part of a PUBLISH."""
    for number in range(10):
        one, conversation = dial(level), _conversation(number, level)
        for part in (conversation[:cut], conversation[cut:-3], conversation[-3:]):
            one.send(part)
        _expect_answers(one)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 200_000])
def test_payload_sizes(client, level, size):
    subscriber, publisher = client("s", level), client("p", level)
    subscriber.subscribe(("big", 1))
    payload = bytes(number % 251 for number in range(size))
    publisher.publish("big", payload)
    assert subscriber.expect_message().payload == payload


def test_order_of_each_publisher(client, level):
    """Two publishers write in bursts; each one's messages keep their order."""
    subscriber = client("s", level)
    subscriber.subscribe(("order/#", 1))
    publishers = [client(f"p{number}", level) for number in range(2)]
    for burst in range(10):
        for who, publisher in enumerate(publishers):
            for number in range(burst * 20, burst * 20 + 20):
                publisher.send_publish(f"order/{who}", b"%d" % number)
    for publisher in publishers:
        for _ in range(200):
            publisher.expect(Kind.PUBACK)
    received = [subscriber.expect_message() for _ in range(400)]
    for who in range(2):
        numbers = [int(got.payload) for got in received if got.topic == f"order/{who}"]
        assert numbers == list(range(200))


def test_properties_travel(client):
    subscriber, publisher = client("s", 5), client("p", 5)
    subscriber.subscribe(("props", 1))
    sent = {Property.CONTENT_TYPE: "text/plain", Property.USER_PROPERTY: [("a", "1"), ("a", "2")]}
    publisher.publish("props", b"x", props=sent)
    assert subscriber.expect_message().properties == sent


def test_subscription_ids(client, dial):
    """[MQTT-3.3.4-3], or the refusal that goes with announcing that there are none."""
    subscriber = dial(5)
    connack = subscriber.connect("s")
    subscriber.send(packets.subscribe(1, [("t", 1)], 5, {Property.SUBSCRIPTION_ID: 300}))
    if connack.properties.get(Property.SUBSCRIPTION_IDS_AVAILABLE, 1) == 0:
        assert subscriber.expect_closed().code == SUBSCRIPTION_IDS_NOT_SUPPORTED
        return
    subscriber.expect(Kind.SUBACK, packet_id=1)
    client("p", 5).publish("t", b"x")
    assert subscriber.expect_message().properties == {Property.SUBSCRIPTION_ID: [300]}


def test_empty_client_id_is_assigned(client, dial):
    """[MQTT-3.1.3-6], [MQTT-3.2.2-16]: each gets a name of its own."""
    names = []
    for _ in range(2):
        one = dial(5)
        names.append(one.connect("").properties[Property.ASSIGNED_CLIENT_ID])
    assert names[0] and names[1] and names[0] != names[1]
    client("", 4).ping()


def test_every_qos_is_granted(client, level):
    """[MQTT-3.9.3-1]: in the order of the filters."""
    assert client("s", level).subscribe(("a", 0), ("b", 1), ("c", 2)).codes == (0, 1, 2)


def _conversation(number, level):
    """CONNECT, SUBSCRIBE and a PUBLISH to oneself; the number decides the client's shard."""
    topic = f"self/{number}"
    return (
        packets.connect(f"client{number}", level)
        + packets.subscribe(1, [(topic, 1)], level)
        + packets.publish(topic, b"echo", level, qos=1, packet_id=2)
    )


def _expect_answers(connection):
    assert connection.expect(Kind.CONNACK).code == 0
    connection.expect(Kind.SUBACK, packet_id=1)
    _expect_ack_and_message(connection, 2, b"echo")


def _expect_ack_and_message(connection, packet_id, payload):
    """The PUBACK and the message itself may come in either order."""
    received = {packet.kind: packet for packet in (connection.receive(), connection.receive())}
    assert received[Kind.PUBACK].packet_id == packet_id
    assert received[Kind.PUBLISH].payload == payload
