"""What e2e/compare does to a broker while it measures how the other clients fare.

Each is prepared before the measurement, and begins in the middle of it.
"""

import socket
import threading

from packets import Kind, connect, frame, pingreq, publish, subscribe

WAIT_SECONDS_MAX = 120
"""For one answer: a broker may be long at work with what came before it."""


def batches(everything, size):
    """One part after the other."""
    return (everything[at:at + size] for at in range(0, len(everything), size))


class Disturbance:
    """Connections that the measurement knows nothing of."""

    def __init__(self, port):
        self.port, self.clients = port, []
        self.is_over = threading.Event()

    def open(self, name):
        """A client that is let in."""
        client = socket.create_connection(("127.0.0.1", self.port), WAIT_SECONDS_MAX)
        self.clients.append(client)
        client.sendall(connect(f"disturbance-{name}", keepalive=600))
        self.expect(client, bytes([Kind.CONNACK << 4, 2, 0, 0]))
        return client

    def expect(self, client, answer):
        """Reads an answer that is known to the byte."""
        found = b""
        while len(found) < len(answer):
            more = client.recv(len(answer) - len(found))
            if not more:
                break
            found += more
        if found != answer:
            raise RuntimeError(f"the broker said {found.hex(' ') or 'nothing'}, not {answer.hex(' ')}")

    def subscribe(self, client, filters):
        """Subscribes at QoS 0, a thousand filters in a packet at most."""
        for some in batches(filters, 1000):
            client.sendall(subscribe(1, [(text, 0) for text in some]))
            self.expect(client, frame(Kind.SUBACK, 0, b"\0\1" + bytes(len(some))))

    def ping(self, client):
        """Returns once the broker has done what it was asked for before."""
        client.sendall(pingreq())
        self.expect(client, frame(Kind.PINGRESP, 0, b""))

    def prepare(self):
        """Before the measurement."""

    def begin(self):
        """In the middle of it."""

    def end(self):
        """Closes what is open."""
        self.is_over.set()
        for client in self.clients:
            client.close()


class Removed(Disturbance):
    """A hundred clients with 10,000 subscriptions each leave at once."""

    def prepare(self):
        for number in range(100):
            client = self.open(number)
            self.subscribe(client, [f"disturbance/{number}/{each}" for each in range(10_000)])

    def begin(self):
        self.end()


class Walked(Disturbance):
    """A hundred clients ask for a million retained messages, and read none."""

    def prepare(self):
        client = self.open("publisher")
        for some in batches(range(1_000_000), 10_000):
            client.sendall(b"".join(
                publish(f"disturbance/{each // 1000}/{each % 1000}", b"x", retain=True)
                for each in some))
        self.ping(client)
        for number in range(100):
            self.open(number)

    def begin(self):
        for client in self.clients[1:]:
            client.sendall(subscribe(1, [("disturbance/#", 0)]))


class Wild(Disturbance):
    """All combinations of `+` in ten of twenty levels, and a message for them every 10 ms."""

    TOPIC = "/".join(["a"] * 20)

    def prepare(self):
        def text(bits):
            return "/".join("+" if at % 2 == 0 and bits >> at // 2 & 1 else "a" for at in range(20))

        self.subscribe(self.open("subscriber"), [text(bits) for bits in range(1024)])
        self.open("publisher")

    def begin(self):
        threading.Thread(target=self.say, daemon=True).start()

    def say(self):
        """Until the end. Another topic each time would be another match."""
        message = publish(self.TOPIC, b"x")
        while not self.is_over.wait(0.01):
            self.clients[1].sendall(message)


class Slow(Disturbance):
    """One more subscriber to what the others get reads 1 kB a second."""

    def prepare(self):
        client = self.open("slow")
        self.subscribe(client, ["#"])
        threading.Thread(target=self.read, args=(client,), daemon=True).start()

    def read(self, client):
        """Until the end."""
        try:
            while not self.is_over.wait(1):
                client.recv(1000)
        except OSError:
            pass  # a broker may end whoever does not keep up
