"""The evaluations of a training, which its workers share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from gpt_tf.config import Config
from gpt_tf.model.language_model import LanguageModel
from gpt_tf.runs.streams import Streams
from gpt_tf.streaming.batches import Batch
from gpt_tf.streaming.prefetch import WaitCancelledError
from gpt_tf.streaming.stream import TokenStream
from gpt_tf.tokenizer.base import Tokenizer
from gpt_tf.training.evaluation import Evaluation, Sums
from gpt_tf.training.evaluator import evaluate, make_scores_of
from gpt_tf.training.loop import Evaluate
from gpt_tf.training.signals import StopRequest
from gpt_tf.training.workers import Workers


def evaluation(
    config: Config, model: LanguageModel, streams: Streams, tokenizer: Tokenizer, workers: Workers
) -> Evaluate:
    """What measures a split: as many batches of each, always the same, shared by the workers."""
    training = config.training
    shape = (training.batch_size, config.model.context_length)
    scores_of = make_scores_of(model, shape, xla=training.xla == "on")
    token_bytes_V = tokenizer.token_bytes()

    def evaluate_split(split: str, request: StopRequest) -> Evaluation | None:
        def sum_all(own: Sums) -> Sums:
            nats, right, tokens, size, stop = workers.sum_numbers([*own, request.own or 0])
            request.hear(stop)
            if request.came():
                raise WaitCancelledError
            return Sums(nats, right, int(tokens), int(size))

        with streams.evaluation(split) as stream:
            try:
                return evaluate(
                    scores_of,
                    _until_asked(stream, request),
                    token_bytes_V=token_bytes_V,
                    max_batches=streams.evaluated_here,
                    sum_all=sum_all,
                )
            except WaitCancelledError:
                return None

    return evaluate_split


def _until_asked(stream: TokenStream, request: StopRequest) -> Iterator[Batch]:
    """The batches; at a signal no more of them, and the sum tells the other workers why."""
    with suppress(WaitCancelledError):
        yield from stream.until(request.is_asked)
