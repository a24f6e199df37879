"""paho-mqtt, which runs its network loop in a thread of its own."""

import contextlib
import queue
import socket
import threading

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from foreign.shape import COMING_BACK_SECS, PATIENCE_SECS, Client, Message, Options


class Paho(Client):
    """paho-mqtt."""

    name = "paho"
    transport = "tcp"
    able = frozenset(
        {"come back", "receive once", "unsubscribe", "alias out", "repeated user properties"}
    )

    def __init__(self, options: Options):
        super().__init__(options)
        self.connected: queue.Queue = queue.Queue()
        self.acknowledged: queue.Queue = queue.Queue()
        self.disconnected: queue.Queue = queue.Queue()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            options.client_id,
            protocol=options.level,
            transport=self.transport,
            reconnect_on_failure=options.comes_back,
            clean_session=None if options.level == 5 else options.clean,
        )
        if will := options.will:
            properties = properties_of(will, PacketTypes.WILLMESSAGE) if options.level == 5 else None
            self.client.will_set(will.topic, will.payload, will.qos, will.retain, properties)
        self.client.reconnect_delay_set(COMING_BACK_SECS, COMING_BACK_SECS)
        self.client.on_connect = lambda *event: self.connected.put(event[2:4])
        self.client.on_subscribe = lambda *event: self.acknowledged.put(event[3])
        self.client.on_unsubscribe = lambda *event: self.acknowledged.put(event[3])
        self.broker_is_there = threading.Event()
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = lambda *event: self.received(message_of(event[2]))
        if "tls" in self.door:
            self.client.tls_set(ca_certs=options.authority)
        self.client.connect(*options.address, keepalive=60, **self._session())
        self.client.loop_start()
        flags, reason = self.connected.get(timeout=PATIENCE_SECS)
        assert not reason.is_failure, f"refused: {reason}"
        self.session_present = flags.session_present if options.level > 3 else None

    def subscribe(self, pattern: str, qos: int, identifier: int | None = None) -> int:
        properties = None
        if identifier is not None:
            properties = Properties(PacketTypes.SUBSCRIBE)
            properties.SubscriptionIdentifier = identifier
        self.client.subscribe(pattern, qos, properties=properties)
        return self.acknowledged.get(timeout=PATIENCE_SECS)[0].value

    def unsubscribe(self, pattern: str) -> None:
        self.client.unsubscribe(pattern)
        self.acknowledged.get(timeout=PATIENCE_SECS)

    def publish(self, message: Message) -> None:
        self.publish_at_once([message])

    def publish_at_once(self, messages: list[Message]) -> None:
        for handed in [self._hand(message) for message in messages]:
            handed.wait_for_publish(PATIENCE_SECS)
            assert handed.is_published(), f"not acknowledged within {PATIENCE_SECS} s"

    def come_back(self) -> None:
        self.broker_is_there.set()

    def leave(self) -> None:
        self.client.disconnect()
        self.disconnected.get(timeout=PATIENCE_SECS)
        self.client.loop_stop()

    def drop(self) -> None:
        self.client.reconnect_on_failure = False
        self.broker_is_there.set()
        # The socket is gone already if the broker is.
        with contextlib.suppress(OSError, AttributeError):
            wrapped = self.client.socket()
            getattr(wrapped, "_socket", wrapped).shutdown(socket.SHUT_RDWR)
        self.client.loop_stop()

    def close(self) -> None:
        self.drop()

    def _hand(self, message: Message) -> paho.MQTTMessageInfo:
        properties = properties_of(message, PacketTypes.PUBLISH) if self.level == 5 else None
        parts = message.topic, message.payload, message.qos, message.retain, properties
        handed = self.client.publish(*parts)
        if message.qos and handed.rc == paho.MQTT_ERR_NO_CONN:
            # It is kept, and sent once there is a connection again; only the waiting would refuse.
            handed.rc = paho.MQTT_ERR_SUCCESS
        return handed

    def _on_disconnect(self, *event) -> None:
        """Holds paho back until there is a broker: its first attempt must be the one that succeeds.

        Each attempt prepares what is under way (`_messages_reconnect_reset_out` of paho 2.1), and the
        second takes a PUBREL that is to be repeated for a message that was never sent: a broker that
        has completed it gets it as a new one, which comes to its subscribers twice.
        """
        self.disconnected.put(event[3])
        if self.options.comes_back:
            self.broker_is_there.wait(PATIENCE_SECS)
            self.broker_is_there.clear()

    def _session(self) -> dict:
        if self.level < 5:
            return {}
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = self.options.session_expiry_secs
        return {"clean_start": self.options.clean, "properties": properties}


class PahoWebSocket(Paho):
    """paho-mqtt over WebSocket."""

    name = "paho-websocket"
    transport = "websockets"
    door = "websocket_address"


class PahoUnix(Paho):
    """paho-mqtt through a Unix socket."""

    name = "paho-unix"
    transport = "unix"
    door = "unix_address"


class PahoTls(Paho):
    """paho-mqtt over TLS."""

    name = "paho-tls"
    door = "tls_address"


class PahoWebSocketTls(PahoWebSocket):
    """paho-mqtt over WebSocket over TLS."""

    name = "paho-websocket-tls"
    door = "websocket_tls_address"


def message_of(came) -> Message:
    """The message that paho or aiomqtt hands out."""
    properties = getattr(came, "properties", None)
    correlation = getattr(properties, "CorrelationData", None)
    return Message(
        str(came.topic),
        came.payload.decode(),
        came.qos,
        bool(came.retain),
        getattr(properties, "ContentType", None),
        getattr(properties, "ResponseTopic", None),
        correlation and correlation.decode(),
        tuple(tuple(pair) for pair in getattr(properties, "UserProperty", ())),
        getattr(properties, "MessageExpiryInterval", None),
        tuple(getattr(properties, "SubscriptionIdentifier", ())),
    )


def properties_of(message: Message, packet: int) -> Properties:
    """The properties for paho to send."""
    properties = Properties(packet)
    for name, value in (
        ("ContentType", message.content_type),
        ("ResponseTopic", message.response_topic),
        ("CorrelationData", message.correlation and message.correlation.encode()),
        ("UserProperty", list(message.user_properties) or None),
        ("MessageExpiryInterval", message.expiry_secs),
        ("TopicAlias", message.alias),
    ):
        if value is not None:
            setattr(properties, name, value)
    return properties
