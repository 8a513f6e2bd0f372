"""`gpt-tf diff`: settings and figures beside each other, and a word on what does not compare."""

import json
import shutil
from pathlib import Path

import pytest
from commands import called, in_process
from made_runs import made_run

LOG = "2026-11-27 05:00:00,1 INFO begin\n2026-11-27 05:00:{:02d},1 INFO end\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs with one tokenizer, and one with another; do not write."""
    place = tmp_path_factory.mktemp("compared")
    for name, loss, seconds, layers, tokenizer in (
        ("first", 2.0, 40, 2, "a"), ("second", 2.1, 50, 3, "a"), ("third", 1.0, 40, 2, "b"),
    ):  # fmt: skip
        run = made_run(place, name, {10: 3.0, 30: loss}, {"model": {"num_layers": layers}})
        run.log_file.write_text(LOG.format(seconds))
        run.tokenizer.mkdir()
        (run.tokenizer / "tokenizer.json").write_text(tokenizer)
    return place


def cells(shown: str) -> dict[str, list[str]]:
    """The lines of the tables by their first column; columns are two blanks apart."""
    lines = [line.split("  ") for line in shown.splitlines() if "  " in line]
    return {line[0]: [cell.strip() for cell in line[1:] if cell.strip()] for line in lines}


def test_what_differs_is_shown_beside_each_other(made: Path) -> None:
    found = cells(called("diff", "first", "second", cwd=made).stdout)
    assert found["setting"] == found["figure"] == ["first", "second"]
    assert found["model.num_layers"] == ["2", "3"]
    assert found["loss"] == ["2.0000", "2.1000 (+5.0 %)"]
    assert found["perplexity"] == ["4.00", "4.20 (+5.0 %)"]
    assert found["bits per byte"] == ["1.0000", "1.0500 (+5.0 %)"]
    assert found["time"] == ["40 s", "50 s (+25.0 %)"]
    assert found["step"] == ["30", "30"]
    assert found["parameters"] == ["12", "12"]
    assert "training.batch_size" not in found


def test_runs_with_other_tokenizers_compare_by_bits_per_byte_alone(made: Path) -> None:
    shown = called("diff", "first", "third", cwd=made).stdout
    assert "The tokenizers of these runs differ: bits per byte compare, losses" in shown
    found = cells(shown)
    assert found["loss"] == ["2.0000", "1.0000"]
    assert found["perplexity"] == ["4.00", "2.00"]
    assert found["bits per byte"] == ["1.0000", "0.5000 (-50.0 %)"]
    record = json.loads(called("diff", "first", "third", "--json", cwd=made).stdout)
    assert record["tokenizers_differ"] is True
    assert record["figures"]["loss"]["per_cent"] == [None, None]
    assert record["figures"]["bits_per_byte"]["per_cent"] == [0.0, -50.0]


def test_equal_settings_are_said_to_be_equal(made: Path) -> None:
    assert "The settings are the same." in called("diff", "first", "third", cwd=made).stdout


def spoil(config: Path, how: str) -> None:
    """Make the settings of a run unreadable."""
    text = config.read_text()
    config.unlink()
    if how == "folder":
        config.mkdir()
    elif how == "out of range":
        config.write_text(text.replace("batch_size: 32", "batch_size: -1"))
    elif how != "missing":
        config.write_text({"empty": "", "cut": "model: ["}[how])


@pytest.mark.parametrize("how", ["missing", "empty", "cut", "folder", "out of range"])
def test_settings_that_cannot_be_read_are_unknown_and_never_the_same(
    made: Path, tmp_path: Path, how: str
) -> None:
    shutil.copytree(made / "runs", tmp_path / "runs")
    spoil(tmp_path / "runs" / "third" / "config.yaml", how)
    said = called("diff", "first", "third", cwd=tmp_path)
    assert said.stdout.startswith("The settings of third are unknown.\n\nfigure ")
    assert "damaged: third: " in said.stderr
    record = json.loads(called("diff", "first", "third", "--json", cwd=tmp_path).stdout)
    assert (record["settings_unknown"], record["settings"]) == (["third"], None)


