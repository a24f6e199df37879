"""A WebSocket client for tests that need to see each frame, written from RFC 6455.

`connect` gives a stream with the methods of a socket, for clients of MQTT that know nothing of frames.
"""

import base64
import contextlib
import hashlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

import mqtt

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NORMAL, PROTOCOL_ERROR, UNSUPPORTED, TOO_BIG = 1000, 1002, 1003, 1009
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True)
class Frame:
    """One frame, unmasked."""

    opcode: int
    payload: bytes = b""
    final: bool = True
    reserved: int = 0

    @property
    def code(self) -> int | None:
        """What a close frame gives as the reason."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else None


def encode(frame: Frame, *, masked: bool = True, length: int | None = None) -> bytes:
    """The bytes of a frame; with another `length` than the payload's if one is given."""
    first = frame.final << 7 | frame.reserved << 4 | frame.opcode
    length = len(frame.payload) if length is None else length
    if length < 126:
        sizes = bytes([masked << 7 | length])
    elif length < 1 << 16:
        sizes = bytes([masked << 7 | 126]) + length.to_bytes(2, "big")
    else:
        sizes = bytes([masked << 7 | 127]) + length.to_bytes(8, "big")
    key = os.urandom(4) if masked else b""
    return bytes([first]) + sizes + key + (mask(frame.payload, key) if masked else frame.payload)


def mask(payload: bytes, key: bytes) -> bytes:
    """Masks or unmasks."""
    stream = (key * (len(payload) // 4 + 1))[: len(payload)]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return number.to_bytes(len(payload), "big")


def split(buffer: bytearray) -> Frame | None:
    """Takes a whole frame from the front of the buffer, if there is one."""
    if len(buffer) < 2:
        return None
    masked, length = buffer[1] >> 7, buffer[1] & 127
    start = 2 + {126: 2, 127: 8}.get(length, 0)
    if length > 125:
        length = int.from_bytes(buffer[2:start], "big")
    key, start = bytes(buffer[start : start + 4 * masked]), start + 4 * masked
    if len(buffer) < start or len(buffer) < start + length:
        return None
    payload, first = bytes(buffer[start : start + length]), buffer[0]
    del buffer[: start + length]
    payload = mask(payload, key) if masked else payload
    return Frame(first & 15, payload, bool(first >> 7), first >> 4 & 7)


def request(path: str = "/mqtt", *, key: str = "dGhlIHNhbXBsZSBub25jZQ==", **fields: str | None) -> bytes:
    """The request of an upgrade; `fields` replace or, with None, leave out those of the same name."""
    usual = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "mqtt",
    }
    usual |= {name.replace("_", "-"): value for name, value in fields.items()}
    lines = [f"{name}: {value}" for name, value in usual.items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


@dataclass(frozen=True)
class Response:
    """The answer to an upgrade."""

    status: int
    fields: dict[str, str]
    body: bytes = b""


class WebSocket:
    """A stream on which the upgrade was asked for. With the methods of a socket: bytes in binary frames."""

    def __init__(self, address: tuple[str, int], seal: Callable[[socket.socket], socket.socket] | None = None):
        stream = socket.create_connection(address, mqtt.PATIENCE_SECS)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._begin(seal(stream) if seal else stream)

    @classmethod
    def over(cls, stream: socket.socket) -> "WebSocket":
        """One over a stream that is there."""
        websocket = cls.__new__(cls)
        websocket._begin(stream)
        return websocket

    def _begin(self, stream: socket.socket) -> None:
        self.stream = stream
        self.raw, self.payload, self.ended = bytearray(), bytearray(), False

    def upgrade(self, path: str = "/mqtt", **fields: str | None) -> Response:
        """Asks for the upgrade; see `request`."""
        key = base64.b64encode(os.urandom(16)).decode()
        self.stream.sendall(request(path, key=key, **fields))
        response = self.response()
        if response.status == 101:
            accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
            assert response.fields["sec-websocket-accept"] == accept, response
            assert response.fields["upgrade"].lower() == "websocket", response
            assert response.fields["connection"].lower() == "upgrade", response
        return response

    def response(self) -> Response:
        """The response to a request, with its body if it is refused."""
        while b"\r\n\r\n" not in self.raw:
            assert self._read(), f"the connection ended within the response: {bytes(self.raw)}"
        head, _, rest = bytes(self.raw).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        status, body = int(first.split(" ")[1]), int(fields.get("content-length", 0))
        self.raw = bytearray(rest)
        while len(self.raw) < body:
            assert self._read(), f"the connection ended within the body: {bytes(self.raw)}"
        rest, self.raw = bytes(self.raw[:body]), self.raw[body:]
        return Response(status, fields, rest)

    def send(self, *frames: Frame, masked: bool = True) -> None:
        """Sends frames; that the broker has closed shows when something is expected."""
        with contextlib.suppress(ConnectionError):
            self.stream.sendall(b"".join(encode(frame, masked=masked) for frame in frames))

    def receive(self) -> Frame | None:
        """The next frame, or None at the end of the connection."""
        try:
            return self._receive()
        except TimeoutError:
            raise AssertionError("no frame came, and the connection did not end") from None

    def expect_closed(self, *codes: int | None) -> list[Frame]:
        """Waits for the end, which a close frame with one of these codes precedes; what came before."""
        frames = []
        while (frame := self.receive()) is not None:
            frames.append(frame)
        assert frames, "the connection ended without a close frame"
        assert frames[-1].opcode == CLOSE, frames[-1]
        assert frames[-1].code in codes, f"expected {codes}, got {frames[-1].code}"
        return frames[:-1]

    def sendall(self, data: bytes) -> None:
        """Sends bytes of packets in a frame."""
        self.send(Frame(BINARY, data))

    def recv(self, size: int) -> bytes:
        """Bytes of packets; none at the end."""
        while not self.payload and not self.ended:
            frame = self._receive()
            if frame is None or frame.opcode == CLOSE:
                self.ended = True
            elif frame.opcode in (CONTINUATION, BINARY):
                self.payload += frame.payload
            else:
                raise AssertionError(f"no frame of MQTT: {frame}")
        data = bytes(self.payload[:size])
        del self.payload[:size]
        return data

    def settimeout(self, secs: float) -> None:
        """Bounds each read and write."""
        self.stream.settimeout(secs)

    def getsockname(self) -> tuple[str, int]:
        """Our own address."""
        return self.stream.getsockname()

    def shutdown(self, how: int) -> None:
        """Ends the stream below, without a close frame."""
        self.stream.shutdown(how)

    def close(self) -> None:
        """Closes the stream below, without a close frame."""
        self.stream.close()

    def _receive(self) -> Frame | None:
        while (frame := split(self.raw)) is None:
            if not self._read():
                assert not self.raw, f"the connection ended within a frame: {bytes(self.raw[:20])}"
                return None
        return frame

    def _read(self) -> bool:
        try:
            data = self.stream.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self.raw += data
        return bool(data)


def connect(
    address: tuple[str, int], seal: Callable[[socket.socket], socket.socket] | None = None
) -> WebSocket:
    """A WebSocket that carries MQTT, over a stream that is encrypted by `seal`."""
    opened = WebSocket(address, seal)
    response = opened.upgrade()
    assert response.status == 101, f"no upgrade: {response}"
    return opened
