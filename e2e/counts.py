"""Instructions for one message on the main paths, beside those that were noted.

Each path of `bellbird-counts` is gone once under callgrind, which counts the instructions of the
program and neither the system's nor the preparation's. Beside counts/baseline.json a path may
cost 5 % more or less; with --rebase the file is written anew. Counts of another compiler are
shown, and compared with nothing.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import baseline

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str) -> str:
    """What a program says; the end if it fails."""
    return subprocess.run(command, check=True, cwd=ROOT, text=True, stdout=subprocess.PIPE).stdout


def program() -> str:
    """Builds what is counted, and says where it stands."""
    messages = run("cargo", "build", "--release", "--locked", "--quiet",
                   "--package", "bellbird-counts", "--message-format", "json").splitlines()
    made = (json.loads(message).get("executable") for message in messages)
    return next(path for path in made if path)


def count(binary: str, path: str, scratch: Path) -> float:
    """Instructions for one message."""
    out = scratch / "callgrind"
    messages = run("valgrind", "--quiet", "--tool=callgrind", "--collect-atstart=no",
                   "--toggle-collect=*counted_*", f"--callgrind-out-file={out}", binary, path)
    total = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    return int(total[1]) / int(messages)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rebase", action="store_true", help="note what is counted now")
    options = parser.parse_args()
    compiler, binary = run("rustc", "--version").strip(), program()
    with tempfile.TemporaryDirectory() as scratch:
        counted = {path: count(binary, path, Path(scratch))
                   for path in run(binary).splitlines()}
    if options.rebase:
        noted = {path: round(value) for path, value in counted.items()}
        baseline.note({"compiler": compiler, "instructions": noted})
    found = baseline.read()
    wrong = baseline.show("instructions for one message", found["instructions"], counted, digits=0)
    if compiler != found["compiler"]:
        print(f"compared with nothing: noted with {found['compiler']}, but this is {compiler}")
        return 0
    return baseline.blame(wrong, "python3 e2e/counts.py")


if __name__ == "__main__":
    sys.exit(main())
