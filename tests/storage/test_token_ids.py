"""Ids that a model cannot take are refused by every public entry, with both numbers."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_models import small_config, small_gpt

import gpt_tf
from gpt_tf.errors import UsageError
from gpt_tf.inference.generate import generate, stream

CONTEXT, VOCABULARY = 8, 29  # of the small models
TOO_LONG = np.zeros((1, CONTEXT + 1), np.int32)
BOTH_LENGTHS = rf"context_length of {CONTEXT}.*\s*Received: {CONTEXT + 1}"


@pytest.mark.parametrize("positions", ["learned", "offset"])
def test_ids_beyond_the_context_are_refused_with_both_lengths(positions: str) -> None:
    model = small_gpt("demo", positions=positions)
    for entry in (model, model.hidden, model.embed, model.embedding):
        with pytest.raises(ValueError, match=BOTH_LENGTHS):
            entry(TOO_LONG)
        assert entry(TOO_LONG[:, 1:]).shape[1] == CONTEXT


def test_models_without_a_table_of_positions_take_any_length() -> None:
    without = small_gpt("kerasnlp-no-positions", context_length=CONTEXT)
    bigram = gpt_tf.Bigram(small_config("bigram", context_length=CONTEXT))
    for model in (without, bigram):
        assert model(TOO_LONG).shape[1] == CONTEXT + 1


def test_compiled_models_name_the_context_too() -> None:
    model = small_gpt("demo")
    compiled = tf.function(model.call, input_signature=[tf.TensorSpec([None, None], tf.int32)])
    for call in (compiled, lambda ids: model.predict(ids, verbose=0)):
        assert call(TOO_LONG[:, 1:]).shape[1] == CONTEXT
        with pytest.raises(
            (tf.errors.InvalidArgumentError, ValueError), match=f"context_length of {CONTEXT}"
        ):
            call(TOO_LONG)


@pytest.mark.parametrize("token_id", [-1, VOCABULARY, 2**31 - 1])
def test_ids_outside_the_vocabulary_are_refused(token_id: int) -> None:
    for model in (small_gpt("demo"), gpt_tf.Bigram(small_config("bigram"))):
        with pytest.raises(ValueError, match=rf"0 to {VOCABULARY - 1}\.\s*Received: {token_id}"):
            model(np.array([[1, token_id]]))


@pytest.mark.parametrize(
    ("ids", "complaint"),
    [
        (np.zeros((1, 3), np.float32), "must be integers"),
        (np.zeros((1, 3), bool), "must be integers"),
        (np.zeros(3, np.int32), "two axes"),
        (np.zeros((1, 1, 3), np.int32), "two axes"),
    ],
)
def test_what_is_no_batch_of_ids_is_refused(ids: np.ndarray, complaint: str) -> None:
    for model in (small_gpt("demo"), gpt_tf.Bigram(small_config("bigram"))):
        with pytest.raises(ValueError, match=complaint):
            model(ids)


def test_layers_name_the_width_they_want() -> None:
    block = small_gpt("demo").blocks[0]
    for layer in (block, block.attention, block.feed_forward):
        with pytest.raises(ValueError, match=r"value 12.*\(1, 3, 7\)"):
            layer(np.zeros((1, 3, 7), np.float32))


def test_a_position_outside_the_table_is_refused() -> None:
    embedding = small_gpt("demo").embedding
    with pytest.raises(ValueError, match=rf"context_length of {CONTEXT}.\s*Received: {CONTEXT}"):
        embedding(np.zeros((1, 2), np.int32), positions_BT=np.array([[0, CONTEXT]]))


def test_prompts_beyond_the_context_are_refused_in_python_as_by_the_command(
    trained_workspace,
) -> None:
    writer = gpt_tf.load(trained_workspace / "runs" / "tiny")
    prompt = "This movie is really very good. " * 20
    length = len(writer.prompt_ids(prompt))
    ids = [writer.prompt_ids(prompt)]
    calls = [
        lambda **options: writer.generate(prompt, **options),
        lambda **options: writer.generate(["a", prompt], **options)[-1],
        lambda **options: "".join(token.text for token in writer.stream(prompt, **options)),
        lambda **options: generate(writer.engine, ids, **options),
        lambda **options: list(stream(writer.engine, ids, **options)),
    ]
    for call in calls:
        with pytest.raises(UsageError, match=f"{length} tokens, the context has 32"):
            call(max_new_tokens=2)
        assert call(max_new_tokens=2, truncate="left")
    texts = [call(max_new_tokens=5, truncate="left") for call in calls[:3]]
    assert len(set(texts)) == 1
    with pytest.raises(UsageError, match="unknown truncate: right"):
        writer.generate(prompt, truncate="right")
