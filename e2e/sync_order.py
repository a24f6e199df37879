"""Proves with strace that no acknowledgement leaves before what it speaks for is on the disk.

A publisher sends QoS 1 messages to an offline persistent session, one by one and in windows.
In the trace of the broker each PUBACK must come after a finished fdatasync of the file to which its
message had been written before, and each CONNACK, SUBACK and UNSUBACK of a persistent session after
such a sync of something written since the request.
"""

import argparse
import itertools
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import packets
import strace_log
from broker import KINDS, SCRATCH
from mqtt import Client
from packets import Kind
from strace_log import Call

PAYLOAD = re.compile(rb"sync-\d{6}")
REPLIES = {
    Kind.CONNECT: Kind.CONNACK,
    Kind.SUBSCRIBE: Kind.SUBACK,
    Kind.UNSUBSCRIBE: Kind.UNSUBACK,
}


@dataclass(frozen=True)
class Seen:
    """A packet on a connection, with the lines of the call that moved its first byte."""

    kind: Kind
    body: bytes
    begin: int
    end: int


class Trace:
    """What a traced broker wrote, synced and said, in order."""

    def __init__(self, calls: list[Call], data: Path):
        inside = f"{data}/"
        files = [call for call in calls if call.target.startswith(inside) and call.result >= 0]
        self.calls = calls
        self.writes = [call for call in files if call.name in strace_log.WRITES]
        self.syncs = [call for call in files if call.name in strace_log.SYNCS]
        self.written: dict[bytes, list[Call]] = {}
        for write in self.writes:
            for payload in PAYLOAD.findall(write.data):
                self.written.setdefault(payload, []).append(write)

    def packets(self, port: int, names: tuple[str, ...]) -> Iterator[Seen]:
        """The packets that the broker read from or wrote to the client at this port."""
        stream, left_over = bytearray(), None
        for call in self.calls:
            if call.name not in names or not call.target.endswith(f"->127.0.0.1:{port}]"):
                continue
            stream += call.data
            while (packet := packets.split(stream)) is not None:
                first_byte_in = left_over or call
                left_over = None
                yield Seen(Kind(packet[0] >> 4), packet[1], first_byte_in.begin, call.end)
            left_over = (left_over or call) if stream else None

    def synced_between(self, write: Call, line: int) -> bool:
        """Whether a sync of the file that was written began after the write and ended in time."""
        return any(
            sync.target == write.target and write.end < sync.begin and sync.end < line
            for sync in self.syncs
        )

    def unsynced_pubacks(self, port: int, payloads: dict[int, bytes]) -> Iterator[str]:
        """Complaints about each PUBACK that left too early, or not at all."""
        missing = dict(payloads)
        for puback in self.packets(port, strace_log.WRITES):
            if puback.kind != Kind.PUBACK:
                continue
            payload = missing.pop(int.from_bytes(puback.body[:2], "big"))
            writes = self.written.get(payload, [])
            if not any(self.synced_between(write, puback.begin) for write in writes):
                where = ", ".join(str(write.end) for write in writes) or "none"
                yield (
                    f"line {puback.begin}: PUBACK of {payload.decode()} without a finished sync "
                    f"after its write (lines of its writes: {where})"
                )
        for payload in missing.values():
            yield f"no PUBACK of {payload.decode()} in the trace"

    def unsynced_replies(self, port: int) -> Iterator[str]:
        """Complaints about each reply to a request that left before anything was synced."""
        requests = [seen for seen in self.packets(port, strace_log.READS) if seen.kind in REPLIES]
        wanted = REPLIES.values()
        replies = [seen for seen in self.packets(port, strace_log.WRITES) if seen.kind in wanted]
        for request, reply in itertools.zip_longest(requests, replies):
            if request is None or reply is None or reply.kind != REPLIES[request.kind]:
                yield f"requests and replies do not pair up: {request}, {reply}"
                return
            since = (write for write in self.writes if request.end < write.begin)
            if not any(self.synced_between(write, reply.begin) for write in since):
                yield (
                    f"line {reply.begin}: {reply.kind.name} without a write and a finished sync "
                    f"since its {request.kind.name} in line {request.end}"
                )


@dataclass
class Conversation:
    """What was said to the broker, for comparison with its trace."""

    publisher_port: int
    payloads: dict[int, bytes]
    session_ports: list[int]


def converse(address: tuple[str, int], single: int, windows: int, window: int) -> Conversation:
    """Makes durable sessions, changes and ends them, and publishes to the one that stays."""
    with Client(address) as keeper, Client(address) as leaver, Client(address) as ender, Client(
        address
    ) as publisher:
        keeper.connect("keeper", clean=False)
        keeper.subscribe(("sync/#", 1), ("other", 1))
        keeper.unsubscribe("other")
        keeper.disconnect()
        leaver.connect("leaver", clean=False)
        leaver.subscribe(("sync/#", 0))
        leaver.disconnect()
        ender.connect("leaver", clean=True)

        publisher.connect("publisher")
        payloads: dict[int, bytes] = {}
        sizes = [1] * single + [window] * windows
        for size in sizes:
            sent = []
            for _ in range(size):
                payload = b"sync-%06d" % len(payloads)
                sent.append(publisher.send_publish("sync/order", payload))
                payloads[sent[-1]] = payload
            assert {publisher.expect(Kind.PUBACK).packet_id for _ in sent} == set(sent)
        return Conversation(
            publisher_port=publisher.port,
            payloads=payloads,
            session_ports=[keeper.port, leaver.port, ender.port],
        )


def main() -> int:
    """Runs a traced broker, talks to it, judges the trace, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broker", choices=KINDS, default="bellbird")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--single", type=int, default=200, help="messages one by one")
    parser.add_argument("--windows", type=int, default=10, help="windows of 20 messages")
    options = parser.parse_args()

    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH, prefix="sync-") as directory:
        log, data = Path(directory) / "strace.log", Path(directory) / "data"
        broker = KINDS[options.broker](data, options.shards, strace_log.command(log))
        try:
            broker.start()
            said = converse(broker.address, options.single, options.windows, 20)
            broker.stop()
        except BaseException:
            print(broker.log(), file=sys.stderr)
            raise
        finally:
            broker.kill()
        lines = log.read_text().splitlines()
    trace = Trace(strace_log.parse(lines), data)
    complaints = list(trace.unsynced_pubacks(said.publisher_port, said.payloads))
    for port in said.session_ports:
        complaints += trace.unsynced_replies(port)
    for complaint in complaints[:10]:
        print(f"failed: {complaint}")
        if number := re.match(r"line (\d+)", complaint):
            print(f"  {lines[int(number[1]) - 1][:300]}")
    print(
        f"{len(said.payloads)} PUBACKs and {len(said.session_ports)} sessions checked against "
        f"{len(trace.writes)} writes and {len(trace.syncs)} syncs: {len(complaints)} out of order"
    )
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
