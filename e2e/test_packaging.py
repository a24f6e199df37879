"""The files in `packaging`: that they fit together, and with the program and the guide."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from broker import ROOT, bellbird_binary
from process import Process

pytestmark = pytest.mark.bellbird

PACKAGING = ROOT / "packaging"


def unit() -> configparser.RawConfigParser:
    """The unit, without keys that stand in it more than once."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read(PACKAGING / "bellbird.service")
    return parser


def test_the_unit_waits_for_what_the_broker_says():
    """And grants as much time as it takes to notice that an event loop is stuck, several times."""
    service = unit()["Service"]
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) >= 30


def test_the_unit_starts_a_broker_and_checks_its_settings(tmp_path):
    """Its commands, with other places and a port of its own."""
    lines = (PACKAGING / "bellbird.service").read_text().splitlines()
    ours = (re.match(r"Exec(\w+)=(\S*/bellbird .*)", line) for line in lines)
    commands = dict(found.groups() for found in ours if found)
    (tmp_path / "bellbird.toml").write_text('listen = ["127.0.0.1:0"]\n')
    places = {
        "/usr/bin/bellbird": bellbird_binary(),
        "/etc/bellbird/bellbird.toml": str(tmp_path / "bellbird.toml"),
        "/var/lib/bellbird": str(tmp_path / "data"),
    }

    def command(name: str) -> list[str]:
        words = [places.get(word, word) for word in shlex.split(commands[name])]
        assert not [word for word in words if word.startswith(("/usr", "/etc", "/var"))]
        return words

    process = Process(command("Start"))
    try:
        process.expect(r"^data in \S+/data: 0 sessions, 0 subscriptions, ")
        process.expect("^ready$")
        assert subprocess.run(command("Reload"), capture_output=True).returncode == 0
        (tmp_path / "bellbird.toml").write_text("shards = 99\n")
        assert subprocess.run(command("Reload"), capture_output=True).returncode == 1
        process.child.terminate()
        assert process.finish() == 0
    finally:
        process.kill()


def test_the_settings_of_the_package_let_in_this_machine_only():
    answer = check(PACKAGING / "bellbird.toml")
    assert re.findall("^listener (.*)$", answer, re.M) == ["127.0.0.1:1883 (mqtt, tcp), for everybody"]
    assert "warning" not in answer


def test_the_settings_of_the_package_that_are_commented_out_work(tmp_path):
    """With the files in the places that the guide says, but for the directory."""
    text = re.sub("^#(?=[a-z\\[])", "", (PACKAGING / "bellbird.toml").read_text(), flags=re.M)
    follow_the_guide(tmp_path)
    (tmp_path / "bellbird.toml").write_text(text.replace("/etc/bellbird/", f"{tmp_path}/"))
    answer = check(tmp_path / "bellbird.toml")
    assert "listener 0.0.0.0:8883 (mqtt, tls), for clients with a user name" in answer
    assert "1 user in " in answer


def test_the_settings_of_the_guide_are_those_of_the_package():
    guide = (ROOT / "docs" / "server.md").read_text()
    offered = re.findall(r"^#?([a-z_]+ = .*)$", (PACKAGING / "bellbird.toml").read_text(), re.M)
    shown = re.findall("^([a-z_]+ = .*)$", re.search("```toml\n(.*?)```", guide, re.S)[1], re.M)
    assert shown == offered


def follow_the_guide(directory: Path) -> None:
    """A user and a certificate."""
    subprocess.run(
        [bellbird_binary(), "passwd", "--password-stdin", directory / "users", "alice"],
        check=True,
        input=b"secret",
    )
    command = [bellbird_binary(), "cert", "init", f"--dir={directory / 'tls'}"]
    subprocess.run(command, check=True, capture_output=True)


def check(settings: Path) -> str:
    answer = subprocess.run(
        [bellbird_binary(), "check", f"--config={settings}"], capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")
def test_systemd_understands_the_unit(tmp_path):
    """Every line of it, with the programs where they are here."""
    text = (PACKAGING / "bellbird.service").read_text()
    path = tmp_path / "bellbird.service"
    path.write_text(text.replace("/usr/bin/bellbird", bellbird_binary()))
    answer = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True)
    ours = [line for line in answer.stderr.splitlines() if "bellbird" in line]
    assert not [line for line in ours if "man page" not in line]


def test_the_container_is_built_from_what_there_is():
    """Each path that it copies is there, and all crates of the workspace are copied."""
    recipe = (PACKAGING / "Containerfile").read_text()
    copied = [words.split()[:-1] for words in re.findall("^COPY (?!--from)(.*)$", recipe, re.M)]
    copied = {path for paths in copied for path in paths}
    assert all((ROOT / path).exists() for path in copied)
    members = re.search(r"^members = \[(.*)\]$", (ROOT / "Cargo.toml").read_text(), re.M)[1]
    members = {member.strip(' "').removesuffix("/*") for member in members.split(",")}
    assert members <= copied


def test_two_ways_to_say_the_same_place():
    """The unit, the commands that ask a broker, and the package's scripts."""
    place = "/var/lib/bellbird"
    assert f"--data {place}\n" in (PACKAGING / "bellbird.service").read_text()
    assert f'SERVICE_DATA: &str = "{place}"' in (ROOT / "crates/bellbird/src/control.rs").read_text()
    for name in ("bellbird.sysusers", "debian/postrm", "Containerfile"):
        assert place in (PACKAGING / name).read_text()
