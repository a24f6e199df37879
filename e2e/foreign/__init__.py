"""Foreign clients behind one shape, and the table of them."""

from foreign.lines import MqttJs, MqttJsWebSocket, Rumqttc
from foreign.loop import Aiomqtt, Gmqtt
from foreign.mosquitto import Mosquitto
from foreign.paho import Paho, PahoWebSocket
from foreign.shape import PATIENCE_SECS, Client, Kind, Message

__all__ = [
    "KINDS",
    "PATIENCE_SECS",
    "WEBSOCKET_KINDS",
    "Aiomqtt",
    "Client",
    "Kind",
    "Message",
    "Mosquitto",
    "Paho",
]

KINDS = [
    Kind(make, level)
    for make, levels in (
        (Paho, (3, 4, 5)),
        (Aiomqtt, (4, 5)),
        (Gmqtt, (4, 5)),
        (MqttJs, (3, 4, 5)),
        (Rumqttc, (4, 5)),
        (Mosquitto, (3, 4, 5)),
    )
    for level in levels
]
"""All clients in all protocol versions that they speak."""

WEBSOCKET_KINDS = [Kind(make, level) for make in (PahoWebSocket, MqttJsWebSocket) for level in (3, 4, 5)]
"""Those that come over WebSocket: what they do there beside TCP is in a file of its own."""