def test_the_other_runs_are_compared_without_the_one_of_unknown_settings(
    made: Path, tmp_path: Path
) -> None:
    shutil.copytree(made / "runs", tmp_path / "runs")
    shutil.copytree(made / "runs" / "first", tmp_path / "runs" / "twin")
    spoil(tmp_path / "runs" / "third" / "config.yaml", "cut")
    said = called("diff", "third", "first", "twin", cwd=tmp_path).stdout
    same = "The settings of third are unknown. The settings of first and twin are the same.\n"
    assert said.startswith(same)
    arguments = ["diff", "first", "second", "third"]
    found = cells(called(*arguments, cwd=tmp_path).stdout)
    assert found["model.num_layers"] == ["2", "3", "unknown"]
    record = json.loads(called(*arguments, "--json", cwd=tmp_path).stdout)
    assert record["settings"]["model.num_layers"] == [2, 3, None]


def test_a_setting_that_is_null_and_a_change_that_is_tiny_are_shown_as_such(
    tmp_path: Path,
) -> None:
    made_run(tmp_path, "first", {10: 3.0})
    made_run(tmp_path, "second", {10: 2.9999}, {"training": {"patience": 4}})
    found = cells(called("diff", "first", "second", cwd=tmp_path).stdout)
    assert found["training.patience"] == ["null", "4"]
    assert found["loss"] == ["3.0000", "2.9999 (0.0 %)"]


def test_a_rate_that_changed_on_the_way_is_told_in_words(tmp_path: Path) -> None:
    earlier = {"until_step": 20, "max_steps": 20, "schedule": "constant", "warmup_steps": 0}
    made_run(tmp_path, "first", {10: 3.0})
    made_run(tmp_path, "longer", {10: 3.0}, {
        "training": {"earlier_rates": [earlier], "schedule_begin": 20},
        "origin": {"run": "runs/first", "checkpoint": "step-00000010"},
    })  # fmt: skip
    shown = called("diff", "first", "longer", cwd=tmp_path).stdout
    assert cells(shown)["begun with"] == ["-", "runs/first, …ep-00000010"]
    assert "rate of longer: to step 20: constant with a peak of" in shown
    assert "earlier_rates" not in shown and "schedule_begin" not in shown


def test_three_runs_fit_a_narrow_terminal_in_blocks(made: Path) -> None:
    from gpt_tf.reports.differences import compare, figures_table, settings_table
    from gpt_tf.storage.finding_runs import all_runs

    found = compare({run.name: run for run in all_runs(made)})
    for width in (40, 60, 80, 200):
        for table in (settings_table(found, width), figures_table(found, width)):
            assert max(map(len, table.splitlines())) <= width
    assert figures_table(found, 40).count("\n\n") == 1
    assert "\n\n" not in figures_table(found, 80)


def test_one_run_and_a_run_that_is_not_there_are_refused(made: Path) -> None:
    for arguments, words in (
        (["first"], "one run in RUN RUN...: first. Give another one, too."),
        (["first", "runs/first"], "one run in RUN RUN...: first."),
        (["first", "secnd"], "no such run: secnd. Did you mean second?"),
        (["first", "second", "--seed", "1"], "--seed has no effect without --prompt"),
    ):
        said = called("diff", *arguments, cwd=made, check=False)
        assert (said.returncode, words in said.stderr) == (2, True), said.stderr


def test_each_run_continues_the_same_prompt(workspace: Path, capsys) -> None:
    shutil.copytree(workspace / "runs" / "tiny", workspace / "runs" / "twin")
    in_process("diff", "tiny", "twin", "--prompt", "This film", "--json", cwd=workspace)
    record = json.loads(capsys.readouterr().out)
    assert record["prompt"] == "This film"
    assert record["texts"]["tiny"] == record["texts"]["twin"] != ""
