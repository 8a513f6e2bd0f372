"""Settings: precedence, what is refused and how it is said."""

import shlex

import pytest

from gpt_tf.config import Config, ModelConfig, TrainingConfig
from gpt_tf.config_files import (
    as_yaml,
    merge,
    parse_assignments,
    preset_names,
    read_config_file,
    read_preset,
    resolve,
    setting_names,
    text_of,
)
from gpt_tf.errors import ParameterError, UsageError
from gpt_tf.storage.yaml_file import parse_yaml


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_valid_and_survives_its_yaml(name: str) -> None:
    config = resolve(read_preset(name))
    assert resolve(parse_yaml(as_yaml(config), "stored")) == config


def test_later_layers_win() -> None:
    config = resolve(
        read_preset("imdb"),
        {"training": {"batch_size": 7, "seed": 1}},
        parse_assignments(["training.seed=2", "model.dropout.head=0.25"]),
        {"training": {"max_steps": 5000}},
    )
    assert (config.training.batch_size, config.training.seed) == (7, 2)
    assert config.training.max_steps == 5000
    assert config.model.dropout.head == 0.25
    assert config.model.dropout.embedding == 0.1  # of the preset
    assert config.training.beta_1 == 0.9  # the default


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        resolve(
            {
                "training": {"lerning_rate": 3, "batch_size": 0, "max_steps": "x"},
                "model": {"dropout": {"head": 2.0}},
                "modle": {},
            }
        )
    message = str(caught.value)
    for words in (
        "unknown key training.lerning_rate. Did you mean",
        "training.batch_size must be at least 1, received: 0",
        "training.max_steps must be of type int, received: 'x'",
        "model.dropout.head must be at most 0.99, received: 2.0",
        "unknown key modle. Did you mean model?",
    ):
        assert words in message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"model": {"embed_dim": 2, "num_heads": 3}},
            "model.embed_dim must be at least num_heads",
        ),
        (
            {"model": {"embed_dim": 10, "num_heads": 2, "positions": "rotary"}},
            r"model.head_dim must be even if positions is rotary, received: 5 "
            r"\(embed_dim 10 // num_heads 2\)$",
        ),
        (
            {"model": {"head_dim": 7, "positions": "rotary"}},
            "model.head_dim must be even if positions is rotary, received: 7$",
        ),
        ({"training": {"min_learning_rate": 1.0}}, "at most training.peak_learning_rate"),
        ({"training": {"epsilon": float("nan")}}, "a finite number"),
        ({"training": {"batch_size": True}}, "of type int, received: True"),
        ({"data": {"windows": "random-ish"}}, "one of padded, packed"),
        ({"model": 3}, "model must be a mapping"),
    ],
)
def test_rules(settings: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        resolve(settings)


def test_a_text_needs_no_quotes_of_yaml() -> None:
    for text in ("ROMEO:", "12", "true", "- a"):
        assert resolve(parse_assignments([f"sampling.prompt={text}"])).sampling.prompt == text
    assert resolve(parse_assignments(["sampling.prompt=null"])).sampling.prompt is None
    assert parse_assignments(["sampling.prompt='ROMEO:'", "training.seed=1"]) == {
        "sampling": {"prompt": "ROMEO:"},
        "training": {"seed": 1},
    }


@pytest.mark.parametrize(
    ("typed", "quoted"),
    [
        ("sampling.prompt=", ""),
        ("data.column=null", "null"),
        ("data.column=~", "~"),
        ("sampling.prompt=#1", "#1"),
        ("sampling.prompt=a # b", "a # b"),
        ("sampling.prompt=a\nb", "a\nb"),
        ('sampling.prompt="x" y', '"x" y'),
        ("data.column='", "'"),
        ("training.freeze=emb", ["emb"]),
        ("training.freeze=*norm*", ["*norm*"]),
        ("training.freeze=[*norm*, head]", ["*norm*", "head"]),
        ("training.freeze=", []),
    ],
)
def test_a_value_that_needs_quotes_is_shown_with_them(typed: str, quoted: str | list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_assignments([typed])
    option, assignment = shlex.split(str(caught.value).rpartition(": ")[2])
    section, key = assignment.partition("=")[0].split(".")
    assert option == "--set"
    assert parse_assignments([assignment])[section][key] == quoted


@pytest.mark.parametrize("text", ["yes", "1.0", "[", "[WARN] x", "{a", "*a", "&a", "@", "%x", "é"])
def test_only_what_would_be_lost_needs_quotes(text: str) -> None:
    assert parse_assignments([f"sampling.prompt={text}"]) == {"sampling": {"prompt": text}}


def test_a_comment_after_a_number_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a comment .* in --set training.seed: .*Leave it out"):
        parse_assignments(["training.seed=1 # one"])


@pytest.mark.parametrize(("text", "received"), [("1.0", "1.0"), ("null", "null"), ("[a]", '["a"]')])
def test_a_file_says_that_quotes_make_a_text(text: str, received: str) -> None:
    with pytest.raises(UsageError, match="quotes make any value a text") as caught:
        resolve(parse_yaml(f"data: {{column: {text}}}", "test"))
    assert f"data.column must be a text, received: {received}." in str(caught.value)


def test_an_unknown_key_lists_those_of_its_section_once() -> None:
    with pytest.raises(UsageError) as caught:
        resolve({"model": {"dropout": {"x": 1, "y": 2}, "num_layer": 3}})
    message = str(caught.value)
    assert "Did you mean num_layers? Keys of model: architecture, vocab_size, " in message
    assert message.count("Keys of model.dropout: embedding, block_input, ") == 1


def test_a_list_is_shown_as_it_is_typed() -> None:
    for value in (("a", "b*"), ()):
        typed = f"training.freeze={text_of(value)}"
        assert resolve(parse_assignments([typed])).training.freeze == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batch_size=4", "no section .* Did you mean training.batch_size"),
        ("learning_rate=1", "no section .* Did you mean training.peak_learning_rate or training"),
        ("patince=1", "no section in --set: patince=1. Did you mean training.patience?"),
        ("foo=1", "no section in --set: foo=1. Write section.key=value."),
        ("model.dropout=0.1", "received: 0.1. Its keys: .*attention_weights"),
        ("evaluation.batches=2", "unknown key evaluation. Sections: model, tokenizer, data"),
    ],
)
def test_what_a_setting_is_called_is_said(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        resolve(parse_assignments([text]))


def test_a_value_is_no_section() -> None:
    with pytest.raises(UsageError, match="no section in --set: dropout"):
        parse_assignments(["model.dropout=1", "model.dropout.head=0.1"])


@pytest.mark.parametrize("text", ["1e5", "\x85", "null", "on", "a: b", "\u2028x", " x ", "\n"])
def test_every_text_survives_its_yaml(text: str) -> None:
    config = resolve({"sampling": {"prompt": text}})
    assert resolve(parse_yaml(as_yaml(config), "test")) == config


@pytest.mark.parametrize("text", ["batch_size=3", "training.batch_size", "=3", "training.=3"])
def test_assignment_without_section_or_value(text: str) -> None:
    with pytest.raises(UsageError, match=r"no (assignment|section) in --set"):
        parse_assignments([text])


def test_sections_check_themselves_and_are_frozen() -> None:
    with pytest.raises(UsageError, match="num_layers must be at least 1, received: 0"):
        ModelConfig(num_layers=0)
    with pytest.raises(AttributeError):
        TrainingConfig().seed = 3  # type: ignore[misc]


def test_merge_does_not_change_its_arguments() -> None:
    low = {"a": {"x": 1}}
    assert merge(low, {"a": {"x": 2}}) == {"a": {"x": 2}}
    assert low == {"a": {"x": 1}}


def test_missing_file(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"cannot read configuration in .*none\.yaml"):
        read_config_file(tmp_path / "none.yaml")


def test_default_config_is_valid() -> None:
    assert Config().model.head_width == 32


@pytest.mark.parametrize("text", ["Chapter #1", "a\nb", "a: #b", " Once ", "a "])
def test_text_that_would_be_dropped_is_refused_with_its_quoted_form(text: str) -> None:
    with pytest.raises(UsageError, match="If it belongs to the text, quote it") as error:
        parse_assignments([f"sampling.prompt={text}"])
    command, typed = shlex.split(str(error.value).split("quote it: ")[1])
    assert command == "--set"
    assert parse_assignments([typed]) == {"sampling": {"prompt": text}}


def test_an_error_of_python_names_the_setting_on_the_command_line() -> None:
    error = ParameterError("Reduce batch_size or seed.", "batch_size", "seed")
    flags = {**setting_names(), "seed": "--seed"}
    assert error.with_flags(flags) == "Reduce training.batch_size or --seed."
