"""Installs the package for Debian on a machine that is made for it, and does what docs/server.md says.

And then without the package, as docs/install.md says.

The machine is a directory with a minimal Debian of this release, in which systemd is booted in
namespaces of its own, without a network but loopback. There every command of the guide is carried out
as an administrator with sudo would do it, in the order of the guide, and what comes of each is looked
at. `packages` makes the packages of the release build, with cargo-deb; `follow` does the rest, as root,
with debootstrap and systemd-nspawn. Status 1 if anything is other than the guide says.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

from process import ROOT

SCRATCH = ROOT / "target" / "e2e" / "machine"
PACKAGES = SCRATCH / "packages"
GUIDE = ROOT / "docs" / "server.md"
BY_HAND = ROOT / "docs" / "install.md"
PATIENCE_SECS = 300
SOFTWARE = "systemd,systemd-sysv,dbus,sudo,mosquitto-clients"
HOST = "broker.example.com"

# What a person does with the keyboard, or with two terminals.
KEYBOARD = {
    "sudo bellbird passwd /etc/bellbird/users alice": (
        "echo secret | sudo bellbird passwd --password-stdin /etc/bellbird/users alice"
    ),
    "bellbird sub --cafile ca.pem": "timeout 60 bellbird sub -C 1 --cafile ca.pem",
}


def main() -> int:
    """Does what it is told to, and returns the status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = {"packages": make_packages, "follow": follow, "script": lambda: print(script(), end="")}
    parser.add_argument("what", choices=what)
    return what[parser.parse_args().what]() or 0


def make_packages() -> None:
    """The package as the guide names it, and the next one, from the release build that is there."""
    shutil.rmtree(PACKAGES, ignore_errors=True)
    PACKAGES.mkdir(parents=True)
    architecture = run("dpkg", "--print-architecture", capture_output=True).stdout.decode().strip()
    for version in versions():
        path = PACKAGES / f"bellbird_{version}_{architecture}.deb"
        # The guide's package is built with the profile `dist`; this one is about everything else.
        command = ["cargo", "deb", "--locked", "--package=bellbird", "--profile=release", "--no-build"]
        command += ["--no-dbgsym", "--strip", "--fast", f"--deb-version={version}", f"--output={path}"]
        run(*command, cwd=ROOT, env=environment())


def follow() -> int:
    """Makes the machine, and returns the status of what happened in it."""
    machine = SCRATCH / "root"
    make_machine(machine)
    home = machine / "home" / "admin"
    for package in PACKAGES.iterdir():
        shutil.copy(package, home)
    shutil.copytree(ROOT / "packaging", home / "packaging")
    (home / "guide").write_text(script())
    status = boot(machine)
    if status == 0:
        shutil.rmtree(machine)
    return status


def environment() -> dict[str, str]:
    """Where the release build is."""
    binary = os.environ.get("BELLBIRD_BIN")
    target = {"CARGO_TARGET_DIR": str(Path(binary).parent.parent)} if binary else {}
    return {**os.environ, **target}


def versions() -> list[str]:
    """Those that the guide installs, of which the first must be ours."""
    found = re.findall(r"apt install \./bellbird_(.*)_amd64\.deb", GUIDE.read_text())
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    ours = manifest["workspace"]["package"]["version"]
    assert found[0].startswith(f"{ours}-"), f"docs/server.md installs {found[0]}, and this is {ours}"
    assert len(found) == 2, f"docs/server.md installs {found}"
    return found


def make_machine(machine: Path) -> None:
    """A fresh one, from packages that are kept for the next time."""
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    suite = release["VERSION_CODENAME"]
    base = SCRATCH / f"{suite}.tar"
    shutil.rmtree(machine, ignore_errors=True)
    if not base.exists():
        command = ["debootstrap", "--variant=minbase", f"--include={SOFTWARE}", suite, machine]
        run(*command, stdout=subprocess.DEVNULL)
        partial = base.with_suffix(".partial")
        run("tar", "--create", f"--file={partial}", "--one-file-system", "-C", machine, ".")
        partial.rename(base)
    else:
        machine.mkdir()
        run("tar", "--extract", f"--file={base}", "-C", machine)
    (machine / "etc" / "hostname").write_text("broker\n")
    (machine / "etc" / "hosts").write_text(f"127.0.0.1 localhost broker {HOST}\n::1 localhost\n")
    (machine / "etc" / "apt" / "apt.conf.d" / "90yes").write_text('APT::Get::Assume-Yes "true";\n')
    (machine / "etc" / "sudoers.d" / "admin").write_text("admin ALL=(ALL) NOPASSWD: ALL\n")
    run("chroot", machine, "useradd", "--create-home", "--shell=/bin/bash", "admin")
    units = machine / "etc" / "systemd" / "system"
    (units / "guide.service").write_text(
        "[Unit]\nDescription=The guide\nAfter=basic.target dbus.service\n"
        "[Service]\nType=oneshot\nUser=admin\nWorkingDirectory=/home/admin\n"
        "ExecStart=/bin/bash -eux -o pipefail guide\n"
        "StandardOutput=file:/guide.log\nStandardError=inherit\n"
        # 0 or what the guide ended with, for whoever has started the machine.
        "ExecStopPost=+/bin/sh -c 'echo $EXIT_STATUS >/guide.status; journalctl -n 40 >/guide.journal; "
        "systemctl --no-block poweroff'\n"
    )
    wants = units / "multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "guide.service").symlink_to("../guide.service")


