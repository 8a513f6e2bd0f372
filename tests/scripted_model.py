"""A language model that is a function of its history: what a `Decoder` and its `Session` offer."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

Table = Callable[[tuple[int, ...]], np.ndarray]  # history -> logits [V]


def random_table(seed: int, vocab_size: int = 3) -> Table:
    """Other logits after each history, the same ones each time."""

    @cache
    def table(history: tuple[int, ...]) -> np.ndarray:
        generator = np.random.default_rng([seed, len(history), *history])
        return generator.normal(0, 2, vocab_size).astype(np.float32)

    return table


def probability_table(rows: dict[tuple[int, ...], Sequence[float]]) -> Table:
    """The probabilities after each history, written down."""
    return lambda history: np.log(np.array(rows[history], np.float32))


class ScriptedSession:
    """Rows being decoded; counts the steps that the model is asked for."""

    def __init__(self, table: Table, prompts: Sequence[Sequence[int]]) -> None:
        self._table = table
        self.history = [list(prompt) for prompt in prompts]
        self.steps = 0
        self._read()

    def _read(self) -> None:
        self.logits = np.stack([self._table(tuple(ids)) for ids in self.history])

    def step(self, token_ids: Sequence[int]) -> None:
        self.steps += 1
        for ids, token_id in zip(self.history, token_ids, strict=True):
            ids.append(token_id)
        self._read()

    def select(self, rows: Sequence[int]) -> None:
        self.history = [list(self.history[row]) for row in rows]
        self.logits = self.logits[list(rows)]


class ScriptedDecoder:
    """Starts scripted sessions and keeps the last one."""

    context_length = 8

    def __init__(self, table: Table) -> None:
        self.table = table
        self.session: ScriptedSession | None = None

    def start(self, prompts: Sequence[Sequence[int]]) -> ScriptedSession:
        self.session = ScriptedSession(self.table, prompts)
        return self.session


def probabilities(logits: np.ndarray) -> np.ndarray:
    """The softmax of one row."""
    weights = np.exp(np.asarray(logits, np.float64) - np.max(logits))
    return weights / weights.sum()


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """The logarithm of the softmax of one row."""
    return np.log(probabilities(logits))


def every_continuation(
    table: Table, prompt: tuple[int, ...], end_id: int | None, max_new_tokens: int
) -> list[tuple[list[int], float]]:
    """All texts there are, with their summed log-probabilities: ended, or of the full length."""
    found = []

    def extend(ids: tuple[int, ...], total: float) -> None:
        if len(ids) == max_new_tokens or (ids and ids[-1] == end_id):
            found.append((list(ids), total))
            return
        for token_id, value in enumerate(log_probabilities(table(prompt + ids))):
            extend((*ids, token_id), total + value)

    extend((), 0.0)
    return found
