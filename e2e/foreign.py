"""Foreign clients behind one small shape: subscribe, receive a message, publish.

A subscriber's constructor returns when its subscription has been acknowledged.
A publisher's function returns when its messages have been acknowledged, or at QoS 0 sent.
"""

import json
import os
import queue
import socket
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
from broker import ROOT
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from process import Process

PATIENCE_SECS = 15.0
SCRIPT = Path(__file__).with_name("mqttjs.js")


@dataclass(frozen=True)
class Received:
    """A message as a foreign client saw it."""

    topic: str
    payload: str
    qos: int
    retain: bool


class Paho:
    """paho-mqtt, which runs its network loop in a thread of its own."""

    def __init__(
        self,
        address: tuple[str, int],
        level: int,
        client_id: str = "",
        *,
        clean: bool = True,
        will: tuple[str, str, int] | None = None,
    ):
        self.level = level
        self.connected: queue.Queue = queue.Queue()
        self.acknowledged: queue.Queue = queue.Queue()
        self.messages: queue.Queue = queue.Queue()
        self.disconnected: queue.Queue = queue.Queue()
        options = {"clean_session": clean} if level == 4 else {}
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=level, reconnect_on_failure=False, **options
        )
        if will:
            self.client.will_set(*will)
        self.client.on_connect = lambda *event: self.connected.put(event[2:4])
        self.client.on_subscribe = lambda *event: self.acknowledged.put(event[3])
        self.client.on_unsubscribe = lambda *event: self.acknowledged.put(event[3])
        self.client.on_disconnect = lambda *event: self.disconnected.put(event[3])
        self.client.on_message = lambda *event: self.messages.put(event[2])
        self.client.connect(*address, keepalive=60, **self._session_options(clean))
        self.client.loop_start()
        flags, reason = self.connected.get(timeout=PATIENCE_SECS)
        assert not reason.is_failure, f"refused: {reason}"
        self.session_present = flags.session_present

    def subscribe(self, pattern: str, qos: int) -> list[int]:
        """Subscribes and returns the codes of the SUBACK."""
        self.client.subscribe(pattern, qos)
        return [code.value for code in self.acknowledged.get(timeout=PATIENCE_SECS)]

    def unsubscribe(self, pattern: str) -> None:
        """Unsubscribes and waits for the UNSUBACK."""
        self.client.unsubscribe(pattern)
        self.acknowledged.get(timeout=PATIENCE_SECS)

    def publish(self, topic: str, payload: str, qos: int, retain: bool = False) -> None:
        """Publishes and waits until the message is sent or, at QoS 1, acknowledged."""
        handed = self.client.publish(topic, payload, qos, retain)
        handed.wait_for_publish(PATIENCE_SECS)
        assert handed.is_published(), f"no PUBACK for {payload!r} within {PATIENCE_SECS} s"

    def receive(self) -> Received:
        """The next message."""
        message = self.messages.get(timeout=PATIENCE_SECS)
        return Received(message.topic, message.payload.decode(), message.qos, bool(message.retain))

    def lose_connection(self) -> None:
        """Closes the socket without a word."""
        self.client.socket().shutdown(socket.SHUT_RDWR)
        self.disconnected.get(timeout=PATIENCE_SECS)
        self.client.loop_stop()

    def close(self) -> None:
        """Sends DISCONNECT and waits until the connection is down."""
        self.client.disconnect()
        self.disconnected.get(timeout=PATIENCE_SECS)
        self.client.loop_stop()

    def _session_options(self, clean: bool) -> dict:
        if self.level == 4:
            return {}
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0 if clean else 3600
        return {"clean_start": clean, "properties": properties}


class MqttJsSubscriber:
    """mqtt.js in a Node process."""

    def __init__(self, address: tuple[str, int], level: int, pattern: str, qos: int):
        self.process = _mqttjs(address, "subscribe", level, pattern, qos)
        try:
            self.granted = json.loads(self.process.expect(r"^subscribed (.+)")[1])
        except BaseException:
            self.process.kill()
            raise

    def receive(self) -> Received:
        """The next message."""
        return Received(**json.loads(self.process.expect(r"^message (.+)")[1]))

    def close(self) -> None:
        """Ends the process without DISCONNECT."""
        self.process.kill()


def mqttjs_publish(
    address: tuple[str, int], level: int, topic: str, payloads: list[str], qos: int
) -> None:
    """Publishes with mqtt.js, one message after the other on one connection."""
    _run(_mqttjs(address, "publish", level, topic, qos, *payloads))


class MosquittoSubscriber:
    """mosquitto_sub, which ends by itself after `count` messages."""

    def __init__(
        self,
        address: tuple[str, int],
        level: int,
        pattern: str,
        qos: int,
        count: int,
        *options: str,
    ):
        command = ["stdbuf", "-oL", "mosquitto_sub", *_mosquitto_options(address, level, qos)]
        command += ["-d", "-t", pattern, "-C", str(count), "-W", "30", *options]
        self.process = Process([*command, "-F", "message %t %q %r %p"])
        try:
            # A resumed session may deliver all that was asked for before the SUBACK.
            self.process.expect(r"received SUBACK|Subscribed \(mid|sending DISCONNECT")
        except BaseException:
            self.process.kill()
            raise

    def receive(self) -> Received:
        """The next message."""
        topic, qos, retain, payload = self.process.expect(r"^message (\S+) (\d) (\d) (.*)").groups()
        return Received(topic, payload, int(qos), retain == "1")

    def finish(self) -> None:
        """Waits until the expected number of messages has come, and for a clean end."""
        status = self.process.finish(40)
        assert status == 0, f"mosquitto_sub: status {status}:\n{self.process.output()}"

    def close(self) -> None:
        """Ends the process if it still runs."""
        self.process.kill()


def mosquitto_publish(
    address: tuple[str, int], level: int, topic: str, payload: str, qos: int, *options: str
) -> None:
    """Publishes one message with mosquitto_pub."""
    common = _mosquitto_options(address, level, qos)
    _run(Process(["mosquitto_pub", *common, "-t", topic, "-m", payload, *options]))


def mosquitto_subscribe_and_leave(
    address: tuple[str, int], level: int, pattern: str, *options: str
) -> None:
    """Leaves a subscription behind in a persistent session."""
    common = _mosquitto_options(address, level, 1)
    _run(Process(["mosquitto_sub", *common, "-t", pattern, "-E", *options]))


def _mosquitto_options(address: tuple[str, int], level: int, qos: int) -> list[str]:
    version = {4: "mqttv311", 5: "mqttv5"}[level]
    return ["-h", address[0], "-p", str(address[1]), "-V", version, "-q", str(qos)]


def _mqttjs(address: tuple[str, int], *arguments) -> Process:
    modules = {"NODE_PATH": str(ROOT / "target" / "e2e" / "node" / "node_modules")}
    command = ["node", SCRIPT, *address, *arguments]
    return Process([str(part) for part in command], {**os.environ, **modules})


def _run(process: Process) -> None:
    status = process.finish(30)
    assert status == 0, f"{process.name}: status {status}:\n{process.output()}"
