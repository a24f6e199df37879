"""mqtt.js and rumqttc, each in one process that takes JSON commands by line and runs many clients."""

import atexit
import contextlib
import dataclasses
import functools
import itertools
import json
import os
import queue
import subprocess
import threading
from pathlib import Path

from broker import ROOT

from foreign.shape import COMING_BACK_SECS, PATIENCE_SECS, Client, Message, Options

SCRIPT = Path(__file__).with_name("mqttjs.js")


class Driver:
    """The process: commands go in, their answers and the clients' messages come out."""

    def __init__(self, command: list[str], env: dict[str, str] | None = None):
        self.name = Path(command[0]).name
        self.numbers = itertools.count(1)
        self.answers: dict[int, queue.Queue] = {}
        self.clients: dict[int, Client] = {}
        self.stray: list[str] = []
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        atexit.register(self.close)

    def obey(self, client: int, task: str, **details):
        """Gives a command and waits for its answer."""
        number = next(self.numbers)
        answer = self.answers[number] = queue.Queue()
        command = {"id": number, "client": client, "do": task, **details}
        self.child.stdin.write(json.dumps(command) + "\n")
        self.child.stdin.flush()
        try:
            found = answer.get(timeout=PATIENCE_SECS)
        except queue.Empty:
            stray = "\n".join(self.stray)
            raise AssertionError(f"{self.name}: {command} took too long; {stray}") from None
        finally:
            del self.answers[number]
        assert "failed" not in found, f"{self.name}: {task}: {found['failed']}"
        return found["done"]

    def running(self) -> bool:
        """Whether the process still runs."""
        return self.child.poll() is None

    def close(self) -> None:
        """Ends the process, which ends with its stdin."""
        with contextlib.suppress(OSError):
            self.child.stdin.close()
        try:
            self.child.wait(PATIENCE_SECS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def _read(self) -> None:
        for line in self.child.stdout:
            try:
                report = json.loads(line)
            except ValueError:
                self.stray.append(line)
                continue
            if "message" in report:
                if client := self.clients.get(report["client"]):
                    client.received(_message(report["message"]))
            elif answer := self.answers.get(report["id"]):
                answer.put(report)
        for answer in list(self.answers.values()):
            answer.put({"failed": "ended: " + "".join(self.stray)})


class _Driven(Client):
    """A client in the process of a driver."""

    able = frozenset({"come back", "unsubscribe", "alias out"})
    protocol = "mqtt"

    def __init__(self, options: Options, driver: Driver):
        super().__init__(options)
        self.driver = driver
        self.number = next(driver.numbers)
        driver.clients[self.number] = self
        host, port = options.address
        present = self._obey(
            "connect",
            protocol=self.protocol,
            level=options.level,
            host=host,
            port=port,
            authority=str(options.authority),
            client_id=options.client_id,
            clean=options.clean,
            session_expiry_secs=options.session_expiry_secs,
            aliases_max=options.aliases_max,
            coming_back_millis=int(1000 * COMING_BACK_SECS) if options.comes_back else 0,
            will=options.will and dataclasses.asdict(options.will),
        )
        self.session_present = present if options.level > 3 else None

    def subscribe(self, pattern: str, qos: int, identifier: int | None = None) -> int:
        return self._obey("subscribe", filter=pattern, qos=qos, identifier=identifier)

    def unsubscribe(self, pattern: str) -> None:
        self._obey("unsubscribe", filter=pattern)

    def publish(self, message: Message) -> None:
        self.publish_at_once([message])

    def publish_at_once(self, messages: list[Message]) -> None:
        self._obey("publish", messages=[dataclasses.asdict(message) for message in messages])

    def leave(self) -> None:
        self._obey("leave")

    def drop(self) -> None:
        self._obey("drop")

    def close(self) -> None:
        # It may be gone already.
        with contextlib.suppress(AssertionError, OSError):
            self.drop()
        self.driver.clients.pop(self.number, None)

    def _obey(self, task: str, **details):
        return self.driver.obey(self.number, task, **details)


class MqttJs(_Driven):
    """mqtt.js."""

    name = "mqtt.js"
    able = _Driven.able | {"alias in", "receive once"}
    bounds_itself = False

    def __init__(self, options: Options):
        super().__init__(options, _mqttjs())


class MqttJsWebSocket(MqttJs):
    """mqtt.js over WebSocket, as in a browser."""

    name = "mqtt.js-websocket"
    protocol = "ws"
    door = "websocket_address"


class MqttJsTls(MqttJs):
    """mqtt.js over TLS."""

    name = "mqtt.js-tls"
    protocol = "mqtts"
    door = "tls_address"


class MqttJsWebSocketTls(MqttJs):
    """mqtt.js over WebSocket over TLS."""

    name = "mqtt.js-websocket-tls"
    protocol = "wss"
    door = "websocket_tls_address"


class Rumqttc(_Driven):
    """rumqttc."""

    name = "rumqttc"
    # It shows a packet before it looks its alias up. When it comes back, it has forgotten what it
    # received at QoS 2, and ends each connection at the first PUBREL.
    able = _Driven.able | {"repeated user properties"}

    def __init__(self, options: Options):
        super().__init__(options, _rumqttc())

    def come_back(self) -> None:
        self._obey("come back")


@functools.cache
def _mqttjs() -> Driver:
    modules = ROOT / "target" / "e2e" / "node" / "node_modules"
    return Driver(["node", str(SCRIPT)], {"NODE_PATH": str(modules)})


@functools.cache
def _rumqttc() -> Driver:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = target / "release" / "bellbird-e2e-rumqttc"
    assert program.exists(), "not built: cargo build --release --package bellbird-e2e-rumqttc"
    return Driver([str(program)])


def _message(report: dict) -> Message:
    pairs = tuple((key, value) for key, value in report.pop("user_properties", ()))
    identifiers = tuple(report.pop("identifiers", ()))
    return Message(**report, user_properties=pairs, identifiers=identifiers)
