"""Saving and restoring everything that a bit-exact continuation needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

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
      keep: recent checkpoints kept besides the best.
    """

    def __init__(
        self,
        model: LanguageModel,
        optimizer: keras.optimizers.Optimizer,
        store: CheckpointStore,
        *,
        facts: Mapping[str, Any] | None = None,
        keep: int = 2,
    ) -> None:
        self._weights = weight_variables(model)
        self._training = {
            **{f"seeds/{name}": v for name, v in seed_variables(model).items()},
            **{f"optimizer/{name}": v for name, v in optimizer_slots(optimizer, model).items()},
        }
        self.store = store
        self._facts = dict(facts or {})
        self._keep = keep

    def save(
        self, step: int, state: Mapping[str, Any], *, is_best: bool = False, **facts: Any
    ) -> str:
        """Commit a checkpoint, point `best` to it if it is, then drop old ones."""
        name = self.store.save(
            step,
            read_values(self._weights),
            read_values(self._training),
            state,
            {**self._facts, **facts},
        )
        if is_best:
            self.store.point_best(name)
        self.store.rotate(self._keep)
        return name

    def restore(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Give every variable its stored value; the loop's state comes back."""
        source = f"checkpoint {checkpoint.name}"
        assign_values(self._weights, checkpoint.model, source)
        assign_values(self._training, checkpoint.training, source)
        return checkpoint.state
