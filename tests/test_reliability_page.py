"""docs/RELIABILITY.md names tests that there are."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "RELIABILITY.md"


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text("utf-8")))
    written = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    assert len(named) > 80
    assert not named - written


def test_every_fault_has_a_test() -> None:
    rows = PAGE.read_text("utf-8").split("## Which test")[1].split("## ")[0].splitlines()
    faults = [row for row in rows if row.startswith("|")][2:]
    assert len(faults) > 50
    assert all("`test_" in row for row in faults)
