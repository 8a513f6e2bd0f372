"""Each choice in the settings is an entry of the table that carries it out, and the reverse."""

import dataclasses
import typing
from pathlib import Path

import pytest
from commands import in_process

from gpt_tf.config import (
    NEVER_FALLING,
    OF_OPTIMIZER,
    WITHOUT_DECAY,
    Config,
    ModelConfig,
    Section,
    TokenizerConfig,
)
from gpt_tf.inference.options import SAMPLERS
from gpt_tf.model.architectures import ARCHITECTURES
from gpt_tf.streaming import rows
from gpt_tf.tokenizer.kinds import CLEANING, KINDS, train
from gpt_tf.training.optimizer import OPTIMIZERS
from gpt_tf.training.schedule import SCHEDULES

TABLES = {
    "model.architecture": ARCHITECTURES,
    "tokenizer.kind": KINDS,
    "data.windows": rows.KINDS,
    "training.optimizer": OPTIMIZERS,
    "training.schedule": SCHEDULES,
    "sampling.sampler": {"auto": None, **SAMPLERS},
}
# two or three ways that no table has: each is a branch, in one place
BRANCHES = {
    "tokenizer.unknown_characters",
    "data.document",
    "data.on_bad_file",
    "training.precision",
    "training.xla",
    "training.evaluate_first",
}


def choices_of(kind: type[Section], prefix: str = "") -> dict[str, tuple[str, ...]]:
    """The values of every setting that has a choice, by its dotted name."""
    found: dict[str, tuple[str, ...]] = {}
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint, name = hints[field.name], f"{prefix}{field.name}"
        if isinstance(hint, type) and issubclass(hint, Section):
            found |= choices_of(hint, f"{name}.")
        elif typing.get_origin(hint) is typing.Literal:
            found[name] = typing.get_args(hint)
    return found


CHOICES = choices_of(Config)


@pytest.mark.parametrize("name", TABLES)
def test_the_choices_of_a_setting_are_the_entries_of_its_table(name: str) -> None:
    assert sorted(CHOICES[name]) == sorted(TABLES[name])


def test_every_choice_has_a_table_or_is_a_branch() -> None:
    """Those of the model's layers are tested with the layers."""
    of_layers = {f"model.{name}" for name in choices_of(ModelConfig)} - {"model.architecture"}
    assert CHOICES.keys() - of_layers == TABLES.keys() | BRANCHES


def test_optimizers_without_decay_are_those_that_the_settings_know() -> None:
    assert {name for name, kind in OPTIMIZERS.items() if not kind.decays} == set(WITHOUT_DECAY)


def test_settings_of_one_optimizer_and_schedules_that_never_fall_are_known() -> None:
    own = {name: kind.settings for name, kind in OPTIMIZERS.items() if kind.settings}
    assert own == OF_OPTIMIZER
    assert {name for name, kind in SCHEDULES.items() if not kind.falls} == set(NEVER_FALLING)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_tokenizer_takes_its_settings_and_says_what_it_is(kind: str) -> None:
    settings = dataclasses.asdict(TokenizerConfig(vocab_size=300))
    del settings["kind"]
    assert train(kind, ["a text"], **settings).kind == kind
    assert {*CLEANING, *KINDS[kind].settings} <= settings.keys()


def test_every_setting_of_a_tokenizer_means_something_to_a_kind() -> None:
    names = {field.name for field in dataclasses.fields(TokenizerConfig)} - {"kind", *CLEANING}
    assert names == {name for kind in KINDS.values() for name in kind.settings}


def test_the_command_offers_every_kind_of_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_process("train-tokenizer", "--help", cwd=tmp_path)
    assert f"--kind [{'|'.join(KINDS)}]" in capsys.readouterr().out
