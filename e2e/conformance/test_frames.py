"""Section 6: MQTT over WebSocket, frame by frame.

That all other statements hold over WebSocket as well is what the transport "websocket" shows.
"""

import packets
import pytest
import wire
from registry import statement
from websocket import BINARY, CONTINUATION, TEXT, UNSUPPORTED, Frame, WebSocket
from wire import Kind


def introduced(opened: WebSocket, level: int, client_id: str) -> wire.Client:
    """A client on an upgraded WebSocket, connected."""
    assert opened.upgrade().status == 101
    one = wire.Client(opened, level)
    one.connect(client_id)
    return one


@statement("MQTT-6.0.0-1", wrong="websocket-text-taken")
@statement("MQTT311-6.0.0-1", wrong="websocket-text-taken")
@pytest.mark.parametrize("text", [b"\xc0\0", b"", b"hello"], ids=["a packet", "nothing", "text"])
def test_a_text_frame_ends_the_connection(websocket, unique, level, text):
    opened = websocket()
    introduced(opened, level, unique())
    opened.send(Frame(TEXT, text))
    before = opened.expect_closed(UNSUPPORTED)
    answers = [packets.split(bytearray(frame.payload)) for frame in before]
    assert all(first >> 4 == Kind.DISCONNECT for first, _ in answers), answers


@statement("MQTT-6.0.0-1", wrong="websocket-text-sent")
@statement("MQTT311-6.0.0-1", wrong="websocket-text-sent")
def test_packets_come_in_binary_frames(websocket, unique, level):
    opened = websocket()
    assert opened.upgrade().status == 101
    for packet in (wire.connect(unique(), level), packets.pingreq()):
        opened.sendall(packet)
        frame = opened.receive()
        assert frame.opcode == BINARY, frame


@statement("MQTT-6.0.0-2", wrong="websocket-frames-are-packets")
@statement("MQTT311-6.0.0-2", wrong="websocket-frames-are-packets")
@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
@pytest.mark.parametrize("fragments", [False, True], ids=["messages", "fragments"])
def test_packets_span_and_share_frames(websocket, unique, level, size, fragments):
    """A whole conversation in frames of this size, or in one message of such fragments."""
    opened, topic = websocket(), unique("t")
    assert opened.upgrade().status == 101
    one = wire.Client(opened, level)
    messages = [wire.publish(topic, b"%d" % number, level, qos=1, packet_id=10 + number) for number in range(5)]
    subscription = wire.subscribe(1, [(topic, 0)], level)
    stream = b"".join([wire.connect(unique(), level), subscription, *messages, packets.pingreq()])
    parts = [stream[at : at + size] for at in range(0, len(stream), size)]
    for at, part in enumerate(parts):
        last = at == len(parts) - 1
        frame = Frame(CONTINUATION if at else BINARY, part, last) if fragments else Frame(BINARY, part)
        opened.send(frame)
    assert one.expect(Kind.CONNACK).code == 0
    one.expect(Kind.SUBACK, packet_id=1)
    found = [one.receive() for _ in range(11)]
    assert [packet.payload for packet in found if packet.kind == Kind.PUBLISH] == [b"0", b"1", b"2", b"3", b"4"]
    acknowledged = [packet.packet_id for packet in found if packet.kind == Kind.PUBACK]
    assert acknowledged == [10, 11, 12, 13, 14]
    assert found[-1].kind == Kind.PINGRESP


@statement("MQTT-6.0.0-3", wrong="websocket-mqtt-assumed")
@statement("MQTT311-6.0.0-3", wrong="websocket-mqtt-assumed")
@pytest.mark.parametrize("offered", [None, "chat", "MQTT", "mqtt5, soap"])
def test_without_the_offer_of_mqtt(websocket, level, offered):
    """What a server does is its own choice: this one says no, and why."""
    opened = websocket()
    response = opened.upgrade(Sec_WebSocket_Protocol=offered)
    assert response.status == 400, response
    assert b"mqtt" in response.body
    assert opened.receive() is None


@statement("MQTT-6.0.0-4", wrong=["websocket-no-subprotocol", "websocket-other-subprotocol"])
@statement("MQTT311-6.0.0-4", wrong=["websocket-no-subprotocol", "websocket-other-subprotocol"])
@pytest.mark.parametrize("offered", ["mqtt", "mqttv3.1, mqtt", "chat,mqtt,soap"])
def test_mqtt_is_chosen(websocket, unique, level, offered):
    opened = websocket()
    response = opened.upgrade(Sec_WebSocket_Protocol=offered)
    assert (response.status, response.fields.get("sec-websocket-protocol")) == (101, "mqtt")
    wire.Client(opened, level).connect(unique())


@statement("U5-55", wrong=["websocket-any-path", "websocket-no-subprotocol"])
def test_the_path_and_its_subprotocol(websocket):
    for path, status in (("/mqtt", 101), ("/mqtt?from=here", 101), ("/", 404), ("/mqtt/more", 404)):
        response = websocket().upgrade(path)
        assert response.status == status, f"{path}: {response}"
        chosen = "mqtt" if status == 101 else None
        assert response.fields.get("sec-websocket-protocol") == chosen, response
