"""The table of settings, and the settings with their sentences as comments."""

import shlex

import pytest
import settings_page

from gpt_tf.config import Config
from gpt_tf.config_files import parse_assignments, read_preset, resolve
from gpt_tf.config_help import explained_yaml, settings_by_key, unknown_setting
from gpt_tf.runs.setting_examples import example
from gpt_tf.runs.without_effect import RULES
from gpt_tf.storage.yaml_file import parse_yaml

GIVEN = [key for key, setting in settings_by_key().items() if setting.is_given]


@pytest.mark.parametrize(
    "prompt", ["", "null", "a\n  seed: 5 # b", " x ", "é\u2028\x85", "a " * 99]
)
def test_settings_with_comments_are_read_back_as_they_were(prompt: str) -> None:
    config = resolve(read_preset("gpt2"), {"sampling": {"prompt": prompt},
                                           "training": {"freeze": ["a*", "#b"]}})  # fmt: skip
    assert resolve(parse_yaml(explained_yaml(config), "test")) == config


def test_each_setting_has_its_sentence_above_it() -> None:
    text = explained_yaml(Config())
    in_a_line = " ".join(text.replace("#", "").split())
    for setting in settings_by_key().values():
        assert f"{setting.help} {setting.name}: " in in_a_line
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("key", GIVEN)
def test_the_example_of_a_setting_is_valid_and_has_an_effect(key: str) -> None:
    assignments = [word for word in shlex.split(example(settings_by_key()[key])) if word != "--set"]
    assert assignments[-1].startswith(f"{key}=")
    config = resolve(read_preset("demo"), parse_assignments(assignments))
    idle = [rule for rule in RULES if rule.needs and key.startswith(rule.keys)
            and rule.applies(config, None)]  # type: ignore[arg-type]  # fmt: skip
    assert not idle


def test_the_page_of_settings_is_that_of_the_code() -> None:
    stale = f"docs/SETTINGS.md is stale. Write it again: {settings_page.COMMAND}"
    assert settings_page.PAGE.read_text("utf-8") == settings_page.page(), stale


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("trainng", "Did you mean training?"),
        ("training.pateince", "Did you mean patience? Keys of training: seed, batch_size, "),
        ("model.dropout.hed", "Did you mean head? Keys of model.dropout: embedding, "),
        ("xyz", "no such setting: xyz. Sections: model, model.dropout, model.lora, tokenizer, "),
    ],
)
def test_an_unknown_name_is_answered_with_those_there_are(name: str, said: str) -> None:
    assert said in str(unknown_setting(name))
