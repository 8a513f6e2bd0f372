"""`gpt-tf plot`: several runs in one picture, told apart by the settings in which they differ."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import called
from made_runs import made_run
from matplotlib.figure import Figure

from gpt_tf.config_files import read_config_file
from gpt_tf.rates import OF_RATE
from gpt_tf.reports.compared import labels, tokenizers_differ
from gpt_tf.reports.loss_picture import draw_again
from gpt_tf.reports.plot import MOST_LABELS, runs_figure
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.storage.yaml_file import dump_yaml

ROWS = [{"step": step, "eval/loss": 3.0 - step / 100} for step in range(0, 100, 10)]


def copied(run: Path, name: str, **settings: object) -> RunDirectory:
    """A run beside `run`, with other settings."""
    copy = run.with_name(name)
    shutil.copytree(run, copy)
    text = (copy / "config.yaml").read_text()
    for key, value in settings.items():
        text, count = re.subn(rf"(?m)^(\s+{key}): .*", rf"\1: {value}", text)
        assert count
    (copy / "config.yaml").write_text(text)
    return RunDirectory(copy)


@pytest.fixture
def runs(trained_workspace: Path, tmp_path: Path) -> dict[str, RunDirectory]:
    shutil.copytree(trained_workspace / "runs", tmp_path / "runs")
    tiny = tmp_path / "runs" / "tiny"
    return {
        "tiny": RunDirectory(tiny),
        "small": copied(tiny, "small", batch_size=2, keep_checkpoints=7, log_interval=9),
    }


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_settings_that_all_runs_share_or_that_teach_nothing_are_not_named(runs) -> None:
    assert labels(runs) == ({"tiny": ["batch_size=4"], "small": ["batch_size=2"]}, {})
    assert labels({"tiny": runs["tiny"]}) == ({}, {})


def test_a_run_with_damaged_settings_is_drawn_without_them_and_named(runs, tmp_path: Path) -> None:
    runs["small"].config_file.write_text("[")
    assert labels(runs)[0] == {"small": ["settings unknown"]}
    said = called("plot", cwd=tmp_path).stderr
    (line,) = said.splitlines()
    assert line.startswith(
        "settings unknown, the legend does not compare them: small: invalid YAML"
    )
    said = called("plot", "small", cwd=tmp_path).stderr
    assert said == ""  # the legend of one run names no setting


def test_one_damaged_run_does_not_stop_the_picture_of_the_others(runs, tmp_path: Path) -> None:
    metrics = runs["small"].metrics_file
    metrics.unlink()
    metrics.mkdir()
    for names in ([], ["small", "tiny"]):
        said = called("plot", *names, cwd=tmp_path).stderr
        assert said.startswith("not drawn, it is damaged: small: not a plain file")
        assert len(said.splitlines()) == 1
    refused = called("plot", "small", "--output", "none.png", cwd=tmp_path, check=False)
    assert refused.returncode == 2 and "not a plain file" in refused.stderr
    assert not (tmp_path / "none.png").exists()


def test_many_different_settings_are_counted(runs) -> None:
    names = ("num_layers", "context_length", "seed", "epsilon", "clip_norm", "max_epochs")
    others = dict.fromkeys(names, 7)
    runs["other"] = copied(runs["tiny"].path, "other", **others)
    assert labels(runs)[0]["other"] == [
        "context_length=7", "num_layers=7", "seed=7", "batch_size=4", "max_epochs=7",
        "epsilon=7 and 1 more",
    ]  # fmt: skip


def test_a_run_whose_rate_changed_says_where_without_the_record_of_it(runs) -> None:
    stored = read_config_file(runs["small"].config_file)
    past = {name: stored["training"][name] for name in OF_RATE}
    earlier = [{**past, "until_step": until} for until in (8, 12)]
    stored["training"]["earlier_rates"] = earlier
    runs["small"].config_file.write_text(dump_yaml(stored))
    assert labels(runs)[0] == {
        "tiny": ["batch_size=4"],
        "small": ["batch_size=2", "rate changed at step 8 and 12"],
    }


def test_a_run_without_a_step_is_named_and_not_drawn_beside_others(tmp_path: Path) -> None:
    for name, losses in (("begun", {0: 7.0}), ("none", {}), ("tried", {10: 3.0, 20: 2.5})):
        made_run(tmp_path, name, losses)
    said = called("plot", cwd=tmp_path)
    assert said.stderr.splitlines() == [
        f"not drawn, it has no eval/loss after step 0 yet: {name}" for name in ("begun", "none")
    ]
    rows = {"begun": [{"step": 0, "eval/loss": 7.0}], "tried": ROWS}
    assert legend(runs_figure(rows, "eval/loss", {}, "")) == ["tried: 2.1"]
    assert called("plot", "begun", cwd=tmp_path).stderr == ""  # alone, it has its place


def test_a_curve_of_one_point_can_be_seen() -> None:
    rows = {"a": [{"step": 5, "train/loss": 2.0}]}
    (line,) = runs_figure(rows, "train/loss", {}, "").axes[0].lines
    assert line.get_marker() == "o"


def test_a_picture_that_plot_drew_is_replaced_and_no_other(tmp_path: Path) -> None:
    run, picture = made_run(tmp_path, "one", {10: 3.0}), tmp_path / "plot.png"
    called("plot", cwd=tmp_path)
    first = picture.read_bytes()
    called("plot", "--metric", "train/loss", cwd=tmp_path)
    second = picture.read_bytes()
    assert second != first
    draw_again(run)
    for other in (run.loss_picture.read_bytes(), second[:60], second.replace(b"gpt-tf", b"others")):
        picture.write_bytes(other)
        said = called("plot", cwd=tmp_path, check=False)
        assert said.returncode == 2 and "file exists in --output: plot.png" in said.stderr
        assert picture.read_bytes() == other
    (tmp_path / "named.png").write_bytes(second)
    said = called("plot", "--output", "named.png", cwd=tmp_path, check=False)
    assert said.returncode == 2 and (tmp_path / "named.png").read_bytes() == second


def test_the_legend_has_three_settings_a_line_and_the_title_names_the_runs() -> None:
    figure = runs_figure({"a": ROWS, "b": ROWS}, "eval/loss", {"a": list("pqrst")}, "a remark")
    assert legend(figure) == ["a: 2.1   p, q, r\n      s, t", "b: 2.1"]
    assert figure.axes[0].get_title() == "eval/loss of a and b\na remark"


@pytest.mark.parametrize("number", [1, 10, MOST_LABELS + 9])
def test_any_number_of_runs_looks_different_and_leaves_room_for_the_curves(number: int) -> None:
    settings = {str(n): ["num_layers=2"] * 6 for n in range(number)}
    figure = runs_figure(dict.fromkeys(settings, ROWS), "eval/loss", settings, "")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    height = axes.get_position().height * figure.get_size_inches()[1]
    assert len(legend(figure)) == min(number, MOST_LABELS) and height > 3  # inches
    looks = [(line.get_color(), line.get_linestyle()) for line in axes.lines[:20]]
    assert len(set(looks)) == len(looks)


def test_runs_whose_tokenizers_differ_are_told_what_compares(runs, tmp_path: Path) -> None:
    assert called("plot", "tiny", "small", cwd=tmp_path).stderr == ""
    assert not tokenizers_differ(runs)
    tokenizer = runs["small"].tokenizer / "tokenizer.json"
    tokenizer.write_text(json.dumps(json.loads(tokenizer.read_text()), indent=1))
    assert tokenizers_differ(runs)
    said = called("plot", "tiny", "small", cwd=tmp_path).stderr
    assert "tokenizers of these runs differ" in said
    (option,) = re.findall(r"--metric (\S+)", said)
    said = called("plot", "tiny", "small", "--metric", option, cwd=tmp_path).stderr
    assert said == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tny"], "no such run: tny"),
        (["--metric", "eval/los"], "no run has the metric in --metric: eval/los."),
        (["--output", "two.pdf"], "not the name of a PNG in --output: two.pdf. End it in .png."),
        ([], "file exists in --output: plot.png."),
    ],
)
def test_the_file_that_is_there_hides_no_other_mistake(
    runs, tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "plot.png").write_bytes(b"mine")
    assert said in called("plot", *arguments, cwd=tmp_path, check=False).stderr
    assert (tmp_path / "plot.png").read_bytes() == b"mine"


@pytest.mark.parametrize("place", [{"HOME": "/proc"}, {"MPLCONFIGDIR": "/proc/nowhere"}])
def test_a_picture_without_a_home_is_drawn_without_a_word(place: dict[str, str]) -> None:
    draw = "from gpt_tf.reports.plot import draw_runs; draw_runs({'a': [{'step': 1, 'x': 2}]}, 'x')"
    environment = {"PATH": os.environ["PATH"], **place}
    command = [sys.executable, "-c", draw]
    said = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
