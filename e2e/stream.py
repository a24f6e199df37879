"""A legitimate stream: QoS 1 through one publisher and one subscriber, paced, each message timed from when it was due.

`python stream.py --port PORT` connects, prints `connected`, and begins when it reads a line, so that whatever is to
disturb it can come first. Then it prints one line of JSON: percentiles of the latency in milliseconds, of that of a
CONNECT ten times a second, and what was lost, refused or repeated. It is a process of its own, so that what
measures does nothing else.
"""

import argparse
import gc
import json
import selectors
import socket
import sys
import time

import packets
from packets import Kind

GRACE_SECS = 10.0
"""How long the last messages may take."""
PROBE_SECS = 0.1
WINDOW = 100
"""The Receive Maximum that is announced by default; what is due waits beyond it."""


class Door:
    """A connection without waiting."""

    def __init__(self, port: int, client_id: str):
        self.stream = socket.create_connection(("127.0.0.1", port), GRACE_SECS)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.stream.sendall(packets.connect(client_id, 5))
        assert self.wait(Kind.CONNACK).code == 0

    def wait(self, kind: Kind) -> packets.Packet:
        """The next packet, which is of this kind."""
        while (parts := packets.split(self.buffer)) is None:
            data = self.stream.recv(1 << 16)
            assert data, "the broker closed the connection"
            self.buffer += data
        packet = packets.decode(*parts, 5)
        assert packet.kind == kind, packet
        return packet

    def read(self) -> list[packets.Packet]:
        """The packets that have come."""
        data = self.stream.recv(1 << 18)
        assert data, "the broker closed the connection"
        self.buffer += data
        found = []
        while (parts := packets.split(self.buffer)) is not None:
            found.append(packets.decode(*parts, 5))
        return found


class Stream:
    """What is sent and what comes."""

    def __init__(self, port: int, rate: int, warm_secs: float, secs: float):
        self.port, self.rate = port, rate
        self.first, self.count = int(warm_secs * rate), int((warm_secs + secs) * rate)
        self.subscriber, self.publisher = Door(port, "stream-in"), Door(port, "stream-out")
        self.subscriber.stream.sendall(packets.subscribe(1, [("stream/t", 1)], 5))
        assert self.subscriber.wait(Kind.SUBACK).codes == (1,)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.subscriber.stream, selectors.EVENT_READ, self.receive)
        self.selector.register(self.publisher.stream, selectors.EVENT_READ, self.acknowledged)
        self.sent = self.answered = self.refused = self.repeated = 0
        self.latencies: dict[int, float] = {}
        self.probes: list[float] = []
        self.unfinished = self.not_let_in = 0
        self.start = 0.0

    def due(self, number: int) -> float:
        """When a message is to be sent."""
        return self.start + number / self.rate

    def run(self) -> None:
        """All of it."""
        self.start = time.monotonic() + 0.05
        next_probe = self.due(self.first)
        last = self.due(self.count) + GRACE_SECS
        while (now := time.monotonic()) < last:
            while self.sent < self.count and self.due(self.sent) <= now and self.sent - self.answered < WINDOW:
                self.send()
            if next_probe <= now < self.due(self.count):
                self.probe()
                next_probe += PROBE_SECS
            if self.answered == self.count and len(self.latencies) + self.refused >= self.count:
                break
            until = min(next_probe, self.due(self.sent)) if self.sent < self.count else now + 0.5
            for key, _ in self.selector.select(max(until - time.monotonic(), 0)):
                key.data(key.fileobj)

    def send(self) -> None:
        """One message, with its number."""
        packet_id = self.sent % 65_535 + 1
        data = packets.publish("stream/t", self.sent.to_bytes(8, "big") + b"." * 56, 5, qos=1, packet_id=packet_id)
        self.publisher.stream.sendall(data)
        self.sent += 1

    def acknowledged(self, _) -> None:
        """PUBACKs have come."""
        for packet in self.publisher.read():
            assert packet.kind == Kind.PUBACK, packet
            self.answered += 1
            self.refused += packet.code >= 0x80

    def receive(self, _) -> None:
        """Messages have come."""
        answers = bytearray()
        found = self.subscriber.read()
        now = time.monotonic()
        for packet in found:
            assert packet.kind == Kind.PUBLISH, packet
            number = int.from_bytes(packet.payload[:8], "big")
            self.repeated += number in self.latencies
            self.latencies.setdefault(number, now - self.due(number))
            answers += packets.puback(packet.packet_id)
        self.subscriber.stream.sendall(answers)

    def probe(self) -> None:
        """Somebody new comes in, without anybody waiting for it."""
        began, stream = time.monotonic(), socket.socket()
        stream.setblocking(False)
        stream.connect_ex(("127.0.0.1", self.port))
        self.unfinished += 1

        def connected(_) -> None:
            self.selector.modify(stream, selectors.EVENT_READ, introduced)
            stream.send(packets.connect("", 5))

        def introduced(_) -> None:
            answer = stream.recv(4096)
            if answer[:1] == bytes([Kind.CONNACK << 4]):
                self.probes.append(time.monotonic() - began)
                self.not_let_in += answer[3] != 0
                self.unfinished -= 1
            self.selector.unregister(stream)
            stream.close()

        self.selector.register(stream, selectors.EVENT_WRITE, connected)

    def figures(self) -> dict[str, float]:
        """In milliseconds, of those behind the warming up."""
        measured = [secs for number, secs in self.latencies.items() if number >= self.first]
        return {
            "p50": percentile(measured, 50),
            "p99": percentile(measured, 99),
            "max": percentile(measured, 100),
            "connect_p50": percentile(self.probes, 50),
            "connect_p99": percentile(self.probes, 99),
            "lost": self.sent - self.refused - len(self.latencies),
            "unsent": self.count - self.sent,
            "refused": self.refused,
            "repeated": self.repeated,
            "connects_unanswered": self.unfinished,
            "connects_refused": self.not_let_in,
        }


def percentile(values: list[float], share: int) -> float:
    """In milliseconds; 0 of nothing."""
    ordered = sorted(values)
    return round(1000 * ordered[min(len(ordered) * share // 100, len(ordered) - 1)], 3) if ordered else 0.0


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--warm", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args()
    stream = Stream(options.port, options.rate, options.warm, options.seconds)
    print("connected", flush=True)
    sys.stdin.readline()
    # What Python cleans up in the middle would be taken for the broker's.
    gc.disable()
    stream.run()
    print(json.dumps(stream.figures()), flush=True)


if __name__ == "__main__":
    main()
