"""Many MQTT connections in one thread, for tests that need thousands of them fast.

A member is told of each packet and writes into its own buffer; the swarm moves the bytes.
"""

import selectors
import socket
import time
from collections.abc import Callable, Iterable

import packets


class Member:
    """One connection of a swarm; subclasses say what to do with what arrives."""

    def __init__(self, address: tuple[str, int]):
        self.socket = socket.create_connection(address, 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.closed = False

    def received(self, first: int, body: bytes) -> None:
        """Handles one packet: the first byte of its header, and its body."""
        raise NotImplementedError

    def read(self) -> None:
        """Takes what has arrived, all whole packets of it."""
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        self.closed = not data
        self.incoming += data
        while (packet := packets.split(self.incoming)) is not None:
            self.received(*packet)

    def write(self) -> None:
        """Sends as much as the kernel takes."""
        try:
            sent = self.socket.send(self.outgoing)
        except BlockingIOError:
            return
        except ConnectionError:
            sent = len(self.outgoing)
        del self.outgoing[:sent]


class Swarm:
    """Moves the bytes of its members until a condition holds."""

    def __init__(self, members: Iterable[Member] = ()):
        self.selector = selectors.DefaultSelector()
        self.members: list[Member] = []
        for member in members:
            self.add(member)

    def __enter__(self) -> "Swarm":
        return self

    def __exit__(self, *_) -> None:
        for member in self.members:
            member.socket.close()
        self.selector.close()

    def add(self, member: Member) -> None:
        """Takes a member in."""
        self.members.append(member)
        self.selector.register(member.socket, selectors.EVENT_READ, member)

    def remove(self, member: Member) -> None:
        """Closes a member's socket without a word, unread bytes and all."""
        if not member.closed:
            self.selector.unregister(member.socket)
            member.closed = True
        member.socket.close()
        self.members.remove(member)

    def run_until(self, done: Callable[[], bool], patience_secs: float, quiet_secs: float) -> bool:
        """Runs until done; False after so long in all, or after so long without a byte."""
        deadline = time.monotonic() + patience_secs
        for member in self.members:
            self.flush(member)
        while not done():
            wait = min(quiet_secs, deadline - time.monotonic())
            if wait <= 0 or not self.turn(wait):
                return False
        return True

    def turn(self, wait_secs: float) -> bool:
        """Serves whoever is ready within so long; False if nobody was."""
        ready = self.selector.select(wait_secs)
        for key, events in ready:
            self._serve(key.data, events)
        return bool(ready)

    def flush(self, member: Member) -> None:
        """Sends what a member has to say, and waits for room if the kernel takes no more."""
        if member.closed:
            return
        if member.outgoing:
            member.write()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if member.outgoing else 0)
        if self.selector.get_key(member.socket).events != events:
            self.selector.modify(member.socket, events, member)

    def _serve(self, member: Member, events: int) -> None:
        if events & selectors.EVENT_READ:
            member.read()
        if member.closed:
            self.selector.unregister(member.socket)
        else:
            self.flush(member)
