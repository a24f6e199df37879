"""Attackers as processes: each does one kind of harm over and over, until it is told to end.

`python -m attacks.attackers KIND --tcp PORT --tls PORT --websocket PORT` prints `ready` once it has begun
in earnest, and `did N` with the number of its deeds at SIGTERM. It lets whatever happens to it happen: who
is cut off comes again.
"""

import argparse
import contextlib
import itertools
import os
import select
import selectors
import signal
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import packets
import websocket
from broker import Broker
from packets import Kind, Will, varint
from process import Process

from attacks import malformed, volley

PATIENCE_SECS = 20.0
LARGEST = 268_435_455
HALF_OPEN = 5000
IP_BIND_ADDRESS_NO_PORT = 24
"""Of Linux: the port is chosen when it is known where to, so there are enough of them."""
E2E = Path(__file__).resolve().parent.parent


@dataclass
class Target:
    """Where the doors of a broker are, and what was done to it."""

    tcp: int
    tls: int
    websocket: int
    half_open: int
    pace: float
    """Deeds in a second; 0 for as many as can be."""
    deeds: int = 0
    next_deed: float = 0.0

    def deed(self) -> None:
        """Counts, says once that it has begun, and waits until the next one is due."""
        if self.deeds == 0:
            print("ready", flush=True)
        self.deeds += 1
        if self.pace:
            now = time.monotonic()
            # What was missed for more than a moment is not made up for, and short waits are put together.
            self.next_deed = max(self.next_deed + 1 / self.pace, now - 0.5)
            if self.next_deed > now + 0.005:
                time.sleep(self.next_deed - now)


def dial(port: int, number: int = 0, *, receive_bytes: int = 0, blocks: bool = True) -> socket.socket:
    """A connection from one of many addresses of this machine, so that ports do not run out."""
    stream = socket.socket()
    stream.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receive_bytes:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    stream.bind((f"127.0.1.{1 + number % 250}", 0))
    stream.settimeout(PATIENCE_SECS)
    stream.connect(("127.0.0.1", port))
    stream.setblocking(blocks)
    return stream


def enter(port: int, name: str, level: int = 4, **options) -> socket.socket:
    """A client that was let in."""
    stream = dial(port, receive_bytes=options.pop("receive_bytes", 0))
    stream.sendall(packets.connect(name, level, **options))
    answer = stream.recv(4096)
    if not answer or answer[0] != Kind.CONNACK << 4:
        raise ConnectionError("not let in")
    return stream