def boot(machine: Path) -> int:
    """Runs the machine until the guide is through."""
    command = ["systemd-nspawn", "--quiet", f"--directory={machine}", "--boot", "--private-network"]
    command += ["--register=no", "--keep-unit", "--console=pipe", "--machine=bellbird-guide"]
    with (SCRATCH / "console.log").open("wb") as console:
        try:
            ended = {"stdin": subprocess.DEVNULL, "stdout": console, "stderr": console}
            subprocess.run(command, **ended, timeout=PATIENCE_SECS)
        except subprocess.TimeoutExpired:
            print(f"the machine did not end in {PATIENCE_SECS} s; see {console.name}")
            return 1
    log, status = machine / "guide.log", machine / "guide.status"
    if not status.exists():
        print(f"the machine did not come to the guide; see {console.name}")
        return 1
    (ending,) = status.read_text().split()
    if ending != "0":
        print((machine / "guide.journal").read_text())
        print(log.read_text())
        print(f"FAILED with status {ending} at the last line; before it are the journal and all that was done")
        return 1
    print("every command of docs/server.md and docs/install.md did what they say")
    return 0


def script() -> str:
    """The guide's commands by its headings, and what must be true after them."""
    blocks = commands(GUIDE)
    by_hand = commands(BY_HAND)
    sockets = re.search("```ini\n(.*?)```", BY_HAND.read_text(), re.S)[1]
    build, *installation = by_hand["Without a package", 0].splitlines()
    assert build.startswith("cargo build ")

    def take(heading: str, number: int) -> str:
        return blocks.pop((heading, number))

    take("The package", 0)  # They are made outside.
    settings = re.search("```toml\n(.*?)```", GUIDE.read_text(), re.S)[1]
    parts = [
        "export DEBIAN_FRONTEND=noninteractive",
        FUNCTIONS,
        take("The package", 1),
        """
        test "$(systemctl is-enabled bellbird)" = enabled
        test "$(stat -c '%U:%G %a' /etc/bellbird)" = 'root:bellbird 750'
        test "$(sudo stat -c '%U:%G %a' /var/lib/bellbird)" = 'bellbird:bellbird 700'
        status_says '127.0.0.1:1883 (tcp): 0 clients connected, 0 away'
        """,
        take("The package", 2),
        # Nobody else may ask.
        """
        fails bellbird status 2>asked
        grep 'the broker on the data in /var/lib/bellbird belongs to another user' asked
        sudo -u bellbird bellbird status | grep '^health  *ok$'
        """,
        take("A user", 0),
        take("A certificate", 0),
        f"sudo tee /etc/bellbird/bellbird.toml >/dev/null <<'EOF'\n{settings}EOF",
        take("Open for the network", 0),
        """
        status_says '127.0.0.1:1883 (tcp), 0.0.0.0:8883 (tls): 0 clients connected, 0 away'
        sudo cat /etc/bellbird/tls/ca.pem >ca.pem
        """,
        background(take("From another machine", 0)),
        "until [ -s heard ]; do",
        take("From another machine", 1),
        """
        done
        wait
        grep '^hello/world hi there$' heard
        # Neither without a password nor with another one, also on loopback.
        fails bellbird pub --cafile ca.pem -h broker.example.com -p 8883 -t hello/world -m no
        BELLBIRD_PASSWORD=wrong fails bellbird pub -u alice -t hello/world -m no
        logged 'login of client .* refused'
        """,
        take("Day by day", 0),
        """
        logged 'reload: no setting has changed; users and certificates were read again'
        # A mistake: the reload fails, says why, and changes nothing.
        main=$(main_process)
        echo 'shards = 99' | sudo tee -a /etc/bellbird/bellbird.toml
        fails sudo systemctl reload bellbird
        logged 'bellbird.toml:.*shards'
        sudo sed -i '/^shards/d' /etc/bellbird/bellbird.toml
        sudo systemctl reload bellbird
        test "$(main_process)" = "$main"
        # A session that is away, and a message for it.
        bellbird sub -u alice -c -i lamp -q 1 -t 'lamp/#' -E
        bellbird pub -u alice -q 1 -t lamp/on -m now
        """,
        take("Backup", 0),
        "bellbird pub -u alice -q 1 -t lamp/on -m later",
        take("Backup", 1),
        """
        # What came after the backup is gone with what was there before.
        test "$(bellbird sub -u alice -c -i lamp -q 1 -t 'lamp/#' -W 2)" = now
        bellbird pub -u alice -q 1 -t lamp/on -m again
        main=$(main_process)
        """,
        take("Upgrade", 0),
        """
        test "$(main_process)" != "$main"
        systemctl is-active bellbird
        sudo dpkg --verify bellbird | grep '^..5.* /etc/bellbird/bellbird.toml$'
        test "$(bellbird sub -u alice -c -i lamp -q 1 -t 'lamp/#' -C 1)" = again
        """,
        WATCHDOG,
        take("Removal", 0),
        """
        fails systemctl is-active bellbird
        fails dpkg-query --show bellbird
        fails sudo test -e /var/lib/bellbird
        fails sudo test -e /etc/bellbird/bellbird.toml
        sudo test -e /etc/bellbird/tls/ca.key
        test -z "$(find /lib/systemd /etc/systemd /var/lib/systemd -name '*bellbird*' 2>/dev/null)"
        # And once more, as if nothing had been.
        sudo rm -r /etc/bellbird
        sudo apt install ./bellbird_*-1_*.deb
        bellbird pub -t hello/world -m 'hi there' -q 1
        sudo apt purge bellbird
        fails test -e /etc/bellbird
        fails test -e /var/lib/bellbird
        # Without a package, but with what was built for it.
        mkdir -p target
        dpkg-deb --extract ./bellbird_*-1_*.deb unpacked
        mv unpacked/usr/bin target/release
        hash -r
        """,
        "\n".join(installation),
        """
        status_says '127.0.0.1:1883 (tcp): 0 clients connected, 0 away'
        sudo bellbird status
        sudo systemctl reload bellbird
        # A Unix socket for a group.
        hash -r
        sudo groupadd plant
        sudo mkdir /etc/systemd/system/bellbird.service.d
        printf '[Service]\\nSupplementaryGroups=plant\\n' |
            sudo tee /etc/systemd/system/bellbird.service.d/group.conf
        sudo systemctl daemon-reload
        sudo tee /etc/bellbird/bellbird.toml <<'EOF'
        [[listeners]]
        unix_path = "/run/bellbird/mqtt.sock"
        unix_group = "plant"
        anonymous = true
        EOF
        sudo systemctl restart bellbird
        sudo usermod --append --groups plant admin
        fails bellbird pub --unix /run/bellbird/mqtt.sock -t hello/world -m 'hi there'
        sg plant -c "bellbird pub --unix /run/bellbird/mqtt.sock -t hello/world -m 'hi there'"
        # Sockets that systemd binds: a port that the broker may not bind, and nobody is refused.
        sudo tee /etc/bellbird/bellbird.toml <<'EOF'
        listen = ["0.0.0.0:443"]
        access.anonymous = true
        EOF
        """,
        f"sudo tee /etc/systemd/system/bellbird.socket <<'EOF'\n{sockets}EOF",
        by_hand["Sockets that systemd binds", 0],
        """
        bellbird pub -p 443 -t hello/world -m 'hi there' -q 1
        main=$(main_process)
        sudo systemctl stop bellbird
        bellbird pub -p 443 -t hello/world -m 'hi there' -q 1
        test "$(main_process)" != "$main"
        """,
    ]
    assert not blocks, f"these commands of docs/server.md are not tried: {blocks}"
    return "\n".join(textwrap.dedent(part).strip("\n") for part in parts) + "\n"


