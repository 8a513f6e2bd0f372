"""`train --dry-run`: what it finds is what training finds, and it leaves nothing."""

import dataclasses
import re
from pathlib import Path

import psutil
import pytest

from gpt_tf.config import Config, DataConfig, ModelConfig, TrainingConfig
from gpt_tf.errors import UsageError
from gpt_tf.runs import estimated_data
from gpt_tf.runs.dry_run import Look, look
from gpt_tf.runs.job import Job
from gpt_tf.runs.resolving import resolve_config
from gpt_tf.runs.size import memory_rows
from gpt_tf.runs.streams import Streams
from gpt_tf.tokenizer.bpe import BPETokenizer
from gpt_tf.tokenizer.files import tokenizer_sha256
from tests.support.commands import TINY_RUN, called, tree
from tests.support.workspaces import choose_data, workspace_at

MODEL = ModelConfig(
    context_length=8, num_layers=1, num_heads=1, embed_dim=8, ffn_dim=8, vocab_size=300
)


def config(windows: str = "packed", **training: object) -> Config:
    settings = TrainingConfig(batch_size=2, warmup_steps=1, **training)  # type: ignore[arg-type]
    return Config(
        model=MODEL,
        data=DataConfig(windows=windows),  # type: ignore[arg-type]
        training=settings,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace with a folder of texts of several lengths, and their tokenizer."""
    home = tmp_path / "home"
    (home / "texts").mkdir(parents=True)
    for i in range(40):
        (home / "texts" / f"{i:02}.txt").write_text(f"text {i} of the words that come " * (1 + i))
    called("train-tokenizer", "texts", "--vocab-size", "300", cwd=home)
    return home


def looked(home: Path, settings: Config, **asked: object) -> Look:
    job = Job(config=settings, workspace=workspace_at(home), data=home / "texts", **asked)  # type: ignore[arg-type]
    return look(job)


def opened(home: Path, settings: Config) -> Streams:
    """As training opens them."""
    folder = home / "tokenizers" / "texts"
    tokenizer = BPETokenizer.load(folder)
    choice = choose_data(home, home / "texts", settings.data)
    return Streams(settings, choice, tokenizer, tokenizer_sha256(folder))


@pytest.mark.parametrize("windows", ["padded", "packed", "random"])
def test_it_counts_what_training_counts_and_leaves_nothing(home: Path, windows: str) -> None:
    settings, before = config(windows), tree(home)
    found = looked(home, settings)
    assert tree(home) == before
    with opened(home, settings) as streams:
        assert streams.validation is not None
        assert found.train == streams.train.contents()
        assert found.validation == streams.validation.contents()
        assert found.batches_per_epoch == len(streams.train)
        resolved = resolve_config(settings, len(streams.train), streams.evaluated_batches)
        assert found.config.training == resolved.training
    assert (found.train.cut > 0) == (windows == "padded")
    before = tree(home)  # with its token stores
    assert looked(home, settings) == found and tree(home) == before


@pytest.mark.parametrize("windows", ["padded", "packed", "random"])
def test_of_large_data_a_sample_is_tokenized(
    home: Path, monkeypatch: pytest.MonkeyPatch, windows: str
) -> None:
    settings = config(windows, eval_batches=1, max_steps=40)
    exact = looked(home, settings)
    monkeypatch.setattr(estimated_data, "TOKENIZED", 0)
    found = looked(home, settings)
    assert found.train and exact.train and found.batches_per_epoch and exact.batches_per_epoch
    assert found.train.about and found.train.documents == exact.train.documents
    assert found.train.tokens == pytest.approx(exact.train.tokens, rel=0.05)
    assert found.train.cut == pytest.approx(exact.train.cut, abs=0.05)
    assert found.batches_per_epoch == pytest.approx(exact.batches_per_epoch, rel=0.05)
    assert found.train.describe().startswith("36 files, 36 documents, about ")
    assert found.config.training.evaluate_first == exact.config.training.evaluate_first == "on"
    if windows == "packed":  # with the store that training leaves, nothing is estimated
        opened(home, settings).close()
        assert looked(home, settings) == exact


def test_a_tokenizer_that_would_be_trained_is_trained_apart(home: Path) -> None:
    before = tree(home)
    asked = dataclasses.replace(config().tokenizer, vocab_size=290)
    settings = dataclasses.replace(config(), tokenizer=asked)
    found = looked(home, settings, train_tokenizer=True)
    assert found.config.model.vocab_size == 290 and found.train
    assert tree(home) == before


def test_without_data_or_tokenizer_it_tells_what_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = Job(config=config(max_steps=20), workspace=workspace_at(tmp_path))
    caplog.set_level("INFO", "gpt_tf")
    assert look(job).config.training.max_steps == 20
    assert re.fullmatch(r"20 steps of [\d,]+ tokens", caplog.messages[0])
    assert caplog.messages[1].startswith("learning rate: ")
    (tmp_path / "a.txt").write_text("some text of its own")
    found = look(dataclasses.replace(job, data=tmp_path / "a.txt"))
    assert found.train is None and found.config.training.eval_interval is None  # as an epoch is not
    assert look(dataclasses.replace(job, config=config())).config.training.max_steps is None
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_what_training_would_refuse_is_refused(home: Path) -> None:
    with pytest.raises(UsageError, match="dataset gives 0 batches"):
        looked(home, dataclasses.replace(config("padded"), training=TrainingConfig(batch_size=64)))
    with pytest.raises(UsageError, match="no effect in --stop-at-step: 50"):
        looked(home, config(max_steps=20), stop_at_step=50)
    (home / "runs" / "mine").mkdir(parents=True)
    (home / "runs" / "mine" / "notes.md").write_text("of my own")
    with pytest.raises(UsageError, match=r"mine.*notes\.md"):
        looked(home, config(), name="mine")


def test_the_schedule_is_drawn_where_it_is_asked_for(home: Path) -> None:
    def drawn(*more: str, check: bool = True) -> str:
        command = ("train", "--dry-run", "--data", "texts", *TINY_RUN, *more)
        return called(*command, cwd=home, check=check).stderr

    drawn("--schedule-picture", "schedule.png")
    picture = (home / "schedule.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    (home / "schedule.png").write_text("of my own")
    before = tree(home)
    said = drawn("--schedule-picture", "schedule.png", check=False)
    assert "file exists in --schedule-picture: schedule.png" in said and tree(home) == before
    drawn("--schedule-picture", "schedule.png", "--overwrite")
    assert (home / "schedule.png").read_bytes() == picture
    for name in ("cosine", "-"):
        said = drawn("--schedule-picture", name, check=False)
        assert f"not the name of a PNG in --schedule-picture: {name}. End it in .png." in said
    said = called("train", "--schedule-picture", "a.png", cwd=home, check=False).stderr
    assert "--schedule-picture has no effect without --dry-run" in said


def test_the_measured_steps_leave_nothing_nor_does_what_a_killed_call_left(home: Path) -> None:
    before = tree(home)
    killed = home / "measuring.gpt-tf-1-abcdef.tmp"
    (killed / "run").mkdir(parents=True)
    command = ("train", "--dry-run", "--measure", "--data", "texts", *TINY_RUN, "--max-steps", "12")
    said = called(*command, cwd=home).stdout
    assert tree(home) == before
    assert all(len(line) <= 80 for line in said.splitlines())
    for row in (
        "memory at most, measured",
        "compiling",
        "step ",
        "evaluation and sample",
        "checkpoint",
        "time in all, about",
    ):
        assert row in said
    said = called(
        "train", "--dry-run", "--measure", "--data", "texts/01.txt", cwd=home, check=False
    )
    assert said.returncode == 2 and "Add --train-tokenizer" in said.stderr
    assert tree(home) == before


def test_its_tables_are_whole_at_80_columns(home: Path) -> None:
    held = ("--set", "training.schedule=linear", "--set", "training.decay_share=0.2")
    steps = ("--max-steps", "105")
    said = called(
        "train", "--dry-run", "--data", "texts", *TINY_RUN, *held, *steps, cwd=home
    ).stdout
    assert "in 5 steps\n" in said and "linear, falling to 0 from step 85 to 105" in said
    assert all(len(line) <= 80 for line in said.splitlines())
    for row in (
        "tokens ",
        "1 block of ",
        "steps ",
        "memory at most, estimated",
        "memory that is free",
        "time  ",
    ):
        assert row in said


@pytest.mark.parametrize(("free", "verdict"), [(-1_000, "too little"), (1_000, "enough")])
def test_the_memory_that_is_free_is_compared_with_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, free: int, verdict: str
) -> None:
    """What the process itself has is no part of what must be free."""
    need = psutil.Process().memory_info().rss + 5e9
    machine = psutil.virtual_memory()._replace(available=int(5e9 + free * 1e6))
    monkeypatch.setattr("psutil.virtual_memory", lambda: machine)
    _, (_, said) = memory_rows(need)
    assert said.endswith(f": {verdict}")
