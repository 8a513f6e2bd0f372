"""The documents name files and tests that exist."""

import re

import pytest
from places import REPOSITORY, TESTS

PACKAGE = REPOSITORY / "gpt_tf"
FOLDERS = [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir()), REPOSITORY, TESTS]


@pytest.mark.parametrize("document", ["docs/ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_a_document_names_modules_and_tests_that_exist(document: str) -> None:
    text = (REPOSITORY / document).read_text("utf-8")
    files = set(re.findall(r"`([\w/]+\.py)`", text))
    assert [name for name in sorted(files) if not any((f / name).is_file() for f in FOLDERS)] == []
    tests = set(re.findall(r"`(test_\w+)`", text))
    written = "".join(path.read_text("utf-8") for path in TESTS.rglob("test_*.py"))
    assert [name for name in sorted(tests) if f"def {name}(" not in written] == []


@pytest.mark.parametrize("room", ["storage", "streaming", "streaming/corpora", "runs"])
def test_the_map_has_every_module_of_the_rooms_with_many_files(room: str) -> None:
    text = (REPOSITORY / "docs" / "ARCHITECTURE.md").read_text("utf-8")
    section = text.split(f"### `{room}/`")[1].split("\n#")[0]
    modules = {path.name for path in (PACKAGE / room).glob("*.py")} - {"__init__.py"}
    assert sorted(name for name in modules if f"`{name}`" not in section) == []
