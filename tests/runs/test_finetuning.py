"""`train --from RUN`: what a new run takes over, what it refuses, and that it resumes exactly."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import TINY_RUN, in_process
from run_digests import digests, metrics
from workspaces import workspace_at

from gpt_tf.config import Config, LoraConfig
from gpt_tf.config_files import as_yaml, read_config_file, read_preset, resolve
from gpt_tf.interop.stored_run import read_run
from gpt_tf.model.lora import is_adapter
from gpt_tf.runs.finetuning import find_pretrained
from gpt_tf.storage.manifest import sha256_file
from gpt_tf.storage.run_directory import RunDirectory

SMALL_RUN = (
    "--set", "training.batch_size=4", "--set", "training.eval_interval=4",
    "--set", "training.eval_batches=2", "--set", "training.log_interval=2",
    "--set", "training.xla=off", "--set", "sampling.max_new_tokens=3",
)  # fmt: skip
FINE_TUNE = ("train", "--from", "base", "--data", "verses", *SMALL_RUN)
FULL = ("--learning-rate", "3e-3")
LORA = ("--preset", "finetune-lora", "--learning-rate", "0.02", "--set", "model.lora.ffn=true")
LINES = ("the moon is round", "the sea is wide", "a ship sails by", "we sing at night")


@pytest.fixture(scope="module")
def tuned(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with `base`, which knows reviews, and `full` and `lora`, which read verses.

    Do not write.
    """
    workspace = tmp_path_factory.mktemp("tuned") / "workspace"
    shutil.copytree(trained_workspace, workspace, ignore=shutil.ignore_patterns("runs"))
    random = np.random.default_rng(0)
    (workspace / "verses").mkdir()
    for number in range(40):
        (workspace / "verses" / f"{number}.txt").write_text(", ".join(random.choice(LINES, 12)))
    in_process(
        "train",
        "--data",
        "reviews",
        "--name",
        "base",
        "--max-steps",
        "60",
        *TINY_RUN,
        "--learning-rate",
        "0.01",
        "--set",
        "training.eval_interval=60",
        cwd=workspace,
    )
    for name, options in (("full", FULL), ("lora", LORA)):
        in_process(*FINE_TUNE, "--max-steps", "8", "--name", name, *options, cwd=workspace)
    return workspace


@pytest.fixture
def copy(tuned: Path, tmp_path: Path) -> Path:
    """A copy of that workspace to write in."""
    shutil.copytree(tuned, tmp_path / "workspace")
    return tmp_path / "workspace"


def run_of(workspace: Path, name: str) -> RunDirectory:
    return RunDirectory(workspace / "runs" / name)


def config_of(workspace: Path, name: str) -> Config:
    return resolve(read_config_file(run_of(workspace, name).config_file))


def weights(workspace: Path, name: str) -> dict[str, np.ndarray]:
    return run_of(workspace, name).checkpoints.best().model


Capture = pytest.CaptureFixture[str]


def refused(capsys: Capture, *arguments: str, cwd: Path) -> str:
    """What a command that must fail with exit code 2 says."""
    assert in_process(*arguments, cwd=cwd, check=False) == 2
    said = capsys.readouterr().err
    return said[said.index("error: ") :]


def printed(capsys: Capture, *arguments: str, cwd: Path) -> str:
    """What a command prints as its result."""
    capsys.readouterr()
    in_process(*arguments, cwd=cwd)
    return capsys.readouterr().out


# --- what is taken over


@pytest.mark.parametrize("name", ["full", "lora"])
def test_the_loss_falls_from_that_of_the_given_weights(tuned: Path, name: str) -> None:
    losses = {
        int(row["step"]): row["eval/loss"] for row in metrics(tuned, name) if "eval/loss" in row
    }
    assert list(losses) == [0, 4, 8]  # the first is the given weights' own
    assert losses[8] < losses[4] < losses[0]
    assert losses[0] == pytest.approx(metrics(tuned, "full")[0]["eval/loss"], abs=1e-6)


