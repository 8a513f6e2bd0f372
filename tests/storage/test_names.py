"""Names of files: any bytes. They work, or are refused escaped, and none steers a terminal."""

import ast
import logging
import os
import re
import shutil
from pathlib import Path

import pytest
from commands import BIGRAM_RUN, in_process, modes_and_contents

import gpt_tf
from gpt_tf.cli import console
from gpt_tf.reports.plot import draw_runs
from gpt_tf.runs.run_log import PrintableFormatter

LATIN = os.fsdecode(b"caf\xe9")  # not UTF-8
STEERING = "a\x1b[2J\x1b]0;title\x07\u202e[/b]$x_$"  # a terminal, rich, Matplotlib
STEERING_FILE = STEERING.replace("/", "")
TRAIN = ["train", *BIGRAM_RUN, "--set", "training.warmup_steps=0", "--max-steps", "2"]


@pytest.fixture(params=[LATIN, STEERING_FILE], ids=["not UTF-8", "escapes"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def shown_is_harmless(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, on stdout too, has no control character, and no error of Python's."""
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert "Traceback" not in said and "codec" not in said
    assert all(char.isprintable() or char in "\n\t" for char in said), repr(said)
    return said


def test_data_of_any_name_are_trained_on_and_measured(
    workspace: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:  # N29
    shutil.copytree(workspace / "reviews", workspace / name)
    first = next((workspace / name).rglob("*.txt"))
    first.rename(first.with_name(f"{name}.txt"))
    in_process("train-tokenizer", name, "--vocab-size", "300", cwd=workspace)
    in_process(
        *TRAIN,
        "--data",
        name,
        "--validation-data",
        str(first.with_name(f"{name}.txt")),
        "--name",
        "new",
        cwd=workspace,
    )
    in_process("evaluate", "new", name, cwd=workspace)
    in_process(
        "train", "--resume", "new", "--set", "training.max_steps=3", cwd=workspace, check=False
    )
    in_process("doctor", "new", cwd=workspace)
    assert not re.search(r"[^\n\t -~]", (workspace / "runs" / "new" / "run.log").read_text())
    shown_is_harmless(capsys)


def test_files_of_any_name_are_written_and_folders_refused_escaped(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # N29
    in_process("plot", "tiny", "--output", f"{LATIN}.png", cwd=workspace)
    assert (workspace / f"{LATIN}.png").exists()
    before = modes_and_contents(workspace)
    for arguments in (
        ["export", "tiny", "--to", LATIN],
        ["export", "tiny", "--to", f"{LATIN}/new"],
        ["train-tokenizer", "reviews", "--output", LATIN],
        ["import", "tokenizers/reviews", "--name", f"{LATIN}/x", "--quiet"],
        [*TRAIN, "--data", "reviews", "--name", LATIN],
        ["sweep", "--data", "reviews", "--grid", "training.seed=1,2", "--name", LATIN],
        ["plot", LATIN],
        ["generate", "--run", LATIN],
        ["evaluate", "tiny", f"{LATIN}/nowhere"],
        ["train", "--config", f"{LATIN}.yaml"],
        ["prepare", "imdb", "--archive", f"{LATIN}.tar"],
    ):
        capsys.readouterr()
        code = in_process(*arguments, cwd=workspace, check=False)
        said = shown_is_harmless(capsys)
        assert code in (0, 1, 2)
        if code == 0:
            before = modes_and_contents(workspace)
            continue
        assert any(shown in said for shown in (r"caf\xe9", r"caf\\xe9", r"caf\udce9")), said
        now = {
            path: thing
            for path, thing in modes_and_contents(workspace).items()
            if not path.endswith((".prepare.lock", "/data/imdb", "/data"))
        }
        assert now.items() <= before.items(), arguments


def test_a_workspace_that_is_not_utf_8_is_refused_with_its_name_escaped(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # N29
    place = shutil.copytree(workspace, tmp_path / LATIN)
    before = modes_and_contents(place)
    for arguments in (["train-tokenizer", "reviews"], ["generate"], ["plot"], ["doctor"]):
        assert in_process(*arguments, cwd=place, check=False) == 2
        said = shown_is_harmless(capsys)
        assert r"workspace with a name that is not UTF-8" in said and r"/caf\xe9. Rename" in said
    assert modes_and_contents(place) == before
    in_process("--help", cwd=place)


def test_results_name_files_harmlessly_on_standard_output(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # N22
    folder = STEERING_FILE
    in_process("plot", "tiny", "--output", f"{folder}.png", cwd=workspace)
    assert r"a\x1b[2J" in shown_is_harmless(capsys)
    in_process("export", "tiny", "--to", folder, cwd=workspace)
    assert r"a\x1b[2J" in shown_is_harmless(capsys)
    in_process(
        "train-tokenizer", "reviews", "--vocab-size", "300", "--output", f"{folder}2", cwd=workspace
    )
    assert r"a\x1b[2J" in shown_is_harmless(capsys)


def test_tables_bars_and_logs_show_names_harmlessly(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # N22
    console.print_table(STEERING, (STEERING,), [(STEERING,)])
    assert r"\x1b[2J" in shown_is_harmless(capsys)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with console.progress_bar(f"unpacking {STEERING}") as advance:
        advance(1, 2)
    assert "\x1b]0;title" not in capsys.readouterr().err
    record = logging.LogRecord("gpt_tf", logging.INFO, "", 0, "of %s", (STEERING + LATIN,), None)
    line = PrintableFormatter("%(message)s").format(record)
    assert line.startswith(r"of a\x1b[2J") and line.endswith(r"caf\xe9") and line.isprintable()


def test_a_picture_shows_any_name_of_a_run() -> None:  # N22
    rows = [{"step": 1, "eval/loss": 2.0}, {"step": 2, "eval/loss": 1.0}]
    for name in ("$x_$", "$\\frac{$", LATIN, "a\x1b[2J"):
        assert draw_runs({name: rows}, "eval/loss").startswith(b"\x89PNG")


def test_commands_print_through_one_place() -> None:
    """N22: what else calls `click.echo` or `print` shows no name, or a model's own text."""
    package = Path(gpt_tf.__file__).parent
    allowed = {"cli/console.py", "cli/writing.py", "cli/output.py", "runs/printed.py"}
    found = {
        f"{path.relative_to(package)}: {ast.unparse(node)}"
        for path in sorted(package.rglob("*.py"))
        if path.relative_to(package).as_posix() not in allowed
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("click.echo", "print")
    }
    assert found == {
        "cli/evaluate.py: click.echo(json.dumps({key: _in_json(value) for key, value in "
        "figures.items()}))",
        "cli/diff.py: click.echo(json.dumps({**differences_as_record(found), **about}, indent=2))",
        "cli/delete.py: click.echo(json.dumps({'deleted': deleted, 'finished': finished}))",
        "cli/rename.py: click.echo(json.dumps({'run': path.name, 'path': str(path)}))",
        "cli/runs.py: click.echo(json.dumps([as_record(one) for one in chosen], indent=2))",
        "cli/show.py: click.echo(json.dumps(facts_as_record(facts), indent=2))",
        "cli/completion.py: click.echo(kind(cli, {}, 'gpt-tf', '_GPT_TF_COMPLETE').source())",
        "cli/presets.py: click.echo(json.dumps(wanted, indent=2))",
        "cli/settings.py: click.echo(json.dumps({each.key: _in_json(each) for each in found}, "
        "indent=2))",
        "cli/train.py: click.echo(explained_yaml(config), nl=False)",
    }
