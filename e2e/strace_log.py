"""Reads the log of `strace -f -xx -yy` back into system calls with a beginning and an end.

Beginning and end are line numbers. strace holds a thread at both ends of a call until it has written
them down, so a call that waited for another's end cannot have an earlier line.
"""

import re
from dataclasses import dataclass
from pathlib import Path

READS = ("read", "readv", "recvfrom", "recvmsg")
WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg")
SYNCS = ("fdatasync", "fsync")

LINE = re.compile(r"(\d+) +(.*)")
UNFINISHED = re.compile(r"(\w+)\((.*) <unfinished \.\.\.>$", re.DOTALL)
RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)", re.DOTALL)
COMPLETE = re.compile(r"(\w+)\((.*)", re.DOTALL)
RESULT = re.compile(r"\) += (-?\d+)[^=\"]*$")
DESCRIPTOR = re.compile(r"\d+<(.*?)>(?=[,) ]|$)")
ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")
DATA = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


@dataclass(frozen=True)
class Call:
    """A finished system call on one descriptor."""

    name: str
    begin: int
    end: int
    target: str
    """The path of the file, or strace's words for the socket."""
    data: bytes
    """The bytes that the call moved, as far as it said it moved them."""
    result: int


def command(log: Path) -> list[str]:
    """The strace command line to put in front of a program."""
    names = ",".join(READS + WRITES + SYNCS)
    return ["strace", "-f", "-qq", "-xx", "-yy", "-s", "4194304", f"-etrace={names}", f"-o{log}"]


def parse(lines: list[str]) -> list[Call]:
    """All calls that ended, in the order of their ends."""
    calls: list[Call] = []
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines, 1):
        found = LINE.match(line)
        if not found:
            continue
        thread, text = found.groups()
        if unfinished := UNFINISHED.match(text):
            begun[thread] = number, unfinished[2]
        elif resumed := RESUMED.match(text):
            begin, arguments = begun.pop(thread)
            calls += _call(resumed[1], begin, number, arguments + resumed[2])
        elif complete := COMPLETE.match(text):
            calls += _call(complete[1], number, number, complete[2])
    return calls


def _call(name: str, begin: int, end: int, text: str) -> list[Call]:
    result, descriptor = RESULT.search(text), DESCRIPTOR.match(text)
    if not result or not descriptor:
        return []
    pieces = DATA.findall(text, descriptor.end())
    if any(cut for _, cut in pieces):
        raise ValueError(f"line {end}: strace has cut off the data of {name}")
    moved = max(int(result[1]), 0)
    data = b"".join(_plain(piece) for piece, _ in pieces)[:moved]
    return [Call(name, begin, end, _plain(descriptor[1]).decode(), data, int(result[1]))]


def _plain(text: str) -> bytes:
    return ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), text.encode())
