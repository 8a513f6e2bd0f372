"""No setting of a model and no array crosses over unnoticed: a family names it or refuses it."""

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from tiny_models import small_config

from gpt_tf.config import Config, DropoutConfig, ModelConfig, setting
from gpt_tf.config_files import flatten
from gpt_tf.errors import UsageError
from gpt_tf.interop import model_config as settings_of_theirs
from gpt_tf.interop.families import Family, parameter_shapes
from gpt_tf.interop.gpt2 import GPT2
from gpt_tf.interop.hugging_face import write_weights
from gpt_tf.interop.model_config import FAMILIES, choose_family, model_config, their_config
from gpt_tf.interop.stored_run import StoredRun
from gpt_tf.model import language_model
from gpt_tf.model.architectures import make_model
from gpt_tf.model.gpt import GPT
from gpt_tf.model.variables import weight_variables

FIELDS = list(flatten(dataclasses.asdict(ModelConfig())))


@dataclass(frozen=True, kw_only=True)
class NewConfig(ModelConfig):
    """A model with a setting that no family knows."""

    swirl: str = setting("none", "How much it swirls.")


@dataclass(frozen=True, kw_only=True)
class NewDropout(DropoutConfig):
    """Dropout at a place that no family knows."""

    swirl: float = setting(0.0, "Share of the swirl dropped.")


@dataclass(frozen=True, kw_only=True)
class WithNewDropout(ModelConfig):
    """A model with that dropout."""

    dropout: NewDropout = field(default_factory=NewDropout)


@dataclass(frozen=True, kw_only=True)
class WithNewSection(ModelConfig):
    """A model with a section more."""

    swirls: NewDropout = field(default_factory=NewDropout)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_each_family_says_something_about_each_setting(family: Family) -> None:
    silent = [field for field in FIELDS if field in family.unnamed(ModelConfig())]
    assert not silent, (
        f"name {silent} in the table of {family.model_type}: in settings, fixed, unstored, derived "
        "or zero_without"
    )


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_a_family_names_only_settings_that_there_are(family: Family) -> None:
    named = {*family.settings, *family.fixed, *family.unstored, *family.derived}
    assert named | family.zero_without.keys() <= set(FIELDS)


@pytest.mark.parametrize("value", ["much", "none"])
def test_a_new_setting_is_refused_by_name_when_a_model_is_written(value: str) -> None:
    config = NewConfig(**values_of(small_config("demo")), swirl=value)
    with pytest.raises(UsageError, match=f"a counterpart of swirl, which is {value}") as caught:
        choose_family(config)
    assert "Use another --format" in str(caught.value)


def test_a_new_setting_of_a_section_is_refused_by_name_when_a_model_is_written() -> None:
    values = {**values_of(small_config("demo")), "dropout": NewDropout(swirl=0.5)}
    with pytest.raises(UsageError, match=r"a counterpart of dropout\.swirl, which is 0\.5"):
        choose_family(WithNewDropout(**values))


def test_a_new_setting_is_refused_by_name_when_a_model_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = their_config(GPT2, small_config("demo"))
    monkeypatch.setattr(settings_of_theirs, "ModelConfig", NewConfig)
    with pytest.raises(UsageError, match=r"swirl \(none here\) is a setting that GPT2LMHeadModel"):
        model_config(GPT2, theirs, Path("config.json"))


def test_a_model_with_a_new_section_is_made_again_from_its_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(language_model, "ModelConfig", WithNewSection)
    config = WithNewSection(**values_of(small_config("demo")), swirls=NewDropout(swirl=0.5))
    model = GPT(config)
    assert GPT.from_config(model.get_config()).config == config
    wrong = {**model.get_config(), "config": {"swirls": {"swirl": "much"}, "layers": 3}}
    with pytest.raises(UsageError, match=r"swirls\.swirl must be of type float.*\n?.*") as caught:
        GPT.from_config(wrong)
    assert "unknown key layers" in str(caught.value)


