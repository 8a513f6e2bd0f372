"""Keys and values of past tokens, in slots that are written once and never moved.

Shapes: L layers, B rows, N heads, S slots, T new slots, H head_dim.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Floats = NDArray[np.float32]
FEWEST_SLOTS = 64
ALIGNMENT = 64  # bytes; TensorFlow wants it of memory, and copies slices without it


class KVCache:
    """Slots for keys and values, twice as many whenever they are full.

    Args:
      shape_of: the model's `cache_shape`: rows and slots to [L, 2, B, N, S, H].
      rows: B.

    Attributes:
      array: all slots; those from `used` on hold zeros.
      tensor: the same memory as TensorFlow sees it: what is written needs no copy.
    """

    def __init__(self, shape_of: Callable[[int, int], tuple[int, ...]], rows: int) -> None:
        self._shape_of = shape_of
        self._rows = rows
        self.used = 0
        self._allocate(FEWEST_SLOTS)

    @property
    def slots(self) -> int:
        """How many there are, used or not."""
        return self.array.shape[4]

    def append(self, fresh_L2BNTH: Floats) -> range:
        """Write keys and values into the next slots; which these are."""
        new = range(self.used, self.used + fresh_L2BNTH.shape[4])
        if new.stop > self.slots:
            old = self.array
            self._allocate(max(2 * self.slots, 1 << (new.stop - 1).bit_length()))
            self.array[..., : self.used, :] = old[..., : self.used, :]
        self.array[..., new.start : new.stop, :] = fresh_L2BNTH
        self.used = new.stop
        return new

    def _allocate(self, slots: int) -> None:
        shape = self._shape_of(self._rows, slots)
        size = int(np.prod(shape)) * 4
        memory = np.zeros(size + ALIGNMENT, np.uint8)
        begin = -memory.ctypes.data % ALIGNMENT
        self.array: Floats = memory[begin : begin + size].view(np.float32).reshape(shape)
        self.tensor = tf.experimental.dlpack.from_dlpack(self.array.__dlpack__())
