"""A trained run against the counted bigram of the same tokens, on the whole validation split.

The bigram is counted on the training split in the run's own windows, with absolute discounting of
0.75 and the unigram behind it (Ney, Essen and Kneser 1994, without their lower-order counts).
"""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
from report import finish, parser

from gpt_tf.config_files import read_config_file, resolve
from gpt_tf.inference.loading import load
from gpt_tf.storage.finding_runs import find_run, newest_run
from gpt_tf.streaming.corpora.corpus import load_corpus
from gpt_tf.streaming.sources import DocumentReader
from gpt_tf.streaming.stream import TokenStream
from gpt_tf.training.evaluator import evaluate, make_scores_of

DISCOUNT = 0.75


def pairs(stream: TokenStream) -> tuple[np.ndarray, np.ndarray]:
    """Every counted (input, target) of one pass."""
    inputs, targets = [], []
    for batch in stream:
        counted = batch.weights > 0
        inputs.append(batch.inputs[counted])
        targets.append(batch.targets[counted])
    return np.concatenate(inputs).astype(np.int64), np.concatenate(targets).astype(np.int64)


def bigram_loss(
    train: tuple[np.ndarray, np.ndarray], held_out: tuple[np.ndarray, np.ndarray], vocab_size: int
) -> float:
    """Mean nats of the held-out targets under the counted bigram."""
    unigram = np.bincount(train[1], minlength=vocab_size) + 0.1
    unigram = unigram / unigram.sum()
    seen, counts = np.unique(train[0] * vocab_size + train[1], return_counts=True)
    totals = np.bincount(train[0], minlength=vocab_size)[held_out[0]]
    kinds = np.bincount(seen // vocab_size, minlength=vocab_size)[held_out[0]]
    wanted = held_out[0] * vocab_size + held_out[1]
    place = np.minimum(np.searchsorted(seen, wanted), len(seen) - 1)
    count = np.where(seen[place] == wanted, counts[place], 0)
    back_off = unigram[held_out[1]]
    share = (np.maximum(count - DISCOUNT, 0) + DISCOUNT * kinds * back_off) / np.maximum(totals, 1)
    return float(-np.log(np.where(totals > 0, share, back_off)).mean())


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--workspace", type=Path, default=Path())
    arguments.add_argument("--run", help="default: the newest")
    options = arguments.parse_args()
    workspace = options.workspace
    run = find_run(workspace, options.run) if options.run else newest_run(workspace)
    config = resolve(read_config_file(run.config_file))
    source = json.loads((run.path / "source.json").read_text())
    corpus = load_corpus(workspace / "data" / source["corpus"])
    generator = load(run)

    def stream(split: str) -> TokenStream:
        return TokenStream.from_documents(
            corpus.documents(split),
            generator.tokenizer,
            windows=config.data.windows,
            context_length=config.model.context_length,
            batch_size=config.training.batch_size,
            shuffle=False,
            reader=DocumentReader(replace_breaks=config.data.replace_breaks),
            store_directory=corpus.directory / "token_stores",
            epochs=1,
            allow_partial=True,
        )

    vocab_size = config.model.vocab_size
    bigram = bigram_loss(pairs(stream("train")), pairs(stream("validation")), vocab_size)
    shape = (config.training.batch_size, config.model.context_length)
    scores_of = make_scores_of(generator.model, shape)
    result = evaluate(scores_of, stream("validation"))
    rows = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    curve = [row["eval/loss"] for row in rows if "eval/loss" in row and row["step"]]
    speeds = [row["perf/tokens_per_second"] for row in rows if "train/loss" in row][1:]
    waits = [row["perf/data_wait_fraction"] for row in rows if "train/loss" in row][1:]
    memory = max(row["perf/memory_gb"] for row in rows if "train/loss" in row)
    figures = {
        "validation_loss": result.loss,
        "validation_perplexity": float(np.exp(result.loss)),
        "bigram_perplexity": float(np.exp(bigram)),
        "evaluations": curve,
        "tokens_per_second_median": float(np.median(speeds)),
        "data_wait_fraction_mean": float(np.mean(waits)),
        "memory_gb_peak": memory,
    }
    promises = {
        "at least 8 evaluations, each below the one before": len(curve) >= 8
        and all(later < earlier for earlier, later in pairwise(curve)),
        "validation perplexity below the counted bigram's": result.loss < bigram,
        "less than 1 % of the time waiting for data": figures["data_wait_fraction_mean"] < 0.01,
    }
    finish(figures, promises, options.check)


if __name__ == "__main__":
    main()
