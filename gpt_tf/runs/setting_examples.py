"""For each setting, what to add to `gpt-tf train` to change it."""

from __future__ import annotations

import shlex
from typing import Any

from gpt_tf.config_files import flatten, read_preset, text_of
from gpt_tf.config_help import Setting, settings_by_key, values_in_presets
from gpt_tf.runs.without_effect import RULES

# Where neither a preset nor a rule of thumb gives a value, or the setting needs another one.
VALUES = {
    "data.column": "review",
    "data.encoding": "latin-1",
    "training.seed": 1,
    "training.beta_1": 0.95,
    "training.muon_momentum": 0.9,
    "sampling.prompt": "Once upon a time",
    "training.freeze": ["embedding"],
    "training.patience": 3,
}
NEEDS = {
    "training.weight_decay": "training.optimizer=adamw",
    "model.lora.qkv": "model.lora.attention_output=true",
}


def example(setting: Setting) -> str:
    """The options that change a setting of the preset `demo`, and what it needs to have an effect.

    >>> example(settings_by_key()["training.muon_momentum"])
    '--set training.optimizer=muon --set training.muon_momentum=0.9'
    """
    usual = flatten(read_preset("demo"))
    needed = [rule.needs for rule in RULES if rule.needs and setting.key.startswith(rule.keys)]
    needed += [NEEDS[setting.key]] if setting.key in NEEDS else []
    assignments = [each for each in needed if not _has(usual, each)]
    assignments.append(f"{setting.key}={text_of(_value(setting))}")
    return " ".join(f"--set {shlex.quote(each)}" for each in dict.fromkeys(assignments))


def _has(settings: dict[str, Any], assignment: str) -> bool:
    """Whether the settings of a preset, over the defaults, are so already."""
    key, _, value = assignment.partition("=")
    return text_of(settings.get(key, settings_by_key()[key].default)) == value


def _value(setting: Setting) -> Any:
    """A value that the setting can have, and does not have by default."""
    default = setting.default
    if setting.key in VALUES:
        return VALUES[setting.key]
    if isinstance(default, bool):
        return not default
    known = (*values_in_presets()[setting.key].values(), *setting.choices)
    others = [value for value in known if value not in (None, default)]
    if others or not isinstance(default, int | float):
        return others[0] if others else 100 if default is None else default
    if isinstance(default, float):
        return default / 2 or 0.1
    return 2 * default or 1
