"""config.json to our settings and back, by the tables of the families."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpt_tf.config import ModelConfig
from gpt_tf.config_files import build, flatten, nested
from gpt_tf.errors import UsageError
from gpt_tf.interop.families import Family
from gpt_tf.interop.gpt2 import GPT2, OPENAI_GPT
from gpt_tf.interop.opt import OPT

FAMILIES = (GPT2, OPT, OPENAI_GPT)  # the order in which one is looked for when writing
log = logging.getLogger(__name__)


def family_of(theirs: Mapping[str, Any], path: Path) -> Family:
    """The family that a config.json names. Raises UsageError if it is another."""
    for family in FAMILIES:
        if theirs.get("model_type") == family.model_type:
            return family
    known = ", ".join(family.model_type for family in FAMILIES)
    raise UsageError(f"unknown model_type in {path}: {theirs.get('model_type')!r}. Known: {known}.")


def model_config(family: Family, theirs: Mapping[str, Any], path: Path) -> ModelConfig:
    """The settings of ours that mean what their config.json says.

    Raises:
      UsageError: listing what has no counterpart here, and what is out of range.
    """
    problems = []
    if theirs.get("quantization_config") is not None:
        problems.append("quantization_config: quantized weights are not read")
    own = family.class_name.removesuffix("LMHeadModel").removesuffix("ForCausalLM")
    named = theirs.get("architectures")
    for name in named if isinstance(named, list) else []:
        if not str(name).startswith(own):
            problems.append(f"architectures must be {family.class_name}, not {_shown(name)}")
        elif "For" in str(name) and name != family.class_name:
            log.warning("%s is not a language model in %s: read as one", _shown(name), path)
    for key, wanted in family.required.items():
        if isinstance(wanted, str):
            wanted = theirs.get(wanted)
        if theirs.get(key) not in (None, wanted):
            problems.append(f"{key} must be {_shown(wanted)}, not {_shown(theirs[key])}")
    values: dict[str, Any] = {**family.fixed, **dict.fromkeys(family.zero_without, True)}
    for ours, setting in family.settings.items():
        value = theirs.get(setting.key)
        value = setting.default if value is None else value
        if setting.values is not None:
            if not isinstance(value, str | bool) or value not in setting.values:
                choices = ", ".join(_shown(choice) for choice in setting.values)
                problems.append(f"{setting.key} must be one of {choices}, not {_shown(value)}")
                continue
            value = setting.values[value]
        values[ours] = value
    family.complete(values)
    config = None if problems else _checked(family, values, problems)
    if config is None:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise UsageError(f"no counterpart in gpt-tf for {path}:\n{listed}")
    return config


def _checked(family: Family, values: Mapping[str, Any], problems: list[str]) -> ModelConfig | None:
    """The settings, or None with what is wrong in `problems`."""
    config = build(ModelConfig, nested({**values, "initial_weights": "gpt2"}), "", problems)
    if not isinstance(config, ModelConfig):
        return None
    problems += _heads(config)
    problems += [
        f"{name} ({_shown(value)} here) is a setting that {family.class_name} says nothing about"
        for name, value in family.unnamed(config).items()
    ]
    return None if problems else config


def choose_family(config: ModelConfig) -> Family:
    """The family whose model computes the same.

    Raises:
      UsageError: listing for each family what is in the way.
    """
    reasons = []
    for family in FAMILIES:
        found = objections(family, config)
        if not found:
            return family
        reasons.append(f"  {family.class_name} needs {'; '.join(found)}")
    raise UsageError(
        "no counterpart in transformers for this architecture:\n"
        + "\n".join(reasons)
        + "\nUse another --format."
    )


def objections(family: Family, config: ModelConfig) -> list[str]:
    """What keeps `config` from being written as a model of `family`."""
    found = []
    values = flatten(dataclasses.asdict(config))
    for name, wanted in family.fixed.items():
        if values[name] != wanted:
            found.append(f"{name} {_shown(wanted)}, not {_shown(values[name])}")
    for name, setting in family.settings.items():
        if setting.values is not None and values[name] not in setting.values.values():
            found.append(f"another {name} than {values[name]}")
    for name, value in family.unnamed(config).items():
        found.append(f"a counterpart of {name}, which is {_shown(value)}")
    return [*found, *_heads(config), *family.objections(config)]


def _heads(config: ModelConfig) -> list[str]:
    """Theirs has heads that share the width evenly."""
    heads, width = config.num_heads, config.head_width
    if heads * width == config.embed_dim:
        return []
    return [f"heads as wide as embed_dim ({config.embed_dim}) together, not {heads} of {width}"]


def their_config(family: Family, config: ModelConfig) -> dict[str, Any]:
    """What config.json says of the architecture."""
    theirs: dict[str, Any] = {
        "model_type": family.model_type,
        "architectures": [family.class_name],
    }
    values = flatten(dataclasses.asdict(config))
    for ours, setting in family.settings.items():
        value = values[ours]
        if setting.values is not None:
            value = next(each for each, own in setting.values.items() if own == value)
        theirs.setdefault(setting.key, value)
    return {**theirs, "torch_dtype": "float32", "use_cache": True}


def _shown(value: Any) -> str:
    """A value as JSON and YAML write it, cut if it is long."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