@pytest.mark.parametrize("name", ["full", "lora"])
def test_model_tokenizer_and_origin_are_the_given_runs(tuned: Path, name: str) -> None:
    config, first = config_of(tuned, name), config_of(tuned, "base")
    assert dataclasses.replace(config.model, lora=LoraConfig()) == first.model
    assert config.sampling.prompt == first.sampling.prompt
    for file in ("tokenizer.json", "tokenizer_config.json"):
        copies = [run_of(tuned, run).tokenizer / file for run in (name, "base")]
        assert copies[0].read_bytes() == copies[1].read_bytes()
    checkpoints = run_of(tuned, "base").checkpoints
    best = checkpoints.best_name()
    assert config.origin.run == "runs/base"  # in the workspace, wherever that is
    assert config.origin.checkpoint == best
    manifest = checkpoints.directory / str(best) / "manifest.json"
    assert config.origin.manifest_sha256 == sha256_file(manifest)


def test_the_preset_is_a_linear_fall_from_5e_5(tuned: Path, capsys: Capture) -> None:
    shown = printed(capsys, "train", "--from", "base", "--print-config", cwd=tuned)
    for line in (
        "schedule: linear",
        "peak_learning_rate: 5.0e-05",
        "warmup_steps: 0",
        "min_learning_rate: 0.0",
        "embed_dim: 32",
        "vocab_size: 400",
    ):
        assert f"  {line}\n" in shown


def test_another_preset_gives_all_but_the_model(tuned: Path) -> None:
    preset = read_preset("imdb")
    config = resolve(find_pretrained(workspace_at(tuned), "base").settings(preset))
    imdb, base = resolve(preset), config_of(tuned, "base")
    assert (config.training, config.data) == (imdb.training, imdb.data)
    dropout = dataclasses.replace(base.model.dropout, **preset["model"]["dropout"])
    assert config.model == dataclasses.replace(base.model, dropout=dropout)
    assert config.tokenizer == base.tokenizer


def test_adapters_alone_have_changed(tuned: Path) -> None:
    given, trained = weights(tuned, "base"), weights(tuned, "lora")
    layers = ("attention/qkv", "feed_forward/contract", "feed_forward/expand")
    adapters = {f"block_0/{layer}/lora/{part}" for layer in layers for part in "ab"}
    assert set(filter(is_adapter, trained)) == adapters == trained.keys() - given.keys()
    for name, array in given.items():
        np.testing.assert_array_equal(trained[name], array)
    assert all(np.any(trained[name]) for name in adapters)
    full = weights(tuned, "full")
    assert full.keys() == given.keys()
    assert not any(np.array_equal(full[name], given[name]) for name in given)


def test_a_run_with_adapters_generates_and_is_measured(tuned: Path, capsys: Capture) -> None:
    text = printed(capsys, "generate", "--run", "lora", "--max-new-tokens", "4", cwd=tuned)
    assert text.startswith(config_of(tuned, "base").sampling.prompt or "")
    losses = [
        json.loads(printed(capsys, "evaluate", name, "verses", "--json", cwd=tuned))["loss"]
        for name in ("lora", "base")
    ]
    assert losses[0] < losses[1] - 0.05


def test_adapters_are_merged_for_exports_and_further_training(tuned: Path) -> None:
    pretrained = find_pretrained(workspace_at(tuned), "lora")
    assert pretrained.config.model == config_of(tuned, "base").model
    arrays, origin = pretrained.read(32)
    stored = weights(tuned, "lora")
    layer = "block_0/attention/qkv"
    change = stored[f"{layer}/lora/a"] @ stored[f"{layer}/lora/b"] * (32 / 4)
    expected = stored[f"{layer}/kernel"] + change
    np.testing.assert_allclose(arrays[f"{layer}/kernel"], expected, atol=1e-6)
    assert str(origin.run).endswith("runs/lora")
    exported = read_run(run_of(tuned, "lora"))
    assert exported.config.model == pretrained.config.model
    assert exported.weights.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(exported.weights[name], array)


# --- a larger vocabulary, a shorter context, frozen layers


