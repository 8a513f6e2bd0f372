"""Saving and restoring everything that a bit-exact continuation needs."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from gpt_tf.arguments import check_counts, path_of
from gpt_tf.config_files import changed_settings, flatten
from gpt_tf.errors import RunError, UsageError
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.model.variables import assign_values, read_values, seed_variables, weight_variables
from gpt_tf.storage.atomic import TEMPORARY
from gpt_tf.storage.checkpoint import NAME, CheckpointStore, checkpoint_name
from gpt_tf.storage.checkpoint_files import Checkpoint
from gpt_tf.storage.targets import NEW, refuse_in_run
from gpt_tf.training.optimizer import optimizer_slots

# Of the model's settings, those that do not decide what the weights compute
FREE = ("context_length", "dropout.", "initial_")
TAKEN = (
    "manifest",
    "format",
    "step",
    "best_step",
    "stable_step",
    "model_config",
    "files",
    "sha256",
)


class CheckpointManager:
    """Saves and restores a model, its optimizer and the state of a loop.

        manager = CheckpointManager(model, optimizer, "my_checkpoints")
        state = manager.restore() if manager.latest() else {"stream": stream.state_dict()}
        stream.load_state_dict(state["stream"])
        ...
        manager.save(step, {"stream": stream.state_dict()})

    After `restore` training goes on bit for bit: weights, optimizer slots and dropout seeds are as
    they were. The optimizer's learning rate is not saved: it is a function of the step.

    Args:
      model: built, as a `GPT` is.
      optimizer: Adam, AdamW or Muon; it is built if it is not yet.
      store: the folder of the checkpoints, made if it is missing; or a `CheckpointStore`.
      facts: what each manifest says besides, such as config and versions.
      keep: recent checkpoints kept besides the best, 1 or more.
      check: raises RunError if nothing may be written to the store any more.
      saved: called after each save.

    Raises:
      UsageError: for a `keep` that is not a whole number of 1 or more, a `store` that is not a
        folder, is a run's or has other files in it, or another optimizer.
    """

    def __init__(
        self,
        model: LanguageModel,
        optimizer: keras.optimizers.Optimizer,
        store: str | os.PathLike[str] | CheckpointStore,
        *,
        facts: Mapping[str, Any] | None = None,
        keep: int = 2,
        check: Callable[[], None] = lambda: None,
        saved: Callable[[], None] = lambda: None,
    ) -> None:
        check_counts(keep=keep)
        if not isinstance(model, LanguageModel) or not model.built:
            raise UsageError(f"not a model that is built in model: {model!r:.60}. Give a GPT.")
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise UsageError(
                f"not an optimizer in optimizer: {optimizer!r:.60}. Give keras.optimizers.Adam() "
                "or the model's own: model.optimizer."
            )
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        self._weights = weight_variables(model)
        self._training = {
            **{f"seeds/{name}": v for name, v in seed_variables(model).items()},
            **{f"optimizer/{name}": v for name, v in optimizer_slots(optimizer, model).items()},
        }
        self._model = {"model_config": flatten(dataclasses.asdict(model.config))}
        self._facts = _checked_facts(facts)
        self._keep = keep
        self._check = check
        self._saved = saved
        # The folder last: what is refused makes none.
        self.store = store if isinstance(store, CheckpointStore) else _store_in(store)

    def __repr__(self) -> str:
        folder = str(self.store.directory)
        return f"CheckpointManager({folder!r}, keep={self._keep}, latest={self.latest()!r})"

    def latest(self) -> str | None:
        """The name of the newest checkpoint, such as "step-00000300"; None if there is none."""
        names = self.store.names()
        return names[-1] if names else None

    def check_room(self, *, stable: bool = False) -> None:
        """Raise UsageError if the disk has no room for the checkpoints that are kept.

        Args:
          stable: whether one at which the rate begins to fall is kept, too.
        """
        variables = (*self._weights.values(), *self._training.values())
        size = sum(v.value.numpy().nbytes for v in variables)
        self.store.check_room(size, self._keep + stable)

    def save(
        self,
        step: int,
        state: Mapping[str, Any] | None = None,
        *,
        best_step: int | None = None,
        stable_step: int | None = None,
        also_kept: int | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> str:
        """Commit a checkpoint, then drop old ones.

        Args:
          step: how many updates the model has had; the checkpoint is named after it.
          state: what the loop needs to go on, as JSON can hold it; `restore` gives it back.
          best_step, stable_step: steps of checkpoints that are kept however old they become: of
            the best one, and of the one at which the rate begins to fall.
          also_kept: step of another checkpoint that stays for now.
          facts: what this manifest says besides those of the manager.

        Returns:
          The name of the checkpoint.

        Raises:
          UsageError: for a step, a best_step, a stable_step, a state or facts that cannot be
            stored, such as a state that JSON would change.
          RunError: if the disk is full or fails, or the folder of the checkpoints has gone.
        """
        kept = {"best_step": best_step, "stable_step": stable_step}
        given = {name: each for name, each in kept.items() if each is not None}
        check_counts(0, **given)
        kept |= {name: int(each) for name, each in given.items()}  # JSON has no NumPy integer
        facts = _checked_facts(facts)
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
                state or {},
                {**self._model, **self._facts, **kept, **facts},
            )
        except RunError:
            self._check()  # a directory that was moved meanwhile is the reason
            raise
        self._saved()
        others = [] if also_kept is None else [checkpoint_name(also_kept)]
        self.store.rotate(self._keep, name, *others)
        return name

    def restore(self, checkpoint: Checkpoint | str | int | None = None) -> dict[str, Any]:
        """Give every variable its stored value.

        Args:
          checkpoint: its step or its name, "best" or "last", or what a store has read; the newest
            intact one if it is not given.

        Returns:
          The state that was saved with it.

        Raises:
          UsageError: if there is no such checkpoint, or it is of another model or optimizer.
          RunError: if it is damaged.
        """
        if not isinstance(checkpoint, Checkpoint):
            checkpoint = self._read(checkpoint)
        source = f"checkpoint {checkpoint.name}"
        self._refuse_another_model(checkpoint.manifest, source)
        assign_values(self._weights, checkpoint.model, source)
        assign_values(self._training, checkpoint.training, source)
        return checkpoint.state

    def _refuse_another_model(self, manifest: Mapping[str, Any], source: str) -> None:
        """Raise UsageError if weights that fit would compute something else in this model.

        Checkpoints of earlier versions do not say of which model they are.
        """
        old, now = manifest.get("model_config", {}), self._model["model_config"]
        both = old.keys() & now.keys()
        changed = changed_settings({k: old[k] for k in both}, {k: now[k] for k in both}, FREE)
        if changed:
            raise UsageError(f"{source} is of another model:\n" + "\n".join(changed))

    def _read(self, checkpoint: str | int | None) -> Checkpoint:
        if not self.store.names():
            raise UsageError(f"no checkpoint in {self.store.directory}. Save one first.")
        return self.store.last() if checkpoint is None else self.store.find(checkpoint)


def _checked_facts(facts: Mapping[str, Any] | None) -> dict[str, Any]:
    """The facts, if a manifest can have them."""
    if not isinstance(facts, Mapping | None):
        raise UsageError(f"no mapping in facts: {facts!r:.60}. Give a dict.")
    taken = [name for name in TAKEN if name in (facts or {})]
    if taken:
        raise UsageError(f"name that a manifest has in facts: {taken[0]}. Choose another.")
    try:
        json.dumps(facts)
    except (TypeError, ValueError) as error:
        raise UsageError(f"JSON cannot hold the facts: {error}. Give numbers and texts.") from error
    return dict(facts or {})


def _store_in(folder: str | os.PathLike[str]) -> CheckpointStore:
    """The checkpoints in a folder, which is made if it is missing."""
    directory = path_of(folder, "store")
    if directory is None:
        raise UsageError("no path in store: None. Give the folder of the checkpoints.")
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"not a folder in store: {directory}. Choose another place.")
    refuse_in_run(directory, "store")
    others = [] if not directory.exists() else sorted(directory.iterdir())
    foreign = [path.name for path in others if not _is_own(path)]
    if foreign:
        raise UsageError(
            f"folder with other files in store: {directory} holds {foreign[0]}, which is not a "
            f"checkpoint. {NEW}."
        )
    directory.mkdir(parents=True, exist_ok=True)
    return CheckpointStore(directory)


def _is_own(path: Path) -> bool:
    """Whether it is a checkpoint, what a killed process left of one, or a hidden file."""
    return bool(
        NAME.fullmatch(path.name) or TEMPORARY.fullmatch(path.name) or path.name.startswith(".")
    )
