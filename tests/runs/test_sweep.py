"""`gpt-tf sweep`: every cell of the grid once, whatever stops it, and the best one found."""

import csv
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import TINY_RUN, called, in_process
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_runs import made_run
from matplotlib.image import imread

from gpt_tf.config_files import read_preset
from gpt_tf.errors import RunError, UsageError
from gpt_tf.reports.heatmap import draw_grid
from gpt_tf.reports.text_table import short_names
from gpt_tf.runs.sweeps.grid import Cell, make_cells, parse_grid
from gpt_tf.runs.sweeps.plan import (
    Plan,
    SweepDirectory,
    find_sweep,
    new_sweep,
    newest_sweep,
    resolve_cells,
)
from gpt_tf.runs.sweeps.results import Result, Results, read_result
from gpt_tf.storage.finding_runs import check_name
from gpt_tf.storage.lock import locked
from gpt_tf.storage.manifest import sha256_file
from gpt_tf.streaming.corpora.sample_reviews import write_sample_reviews

GRID = ["--grid", "model.head_dim=8,16", "--grid", "training.peak_learning_rate=1e-2,1e-3"]
# The first checkpoint is before the first evaluation, whose compilation leaves time for a signal.
CELL = [
    *TINY_RUN,
    "--set",
    "training.eval_interval=8",
    "--set",
    "training.checkpoint_interval=4",
    "--max-steps",
    "10",
]
SWEEP = ["sweep", "--data", "reviews", "--name", "grid", *GRID, *CELL]
DEBUG = "--debug"  # shows the course of each training
RUNS = [f"grid-head_dim={dim},learning_rate={rate}" for dim in (8, 16) for rate in (0.01, 0.001)]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a folder `reviews` and its tokenizer; do not write."""
    workspace = tmp_path_factory.mktemp("fresh") / "workspace"
    write_sample_reviews(workspace / "corpus", train_per_class=50, test_per_class=0)
    (workspace / "corpus" / "train").rename(workspace / "reviews")
    called("train-tokenizer", "reviews", "--vocab-size", "400", cwd=workspace)
    return workspace


@pytest.fixture(scope="module")
def swept(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a sweep `grid` that nothing stopped; do not write."""
    workspace = tmp_path_factory.mktemp("swept") / "workspace"
    shutil.copytree(fresh, workspace)
    result = called(*SWEEP, cwd=workspace)
    (workspace / "stdout").write_text(result.stdout)
    (workspace / "stderr").write_text(result.stderr)
    return workspace


def table(workspace: Path, name: str = "grid") -> list[dict[str, str]]:
    """The rows of results.csv without the time they took."""
    text = (workspace / "sweeps" / name / "results.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def weights(workspace: Path) -> dict[str, str]:
    return {
        run: sha256_file(workspace / "runs" / run / "checkpoints/step-00000010/model.safetensors")
        for run in RUNS
    }


def hparams(run: Path) -> list[dict[str, object]]:
    """The values in each HParams summary of a run's event files."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = []
    for path in run.glob("events.*"):
        data, at = path.read_bytes(), 0
        while at < len(data):  # a record: length, its checksum, contents, their checksum
            size = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + size])
            at += size + 16
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "hparams":
                    content = value.metadata.plugin_data.content
                    start = HParamsPluginData.FromString(content).session_start_info
                    values = {key: item.number_value for key, item in start.hparams.items()}
                    found.append({"trial": start.group_name, **values})
    return found


def is_blank(picture: Path) -> bool:
    pixels = imread(picture)
    return bool(np.ptp(pixels[..., :3]) < 0.1)


def stop(workspace: Path, arguments: list[str], after: str, number: int) -> tuple[int, str]:
    """Run `gpt-tf`, send it a signal once it has said `after`; its exit code and its last words."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gpt_tf", *arguments],
        cwd=workspace,
        env=os.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if after in said:
            break
    process.send_signal(number)
    _, rest = process.communicate(timeout=300)
    return process.returncode, said + rest


