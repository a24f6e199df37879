"""Wrong doubles for what stands between a WebSocket and MQTT."""

import re

import packets
from doubles import DOUBLES, Double, Link
from websocket import BINARY, CONTINUATION, TEXT, Frame

SUBPROTOCOL = re.compile(rb"Sec-WebSocket-Protocol: [^\r]*\r\n", re.IGNORECASE)


def _text_taken(frame: Frame, link: Link) -> list[Frame]:
    return [Frame(BINARY, frame.payload, frame.final) if frame.opcode == TEXT else frame]


def _text_sent(frame: Frame, link: Link) -> list[Frame]:
    return [Frame(TEXT, frame.payload, frame.final) if frame.opcode == BINARY else frame]


def _one_packet_each(frame: Frame, link: Link) -> list[Frame]:
    """Takes each frame for a packet: what is behind it, or less than one, is lost."""
    if frame.opcode not in (BINARY, CONTINUATION):
        return [frame]
    rest = bytearray(frame.payload)
    if packets.split(rest) is None:
        return []
    whole = frame.payload[: len(frame.payload) - len(rest)]
    return [Frame(frame.opcode, whole, frame.final)]


def _mqtt_assumed(request: bytes) -> bytes:
    return SUBPROTOCOL.sub(b"", request).replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n")


def _other_subprotocol(response: bytes) -> bytes:
    return SUBPROTOCOL.sub(b"Sec-WebSocket-Protocol: chat\r\n", response)


DOUBLES.update(
    {
        "websocket-text-taken": Double(frames_up=_text_taken),
        "websocket-text-sent": Double(frames_down=_text_sent),
        "websocket-frames-are-packets": Double(frames_up=_one_packet_each),
        "websocket-mqtt-assumed": Double(request=_mqtt_assumed),
        "websocket-other-subprotocol": Double(response=_other_subprotocol),
        "websocket-no-subprotocol": Double(response=lambda response: SUBPROTOCOL.sub(b"", response)),
        "websocket-any-path": Double(request=lambda request: re.sub(rb"^GET \S+", b"GET /mqtt", request)),
    }
)
