"""Sends many malformed packets, a connection each, many at a time, and judges how each one ended.

One thread with a selector. What is asked of a broker's WebSocket is no more than what MQTT needs: frames
of the broker are read by their length, those of the client are masked with zeros.
"""

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import packets
import websocket
from packets import Kind

from attacks import shapes
from attacks.malformed import VERSIONS, Case

AT_ONCE = 100
"""Connections that are open at a time."""
SILENCE_SECS = 10.0
"""How long nothing at all may happen before what is open counts as not ended."""
UPGRADE = websocket.request()
PIECES_EACH = 20
"""Every so many cases one is sent byte by byte as well, over WebSocket a frame for each."""


@dataclass(frozen=True)
class Ending:
    """What came behind the CONNACK of success, or in its place, until the connection ended."""

    has_ended: bool
    was_accepted: bool
    data: bytes

    def __str__(self) -> str:
        """For people who look for what went wrong."""
        state = "ended" if self.has_ended else "goes on"
        before = "" if self.was_accepted else ", was not let in"
        return f"{state}{before}, after {self.data.hex(' ') or 'no word'}"


class Attempt:
    """One connection: a CONNECT unless the case comes first, then the case, then the end."""

    def __init__(self, case: Case, address: tuple[str, int], frames: bool, pieces: bool, number: int):
        self.case, self.frames = case, frames
        self.raw, self.stream = bytearray(), bytearray()
        self.is_upgraded, self.is_accepted, self.has_ended = not frames, False, False
        parts = [case.data[at : at + 1] for at in range(len(case.data))] if pieces else [case.data]
        self.parts = [self._framed(part) for part in parts]
        self.socket = socket.create_connection(address, SILENCE_SECS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        hello = UPGRADE if frames else b""
        if case.is_first:
            self._send(hello)
            self._send(*self.parts)
        else:
            introduction = shapes.connect(case.level).encode({"client id": packets.string(f"m{number}")})
            self._send(hello + self._framed(introduction))

    def read(self) -> None:
        """Takes what has arrived."""
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        self.has_ended = not data
        self.raw += data
        self._unwrap()
        if not self.is_accepted and not self.case.is_first:
            self._look_for_connack()

    def ending(self) -> Ending:
        """How it went."""
        was_accepted = self.is_accepted or self.case.is_first
        return Ending(self.has_ended, was_accepted, bytes(self.stream))

    def _unwrap(self) -> None:
        if not self.frames:
            self.stream += self.raw
            self.raw.clear()
            return
        if not self.is_upgraded:
            head, found, rest = bytes(self.raw).partition(b"\r\n\r\n")
            if not found:
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            self.is_upgraded, self.raw = True, bytearray(rest)
        while (frame := websocket.split(self.raw)) is not None:
            if frame.opcode in (websocket.BINARY, websocket.CONTINUATION):
                self.stream += frame.payload

    def _look_for_connack(self) -> None:
        # Behind its length, which is one byte, stand the flags and the code.
        if len(self.stream) < 4 or len(self.stream) < 2 + self.stream[1]:
            return
        if self.stream[0] == Kind.CONNACK << 4 and self.stream[3] == 0:
            del self.stream[: 2 + self.stream[1]]
            self.is_accepted = True
            self._send(*self.parts)

    def _framed(self, data: bytes) -> bytes:
        if not self.frames:
            return data
        length = len(data)
        if length < 126:
            sizes = bytes([0x80 | length])
        else:
            sizes = b"\xfe" + length.to_bytes(2, "big")
        return bytes([0x80 | websocket.BINARY]) + sizes + bytes(4) + data

    def _send(self, *parts: bytes) -> None:
        # They are far smaller than what a socket takes at once; whoever has closed will be read.
        for part in parts:
            with contextlib.suppress(ConnectionError):
                assert self.socket.send(part) == len(part)


def fire(cases: list[Case], address: tuple[str, int], *, frames: bool) -> Iterator[tuple[Case, Ending]]:
    """Sends each case whole, and some byte by byte as well; yields how each of them ended."""
    planned = [(case, False) for case in cases]
    planned += [(case, True) for case in cases[::PIECES_EACH] if len(case.data) < 400]
    waiting = iter(enumerate(planned))
    with selectors.DefaultSelector() as selector:
        is_over, last = False, time.monotonic()
        while not is_over or selector.get_map():
            while not is_over and len(selector.get_map()) < AT_ONCE:
                number, (case, pieces) = next(waiting, (0, (None, False)))
                is_over = case is None
                if case is not None:
                    attempt = Attempt(case, address, frames, pieces, number)
                    selector.register(attempt.socket, selectors.EVENT_READ, attempt)
            ready = selector.select(1.0)
            last = time.monotonic() if ready else last
            given_up = time.monotonic() - last > SILENCE_SECS
            for key in list(selector.get_map().values()) if given_up else [key for key, _ in ready]:
                attempt = key.data
                if not given_up:
                    attempt.read()
                if attempt.has_ended or given_up:
                    selector.unregister(attempt.socket)
                    attempt.socket.close()
                    yield attempt.case, attempt.ending()


def complaints(found: Iterator[tuple[Case, Ending]], judge: Callable[[Case, Ending], str]) -> list[str]:
    """What is wrong, a line for each case."""
    judged = ((case, ending, judge(case, ending)) for case, ending in found)
    return [f"{case.name}: {wrong}; it {ending}: {case.data.hex(' ')[:300]}" for case, ending, wrong in judged if wrong]


def judge(case: Case, ending: Ending) -> str:
    """What is wrong with an ending; nothing if all is well."""
    if not ending.was_accepted:
        return "the CONNECT before it was refused"
    if not ending.has_ended:
        return "the connection did not end"
    rest = bytearray(ending.data)
    said = packets.split(rest)
    if rest:
        return "more than one packet, or half a one"
    if case.is_first:
        return _judge_first(case, said)
    if case.level < 5:
        return "a word that this version does not have" if said else ""
    if said is None:
        return "" if case.may_be_silent else "no DISCONNECT"
    first, body = said
    if first != Kind.DISCONNECT << 4 or not body:
        return "no DISCONNECT with a reason"
    return "" if body[0] in case.codes else _unexpected(case, body[0])


def _judge_first(case: Case, said: tuple[int, bytes] | None) -> str:
    if said is None:
        return "" if case.may_be_silent else "no CONNACK"
    first, body = said
    if first != Kind.CONNACK << 4 or len(body) < 2:
        return f"a word of {VERSIONS[case.level]} to somebody who is not let in"
    return "" if body[1] in case.codes else _unexpected(case, body[1])


def _unexpected(case: Case, code: int) -> str:
    allowed = ", ".join(f"0x{one:02x}" for one in sorted(case.codes)) or "none at all"
    return f"the reason 0x{code:02x}, not {allowed}"
