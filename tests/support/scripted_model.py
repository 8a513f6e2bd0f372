"""A language model that is a function of its history: an engine that the real `Session` runs on."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from gpt_tf.inference.engine import Decoded
from gpt_tf.inference.kv_cache import KVCache

Table = Callable[[tuple[int, ...]], np.ndarray]  # history -> logits [V]


def random_table(seed: int, vocab_size: int = 3) -> Table:
    """Other logits after each history, the same ones each time."""

    @cache
    def table(history: tuple[int, ...]) -> np.ndarray:
        generator = np.random.default_rng([seed, len(history), *history])
        return generator.normal(0, 2, vocab_size).astype(np.float32)

    return table


def probability_table(rows: dict[tuple[int, ...], Sequence[float]]) -> Table:
    """The probabilities after each history, written down; elsewhere all are equal."""
    vocab_size = len(next(iter(rows.values())))

    def table(history: tuple[int, ...]) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(np.array(rows.get(history, np.ones(vocab_size)), np.float32))

    return table


class ScriptedEngine:
    """Logits from a table, hidden states from a hash.

    What it caches are token ids and positions, so that what a new token sees, sorted by position,
    is its history.

    Attributes:
      runs: how often it was asked.
    """

    def __init__(self, table: Table, vocab_size: int | None = None, context_length: int = 64):
        self.table = table
        self.vocab_size = vocab_size or len(table((0,)))
        self.context_length = context_length
        self.runs = 0

    def new_cache(self, rows: int) -> KVCache:
        return KVCache(lambda rows, slots: (1, 2, rows, 1, slots, 1), rows)

    def run(self, token_ids_BT, positions_BT, cache, visible_BTK, wanted_BQ) -> Decoded:
        self.runs += 1
        fresh_2BT = np.stack([token_ids_BT, positions_BT]).astype(np.float32)
        known_2BK = fresh_2BT
        if cache is not None:
            known_2BK = np.concatenate([cache.array[0, :, :, 0, :, 0], fresh_2BT], axis=-1)
        histories = [
            [self._history(known_2BK[:, row, seen_K]) for seen_K in visible_TK]
            for row, visible_TK in enumerate(visible_BTK)
        ]
        logits_BQV = [
            [self.table(of_row[place]) for place in wanted_Q]
            for of_row, wanted_Q in zip(histories, wanted_BQ, strict=True)
        ]
        hidden_BTD = [[scripted_hidden(history) for history in of_row] for of_row in histories]
        fresh_L2BNTH = fresh_2BT[None, :, :, None, :, None]
        return Decoded(np.array(logits_BQV), np.array(hidden_BTD), fresh_L2BNTH)

    def _history(self, seen_2S: np.ndarray) -> tuple[int, ...]:
        ids, positions = seen_2S[:, np.argsort(seen_2S[1])].astype(int).tolist()
        # a row that is done may stay at its last position
        assert positions == list(range(len(ids))) or len(ids) > self.context_length, positions
        return tuple(ids)


ScriptedDecoder = ScriptedEngine


@cache
def scripted_hidden(history: tuple[int, ...]) -> np.ndarray:
    """Four numbers."""
    generator = np.random.default_rng([len(history), *history])
    return generator.normal(size=4).astype(np.float32)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """The softmax of one row."""
    weights = np.exp(np.asarray(logits, np.float64) - np.max(logits))
    return weights / weights.sum()


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """The logarithm of the softmax of one row; minus infinity stays."""
    below = np.asarray(logits, np.float64) - np.max(logits)
    return below - np.log(np.exp(below).sum())


def every_continuation(
    table: Table,
    prompt: tuple[int, ...],
    ends: Callable[[tuple[int, ...]], bool],
    max_new_tokens: int,
) -> list[tuple[list[int], float]]:
    """All possible texts, with their summed log-probabilities: ended, or of the full length."""
    found = []

    def extend(ids: tuple[int, ...], total: float) -> None:
        if len(ids) == max_new_tokens or (ids and ends(ids)):
            found.append((list(ids), total))
            return
        for token_id, value in enumerate(log_probabilities(table(prompt + ids))):
            if value > -np.inf:
                extend((*ids, token_id), total + value)

    extend((), 0.0)
    return found
