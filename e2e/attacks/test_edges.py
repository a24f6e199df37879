"""Settings at the ends of their ranges, and files with nothing in them (class 18).

CVE-2018-12550 (Mosquitto: an empty ACL file allowed everything) and CVE-2026-42209 (FlashMQ: a limit that
was set to its end could be passed). Which settings there are is read from `bellbird check --reference`.
"""

import re
import subprocess
from pathlib import Path

import packets
import pytest
from packets import Kind
from process import bellbird_binary
from test_log import USERS

pytestmark = pytest.mark.bellbird

NUMBER = re.compile(r"^\| `(\w+)` \| (.*?) \| (\d+) to (\d+) \|")


def numeric_settings() -> list[tuple[str, str, int, int]]:
    """Table, key, least and most of each setting that is a number, but for those of lists of tables."""
    line = [bellbird_binary(), "check", "--reference"]
    reference = subprocess.run(line, capture_output=True, text=True, timeout=20, check=True).stdout
    table, found = "", []
    for line in reference.splitlines():
        if heading := re.match(r"^### (?:`(\[\[?\w+\]\]?)`|Top level)", line):
            table = heading[1] or ""
        elif (row := NUMBER.match(line)) and not table.startswith("[["):
            found.append((table, row[1], int(row[3]), int(row[4])))
    return found


SETTINGS = numeric_settings()


def text_of(values: list[tuple[str, str, int]]) -> str:
    """A configuration with these values."""
    tables: dict[str, list[str]] = {"": []}
    for table, key, value in values:
        tables.setdefault(table, []).append(f"{key} = {value}")
    return "\n".join(f"{table}\n" + "\n".join(lines) + "\n" for table, lines in tables.items())


def check(tmp_path: Path, text: str) -> tuple[int, str]:
    """Status and output of `bellbird check`."""
    file = tmp_path / "bellbird.toml"
    file.write_text(text)
    line = [bellbird_binary(), "check", f"--config={file}"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stdout + done.stderr


def test_there_are_settings():
    """The reference has been understood."""
    assert len(SETTINGS) > 25
    assert {"", "[store]", "[limits]", "[sys]"} <= {table for table, _, _, _ in SETTINGS}


@pytest.mark.parametrize(("table", "key", "least", "most"), SETTINGS, ids=[f"{row[0]}{row[1]}" for row in SETTINGS])
def test_each_end_and_what_is_beyond(tmp_path, table, key, least, most):
    """The ends are accepted; one less, one more and what no number holds are refused, each by its name."""
    for value in (least, most):
        status, output = check(tmp_path, text_of([(table, key, value)]))
        assert status == 0, output
    for value in (least - 1, -1, most + 1, 2**63 - 1, 2**63, 2**64, 2**70):
        if not least <= value <= most:
            status, output = check(tmp_path, text_of([(table, key, value)]))
            assert status == 1, f"{value}: {output}"
            assert key in output, output
    for value in ("1.5", '"1"', "true", "[]", "nan"):
        status, output = check(tmp_path, f"{table}\n{key} = {value}\n")
        assert status == 1, f"{value}: {output}"
        assert key in output, output


HUGE = {"shards", "memory_bytes_max", "free_bytes_min"}
"""Ends that need a machine of their own: left at what they are by default."""


@pytest.mark.parametrize("end", ["least", "most"])
def test_everything_at_once_at_its_end(launch, dial, end):
    """The broker starts, lets in whom it may, and ends as it should."""
    rows = [(table, key, least if end == "least" else most) for table, key, least, most in SETTINGS if key not in HUGE]
    broker = launch(text_of(rows))
    one = dial(broker, 5)
    one.send(packets.connect("c", 5, props={0x11: 60}))
    answer = one.receive() if end == "most" else one.expect_closed()
    if end == "most":
        assert (answer.kind, answer.code) == (Kind.CONNACK, 0)
        one.subscribe(("t", 1))
        one.send_publish("t", b"x")
        assert {one.receive().kind, one.receive().kind} == {Kind.PUBLISH, Kind.PUBACK}
    else:
        # No packet may have more than 16 bytes: the CONNECT is too large.
        assert answer is None or answer.code == 0x95
    broker.stop()
    broker.start()


def test_an_empty_file_is_the_default(launch, client):
    """No line at all, nothing but a comment, nothing but tables."""
    for text in ("", "\n\n", "# nothing\n", "[limits]\n[log]\n[store]\n[access]\n[sys]\n"):
        client(launch(text)).ping()


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n"], ids=["empty", "a line", "a comment"])
def test_an_empty_acl_denies(launch, client, tmp_path, text, level):
    """Who gets in may do nothing, since nothing is allowed."""
    (tmp_path / "users").write_text(USERS)
    (tmp_path / "acl").write_text(text)
    broker = launch("", f"--users={tmp_path / 'users'}", f"--acl={tmp_path / 'acl'}")
    bob = client(broker, "c", level, user="bob", password="secret")
    refused = 0x87 if level == 5 else 0x80
    assert set(bob.subscribe(("t", 0), ("#", 0), ("$share/g/t", 0)).codes) == {refused}
    bob.send_publish("t", b"x")
    if level == 5:
        assert bob.expect(Kind.PUBACK).code == 0x87
    else:
        assert bob.expect_closed() is None


@pytest.mark.parametrize("text", ["", "# nobody\n"], ids=["empty", "a comment"])
def test_an_empty_password_file_lets_nobody_in(launch, dial, tmp_path, text, level):
    """Neither with a name nor without one."""
    (tmp_path / "users").write_text(text)
    broker = launch("", f"--users={tmp_path / 'users'}")
    for who in ({}, {"user": "bob", "password": "secret"}, {"user": "", "password": ""}):
        one = dial(broker, level)
        one.send(packets.connect("c", level, **who))
        assert one.expect_closed().code != 0
