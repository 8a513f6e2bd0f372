"""The lines that README and docstrings show, as a Python program and a notebook type them."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import click
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import gpt_tf
from gpt_tf.cli.options import engine_option
from gpt_tf.config_files import resolve
from gpt_tf.errors import UsageError
from gpt_tf.inference.decoder import Decoder
from gpt_tf.inference.engine import Decoded
from gpt_tf.inference.loading import ENGINES, EngineName
from gpt_tf.inference.model_engine import ModelEngine
from gpt_tf.runs.stopping import tidied_up
from gpt_tf.storage.run_directory import RunDirectory

SMALL = {
    "model.num_layers": 1, "model.embed_dim": 32, "model.num_heads": 2, "model.ffn_dim": 64,
    "model.context_length": 32, "tokenizer": {"vocab_size": 300}, "sampling.max_new_tokens": 5,
    "training.xla": "off",
}  # fmt: skip
LINES = f"""
import gpt_tf
run = gpt_tf.train("my_folder", preset="demo", max_steps=12, batch_size=4, set={SMALL!r})
print(run.generate("The film", sampler="random", top_p=0.9, max_new_tokens=5))
print("measured", run.evaluate()["loss"])
print(run)
"""

STOPPED = f"""
import os, signal, gpt_tf

class Stopping:
    def __init__(self, number):
        self.number = number
    def write_scalars(self, step, scalars):
        if self.number:
            os.kill(os.getpid(), self.number)
        self.number = None
    def write_text(self, step, text):
        pass
    def close(self):
        pass

for number in (signal.SIGINT, signal.SIGTERM):
    try:
        gpt_tf.train(
            "my_folder", name=number.name, max_steps=50, batch_size=4, log_interval=1,
            writers=[Stopping(number)], set={SMALL!r},
        )
    except KeyboardInterrupt:
        print("interrupted")
    print("went on")
