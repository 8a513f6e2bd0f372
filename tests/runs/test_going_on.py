"""A run goes on beyond its end, and with other rates: bit for bit what was planned so."""

import re
import shutil
from pathlib import Path

import pytest
from commands import BIGRAM_RUN, TINY_RUN, called, tree
from run_digests import digests, metrics

import gpt_tf
from gpt_tf.config_files import read_config_file
from gpt_tf.errors import UsageError
from gpt_tf.reports.loss_picture import draw_again
from gpt_tf.runs.kept_end import keep_end
from gpt_tf.runs.ways_on import NO_WARM_UP, ways_on
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage.checkpoint import CheckpointStore, checkpoint_step
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.storage.yaml_file import dump_yaml

# Warm-up to step 5, held to step 14, which no interval falls on; falling to step 20.
WSD = [*TINY_RUN, "--set", "training.schedule=linear", "--set", "training.decay_share=0.4",
       "--set", "training.keep_checkpoints=1"]  # fmt: skip
BEGIN = ["train", "--data", "reviews", "--name"]


def store_of(workspace: Path, run: str) -> CheckpointStore:
    return CheckpointStore(workspace / "runs" / run / "checkpoints")


def steps_of(workspace: Path, run: str) -> list[int]:
    return [checkpoint_step(name) for name in store_of(workspace, run).names()]


def settings_of(workspace: Path, run: str) -> dict:
    return read_config_file(workspace / "runs" / run / "config.yaml")["training"]


def assert_same(workspace: Path, run: str, planned: str, step: int) -> None:
    """Two runs have come to the same, bit for bit, on the way, too."""
    assert digests(workspace, run, step) == digests(workspace, planned, step)
    assert metrics(workspace, run) == metrics(workspace, planned)
    texts = [(workspace / "runs" / name / "samples.md").read_text() for name in (run, planned)]
    assert texts[0] == texts[1]