FUNCTIONS = """
    # Waits for a line in `systemctl status`: the broker says it a moment after it is ready.
    status_says() { until systemctl status bellbird | grep -F "Status: \\"$1\\""; do :; done; }
    # And for one in the journal.
    logged() { until sudo journalctl --unit bellbird | grep "$1"; do :; done; }
    main_process() { systemctl show --property MainPID --value bellbird; }
    fails() { if "$@"; then echo "this should have failed: $*"; exit 1; fi; }
"""

WATCHDOG = """
    # A process that does nothing is ended and started anew.
    sudo mkdir /etc/systemd/system/bellbird.service.d
    printf '[Service]\\nWatchdogSec=2\\n' | sudo tee /etc/systemd/system/bellbird.service.d/short.conf
    sudo systemctl daemon-reload
    sudo systemctl restart bellbird
    main=$(main_process)
    sudo sh -c "kill -STOP $main"
    until [ "$(main_process)" != "$main" ] && systemctl is-active bellbird; do :; done
    logged 'Watchdog timeout'
    sudo rm -r /etc/systemd/system/bellbird.service.d
    sudo systemctl daemon-reload
"""


def background(block: str) -> str:
    """With what it prints in a file, and the variables that it sets left behind."""
    *before, last = block.splitlines()
    return "\n".join([*before, f"{last} >heard &"])


def commands(page: Path) -> dict[tuple[str, int], str]:
    """The blocks of commands on a page, by their headings and numbers, as they are typed here."""
    blocks: dict[tuple[str, int], str] = {}
    for section in re.split("^#+ ", page.read_text(), flags=re.M):
        heading = section.split("\n", 1)[0]
        for number, block in enumerate(re.findall("^```sh\n(.*?)^```", section, re.M | re.S)):
            for typed, done in KEYBOARD.items():
                block = block.replace(typed, done)
            blocks[heading, number] = block.replace("_amd64.deb", "_*.deb")
    return blocks


def run(*command: str | Path, **options) -> subprocess.CompletedProcess:
    """Must succeed."""
    return subprocess.run(command, check=True, **options)


if __name__ == "__main__":
    sys.exit(main())
