"""Saving and restoring everything that a bit-exact continuation needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from gpt_tf.arguments import check_counts
from gpt_tf.errors import RunError
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.variables import assign_values, read_values, seed_variables, weight_variables
from gpt_tf.storage.checkpoint import Checkpoint, CheckpointStore
from gpt_tf.training.optimizer import optimizer_slots


class CheckpointManager:
    """Saves and restores a model, its optimizer and the loop's state.

    Args:
      model, optimizer: built.
      store: where checkpoints are.
      facts: what each manifest says besides: config, tokenizer SHA-256, versions.
      keep: recent checkpoints kept besides the best, 1 or more.
      check: raises RunError if nothing may be written to the store any more.
      saved: called after each save.

    Raises:
      UsageError: for a `keep` that is not a whole number of 1 or more.
    """

    def __init__(
        self,
        model: LanguageModel,
        optimizer: keras.optimizers.Optimizer,
        store: CheckpointStore,
        *,
        facts: Mapping[str, Any] | None = None,
        keep: int = 2,
        check: Callable[[], None] = lambda: None,
        saved: Callable[[], None] = lambda: None,
    ) -> None:
        check_counts(keep=keep)
        self._weights = weight_variables(model)
        self._training = {
            **{f"seeds/{name}": v for name, v in seed_variables(model).items()},
            **{f"optimizer/{name}": v for name, v in optimizer_slots(optimizer, model).items()},
        }
        self.store = store
        self._facts = dict(facts or {})
        self._keep = keep
        self._check = check
        self._saved = saved

    def check_room(self) -> None:
        """Raise UsageError where the disk has no room for the checkpoints that are kept."""
        variables = (*self._weights.values(), *self._training.values())
        self.store.check_room(sum(v.value.numpy().nbytes for v in variables), self._keep)

    def save(self, step: int, state: Mapping[str, Any], **facts: Any) -> str:
        """Commit a checkpoint, then drop old ones.

        Raises:
          UsageError: for a step or a state that cannot be stored.
          RunError: where the disk is full or fails, or the run's directory has gone.
        """
        self._check()
        if not self.store.directory.is_dir():
            raise RunError(
                f"the directory of the checkpoints has gone: {self.store.directory}. "
                "What was saved went with it; train again."
            )
        try:
            name = self.store.save(
                step,
                read_values(self._weights),
                read_values(self._training),
                state,
                {**self._facts, **facts},
            )
        except RunError:
            self._check()  # a directory that was moved meanwhile is the reason
            raise
        self._saved()
        self.store.rotate(self._keep, name)
        return name

    def restore(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Give every variable its stored value; the loop's state comes back."""
        source = f"checkpoint {checkpoint.name}"
        assign_values(self._weights, checkpoint.model, source)
        assign_values(self._training, checkpoint.training, source)
        return checkpoint.state