def test_spare_entries_stay_and_a_shorter_context_keeps_the_first_positions(copy: Path) -> None:
    """One run for three things, as each would compile its own step: 405 entries of 400 used."""
    run, config = run_of(copy, "base"), config_of(copy, "base")
    best = run.checkpoints.best()
    given = best.model
    given["embedding/tokens"] = np.concatenate([given["embedding/tokens"], np.ones((5, 32), "f4")])
    larger = dataclasses.replace(config, model=dataclasses.replace(config.model, vocab_size=405))
    facts = {"tokenizer_sha256": best.manifest["tokenizer_sha256"], "best_step": 61}
    facts["config"] = dataclasses.asdict(larger)
    run.checkpoints.save(61, given, {}, {}, facts)
    run.config_file.write_text(as_yaml(larger))
    in_process(
        *FINE_TUNE,
        "--max-steps",
        "2",
        "--name",
        "short",
        "--set",
        "model.context_length=12",
        "--set",
        "training.freeze=[embedding]",
        cwd=copy,
    )
    trained, slots = weights(copy, "short"), run_of(copy, "short").checkpoints.last().training
    np.testing.assert_array_equal(trained["embedding/positions"], given["embedding/positions"][:12])
    np.testing.assert_array_equal(trained["embedding/tokens"], given["embedding/tokens"])
    assert not any("embedding" in name for name in slots if name.startswith("optimizer/"))
    assert any("block_0" in name for name in slots if name.startswith("optimizer/"))


def test_the_dry_run_counts_what_is_trained(tuned: Path, capsys: Capture) -> None:
    arguments = ("train", "--from", "base", "--preset", "finetune-lora", "--dry-run")
    lines = printed(capsys, *arguments, cwd=tuned).splitlines()
    rows = [re.split("  +", line) for line in lines]
    shown = {cells[0]: cells[1] for cells in rows if len(cells) > 1}
    assert shown["of them trained"] == f"{4 * (32 + 96):,}"


# --- exactness


@pytest.mark.parametrize("options", [pytest.param(FULL, marks=pytest.mark.long), LORA])
def test_a_resumed_run_equals_an_uninterrupted_one(
    tuned: Path, copy: Path, options: tuple[str, ...]
) -> None:
    in_process(
        *FINE_TUNE,
        "--max-steps",
        "8",
        "--stop-at-step",
        "3",
        "--name",
        "stopped",
        *options,
        cwd=copy,
    )
    shutil.rmtree(copy / "runs" / "base")  # it is not needed any more
    in_process("train", "--resume", "stopped", cwd=copy)
    whole = "lora" if options is LORA else "full"
    assert digests(copy, "stopped", 8) == digests(tuned, whole, 8)
    assert metrics(copy, "stopped") == metrics(tuned, whole)


GENERA = ("Bacteroides", "Faecalibacterium", "Prevotella", "Alistipes", "Parabacteroides",
          "Roseburia", "Blautia", "Ruminococcus", "Dialister", "Akkermansia")  # fmt: skip


def learn_samples(mgm: Path, workspace: Path, name: str, *options: str) -> list[float]:
    """Tune the real checkpoint on orders of ten genera that it knows; the losses on others."""
    random = np.random.default_rng(0)
    lines = [" ".join(f"g__{genus}" for genus in random.permutation(GENERA)) for _ in range(150)]
    samples = workspace / "samples.txt"
    if not samples.exists():
        samples.write_text("\n".join(lines))
    in_process(
        "train",
        "--from",
        str(mgm / "runs" / "mgm"),
        "--name",
        name,
        "--data",
        samples.name,
        "--max-steps",
        "8",
        *SMALL_RUN,
        "--set",
        "data.document=line",
        "--set",
        "model.context_length=16",
        "--set",
        "training.precision=float32",
        *options,
        cwd=workspace,
    )
    return [row["eval/loss"] for row in metrics(workspace, name) if "eval/loss" in row]


