"""The operations of a token are those of the formula, with nothing counted twice."""

import dataclasses

from gpt_tf.config import Config, ModelConfig
from gpt_tf.config_files import read_preset, resolve
from gpt_tf.training.operations import operations_per_token


def test_those_of_gpt2() -> None:
    weights = 12 * (4 * 768 * 768 + 2 * 768 * 3072) + 768 * 50257
    attention = 12 * 12 * 12 * 64 * 1024
    assert operations_per_token(resolve(read_preset("gpt2"))) == 6 * weights + attention


def test_an_embedding_counts_once_whether_the_head_is_tied_or_not() -> None:
    tied = Config()
    model: ModelConfig = dataclasses.replace(tied.model, tied_head=False)
    assert operations_per_token(tied) == operations_per_token(
        dataclasses.replace(tied, model=model)
    )


def test_none_are_told_where_the_formula_does_not_hold() -> None:
    for preset, changed in (
        ("bigram", {}),
        ("demo", {"model": {"lora": {"rank": 4}}}),
        ("demo", {"training": {"freeze": ["head"]}}),
    ):
        assert operations_per_token(resolve(read_preset(preset), changed)) == 0
