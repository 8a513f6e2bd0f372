"""The figures of a run's checkpoint on documents: loss, perplexity, accuracy, bits per byte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpt_tf.config import Config
from gpt_tf.errors import ParameterError, UsageError
from gpt_tf.inference import scoring
from gpt_tf.inference.engine import Engine
from gpt_tf.inference.numpy_engine import NumpyEngine
from gpt_tf.inference.text_writer import TextWriter
from gpt_tf.runs.console import Advance
from gpt_tf.runs.measured_data import MeasuredData, Measurement
from gpt_tf.runs.streams import open_stream, unknown_words
from gpt_tf.streaming.batches import Batch
from gpt_tf.streaming.stream import TokenStream
from gpt_tf.tokenizer.files import tokenizer_sha256
from gpt_tf.tokenizer.ordinary_text import UnseenError
from gpt_tf.training.evaluator import ScoresOf, evaluate, make_scores_of


def measure(
    asked: Measurement, measured: MeasuredData, generator: TextWriter, scratch: Path
) -> dict[str, Any]:
    """The figures by name, exact and in float32, or as another engine computes them.

    Args:
      generator: of the run's checkpoint.
      scratch: a folder for what cannot be kept where it belongs.
    """
    choice, part, config = measured
    console = asked.workspace.console
    try:
        stream = open_stream(
            config,
            choice,
            part,
            generator.tokenizer,
            tokenizer_sha256(asked.run.tokenizer),
            windows="padded" if config.data.windows == "padded" else "packed",
            shuffle=False,
            epochs=1,
            allow_partial=True,
            scratch_directory=scratch,
        )
    except UnseenError as error:
        raise UsageError(
            f"{error.what}. Remove them from the text, or evaluate a run that takes any text: its "
            "tokenizer has tokenizer.unknown_characters=replace, or is no tokenizer of characters."
        ) from error
    except ParameterError as error:
        if "min_bytes" not in error.parameters:
            raise
        raise _nothing_to_evaluate(asked, config) from error
    if unknown := unknown_words(stream, generator.tokenizer):
        console.note(f"warning: {unknown}. The figures measure little else.")
    scores_of = _scores_of(generator.engine, config)
    with stream, console.progress_bar("evaluating", "batches") as advance:
        result = evaluate(
            scores_of, _counted(stream, advance), token_bytes_V=generator.tokenizer.token_bytes()
        )
    contents = stream.contents()
    return {
        **result.figures,
        "tokens": result.tokens,
        "documents": contents.documents,
        "cut_share": contents.cut,
    }


def _scores_of(engine: Engine, config: Config) -> ScoresOf:
    """What scores a batch: TensorFlow's model as in training, or else the engine's logits."""
    if isinstance(engine, NumpyEngine):
        return scoring.make_scores_of(engine, threads=len(os.sched_getaffinity(0)))
    from gpt_tf.inference.decoder import Decoder  # TensorFlow is imported already

    if not isinstance(engine, Decoder):
        return scoring.make_scores_of(engine)
    shape = (config.training.batch_size, config.model.context_length)
    return make_scores_of(engine.model, shape, xla=config.training.xla == "on")


def _nothing_to_evaluate(asked: Measurement, config: Config) -> UsageError:
    """The error for data without a document that is long enough."""
    least = config.data.min_bytes
    rule = f"text of data.min_bytes {least:,} bytes or more" if least else "text"
    remedy = ", or change that with --set data.min_bytes=0" if least and asked.data else ""
    return UsageError(
        f"nothing to evaluate in {asked.data or asked.part}: no document has {rule}. Give other "
        f"text as DATA{remedy}."
    )


def _counted(stream: TokenStream, advance: Advance) -> Iterator[Batch]:
    for done, batch in enumerate(stream, 1):
        yield batch
        advance(done, len(stream))
