"""Foreign clients behind one shape, and the table of them."""

from foreign.lines import MqttJs, Rumqttc
from foreign.loop import Aiomqtt, Gmqtt
from foreign.mosquitto import Mosquitto
from foreign.paho import Paho
from foreign.shape import PATIENCE_SECS, Client, Kind, Message

__all__ = ["KINDS", "PATIENCE_SECS", "Aiomqtt", "Client", "Kind", "Message", "Mosquitto", "Paho"]

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
