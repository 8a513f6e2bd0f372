"""`train --from RUN`: what a new run takes over, what it refuses, and that it resumes exactly."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import gpt_tf_here
from test_resume import digests, metrics

from gpt_tf.cli.finetuning import find_pretrained
from gpt_tf.config import Config, LoraConfig
from gpt_tf.config_files import as_yaml, read_config_file, resolve
from gpt_tf.model.lora import is_adapter
from gpt_tf.storage.manifest import sha256_file
from gpt_tf.storage.run_directory import RunDirectory

SMALL_RUN = (
    "--set", "training.batch_size=4", "--set", "training.eval_interval=4",
    "--set", "training.eval_batches=2", "--set", "training.log_interval=2",
    "--set", "training.xla=off", "--set", "sampling.max_new_tokens=3",
)  # fmt: skip
FINE_TUNE = ("train", "--from", "tiny", "--data", "reviews", *SMALL_RUN)
LORA = ("--preset", "finetune-lora", "--set", "training.peak_learning_rate=0.02",
        "--set", "model.lora.ffn=true")  # fmt: skip


@pytest.fixture(scope="module")
def tuned(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained workspace with `full`, every weight fine-tuned, and `lora`; do not write."""
    workspace = tmp_path_factory.mktemp("tuned") / "workspace"
    shutil.copytree(trained_workspace, workspace)
    rate = ("--learning-rate", "3e-3")
    for name, options in (("full", rate), ("lora", LORA)):
        gpt_tf_here(*FINE_TUNE, "--max-steps", "8", "--name", name, *options, cwd=workspace)
    return workspace


def run_of(workspace: Path, name: str) -> RunDirectory:
    return RunDirectory(workspace / "runs" / name)


def config_of(workspace: Path, name: str) -> Config:
    return resolve(read_config_file(run_of(workspace, name).config_file))


def weights(workspace: Path, name: str) -> dict[str, np.ndarray]:
    return run_of(workspace, name).checkpoints.best().model


def refused(*arguments: str, cwd: Path) -> str:
    """What a command that must fail with exit code 2 says."""
    result = gpt_tf_here(*arguments, cwd=cwd, check=False)
    assert result.returncode == 2, result.stderr
    return result.stderr[result.stderr.index("error: ") :]


# --- what is taken over


@pytest.mark.parametrize("name", ["full", "lora"])
def test_the_loss_falls_from_that_of_the_given_weights(tuned: Path, name: str) -> None:
    losses = {int(row["step"]): row["eval/loss"] for row in metrics(tuned, name)
              if "eval/loss" in row}  # fmt: skip
    assert list(losses) == [0, 4, 8]  # the first is the given weights' own
    assert losses[8] < losses[4] < losses[0]
    assert losses[0] == pytest.approx(metrics(tuned, "full")[0]["eval/loss"], abs=1e-6)


@pytest.mark.parametrize("name", ["full", "lora"])
def test_model_tokenizer_and_origin_are_the_given_runs(tuned: Path, name: str) -> None:
    config, first = config_of(tuned, name), config_of(tuned, "tiny")
    assert dataclasses.replace(config.model, lora=LoraConfig()) == first.model
    assert config.sampling.prompt == first.sampling.prompt
    for file in ("tokenizer.json", "tokenizer_config.json"):
        copies = [run_of(tuned, run).tokenizer / file for run in (name, "tiny")]
        assert copies[0].read_bytes() == copies[1].read_bytes()
    checkpoints = run_of(tuned, "tiny").checkpoints
    best = checkpoints.best_name()
    assert config.origin.run == str(tuned / "runs" / "tiny")
    assert config.origin.checkpoint == best
    manifest = checkpoints.directory / str(best) / "manifest.json"
    assert config.origin.manifest_sha256 == sha256_file(manifest)