@pytest.fixture(scope="module")
def held_workspace(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run `wsd` that held its rate, and has ended; do not write."""
    workspace = tmp_path_factory.mktemp("held") / "workspace"
    shutil.copytree(trained_workspace, workspace)
    called(*BEGIN, "wsd", "--max-steps", "20", *WSD, cwd=workspace)
    return workspace


@pytest.fixture
def held(held_workspace: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    copy = tmp_path / "workspace"
    shutil.copytree(held_workspace, copy)
    return copy


def test_the_checkpoint_at_which_the_rate_begins_to_fall_is_kept(held: Path) -> None:
    store = store_of(held, "wsd")
    assert store.stable_name() == "step-00000014"
    log = (held / "runs" / "wsd" / "run.log").read_text()
    assert "saved step-00000014, where the learning rate begins to fall\n" in log
    assert "saved step-00000020\n" in log
    best = store.best_name()
    assert best is not None
    assert set(steps_of(held, "wsd")) == {14, checkpoint_step(best), 20}
    store.rotate(1)
    assert "step-00000014" in store.names()


def test_a_run_that_held_its_rate_goes_on_as_one_planned_so(held: Path) -> None:
    before = tree(held / "runs" / "wsd")
    result = called("train", "--resume", "wsd", "--max-steps", "+20", cwd=held)
    assert "max_steps: 40 = 20 + 20" in result.stderr
    assert "from step 14, where the rate began to fall: steps 15 to 20 are done" in result.stderr
    called(*BEGIN, "planned", "--max-steps", "40", *WSD, cwd=held)
    assert_same(held, "wsd", "planned", 40)
    assert settings_of(held, "wsd") == settings_of(held, "planned")
    assert steps_of(held, "wsd") == steps_of(held, "planned")
    # nothing of the old end is lost
    kept = tree(held / "runs" / "wsd-to-20")
    assert kept.pop("loss.png") != before.pop("loss.png")  # its title is the name
    assert kept == {name: before[name] for name in kept}
    assert {name for name in before if name.startswith("checkpoints")} <= kept.keys()
    log = (held / "runs" / "wsd" / "run.log").read_text()
    assert f"the run as it was at step 20 is kept: {held / 'runs' / 'wsd-to-20'}" in log
    line = "linear with a peak of 0.003, warm-up to step 5, falling to 0 from step 26 to 40"
    assert f"learning rate: {line}" in log


@pytest.mark.long
@pytest.mark.parametrize(
    "how",
    [[], ["training.steps_per_execution=4"], ["training.grad_accum_steps=2"],
     ["training.grad_accum_steps=2", "training.steps_per_execution=4"],
     ["training.optimizer=muon"], ["training.schedule=cosine"]],
)  # fmt: skip
def test_it_does_so_however_steps_are_called_and_wherever_it_was_stopped(
    workspace: Path, how: list[str]
) -> None:
    # Whether a run is measured before its first step otherwise depends on how long it is to be.
    settings = ["training.evaluate_first=on", *how]
    words = [*WSD, *(word for setting in settings for word in ("--set", setting))]
    called(*BEGIN, "planned", "--max-steps", "40", *words, cwd=workspace)
    for stop in (7, 14, 17, None):
        at = [] if stop is None else ["--stop-at-step", str(stop)]
        name = f"to-{stop}"
        called(*BEGIN, name, "--max-steps", "20", *words, *at, cwd=workspace)
        called("train", "--resume", name, "--max-steps", "40", cwd=workspace)
        assert_same(workspace, name, "planned", 40)
        assert (workspace / "runs" / f"{name}-to-{stop or 20}").exists() == (stop in (17, None))


@pytest.mark.long
def test_a_run_killed_as_it_went_on_does_so_when_it_is_resumed(held: Path) -> None:
    path = held / "runs" / "wsd" / "config.yaml"
    stored = read_config_file(path)
    stored["training"]["max_steps"] = 40
    path.write_text(dump_yaml(stored))
    called("train", "--resume", "wsd", cwd=held)
    called(*BEGIN, "planned", "--max-steps", "40", *WSD, cwd=held)
    assert_same(held, "wsd", "planned", 40)


def test_a_killed_end_is_kept_once_and_as_it_was(held: Path) -> None:
    # whoever calls it is in another workspace
    run, workspace = RunDirectory(held / "runs" / "wsd"), Workspace(held / "elsewhere")
    settings, left = run.config_file.read_text(), run.checkpoints.names()[-1:]
    kept = keep_end(run, workspace, left)  # killed here, before the run has changed
    assert kept.path == held / "runs" / "wsd-to-20"
    before = tree(kept.path)
    run.config_file.write_text(settings.replace("max_steps: 20", "max_steps: 40"))
    assert keep_end(run, workspace, left).path == kept.path  # killed here, as it had begun
    assert tree(kept.path) == before
    model = f"checkpoints/{left[0]}/model.safetensors"
    assert [run.path.joinpath(name).samefile(kept.path / name)
            for name in (model, "metrics.jsonl")] == [True, False]  # fmt: skip
    shutil.rmtree(kept.path / "checkpoints")  # another run has the name
    another = keep_end(run, workspace, left)
    assert another.name == "wsd-to-20-2" and another.config_file.read_text() == settings
    picture = another.loss_picture.read_bytes()
    draw_again(another)
    assert another.loss_picture.read_bytes() == picture != run.loss_picture.read_bytes()


@pytest.mark.long
def test_an_end_is_kept_beside_a_broken_link_and_whatever_the_length_of_the_name(
    held: Path,
) -> None:
    workspace = Workspace(held)
    run = RunDirectory((held / "runs" / "wsd").rename(held / "runs" / ("é" * 99)))
    (held / "runs" / f"{'é' * 85}-to-20").symlink_to("nowhere")
    kept = keep_end(run, workspace, run.checkpoints.names()[-1:])
    assert kept.name == f"{'é' * 85}-to-20-2"
    assert kept.checkpoints.names() == run.checkpoints.names()


@pytest.mark.usefixtures("eagerly")
def test_a_constant_rate_goes_on_from_the_last_checkpoint(workspace: Path) -> None:
    words = [*TINY_RUN, "--set", "training.schedule=constant"]
    called(*BEGIN, "short", "--max-steps", "10", *words, cwd=workspace)
    result = called("train", "--resume", "short", "--max-steps", "15", cwd=workspace)
    assert "resumed from step-00000010" in result.stderr
    called(*BEGIN, "planned", "--max-steps", "15", *words, cwd=workspace)
    assert_same(workspace, "short", "planned", 15)
    assert not list(workspace.glob("runs/short-*"))


@pytest.mark.parametrize("stops", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_second_stretch_is_what_the_settings_say(workspace: Path, stops: bool) -> None:
    """The settings in config.yaml say all: a new run with them comes to the same."""
    words = ["--max-steps", "32", "--learning-rate", "2e-3", "--set", "training.schedule=linear",
             "--set", "training.warmup_steps=2"]  # fmt: skip
    stop = ["--stop-at-step", "26"] if stops else []
    result = called("train", "--resume", "tiny", *words, *stop, cwd=workspace)
    assert "resumed from step-00000020" in result.stderr
    if stops:
        called("train", "--resume", "tiny", cwd=workspace)
    stored = settings_of(workspace, "tiny")
    assert (stored["schedule_begin"], stored["max_steps"]) == (20, 32)
    (earlier,) = stored["earlier_rates"]
    assert (earlier["until_step"], earlier["max_steps"], earlier["schedule"]) == (20, 20, "cosine")
    rates = {row["step"]: row["train/learning_rate"] for row in metrics(workspace, "tiny")
             if "train/learning_rate" in row}  # fmt: skip
    # a row has the rate of the update that came to its step
    wanted = {21: 1e-3, 24: 2e-3 * 9 / 10, 27: 2e-3 * 6 / 10, 30: 2e-3 * 3 / 10}
    assert {step: rates[step] for step in wanted} == pytest.approx(wanted, rel=1e-5)

    config = workspace / "runs" / "tiny" / "config.yaml"
    called(*BEGIN, "planned", "--config", str(config), cwd=workspace)
    assert_same(workspace, "tiny", "planned", 32)


@pytest.mark.usefixtures("eagerly")
def test_a_second_stretch_that_is_stopped_is_resumed_to_its_end(workspace: Path) -> None:
    called(*BEGIN, "table", "--max-steps", "10", *BIGRAM_RUN, cwd=workspace)
    words = ["--max-steps", "20", "--set", "training.schedule=linear", "--set",
             "training.warmup_steps=0", "--stop-at-step", "14"]  # fmt: skip
    called("train", "--resume", "table", *words, cwd=workspace)
    said = called("train", "--resume", "table", cwd=workspace).stdout
    assert "table: step 20, all steps done" in said


def test_a_changed_rate_is_recorded_with_the_step_from_which_it_holds(stopped: Path) -> None:
    words = ["--learning-rate", "5e-4", "--set", "training.eval_interval=4"]
    result = called("train", "--resume", "stopped", *words, cwd=stopped)
    said = "changed setting: training.peak_learning_rate: 0.003 in the checkpoint, 0.0005 now"
    log = (stopped / "runs" / "stopped" / "run.log").read_text()
    assert said in result.stderr and f"INFO {said}" in log
    line = "from step 10: cosine with a peak of 0.0005, falling to 0 from step 5 to 20"
    assert f"learning rate: {line}" in log
    stored = settings_of(stopped, "stopped")
    assert (stored["peak_learning_rate"], stored["eval_interval"]) == (5e-4, 4)
    (earlier,) = stored["earlier_rates"]
    assert (earlier["until_step"], earlier["peak_learning_rate"]) == (10, 3e-3)
    assert {12, 16} <= {row["step"] for row in metrics(stopped, "stopped") if "eval/loss" in row}
    assert "earlier_rates" not in result.stderr
    shown = called("show", "stopped", cwd=stopped).stdout
    assert line in " ".join(shown.split()) and "earlier_rates" not in shown
    called("export", "stopped", "--to", "exported", cwd=stopped)
    card = (stopped / "exported" / "README.md").read_text()
    first = (
        "to step 10: cosine with a peak of 0.003, warm-up to step 5, falling from step 5, with 0 "
        "planned for step 20"
    )
    assert f"| learning rate | {first}; {line} |" in card


def refused(workspace: Path, run: str, *words: str) -> str:
    """What is said of a resume that is refused, and changes nothing."""
    before = tree(workspace)
    result = called("train", "--resume", run, *words, cwd=workspace, check=False)
    assert result.returncode == 2, result.stderr
    assert tree(workspace) == before
    assert "changed setting" not in result.stderr
    return result.stderr


SCHEDULE = "training.schedule=linear"


@pytest.mark.parametrize(
    ("run", "words", "said"),
    [
        ("stopped", ["--max-steps", "9"], "too few steps in --max-steps: 9: the run is at"),
        ("stopped", ["--max-steps", "10"], "To end a run early, use --stop-at-step"),
        ("stopped", ["--max-steps", "15"], "`gpt-tf train --resume stopped --stop-at-step 15`"),
        ("stopped", ["--max-steps", "40"], "Train it to its end, `gpt-tf train --resume stopped`,"),
        ("stopped", ["--max-steps", "40", "--set", SCHEDULE], "another schedule before the end"),
        ("stopped", ["--set", "training.warmup_steps=2"], "training.warmup_steps: 5 in the check"),
        ("stopped", ["--set", "training.decay_share=0.5"], "The rate falls until step 20"),
        ("stopped", ["--set", "training.optimizer=adamw"], "training.optimizer: adam in the check"),
        ("stopped", ["--set", "training.schedule_begin=3"], "schedule_begin must be at most"),
        ("stopped", ["--batch-size", "8", "--learning-rate", "1e-4"], "training.batch_size: 4 in"),
        ("tiny", ["--max-steps", "40"], "The rate has fallen to its end."),
        ("tiny", ["--max-steps", "+20"], f"40 --set training.schedule=cosine {NO_WARM_UP}`"),
        ("tiny", ["--max-steps", "19"], "step 20. Give more steps; +19 means 19 more than"),
        ("tiny", ["--learning-rate", "1e-4"], "no effect of another rate: the run is at its last"),
        ("tiny", ["--set", SCHEDULE], f"--set {SCHEDULE} --max-steps 40 {NO_WARM_UP}`"),
        ("tiny", ["--max-steps", "20", "--learning-rate", "1e-4"], "--learning-rate 0.0001 --max-"),
        ("tiny", ["--max-steps", "20", "--set", SCHEDULE], f"{SCHEDULE} --max-steps 40 "),
        ("tiny", ["--max-steps", "25", "--set", SCHEDULE], "they end inside the warm-up, which"),
        ("tiny", ["--set", "training.patience=9", "--set", "training.keep_checkpoints=7"],
         "no effect of training.patience, training.keep_checkpoints: the run is at its last step, "
         "20. Add more steps: `gpt-tf train --resume tiny --set training.patience=9 --set training."
         f"keep_checkpoints=7 --max-steps 40 --set training.schedule=cosine {NO_WARM_UP}`."),
        ("tiny", ["--max-steps", "40", "--data", "my reviews", "--stop-at-step", "30"],
         "40 --data 'my reviews' --stop-at-step 30 --set training.schedule=cosine --set "),
        ("stopped", ["--set", "training.patience=9", "--stop-at-step", "9"], "no effect in --stop"),
        ("tiny", ["--max-steps", "40", "--stop-at-step", "9", "--set", SCHEDULE], "--stop-at-step"),
    ],
)  # fmt: skip
def test_what_cannot_go_on_so_is_refused_and_changes_nothing(
    stopped_workspace: Path, run: str, words: list[str], said: str
) -> None:
    assert said in refused(stopped_workspace, run, *words)


@pytest.mark.parametrize("command", [["train"], ["sweep", "--grid", "training.seed=1,2"]])
def test_a_new_run_is_not_told_how_many_more_steps_it_has(
    tmp_path: Path, command: list[str]
) -> None:
    said = called(*command, "--max-steps", "+20", cwd=tmp_path, check=False)
    assert said.returncode == 2 and not tree(tmp_path)
    assert said.stderr.startswith("error: steps to add in --max-steps: +20: a new run begins")
    assert "Give all its steps, --max-steps 20," in said.stderr


@pytest.mark.usefixtures("eagerly")
def test_patience_that_is_used_up_is_named_and_a_larger_one_goes_on(stopped: Path) -> None:
    """A rate of 0 improves nothing after the first evaluation."""
    still = ["--learning-rate", "0", "--set", "training.eval_interval=1"]
    words = [*still, "--set", "training.patience=2"]
    result = called("train", "--resume", "stopped", *words, cwd=stopped)
    assert "step 12, no better evaluation for 2 times" in result.stdout
    assert "train --resume stopped --set training.patience=4\n" in result.stderr
    said = refused(stopped, "stopped", "--learning-rate", "1e-3")
    assert "Add --set training.patience=4 to go on." in said
    more = ["--set", "training.patience=9", "--learning-rate", "1e-3", "--stop-at-step", "14"]
    assert (
        "step 14, --stop-at-step 14"
        in called("train", "--resume", "stopped", *more, cwd=stopped).stdout
    )
    rates = [rate["until_step"] for rate in settings_of(stopped, "stopped")["earlier_rates"]]
    assert rates == [10, 12]


@pytest.mark.usefixtures("eagerly")
def test_the_command_with_more_steps_has_the_patience_that_it_needs(stopped: Path) -> None:
    """The last evaluation of a run may be the one that uses its patience up."""
    still = ["--learning-rate", "0", "--set", "training.eval_interval=5"]
    called("train", "--resume", "stopped", *still, "--set", "training.patience=2", cwd=stopped)
    said = refused(stopped, "stopped", "--set", "training.patience=1")
    assert said.split("`")[1].count("patience") == 1 and "training.patience=3" in said
    said = refused(stopped, "stopped", "--set", "training.keep_checkpoints=7")
    _, command, _ = said.replace("\n", " ").split("`")
    assert "--set training.patience=4" in command
    result = called(*command.split()[1:], "--stop-at-step", "21", cwd=stopped)
    assert "step 21, --stop-at-step 21" in result.stdout


def test_a_run_that_has_ended_names_the_ways_that_work_for_it(
    held_workspace: Path, stopped_workspace: Path
) -> None:
    ways = {
        name: ways_on(RunDirectory(place / "runs" / name), name)
        for place, name in ((held_workspace, "wsd"), (stopped_workspace, "tiny"))
    }
    another = "begin another with its weights: gpt-tf train --from "
    assert ways == {
        "wsd": [
            "go on from step 14, where the rate began to fall: gpt-tf train --resume wsd "
            "--max-steps 40",
            f"{another}wsd",
        ],
        "tiny": [
            "the rate has fallen; go on with a second stretch: gpt-tf train --resume tiny "
            f"--max-steps 40 --set training.schedule=cosine {NO_WARM_UP}",
            f"{another}tiny",
        ],
    }
    stopped = ways_on(RunDirectory(stopped_workspace / "runs" / "stopped"), "stopped")
    assert stopped == ["go on to step 20: gpt-tf train --resume stopped"]
    result = called("train", "--resume", "tiny", cwd=stopped_workspace)
    assert all(f"{way}\n" in result.stderr for way in ways["tiny"])


@pytest.mark.usefixtures("eagerly")
def test_a_python_program_goes_on_in_the_same_way(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stopped)
    run = gpt_tf.load("stopped", quiet=True)
    before = tree(stopped)
    for words, said in (
        ({"max_steps": 9}, "too few steps in max_steps: 9"),
        ({"max_steps": 40}, "`gpt-tf train --resume stopped --max-steps 40 --set training.sched"),
        ({"max_step": 40}, "unknown argument of resume: max_step. Did you mean max_steps?"),
        ({"set": {"training.seed": 1}}, "training.seed: 2023 in the checkpoint, 1 now"),
        ({"seed": 1, "set": {"training": {"seed": 2}}}, "given twice: training.seed"),
    ):
        with pytest.raises(UsageError, match=re.escape(said)):
            run.resume(**words)
    assert tree(stopped) == before
    run.resume(peak_learning_rate=5e-4, stop_at_step=12)
    (earlier,) = settings_of(stopped, "stopped")["earlier_rates"]
    assert (earlier["until_step"], earlier["peak_learning_rate"]) == (10, 3e-3)


def test_changed_data_are_refused_with_a_command_that_goes_on_with_them(stopped: Path) -> None:
    next((stopped / "reviews").rglob("*.txt")).write_text("Another text.")
    words = ["--learning-rate", "1e-3", "--set", "training.patience=9"]
    said = refused(stopped, "stopped", *words)
    assert (
        "--resume stopped --learning-rate 0.001 --set training.patience=9 --accept-data-change`"
        in said.replace("--set training.patience=9 --learning-rate 0.001",
                        "--learning-rate 0.001 --set training.patience=9")
    )  # fmt: skip