def test_only_arrays_that_the_family_calls_zero_are_zero(tmp_path: Path) -> None:
    config = small_config("demo", qkv_bias=False)
    arrays = {name: np.ones(shape, np.float32) for name, shape in parameter_shapes(config).items()}
    write_weights(stored(config, arrays), GPT2, tmp_path / "model.safetensors")  # zero biases
    del arrays["block_0/ffn_norm/beta"]
    with pytest.raises(UsageError, match="missing: block_0/ffn_norm/beta"):
        write_weights(stored(config, arrays), GPT2, tmp_path / "model.safetensors")


def test_a_model_without_biases_is_written_with_biases_of_zero(tmp_path: Path) -> None:
    config = small_config("demo", bias=False)
    arrays = {name: np.ones(shape, np.float32) for name, shape in parameter_shapes(config).items()}
    assert not any(name.endswith(("bias", "beta")) for name in arrays)
    write_weights(stored(config, arrays), GPT2, tmp_path / "model.safetensors")
    for name, array in safetensors.numpy.load_file(tmp_path / "model.safetensors").items():
        np.testing.assert_array_equal(array, 0.0 if name.endswith(".bias") else 1.0)


def test_an_array_without_a_place_is_refused_by_name(tmp_path: Path) -> None:
    config = small_config("demo")
    arrays = {name: np.ones(shape, np.float32) for name, shape in parameter_shapes(config).items()}
    arrays["block_1/feed_forward/gate/kernel"] = np.ones((2, 2), np.float32)
    arrays["final_norm/gamma"] = np.ones(3, np.float32)
    with pytest.raises(UsageError, match="no place for block_1/feed_forward/gate/kernel") as caught:
        write_weights(stored(config, arrays), GPT2, tmp_path / "model.safetensors")
    assert "shape of final_norm/gamma: (3,), not (12,)" in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_with_each_setting_the_arrays_are_known_and_a_keras_file_keeps_it() -> None:
    """What a Keras file says of the architecture is what `get_config` gives."""
    config = small_config("demo")
    for name in FIELDS:
        for changed in with_other_values(config, name):
            model = make_model(changed)
            assert type(model).from_config(model.get_config()).config == changed != config, name
            if changed.architecture == "gpt" and not changed.lora.rank:
                found = {each: tuple(v.shape) for each, v in weight_variables(model).items()}
                assert found == parameter_shapes(changed), (name, changed)


def with_other_values(config: ModelConfig, name: str) -> Iterator[ModelConfig]:
    """`config` with each other choice of a setting, or with one other valid value of it."""
    section, _, name = name.rpartition(".")
    part = getattr(config, section) if section else config
    now = getattr(part, name)
    others: list[Any] = [choice for choice in choices_of(part, name) if choice != now]
    if not choices_of(part, name):
        other = not now if type(now) is bool else 3 if now is None else now / 2 or type(now)(0.5)
        others = [max(1, int(other)) if type(now) is int else other]
    for other in others:
        if not section:
            yield dataclasses.replace(config, **{name: other})
        else:
            changed = dataclasses.replace(part, **{name: other})
            yield dataclasses.replace(config, **{section: changed})


def choices_of(section: Any, name: str) -> tuple[Any, ...]:
    """The values that a Literal allows; nothing for a setting of another type."""
    hint = typing.get_type_hints(type(section)).get(name)
    return typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()


def values_of(config: ModelConfig) -> dict[str, Any]:
    return {own.name: getattr(config, own.name) for own in dataclasses.fields(config)}


def stored(config: ModelConfig, arrays: dict[str, np.ndarray]) -> StoredRun:
    whole = dataclasses.replace(Config(), model=config)
    return StoredRun("tiny", whole, arrays, Path("tokenizer"), "step-00000001", 1, {})


def test_the_list_of_settings_is_complete() -> None:
    assert set(FIELDS) == flatten(dataclasses.asdict(ModelConfig())).keys()
