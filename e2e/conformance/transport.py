"""Ways to the broker: each opens a byte stream with the methods of a socket.

"tcp" goes straight, "relay:NAME" through the wrong double of that name.
A transport over TLS or WebSocket is one more class here and one more name in NAMES.
"""

import socket

import mqtt
from broker import Broker
from doubles import DOUBLES
from relay import Relay

NAMES = ["tcp"]
"""The transports that a normal run goes over."""


class Tcp:
    """Straight to the broker's listener."""

    def __init__(self, name: str = "tcp"):
        self.name = name

    def open(self, broker: Broker) -> socket.socket:
        """A new stream to this broker."""
        return _dial(broker.address)

    def close(self) -> None:
        """Ends what the transport keeps beside its streams."""


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
        if broker.address not in self.relays:
            self.relays[broker.address] = Relay(broker.address, self.double)
        return _dial(self.relays[broker.address].address)

    def close(self) -> None:
        for relay in self.relays.values():
            relay.close()


def named(name: str) -> Tcp:
    """The transport of this name."""
    return Relayed(name) if name.startswith("relay:") else Tcp(name)


def _dial(address: tuple[str, int]) -> socket.socket:
    stream = socket.create_connection(address, mqtt.PATIENCE_SECS)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream
