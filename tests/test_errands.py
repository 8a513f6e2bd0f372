"""What a person does with runs on an ordinary day: each errand is a few real commands.

The runs are small: bigrams of the same settings but one, "monday" and "tuesday", of 20 steps. Each
errand has a copy of their workspace, and may use only what the commands print.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from commands import BIGRAM_RUN, TINY_RUN, called

STEPS = 20


@pytest.fixture(scope="module")
def two_runs(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that hold their rate until step 10; the second has twice the rate."""
    workspace = tmp_path_factory.mktemp("errands") / "workspace"
    shutil.copytree(trained_workspace, workspace)
    called("delete", "tiny", "--yes", cwd=workspace)
    for name, rate in (("monday", "0.001"), ("tuesday", "0.002")):
        called(
            "train", "--data", "reviews", "--name", name, "--max-steps", str(STEPS),
            "--learning-rate", rate, *BIGRAM_RUN, "--set", "training.schedule=linear",
            "--set", "training.warmup_steps=2", "--set", "training.decay_share=0.5",
            "--set", "training.keep_checkpoints=4", cwd=workspace,
        )  # fmt: skip
    return workspace


@pytest.fixture
def workspace(two_runs: Path, tmp_path: Path) -> Path:
    """A copy to work in, at another place; the first one is not touched."""
    return Path(shutil.copytree(two_runs, tmp_path / "workspace"))


def said(*arguments: str, cwd: Path) -> str:
    """Standard output of a command that succeeds."""
    return called(*arguments, cwd=cwd).stdout


def facts(*arguments: str, cwd: Path):
    """What a command prints as JSON."""
    return json.loads(said(*arguments, "--json", cwd=cwd))


def stored(workspace: Path, run: str) -> dict:
    return yaml.safe_load((workspace / "runs" / run / "config.yaml").read_text())


def test_find_last_weeks_best_run(workspace: Path) -> None:
    listed = facts("runs", "--sort", "loss", cwd=workspace)
    assert {run["run"] for run in listed} == {"monday", "tuesday"}
    assert listed[0]["loss"] == min(run["loss"] for run in listed)
    table = said("runs", "--sort", "loss", cwd=workspace).splitlines()
    assert table[1].split()[0] == listed[0]["run"]
    assert f"{listed[0]['loss']:.4f}" in table[1]


def test_what_was_its_rate(workspace: Path) -> None:
    assert re.search(r"peak_learning_rate +0\.002 ", said("show", "tuesday", cwd=workspace))


def test_go_on_for_some_steps(workspace: Path) -> None:
    """The rate begins to fall later, as if the run had been planned so."""
    done = called("train", "--resume", "monday", "--max-steps", "30", cwd=workspace)
    assert "step 30, all steps done" in done.stdout
    assert facts("show", "monday", cwd=workspace)["step"] == 30


def test_go_on_with_half_the_rate(workspace: Path) -> None:
    again = ["train", "--resume", "tuesday", "--max-steps", "30", "--learning-rate", "0.001"]
    assert "step 30, all steps done" in said(*again, cwd=workspace)
    training = stored(workspace, "tuesday")["training"]
    assert training["peak_learning_rate"] == 0.001
    assert "0.002" in said("show", "tuesday", cwd=workspace)  # the rate before


def test_go_on_in_a_copied_workspace(workspace: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    workspace.rename(copy)
    again = ["--workspace", str(copy), "train", "--resume", "monday", "--max-steps", "25"]
    assert "step 25, all steps done" in said(*again, cwd=tmp_path)


def test_compare_with_todays_run(workspace: Path) -> None:
    table = said("diff", "monday", "tuesday", cwd=workspace)
    assert re.search(r"peak_learning_rate +0\.001 +0\.002", table)
    assert "num_layers" not in table  # the same in both
    assert "%" in table


def test_the_text_of_an_earlier_step_and_of_the_best(workspace: Path) -> None:
    write = ["generate", "--run", "monday", "--max-new-tokens", "4", "--prompt", "The film"]
    for checkpoint, step in (("15", 15), ("best", STEPS), ("last", STEPS)):
        done = called(*write, "--checkpoint", checkpoint, cwd=workspace)
        assert f"step-{step:08d}" in done.stderr
        assert done.stdout.startswith("The film")
    refused = called(*write, "--checkpoint", "7", cwd=workspace, check=False)
    assert refused.returncode == 2
    assert "15" in refused.stderr  # what there is


def test_export_an_earlier_step(trained_workspace: Path, tmp_path: Path) -> None:
    """Of a GPT: other programs know no bigram."""
    to = tmp_path / "out"
    called("export", "tiny", "--checkpoint", "15", "--to", str(to), cwd=trained_workspace)
    manifest = json.loads((to / "manifest.json").read_text())
    assert manifest["checkpoint"] == "step-00000015"


def test_delete_the_others(workspace: Path) -> None:
    refused = called("delete", "tuesday", cwd=workspace, check=False)
    assert refused.returncode == 2  # nobody can be asked
    said("delete", "--all-but", "monday", "--yes", cwd=workspace)
    assert [run["run"] for run in facts("runs", cwd=workspace)] == ["monday"]
    assert (workspace / "reviews").is_dir()


def test_rename_it(workspace: Path) -> None:
    said("rename", "monday", "the-good-one", cwd=workspace)
    assert {run["run"] for run in facts("runs", cwd=workspace)} == {"the-good-one", "tuesday"}
    again = ["train", "--resume", "the-good-one", "--max-steps", "22"]
    assert "step 22, all steps done" in said(*again, cwd=workspace)


def test_what_does_each_preset_cost(workspace: Path) -> None:
    table = said("presets", cwd=workspace)
    assert re.search(r"^demo +963 k +bpe 1.2k +1\.2 +2 ", table, re.MULTILINE)
    assert len(facts("presets", cwd=workspace)) > 15


def test_will_it_fit_in_memory_and_how_long_will_it_take(workspace: Path) -> None:
    before = sorted(path.name for path in (workspace / "runs").iterdir())
    table = said(
        "train", "--data", "reviews", "--dry-run", "--measure", "--max-steps", "40", *TINY_RUN,
        cwd=workspace,
    )  # fmt: skip
    assert re.search(r"memory that is free.*MB: enough", table)
    assert re.search(r"time|takes", table)
    assert sorted(path.name for path in (workspace / "runs").iterdir()) == before


def test_which_settings_has_the_optimizer(workspace: Path) -> None:
    told = said("settings", "training.optimizer", cwd=workspace)
    assert all(word in told for word in ("adam, adamw, muon", "beta_1", "muon_momentum"))


def test_end_early_and_keep_the_rates_horizon(workspace: Path) -> None:
    begin = ["train", "--data", "reviews", "--name", "short", "--max-steps", "40", *BIGRAM_RUN]
    assert "step 6, --stop-at-step 6" in said(*begin, "--stop-at-step", "6", cwd=workspace)
    listed = {run["run"]: run for run in facts("runs", cwd=workspace)}
    assert (listed["short"]["step"], listed["short"]["max_steps"]) == (6, 40)
    assert listed["short"]["state"] == "stopped"


def test_draw_two_runs_in_one_picture(workspace: Path) -> None:
    said("plot", "monday", "tuesday", "--output", "both.png", cwd=workspace)
    assert (workspace / "both.png").read_bytes().startswith(b"\x89PNG")
