"""YAML: the core schema of version 1.2, errors with their line, the same rules for every source."""

import dataclasses
import math
import time
from pathlib import Path

import pytest
from commands import in_process
from places import RELEASES

from gpt_tf.config import Config
from gpt_tf.config_files import as_yaml, parse_assignments, read_config_file, resolve
from gpt_tf.errors import RunError, UsageError
from gpt_tf.runs.sweeps.grid import parse_grid
from gpt_tf.runs.sweeps.plan import SweepDirectory
from gpt_tf.storage.yaml_file import dump_yaml, parse_yaml

# what YAML 1.1 takes for something else than it looks like
NUMBERS_AND_TEXTS = [
    ("010", 10), ("-007", -7), ("1e-3", 0.001), ("2.5E+4", 25000.0), ("+.5", 0.5), ("1.", 1.0),
    ("0x10", 16), ("0o17", 15), ("1:00", "1:00"), ("190:20:30.15", "190:20:30.15"),
    ("1_000", "1_000"), ("0b11", "0b11"), ("on", "on"), ("off", "off"), ("yes", "yes"),
    ("NO", "NO"), ("2026-11-26", "2026-11-26"), ("=", "="), ("<<", "<<"),
]  # fmt: skip
INVALID = [
    ("seed: 1\n{}: !!bool maybe", "'maybe' is not a value of the type bool"),
    ('seed: 1\n{}: !!int ""', "'' is not a value of the type int"),
    ("seed: 1\n{}: !!timestamp x", "the tag 'tag:yaml.org,2002:timestamp' is not allowed"),
    ("seed: 1\n{}: !!binary x", "binary' is not allowed"),
    ("seed: 1\n{}: !!python/object/apply:os.system [ls]", "os.system' is not allowed"),
    ("x: &x [1]\n{}: *x", "aliases are not allowed"),
    ("seed: 1\nseed: 2 # {}", "repeated key 'seed'"),
    ("seed: 1\n[1]: {}", "a key must be a single value"),
    ("seed: 1\n{}: [", "expected the node content"),
    ("seed: 1\n{}: \0", r"the character '\x00' is not allowed"),
    ('seed: 1\n{}: "\\ud800"', "is not a value of the type str"),
    ('seed: 1\n{}: "\\Uffffffff"', "too large"),
    ("seed: 1\n{}: " + "9" * 5000, "a number of 5,000 digits"),
    ("seed: 1\n{}: " + "[" * 3000, "nested too deep"),
    ("seed: 1\n---\n{}: 2", "expected a single document"),
]


@pytest.mark.parametrize(("text", "value"), NUMBERS_AND_TEXTS)
def test_numbers_are_decimal_and_what_is_no_number_is_text(text: str, value: object) -> None:
    found = parse_yaml(text, "test")
    assert found == value and type(found) is type(value)
    assert parse_yaml(f'"{text}"', "test") == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("FALSE", False), ("null", None), ("~", None), ("", None), ("7", 7),
     ("0.5", 0.5), (".inf", math.inf), ("-.Inf", -math.inf), ("!!str 010", "010"),
     ("!!float 3", 3.0), ("!!int '3'", 3), ("[a, 1]", ["a", 1]), ("{a: {b: 1}}", {"a": {"b": 1}})],
)  # fmt: skip
def test_the_other_kinds_are_those_of_the_core_schema(text: str, value: object) -> None:
    found = parse_yaml(text, "test")
    assert found == value and type(found) is type(value)
    assert parse_yaml(dump_yaml(value), "test") == value


@pytest.mark.parametrize(("text", "reason"), INVALID)
def test_an_error_in_a_file_names_its_line(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text.format("key"))
    with pytest.raises(UsageError) as caught:
        read_config_file(path)
    assert str(caught.value).startswith(f"invalid YAML in {path}, line 2: ")
    assert reason in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["!!bool maybe", "!!timestamp x", "[", "\ud800", "9" * 5000])