def test_the_preset_is_a_linear_fall_from_5e_5(tuned: Path) -> None:
    training = resolve(find_pretrained(tuned, "tiny").settings({})).training
    assert training.peak_learning_rate != 5e-5
    shown = gpt_tf_here("train", "--from", "tiny", "--print-config", cwd=tuned).stdout
    for line in ("schedule: linear", "peak_learning_rate: 5.0e-05", "warmup_steps: 0",
                 "min_learning_rate: 0.0", "embed_dim: 32", "vocab_size: 400"):  # fmt: skip
        assert f"  {line}\n" in shown


def test_another_preset_gives_all_but_the_model(tuned: Path) -> None:
    from gpt_tf.config_files import read_preset

    config = resolve(find_pretrained(tuned, "tiny").settings(read_preset("imdb")))
    imdb, tiny = resolve(read_preset("imdb")), config_of(tuned, "tiny")
    assert (config.training, config.data) == (imdb.training, imdb.data)
    assert config.model == dataclasses.replace(tiny.model, dropout=imdb.model.dropout)
    assert config.tokenizer == tiny.tokenizer


def test_adapters_alone_have_changed(tuned: Path) -> None:
    given, trained = weights(tuned, "tiny"), weights(tuned, "lora")
    layers = ("attention/qkv", "feed_forward/contract", "feed_forward/expand")
    adapters = {f"block_0/{layer}/lora/{part}" for layer in layers for part in "ab"}
    assert set(filter(is_adapter, trained)) == adapters == trained.keys() - given.keys()
    for name, array in given.items():
        np.testing.assert_array_equal(trained[name], array)
    assert all(np.any(trained[name]) for name in adapters)
    full = weights(tuned, "full")
    assert full.keys() == given.keys()
    assert not any(np.array_equal(full[name], given[name]) for name in given)


def test_a_run_with_adapters_generates_and_is_measured(tuned: Path) -> None:
    arguments = ("generate", "--run", "lora", "--max-new-tokens", "4")
    assert gpt_tf_here(*arguments, cwd=tuned).stdout.startswith("This movie is")
    told = json.loads(gpt_tf_here("evaluate", "lora", "--json", cwd=tuned).stdout)
    before = json.loads(gpt_tf_here("evaluate", "tiny", "--json", cwd=tuned).stdout)
    assert told["loss"] < before["loss"]


