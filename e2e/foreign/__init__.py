"""Foreign clients behind one shape, and the table of them."""

from foreign.lines import MqttJs, MqttJsTls, MqttJsWebSocket, MqttJsWebSocketTls, Rumqttc
from foreign.loop import Aiomqtt, Gmqtt
from foreign.mosquitto import Mosquitto, MosquittoTls, MosquittoUnix
from foreign.paho import Paho, PahoTls, PahoUnix, PahoWebSocket, PahoWebSocketTls
from foreign.shape import PATIENCE_SECS, Client, Kind, Message

__all__ = [
    "DOOR_KINDS",
    "KINDS",
    "PATIENCE_SECS",
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

DOOR_KINDS = [
    Kind(make, level)
    for make, levels in (
        (PahoWebSocket, (3, 4, 5)),
        (MqttJsWebSocket, (3, 4, 5)),
        (PahoUnix, (4, 5)),
        (MosquittoUnix, (4, 5)),
        (PahoTls, (4, 5)),
        (MqttJsTls, (5,)),
        (MosquittoTls, (4, 5)),
        (PahoWebSocketTls, (5,)),
        (MqttJsWebSocketTls, (4, 5)),
    )
    for level in levels
]
"""Those that come over WebSocket, TLS, both, or a Unix socket: what they do there beside TCP is in a file of its own."""
