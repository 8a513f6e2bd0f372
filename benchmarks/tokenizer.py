"""Training the tokenizer costs what `tokenizers` costs, and gives the same tokenizer.

On all 50,000 IMDB reviews, ours and the library called directly with the same settings, in turn:

    python benchmarks/tokenizer.py WORKSPACE [--rounds 2] [--check]

WORKSPACE is where `gpt-tf prepare imdb` was run. The machine may be shared: the ratio of the
medians counts, not the seconds, and the ratio of CPU seconds is given beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from gpt_tf.tokenizer.bpe import BPETokenizer

VOCAB_SIZE = 50_358
MOST_RATIO = 1.3
NUM_COMPARED = 1000

Encode = Callable[[Sequence[str]], list[list[int]]]


def read_reviews(workspace: Path) -> list[str]:
    """The labelled reviews of both splits, as they are in the archive."""
    folder = workspace / "data" / "imdb" / "aclImdb"
    texts = [
        path.read_bytes().decode("utf-8")
        for split in ("train", "test")
        for polarity in ("pos", "neg")
        for path in sorted((folder / split / polarity).glob("*.txt"))
    ]
    if not texts:
        sys.exit(f"error: no reviews in {folder}. Run `gpt-tf prepare imdb` in {workspace}.")
    return texts


def train_ours(texts: Sequence[str]) -> tuple[dict[str, int], Encode]:
    tokenizer = BPETokenizer.train(texts, vocab_size=VOCAB_SIZE)
    return tokenizer.backend.get_vocab(), tokenizer.encode_batch


def train_directly(texts: Sequence[str]) -> tuple[dict[str, int], Encode]:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=["<|endoftext|>", "[PAD]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend.get_vocab(), lambda texts: [e.ids for e in backend.encode_batch(list(texts))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--rounds", type=int, default=2, help="trainings of each kind")
    parser.add_argument("--check", action="store_true", help="exit 1 if a promise is missed")
    arguments = parser.parse_args()

    os.environ["TOKENIZERS_PARALLELISM"] = "true"  # for both
    texts = read_reviews(arguments.workspace)
    compared = texts[:: max(1, len(texts) // NUM_COMPARED)][:NUM_COMPARED]
    print(f"{len(texts):,} reviews, {sum(map(len, texts)) / 1e6:.1f} M characters")

    seconds: dict[str, list[float]] = {"ours": [], "directly": []}
    cpu_seconds = {"ours": 0.0, "directly": 0.0}
    made: dict[str, tuple[dict[str, int], list[list[int]]]] = {}
    for _ in range(arguments.rounds):
        for name, train in (("ours", train_ours), ("directly", train_directly)):
            start, cpu_start = time.perf_counter(), time.process_time()
            vocabulary, encode = train(texts)
            seconds[name].append(time.perf_counter() - start)
            cpu_seconds[name] += time.process_time() - cpu_start
            print(f"{name:>8}: {seconds[name][-1]:.1f} s, {len(vocabulary):,} entries", flush=True)
            made[name] = vocabulary, encode(compared)

    figures = {
        "reviews": len(texts),
        "vocab_size": len(made["ours"][0]),
        "seconds_ours": [round(value, 2) for value in seconds["ours"]],
        "seconds_directly": [round(value, 2) for value in seconds["directly"]],
        "ratio": round(
            statistics.median(seconds["ours"]) / statistics.median(seconds["directly"]), 3
        ),
        "cpu_ratio": round(cpu_seconds["ours"] / cpu_seconds["directly"], 3),
        "same_vocabulary": made["ours"][0] == made["directly"][0],
        "same_ids": made["ours"][1] == made["directly"][1],
        "reviews_compared": len(compared),
    }
    print(json.dumps(figures))
    missed = (
        not figures["same_vocabulary"] or not figures["same_ids"] or figures["ratio"] > MOST_RATIO
    )
    return int(arguments.check and missed)


if __name__ == "__main__":
    sys.exit(main())
