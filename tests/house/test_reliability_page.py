"""docs/RELIABILITY.md names tests that exist, and enough of them for each fault."""

import re
from collections import Counter

from places import REPOSITORY, TESTS

PAGE = REPOSITORY / "docs" / "RELIABILITY.md"
KINDS_FROM_OUTSIDE = [f"N{number}" for number in range(1, 43)]
TEST_NAME = re.compile(r"`(test_\w+)`")


def rows_below(heading: str) -> list[str]:
    """The rows of the table below a heading of the page, without the two of its head."""
    section = PAGE.read_text("utf-8").split(f"## {heading}")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def test_every_test_that_the_page_names_exists() -> None:
    named = set(TEST_NAME.findall(PAGE.read_text("utf-8")))
    written = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert len(named) > 80
    assert not named - written


def test_every_fault_has_a_test() -> None:
    rows = rows_below("Which test causes which fault")
    assert len(rows) > 50
    assert all("`test_" in row for row in rows)


def test_every_kind_of_fault_found_from_outside_has_three_tests() -> None:
    rows = rows_below("Faults found from outside")
    assert [row.split("|")[1].strip() for row in rows] == KINDS_FROM_OUTSIDE
    tests = {row.split("|")[1].strip(): set(TEST_NAME.findall(row)) for row in rows}
    assert [kind for kind, names in tests.items() if len(names) < 3] == []
    shared = Counter(name for names in tests.values() for name in names)
    assert [name for name, count in shared.items() if count > 1] == []
