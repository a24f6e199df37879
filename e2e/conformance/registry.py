"""The statements of the specification, and the mark by which a test says which of them it checks.

`@statement("MQTT-3.1.0-1", "MQTT311-3.1.0-1", wrong="close-hidden")` registers a test.
Ids of MQTT 5.0 count for runs at level 5, those of MQTT 3.1.1 for levels 3 and 4, and the others in a
mark along with them.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent / "statements"
DOCUMENTS = {
    "mqtt5": "MQTT 5.0",
    "mqtt311": "MQTT 3.1.1",
    "unnumbered": "MQTT 5.0, rules without a number",
    "hard": "Hard cases",
}


@dataclass(frozen=True)
class Statement:
    """One row of the tables.

    `testable` is yes, no for what cannot be seen at a broker, or later for what needs a part that
    Bellbird does not have. `expected` says how to see it, or why not.
    """

    document: str
    id: str
    section: str
    binds: str
    testable: str
    paraphrase: str
    expected: str


@cache
def statements() -> dict[str, Statement]:
    """All statements by id, in the order of the tables."""
    found: dict[str, Statement] = {}
    for document in DOCUMENTS:
        lines = (FOLDER / f"{document}.tsv").read_text().splitlines()[1:]
        for line in lines:
            name, section, binds, testable, paraphrase, expected = line.split("\t")
            assert name not in found, f"{name} is listed twice"
            found[name] = Statement(
                document, name, section, binds, testable, paraphrase, expected
            )
    return found


def statement(*ids: str, wrong: str | list[str]) -> pytest.MarkDecorator:
    """Registers a test for these ids; with each of the wrong doubles named, the test must fail."""
    return pytest.mark.statement(*ids, wrong=(wrong,) if isinstance(wrong, str) else tuple(wrong))


def complaints(marks, doubles) -> list[str]:
    """What is wrong with a test's marks: none at all, unknown ids, unknown doubles."""
    found = [] if marks else ["registers no statement"]
    for mark in marks:
        found += [f"unknown statement {name}" for name in mark.args if name not in statements()]
        found += [f"unknown wrong double {name}" for name in mark.kwargs["wrong"] if name not in doubles]
        if not mark.args or not mark.kwargs["wrong"]:
            found.append("a statement needs an id and a wrong double")
    return found


def levels(marks) -> list[int]:
    """The protocol levels that a test with these marks runs at, if it does not say so itself."""
    ids = [name for mark in marks for name in mark.args]
    found = [4] if any(name.startswith("MQTT311-") for name in ids) else []
    if not found or any(name.startswith("MQTT-") for name in ids):
        found.append(5)
    return found


def credited(mark, level: int | None) -> list[str]:
    """The ids of a mark that a run at this level speaks for; None is a test without levels.

    Ids that belong to no version count wherever the numbered ones beside them do.
    """
    numbered = [name for name in mark.args if name.startswith(("MQTT-", "MQTT311-"))]
    wanted = "MQTT-" if level == 5 else "MQTT311-"
    ours = [name for name in numbered if level is None or name.startswith(wanted)]
    others = [name for name in mark.args if name not in numbered]
    return ours + others if ours or not numbered else []
