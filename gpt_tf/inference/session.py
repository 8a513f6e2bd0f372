"""Prompts being continued: rows, each with branches that share all they have in common.

A branch is one continuation: the only one of greedy search, one of several samples, a beam. Each
sees, by a mask, its own ancestors' slots of one cache; to branch or to reorder is to change the
mask, and no cache is copied.

Shapes: B rows, W branches, T time, S cached slots, V vocab, D embed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from gpt_tf.arguments import as_whole, several
from gpt_tf.errors import UsageError
from gpt_tf.inference.engine import Engine
from gpt_tf.inference.filters import Filter, Logits
from gpt_tf.inference.kv_cache import Floats, Slots
from gpt_tf.inference.options import PastContext, Truncate

TOKENS_AT_ONCE = 8192  # that branches are encoded with


class Session:
    """Rows being decoded.

    Args:
      engine: runs the model.
      prompts: the ids of each row, at least one.
      past_context: once a window is full, "slide" encodes the last context_length tokens
        again for every token, because learned positions change; "half" keeps the newer half.
      truncate: "left" takes prompts longer than the context, of which the last ids count.

    Attributes:
      tokens_BWT, lengths_BW: all ids so far, right-padded.
      logits_BWV, hidden_BWD: after the last token of each branch; of rows that are done, nothing.
      prompt_hidden: the hidden states of each row's prompt, [T, D].

    Raises:
      UsageError: for no prompt, an empty one or one that is too long, or an id outside the
        vocabulary.
    """

    def __init__(
        self,
        engine: Engine,
        prompts: Sequence[Sequence[int]],
        past_context: PastContext = "slide",
        truncate: Truncate | None = None,
    ) -> None:
        check_prompts(prompts, engine.vocab_size)
        check_lengths(prompts, engine.context_length, truncate)
        if past_context not in get_args(PastContext):
            raise UsageError(f"unknown past_context: {past_context}. Give slide or half.")
        self._engine = engine
        self._kept = engine.context_length if past_context == "slide" else None
        self.lengths_BW = np.array([[len(prompt)] for prompt in prompts], np.int32)
        self.tokens_BWT = np.zeros((len(prompts), 1, int(self.lengths_BW.max())), np.int32)
        for row, prompt in enumerate(prompts):
            self.tokens_BWT[row, 0, : len(prompt)] = prompt
        self._active_B = np.ones(len(prompts), bool)
        self._starts_BW = np.maximum(self.lengths_BW - engine.context_length, 0)
        hidden_BTD = self._encode()
        windows_B = (self.lengths_BW - self._starts_BW)[:, 0]
        self.prompt_hidden = [
            hidden_TD[:length] for hidden_TD, length in zip(hidden_BTD, windows_B, strict=True)
        ]

    def filtered(self, logits_filter: Filter) -> Logits:
        """The logits after a filter, each branch with its own history, [B, W, V]."""
        rows, branches, vocab = self.logits_BWV.shape
        return logits_filter(
            self.logits_BWV.reshape(-1, vocab),
            self.tokens_BWT.reshape(rows * branches, -1),
            self.lengths_BW.reshape(-1),
        ).reshape(rows, branches, vocab)

    def branch(self, parents_BW: NDArray[np.integer[Any]]) -> None:
        """Make branch w of row b a copy of its present branch `parents_BW[b, w]`."""
        rows_B1 = np.arange(len(parents_BW))[:, None]
        for name in (
            "tokens_BWT",
            "lengths_BW",
            "logits_BWV",
            "hidden_BWD",
            "_starts_BW",
            "_visible_BWS",
        ):
            setattr(self, name, getattr(self, name)[rows_B1, parents_BW])

    def finish(self, rows: Sequence[int]) -> None:
        """These rows are done: they stay in the batch, and grow no longer."""
        self._active_B[list(rows)] = False

    def step(self, token_ids_BW: NDArray[np.integer[Any]]) -> None:
        """Append one token to each branch of the active rows.

        Raises:
          UsageError: for an id outside the vocabulary, as a sampler of one's own may give.
        """
        if not ((token_ids_BW >= 0) & (token_ids_BW < self._engine.vocab_size)).all():
            raise UsageError(f"token id outside the vocabulary: {token_ids_BW.tolist()}.")
        positions_BW = self.lengths_BW - self._starts_BW
        positions_BW = np.minimum(positions_BW, self._engine.context_length - 1)
        self._append(token_ids_BW)
        windows_BW = self.lengths_BW - self._starts_BW
        full_BW = windows_BW > self._engine.context_length
        if full_BW.any():
            kept = self._kept or max(1, self._engine.context_length // 2)
            self._starts_BW = np.where(full_BW, self.lengths_BW - kept, self._starts_BW)
            self._encode()
            return
        rows, branches = token_ids_BW.shape
        itself = np.broadcast_to(np.eye(branches, dtype=bool), (rows, branches, branches))
        visible = np.concatenate([self._visible_BWS, itself], axis=-1)
        every = np.broadcast_to(np.arange(branches, dtype=np.int32), (rows, branches))
        decoded = self._engine.run(
            token_ids_BW.astype(np.int32), positions_BW, self._cache, visible, every
        )
        self.logits_BWV, self.hidden_BWD = decoded.logits_BQV, decoded.hidden_BTD
        slots_BW = self._cache_fresh(decoded.fresh_L2BNTH)
        rows_B1 = np.arange(rows)[:, None]
        self._visible_BWS[rows_B1, range(branches), slots_BW] = self._active_B[:, None]

    def _append(self, token_ids_BW: NDArray[np.integer[Any]]) -> None:
        if self.lengths_BW.max() == self.tokens_BWT.shape[-1]:
            self.tokens_BWT = np.pad(self.tokens_BWT, ((0, 0), (0, 0), (0, 64)))
        places = np.broadcast_to(self._active_B[:, None], token_ids_BW.shape)
        row, branch = np.nonzero(places)
        self.tokens_BWT[row, branch, self.lengths_BW[places]] = token_ids_BW[places]
        self.lengths_BW = self.lengths_BW + self._active_B[:, None].astype(np.int32)

    def _encode(self) -> Floats:
        """Encode every branch's window into a new cache; hidden states of the last ones, [., T, D].

        Branches are rows of their own here, as many at a time as memory bears.
        """
        rows, branches = self.lengths_BW.shape
        time = int((self.lengths_BW - self._starts_BW).max())
        self._cache = self._engine.new_cache(rows)
        self._visible_BWS = np.zeros((rows, branches, self._cache.slots), bool)
        together = max(1, TOKENS_AT_ONCE // (rows * time))
        encoded = [
            self._encode_branches(slice(first, min(first + together, branches)), time)
            for first in range(0, branches, together)
        ]
        self.logits_BWV = np.concatenate([logits for logits, _, _ in encoded], axis=1)
        self.hidden_BWD = np.concatenate([last for _, last, _ in encoded], axis=1)
        return encoded[-1][-1]

    def _encode_branches(self, part: slice, time: int) -> tuple[Floats, Floats, Floats]:
        """Logits and hidden states at the ends of some branches, and all hidden states."""
        rows, count = len(self.lengths_BW), part.stop - part.start
        windows_BW1 = (self.lengths_BW - self._starts_BW)[:, part, None]
        places_T = np.arange(time, dtype=np.int32)
        inside_BWT = places_T < windows_BW1
        at_BWT = np.where(inside_BWT, self._starts_BW[:, part, None] + places_T, 0)
        ids_BWT = np.take_along_axis(self.tokens_BWT[:, part], at_BWT, axis=2)
        every = rows * count
        decoded = self._engine.run(
            ids_BWT.reshape(every, time),
            np.broadcast_to(places_T, (every, time)),
            None,
            np.broadcast_to(np.tri(time, dtype=bool), (every, time, time)),
            windows_BW1.reshape(every, 1) - 1,
        )
        layers, pair, _, heads, _, width = decoded.fresh_L2BNTH.shape
        fresh = decoded.fresh_L2BNTH.reshape(layers, pair, rows, count, heads, time, width)
        fresh = fresh.swapaxes(3, 4).reshape(layers, pair, rows, heads, count * time, width)
        slots_BWT = self._cache_fresh(fresh).reshape(rows, count, time)
        rows_B1, branches_W1 = np.arange(rows)[:, None, None], np.arange(count)[:, None]
        self._visible_BWS[rows_B1, part.start + branches_W1, slots_BWT] = inside_BWT
        hidden_BWTD = decoded.hidden_BTD.reshape(rows, count, time, -1)
        last_BW1D = np.take_along_axis(hidden_BWTD, windows_BW1[..., None] - 1, axis=2)
        logits_BWV = decoded.logits_BQV.reshape(rows, count, -1)
        return logits_BWV, last_BW1D[:, :, 0], decoded.hidden_BTD

    def _cache_fresh(self, fresh_L2BNTH: Floats) -> Slots:
        """Cache keys and values; the slots they went to, [B, T]: those that no branch sees."""
        time = fresh_L2BNTH.shape[4]
        taken_BS = self._visible_BWS.any(axis=1)
        self._cache.reserve(int(taken_BS.sum(axis=1).max()) + time)
        missing = self._cache.slots - taken_BS.shape[1]
        if missing:
            taken_BS = np.pad(taken_BS, ((0, 0), (0, missing)))
            self._visible_BWS = np.pad(self._visible_BWS, ((0, 0), (0, 0), (0, missing)))
        slots_BT = np.argsort(taken_BS, axis=1, kind="stable")[:, :time]
        self._cache.write(fresh_L2BNTH, slots_BT)
        return slots_BT


def check_prompts(prompts: Sequence[Sequence[int]], vocab_size: int) -> None:
    """Raise UsageError for no or an empty prompt, or an id outside the vocabulary."""
    remedy = "Give ids; load(run).generate(...) continues texts."
    several(prompts, "prompts", remedy)
    if not prompts:
        raise UsageError("no prompts. Give at least one.")
    for row, prompt in enumerate(prompts):
        several(prompt, f"row {row} of the prompts", remedy)
        if not len(prompt):
            raise UsageError(f"empty prompt in row {row}. Give at least one token.")
        for token_id in prompt:
            if as_whole(token_id) is None:
                raise UsageError(
                    f"no integer in row {row} of the prompts: {token_id!r:.60}. {remedy}"
                )
        outside = [i for i in prompt if not 0 <= i < vocab_size]
        if outside:  # TensorFlow takes -1 for the last row, and XLA takes anything
            raise UsageError(
                f"token id outside the vocabulary in row {row}: {outside[0]}. "
                f"Ids are 0 to {vocab_size - 1}."
            )


def check_lengths(
    prompts: Sequence[Sequence[int]], context_length: int, truncate: Truncate | None
) -> None:
    """Raise UsageError for a prompt longer than the context, unless it is to be shortened."""
    if truncate not in (None, *get_args(Truncate)):
        raise UsageError(f"unknown truncate: {truncate}. Use left, or leave it out.")
    for row, prompt in enumerate(prompts):
        if truncate is None and len(prompt) > context_length:
            raise UsageError(
                f"prompt too long in row {row}: {len(prompt)} tokens, the context has "
                f'{context_length}. Shorten it, or use truncate="left" to keep its end.'
            )
