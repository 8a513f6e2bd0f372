"""Memory that does not suffice: a message with sizes and remedy, exit code 1, nothing lost."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import TINY_RUN, called
from places import SUPPORT

from gpt_tf.config import Config, ModelConfig
from gpt_tf.errors import RunError
from gpt_tf.runs.out_of_memory import naming_sizes
from gpt_tf.storage.checkpoint import CheckpointStore

# The first tensor of the step alone, 60,000 x 32 x 1,024 numbers, is twice what may be taken; that
# leaves room for threads, which TensorFlow starts late and whose refusal ends the process.
TOO_LARGE = (
    "--batch-size",
    "60000",
    "--set",
    "data.windows=random",
    "--set",
    "model.embed_dim=1024",
)


def run_in(megabytes: int, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command that may take so much memory more than TensorFlow itself."""
    script = SUPPORT / "limited_memory.py"
    command = [sys.executable, str(script), str(megabytes), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=200)


def test_a_dry_run_names_the_setting_of_weights_that_fit_in_no_memory(tmp_path: Path) -> None:
    """As training does: both ask the same function."""
    setting = ["--set", "model.ffn_dim=300000000"]
    done = called("train", "--dry-run", *setting, cwd=tmp_path, check=False)
    assert done.returncode == 1
    begin = "error: out of memory in model.ffn_dim: training 300,000,000 x 128 weights takes 614 GB"
    said = done.stderr.splitlines()[-1]
    assert said.startswith(begin) and said.endswith("GB. Reduce model.ffn_dim.")


@pytest.mark.parametrize(
    ("config", "begin"),
    [
        (ModelConfig(num_heads=10**7, head_dim=40), "model.num_heads: training 400,000,000 x 128"),
        (ModelConfig(head_dim=10**8), "model.head_dim: training 400,000,000 x 128 weights"),
        (ModelConfig(architecture="bigram", vocab_size=10**7), "model.vocab_size: training 10,"),
        (ModelConfig(), "training: a batch of "),
    ],
)
def test_what_is_too_large_is_named(config: ModelConfig, begin: str) -> None:
    with (
        pytest.raises(RunError, match=f"^out of memory in {begin}"),
        naming_sizes(Config(model=config)),
    ):
        raise MemoryError


def test_training_names_batch_context_and_model(workspace: Path) -> None:  # C26, C27
    result = run_in(
        4000,
        "train",
        "--data",
        "reviews",
        "--name",
        "huge",
        "--max-steps",
        "20",
        *TINY_RUN,
        *TOO_LARGE,
        cwd=workspace,
    )
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1] == (
        "error: out of memory in training: a batch of 60,000 rows x 32 tokens, 1 layer of width "
        "1,024, a vocabulary of 400. Reduce training.batch_size (training.grad_accum_steps makes "
        "up for it), model.context_length or the model; checkpoints saved before are intact."
    )
    assert CheckpointStore(workspace / "runs" / "tiny" / "checkpoints").last()
