"""Bad input at the command line: exit code, and a message that names what, where and the remedy."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import BIGRAM_RUN, TINY_RUN, called
from places import SUPPORT

from gpt_tf.storage.checkpoint import CheckpointStore

TRAIN = ("train", "--data", "reviews", *TINY_RUN)


def refused(*arguments: str, cwd: Path, code: int = 2) -> str:
    """Run a command that must fail with `code` and one error message; gives the message."""
    result = called(*arguments, cwd=cwd, check=False)
    assert result.returncode == code, result.stderr
    assert result.stderr.count("error: ") == 1
    assert "Traceback" not in result.stderr
    return result.stderr[result.stderr.index("error: ") :]


def test_missing_folder(tmp_path: Path) -> None:  # D1
    assert "no such directory: nowhere" in refused("train-tokenizer", "nowhere", cwd=tmp_path)


def test_folder_without_documents(tmp_path: Path) -> None:  # D1
    (tmp_path / "empty").mkdir()
    assert "no *.txt files" in refused("train-tokenizer", "empty", cwd=tmp_path)


def test_only_blank_documents(tmp_path: Path) -> None:  # D2
    (tmp_path / "blank").mkdir()
    (tmp_path / "blank" / "a.txt").write_text(" \n\t\n")
    assert "no text in 1 document" in refused("train-tokenizer", "blank", cwd=tmp_path)


def test_undecodable_document(tmp_path: Path) -> None:  # D3
    (tmp_path / "latin").mkdir()
    (tmp_path / "latin" / "a.txt").write_bytes(b"caf\xe9 au lait")
    message = refused("train-tokenizer", "latin", "--set", "data.validation_share=0", cwd=tmp_path)
    assert "a.txt" in message
    assert "byte offset 3" in message
    assert "data.on_bad_file=skip" in message


def test_fewer_documents_than_a_batch(workspace: Path) -> None:  # D14
    message = refused(*TRAIN, "--set", "data.windows=padded", "--batch-size", "500", cwd=workspace)
    assert "dataset gives 0 batches" in message
    assert "for a batch of 500. Give more text or reduce --batch-size." in message


def test_swapped_tokenizer(workspace: Path) -> None:  # D17
    path = workspace / "runs" / "tiny" / "tokenizer" / "tokenizer.json"
    value = json.loads(path.read_text())
    vocabulary = value["model"]["vocab"]
    a, b = "a", "b"
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]
    path.write_text(json.dumps(value))
    further = ["--max-steps", "40", "--set", "training.schedule=cosine"]
    for command in (["generate"], ["train", "--resume", "tiny", *further]):
        result = called(*command, cwd=workspace, check=False)
        assert result.returncode == 2, result.stderr
        assert "another tokenizer" in result.stderr


def test_impossible_vocabulary_size(workspace: Path) -> None:  # D19
    message = refused("train-tokenizer", "reviews", "--vocab-size", "10", cwd=workspace)
    assert "The minimum is 258" in message


def test_characters_take_no_vocabulary_size(workspace: Path) -> None:
    words = ["train-tokenizer", "reviews", "--kind", "char"]
    message = refused(*words, "--vocab-size", "400", cwd=workspace)
    assert "--vocab-size 400 cannot be given with the kind char" in message
    assert "--kind bpe" in message
    called(*words, "--output", "characters", cwd=workspace)


def test_unreachable_vocabulary_size(workspace: Path) -> None:  # D19
    result = called("train-tokenizer", "reviews", "--vocab-size", "10000000", cwd=workspace)
    size = int(result.stdout.split(": ")[1].split(" entries")[0].replace(",", ""))
    assert 258 < size < 10_000
    assert "no more pairs to merge" in result.stderr


def test_fresh_run_in_a_used_directory(workspace: Path) -> None:  # C11
    message = refused(*TRAIN, "--name", "tiny", "--max-steps", "20", cwd=workspace)
    assert "holds step-00000020" in message
    assert "--resume" in message
    assert "--overwrite" in message


def test_overwrite_begins_anew(workspace: Path) -> None:  # C11
    again = ["train", "--data", "reviews", *BIGRAM_RUN, "--max-steps", "6"]
    called(*again, "--name", "tiny", "--overwrite", cwd=workspace)
    names = CheckpointStore(workspace / "runs" / "tiny" / "checkpoints").names()
    assert names == ["step-00000005", "step-00000006"]
    steps = [
        json.loads(line)["step"]
        for line in (workspace / "runs" / "tiny" / "metrics.jsonl").read_text().splitlines()
    ]
    assert max(steps) == 6


def test_resume_without_a_run(tmp_path: Path) -> None:  # C13
    assert "no run with a checkpoint" in refused("train", "--resume", cwd=tmp_path)


def test_resume_of_an_unknown_run_lists_the_runs(workspace: Path) -> None:  # C13
    message = refused("train", "--resume", "bogus", cwd=workspace)
    assert "no such run: bogus" in message
    assert "tiny" in message


def test_resume_of_a_run_without_checkpoints(workspace: Path) -> None:  # C13
    shutil.rmtree(workspace / "runs" / "tiny" / "checkpoints")
    message = refused("train", "--resume", "tiny", cwd=workspace)
    assert "no checkpoint in" in message
    assert "metrics.jsonl" in message  # what is there


def test_generate_never_uses_random_weights(tmp_path: Path) -> None:  # G1
    assert "no run with a checkpoint" in refused("generate", cwd=tmp_path)


def test_prompt_longer_than_the_context(workspace: Path) -> None:  # G2
    prompt = "The plot is dull. " * 40
    message = refused("generate", "--prompt", prompt, cwd=workspace)
    assert "the context has 32" in message
    assert "--truncate left" in message
    result = called(
        "generate", "--prompt", prompt, "--truncate", "left", "--max-new-tokens", "2", cwd=workspace
    )
    assert result.stdout.startswith(prompt)


@pytest.mark.parametrize("prompt", ["", "   "])
def test_empty_prompt_starts_from_the_end_token(workspace: Path, prompt: str) -> None:  # G2
    result = called("generate", "--prompt", prompt, "--max-new-tokens", "5", cwd=workspace)
    assert result.stdout.startswith(prompt)
    assert "prompt: none, so that a new text begins" in result.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("--temperature", value) for value in ("0", "-1", "nan", "inf")],
        *[("--top-k", value) for value in ("0", "-3", "401")],
        *[("--top-p", value) for value in ("0", "1.01", "-0.5", "nan")],
        *[("--max-new-tokens", value) for value in ("0", "-1", "x", "100001")],
    ],
)
def test_sampling_option_out_of_range(  # G4
    trained_workspace: Path, option: str, value: str
) -> None:
    message = refused("generate", "--sampler", "random", option, value, cwd=trained_workspace)
    assert option in message
    assert value in message


@pytest.mark.parametrize(("option", "value"), [("--num-beams", "0"), ("--length-penalty", "nan")])
def test_beam_option_out_of_range(trained_workspace: Path, option: str, value: str) -> None:  # G4
    message = refused("generate", "--sampler", "beam", option, value, cwd=trained_workspace)
    assert option in message


def test_option_of_another_sampler(trained_workspace: Path) -> None:  # G4
    message = refused("generate", "--num-beams", "3", cwd=trained_workspace)
    assert "without effect on the sampler greedy: --num-beams 3" in message


def rewrite_weights(workspace: Path, change) -> None:
    """Commit the newest checkpoint of `tiny` again with changed weights."""
    store = CheckpointStore(workspace / "runs" / "tiny" / "checkpoints")
    for name in store.names():
        checkpoint = store.read(name)
        facts = {key: value for key, value in checkpoint.manifest.items() if key != "files"}
        step = facts.pop("step")
        facts.pop("format")
        model = change(dict(checkpoint.model))
        store.save(step, model, checkpoint.training, checkpoint.state, facts)


def test_weights_with_nan(workspace: Path) -> None:  # G5
    def poison(model):
        model["final_norm/gamma"] = np.full_like(model["final_norm/gamma"], np.nan)
        return model

    rewrite_weights(workspace, poison)
    for sampler in ("greedy", "beam", "random"):
        message = refused("generate", "--sampler", sampler, cwd=workspace, code=1)
        assert "model gives non-finite logits" in message


def test_checkpoint_that_lacks_a_layer(workspace: Path) -> None:  # C15
    def forget(model):
        del model["block_0/attention/qkv/kernel"]
        return model

    rewrite_weights(workspace, forget)
    message = refused("generate", cwd=workspace)
    assert "missing: block_0/attention/qkv/kernel" in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--lerning-rate", "1"], ["--learning-rate"]),
        (["trian"], ["trian"]),
        (["train", "--max-steps", "many"], ["--max-steps", "many"]),
        (["train", "--preset", "imbd"], ["imbd", "Did you mean imdb?"]),
        (["train", "--set", "training.bach_size=3"], ["training.bach_size", "batch_size"]),
        (["train", "--set", "training.batch_size=x"], ["training.batch_size", "'x'"]),
        (["train", "--set", "training.batch_size=0"], ["at least 1", "received: 0"]),
        (["train", "--config", "missing.yaml"], ["missing.yaml"]),
    ],
)
def test_mistyped_options_and_settings(  # G12
    tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    message = refused(*arguments, cwd=tmp_path)
    for word in words:
        assert word in message


def test_unknown_keys_of_a_config_file_are_all_named(tmp_path: Path) -> None:  # G12
    (tmp_path / "mine.yaml").write_text("model:\n  layers: 3\ntraning: {}\n")
    message = refused("train", "--config", "mine.yaml", cwd=tmp_path)
    assert "unknown key model.layers. Did you mean num_layers?" in message
    assert "unknown key traning. Did you mean training?" in message


def test_diverging_learning_rate(workspace: Path) -> None:  # C23
    """The update is refused, the weights stay finite, the last good checkpoint is kept."""
    message = refused(
        *TRAIN,
        "--name",
        "hot",
        "--max-steps",
        "30",
        "--set",
        "training.warmup_steps=1",
        "--set",
        "training.eval_interval=100",
        "--set",
        "training.checkpoint_interval=1",
        "--set",
        "training.clip_norm=0",
        "--learning-rate",
        "1e30",
        cwd=workspace,
        code=1,
    )
    assert "non-finite loss or gradient at step" in message
    assert ".txt" in message
    assert "learning rate 1e+30" in message
    checkpoint = CheckpointStore(workspace / "runs" / "hot" / "checkpoints").last()
    assert all(np.isfinite(value).all() for value in checkpoint.model.values())


def test_train_without_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    for i in range(20):
        (tmp_path / "text" / f"{i}.txt").write_text("Some text.")
    assert "Add --train-tokenizer" in refused("train", "--data", "text", cwd=tmp_path)


def test_a_stalled_disk_is_named_and_a_signal_still_saves(workspace: Path) -> None:  # D13
    script = SUPPORT / "stalled_training.py"
    padded = ("--set", "data.windows=padded", "--set", "data.num_threads=1", "--max-steps", "50")
    trained_at_once = ("--set", "training.evaluate_first=off")  # the 30th document is trained on
    train = ["train", "--data", "reviews", *BIGRAM_RUN, "--name", "stalled"]
    command = [sys.executable, str(script), *train, *padded, *trained_at_once]
    process = subprocess.Popen(command, cwd=workspace, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = next(line for line in process.stderr if "waiting for data:" in line)
    assert "reviews" in line
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=40)
    assert process.returncode == 143
    store = CheckpointStore(workspace / "runs" / "stalled" / "checkpoints")
    assert store.last().state["loop"]["step"] == store.last().state["stream"]["position"] > 0
