"""The figures that are noted in counts/baseline.json, and those of now beside them."""

import json
from pathlib import Path

BASELINE = Path(__file__).resolve().parent.parent / "counts" / "baseline.json"
TOLERANCE = 0.05


def read() -> dict:
    """All that is noted."""
    return json.loads(BASELINE.read_text()) if BASELINE.exists() else {}


def note(new: dict) -> None:
    """Notes some of it anew."""
    BASELINE.write_text(json.dumps(read() | new, indent=2, ensure_ascii=False) + "\n")


def show(title: str, noted: dict, counted: dict, *, digits: int, parts: dict | None = None) -> list:
    """Prints what is counted beside what is noted, with the parts it consists of. Returns the
    names of what is off by more than is tolerated, or stands on one side only."""
    width = max(len(title), *map(len, counted)) + 2
    print(f"{title:{width}} {'noted':>7} {'now':>7}")
    wrong = [name for name in noted if name not in counted]
    for name, value in counted.items():
        change = value / noted[name] - 1 if name in noted else None
        told = "not noted" if change is None else f"{change:+.1%}"
        more = f" ({parts[name]})" if parts else ""
        print(f"{name:{width}} {noted.get(name, '–'):>7} {value:>7.{digits}f} {told}{more}")
        if change is None or abs(change) > TOLERANCE:
            wrong.append(name)
    return wrong


def blame(wrong: list, command: str) -> int:
    """Says what to do about it. Returns the status of the program."""
    if wrong:
        print(f"more than {TOLERANCE:.0%} off, or not noted: {', '.join(wrong)}. If it is meant, "
              f"say so in the commit and run: {command} --rebase")
    return bool(wrong)
