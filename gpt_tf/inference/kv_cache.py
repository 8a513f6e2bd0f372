"""Keys and values of past tokens, in slots that are written in place and never moved.

Shapes: L layers, B rows, N heads, S slots, T new slots, H head_dim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import tensorflow as tf

Floats = NDArray[np.float32]
Slots = NDArray[np.intp]
FEWEST_SLOTS = 64
ALIGNMENT = 64  # bytes; TensorFlow wants it of memory, and copies slices without it


class KVCache:
    """Slots for keys and values; which of them hold what is the session's to know.

    Args:
      shape_of: the model's `cache_shape`: rows and slots to [L, 2, B, N, S, H].
      rows: B.

    Attributes:
      array: all slots, zeros at first.
      writes: the slots of each write, [B, T], so that who has a copy can bring it up to date.
    """

    def __init__(self, shape_of: Callable[[int, int], tuple[int, ...]], rows: int) -> None:
        self._shape_of = shape_of
        self._rows = rows
        self.writes: list[Slots] = []
        self._tensor: tf.Tensor | None = None
        self._allocate(FEWEST_SLOTS)

    @property
    def slots(self) -> int:
        """How many there are."""
        return self.array.shape[4]

    @property
    def tensor(self) -> tf.Tensor:
        """The same memory as TensorFlow sees it: what is written needs no copy."""
        if self._tensor is None:
            import tensorflow as tf

            self._tensor = tf.experimental.dlpack.from_dlpack(self.array.__dlpack__())
        return self._tensor

    def reserve(self, slots: int) -> None:
        """Have at least so many, twice as many as before at least where there are too few."""
        if slots > self.slots:
            old = self.array
            self._allocate(max(2 * self.slots, 1 << (slots - 1).bit_length()))
            self.array[..., : old.shape[4], :] = old

    def write(self, fresh_L2BNTH: Floats, slots_BT: Slots) -> None:
        """Keep keys and values in these slots of each row."""
        rows_B1 = np.arange(self._rows)[:, None]
        self.array[:, :, rows_B1, :, slots_BT] = fresh_L2BNTH.transpose(2, 4, 0, 1, 3, 5)
        self.writes.append(slots_BT)

    def _allocate(self, slots: int) -> None:
        shape = self._shape_of(self._rows, slots)
        size = int(np.prod(shape)) * 4
        memory = np.zeros(size + ALIGNMENT, np.uint8)
        begin = -memory.ctypes.data % ALIGNMENT
        self.array: Floats = memory[begin : begin + size].view(np.float32).reshape(shape)
        self._tensor = None