def test_an_error_in_an_option_names_the_option(value: str) -> None:
    with pytest.raises(UsageError, match=r"^invalid YAML in --set training.seed: "):
        parse_assignments([f"training.seed={value}"])
    with pytest.raises(UsageError, match=r"invalid YAML in --grid training.seed: "):
        parse_grid([f"training.seed={value}"])


def test_the_options_and_the_plan_of_a_sweep_read_numbers_as_files_do(tmp_path: Path) -> None:
    assert parse_assignments(["training.seed=010"]) == {"training": {"seed": 10}}
    assert parse_grid(["training.seed=010,0o10"]) == {"training.seed": [10, 8]}
    assert parse_grid(["sampling.prompt=1:00,on"]) == {"sampling.prompt": ["1:00", "on"]}
    with pytest.raises(UsageError, match=r"training.seed must be of type int, received: '1_000'"):
        resolve(parse_assignments(["training.seed=1_000"]))
    with pytest.raises(UsageError, match=r"model.qkv_bias must be true or false, received: 'yes'"):
        resolve(parse_assignments(["model.qkv_bias=yes"]))
    (tmp_path / "sweep.yaml").write_text("preset: demo\ncells: !!bool maybe\n")
    with pytest.raises(RunError, match=r"sweep.yaml, line 2: 'maybe' is not a value"):
        SweepDirectory(tmp_path).read_plan()


def test_the_commands_name_the_line(tmp_path: Path, capsys) -> None:
    (tmp_path / "tag-bool.yaml").write_text("training:\n  seed: !!bool maybe\n")
    for command in ("train", "sweep"):
        more = ["--grid", "model.num_layers=1,2"] if command == "sweep" else ["--print-config"]
        ask = [command, "--preset", "demo", "--config", "tag-bool.yaml", *more]
        assert in_process(*ask, cwd=tmp_path, check=False) == 2
        error = capsys.readouterr().err
        assert "error: invalid YAML in tag-bool.yaml, line 2: 'maybe'" in error, error
    assert [path.name for path in tmp_path.iterdir()] == ["tag-bool.yaml"]


def test_a_large_mapping_takes_linear_time() -> None:
    def seconds(keys: int) -> float:
        text = "training:\n" + "".join(f"  key{i}: {i}\n" for i in range(keys))
        begun = time.process_time()
        with pytest.raises(UsageError, match=r"unknown key training.key0"):
            resolve(parse_yaml(text, "test"))
        return time.process_time() - begun

    few, many = (min(seconds(keys) for _ in range(3)) for keys in (2_000, 10_000))
    assert many < 9 * few  # 5 times the keys


def test_too_much_yaml_is_refused() -> None:
    with pytest.raises(UsageError, match="too large in test: over 1,048,576 bytes"):
        parse_yaml("x" * (1 << 20) + "y", "test")


@pytest.mark.parametrize("text", ["010", "1:00", "1_000", "0x10", "yes", "~", "=", "2026-11-26"])
def test_texts_that_look_like_numbers_are_stored_as_texts(text: str) -> None:
    config = resolve({"sampling": {"prompt": text}})
    assert resolve(parse_yaml(as_yaml(config), "stored")) == config


def test_a_number_beyond_all_floats_is_refused() -> None:
    with pytest.raises(UsageError, match="received: 401 digits"):
        resolve({"training": {"peak_learning_rate": 10**400}})


def test_the_settings_of_an_old_run_are_read_as_they_were_written() -> None:
    stored = RELEASES / "0.1.0" / "config.yaml"
    config = resolve(read_config_file(stored))
    assert (config.model.norm_epsilon, config.model.head_dim) == (1e-5, None)
    assert config.training.xla == "off" and isinstance(config, Config)
    assert resolve(parse_yaml(as_yaml(config), "again")) == config
    assert dataclasses.asdict(config)["training"]["seed"] == config.training.seed