def test_fine_tuning_goes_on_from_merged_adapters(tuned: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(tuned, workspace)
    pretrained = find_pretrained(workspace, "lora")
    assert pretrained.config.model == config_of(workspace, "tiny").model
    arrays, origin = pretrained.read(32)
    stored = weights(workspace, "lora")
    layer = "block_0/attention/qkv"
    change = stored[f"{layer}/lora/a"] @ stored[f"{layer}/lora/b"] * (32 / 4)
    expected = stored[f"{layer}/kernel"] + change
    np.testing.assert_allclose(arrays[f"{layer}/kernel"], expected, atol=1e-6)
    assert str(origin.run).endswith("runs/lora")


# --- a shorter context, frozen layers, a larger vocabulary


def test_a_shorter_context_keeps_the_first_positions(workspace: Path) -> None:
    gpt_tf_here(*FINE_TUNE, "--max-steps", "2", "--name", "short",
                "--set", "model.context_length=12", "--set", "training.freeze=[embedding]",
                cwd=workspace)  # fmt: skip
    given, trained = weights(workspace, "tiny"), weights(workspace, "short")
    np.testing.assert_array_equal(trained["embedding/positions"], given["embedding/positions"][:12])
    np.testing.assert_array_equal(trained["embedding/tokens"], given["embedding/tokens"])
    slots = run_of(workspace, "short").checkpoints.last().training
    assert not any("embedding" in name for name in slots if name.startswith("optimizer/"))
    assert any("block_0" in name for name in slots if name.startswith("optimizer/"))


def test_a_model_may_have_more_entries_than_its_tokenizer(workspace: Path) -> None:
    run = run_of(workspace, "tiny")
    config, best = config_of(workspace, "tiny"), run.checkpoints.best()
    tokens = best.model["embedding/tokens"]
    best.model["embedding/tokens"] = np.concatenate([tokens, tokens[:5]])
    facts = {"tokenizer_sha256": best.manifest["tokenizer_sha256"]}
    run.checkpoints.point_best(run.checkpoints.save(21, best.model, {}, {}, facts))
    larger = dataclasses.replace(config.model, vocab_size=405)
    run.config_file.write_text(as_yaml(dataclasses.replace(config, model=larger)))
    gpt_tf_here(*FINE_TUNE, "--max-steps", "1", "--name", "larger", cwd=workspace)
    assert weights(workspace, "larger")["embedding/tokens"].shape == (405, 32)


def test_the_dry_run_counts_what_is_trained(tuned: Path) -> None:
    result = gpt_tf_here("train", "--from", "tiny", "--preset", "finetune-lora", "--dry-run",
                         cwd=tuned)  # fmt: skip
    rows = [line.split("│") for line in result.stdout.splitlines() if "│" in line]
    shown = {cells[1].strip(): cells[2].strip() for cells in rows}
    assert shown["of them trained"] == f"{4 * (32 + 96):,}"


# --- exactness


@pytest.mark.parametrize("options", [("--learning-rate", "3e-3"), LORA], ids=["full", "lora"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    tuned: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(tuned, workspace)
    gpt_tf_here(*FINE_TUNE, "--max-steps", "8", "--stop-at-step", "3", "--name", "stopped",
                *options, cwd=workspace)  # fmt: skip
    shutil.rmtree(workspace / "runs" / "tiny")  # it is not needed any more
    gpt_tf_here("train", "--resume", "stopped", cwd=workspace)
    whole = "lora" if options is LORA else "full"
    assert digests(workspace, "stopped", 8) == digests(tuned, whole, 8)
    assert metrics(workspace, "stopped") == metrics(tuned, whole)


# --- what is refused


def test_another_architecture_is_refused_by_name(tuned: Path) -> None:
    message = refused(*FINE_TUNE, "--set", "model.num_layers=2", "--set", "model.embed_dim=64",
                      "--set", "model.context_length=64", "--set", "model.dropout.head=0.3",
                      cwd=tuned)  # fmt: skip
    assert "another architecture than that of --from tiny" in message
    assert "num_layers: 1 in the checkpoint, 2 now" in message
    assert "embed_dim: 32 in the checkpoint, 64 now" in message
    assert "context_length: 32 in the checkpoint, 64 now; it may be shorter" in message
    assert "dropout" not in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "tinny"), "no such run: tinny. Runs in"),
        (("--from", "tiny", "--tokenizer", "x"), "--tokenizer cannot be given with --from"),
        (("--from", "tiny", "--train-tokenizer"), "--train-tokenizer cannot be given with --from"),
        (("--from", "tiny", "--resume", "tiny"), "--from cannot be given with --resume"),
        (("--set", "origin.run=tiny"), "first weights without --from in origin.run: tiny"),
    ],
)
def test_what_cannot_be_begun_with_is_refused(
    tuned: Path, arguments: tuple[str, ...], words: str
) -> None:
    assert words in refused("train", "--data", "reviews", *arguments, cwd=tuned)


def test_a_pattern_that_freezes_nothing_is_refused(workspace: Path) -> None:
    message = refused(*FINE_TUNE, "--set", "training.freeze=[block_1]", cwd=workspace)
    assert "no weights of this name in training.freeze: block_1. Did you mean block_0" in message


def test_another_tokenizer_in_the_given_run_is_refused(workspace: Path) -> None:
    path = run_of(workspace, "tiny").tokenizer / "tokenizer.json"
    value = json.loads(path.read_text())
    vocabulary = value["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    path.write_text(json.dumps(value))
    assert "another tokenizer" in refused(*FINE_TUNE, cwd=workspace)


def test_a_run_without_a_checkpoint_is_refused(workspace: Path) -> None:
    shutil.rmtree(run_of(workspace, "tiny").checkpoints.directory)
    assert "no checkpoint in" in refused(*FINE_TUNE, cwd=workspace)
