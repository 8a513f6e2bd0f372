"""Settings that would change nothing: refused if the user gave them, noted if a preset has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from gpt_tf.config import NEVER_FALLING, OF_OPTIMIZER, Config, ModelConfig, TokenizerConfig
from gpt_tf.config_files import flatten, text_of
from gpt_tf.errors import UsageError
from gpt_tf.runs.console import Console
from gpt_tf.runs.data import DataChoice
from gpt_tf.runs.given import SET, Given
from gpt_tf.streaming.kinds import OPTIONS as FILE_OPTIONS
from gpt_tf.streaming.kinds import in_words, known_kind, suffixes
from gpt_tf.tokenizer.kinds import CLEANING, KINDS

DEFAULTS = flatten(dataclasses.asdict(Config()))
# What a run's own config.yaml has although it decides nothing: refused on the command line alone.
DERIVED = ("training.max_epochs", "training.eval_interval", "tokenizer.vocab_size", "model.")


class Rule(NamedTuple):
    """Settings that have no effect if `applies`; names or beginnings of names."""

    keys: tuple[str, ...]
    applies: Callable[[Config, DataChoice], bool]
    reason: str
    needs: str = ""  # the setting with which they have one

    def remedy(self, key: str, given: Given) -> str:
        """What to type instead; an option that decides the same setting comes after `--set`."""
        place = given.get(self.needs.partition("=")[0], SET)
        leave_out = place.typed and place != SET
        add = f"Leave {place.name} out and add" if leave_out else "Add"
        if self.needs:
            return f". {add} --set {self.needs}, or leave {key} out."
        return f", or leave {key} out." if ". " in self.reason else f". Leave {key} out."


def _of_files(option: str) -> Rule:
    """The rule for a setting that means something to some kinds of data files only."""

    def applies(config: Config, choice: DataChoice) -> bool:
        files = (*choice.train, *choice.validation)
        return not any(option in known_kind(path).options for path in files)

    reason = f"no data file is {in_words(suffixes(option))}"
    if option == "document":
        others = in_words(suffixes(option, taken=False), "and")
        reason += f"; in {others} a record is a document"
    return Rule((f"data.{option}",), applies, reason)


def _of_choice(key: str, owners: Mapping[str, tuple[str, ...]]) -> list[Rule]:
    """The rules for settings that mean something only if another has one of some values.

    Args:
      key: the other setting, with its section.
      owners: by its values, the settings of the same section that mean something then.
    """
    section, _, name = key.partition(".")

    def rule_of(setting: str) -> Rule:
        takers = [value for value, settings in owners.items() if setting in settings]

        def applies(config: Config, choice: DataChoice) -> bool:
            return getattr(getattr(config, section), name) not in takers

        reason = f"{key} is not {in_words(takers)}"
        return Rule((f"{section}.{setting}",), applies, reason, f"{key}={takers[0]}")

    return [rule_of(setting) for setting in dict.fromkeys(chain.from_iterable(owners.values()))]


OF_EVERY_MODEL = ("architecture", "vocab_size", "context_length", "initial_weights", "initial_std")
BLOCKS = tuple(
    item.name
    for item in dataclasses.fields(ModelConfig)
    if item.name not in (*OF_EVERY_MODEL, "lora")  # adapters have a rule of their own
)
RULES = (
    Rule(
        ("training.patience", "training.eval_", "data.drop_duplicates"),
        lambda config, choice: not choice.validation,
        "there are no validation data. Give some with --validation-data, or set aside a share "
        "with --set data.validation_share=0.1 (training.checkpoint_interval says when to save)",
    ),
    Rule(
        ("data.validation_share",),
        lambda config, choice: (
            choice.source is None or (choice.validation_given and config.data.validation_share > 0)
        ),
        "the validation data are chosen already",
    ),
    *map(_of_files, FILE_OPTIONS),
    Rule(
        ("training.max_epochs",),
        lambda config, choice: config.training.max_steps is not None,
        "training.max_steps decides",
        "training.max_steps=null",
    ),
    *_of_choice("training.optimizer", OF_OPTIMIZER),
    Rule(
        ("training.min_learning_rate", "training.decay_share"),
        lambda config, choice: config.training.schedule in NEVER_FALLING,
        "the rate never falls",
        "training.schedule=cosine",
    ),
    Rule(
        ("model.initial_std",),
        lambda config, choice: config.model.initial_weights != "gpt2",
        "model.initial_weights is not gpt2",
        "model.initial_weights=gpt2",
    ),
    *_of_choice("model.positions", {"rotary": ("rope_base",)}),
    Rule(
        ("model.qkv_bias",),
        lambda config, choice: not config.model.bias,
        "model.bias is false",
        "model.bias=true",
    ),
    Rule(
        ("model.lora.",),
        lambda config, choice: config.model.lora.rank == 0,
        "there are no adapters",
        "model.lora.rank=4",
    ),
    Rule(
        tuple(f"model.{name}" for name in BLOCKS),
        lambda config, choice: config.model.architecture == "bigram",
        "the bigram table has no blocks",
        "model.architecture=gpt",
    ),
    *_of_choice("tokenizer.kind", {name: kind.settings for name, kind in KINDS.items()}),
)


def idle_settings(config: Config, choice: DataChoice) -> dict[str, tuple[Any, Rule]]:
    """The settings without effect, with their values and rules.

    A setting at its default value is ignored, even if the user typed it.
    """
    return {
        key: (value, rule)
        for rule in RULES
        if rule.applies(config, choice)
        for key, value in flatten(dataclasses.asdict(config)).items()
        if key.startswith(rule.keys) and value != DEFAULTS[key]
    }


def refuse_idle(configs: Sequence[Config], choice: DataChoice, given: Given) -> None:
    """Refuse settings that the user gave and that change nothing in any of `configs`.

    Those of a preset that need validation data are noted.

    Raises:
      UsageError: naming every setting, where it was given, and what it would need.
    """
    first, *others = [idle_settings(config, choice) for config in configs]
    idle = {key: entry for key, entry in first.items() if all(key in other for other in others)}
    wrong = {key for key, at in given.items() if at.typed or not key.startswith(DERIVED)}
    problems = [
        f"no effect in {given[key].name}: {key}={text_of(value)}: "
        f"{rule.reason}{rule.remedy(key, given)}"
        for key, (value, rule) in idle.items()
        if key in wrong
    ]
    if problems:
        raise UsageError("\n".join(problems))
    needing = [
        f"{key} {text_of(value)}"
        for key, (value, rule) in idle.items()
        if rule is RULES[0] and not key.startswith(DERIVED)
    ]
    if needing:
        named = ", ".join(needing)
        choice.console.note(f"no validation data, so these have no effect: {named}")


def check_end(config: Config, stop_at_step: int | None, step: int = 0, *, console: Console) -> None:
    """Refuse a stop that ends nothing earlier; note patience that no evaluation can use up.

    Args:
      config: the resolved settings of a run.
      step: at which the run is now.

    Raises:
      UsageError: naming the steps between which a run can be stopped.
    """
    training = config.training
    last, interval = training.max_steps, training.eval_interval
    assert last and interval, "they are resolved when the data are known"
    if stop_at_step is not None and not step < stop_at_step < last:
        raise UsageError(
            f"no effect in --stop-at-step: {stop_at_step}: the run is at step {step:,}, and its "
            f"last step is {last:,}. Give a step between, or leave it out."
        )
    before_the_end = (last - 1) // interval + (config.origin.run is not None)
    if training.patience is not None and training.patience >= before_the_end:
        console.note(
            f"training.patience {training.patience} has no effect: the first evaluation is the "
            f"best so far, with {max(0, before_the_end - 1)} more before the last step"
        )


def tell_uneven_heads(config: Config, console: Console) -> None:
    """Say that the heads together are narrower than the model, if `num_heads` does not divide."""
    model = config.model
    together = model.num_heads * model.head_width
    if model.architecture == "gpt" and model.head_dim is None and together != model.embed_dim:
        console.note(
            f"model.num_heads {model.num_heads} makes heads of {model.head_width}, together "
            f"{together} of model.embed_dim {model.embed_dim}: transformers has no such model, so "
            "it cannot be exported as hf"
        )


def refuse_for_ready_tokenizer(
    config: Config, given: Given, trained: Mapping[str, Any], remedy: str = ""
) -> None:
    """Refuse settings of a tokenizer that is not trained now, unless it was trained with them.

    Args:
      trained: the record of what the tokenizer was trained with; empty if nobody knows.
      remedy: how another is trained, if that is possible, as the end of a sentence.
    """
    for key in (item.name for item in dataclasses.fields(TokenizerConfig)):
        if key in CLEANING:  # a ready tokenizer is given them
            continue
        value, place = getattr(config.tokenizer, key), given.get(f"tokenizer.{key}")
        if place and place.typed and trained.get(key) != value:
            raise UsageError(
                f"no effect in {place.name}: tokenizer.{key}={text_of(value)}: the tokenizer is "
                f"ready. Leave it out{remedy}."
            )


def refuse_vocabulary(config: Config, given: Given, entries: int, remedy: str) -> None:
    """Refuse another size of the model's vocabulary than its tokenizer has, if the user gave it.

    Args:
      entries: of the tokenizer.
      remedy: what to type with a tokenizer's size, to train another.
    """
    size, place = config.model.vocab_size, given.get("model.vocab_size")
    if place and place.typed and size != entries:
        raise UsageError(
            f"no effect in {place.name}: model.vocab_size={size}: the model takes the size of its "
            f"tokenizer, {entries}. Leave it out, or set tokenizer.vocab_size and {remedy}."
        )
