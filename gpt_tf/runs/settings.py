"""The settings of a new run, before its data, tokenizer and machine are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpt_tf.config import Config
from gpt_tf.config_files import read_preset, resolve
from gpt_tf.errors import UsageError
from gpt_tf.runs.choosing_data import choose_preset
from gpt_tf.runs.finetuning import PRESET, Pretrained
from gpt_tf.runs.workspace import Workspace


def choose_settings(
    workspace: Workspace,
    preset: str | None,
    data: Path | None,
    overrides: Sequence[Mapping[str, Any]],
    pretrained: Pretrained | None = None,
) -> tuple[str, Config]:
    """The preset's name, and its settings with each of `overrides` laid over them.

    Args:
      preset: by default that of the newest corpus, or the one for fine-tuning.
      data: the user's own text, if any.

    Raises:
      UsageError: naming every unknown key, wrong type and value out of range.
    """
    if preset is None:
        preset = PRESET if pretrained else choose_preset(workspace, data)
    settings = read_preset(preset)
    if pretrained is not None:
        settings = pretrained.settings(settings)
    elif preset.startswith(PRESET):
        raise UsageError(f"no run to fine-tune in --preset: {preset}. Give --from RUN.")
    config = resolve(*overrides, base=settings)
    if pretrained is not None:
        pretrained.check(config.model)
    return preset, config