"""


class Doubting(ModelEngine):
    """An engine whose logits are half as high."""

    def run(self, *arguments: Any) -> Decoded:
        """The model's, halved."""
        decoded = Decoder(self.model).run(*arguments)
        return decoded._replace(logits_BQV=decoded.logits_BQV / 2)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a folder of texts; what is trained in it, all tests see."""
    folder = tmp_path_factory.mktemp("face")
    (folder / "my_folder").mkdir()
    for number in range(12):
        text = f"The film number {number} was slow, and the music of it was warm. " * 8
        (folder / "my_folder" / f"{number}.txt").write_text(text)
    return folder


@pytest.fixture(scope="module")
def printed(home: Path) -> str:
    """What the lines print as a program."""
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    result = subprocess.run(
        [sys.executable, "-c", LINES], cwd=home, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""  # no library's noise
    return result.stdout


def test_a_program_sees_losses_and_its_own_figures(printed: str) -> None:
    assert re.search(r"validation loss \d\.\d{4}", printed)
    assert "training.warmup_steps 50 is shortened to 1: the run has 12 steps" in printed
    assert re.search(r"^measured \d\.\d+$", printed, re.MULTILINE)
    assert "<Run demo-001: step 12, checkpoints [12]>" in printed


def test_a_notebook_sees_losses_too(home: Path) -> None:
    lines = LINES.replace("max_steps=12", 'name="of_notebook", max_steps=12')
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(lines), nbformat.v4.new_code_cell("run.plot()")]
    )
    resources = {"metadata": {"path": str(home)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    first, second = (cell["outputs"] for cell in notebook.cells)
    assert {output["name"] for output in first} == {"stdout"}, first  # no library's noise
    assert re.search(r"validation loss \d\.\d{4}", "".join(output["text"] for output in first))
    assert "image/png" in second[0]["data"]


@pytest.mark.usefixtures("eagerly")
def test_a_run_tells_what_it_was_trained_with_and_goes_on(
    home: Path,
    printed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(home)
    level = logging.getLogger("gpt_tf").level
    stopped = gpt_tf.train(
        "my_folder",
        preset="demo",
        pretrained="demo-001",
        name="stopped",
        max_steps=10,
        batch_size=4,
        set={"sampling.max_new_tokens": 5, "training.xla": "off"},
        stop_at_step=4,
        quiet=True,
    )
    assert (stopped.step, stopped.checkpoints) == (4, [0, 4])
    assert (stopped.reason, stopped.signal) == ("stop_at_step 4", None)
    assert "parameters" in (stopped.path / "run.log").read_text()
    assert logging.getLogger("gpt_tf").level == level
    assert capsys.readouterr().out == ""
    assert stopped.settings.training.max_steps == 10
    assert stopped.settings.origin.run == "runs/demo-001"
    ended = gpt_tf.load("stopped").resume()
    assert "step 10: validation loss" in capsys.readouterr().out
    assert (ended.step, ended.outcome.reason) == (10, "all steps done")  # type: ignore[union-attr]
    assert ended.metrics[-1]["step"] == 10 and "eval/loss" in ended.metrics[-1]
    ended.plot().save(home / "curve.png")
    assert (home / "curve.png").read_bytes().startswith(b"\x89PNG")
    ended.plot().save("curve.png", overwrite=True)
    for place, words in (
        (
            "curve.png",
            "name, or replace it with overwrite=True",
        ),
        ("curve.jpg", "not the name of a PNG in path: curve.jpg. End it in .png."),
        ("none/a.png", "no such folder in path: "),
        ("runs/stopped/a.png", "part of a run in path: runs/stopped/a.png belongs to "),
        ("runs", "not the name of a PNG"),
        ("a\0.png", "has a null character"),
        (f"{'a' * 300}.png", "name too long"),
    ):
        with pytest.raises(UsageError, match=re.escape(words)):
            ended.plot().save(place)
    assert not Path("curve.jpg").exists()
    early = gpt_tf.load("stopped", checkpoint="4")
    with pytest.raises(
        UsageError, match="part of a run in directory: runs/stopped/tokenizer belongs to"
    ):
        early.tokenizer.save("runs/stopped/tokenizer", overwrite=True)
    (text,) = early.texts(["The"])[0]
    assert len(text.continuation.token_ids) <= 5  # the run's sampling.max_new_tokens
    for call, words in (
        (lambda: early.evaluate(split="bogus"), "no split: bogus"),
        (lambda: early.evaluate("my_folder", split="test"), "split is for the run's own data"),
        (lambda: early.evaluate(reading={"document": "line"}), "no effect in reading: the run's"),
        (
            lambda: ended.resume(data="/nonexistent"),
            "data of the run stopped are not there: /",
        ),
        (lambda: ended.resume(stop_at_step=-5), "out of range in stop_at_step: -5"),
        (lambda: ended.resume(stop_at_step="9"), "out of range in stop_at_step: '9'"),  # type: ignore[arg-type]
        (lambda: ended.resume(stop_at_step=9), "no effect in stop_at_step: 9"),
        (lambda: early.plot("eval/los"), "metric in metric: eval/los. Did you mean eval/loss?"),
        (lambda: gpt_tf.load("stopped", engine="onnx"), "no such engine: onnx. Engines: auto"),
    ):
        with pytest.raises(UsageError, match=re.escape(words)):
            call()
    loss, early.engine = early.evaluate()["loss"], Doubting(early.model)
    assert early.evaluate()["loss"] != pytest.approx(loss, rel=1e-3)
    assert early.step == 4 and early.generate("The", max_new_tokens=3)
    foreign = RunDirectory(home / "runs" / "demo-001").checkpoints.last()
    with pytest.raises(UsageError, match=r"not a checkpoint of .*/stopped: step-00000012 is that"):
        gpt_tf.load("stopped", checkpoint=foreign)
    own = RunDirectory(home / "runs" / "stopped").checkpoints.last(weights_only=True)
    assert gpt_tf.load("stopped", checkpoint=own).step == 10
    with pytest.raises(UsageError, match=r"no such checkpoint in .*: 5. Give a step \(.*4, 10\)"):
        gpt_tf.load("stopped", checkpoint=5)
    assert gpt_tf.load().name == "stopped"  # the newest


def test_a_signal_saves_and_then_does_to_the_program_what_it_does_elsewhere(
    home: Path, tmp_path: Path
) -> None:
    (tmp_path / "my_folder").symlink_to(home / "my_folder")
    result = subprocess.run(
        [sys.executable, "-c", STOPPED], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == -signal.SIGTERM, result.stderr
    words = [line for line in result.stdout.splitlines() if line in ("interrupted", "went on")]
    assert words == ["interrupted", "went on"]
    for name in ("SIGINT", "SIGTERM"):
        assert RunDirectory(tmp_path / "runs" / name).checkpoints.last().state["loop"]["step"] < 50


def test_a_signal_before_the_first_step_reaches_the_handler_of_the_program() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with pytest.raises(SystemExit, match="143"), tidied_up():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]


@pytest.mark.usefixtures("eagerly")
def test_texts_are_data_and_names_of_files_are_not_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = [f"Text {number} of a list, with some words in it. " * 6 for number in range(20)]
    run = gpt_tf.train(texts, max_steps=2, batch_size=2, set=SMALL, quiet=True)
    (kept,) = (tmp_path / "gpt-tf-data").glob("texts-*.jsonl")
    assert [json.loads(line)["text"] for line in kept.read_text().splitlines()] == texts
    assert run.resume().step == 2  # its data are there
    written = kept.read_text()
    kept.write_text(written.replace("some", "other"))
    with pytest.raises(UsageError, match=r"changed since gpt-tf wrote it: .*Move it away"):
        gpt_tf.train(texts, max_steps=2, batch_size=2, set=SMALL, quiet=True)
    kept.write_text(written)
    Path("a.txt").write_text("a")
    before = sorted(tmp_path.rglob("*"))
    for data, words in (
        (["a.txt"], "paths instead of texts in data: 'a.txt'"),
        ([], "an empty list in data"),
        ([1], "neither text nor path in data: 1"),
        (gpt_tf.Config(), "settings in data. Give them as config="),
    ):
        with pytest.raises(UsageError, match=words):
            gpt_tf.train(data, set=SMALL)  # type: ignore[arg-type]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("eagerly")
def test_a_list_of_paths_are_files_that_a_moved_workspace_still_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    for number in range(8):
        file = home / f"books {number % 2}" / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"Book {number} has some words in it, and more of them. " * 8)
    (home / "books 0" / "notes.txt").write_text("not asked for")
    monkeypatch.chdir(home)
    files = [path for path in Path().rglob("*.txt") if path.name != "notes.txt"]
    run = gpt_tf.train(
        files, name="some", max_steps=4, stop_at_step=2, batch_size=2, set=SMALL, quiet=True
    )
    used = json.loads((run.path / "data_files.json").read_text())
    assert sum(len(entries) for entries in used.values()) == 8
    home.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert gpt_tf.load("some").resume().step == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_step": 3}, "unknown argument of train: max_step. Did you mean max_steps?"),
        ({"set": {"model.layers": 3}}, "unknown key model.layers"),
        ({"preset": "demo", "config": gpt_tf.Config()}, "preset and config are both given"),
        ({"overwrite": True}, "overwrite without a name: "),
        ({"preset": "dmo"}, "no such preset: dmo. Did you mean demo?"),
        ({"preset": Path("demo")}, "not a str in preset: "),
        ({"name": 5}, "not a str in name: 5"),
        ({"name": "a b"}, "bad run name in name: 'a b'"),
        ({"config": {}}, "not a Config in config: {}"),
        ({"config": "x.yaml"}, "not a Config in config: 'x.yaml'"),
        ({"set": "a=b"}, "no mapping in set: 'a=b'"),
        ({"set": {1: 2}}, "no mapping in set: {1: 2}"),
        ({"stop_at_step": "1"}, "out of range in stop_at_step: '1'"),
        ({"workspace": "misspelt"}, "no such folder in workspace: misspelt. Make it first."),
        ({"set": {"training.max_steps": 5}, "max_steps": 2},
         "a setting is given twice: training.max_steps in set, and max_steps. Give it once."),
        ({"set": {"training": 5}, "max_steps": 2}, "given twice: training in set, and max_steps."),
        ({"set": {"training": 5}}, "training must be a mapping, received: 5"),
        ({"set": {"model.num_layers": 1, "model": {"num_layers": 2}}},
         "given twice: model.num_layers in set, and model.num_layers in set."),
        ({"writers": [object()]}, "no writer in writers: <object"),
        ({"writers": [Doubting]}, "no writer in writers: <class"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_arguments_changes_nothing(
    arguments: dict, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=re.escape(words)):
        gpt_tf.train(["A text of some words."] * 9, **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"set": {"tokenizer.vocab_size": 400}}, "no effect in set: tokenizer.vocab_size=400: the "
         "tokenizer is ready. Leave it out, or add train_tokenizer=True to train another."),
        ({"set": {"tokenizer": {"kind": "char"}}}, "no effect in set: tokenizer.kind=char: the "
         "tokenizer is ready. Leave it out, or add train_tokenizer=True to train another."),
        ({"set": {"training.muon_momentum": 0.8}}, "no effect in set: training.muon_momentum=0.8: "
         "training.optimizer is not muon. Add set={'training.optimizer': 'muon'}, or leave "
         "training.muon_momentum out."),
        ({"muon_momentum": 0.8}, "no effect in muon_momentum: training.muon_momentum=0.8"),
        ({"max_epochs": 7, "max_steps": 2}, "no effect in max_epochs: training.max_epochs=7: "
         "training.max_steps decides. Leave max_steps out and add set={'training.max_steps': None}"
         ", or leave training.max_epochs out."),
        ({"patience": 3, "set": {"data.validation_share": 0}}, "Give some with validation, or set "
         "aside a share with set={'data.validation_share': 0.1}"),
        ({"config": gpt_tf.Config(training=gpt_tf.TrainingConfig(muon_momentum=0.8))},
         "no effect in config: training.muon_momentum=0.8"),
        ({"set": ["training.seed"]}, "no mapping in set: ['training.seed']. Give {'section.key': "),
        ({"tokenizer": "tokenizers/my_folder", "train_tokenizer": True}, "train_tokenizer and "
         "tokenizer are both given. Give one of them."),
        ({"pretrained": "demo-001", "tokenizer": "tokenizers/my_folder"},
         "tokenizer and pretrained are both given"),
        ({"pretrained": "demo-001", "name": "demo-001", "overwrite": True},
         "the same run in pretrained and name: demo-001. Choose another name."),
        ({"overwrite": "no"}, "neither True nor False in overwrite: 'no'. Give one of them."),
        ({"train_tokenizer": "no"}, "neither True nor False in train_tokenizer: 'no'."),
        ({"quiet": "no"}, "neither True nor False in quiet: 'no'."),
        ({"writers": print}, "no collection in writers: <built-in function print>. Give a list of "
         "objects with write_scalars, write_text and close."),
        ({"writers": [print]}, "no writer in writers: <built-in function print>."),
    ],
)  # fmt: skip
def test_a_setting_without_effect_is_refused_in_the_words_of_python(
    arguments: dict, words: str, home: Path, printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    before = sorted(home.rglob("*"))
    with pytest.raises(UsageError, match=re.escape(words)):
        gpt_tf.train("my_folder", **{"quiet": True, **arguments})
    assert sorted(home.rglob("*")) == before


def test_numbers_of_numpy_are_settings() -> None:
    training = gpt_tf.TrainingConfig(max_steps=np.int64(7), peak_learning_rate=np.float32(0.5))
    assert (type(training.max_steps), type(training.peak_learning_rate)) == (int, float)
    config = resolve({"training": {"seed": np.int32(3), "peak_learning_rate": np.float64(0.1)}})
    assert (config.training.seed, config.training.peak_learning_rate) == (3, 0.1)
    with pytest.raises(UsageError, match="max_steps must be of type int, received: 7"):
        gpt_tf.TrainingConfig(max_steps=np.float64(7))  # type: ignore[arg-type]


def test_the_command_line_and_python_have_the_same_engines() -> None:
    command = click.Command("any", params=[])
    choice = engine_option(command).params[0].type
    assert tuple(choice.choices) == ENGINES == get_args(EngineName)  # type: ignore[attr-defined]
