"""Checks the tree for what compilers and formatters do not see.

No path of one particular machine, no unfinished code, no ignored test, no over-long Rust file, no Rust
file without a header, no text file without its last newline, no link or path to a file that is not
there.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Inputs of fuzz targets are bytes, whatever they look like.
CORPUS = ROOT / "fuzz" / "corpus"
RUST_LINES_MAX = 700

# In pieces, so that this file does not hold what it looks for.
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.\-])/(?:work|root)/"),
    "unfinished code": re.compile(r"\b(?:todo|unimplemented)" + r"!\("),
    "an ignored test": re.compile(r"#\[" + r"ignore\b"),
}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MENTION = re.compile(r"`((?:crates|docs|e2e|fuzz|sim)/[\w./-]+)`")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def main() -> int:
    """Checks all files that are in git or could be added, and returns the exit status."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = [ROOT / name for name in sorted(set(listing.stdout.split("\0"))) if name]
    existing = [path for path in paths if path.is_file() and CORPUS not in path.parents]
    complaints = [complaint for path in existing for complaint in check_file(path, ROOT)]
    for complaint in complaints:
        print(complaint)
    print(f"{len(existing)} files looked at, {len(complaints)} complaints")
    return 1 if complaints else 0


def check_file(path: Path, root: Path) -> Iterator[str]:
    """The complaints about one file; binary files have none."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return
    if "\0" in text:
        return
    name = path.relative_to(root).as_posix()
    for number, line in enumerate(text.splitlines(), 1):
        for what, pattern in FORBIDDEN.items():
            if pattern.search(line):
                yield f"{name}:{number}: {what}: {line.strip()[:100]}"
    if text and not text.endswith("\n"):
        yield f"{name}: no newline at the end"
    if path.suffix == ".rs":
        yield from _check_rust(name, text)
    if path.suffix == ".md":
        yield from _check_markdown(path, name, text, root)


def _check_rust(name: str, text: str) -> Iterator[str]:
    lines = text.splitlines()
    if len(lines) > RUST_LINES_MAX:
        yield f"{name}: {len(lines)} lines, more than {RUST_LINES_MAX}: find the second concept in it"
    if not text.lstrip().startswith("//!"):
        yield f"{name}: no header doc (`//!`) that says what the file is"


def _check_markdown(path: Path, name: str, text: str, root: Path) -> Iterator[str]:
    prose = FENCE.sub("", text)
    for target in LINK.findall(prose):
        file = target.split("#")[0]
        if file and not re.match(r"[a-z]+:", file) and not (path.parent / file).exists():
            yield f"{name}: link to {target}, which does not exist"
    if path.name == "ARCHITECTURE.md":
        for mention in MENTION.findall(prose):
            if not (root / mention).exists():
                yield f"{name}: mentions {mention}, which does not exist"


if __name__ == "__main__":
    sys.exit(main())
