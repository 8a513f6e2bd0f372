"""How long a training step waits for its batch, over prepared IMDB reviews.

    python benchmarks/streaming.py WORKSPACE [--check]

WORKSPACE holds data/imdb and tokenizers/imdb. The consumer takes 100 ms a batch, as a fast step
would; what it waits beyond that is the share printed. The first batch, which starts the threads,
is timed apart. The last line is one JSON object of all figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from gpt_tf.errors import GptTfError
from gpt_tf.streaming.corpora import load_corpus
from gpt_tf.streaming.stream import TokenStream
from gpt_tf.tokenizer.base import Tokenizer

CONTEXT_LENGTH = 128
BATCH_SIZE = 64
STEP_SECONDS = 0.1
NUM_THREADS = (1, 2, 4)
CHECKED_THREADS = 2  # the default of data.num_threads
MOST_WAITING = 0.02  # the share of the time that --check allows


def measure(stream: TokenStream, batches: int) -> tuple[float, float]:
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path, help="holds data/imdb and tokenizers/imdb")
    parser.add_argument("--batches", type=int, default=100, help="timed for each thread count")
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"exit 1 where {CHECKED_THREADS} threads leave {MOST_WAITING:.0%} or more waiting",
    )
    options = parser.parse_args()
    try:
        documents = load_corpus(options.workspace / "data" / "imdb").documents("train")
        tokenizer = Tokenizer.load(options.workspace / "tokenizers" / "imdb")
    except GptTfError as error:
        parser.error(str(error))
    figures: dict[str, float] = {"step_seconds": STEP_SECONDS, "batches": options.batches}
    for num_threads in NUM_THREADS:
        stream = TokenStream.from_documents(
            documents,
            tokenizer,
            windows="padded",
            context_length=CONTEXT_LENGTH,
            batch_size=BATCH_SIZE,
            num_threads=num_threads,
        )
        first, share = measure(stream, options.batches)
        print(
            f"{num_threads} threads: first batch after {1000 * first:.0f} ms, "
            f"then {share:.2%} of the time waiting"
        )
        figures[f"first_batch_seconds_{num_threads}_threads"] = round(first, 4)
        figures[f"wait_share_{num_threads}_threads"] = round(share, 5)
    print(json.dumps(figures))
    share = figures[f"wait_share_{CHECKED_THREADS}_threads"]
    return int(options.check and share >= MOST_WAITING)


if __name__ == "__main__":
    sys.exit(main())