def offer(stream: socket.socket, data: bytes) -> int:
    """Sends as much as is taken now."""
    try:
        return stream.send(data, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return 0


def discard(stream: socket.socket) -> bool:
    """Reads and forgets what is there; whether the connection goes on."""
    with contextlib.suppress(BlockingIOError):
        return bool(stream.recv(1 << 18, socket.MSG_DONTWAIT))
    return True


def again(attack: Callable[[], None]) -> None:
    """Once more and once more; whoever is cut off begins anew."""
    while True:
        with contextlib.suppress(OSError):
            attack()


# --- connections that are not finished ------------------------------------------------------------


def half_open(target: Target) -> None:
    """Keeps so many connections open that have not said who they are, and renews those that end."""
    hello, count = client_hello(), target.half_open
    kinds = itertools.cycle(
        (
            (target.tcp, b""),
            (target.tcp, packets.connect("c")[:9]),
            (target.tls, hello[:80]),
            (target.tls, hello),
            (target.websocket, websocket.request()[:60]),
            (target.websocket, websocket.request()),
        )
    )
    with selectors.DefaultSelector() as selector:
        for number in itertools.count():
            if number >= count:
                target.deed()
            while len(selector.get_map()) >= count:
                for key, _ in selector.select(1.0):
                    with contextlib.suppress(BlockingIOError):
                        if not _goes_on(key.fileobj):
                            selector.unregister(key.fileobj)
                            key.fileobj.close()
            port, data = next(kinds)
            with contextlib.suppress(OSError):
                stream = dial(port, number, blocks=False)
                offer(stream, data)
                selector.register(stream, selectors.EVENT_READ)


def _goes_on(stream: socket.socket) -> bool:
    try:
        return discard(stream)
    except OSError:
        return False


def client_hello() -> bytes:
    """What a client of TLS says first."""
    context, incoming, outgoing = ssl.create_default_context(), ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def lengths(target: Target) -> None:
    """Declares 100 kB before CONNECT and 256 MB behind it, and sends a little of it."""
    stranger = b"\x10" + varint(99_000) + packets.connect("c")[2:12]
    client = packets.connect("") + b"\x30" + varint(1_000_000) + b"\0\4some" + bytes(20_000)
    liar = packets.connect("") + b"\x30" + varint(LARGEST)
    kept: deque[socket.socket] = deque(maxlen=600)
    for number in itertools.count():
        with contextlib.suppress(OSError):
            stream = dial(target.tcp, number)
            stream.sendall((stranger, client, liar)[number % 3])
            if len(kept) == kept.maxlen:
                kept[0].close()
                target.deed()
            kept.append(stream)


# --- packets that are wrong, and packets that are too much ----------------------------------------


def bad_packets(target: Target) -> None:
    """The malformed table, over TCP and WebSocket."""
    cases = malformed.table()
    while True:
        for start in range(0, len(cases), 400):
            for frames, port in ((False, target.tcp), (True, target.websocket)):
                with contextlib.suppress(OSError, AssertionError):
                    for _ in volley.fire(cases[start :: len(cases) // 400], ("127.0.0.1", port), frames=frames):
                        target.deed()


def topics(target: Target) -> None:
    """Topics of slashes, filters full of wildcards, packets full of properties."""
    deep = packets.publish("/" * 65_535, b"deep", 5)
    many = packets.publish("t", b"many", 5, props={0x26: [("k", "v")] * 10_000})
    matched = packets.publish("/".join(["a"] * 20), b"x", 5)
    shapes = [
        "/".join("+" if at % 2 and bits >> at // 2 & 1 else "a" for at in range(20)) for bits in range(1024)
    ]
    wild = packets.subscribe(1, [(shape, 0) for shape in shapes], 5)
    refused = packets.subscribe(2, [("+/" * 60 + "#", 0)] * 1000, 5)

    def attack() -> None:
        with enter(target.tcp, "wild", 5) as subscriber, enter(target.tcp, "deep", 5) as publisher:
            subscriber.sendall(wild)
            for _ in range(200):
                publisher.sendall(deep + matched * 20 + many + refused)
                target.deed()
                if not (discard(publisher) and discard(subscriber)):
                    return

    again(attack)


def unreleased(target: Target) -> None:
    """QoS 2 without PUBREL until there are no identifiers, by client after client."""
    flood = [
        b"".join(packets.publish("open", b"x", qos=2, packet_id=one) for one in range(start, start + 1000))
        for start in range(1, 65_000, 1000)
    ]

    def attack() -> None:
        clients = [enter(target.tcp, f"open{number}") for number in range(8)]
        try:
            for part in flood:
                for one in clients:
                    one.sendall(part)
                    discard(one)
                target.deed()
        finally:
            for one in clients:
                one.close()

    again(attack)


def pings(target: Target) -> None:
    """PINGREQ and pings of WebSocket, as many as are taken; no answer is read."""
    requests = packets.pingreq() * 2000
    frames = b"".join(websocket.encode(websocket.Frame(websocket.PING, b"x" * 100)) for _ in range(200))

    def attack() -> None:
        with (
            enter(target.tcp, "ping", receive_bytes=4096) as plain,
            dial(target.websocket, receive_bytes=4096) as framed,
        ):
            framed.sendall(websocket.request())
            framed.sendall(websocket.encode(websocket.Frame(websocket.BINARY, packets.connect("ping-frames"))))
            pending = {plain: b"", framed: b""}
            while True:
                _, ready, _ = select.select([], list(pending), [], 1.0)
                for one in ready:
                    # What was begun has to be ended, lest it be something else.
                    data = pending[one] or (requests if one is plain else frames)
                    pending[one] = data[offer(one, data) :]
                    target.deed()
                discard(framed)

    again(attack)


# --- sessions, retained messages, consumers -------------------------------------------------------


def takeovers(target: Target) -> None:
    """One identifier in a loop, with a will and subscriptions, clean and kept in turn."""

    def attack() -> None:
        previous = None
        for number in itertools.count():
            will = Will("will/of/wanted", b"x" * 100)
            one = enter(target.tcp, "wanted", clean=number % 2 == 0, will=will)
            one.sendall(packets.subscribe(1, [("wanted/#", 1), ("will/#", 1)]))
            if previous:
                previous.close()
            previous = one
            target.deed()

    again(attack)


def retained(target: Target) -> None:
    """Retained messages of 4 kB on a hundred thousand topics, for ten who ask for all of them and hardly read."""
    topics = itertools.cycle(range(100_000))

    def attack() -> None:
        with contextlib.ExitStack() as stack:
            one = stack.enter_context(enter(target.tcp, "keeper", 5))
            readers = [
                stack.enter_context(enter(target.tcp, f"reader{number}", receive_bytes=4096)) for number in range(10)
            ]
            for reader in readers:
                reader.sendall(packets.subscribe(1, [("kept/#", 0)]))
            while True:
                topics_of_part = itertools.islice(topics, 50)
                one.sendall(
                    b"".join(
                        packets.publish(f"kept/{number % 100}/{number}", b"x" * 4000, 5, retain=True)
                        for number in topics_of_part
                    )
                )
                for reader in readers:
                    reader.recv(1000, socket.MSG_DONTWAIT) if select.select([reader], [], [], 0)[0] else None
                target.deed()

    again(attack)


def consumers(target: Target) -> None:
    """Thirty who subscribe to a flood, at QoS 0 and 1, and read nothing."""

    def attack() -> None:
        with contextlib.ExitStack() as stack:
            one = stack.enter_context(enter(target.tcp, "flood"))
            for number in range(30):
                stalled = stack.enter_context(enter(target.tcp, f"stalled{number}", receive_bytes=4096))
                stalled.sendall(packets.subscribe(1, [("flood/#", number % 2)]))
            payload = b"x" * 4000
            both = packets.publish("flood/t", payload) + packets.publish("flood/t", payload, qos=1, packet_id=1)
            while True:
                one.sendall(both * 10)
                discard(one)
                target.deed()

    again(attack)


def busy(target: Target) -> None:
    """Nothing but work for the processors, to compare with."""
    while True:
        target.deed()


KINDS: dict[str, tuple[Callable[[Target], None], float]] = {
    "half-open": (half_open, 600),
    "lengths": (lengths, 250),
    "bad-packets": (bad_packets, 500),
    "topics": (topics, 20),
    "unreleased": (unreleased, 6),
    "pings": (pings, 50),
    "takeovers": (takeovers, 500),
    "retained": (retained, 50),
    "consumers": (consumers, 100),
}
"""Each with its pace; half-open connections end after ten seconds by default, so that five thousand of them
are renewed five hundred times in each. A deed is a connection for those who connect; for others it is 8,000
messages of QoS 2 (`unreleased`), 50 retained messages of 4 kB (`retained`), 20 messages of 4 kB for thirty
(`consumers`), up to 2,000 pings (`pings`), or a topic of slashes, 20 for a thousand filters, 10,000
properties and a thousand filters (`topics`)."""
CONTROL = {"busy": (busy, 0)}


# --- starting and ending them ---------------------------------------------------------------------


class Attackers:
    """Some of them against one broker; they end with the block."""

    def __init__(
        self,
        broker: Broker,
        kinds: list[str],
        *,
        nice: int = 0,
        half_open: int = HALF_OPEN,
        is_paced: bool = True,
    ):
        self.running: dict[str, Process] = {}
        self.deeds: dict[str, int] = {}
        self.broker, self.kinds, self.patience_secs = broker, kinds, 60.0
        self.options = [f"--nice={nice}", f"--half-open={half_open}", *([] if is_paced else ["--unpaced"])]

    def __enter__(self) -> "Attackers":
        ports = [f"--tcp={self.broker.port}", f"--tls={self.broker.tls_port}"]
        ports.append(f"--websocket={self.broker.websocket_port}")
        for kind in self.kinds:
            command = [sys.executable, "-m", "attacks.attackers", kind, *self.options, *ports]
            self.running[kind] = Process(command, env={**os.environ, "PYTHONPATH": str(E2E)})
        try:
            for process in self.running.values():
                process.expect("^ready$", self.patience_secs)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for process in self.running.values():
            if process.child.poll() is None:
                process.child.send_signal(signal.SIGTERM)
        for kind, process in self.running.items():
            with contextlib.suppress(AssertionError):
                self.deeds[kind] = int(process.expect(r"^did (\d+)$")[1])
            process.kill()


def main() -> None:
    """One attacker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS | CONTROL)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--half-open", type=int, default=HALF_OPEN, help="how many are not finished")
    parser.add_argument("--unpaced", action="store_true", help="as fast as can be")
    for door in ("tcp", "tls", "websocket"):
        parser.add_argument(f"--{door}", type=int, required=True)
    options = parser.parse_args()
    os.nice(options.nice)
    attack, pace = (KINDS | CONTROL)[options.kind]
    pace = 0 if options.unpaced else pace
    target = Target(options.tcp, options.tls, options.websocket, options.half_open, pace)

    def end(*_) -> None:
        # From wherever it is; thousands of sockets are closed faster by the system.
        os.write(sys.stdout.fileno(), b"did %d\n" % target.deeds)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    attack(target)


if __name__ == "__main__":
    main()
