"""A child process whose lines of output can be waited for."""

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def bellbird_binary() -> str:
    """The program under test: BELLBIRD_BIN, or else the release build."""
    return os.environ.get("BELLBIRD_BIN") or str(ROOT / "target" / "release" / "bellbird")


class Process:
    """Runs a command and collects the lines of its stdout and stderr as they come.

    Lines that `takes` returns True for are not collected; while it waits, the process is not read.
    It inherits these descriptors.
    """

    def __init__(
        self,
        command: list[str],
        env: dict | None = None,
        takes: Callable[[str], bool] = lambda line: False,
        descriptors: tuple[int, ...] = (),
    ):
        self.name = command[0].rsplit("/", 1)[-1]
        self.lines: list[str] = []
        self.unread: list[str] = []
        self.takes = takes
        self.ended = False
        self.changed = threading.Condition()
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
            pass_fds=descriptors,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def expect(self, pattern: str, patience_secs: float = 15.0) -> re.Match:
        """Waits for a line that matches and takes it; other lines wait for their own turn."""
        deadline = time.monotonic() + patience_secs
        with self.changed:
            while True:
                for at, line in enumerate(self.unread):
                    if found := re.search(pattern, line):
                        del self.unread[at]
                        return found
                if self.ended:
                    raise AssertionError(self._complaint(f"ended without {pattern!r}"))
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(self._complaint(f"no {pattern!r} in {patience_secs} s"))
                self.changed.wait(left)

    def finish(self, patience_secs: float = 15.0) -> int:
        """Waits for the process to end by itself and returns its status."""
        try:
            status = self.child.wait(patience_secs)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(self._complaint(f"still running after {patience_secs} s")) from None
        self.reader.join(patience_secs)
        return status

    def kill(self) -> None:
        """Ends the process at once, if it still runs, and waits for its end."""
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self.reader.join()

    def output(self) -> str:
        """All that the process has written so far."""
        with self.changed:
            return "\n".join(self.lines)

    def _read(self) -> None:
        for line in self.child.stdout:
            line = line.rstrip("\n")
            if self.takes(line):
                continue
            with self.changed:
                self.lines.append(line)
                self.unread.append(line)
                self.changed.notify_all()
        self.child.stdout.close()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def _complaint(self, what: str) -> str:
        return f"{self.name}: {what}; its output:\n" + "\n".join(self.lines)
