"""The documents say the figures of docs/figures.json, and where each comes from is known."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import REPOSITORY

FIGURES = json.loads((REPOSITORY / "docs" / "figures.json").read_text("utf-8"))
MEASUREMENTS = FIGURES["measurements"]
ENTRIES = [figure for measurement in MEASUREMENTS for figure in measurement["figures"]]
NUMBER = r"([+−-]?\d+(?:,\d{3})*(?:\.\d+)?)"


def pattern_of(shown: str) -> re.Pattern[str]:
    """`shown` with a number for each `{}`, and any white space for a blank."""
    words = [NUMBER.join(map(re.escape, word.split("{}"))) for word in shown.split()]
    return re.compile(r"\s+".join(words))


def value_of(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


def problems_of(figure: dict[str, Any], texts: dict[str, str]) -> list[str]:
    """What the documents say otherwise, or do not say."""
    value = figure["value"] if isinstance(figure["value"], list) else [figure["value"]]
    problems = [] if figure["shown"] else [f"{figure['name']}: shown nowhere"]
    for document, templates in figure["shown"].items():
        for shown in templates:
            said = list(pattern_of(shown).finditer(texts[document]))
            if not said:
                problems.append(f"{figure['name']}: {document} does not show {shown!r}")
            problems += [
                f"{figure['name']}: {document} says {match[0]!r}, the figure is {value}"
                for match in said
                if [value_of(number) for number in match.groups()] != value
            ]
    return problems


def documents() -> dict[str, str]:
    named = {document for figure in ENTRIES for document in figure["shown"]}
    return {name: (REPOSITORY / name).read_text("utf-8") for name in named}


def test_the_documents_say_the_figures() -> None:
    texts = documents()
    assert [problem for figure in ENTRIES for problem in problems_of(figure, texts)] == []


def test_another_number_or_none_in_a_document_is_told_by_name() -> None:
    figure = {"name": "speed", "value": 2864, "shown": {"a.md": ["takes {} tokens"]}}
    assert problems_of(figure, {"a.md": "It takes\n2,864 tokens."}) == []
    told = problems_of(figure, {"a.md": "It takes 2,865 tokens."})
    assert told == ["speed: a.md says 'takes 2,865 tokens', the figure is [2864]"]
    told = problems_of(figure, {"a.md": "It is quick."})
    assert told == ["speed: a.md does not show 'takes {} tokens'"]
    assert problems_of({**figure, "shown": {}}, {}) == ["speed: shown nowhere"]


def test_what_trains_depends_on_how_a_run_is_put_together() -> None:
    training = [each for each in MEASUREMENTS if "gpt_tf/training" in each["depends"]]
    assert training
    for each in training:
        assert {"gpt_tf/runs", "gpt_tf/config.py"} <= set(each["depends"]), each["command"]


def test_names_are_there_once() -> None:
    names = [figure["name"] for figure in ENTRIES]
    assert len(names) == len(set(names))


def test_every_number_in_bold_in_the_readme_is_a_figure() -> None:
    document = "README.md"
    text = documents()[document]
    places = {
        match.start(number)
        for figure in ENTRIES
        for shown in figure["shown"].get(document, [])
        for match in pattern_of(shown).finditer(text)
        for number in range(1, len(match.groups()) + 1)
    }
    bold = re.finditer(rf"\*\*{NUMBER}\*\*", text)
    assert [each[1] for each in bold if each.start(1) not in places] == []


@pytest.mark.parametrize("measurement", MEASUREMENTS, ids=lambda each: each["command"])
def test_where_a_figure_comes_from_exists(measurement: dict[str, Any]) -> None:
    script = re.search(r"benchmarks/\w+\.py", measurement["command"])
    assert script and (REPOSITORY / script[0]).is_file()
    assert [path for path in measurement["depends"] if not (REPOSITORY / path).exists()] == []
    assert measurement["machine"] in FIGURES["machines"]


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commits_of_the_figures_are_in_the_history() -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a clone: the history is not there")
    if git(REPOSITORY, "rev-parse", "--is-shallow-repository") == "true":
        pytest.skip("a shallow clone: the history is not there")
    for commit in {each["commit"] for each in MEASUREMENTS if each["commit"]}:
        git(REPOSITORY, "cat-file", "-e", f"{commit}^{{commit}}")


def stale_in(repository: Path) -> dict[str, int]:
    """The last line of benchmarks/figures.py, which is JSON."""
    command = [sys.executable, REPOSITORY / "benchmarks" / "figures.py", "--repository", repository]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    last: dict[str, int] = json.loads(result.stdout.splitlines()[-1])
    return last


def test_a_figure_is_stale_once_a_file_that_it_depends_on_has_changed(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "docs").mkdir()
    (tmp_path / "model.py").write_text("x = 1\n")
    git(tmp_path, "add", "model.py")
    git(tmp_path, "commit", "--quiet", "--message", "The model")
    entry: dict[str, Any] = {
        "command": "benchmarks/a.py",
        "date": "2026-11-22",
        "minutes": 7,
        "commit": git(tmp_path, "rev-parse", "HEAD"),
        "depends": ["model.py"],
        "figures": [{"name": "speed"}],
    }

    def write(**changes: None) -> None:
        file = tmp_path / "docs" / "figures.json"
        file.write_text(json.dumps({"measurements": [{**entry, **changes}]}))

    write()
    assert stale_in(tmp_path) == {"stale": 0, "minutes": 0}
    write(date=None)
    assert stale_in(tmp_path) == {"stale": 1, "minutes": 7}
    write()
    (tmp_path / "model.py").write_text("x = 2\n")
    assert stale_in(tmp_path) == {"stale": 1, "minutes": 7}
