"""`gpt-tf settings`: the table of settings, whole, by section, by key, by word."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import called

from gpt_tf.cli import console
from gpt_tf.config_help import sections, settings_by_key


def shown(*words: str, cwd: Path) -> str:
    return called("settings", *words, cwd=cwd).stdout


def test_every_setting_is_listed_with_default_and_sentence(tmp_path: Path) -> None:
    lines = shown(cwd=tmp_path).splitlines()
    for key, setting in settings_by_key().items():
        (line,) = (line for line in lines if line.split(" ")[0] == key)
        bounds = f" [{setting.bounds}]" if setting.bounds else ""
        assert line.endswith(setting.help + bounds)
    assert "training.patience             null    Evaluations without" in "\n".join(lines)


def test_the_list_is_whole_in_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "columns", lambda stream=None: 80)
    for words in ([], ["optimizer"], ["vocab_size"], ["rate"]):
        lines = shown(*words, cwd=tmp_path).splitlines()
        table = [line for line in lines if line.partition(":")[0] not in sections()]
        assert max(map(len, table)) <= 80
    assert " ".join(shown(cwd=tmp_path).split()).count("if not set, by the model's size.") == 1


def test_sentences_are_below_their_settings_on_a_terminal_of_20_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "columns", lambda stream=None: 20)
    lines = shown("seed", cwd=tmp_path).splitlines()
    below = lines.index("value")
    assert lines[below + 1 : below + 3] == ["  a whole number of", "  0 or more"]


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["dropout"], [key for key in settings_by_key() if key.startswith("model.dropout.")]),
        (["vocab_size"], ["model.vocab_size", "tokenizer.vocab_size"]),
        (["batch-size"], ["training.batch_size"]),
        (["training.xla"], ["training.xla"]),
        (["TRAINING"], [key for key in settings_by_key() if key.startswith("training.")]),
        (["biases"], []),
        ([" "], []),
        (["."], []),
        (["'"], []),
        (["adamw"], ["training.optimizer", "training.weight_decay"]),
    ],
)
def test_what_is_asked_for_is_found(words: list[str], keys: list[str], tmp_path: Path) -> None:
    result = called("settings", *words, "--json", cwd=tmp_path, check=False)
    assert result.returncode == (0 if keys else 2)
    assert [*json.loads(result.stdout or "{}")] == keys


def test_a_setting_is_shown_with_its_range_and_the_presets_that_set_it(tmp_path: Path) -> None:
    said = shown("weight_decay", cwd=tmp_path)
    for line in (
        "default  0.0",
        "value    a number of 0 or more",
        "presets  0.1 in gpt2, opt-125m, shakespeare-gpt",
        "example  gpt-tf train --set training.optimizer=adamw --set training.weight_decay=0.1",
    ):
        assert f"\n{line}" in said
    related = shown("optimizer", cwd=tmp_path).partition("see also:\n")[2]
    for name in ("peak_learning_rate", "schedule", "weight_decay", "muon_momentum"):
        assert f"training.{name} " in related
    assert "Adam's epsilon. [1e-20 or more]\n" in related
    assert "example  none: gpt-tf writes it" in shown("origin.run", cwd=tmp_path)


def test_others_that_have_the_word_are_listed_below_the_setting(tmp_path: Path) -> None:
    said = shown("checkpoint", cwd=tmp_path)
    assert said.startswith("origin.checkpoint\n")
    assert "\ntraining.checkpoint_interval" in said and "\ntraining.keep_checkpoints" in said
    assert said.count("origin.checkpoint ") == 0
    assert "origin.run\n" in shown("origin.run", cwd=tmp_path)


def test_a_word_is_searched_for_and_not_a_part_of_one(tmp_path: Path) -> None:
    result = called("settings", "rate", cwd=tmp_path)
    heading, *rows = result.stdout.splitlines()
    assert heading == "no setting is called rate; these are about it:"
    assert rows[0].startswith("training.peak_learning_rate ")
    assert {row.split(".")[0] for row in rows} == {"training"}  # no "separate", no "generate"
    assert result.stderr == "All about one: gpt-tf settings training.peak_learning_rate\n"
    for words in ("lr", "learning rate"):
        assert shown(words, cwd=tmp_path).splitlines()[1] == rows[0]


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    result = called("settings", "training.pateince", cwd=tmp_path, check=False)
    assert result.returncode == 2 and result.stdout == ""
    assert "Did you mean patience? Keys of training: " in result.stderr


def test_the_printed_settings_of_a_training_are_given_back(tmp_path: Path) -> None:
    words = ["train", "--preset", "shakespeare-gpt", "--print-config"]
    first = called(*words, cwd=tmp_path).stdout
    assert "  # Evaluations without improvement before stopping" in first
    (tmp_path / "config.yaml").write_text(first)
    words = ["train", "--config", "config.yaml", "--print-config"]
    assert called(*words, cwd=tmp_path).stdout == first


def test_what_explains_settings_presets_and_words_loads_no_tensorflow(tmp_path: Path) -> None:
    lines = [["settings", "optimizer"], ["presets", "gpt2"], ["presets"], ["completion", "zsh"]]
    code = (
        "import sys\nfrom gpt_tf.cli.main import main\n"
        f"for words in {lines}:\n    try: main(words)\n    except SystemExit: pass\n"
        "assert not {'tensorflow', 'keras', 'transformers'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