def test_every_combination_is_trained_and_the_best_comes_first(swept: Path) -> None:
    rows = table(swept)
    assert sorted(row["run"] for row in rows) == sorted(RUNS)
    assert {(row["head_dim"], row["peak_learning_rate"]) for row in rows} == set(
        itertools.product(("8", "16"), ("0.01", "0.001"))
    )
    assert all(row["steps"] == "10" and row["error"] == "" for row in rows)
    losses = [float(row["loss"]) for row in rows]
    assert losses == sorted(losses)
    assert np.allclose(np.exp(losses), [float(row["perplexity"]) for row in rows])
    assert rows[0]["peak_learning_rate"] == "0.01"  # ten steps at a tenth of it learn less
    log = (swept / "runs" / rows[0]["run"] / "run.log").read_text()
    assert f"{int(rows[0]['parameters']):,} parameters" in log

    said = (swept / "stderr").read_text()
    assert "4 cells" in said
    cells = [line for line in said.splitlines() if line.startswith("cell ")]
    assert len(cells) == 4
    loss = next(row["loss"] for row in rows if row["run"] == RUNS[2])
    assert cells[2].startswith(f"cell 3 of 4: {RUNS[2]}, loss {float(loss):.4f}, perplexity ")
    assert re.search(r", \d\d:\d\d, left \d\d:\d\d$", cells[2]) and "left" not in cells[3]
    assert "step 8" not in said and "saved" not in said and "TensorFlow" not in said
    lines = (swept / "stdout").read_text().splitlines()
    assert [line.split()[-1] for line in lines[:5]] == ["run", *(row["run"] for row in rows)]
    assert not is_blank(swept / "sweeps" / "grid" / "heatmap.png")


