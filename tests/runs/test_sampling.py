"""Sample texts: where the prompt is from, how it is told apart; the evaluation before the first."""

import re
from pathlib import Path

import pytest
from commands import TINY_RUN, called
from fakes import ByteTokenizer

from gpt_tf.config_files import read_config_file, read_preset, resolve, resolve_stored
from gpt_tf.errors import UsageError
from gpt_tf.runs.progress_text import SampleText
from gpt_tf.runs.resolving import resolve_config
from gpt_tf.runs.sampling import prompt_of
from gpt_tf.storage.finding_runs import find_run
from gpt_tf.storage.metrics_file import read_rows
from gpt_tf.storage.run_directory import RunDirectory


def test_a_sample_text_is_a_text_with_a_mark_after_the_prompt() -> None:
    text = SampleText("The film", " was good")
    assert text == "The film | was good"
    assert (text.prompt, text.continuation) == ("The film", " was good")
    assert SampleText("", "good") == "good" and SampleText("\n", "good") == "\ngood"


class OnlyLowerCase(ByteTokenizer):
    """A vocabulary that lacks capital letters."""

    def encode(self, text: str) -> list[int]:
        if re.search("[A-Z]", text):
            raise UsageError("a character that was not seen")
        return super().encode(text)


def test_a_prompt_is_of_the_first_document_that_the_tokenizer_knows() -> None:
    texts = ["", "Not this", "?\n\nbut this one, not all of it", "nor this"]
    assert prompt_of(iter(texts), OnlyLowerCase()) == "but this one, not"
    assert prompt_of(iter(["NOT THIS"]), OnlyLowerCase()) == ""


def test_stored_runs_of_before_keep_prompt_and_sampler() -> None:
    old = resolve_stored({"model": {"num_layers": 1}})
    assert (old.sampling.prompt, old.sampling.sampler) == ("This movie is", "beam")
    assert old.training.evaluate_first == "off"


@pytest.mark.parametrize(
    ("preset", "steps", "batches", "expected"),
    [("demo", 1500, 50, "on"), ("demo", 1000, 50, "off"), ("demo", 1500, 0, "off"),
     ("gpt2", 100, 30, "on")],
)  # fmt: skip
def test_an_evaluation_comes_first_if_it_is_little_work(preset, steps, batches, expected) -> None:
    config = resolve(read_preset(preset), {"training": {"max_steps": steps}})
    config = resolve_config(config, 100, batches)
    assert config.training.evaluate_first == expected


@pytest.fixture(scope="module")
def measured(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run on one's own data that is evaluated before its first step; do not write."""
    workspace = tmp_path_factory.mktemp("measured")
    (workspace / "reviews").symlink_to(trained_workspace / "reviews")
    called(
        "train", "--data", "reviews", "--name", "first", "--max-steps", "6", "--tokenizer",
        str(trained_workspace / "tokenizers" / "reviews"), "--preset", "demo", *TINY_RUN,
        "--set", "training.evaluate_first=on", "--set", "training.patience=1",
        cwd=workspace,
    )  # fmt: skip
    return find_run(workspace, "first")


def test_the_evaluation_before_the_first_step_is_neither_saved_nor_the_best(measured) -> None:
    steps = [row["step"] for row in read_rows(measured.metrics_file) if "eval/loss" in row]
    assert steps == [0, 5, 6]
    assert measured.checkpoints.names() == ["step-00000005", "step-00000006"]
    state = measured.checkpoints.last().state["early_stopping"]
    assert state["best_step"] in (5, 6) and state["waited"] == 0


def test_own_data_give_the_prompt_in_place_of_a_presets(measured) -> None:
    prompt = read_config_file(measured.config_file)["sampling"]["prompt"]
    sections = measured.samples_file.read_text().split("## Step ")[1:]
    assert len(prompt.split()) == 4
    assert all(section.partition("\n\n")[2].startswith(f"{prompt} |") for section in sections)
    texts = [path.read_text() for path in (measured.path.parents[1] / "reviews").rglob("*.txt")]
    assert any(text.startswith(prompt) for text in texts)
    said = called("generate", "--max-new-tokens", "2", cwd=measured.path.parents[1])
    assert said.stdout.startswith(prompt)
