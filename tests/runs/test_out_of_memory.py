"""Memory that does not suffice: a message with sizes and remedy, exit code 1, nothing lost."""

import subprocess
import sys
from pathlib import Path

from commands import TINY_RUN
from places import SUPPORT

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
        "error: out of memory in training: a batch of 60,000 rows x 32 tokens, 1 layers of width "
        "1,024, a vocabulary of 400. Reduce training.batch_size (training.grad_accum_steps makes "
        "up for it), model.context_length or the model; checkpoints saved before are intact."
    )
    assert CheckpointStore(workspace / "runs" / "tiny" / "checkpoints").last()
