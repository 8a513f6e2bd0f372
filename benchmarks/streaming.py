"""The streamer over prepared IMDB reviews: what a step waits for its batch, and the rate alone.

    python benchmarks/streaming.py WORKSPACE [--check]

WORKSPACE holds data/imdb and tokenizers/imdb.

- Waiting: the consumer takes 100 ms per batch, as a fast step would. The share of the time that it
  waits beyond that is printed. The first batch, which starts the threads, is left out.
- Rate: tokens per second of a pass over the training reviews, by `TokenStream` with 1, 2 and 4
  threads and by `tf.data` doing the same (read, clean, encode, shift, batch), compared with
  `tokenizers.encode_batch_fast` alone, with all its threads, on texts that are already in memory.
  All take turns, in another order each round.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from report import finish, parser

from gpt_tf.streaming.corpora.corpus import load_corpus
from gpt_tf.streaming.sources import DocumentReader
from gpt_tf.streaming.stream import TokenStream
from gpt_tf.tokenizer.base import Tokenizer

CONTEXT_LENGTH = 128
BATCH_SIZE = 64
STEP_SECONDS = 0.1
NUM_THREADS = (1, 2, 4)
CHECKED_THREADS = 2  # the default of data.num_threads
MOST_WAITING = 0.02  # the share of the time
LEAST_RATE = 0.8  # of encode_batch_fast alone
TEXTS_AT_ONCE = 1000


def open_stream(
    documents: Sequence[Path], tokenizer: Tokenizer, num_threads: int, epochs: int | None = None
) -> TokenStream:
    """The stream that `imdb` trains from."""
    return TokenStream.from_documents(
        documents,
        tokenizer,
        windows="padded",
        context_length=CONTEXT_LENGTH,
        batch_size=BATCH_SIZE,
        num_threads=num_threads,
        epochs=epochs,
        allow_partial=True,
    )


def waiting(stream: TokenStream, batches: int) -> tuple[float, float]:
    """Seconds until the first batch, and the share of waiting in those after it."""
    with stream:
        started = time.perf_counter()
        next(stream)
        first = time.perf_counter() - started
        waited = 0.0
        started = time.perf_counter()
        for _ in range(batches):
            time.sleep(STEP_SECONDS)
            asked = time.perf_counter()
            next(stream)
            waited += time.perf_counter() - asked
        return first, waited / (time.perf_counter() - started)


def encode_alone(texts: Sequence[str], tokenizer: Tokenizer) -> int:
    """Encode texts in memory with every thread of `tokenizers`; the number of tokens."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    encode, tokens = tokenizer.backend.encode_batch_fast, 0
    for first in range(0, len(texts), TEXTS_AT_ONCE):
        encodings = encode(texts[first : first + TEXTS_AT_ONCE], add_special_tokens=False)
        tokens += sum(map(len, encodings))
    return tokens


def one_pass(documents: Sequence[Path], tokenizer: Tokenizer, num_threads: int) -> None:
    """Consume an epoch of our stream."""
    with open_stream(documents, tokenizer, num_threads, epochs=1) as stream:
        for _ in stream:
            pass


def one_pass_of_tf_data(documents: Sequence[Path], tokenizer: Tokenizer) -> None:
    """Consume an epoch of a `tf.data` pipeline of the same work and row."""
    import tensorflow as tf

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    read = DocumentReader()
    end = [] if tokenizer.eot_id is None else [tokenizer.eot_id]

    def row(path: bytes) -> np.ndarray:
        text = "".join(read.text(Path(os.fsdecode(path))))
        ids = [*tokenizer.encode(text), *end][: CONTEXT_LENGTH + 1]
        return np.pad(np.array(ids, np.int32), (0, CONTEXT_LENGTH + 1 - len(ids)))

    def shifted(path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        ids = tf.ensure_shape(tf.numpy_function(row, [path], tf.int32), [CONTEXT_LENGTH + 1])
        return ids[:-1], ids[1:]

    dataset = tf.data.Dataset.from_tensor_slices([str(path) for path in documents])
    dataset = dataset.shuffle(len(documents)).map(shifted, num_parallel_calls=tf.data.AUTOTUNE)
    for _ in dataset.batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE):
        pass


def rates(documents: Sequence[Path], tokenizer: Tokenizer, rounds: int) -> dict[str, float]:
    """Median tokens per second of each way."""
    read = DocumentReader()
    texts = ["".join(read.text(path)) for path in documents]
    tokens = encode_alone(texts, tokenizer)
    ways: dict[str, Callable[[], object]] = {
        "encode_batch_fast": lambda: encode_alone(texts, tokenizer),
        "tf.data": lambda: one_pass_of_tf_data(documents, tokenizer),
    }
    for number in NUM_THREADS:
        ways[f"{number} threads"] = lambda number=number: one_pass(documents, tokenizer, number)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name in sorted(ways, reverse=bool(turn % 2)):
            started = time.perf_counter()
            ways[name]()
            seconds[name].append(time.perf_counter() - started)
    return {name: tokens / statistics.median(found) for name, found in seconds.items()}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("workspace", type=Path, help="holds data/imdb and tokenizers/imdb")
    arguments.add_argument("--batches", type=int, default=100, help="waited for, a thread count")
    arguments.add_argument("--rounds", type=int, default=3, help="passes of each way")
    options = arguments.parse_args()
    documents = load_corpus(options.workspace / "data" / "imdb").documents("train")
    tokenizer = Tokenizer.load(options.workspace / "tokenizers" / "imdb")
    figures: dict[str, float] = {"step_seconds": STEP_SECONDS, "batches": options.batches}
    for number in NUM_THREADS:
        first, share = waiting(open_stream(documents, tokenizer, number), options.batches)
        print(
            f"{number} threads: first batch after {1000 * first:.0f} ms, "
            f"then {share:.2%} of the time waiting"
        )
        figures[f"first_batch_seconds_{number}_threads"] = round(first, 4)
        figures[f"wait_share_{number}_threads"] = round(share, 5)
    found = rates(documents, tokenizer, options.rounds)
    for name, rate in found.items():
        share = rate / found["encode_batch_fast"]
        print(f"{name}: {rate:,.0f} tokens/s, {share:.2f} of encode_batch_fast alone")
        figures[f"tokens_per_second_{name.replace(' ', '_')}"] = round(rate)
    best = max(found[f"{number} threads"] for number in NUM_THREADS)
    figures["rate_share"] = round(best / found["encode_batch_fast"], 3)
    waited = figures[f"wait_share_{CHECKED_THREADS}_threads"]
    promises = {
        f"{CHECKED_THREADS} threads wait less than {MOST_WAITING:.0%}": waited < MOST_WAITING,
        f"at least {LEAST_RATE} of encode_batch_fast": figures["rate_share"] >= LEAST_RATE,
    }
    finish(figures, promises, options.check)


if __name__ == "__main__":
    main()
