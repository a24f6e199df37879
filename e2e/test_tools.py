"""Tests of the tools themselves: a check that cannot fail proves nothing."""

import textwrap

import packets
import pytest
import strace_log
import tidy
from packets import Kind
from sync_order import Trace

PORT = 5000
SOCKET = f"9<TCP:[127.0.0.1:1883->127.0.0.1:{PORT}]>"


def quoted(data: bytes) -> str:
    """Bytes as strace -xx writes them."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


LOG = f"7<{quoted(b'/data/log')[1:-1]}>"
OTHER = f"8<{quoted(b'/data/other')[1:-1]}>"
APPEND = f"1 pwrite64({LOG}, {quoted(b'..sync-000001..')}, 15, 0) = 15"
SYNC = f"1 fdatasync({LOG}) = 0"
PUBACK = f"2 sendto({SOCKET}, {quoted(packets.puback(1))}, 4, MSG_NOSIGNAL, NULL, 0) = 4"


@pytest.mark.parametrize(
    ("lines", "in_order"),
    [
        ([APPEND, SYNC, PUBACK], True),
        ([APPEND, PUBACK, SYNC], False),
        ([SYNC, APPEND, PUBACK], False),
        ([APPEND, f"1 fdatasync({LOG}) = -1 EIO (Input/output error)", PUBACK], False),
        ([APPEND, f"1 fdatasync({OTHER}) = 0", PUBACK], False),
        (
            [APPEND, f"1 fdatasync({LOG} <unfinished ...>", PUBACK, "1 <... fdatasync resumed>) = 0"],
            False,
        ),
        (
            [APPEND, f"1 fdatasync({LOG} <unfinished ...>", "1 <... fdatasync resumed>)    = 0", PUBACK],
            True,
        ),
        (
            [
                APPEND.replace(", 15, 0) = 15", ", 15, 0 <unfinished ...>"),
                f"3 fdatasync({LOG}) = 0",
                "1 <... pwrite64 resumed>) = 15",
                PUBACK,
            ],
            False,
        ),
        (
            [
                APPEND,
                f"3 fdatasync({LOG} <unfinished ...>",
                PUBACK.replace(") = 4", " <unfinished ...>"),
                "3 <... fdatasync resumed>) = 0",
                "2 <... sendto resumed>) = 4",
            ],
            False,
        ),
        ([APPEND, SYNC], False),
        ([SYNC, PUBACK], False),
    ],
)
def test_pubacks_are_judged(tmp_path, lines, in_order):
    trace = Trace(strace_log.parse(lines), "/data")
    assert bool(list(trace.unsynced_pubacks(PORT, {1: b"sync-000001"}))) != in_order


@pytest.mark.parametrize(
    ("order", "in_order"),
    [("read write sync reply", True), ("write sync read reply", False), ("write read sync reply", False)],
)
def test_replies_are_judged(order, in_order):
    request, answer = packets.subscribe(1, [("a", 1)]), packets.frame(Kind.SUBACK, 0, b"\0\1\1")
    calls = {
        "read": [
            f"2 recvfrom({SOCKET},  <unfinished ...>",
            f"2 <... recvfrom resumed>{quoted(request)}, 99, 0, NULL, NULL) = {len(request)}",
        ],
        "write": [APPEND],
        "sync": [SYNC],
        "reply": [
            f"2 writev({SOCKET}, [{{iov_base={quoted(answer[:1])}, iov_len=1}}, "
            f"{{iov_base={quoted(answer[1:])}, iov_len=4}}], 2) = 5"
        ],
    }
    lines = [line for name in order.split() for line in calls[name]]
    trace = Trace(strace_log.parse(lines), "/data")
    assert bool(list(trace.unsynced_replies(PORT))) != in_order


def test_targets_are_read():
    lines = [
        f"1 write({LOG}, {quoted(b'a>b')}, 3) = 3",
        f"1 write(7<{quoted(b'/dev/null')[1:-1]}<char 1:3>>, {quoted(b'ab')}, 2) = 2",
        f"1 write(7<{quoted(b'/data/x')[1:-1]}> (deleted), {quoted(b'ab')}, 2) = 1",
        f"2 write({SOCKET}, {quoted(b'ab')}, 2) = -1 EAGAIN (Resource temporarily unavailable)",
        "1 +++ exited with 0 +++",
    ]
    assert [(call.target, call.data) for call in strace_log.parse(lines)] == [
        ("/data/log", b"a>b"),
        ("/dev/null<char 1:3>", b"ab"),
        ("/data/x", b"a"),
        (SOCKET[2:-1], b""),
    ]


def test_a_packet_in_two_sends_counts_from_the_first():
    first = PUBACK.replace(") = 4", ") = 1")
    rest = f"2 sendto({SOCKET}, {quoted(packets.puback(1)[1:])}, 3, 0, NULL, 0) = 3"
    trace = Trace(strace_log.parse([APPEND, first, SYNC, rest]), "/data")
    assert list(trace.unsynced_pubacks(PORT, {1: b"sync-000001"}))


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.rs", "//! Fine.\n", None),
        ("a.rs", "fn main() {}\n", "no header doc"),
        ("a.rs", "//! Long.\n" + "\n" * tidy.RUST_LINES_MAX, "lines, more than"),
        ("a.rs", "//! x\nfn f() { todo" + "!() }\n", "unfinished code"),
        ("a.rs", "//! x\n#[" + "ignore]\n", "an ignored test"),
        ("a.toml", "x = 1", "no newline"),
        ("a.toml", 'x = "/' + 'root/y"\n', "a path of one machine"),
        ("a.md", "[here](a.md) [there](https://x.example/y) [up](#top)\n", None),
        ("a.md", "[nowhere](b.md)\n", "link to b.md"),
        ("a.md", "```\n[example](b.md)\n```\n", None),
        ("ARCHITECTURE.md", "See `crates/core/src/lib.rs`.\n", "mentions crates/core"),
    ],
)
def test_tidy(tmp_path, name, text, complaint):
    path = tmp_path / name
    path.write_text(textwrap.dedent(text))
    found = list(tidy.check_file(path, tmp_path))
    assert complaint in found[0] if complaint else not found
