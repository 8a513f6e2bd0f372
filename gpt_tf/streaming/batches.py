"""The batches of an epoch: batch i is a pure function of its rows."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt_tf.errors import GptTfError, RunError
from gpt_tf.streaming.windows import Windows


class Batch(NamedTuple):
    """One batch; every one of an epoch has the full shape [batch, context]."""

    inputs: NDArray[np.int32]
    targets: NDArray[np.int32]
    weights: NDArray[np.float32]  # 0 if no loss counts


class Batches:
    """Any batch of any epoch, by its position from the start of the first one.

    Args:
      windows: the source of rows.
      shape: of a batch, [batch, context].
      pad_id: fills the rest of a row (weight 0); 0 if the tokenizer has none.
    """

    def __init__(self, windows: Windows, shape: tuple[int, int], pad_id: int | None) -> None:
        self._windows = windows
        self.shape = shape
        self._pad = 0 if pad_id is None else pad_id

    def __len__(self) -> int:
        """Batches an epoch; the last one may be filled with rows of weight 0."""
        return -(-len(self._windows) // self.shape[0])

    def _rows(self, position: int) -> tuple[int, range]:
        """Epoch and rows of the batch at `position`."""
        epoch, batch = divmod(position, len(self))
        first = batch * self.shape[0]
        return epoch, range(first, min(first + self.shape[0], len(self._windows)))

    def at(self, position: int) -> Batch:
        """The batch at `position`."""
        batch = Batch(
            np.full(self.shape, self._pad, np.int32),
            np.full(self.shape, self._pad, np.int32),
            np.zeros(self.shape, np.float32),
        )
        for i, row in enumerate(self._windows.rows(*self._rows(position))):
            count = max(0, len(row) - 1)  # a document with no text gives no target
            batch.inputs[i, :count] = row[:-1]
            batch.targets[i, :count] = row[1:]
            batch.weights[i, :count] = 1.0
        return batch

    def make(self, position: int) -> Batch:
        """`at` for a thread: every error names the files."""
        try:
            return self.at(position)
        except (GptTfError, MemoryError):
            raise
        except Exception as error:
            raise RunError(
                f"cannot make {self.describe(position)}: {error!r}. Look at these files."
            ) from error

    def documents(self, position: int) -> list[Path]:
        """The files of the batch at `position`."""
        return self._windows.documents(*self._rows(position))

    def describe(self, position: int) -> str:
        """The batch by its number and its first files."""
        named = ", ".join(repr(str(path)) for path in self.documents(position)[:3])
        return f"batch {position} of {named}"
