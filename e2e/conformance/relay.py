"""A relay on loopback between clients and a broker, which turns a right broker into a wrong double.

Bytes of the client pass as they are unless the double changes packets of clients.
"""

import contextlib
import socket
import threading

import packets
import websocket
import wire
from doubles import Double, Link
from wire import Kind


class Relay:
    """Listens for clients and relays each to the broker through the double; counts its bites."""

    def __init__(self, broker: tuple[str, int], double: Double):
        self.broker, self.double = broker, double
        self.bites = 0
        self.lock = threading.Lock()
        self.sockets: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Ends the relay and all its connections."""
        with self.lock:
            for one in (self.listener, *self.sockets):
                _end(one)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                self._relay(client)

    def _relay(self, client: socket.socket) -> None:
        try:
            broker = socket.create_connection(self.broker)
        except OSError:
            _end(client)
            return
        with self.lock:
            self.sockets += [client, broker]
        for one in (client, broker):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link()
        for work in (self._up, self._down):
            threading.Thread(target=work, args=(client, broker, link), daemon=True).start()

    def _up(self, client: socket.socket, broker: socket.socket, link: Link) -> None:
        buffer = bytearray()
        while data := _read(client):
            if self.double.up:
                buffer += data
                data = b""
                while (parts := packets.split(buffer)) is not None:
                    data += self._changed_up(*parts, link)
            if not _write(broker, data):
                # The broker's last words may still be on their way down.
                return
        _end(broker)

    def _changed_up(self, first: int, body: bytes, link: Link) -> bytes:
        sent = self.double.up(first, body, link)
        self.bites += sent != [(first, body)]
        return b"".join(
            bytes([first]) + packets.varint(len(body)) + body for first, body in sent
        )

    def _down(self, client: socket.socket, broker: socket.socket, link: Link) -> None:
        buffer = bytearray()
        while data := _read(broker):
            buffer += data
            while (parts := packets.split(buffer)) is not None:
                if not _write(client, self._changed_down(*parts, link)):
                    return
                if link.ended:
                    _end(client)
                    _end(broker)
                    return
        if self.double.hides_close:
            self.bites += 1
        else:
            _end(client)

    def _changed_down(self, first: int, body: bytes, link: Link) -> bytes:
        whole = bytes([first]) + packets.varint(len(body)) + body
        if not self.double.down:
            return whole
        if first >> 4 == Kind.CONNACK:
            # Only a CONNACK of 5.0 has room for properties.
            link.level = 5 if len(body) > 2 else 4
        try:
            packet = wire.decode(first, body, link.level)
        except wire.Malformed:
            return whole
        sent = self.double.down(packet, link)
        if sent == [packet] and not link.ended:
            return whole
        self.bites += 1
        return b"".join(
            item if isinstance(item, bytes) else wire.encode(item, link.level) for item in sent
        )


class FrameRelay(Relay):
    """The same for WebSockets: changes requests, responses and frames, not the packets in them."""

    def _up(self, client: socket.socket, broker: socket.socket, link: Link) -> None:
        change = self.double.frames_up and (lambda frame: self.double.frames_up(frame, link))
        if self._head(client, broker, self.double.request):
            self._frames(client, broker, change, masked=True)
        # The broker's last words may still be on their way down.

    def _down(self, client: socket.socket, broker: socket.socket, link: Link) -> None:
        change = self.double.frames_down and (lambda frame: self.double.frames_down(frame, link))
        if self._head(broker, client, self.double.response):
            self._frames(broker, client, change, masked=False)
        _end(client)

    def _head(self, one: socket.socket, other: socket.socket, change) -> bool:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = _read(one, 1)
            if not byte:
                return False
            head += byte
        changed = change(head) if change else head
        self.bites += changed != head
        return _write(other, changed)

    def _frames(self, one: socket.socket, other: socket.socket, change, *, masked: bool) -> None:
        buffer = bytearray()
        while data := _read(one):
            if change:
                buffer += data
                data = b""
                while (frame := websocket.split(buffer)) is not None:
                    sent = change(frame)
                    self.bites += sent != [frame]
                    data += b"".join(websocket.encode(item, masked=masked) for item in sent)
            if not _write(other, data):
                return


def _read(one: socket.socket, size: int = 1 << 16) -> bytes:
    try:
        return one.recv(size)
    except OSError:
        return b""


def _write(one: socket.socket, data: bytes) -> bool:
    try:
        one.sendall(data)
    except OSError:
        return False
    return True


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
