"""`gpt-tf presets`: a line for each ready-made run, and all about one."""

import json
from pathlib import Path

from commands import called

from gpt_tf.config_files import preset_names, read_preset


def test_each_preset_has_a_line_of_at_most_80_characters(tmp_path: Path) -> None:
    first, *lines = called("presets", cwd=tmp_path).stdout.splitlines()
    assert first.split() == ["preset", "size", "tokenizer", "GB", "min", "from"]
    assert max(map(len, lines)) <= 80 and lines[-1] == "all about one: gpt-tf presets NAME"
    lines = lines[: lines.index("")]
    assert [line.split()[0] for line in lines] == preset_names()
    assert max(map(len, lines)) <= 80
    (imdb,) = (line for line in lines if line.startswith("imdb "))
    assert imdb.split()[1:5] == ["27.4", "M", "bpe", "50.4k"]
    assert imdb.split(maxsplit=6)[6] == "~480  GenesisMind, IMDB"


def test_one_is_shown_with_all_that_it_sets(tmp_path: Path) -> None:
    said = called("presets", "shakespeare-best", cwd=tmp_path).stdout
    assert (
        "parameters  211,389\n" in said
        and "minutes     ~1, on two cores of a Xeon (shakespeare-baseline)\n" in said
    )
    assert "example     gpt-tf train --preset shakespeare-best\n" in said
    rows = [line.split() for line in said.splitlines()]
    assert ["training.optimizer", "muon", "adam"] in rows
    said = called("presets", "finetune", cwd=tmp_path).stdout
    assert "gpt-tf train --from RUN --preset finetune" in said and "parameters" not in said


def test_they_are_given_as_json(tmp_path: Path) -> None:
    found = json.loads(called("presets", "--json", cwd=tmp_path).stdout)
    assert [*found] == preset_names()
    of_imdb = {"minutes": 480, "source": "docs/figures.json", "is_measured": False}
    assert found["imdb"]["time"] == of_imdb and 1e9 < found["imdb"]["memory"] < 4e9
    assert found["gpt2"]["time"] is None and found["finetune"]["memory"] is None
    assert found["gpt2"]["settings"] == read_preset("gpt2")


def test_an_unknown_one_is_answered_with_the_nearest(tmp_path: Path) -> None:
    result = called("presets", "kerasnlp-mimi", cwd=tmp_path, check=False)
    assert result.returncode == 2 and "Did you mean kerasnlp-mini?" in result.stderr


def test_the_help_of_a_training_names_the_command_instead_of_the_presets(tmp_path: Path) -> None:
    said = " ".join(called("train", "--help", cwd=tmp_path).stdout.split())
    assert "`gpt-tf presets` lists them" in said and "kerasnlp" not in said
