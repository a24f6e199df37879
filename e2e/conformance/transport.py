"""Ways to the broker: each opens a byte stream with the methods of a socket.

"tcp" goes straight, "unix" through a Unix socket, "websocket" through binary frames, "tls" and
"websocket-tls" encrypted, "relay:NAME" through the wrong double of that name.
"""

import socket

import mqtt
import websocket
from broker import Broker
from doubles import DOUBLES
from relay import FrameRelay, Relay

NAMES = ["tcp", "websocket-tls"]
"""The transports that a normal run goes over: each layer alone and all of them."""
ALL = ["tcp", "unix", "websocket", "tls", "websocket-tls"]
"""Those of a run with --all-transports."""


class Tcp:
    """Straight to the broker's listener."""

    def __init__(self, name: str = "tcp"):
        self.name = name

    def open(self, broker: Broker) -> socket.socket:
        """A new stream to this broker."""
        return _dial(broker.address)

    def dial_websocket(self, broker: Broker) -> websocket.WebSocket:
        """A new WebSocket to this broker, for which no upgrade was asked."""
        return websocket.WebSocket(broker.websocket_address)

    def close(self) -> None:
        """Ends what the transport keeps beside its streams."""


class Unix(Tcp):
    """Through a Unix socket."""

    def open(self, broker: Broker) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(mqtt.PATIENCE_SECS)
        stream.connect(broker.unix_path)
        return stream


class WebSocket(Tcp):
    """Through binary frames, one for each write."""

    def open(self, broker: Broker) -> websocket.WebSocket:
        return websocket.connect(broker.websocket_address)


class Tls(Tcp):
    """Through TLS, one record for each write."""

    def open(self, broker: Broker) -> socket.socket:
        return broker.tls.seal(_dial(broker.tls_address))


class WebSocketTls(Tcp):
    """Through binary frames and TLS."""

    def open(self, broker: Broker) -> websocket.WebSocket:
        return websocket.connect(broker.websocket_tls_address, broker.tls.seal)

    def dial_websocket(self, broker: Broker) -> websocket.WebSocket:
        return websocket.WebSocket(broker.websocket_tls_address, broker.tls.seal)


class Relayed(Tcp):
    """Through a relay of its own to each broker."""

    def __init__(self, name: str):
        super().__init__(name)
        self.double = DOUBLES[name.removeprefix("relay:")]
        self.relays: dict[tuple[str, int], Relay] = {}

    @property
    def bites(self) -> int:
        """How often the double has changed something."""
        return sum(relay.bites for relay in self.relays.values())

    def open(self, broker: Broker) -> socket.socket:
        return _dial(self._relay(broker.address, Relay))

    def dial_websocket(self, broker: Broker) -> websocket.WebSocket:
        return websocket.WebSocket(self._relay(broker.websocket_address, FrameRelay))

    def close(self) -> None:
        for relay in self.relays.values():
            relay.close()

    def _relay(self, address: tuple[str, int], make: type[Relay]) -> tuple[str, int]:
        if address not in self.relays:
            self.relays[address] = make(address, self.double)
        return self.relays[address].address


def named(name: str) -> Tcp:
    """The transport of this name."""
    if name.startswith("relay:"):
        return Relayed(name)
    ways = {"unix": Unix, "websocket": WebSocket, "tls": Tls, "websocket-tls": WebSocketTls}
    return ways.get(name, Tcp)(name)


def _dial(address: tuple[str, int]) -> socket.socket:
    stream = socket.create_connection(address, mqtt.PATIENCE_SECS)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream
