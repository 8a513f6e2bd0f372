"""`gpt-tf train --from RUN`: a new run that starts with the weights and tokenizer of another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gpt_tf.config import Config, ModelConfig, OriginConfig
from gpt_tf.config_files import changed_settings, merge, read_config_file, resolve_stored
from gpt_tf.errors import UsageError
from gpt_tf.model.lora import merged
from gpt_tf.runs.workspace import Workspace
from gpt_tf.storage.checkpoint_files import Arrays
from gpt_tf.storage.manifest import MANIFEST, sha256_file
from gpt_tf.storage.places import recorded
from gpt_tf.storage.run_directory import RunDirectory
from gpt_tf.tokenizer.files import check_same_tokenizer

PRESET = "finetune"
# Of the model's settings, those that do not decide what the given weights compute.
FREE = ("context_length", "dropout.", "lora.", "initial_")
POSITIONS = "embedding/positions"


class Weights(NamedTuple):
    """The weights of a run's best checkpoint by name, and the record of it."""

    arrays: Arrays
    origin: OriginConfig


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A run of ours, or an imported one, that another begins with."""

    run: RunDirectory
    config: Config  # without adapters: they are merged
    workspace: Path

    def settings(self, preset: Mapping[str, Any]) -> dict[str, Any]:
        """The run's model, tokenizer and sample prompt, with what a preset says of the rest."""
        own = dataclasses.asdict(self.config)
        kept = {key: preset.get("model", {}).get(key, {}) for key in ("dropout", "lora")}
        rest = {key: value for key, value in preset.items() if key not in ("model", "tokenizer")}
        return merge(
            {key: own[key] for key in ("model", "tokenizer", "sampling")}, rest, {"model": kept}
        )

    def check(self, model: ModelConfig) -> None:
        """Raise UsageError if `model` is another architecture, naming every difference."""
        changed = changed_settings(
            dataclasses.asdict(self.config.model), dataclasses.asdict(model), FREE
        )
        if model.context_length > self.config.model.context_length:
            changed.append(
                f"  context_length: {self.config.model.context_length} in the checkpoint, "
                f"{model.context_length} now; it may be shorter"
            )
        if changed:
            table = "\n".join(changed)
            raise UsageError(
                f"another architecture than that of --from {self.run.name}:\n{table}\n"
                "Leave these settings of the model out."
            )

    def read(self, context_length: int) -> Weights:
        """The weights of the best checkpoint, else the last; positions beyond the context cut.

        Raises:
          UsageError: if there is no checkpoint, another tokenizer, or another model.
          RunError: if no checkpoint is intact.
        """
        checkpoint = self.run.checkpoints.best(weights_only=True)
        check_same_tokenizer(self.run.tokenizer, checkpoint.manifest.get("tokenizer_sha256"))
        stored = resolve_stored(checkpoint.manifest["config"]).model
        architecture, arrays = merged(stored, checkpoint.model)
        if architecture != self.config.model:
            raise UsageError(
                f"another model in {self.run.config_file} than in {checkpoint.name}. Put the file "
                "back as it was."
            )
        if POSITIONS in arrays:
            shift = len(arrays[POSITIONS]) - stored.context_length  # of OPT's rows
            arrays[POSITIONS] = arrays[POSITIONS][: context_length + shift]
        manifest = self.run.checkpoints.directory / checkpoint.name / MANIFEST
        origin = OriginConfig(
            run=recorded(self.run.path, self.workspace),
            checkpoint=checkpoint.name,
            manifest_sha256=sha256_file(manifest),
        )
        return Weights(arrays, origin)


def find_pretrained(workspace: Workspace, name: str) -> Pretrained:
    """The run to begin with. Raises UsageError if there is none."""
    run = workspace.run(name)
    config = resolve_stored(read_config_file(run.config_file))
    architecture, _ = merged(config.model, {})
    workspace.console.note(f"from: {run.path}")
    config = dataclasses.replace(config, model=architecture)
    return Pretrained(run, config, workspace.path)


def first_weights(config: Config, pretrained: Pretrained | None) -> tuple[Config, Arrays | None]:
    """The settings with their origin, and the weights to begin with; None to begin random.

    Raises:
      UsageError: for another architecture, or an origin in the settings that nobody gave.
    """
    if pretrained is not None:
        pretrained.check(config.model)
        weights = pretrained.read(config.model.context_length)
        return dataclasses.replace(config, origin=weights.origin), weights.arrays
    if config.origin != OriginConfig():
        raise UsageError(
            f"first weights without --from in origin.run: {config.origin.run}. Give --from RUN, or "
            "leave the section origin out."
        )
    return config, None
