"""A run written as transformers reads it: `AutoModelForCausalLM.from_pretrained(DIR)`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpt_tf.config import ModelConfig
from gpt_tf.errors import UsageError
from gpt_tf.interop.families import Family, parameter_shapes
from gpt_tf.interop.model_config import choose_family, their_config
from gpt_tf.interop.stored_run import StoredRun
from gpt_tf.interop.weights import LISTED
from gpt_tf.rates import in_words
from gpt_tf.storage import atomic
from gpt_tf.storage.tensors import Shape, Streamed
from gpt_tf.tokenizer.base import Tokenizer, put_before_texts
from gpt_tf.tokenizer.files import CONFIG_FILE, TOKENIZER_FILE
from gpt_tf.training.evaluation import METRICS


def write(stored: StoredRun, directory: Path) -> None:
    """Fill `directory` with config, weights, tokenizer and model card.

    Raises:
      UsageError: if transformers has no such architecture.
    """
    model = stored.config.model
    family = choose_family(model)
    tokenizer = Tokenizer.load(stored.tokenizer)
    ids = token_ids(tokenizer)
    atomic.write_json(directory / "config.json", {**their_config(family, model), **ids})
    suppressed = sorted(tokenizer.never_written(model.vocab_size))
    generation = generation_config(ids, suppressed)
    atomic.write_json(directory / "generation_config.json", generation)
    write_weights(stored, family, directory / "model.safetensors")
    write_tokenizer(tokenizer, model.context_length, directory)
    atomic.write_text(directory / "README.md", model_card(stored, family, tokenizer))


def write_tokenizer(tokenizer: Tokenizer, context_length: int, directory: Path) -> None:
    """tokenizer.json, and under which class transformers 4 and 5 open it.

    A begin token is before texts there, as it is before prompts here.
    """
    if tokenizer.bos_id is not None:
        put_before_texts(tokenizer.backend, tokenizer.special_tokens["bos"])
    directory.mkdir(exist_ok=True)
    tokenizer.backend.save(str(directory / TOKENIZER_FILE))
    special = dict(tokenizer.special_tokens)
    if tokenizer.pad_id is None:
        special.pop("pad", None)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        # transformers 4 would give token types too, and GPT-2 adds an embedding for each
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": context_length,
        "clean_up_tokenization_spaces": False,
        **{f"{role}_token": token for role, token in special.items()},
    }
    atomic.write_json(directory / CONFIG_FILE, settings)


def token_ids(tokenizer: Tokenizer) -> dict[str, int | None]:
    """The ids that begin, end and pad a text; without a begin token the end token begins."""
    begin = tokenizer.eot_id if tokenizer.bos_id is None else tokenizer.bos_id
    return {
        "bos_token_id": begin,
        "eos_token_id": tokenizer.eot_id,
        "pad_token_id": tokenizer.pad_id,
    }


def generation_config(ids: dict[str, int | None], suppressed: list[int]) -> dict[str, Any]:
    """The same ids; a text is padded with the end token if there is no other."""
    pad = ids["eos_token_id"] if ids["pad_token_id"] is None else ids["pad_token_id"]
    given = {**ids, "pad_token_id": pad, "suppress_tokens": suppressed or None}
    return {key: value for key, value in given.items() if value is not None}


def write_weights(stored: StoredRun, family: Family, path: Path) -> None:
    """Write model.safetensors, one tensor after the other.

    Raises:
      UsageError: if an array has no place in their file, or one that they need is missing.
    """
    always: dict[str, Any] = dict.fromkeys(family.zero_without, True)
    model = dataclasses.replace(stored.config.model, **always)
    own_shapes, names = parameter_shapes(model), family.names(model)
    zeros = zero_arrays(family, stored.config.model, own_shapes)
    check_arrays(stored, {name: own_shapes[name] for name in own_shapes.keys() - zeros}, family)
    shapes: dict[str, Shape] = {}
    places: dict[str, tuple[str, int]] = {}  # their name to ours, and which part of it
    for own, theirs in names.items():
        for part, name in enumerate(theirs.names):
            written = family.with_prefix(name)
            shapes[written] = theirs.shape_of_each(own_shapes[own])
            places[written] = own, part

    def array_of(name: str) -> np.ndarray:
        own, part = places[name]
        array = np.zeros(own_shapes[own], np.float32) if own in zeros else stored.weights[own]
        return names[own].split(array)[part]

    Streamed(shapes, array_of).write(path)


def zero_arrays(family: Family, model: ModelConfig, shapes: Mapping[str, Shape]) -> set[str]:
    """The arrays of `shapes` that the model does not have, and that are zero for the family."""
    left_out = [
        array
        for setting, arrays in family.zero_without.items()
        if not getattr(model, setting)
        for array in arrays
    ]
    return {name for name in shapes if name in left_out or _within_block(name) in left_out}


def _within_block(name: str) -> str:
    """An array's name as the tables of blocks have it."""
    return name.partition("/")[2] if name.startswith("block_") else ""


def check_arrays(stored: StoredRun, shapes: Mapping[str, Shape], family: Family) -> None:
    """Raise UsageError unless the run's weights are exactly the arrays of `shapes`."""
    found = {name: tuple(array.shape) for name, array in stored.weights.items()}
    problems = [f"no place for {name}" for name in sorted(found.keys() - shapes.keys())]
    problems += [f"missing: {name}" for name in sorted(shapes.keys() - found.keys())]
    problems += [
        f"shape of {name}: {found[name]}, not {shape}"
        for name, shape in sorted(shapes.items())
        if found.get(name, shape) != shape
    ]
    if problems:
        raise UsageError(
            f"weights of {stored.checkpoint} that are not those of {family.class_name} "
            f"({len(problems)} problems):\n"
            + "\n".join(f"  {problem}" for problem in problems[:LISTED])
            + "\nUse another --format."
        )


def model_card(stored: StoredRun, family: Family, tokenizer: Tokenizer) -> str:
    """What the model is, how it was measured and how it is loaded."""
    rows = {**_architecture(stored.config.model), "steps trained": f"{stored.step:,}"}
    if stored.step:  # not of a run that was imported
        rows["learning rate"] = "; ".join(in_words(stored.config.training, stored.step))
    for metric in METRICS:
        if (value := stored.figures.get(f"eval/{metric.name}")) is not None:
            rows[f"validation {metric.title}"] = f"{value:.4f}"
    rows["vocabulary of the tokenizer"] = f"{tokenizer.vocab_size:,}"
    table = "\n".join(f"| {what} | {value} |" for what, value in rows.items())
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---

# {stored.name}

A language model written by gpt-tf from checkpoint `{stored.checkpoint}` of its run `{stored.name}`.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("DIR")  # {family.class_name}
tokenizer = AutoTokenizer.from_pretrained("DIR")
```

| what | value |
|---|---|
{table}

`manifest.json` has the SHA-256 of every file. Control strings such as `<|endoftext|>` in ordinary
text are control tokens to `AutoTokenizer`, unlike in gpt-tf: give it `split_special_tokens=True`.
"""


def _architecture(model: ModelConfig) -> dict[str, str]:
    parameters = sum(math.prod(shape) for shape in parameter_shapes(model).values())
    return {
        "parameters": f"{parameters:,}",
        "layers × heads": f"{model.num_layers} × {model.num_heads}",
        "width": f"{model.embed_dim}",
        "context": f"{model.context_length}",
    }
