"""A small MQTT client for tests that need to see each packet.

It acknowledges nothing by itself and keeps no state but its buffer.
Every wait has a deadline and says what it waited for.
"""

import itertools
import socket
import time

import packets
from packets import Kind, Packet

PATIENCE_SECS = 10.0
"""How long a wait may last before the test fails; generous, since it is only reached on failure."""


class Closed(AssertionError):
    """The broker closed the connection where a packet was expected."""


class Client:
    """One connection to a broker; a context manager that closes it without DISCONNECT."""

    def __init__(self, address: tuple[str, int], level: int = 4):
        stream = socket.create_connection(address, PATIENCE_SECS)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._begin(stream, level)

    @classmethod
    def over(cls, stream, level: int = 4) -> "Client":
        """A client over a stream with the methods of a socket."""
        client = cls.__new__(cls)
        client._begin(stream, level)
        return client

    def _begin(self, stream, level: int) -> None:
        self.level = level
        self.socket = stream
        own = stream.getsockname()
        self.port = own[1] if isinstance(own, tuple) else None
        self.buffer = bytearray()
        self.packet_ids = itertools.cycle(range(1, 65536))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def connect(self, client_id: str, **options) -> Packet:
        """Sends CONNECT and returns the CONNACK, which must be a success."""
        self.send(packets.connect(client_id, self.level, **options))
        connack = self.expect(Kind.CONNACK)
        assert connack.code == 0, f"refused: {connack}"
        return connack

    def subscribe(self, *filters: tuple[str, int], props: dict | None = None) -> Packet:
        """Subscribes and returns the SUBACK."""
        packet_id = next(self.packet_ids)
        self.send(packets.subscribe(packet_id, list(filters), self.level, props))
        return self.expect(Kind.SUBACK, packet_id=packet_id)

    def unsubscribe(self, *filters: str) -> Packet:
        """Unsubscribes and returns the UNSUBACK."""
        packet_id = next(self.packet_ids)
        self.send(packets.unsubscribe(packet_id, list(filters), self.level))
        return self.expect(Kind.UNSUBACK, packet_id=packet_id)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        props: dict | None = None,
    ) -> None:
        """Publishes and, at QoS 1, waits for the PUBACK."""
        packet_id = self.send_publish(topic, payload, qos=qos, retain=retain, props=props)
        if qos == 1:
            self.expect(Kind.PUBACK, packet_id=packet_id)

    def send_publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        props: dict | None = None,
    ) -> int:
        """Sends a PUBLISH without waiting and returns its packet id, 0 at QoS 0."""
        packet_id = next(self.packet_ids) if qos else 0
        self.send(
            packets.publish(
                topic,
                payload,
                self.level,
                qos=qos,
                packet_id=packet_id,
                retain=retain,
                props=props,
            )
        )
        return packet_id

    def expect_message(self, payload: bytes | None = None, *, ack: bool = True) -> Packet:
        """Receives a PUBLISH, with this payload if one is given, and acknowledges it at QoS 1."""
        message = self.expect(Kind.PUBLISH)
        assert payload in (None, message.payload), f"expected {payload!r}, got {message}"
        if ack and message.qos == 1:
            self.send(packets.puback(message.packet_id))
        return message

    def ping(self) -> None:
        """A round trip: what was sent before has been processed by the broker."""
        self.send(packets.pingreq())
        self.expect(Kind.PINGRESP)

    def disconnect(self) -> None:
        """Leaves politely and waits until the broker has closed its side."""
        self.send(packets.disconnect())
        self.expect_closed()
        self.close()

    def expect(self, kind: Kind, *, packet_id: int | None = None) -> Packet:
        """The next packet, which must be of this kind and carry this id."""
        wanted = kind.name if packet_id is None else f"{kind.name} with id {packet_id}"
        packet = self.receive(wanted)
        assert packet.kind == kind, f"expected {wanted}, got {packet}"
        assert packet_id in (None, packet.packet_id), f"expected {wanted}, got {packet}"
        return packet

    def expect_closed(self) -> Packet | None:
        """Waits for the end of the connection and returns the DISCONNECT or CONNACK before it."""
        last = None
        try:
            while last is None:
                last = self.receive("the end of the connection")
            assert last.kind in (Kind.DISCONNECT, Kind.CONNACK), f"expected the end, got {last}"
            surplus = self.receive("the end of the connection")
        except Closed:
            return last
        raise AssertionError(f"expected the end of the connection, got {surplus}")

    def receive(self, wanted: str = "a packet") -> Packet:
        """The next packet, whatever it is."""
        deadline = time.monotonic() + PATIENCE_SECS
        while (parts := packets.split(self.buffer)) is None:
            self.buffer += self._read(wanted, deadline)
        return packets.decode(*parts, self.level)

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.socket.sendall(data)

    def close(self) -> None:
        """Closes the connection without DISCONNECT."""
        self.socket.close()

    def _read(self, wanted: str, deadline: float) -> bytes:
        self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            raise AssertionError(f"no {wanted} within {PATIENCE_SECS} s") from None
        except ConnectionResetError:
            data = b""
        finally:
            self.socket.settimeout(PATIENCE_SECS)
        if not data:
            raise Closed(f"connection closed instead of {wanted}")
        return data
