"""`gpt-tf runs`: what each run has come to, in a table that fits, without TensorFlow."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import called
from made_runs import PARAMETERS, damage, made_run

from gpt_tf.reports.run_list import left_out, matching, short_count, table
from gpt_tf.reports.run_summary import SORTED, summaries, summarize
from gpt_tf.storage.lock import locked
from gpt_tf.storage.replacing import retire
from gpt_tf.storage.run_directory import RunDirectory

RELEASES = Path(__file__).parents[1] / "releases"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of each state but that of a training; do not write."""
    place = tmp_path_factory.mktemp("made") / "workspace"
    made_run(place, "finished", {10: 3.0, 20: 2.0, 30: 2.5})
    made_run(place, "stopped", {10: 3.5})
    patient = {"training": {"patience": 2}}
    made_run(place, "patient", {10: 2.2}, patient, waited=2)
    made_run(place, "given", {0: 4.0}, data=None)
    made_run(place, "unsaved", {10: 9.0}, saved=())
    damage(made_run(place, "damaged", {10: 1.0}))
    for number, path in enumerate(sorted((place / "runs").iterdir())):
        for file in (path / "metrics.jsonl", path / "config.yaml"):
            os.utime(file, (1e9 + number, 1e9 + number))
        for file in path.glob("checkpoints/*/manifest.json"):
            os.utime(file, (1e9 + number, 1e9 + number))
    return place


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Path:
    """A copy to write in."""
    return shutil.copytree(made, tmp_path / "workspace")


def test_a_run_is_described_by_its_best_evaluation(made: Path) -> None:
    found, _ = summaries(made)
    one = next(one for one in found if one.run.name == "finished")
    assert (one.step, one.max_steps, one.best_step, one.loss) == (30, 30, 20, 2.0)
    assert one.figures == {"loss": 2.0, "perplexity": 4.0, "accuracy": 0.5, "bits_per_byte": 1.0}
    assert (one.parameters, one.data) == (PARAMETERS, "texts")


def test_each_state_is_told(made: Path) -> None:
    found, others = summaries(made)
    states = {one.run.name: one.state for one in found}
    assert states == {
        "finished": "finished",
        "stopped": "stopped",
        "patient": "finished",
        "given": "imported",
        "unsaved": "unsaved",
        "damaged": "damaged",
    }
    assert not others


def test_a_run_whose_lock_is_held_is_in_training(workspace: Path) -> None:
    run = made_run(workspace, "live", {10: 3.0, 20: 2.0}, saved=[10])
    with locked(run.path):
        one = summarize(run)
    assert (one.state, one.step) == ("training", 20)
    assert summarize(run).state == "stopped"


def test_a_run_that_is_about_to_begin_is_not_called_foreign(workspace: Path) -> None:
    (workspace / "runs" / "coming" / "new.gpt-tf-1-abcdef.tmp").mkdir(parents=True)
    (workspace / "runs" / "coming" / "new.gpt-tf-1-abcdef.tmp" / "source.json").write_text("{}")
    with locked(workspace / "runs" / "coming"):
        assert called("runs", cwd=workspace).stderr.count("left out") == 0


def test_of_two_runs_in_one_place_one_is_kept(workspace: Path) -> None:
    run = workspace / "runs" / "stopped"
    retire(run)  # killed before the next run had a checkpoint
    assert summarize(RunDirectory(run)).loss == 3.5
    assert not (run / "previous-run").exists()


def test_damage_is_named_and_never_an_error(workspace: Path) -> None:
    (workspace / "runs" / "stopped" / "source.json").write_text("{")
    (workspace / "runs" / "patient" / "metrics.jsonl").write_bytes(b'{"step": 1\n\xff\n[[[')
    shutil.rmtree(workspace / "runs" / "given" / "checkpoints" / "step-00000000")
    os.mkfifo(workspace / "runs" / "given" / "checkpoints" / "step-00000001")
    said = called("runs", cwd=workspace)
    assert "damaged: damaged: damaged file" in said.stderr
    assert "damaged: stopped: cannot read where the data of the run are from" in said.stderr
    assert "Traceback" not in said.stderr
    assert len(said.stdout.splitlines()) == 7


@pytest.mark.parametrize(
    ("odd", "said"),
    [("fifo", "not a plain file"), ("folder", "not a plain file"), ("loop", "cannot read")],
)
def test_metrics_that_cannot_be_read_are_named(workspace: Path, odd: str, said: str) -> None:
    place = workspace / "runs" / "finished" / "metrics.jsonl"
    place.unlink()
    if odd == "fifo":
        os.mkfifo(place)
    elif odd == "folder":
        place.mkdir()
    else:
        place.symlink_to(place)
    for command in (["runs"], ["show", "finished"], ["diff", "finished", "stopped"]):
        told = called(*command, cwd=workspace).stderr
        assert f"damaged: finished: {said}" in told and str(place) in told
    assert summarize(RunDirectory(place.parent)).state == "damaged"


def test_a_row_of_an_earlier_step_hides_no_loss(workspace: Path) -> None:
    run = RunDirectory(workspace / "runs" / "finished")
    with run.metrics_file.open("a") as file:
        file.write('{"eval/loss": 9.0, "step": -5}\n{"eval/loss": 9.0, "step": 7}\n')
    assert (summarize(run).best_step, summarize(run).loss) == (20, 2.0)


def test_an_older_checkpoint_stands_for_a_damaged_one(workspace: Path) -> None:
    run = workspace / "runs" / "finished"
    (run / "checkpoints" / "step-00000030" / "manifest.json").write_text("{}")
    found = {one.run.name: one for one in summaries(workspace)[0]}
    assert (found["finished"].state, found["finished"].step) == ("damaged", 20)


