"""mosquitto_sub and mosquitto_pub: a process for each client that listens, and for each message."""

import json
import subprocess

from process import Process

from foreign.shape import PATIENCE_SECS, Client, Message, Options

VERSIONS = {3: "mqttv31", 4: "mqttv311", 5: "mqttv5"}
NOTHING = "never/published"
"""mosquitto_sub wants a filter, also where a test wants only a connection."""


class Mosquitto(Client):
    """The clients of mosquitto. mosquitto_sub runs from the first thing that needs a connection."""

    name = "mosquitto"
    # mosquitto_sub leaves with reason code 4.
    levels_saying_will = frozenset({5})

    def common(self) -> list[str]:
        """What both programs are told."""
        host, port = self.options.address
        return ["-h", host, "-p", str(port), "-V", VERSIONS[self.level]]

    def __init__(self, options: Options):
        super().__init__(options)
        self.process: Process | None = None
        if options.will or not options.clean:
            self._start(NOTHING, 0, None)

    def subscribe(self, pattern: str, qos: int, identifier: int | None = None) -> int:
        """Subscribes, in a new process if one runs that has said its filters already."""
        self.leave()
        return self._start(pattern, qos, identifier)

    def publish(self, message: Message) -> None:
        self._publish(message, ["-m", message.payload] if message.payload else ["-n"])

    def publish_at_once(self, messages: list[Message]) -> None:
        self._publish(messages[0], ["-l"], "".join(f"{one.payload}\n" for one in messages))

    def leave(self) -> None:
        if self.process:
            self.process.child.terminate()
            status = self.process.finish(PATIENCE_SECS)
            assert status == 0, f"mosquitto_sub: status {status}:\n{self.process.output()}"
            self.process = None

    def drop(self) -> None:
        self.close()

    def close(self) -> None:
        if self.process:
            self.process.kill()
            self.process = None

    def _publish(self, message: Message, what: list[str], text: str = "") -> None:
        command = ["mosquitto_pub", *self.common(), *what]
        command += ["-t", message.topic, "-q", str(message.qos)] + (["-r"] if message.retain else [])
        if self.level == 5:
            command += _properties("publish", message)
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=PATIENCE_SECS, check=False
        )
        assert done.returncode == 0, f"mosquitto_pub: status {done.returncode}: {done.stderr}"

    def _start(self, pattern: str, qos: int, identifier: int | None) -> int:
        options = self.options
        command = ["stdbuf", "-oL", "mosquitto_sub", *self.common()]
        command += ["-d", "-i", options.client_id, "-t", pattern, "-q", str(qos), "-F", "%j"]
        if not options.clean:
            command.append("-c")
            if self.level == 5:
                command += ["-x", str(options.session_expiry_secs)]
        if identifier is not None:
            command += ["-D", "subscribe", "subscription-identifier", str(identifier)]
        if will := options.will:
            command += ["--will-topic", will.topic, "--will-payload", will.payload]
            command += ["--will-qos", str(will.qos)] + (["--will-retain"] if will.retain else [])
            if self.level == 5:
                command += _properties("will", will)
        self.process = Process(command, takes=self._takes)
        granted = self.process.expect(r"^Subscribed \(mid: \d+\): (\d+)", PATIENCE_SECS)
        return int(granted[1])

    def _takes(self, line: str) -> bool:
        if line.startswith("{"):
            self.received(_message(json.loads(line)))
            return True
        # Of each message there are two or three lines more, which nobody waits for.
        return " PUBLISH (d" in line or " sending PUB" in line


class MosquittoTls(Mosquitto):
    """The clients of mosquitto over TLS."""

    name = "mosquitto-tls"
    door = "tls_address"

    def common(self) -> list[str]:
        return [*super().common(), "--cafile", str(self.options.authority)]


class MosquittoUnix(Mosquitto):
    """The clients of mosquitto through a Unix socket."""

    name = "mosquitto-unix"
    door = "unix_path"

    def common(self) -> list[str]:
        return ["--unix", self.options.address, "-V", VERSIONS[self.level]]


def _properties(packet: str, message: Message) -> list[str]:
    pairs = [
        ("content-type", message.content_type),
        ("response-topic", message.response_topic),
        ("correlation-data", message.correlation),
        ("message-expiry-interval", message.expiry_secs),
        *(("user-property", pair) for pair in message.user_properties),
    ]
    arguments = []
    for name, value in pairs:
        if value is not None:
            values = value if isinstance(value, tuple) else (str(value),)
            arguments += ["-D", packet, name, *values]
    return arguments


def _message(report: dict) -> Message:
    seen = report.get("properties", {})
    identifier = seen.get("subscription-identifier")
    return Message(
        report["topic"],
        report["payload"] or "",
        report["qos"],
        report["retain"] == 1,
        seen.get("content-type"),
        seen.get("response-topic"),
        seen.get("correlation-data"),
        # Repeated keys of an object: the last value is seen.
        tuple(seen.get("user-properties", {}).items()),
        seen.get("message-expiry-interval"),
        () if identifier is None else (identifier,),
    )
