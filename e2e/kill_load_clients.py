"""Clients that outlive the broker, and themselves: their sessions are in a file each.

Written from the specification. After each lost connection they come back to their session and send
again what the file says is not acknowledged [MQTT-4.4.0-1]. A client is lost now and then, between any
two packets; another one reads its file and goes on.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import packets
from client_store import ClientStore, Sending
from kill_load_plan import MORTALS, STREAMS
from packets import Kind, Property, Will
from swarm import Member

EXPIRY_SECS = 1_000_000
PUBLISHED_AT_ONCE = 4
"""Messages in a row of one publisher, so that publishers alternate."""

IDENTIFIED = (Kind.PUBLISH, Kind.PUBACK, Kind.PUBREC, Kind.PUBREL, Kind.PUBCOMP)


class ClientLost(Exception):
    """The client is gone, in the midst of what it was doing."""


class Observer:
    """What the harness notes about everybody: complaints and figures."""

    def __init__(self):
        self.life = 0
        self.is_killed = False
        self.complaints: list[tuple[str, str]] = []
        self.figures: Counter[str] = Counter()

    def complain(self, check: str, text: str) -> None:
        """The broker did what it must not do."""
        self.complaints.append((check, f"life {self.life}: {text}"))


class Connection(Member):
    """A client's connection; it goes on without its client when that is lost or replaced."""

    def __init__(self, address: tuple[str, int], client: "Client"):
        super().__init__(address)
        self.client: Client | None = client

    def received(self, first: int, body: bytes) -> None:
        if self.client is not None:
            self.client.take(first, body)

    def read(self) -> None:
        try:
            super().read()
            if self.client is not None:
                self.client.flush()
        except ClientLost:
            # Nobody reads on: what came behind this packet is lost as well.
            self.outgoing.clear()
            self.client.is_lost = self.closed = True
            return
        if self.closed and self.client is not None:
            self.client.connection = None
            self.client.disconnected()

    def write(self) -> None:
        if self.client is not None:
            self.client.flush()
        super().write()