def test_a_run_of_the_first_release_is_listed(tmp_path: Path) -> None:
    shutil.copytree(RELEASES / "0.1.0", tmp_path / "runs" / "old")
    (one,), _ = summaries(tmp_path)
    assert (one.state, one.problem) == ("finished", None)
    assert one.loss is not None


def test_what_is_not_a_run_is_left_out_in_one_line(workspace: Path) -> None:
    (workspace / "runs" / "notes").mkdir()
    (workspace / "runs" / "notes" / "a.txt").write_text("mine")
    (workspace / "runs" / "other").mkdir()
    (workspace / "runs" / "other" / "config.yaml").write_text("a: 1")
    (workspace / "runs" / "readme.md").write_text("mine")
    said = called("runs", cwd=workspace)
    assert said.stderr.splitlines()[-1] == "left out, not a run of gpt-tf: notes, other, readme.md"
    assert "notes" not in said.stdout


def test_an_empty_workspace_is_told_how_to_train(tmp_path: Path) -> None:
    said = called("runs", cwd=tmp_path)
    assert said.stdout.startswith(f"no runs in {tmp_path / 'runs'}. Train one with `gpt-tf train")
    assert json.loads(called("runs", "--json", cwd=tmp_path).stdout) == []


def test_the_columns_without_room_are_named(made: Path) -> None:
    found, _ = summaries(made)
    assert left_out(found, 200) == []
    missing = left_out(found, 60)
    assert "at" in missing and not {*missing} & {*table(found, 60).split("\n")[0].split()}


@pytest.mark.parametrize(
    ("order", "first"),
    [("newest", "unsaved"), ("loss", "finished"), ("name", "damaged"), ("size", "finished")],
)
def test_the_order_is_as_asked(made: Path, order: str, first: str) -> None:
    shown = called("runs", "--sort", order, cwd=made).stdout.splitlines()[1].split()[0]
    if order == "size":  # all but those without weights have the same
        found, _ = summaries(made)
        assert [one.parameters for one in SORTED["size"](found)] == [PARAMETERS] * 4 + [None] * 2
    else:
        assert shown == first


def test_patterns_choose_runs_and_one_that_matches_none_is_refused(made: Path) -> None:
    found, _ = summaries(made)
    names = [one.run.name for one in matching(found, ["*ed", "runs/given"], made)]
    assert names == ["damaged", "finished", "given", "stopped", "unsaved"]
    said = called("runs", "finshed", cwd=made, check=False)
    assert said.returncode == 2
    assert "no such run: finshed. Did you mean finished?" in said.stderr


def test_only_runs_that_changed_since_a_time_are_listed(workspace: Path) -> None:
    made_run(workspace, "new", {10: 2.0})
    for since in ("1h", "7d", "2w", "2002-01-01", "2002-01-01T12:30"):
        (record,) = json.loads(called("runs", "--since", since, "--json", cwd=workspace).stdout)
        assert record["run"] == "new"
    said = called("runs", "--since", "2001-09-01", cwd=workspace).stdout
    assert len(said.splitlines()) == 8
    assert "new" in called("runs", "--since", "999999w", cwd=workspace).stdout
    said = called("runs", "--since", "2h", "finished", cwd=workspace).stdout
    assert said.startswith("no run has changed since ")
    for wrong in ("yesterday", "7", "7x", "2026-13-01"):
        refused = called("runs", "--since", wrong, cwd=workspace, check=False)
        assert refused.returncode == 2 and f"no time in --since: {wrong}. Give" in refused.stderr


def test_a_wide_list_has_the_rate(made: Path) -> None:
    found, _ = summaries(made)
    heading, *rows = (line.split() for line in table(found, 200).splitlines())
    assert [row[heading.index("rate")] for row in rows] == ["-", *["0.001"] * 4, "-"]
    assert "rate" in left_out(found, 60)


def test_json_has_every_figure_by_name(made: Path) -> None:
    (record,) = json.loads(called("runs", "finished", "--json", cwd=made).stdout)
    assert record.pop("changed").startswith("2001-09-09T")
    assert record == {
        "run": "finished",
        "state": "finished",
        "step": 30,
        "max_steps": 30,
        "loss": 2.0,
        "perplexity": 4.0,
        "bits_per_byte": 1.0,
        "best_step": 20,
        "learning_rate": 0.001,
        "parameters": PARAMETERS,
        "data": "texts",
        "problem": None,
    }


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(workspace: Path, width: int) -> None:
    made_run(workspace, "a\x1b", {10: 2.0}, data="texts/" + "long/" * 30)
    found, _ = summaries(workspace)
    lines = table(found, width).splitlines()
    assert max(map(len, lines)) <= width
    assert "\x1b" not in "".join(lines)
    assert ("data" in lines[0]) == (width >= 80)


def test_counts_of_parameters_are_short() -> None:
    counts = [7, 999, 12_345, 999_999, 1_234_567, 124_439_808, 7e9]
    assert [short_count(int(count)) for count in counts] == [
        "7", "999", "12.3 k", "1.00 M", "1.23 M", "124 M", "7.00 G"
    ]  # fmt: skip


def test_the_commands_import_no_tensorflow(workspace: Path) -> None:
    calls = [
        ["runs"],
        ["runs", "--json"],
        ["show", "finished"],
        ["show", "stopped", "--json"],
        ["diff", "finished", "stopped"],
        ["rename", "stopped", "renamed"],
        ["settings"],
        ["presets"],
        ["delete", "unsaved", "--yes"],
    ]
    code = f"""
import sys
from gpt_tf.cli.main import main
for call in {calls!r}:
    try:
        main(call)
    except SystemExit as stop:
        assert not stop.code, call
print(*sorted({{"tensorflow", "keras", "transformers", "rich"}} & {{*sys.modules}}))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