@pytest.mark.long
def test_stopped_and_killed_sweep_equals_one_that_was_not(
    fresh: Path, swept: Path, tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(fresh, workspace)
    code, said = stop(workspace, [*SWEEP, DEBUG], "saved step-00000004", signal.SIGTERM)
    assert code == 128 + signal.SIGTERM, said
    assert "gpt-tf sweep --resume grid" in said

    resume = ["sweep", "--resume", "grid", DEBUG]
    code, said = stop(workspace, resume, f"runs/{RUNS[1]}: ", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert "resumed from step-0000000" in said
    # Killed later, after a checkpoint, and while a cell was being prepared.
    code, said = stop(workspace, resume, "saved step-00000004", signal.SIGKILL)
    assert "cell 2 of 4" in said
    begun = workspace / "runs" / RUNS[2]
    (begun / "checkpoints" / "step-00000004.gpt-tf-99-abcdef.tmp").mkdir(parents=True)
    (begun / "config.yaml").write_text("model:")
    shutil.copy(workspace / "runs" / RUNS[0] / "source.json", begun)

    result = called("sweep", "--resume", DEBUG, cwd=workspace)
    assert f"cell 1 of 4: {RUNS[0]}, done before" in result.stderr
    assert f"cell 3 of 4: {RUNS[2]}, head_dim=16 peak_learning_rate=0.01" in result.stderr
    assert result.stderr.count("resumed from step-00000004") == 1
    assert table(workspace) == table(swept)
    assert weights(workspace) == weights(swept)
    assert sorted(path.name for path in (workspace / "runs").iterdir()) == sorted(RUNS)
    assert hparams(workspace / "runs" / RUNS[1]) == [
        {"trial": RUNS[1], "model.head_dim": 8.0, "training.peak_learning_rate": 0.001}
    ]
    for run in RUNS:
        assert len(hparams(workspace / "runs" / run)) == 1


def test_a_moved_sweep_goes_on_and_takes_moved_data(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(swept, workspace, copy_function=shutil.copyfile)  # all files are younger
    shutil.rmtree(workspace / "runs" / RUNS[3])
    in_process("sweep", "--resume", "grid", cwd=workspace)
    assert table(workspace) == table(swept)
    assert weights(workspace) == weights(swept)
    in_process("train-tokenizer", "reviews", "--vocab-size", "300", cwd=workspace)
    assert in_process("sweep", "--resume", "grid", cwd=workspace, check=False) == 2
    assert "another tokenizer in" in capsys.readouterr().err
    shutil.rmtree(workspace / "tokenizers" / "reviews")
    copy = workspace / "runs" / RUNS[0] / "tokenizer"
    shutil.copytree(copy, workspace / "tokenizers" / "reviews")
    (workspace / "reviews").rename(tmp_path / "elsewhere")
    assert in_process("sweep", "--resume", "grid", cwd=workspace, check=False) == 2
    said = capsys.readouterr().err
    assert "gpt-tf sweep --resume grid --data PLACE" in said
    command = ["sweep", "--resume", "grid", "--data", str(tmp_path / "elsewhere")]
    in_process(*command, cwd=workspace)
    in_process("sweep", "--resume", "grid", cwd=workspace)  # the place is known now
    next((tmp_path / "elsewhere").rglob("*.txt")).write_text("Another text.")
    assert in_process(*command, cwd=workspace, check=False) == 2
    assert "the data changed since the sweep grid was started" in capsys.readouterr().err


@pytest.mark.usefixtures("eagerly")
def test_a_tokenizer_or_data_that_change_between_two_cells_end_the_sweep(
    fresh: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(fresh, workspace)
    tokenizer = workspace / "tokenizers" / "reviews"
    text = next((workspace / "reviews").rglob("*.txt"))

    def before_cell_2(change: Callable[[], object]) -> None:
        look_up = Results.of

        def looked_up(results: Results, cell: Cell) -> Result | None:
            if cell.run == "s-seed=2":
                monkeypatch.setattr(Results, "of", look_up)
                change()
            return look_up(results, cell)

        monkeypatch.setattr(Results, "of", looked_up)

    def check_ended(said: str) -> None:
        assert "Restore" in said and "continue with `gpt-tf sweep --resume s`" in said
        assert [path.name for path in (workspace / "runs").iterdir()] == ["s-seed=1"]
        assert [row["run"] for row in table(workspace, "s")] == ["s-seed=1"]

    before_cell_2(lambda: tokenizer.rename(tmp_path / "elsewhere"))
    command = ["sweep", "--data", "reviews", "--name", "s", "--grid", "training.seed=1,2",
               *TINY_RUN, "--set", "training.warmup_steps=1", "--max-steps", "2"]  # fmt: skip
    assert in_process(*command, cwd=workspace, check=False) == 2
    said = capsys.readouterr().err
    assert (
        f"no tokenizer in {tokenizer} any more, the one that the sweep s was started with" in said
    )
    assert said.count("\ndata: ") == said.count("\ntokenizer: ") == said.count("\ntrain: ") == 1
    check_ended(said)

    (tmp_path / "elsewhere").rename(tokenizer)
    before_cell_2(lambda: text.write_text("Another text."))
    assert in_process("sweep", "--resume", "s", cwd=workspace, check=False) == 2
    said = capsys.readouterr().err
    assert "the data changed since the sweep s was started" in said
    check_ended(said)


def test_another_run_in_the_place_of_a_cell_is_refused_by_name(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(swept, workspace)
    runs = workspace / "runs"
    shutil.rmtree(runs / RUNS[0])
    (runs / RUNS[1]).rename(runs / RUNS[0])
    before = table(workspace)
    for _ in range(2):
        assert in_process("sweep", "--resume", "grid", cwd=workspace, check=False) == 2
        said = capsys.readouterr().err
        assert f"another run in the place of a cell: {runs / RUNS[0]} has " in said
        assert "training.peak_learning_rate=0.001 instead of 0.01. `gpt-tf delete " in said
        (workspace / "sweeps" / "grid" / "results.json").unlink(missing_ok=True)
    assert table(workspace) == before


@pytest.fixture(scope="module")
def resumed(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep resumed after damage; do not write.

    Of the second cell the newest checkpoint is cut off, of the third config.yaml is lost, of the
    fourth all checkpoints are damaged.
    """
    workspace = tmp_path_factory.mktemp("resumed") / "workspace"
    shutil.copytree(swept, workspace)
    results = workspace / "sweeps" / "grid" / "results.json"
    results.write_text(results.read_text().replace('"done"', '"begun"'))
    models = [
        path
        for run in (RUNS[1], RUNS[3])
        for path in sorted((workspace / "runs" / run).glob("checkpoints/*/model.safetensors"))
    ]
    for path in models:
        if RUNS[3] in path.parts or path.parent.name == "step-00000010":
            os.truncate(path, 5)
    (workspace / "runs" / RUNS[2] / "config.yaml").unlink()
    result = called("sweep", "--resume", "grid", cwd=workspace, check=False)
    assert result.returncode == 1, result.stderr
    (workspace / "stdout").write_text(result.stdout)
    (workspace / "stderr").write_text(result.stderr)
    return workspace


def test_a_damaged_checkpoint_of_a_cell_is_passed_over(swept: Path, resumed: Path) -> None:
    said = (resumed / "stderr").read_text()
    assert "Using the older checkpoint step-0000000" in said
    assert "Traceback" not in said
    assert weights(resumed)[RUNS[1]] == weights(swept)[RUNS[1]]


def test_a_cell_whose_checkpoints_are_all_damaged_fails_and_is_kept(
    swept: Path, resumed: Path
) -> None:
    assert (
        f"{RUNS[3]} (head_dim=16 peak_learning_rate=0.001) failed: no intact checkpoint"
        in (resumed / "stdout").read_text()
    )
    (row,) = [row for row in table(resumed) if row["run"] == RUNS[3]]
    assert "damaged file" in row["error"]
    kept, before = (place / "runs" / RUNS[3] / "checkpoints" for place in (resumed, swept))
    assert {path.name for path in kept.iterdir()} == {path.name for path in before.iterdir()}


def test_lost_settings_of_a_cell_come_from_its_checkpoint(swept: Path, resumed: Path) -> None:
    assert "no settings in" in (resumed / "stderr").read_text()
    assert [row for row in table(resumed) if row["run"] != RUNS[3]] == [
        row for row in table(swept) if row["run"] != RUNS[3]
    ]


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        ("sequence: 1", "sequence: one"), ("settings:", "setings:"),
        (f'- run: "{RUNS[1]}"', "- run: 3"),
        ("cells:", "cells: 7\nother:"), ("head_dim: 8", "head_dim: 8\n  : ["),
        ("grid:", "grid: 3\nx:"),
    ],
)  # fmt: skip
def test_a_damaged_plan_is_told_and_other_sweeps_are_found(
    swept: Path, tmp_path: Path, damage: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = (SweepDirectory(tmp_path / "sweeps" / name) for name in ("good", "bad"))
    plan = (swept / "sweeps" / "grid" / "sweep.yaml").read_text()
    for directory in (good, bad):
        directory.path.mkdir(parents=True)
        directory.plan_file.write_text(plan)
    assert damage in plan
    bad.plan_file.write_text(plan.replace(damage, text))
    assert newest_sweep(tmp_path).name == "good"
    assert in_process("sweep", "--resume", "bad", cwd=tmp_path, check=False) == 1
    said = capsys.readouterr().err
    assert "damaged plan in" in said
    assert "begin another sweep" in said


def test_damaged_results_are_made_again_from_the_runs(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(swept, workspace)
    results = workspace / "sweeps" / "grid" / "results.json"
    for damage in ('[{"run": 1}]', results.read_text().replace('"done"', '"lost"'), "[3]", "{"):
        results.write_text(damage)
        assert in_process("sweep", "--resume", "grid", cwd=workspace, check=False) == 1
        said = capsys.readouterr().err
        assert "damaged results in" in said
        assert "Remove the file" in said
    results.unlink()
    in_process("sweep", "--resume", "grid", cwd=workspace)
    assert table(workspace) == table(swept)


@pytest.mark.usefixtures("eagerly")
def test_cell_that_fails_is_noted_and_the_sweep_goes_on(fresh: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(fresh, workspace)
    result = called(
        "sweep",
        "--data",
        "reviews",
        "--grid",
        "training.peak_learning_rate=1e30,1e-3",
        *CELL,
        "--set",
        "training.warmup_steps=1",
        "--max-steps",
        "4",
        cwd=workspace,
        check=False,
    )
    assert result.returncode == 1
    good, bad = table(workspace, "sweep-001")
    assert (good["run"], good["steps"], good["error"]) == (
        "sweep-001-learning_rate=0.001",
        "4",
        "",
    )
    assert (bad["run"], bad["loss"]) == ("sweep-001-learning_rate=1e+30", "")
    assert "non-finite loss" in bad["error"]
    assert f"{bad['run']} (peak_learning_rate=1e+30) failed: non-finite loss" in result.stdout


def test_a_sweep_in_use_is_left_alone(swept: Path) -> None:
    result = called(*SWEEP, cwd=swept, check=False)
    assert result.returncode == 2
    assert "sweep directory in use" in result.stderr
    assert "--resume grid" in result.stderr
    with locked(swept / "sweeps" / "grid"):
        result = called("sweep", "--resume", "grid", cwd=swept, check=False)
    assert result.returncode == 2
    assert f"process {os.getpid()}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--grid model.num_layers="),
        (["--grid", "model.num_heads=2,x", "--grid", "model.nun_layers=1"],
         ", dropout, lora.\n  model.num_heads must be of "
         "type int, received: 'x' (in 1 of 2 cells, the first num_heads=x nun_layers=1)"),
        (["--grid", "training.max_steps=5,6"], "--grid: training.max_steps. Leave one out."),
        (["--grid", "model.num_heads=2", "--set", "data.validation_share=0"],
         "no validation data"),
        (["--resume", "grid"], "--max-steps cannot be given with --resume"),
    ],
)  # fmt: skip
def test_mistakes_end_it_before_anything_is_trained(
    fresh: Path, arguments: list[str], message: str
) -> None:
    given = ["--max-steps", "5", "--data", "reviews", "--set", "training.warmup_steps=1"]
    result = called(
        "sweep",
        *(given if "--resume" not in arguments else given[:2]),
        *arguments,
        cwd=fresh,
        check=False,
    )
    assert result.returncode == 2
    assert message in result.stderr
    assert not (fresh / "sweeps").exists()
    assert not (fresh / "runs").exists()


def test_grid_values_are_yaml_scalars() -> None:
    grid = parse_grid(
        [
            "training.peak_learning_rate=1e-3, 3e-4",
            "model.head_dim=null,8",
            "model.tied_head=true,false",
            'sampling.prompt="a, b",c',
            "training.xla=on,off",
        ]
    )
    assert grid == {
        "training.peak_learning_rate": [1e-3, 3e-4],
        "model.head_dim": [None, 8],
        "model.tied_head": [True, False],
        "sampling.prompt": ["a, b", "c"],
        "training.xla": ["on", "off"],
    }


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        (["num_layers=1"], ["no list in --grid: num_layers=1"]),
        (["model.num_layers"], ["no list in --grid: model.num_layers"]),
        (["model.num_layers="], ["no values"]),
        (["model.num_layers=1,[2]", "model.num_layers=3"], ["no single value", "repeated key"]),
        (["model.num_layers=1,{a: 2}"], ["no single value"]),
        (["model.num_layers=1],[2"], ["invalid YAML"]),
        (["model.num_layers=4,4"], ["repeated value in --grid model.num_layers: 4"]),
        (["model.vocab_size=4", "tokenizer.kind=char"], ["model.vocab_size", "tokenizer.kind"]),
        (["model.dropout=1", "model.dropout.head=0.1"], ["overlapping keys"]),
        ([f"a.k{i}={','.join(map(str, range(10)))}" for i in range(4)], ["10,000"]),
    ],
)
def test_every_problem_of_a_grid_is_told(options: list[str], problems: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        parse_grid(options)
    for problem in problems:
        assert problem in str(raised.value)


def plan_of(grid: dict, sequence: int = 1, **settings: object) -> Plan:
    return Plan(
        sequence=sequence,
        preset="demo",
        corpus="c",
        data=None,
        validation=None,
        tokenizer="/t",
        settings={**read_preset("demo"), **settings},
        grid=grid,
        cells=make_cells("s", grid),
    )


def test_cells_are_named_by_their_values_and_have_their_settings() -> None:
    plan = plan_of({"model.num_layers": [1, 2], "training.seed": list(range(60))})
    configs = resolve_cells(plan)
    assert plan.cells[0].run == "s-layers=1,seed=0"
    assert plan.cells[-1].run == "s-layers=2,seed=59"
    found = [(config.model.num_layers, config.training.seed) for config in configs]
    assert found == list(itertools.product((1, 2), range(60)))
    assert {config.training.batch_size for config in configs} == {8}


@pytest.mark.parametrize(
    ("grid", "names"),
    [
        ({"model.num_heads": [1], "data.num_threads": [2]}, ["s-heads=1,threads=2"]),
        ({"training.peak_learning_rate": [1e-5], "training.xla": ["on"]},
         ["s-learning_rate=1e-05,xla=on"]),
        ({"training.seed": [1], "data.seed": [2]}, ["s-training.seed=1,data.seed=2"]),
        ({"training.patience": [None, 3]}, ["s-patience=null", "s-patience=3"]),
        ({"sampling.prompt": ["The $film", "$(rm)"]}, ["s-prompt=The__film", "s-prompt=__rm_"]),
        ({"sampling.prompt": ["a b", "a/b", "c"]}, ["s-01", "s-02", "s-03"]),
        ({"sampling.prompt": ["long" * 30]}, ["s-01"]),
        ({"model.num_layers": [1, "1"]}, ["s-01", "s-02"]),
    ],
)  # fmt: skip
def test_the_name_of_a_cell_can_be_typed(grid: dict, names: list[str]) -> None:
    assert [cell.run for cell in make_cells("s", grid)] == names
    for name in names:
        assert shlex.quote(name) == name
        check_name(name, "run")


def test_a_sweep_whose_cells_have_numbers_goes_on(swept: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(swept, workspace)
    files = [workspace / "sweeps" / "grid" / name for name in ("sweep.yaml", "results.json")]
    for number, run in enumerate(RUNS, 1):  # as earlier versions named them
        (workspace / "runs" / run).rename(workspace / "runs" / f"grid-{number:02d}")
        for file in files:
            file.write_text(file.read_text().replace(f'"{run}"', f'"grid-{number:02d}"'))
    said = called("sweep", "--resume", "grid", cwd=workspace)
    assert "cell 4 of 4: grid-04, done before" in said.stderr
    assert sorted(row["run"] for row in table(workspace)) == [f"grid-0{n}" for n in range(1, 5)]


def test_a_problem_between_settings_names_its_cells() -> None:
    plan = plan_of({"model.embed_dim": [4, 64], "model.num_heads": [2, 8]})
    with pytest.raises(UsageError, match=r"in 1 of 4 cells, the first embed_dim=4 num_heads=8"):
        resolve_cells(plan)


scalars = st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=9)


@settings(deadline=None, max_examples=40)  # an fsync takes its time on a busy disk
@example(["1e5", "null", "on", "~", "", "a\x85b", "\u2028", "2020-01-01", "x: y #", "é"])
@given(st.lists(scalars, min_size=1, max_size=4, unique_by=repr))
def test_a_stored_plan_is_read_back(tmp_path_factory: pytest.TempPathFactory, values: list) -> None:
    directory = SweepDirectory(tmp_path_factory.mktemp("plan"))
    plan = plan_of({"sampling.prompt": values})
    directory.write_plan(plan)
    assert directory.read_plan() == plan


def test_names_of_sweeps(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no sweep in"):
        newest_sweep(tmp_path)
    for name, sequence in (("sweep-002", 2), ("sweep-001", 3), ("other", 1)):
        directory = SweepDirectory(tmp_path / "sweeps" / name)
        directory.path.mkdir(parents=True)
        directory.write_plan(plan_of({"model.num_layers": [1]}, sequence))
    assert newest_sweep(tmp_path).name == "sweep-001"
    assert new_sweep(tmp_path, None).name == "sweep-003"
    (tmp_path / "runs" / "sweep-007-01").mkdir(parents=True)
    assert new_sweep(tmp_path, None).name == "sweep-008"
    assert find_sweep(tmp_path, "other").name == "other"
    with pytest.raises(UsageError, match=r"no such sweep: sweep-1\. .*other, sweep-001, sweep-002"):
        find_sweep(tmp_path, "sweep-1")
    for bad in ("../x", ".x", "a b", ""):
        with pytest.raises(UsageError, match="bad sweep name"):
            new_sweep(tmp_path, bad)


def test_damaged_files_are_told(tmp_path: Path) -> None:
    directory = SweepDirectory(tmp_path)
    directory.plan_file.write_text("grid: 3\ncells: 4\n")
    with pytest.raises(RunError, match="damaged plan"):
        directory.read_plan()
    directory.results_file.write_text('[{"run": 1')
    with pytest.raises(RunError, match="damaged results"):
        Results(directory, plan_of({"model.num_layers": [1]}))


def test_a_lower_loss_before_the_first_step_is_not_the_result(tmp_path: Path) -> None:
    run = made_run(tmp_path, "tiny", {10: 3.0, 20: 2.0})
    first = '{"eval/loss": 1.0, "step": 0}\n'
    run.metrics_file.write_text(first + run.metrics_file.read_text())
    assert read_result(run, "done", 1.0).loss == 2.0


def test_ranking_and_what_is_stored(tmp_path: Path) -> None:
    directory = SweepDirectory(tmp_path)
    plan = plan_of({"model.num_layers": [1, 2, 3, 4, 5]})
    results = Results(directory, plan)
    for run, state, loss in (
        ("s-layers=1", "failed", 1.0),
        ("s-layers=2", "done", None),
        ("s-layers=3", "done", 3.0),
        ("s-layers=4", "begun", 0.5),
        ("s-layers=5", "done", 2.0),
    ):
        perplexity = None if loss is None else float(np.exp(loss))
        figures = {"loss": loss, "perplexity": perplexity}
        results.store(Result(run, state, figures=figures))
    results.publish()
    reread = Results(directory, plan)
    ranked = ["s-layers=5", "s-layers=3", "s-layers=2", "s-layers=1"]
    assert [result.run for _, result in reread.ranked()] == ranked
    assert [result.run for _, result in reread.failed()] == ["s-layers=1"]
    rank, columns = reread.table()
    assert (columns[0].name, columns[-1].name) == ("num_layers", "run")
    assert rank.cells == ["1", "2", "3", "4"]
    assert columns[1].cells == ["2.0000", "3.0000", "", "failed"]
    assert columns[-1].cells == ranked
    assert len(directory.table_file.read_text().splitlines()) == 5


def test_short_names_stay_apart() -> None:
    keys = ["model.dropout.head", "model.num_heads", "other.head"]
    assert list(short_names(keys).values()) == ["model.dropout.head", "num_heads", "other.head"]


@pytest.mark.parametrize("keys", [1, 2, 3, 4])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_picture_of_any_number_of_keys(tmp_path: Path, keys: int, share: float) -> None:
    choices = [[1, 2, 3], ["$a_$", "x" * 50], [None, 8], [True, False]]
    grid = {f"section.key{i}": choices[i] for i in range(keys)}
    cells = list(itertools.product(*grid.values()))
    values = {cell: 10.0 ** (1 + i % 3) for i, cell in enumerate(cells) if i < share * len(cells)}
    draw_grid(grid, values, tmp_path / "heatmap.png", title="a $ sweep")
    assert not is_blank(tmp_path / "heatmap.png")


def test_the_best_cell_alone_is_framed(tmp_path: Path) -> None:
    """Red is the frame's colour and no other's: it is where the lowest number is."""
    grid = {"a.rows": [1, 2], "a.columns": [1, 2]}
    for best in itertools.product((1, 2), (1, 2)):
        values = {cell: 2.0 if cell == best else 3.0 for cell in itertools.product((1, 2), (1, 2))}
        draw_grid(grid, values, tmp_path / "heatmap.png", title="")
        pixels = imread(tmp_path / "heatmap.png")
        red = (pixels[..., 0] > 0.8) & (pixels[..., 1] < 0.2) & (pixels[..., 2] < 0.2)
        y, x = (
            indices.mean() / length
            for indices, length in zip(np.nonzero(red), red.shape, strict=True)
        )
        assert (1 if y < 0.5 else 2, 1 if x < 0.5 else 2) == best


def test_a_sweep_killed_while_it_wrote_its_plan_begins_again(tmp_path: Path) -> None:
    litter = tmp_path / "sweeps" / "grid" / "sweep.yaml.gpt-tf-99-abcdef.tmp"
    litter.parent.mkdir(parents=True)
    litter.write_text("preset: de")
    assert new_sweep(tmp_path, "grid").path == litter.parent
    assert not litter.exists()