class Client:
    """A client that keeps its session in a file."""

    clean = False

    def __init__(self, name: str, level: int, directory: Path, observer: Observer):
        self.name, self.level, self.observer = name, level, observer
        self.store = ClientStore(directory / f"{name}.session")
        self.kept = self.store.read()
        self.connection: Connection | None = None
        self.is_up = False
        self.fuse = 0
        """After so many packets the client is lost; 0 is never."""
        self.is_lost = False
        self.is_leaving = False
        self.is_answered = False
        self.tamper: Callable[[Client, int, bytes], list[tuple[int, bytes]]] | None = None

    def open(self, address: tuple[str, int]) -> Connection:
        """Connects, and says CONNECT without waiting for anything."""
        self.connection = Connection(address, self)
        self.is_up = self.is_leaving = False
        self.kept.connections += 1
        self.store.note(f"connect {self.kept.connections}")
        self.say(
            packets.connect(
                f"load-{self.name}",
                self.level,
                clean=self.clean,
                props=self.properties() if self.level == 5 else None,
                will=self.will(),
            )
        )
        return self.connection

    def properties(self) -> dict:
        """Properties of CONNECT."""
        return {} if self.clean else {Property.SESSION_EXPIRY: EXPIRY_SECS}

    def will(self) -> Will | None:
        """The will of the next CONNECT."""
        return None

    def say(self, data: bytes) -> None:
        """Puts a packet behind those that wait to be sent."""
        if self.connection is not None:
            self.connection.outgoing += data

    def ask(self) -> None:
        """Says PINGREQ."""
        self.is_answered = False
        self.say(packets.pingreq())

    def flush(self) -> None:
        """Brings the file up to date."""
        self.store.flush()

    def abandon(self, keeps: bool) -> Connection | None:
        """The client is lost, with what it has not written yet unless it keeps that."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.client = None
        if keeps:
            self.flush()
        self.store.close()
        return connection

    def disconnected(self) -> None:
        """The broker has ended the connection."""
        self.is_up = False
        if not self.is_leaving and not self.observer.is_killed:
            self.complain("disconnected", "the broker closed the connection")

    def leave(self) -> None:
        """Says DISCONNECT; the broker closes the connection."""
        self.is_leaving = True
        self.say(packets.disconnect())

    def take(self, first: int, body: bytes) -> None:
        """Takes a packet, or what a planted fault makes of it."""
        if self.fuse:
            self.fuse -= 1
            if self.fuse == 0:
                raise ClientLost
        for one in self.tamper(self, first, body) if self.tamper else ((first, body),):
            self.received(*one)

    def received(self, first: int, body: bytes) -> None:
        """Handles a packet."""
        kind = first >> 4
        if kind == Kind.CONNACK:
            self.welcomed(body[0] == 1, body[1])
        elif kind == Kind.PUBLISH:
            self.message(first, body)
        elif kind in IDENTIFIED:
            code = body[2] if len(body) > 2 else 0
            self.acknowledged(kind, int.from_bytes(body[:2], "big"), code)
        elif kind == Kind.SUBACK:
            self.subscribed(packets.decode(first, body, self.level).codes)
        elif kind == Kind.DISCONNECT:
            self.complain("disconnected", f"DISCONNECT {body.hex()}")
        elif kind == Kind.PINGRESP:
            self.is_answered = True
        else:
            self.complain("stranger", f"packet {first:02x} {body.hex()}")

    def welcomed(self, present: bool, code: int) -> None:
        """CONNACK."""
        if code:
            self.complain("refused", f"CONNACK with code {code}")
        elif self.kept.established and not present and not self.clean:
            self.complain("session", f"no session at connection {self.kept.connections}")
        elif present and self.clean:
            self.complain("session", "a session after Clean Session")
        if not self.kept.established:
            self.kept.established = True
            self.store.note("established")
        self.is_up = True
        self.resume()

    def resume(self) -> None:
        """Goes on with the session."""

    def message(self, first: int, body: bytes) -> None:
        """PUBLISH."""
        self.complain("stranger", f"PUBLISH {first:02x} {body[:60]!r}")

    def acknowledged(self, kind: int, packet_id: int, code: int) -> None:
        """PUBACK, PUBREC, PUBREL or PUBCOMP."""
        self.complain("stranger", f"{Kind(kind).name} {packet_id}")

    def subscribed(self, codes: tuple[int, ...]) -> None:
        """SUBACK."""
        self.complain("stranger", "SUBACK")

    def complain(self, check: str, text: str) -> None:
        """The broker did to this client what it must not do."""
        self.observer.complain(check, f"{self.name}: {text}")


class Publisher(Client):
    """Publishes its stream, some messages at a time, and every message until it is acknowledged."""

    def __init__(self, name: str, directory: Path, observer: Observer):
        self.stream = STREAMS[name]
        super().__init__(name, self.stream.level, directory, observer)
        self.window = 20
        self.taken: list[int] = []
        """Numbers that the broker has taken over, not yet in the file."""
        self.completed: list[int] = []

    def resume(self) -> None:
        for packet_id, sending in self.kept.sending.items():
            self.observer.figures["sent again"] += 1
            if sending.released:
                self.say(packets.pubrel(packet_id))
            else:
                self._publish(packet_id, sending.number, dup=True)

    def fill(self) -> int:
        """Publishes the next messages and returns how many."""
        published = 0
        while self.is_up and len(self.kept.sending) < self.window and published < PUBLISHED_AT_ONCE:
            number = self.kept.last_number + 1
            packet_id = self._free_packet_id(number)
            self.kept.last_number = number
            self.kept.sending[packet_id] = Sending(number)
            self.store.note(f"send {packet_id} {number}")
            self._publish(packet_id, number)
            published += 1
        return published

    def acknowledged(self, kind: int, packet_id: int, code: int) -> None:
        sending = self.kept.sending.get(packet_id)
        qos = self.stream.qos_of(sending.number) if sending else 0
        if code >= 0x80 and (kind, code) != (Kind.PUBCOMP, 0x92):
            self.complain("refused", f"{Kind(kind).name} {packet_id} with code {code:#x}")
        elif kind == Kind.PUBREC and qos != 1:
            # The exchange belongs to the session: the answer to a PUBLISH of the connection before
            # may come on this one, and then one more for its repetition.
            if sending is None or sending.released:
                self.observer.figures["PUBREC again"] += 1
            else:
                sending.released = True
                self.store.note(f"release {packet_id}")
                self.taken.append(sending.number)
            self.say(packets.pubrel(packet_id))
        elif kind == Kind.PUBCOMP:
            # One for each PUBREL, so the second may come when the packet id is in use again.
            if sending is None or not sending.released:
                self.observer.figures["PUBCOMP again"] += 1
            else:
                self._complete(packet_id, sending)
        elif kind == Kind.PUBACK and qos == 1:
            self.taken.append(sending.number)
            self._complete(packet_id, sending)
        else:
            self.complain("packet id", f"{Kind(kind).name} {packet_id} for {sending}")

    def flush(self) -> None:
        super().flush()
        for number in self.completed:
            self.observer.figures[f"QoS {self.stream.qos_of(number)} acknowledged"] += 1
        self.completed.clear()
        if self.taken:
            taken, self.taken = self.taken, []
            self.on_taken(taken)

    def on_taken(self, numbers: list[int]) -> None:
        """The broker answers for these from now on; the harness wants to know."""

    def _complete(self, packet_id: int, sending: Sending) -> None:
        del self.kept.sending[packet_id]
        self.store.note(f"done {packet_id}")
        self.completed.append(sending.number)

    def _publish(self, packet_id: int, number: int, *, dup: bool = False) -> None:
        stream = self.stream
        self.say(
            packets.publish(
                stream.topic_of(number),
                stream.payload_of(number),
                self.level,
                qos=stream.qos_of(number),
                packet_id=packet_id,
                retain=stream.retain,
                dup=dup,
            )
        )

    def _free_packet_id(self, number: int) -> int:
        if not self.stream.lowest_ids:
            return number % 65535 + 1
        return next(one for one in range(1, 65536) if one not in self.kept.sending)


class MortalClient(Client):
    """A client with a will, which goes without a word more often than with one."""

    def __init__(self, name: str, directory: Path, observer: Observer, ledger):
        self.mortal = MORTALS[name]
        self.clean = self.mortal.clean
        self.ledger = ledger
        super().__init__(name, self.mortal.level, directory, observer)

    @property
    def number(self) -> int:
        """Of its present connection."""
        return self.kept.connections

    def will(self) -> Will:
        delay = {Property.WILL_DELAY: self.mortal.delay_secs} if self.mortal.delay_secs else None
        payload = f"{self.name} {self.number} will".encode()
        return Will(self.mortal.topic, payload, self.mortal.qos, props=delay)

    def open(self, address: tuple[str, int]) -> Connection:
        connection = super().open(address)
        self.ledger.connecting(self.name, self.number)
        return connection

    def resume(self) -> None:
        if self.clean:
            # Its CONNACK does not wait for the log. A retained message does, and the will is there
            # before; one that nobody is subscribed to would be acknowledged without it.
            up = packets.publish("up", b"x", self.level, qos=1, packet_id=1, retain=True)
            self.say(up)
        else:
            self.ledger.up(self.name, self.number)

    def acknowledged(self, kind: int, packet_id: int, code: int) -> None:
        if (kind, packet_id) != (Kind.PUBACK, 1):
            super().acknowledged(kind, packet_id, code)
        self.ledger.up(self.name, self.number)

    def disconnected(self) -> None:
        super().disconnected()
        how = ("goodbye" if not self.observer.is_killed else "unsure") if self.is_leaving else "cut"
        self.ledger.ended(self.name, self.number, how)

    def abandon(self, keeps: bool) -> Connection | None:
        if self.connection is not None:
            self.ledger.ended(self.name, self.number, "unsure" if self.is_leaving else "cut")
        return super().abandon(keeps)