def test_the_real_checkpoint_learns_a_small_set_with_its_last_blocks(
    mgm: Path, tmp_path: Path
) -> None:
    """All of it takes fifteen seconds more to compile: in the test below."""
    frozen = ("--set", "training.freeze=[embedding, 'block_[0-5]']")
    losses = learn_samples(mgm, tmp_path, "last_blocks", *frozen)
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.long
def test_the_real_checkpoint_learns_a_small_set_and_resumes_exactly(
    mgm: Path, tmp_path: Path
) -> None:
    losses = learn_samples(mgm, tmp_path, "whole")
    assert losses[0] > losses[1] > losses[2]
    learn_samples(mgm, tmp_path, "stopped", "--stop-at-step", "3")
    in_process("train", "--resume", "stopped", cwd=tmp_path)
    assert digests(tmp_path, "stopped", 8) == digests(tmp_path, "whole", 8)


# --- what is refused


def test_another_architecture_is_refused_by_name(tuned: Path, capsys: Capture) -> None:
    given = ("num_layers=2", "embed_dim=64", "context_length=64", "dropout.head=0.3")
    options = [word for setting in given for word in ("--set", f"model.{setting}")]
    message = refused(capsys, *FINE_TUNE, *options, cwd=tuned)
    assert "another architecture than that of --from base" in message
    assert "num_layers: 1 in the checkpoint, 2 now" in message
    assert "embed_dim: 32 in the checkpoint, 64 now" in message
    assert "context_length: 32 in the checkpoint, 64 now; it may be shorter" in message
    assert "dropout" not in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "bass"), "no such run: bass. Did you mean base? Runs in"),
        (("--from", "base", "--tokenizer", "x"), "--tokenizer cannot be given with --from"),
        (("--from", "base", "--train-tokenizer"), "--train-tokenizer cannot be given with --from"),
        (
            ("--from", "base", "--name", "base", "--overwrite", "--data", "verses"),
            "the same run in --from and --name: base",
        ),
        (("--from", "base", "--resume", "base"), "--from cannot be given with --resume"),
        (("--preset", "finetune"), "no run to fine-tune in --preset: finetune. Give --from RUN"),
        (("--config", "runs/full/config.yaml"), "first weights without --from in origin.run: "),
        (("--set", "origin.run=base"), "no effect in --set: origin.run=base: gpt-tf writes it"),
        (("--from", "base", "--set", "origin.checkpoint=step-1"), "no effect in --set: origin"),
    ],
)
def test_what_cannot_be_begun_with_is_refused(
    tuned: Path, capsys: Capture, arguments: tuple[str, ...], words: str
) -> None:
    assert words in refused(capsys, "train", *arguments, cwd=tuned)


def test_the_model_is_the_checkpoint_s_whatever_the_file_says(copy: Path, capsys: Capture) -> None:
    run, config = run_of(copy, "base"), config_of(copy, "base")
    model = dataclasses.replace(config.model, num_heads=2 * config.model.num_heads)
    run.config_file.write_text(as_yaml(dataclasses.replace(config, model=model)))
    assert read_run(run).config.model == config.model
    assert "another model in" in refused(capsys, *FINE_TUNE, cwd=copy)


def test_a_pattern_that_freezes_nothing_is_refused(copy: Path, capsys: Capture) -> None:
    """And the run that did not begin leaves no directory."""
    before = sorted((copy / "runs").iterdir())
    message = refused(capsys, *FINE_TUNE, "--set", "training.freeze=[block_1]", cwd=copy)
    assert "no weights of this name in training.freeze: block_1. Did you mean block_0" in message
    assert sorted((copy / "runs").iterdir()) == before


def test_another_tokenizer_in_the_given_run_is_refused(copy: Path, capsys: Capture) -> None:
    path = run_of(copy, "base").tokenizer / "tokenizer.json"
    value = json.loads(path.read_text())
    vocabulary = value["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(value))
    assert "another tokenizer" in refused(capsys, *FINE_TUNE, cwd=copy)


def test_a_run_without_a_checkpoint_is_refused(copy: Path, capsys: Capture) -> None:
    shutil.rmtree(run_of(copy, "base").checkpoints.directory)
    assert "no checkpoint in" in refused(capsys, *FINE_TUNE, cwd=copy)
