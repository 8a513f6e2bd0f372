"""The workers that train one run together, as one of them sees the others.

The first is the chief: it alone claims the run, writes and speaks. The others follow what it began
(`runs/following.py`).
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from gpt_tf.config import Config
from gpt_tf.config_files import flatten
from gpt_tf.errors import UsageError
from gpt_tf.runs.console import Console
from gpt_tf.version import __version__

if TYPE_CHECKING:  # it imports this module
    from gpt_tf.runs.job import Job

RUN = "the run"


class Watch(Protocol):
    """What tells the workers what the others say (`training/watch.py`)."""

    def share(self, name: str, value: Any = None) -> Any:
        """The chief's value, on every worker."""

    def compare(self, name: str, value: str) -> None:
        """Raise UsageError on every worker if values differ."""


@dataclass(frozen=True)
class Team:
    """All workers, and how this one tells the others.

    Attributes:
      count: of all workers.
      rank: of this one; 0 is the chief.
      watch: None of a single worker.
    """

    count: int = 1
    rank: int = 0
    watch: Watch | None = None

    @property
    def is_chief(self) -> bool:
        """Whether this worker claims the run, writes and speaks."""
        return self.rank == 0

    def share(self, name: str, value: Any = None) -> Any:
        """What the chief gives, on every worker, which waits for it."""
        return value if self.watch is None else self.watch.share(name, value)

    def compare(self, name: str, value: str) -> None:
        """Raise UsageError on every worker if they do not all have this value."""
        if self.watch is not None:
            self.watch.compare(name, value)


ALONE = Team()


def facts(job: Job, run: str | None) -> dict[str, str]:
    """What all workers must have been asked for, and what they compute it with."""
    libraries = ("tensorflow", "keras", "numpy", "tokenizers")
    asked = {
        "version of gpt-tf": __version__,
        **{f"version of {name}": importlib.metadata.version(name) for name in libraries},
        **flatten(dataclasses.asdict(job.config)),
        "--resume": run,
        "--name": job.name,
        "--data": job.data,
        "--validation-data": job.validation,
        "--tokenizer": job.tokenizer,
        "--stop-at-step": job.stop_at_step,
        "--accept-data-change": job.accept_data_change,
        "--from": job.pretrained.run.name if job.pretrained else None,
    }
    return {name: str(value) for name, value in asked.items()}


def shared_out(config: Config, team: Team, console: Console) -> Config:
    """The settings of a new run, whose updates have a batch for each worker at least.

    Raises:
      UsageError: if the batches cannot be divided so.
    """
    training = config.training
    batches, size = training.grad_accum_steps, training.batch_size
    parts = team.count // math.gcd(batches, team.count)
    if parts == 1:
        return config
    if size % parts:
        raise UsageError(
            f"{team.count} workers cannot share updates of training.grad_accum_steps {batches} and "
            f"training.batch_size {size}. Choose a batch size that is divisible by {parts}."
        )
    console.note(
        f"{team.count} workers: training.batch_size {size} becomes {size // parts}, and "
        f"training.grad_accum_steps {batches} becomes {batches * parts}; a single worker with "
        "these settings has the same losses"
    )
    training = dataclasses.replace(
        training, batch_size=size // parts, grad_accum_steps=batches * parts
    )
    return dataclasses.replace(config, training=training)
