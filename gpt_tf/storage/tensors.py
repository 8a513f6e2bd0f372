"""safetensors files one tensor at a time: a model larger than the memory is read and written.

The library `safetensors` checks the header and reads whole files or maps them; here the bytes of
one tensor are read, and tensors are written as they come.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors

from gpt_tf.errors import RunError
from gpt_tf.storage.json_file import plain_file
from gpt_tf.storage.plain import open_plain

Shape = tuple[int, ...]
MAX_HEADER = 100_000_000  # bytes; as the library has it
# numpy has no bfloat16: its 16 bits are the upper half of a float32's
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class StoredTensor(NamedTuple):
    """A tensor of a file, not read yet.

    Attributes:
      dtype: as safetensors names it; F64, F32, F16 and BF16 can be read.
      read: gives it in float32; raises RunError if the file is damaged.
    """

    file: Path
    shape: Shape
    dtype: str
    read: Callable[[], np.ndarray]


def to_float32(data: bytes, dtype: str) -> np.ndarray:
    """The flat float32 values of a tensor's bytes, little-endian; `dtype` is one of `DTYPES`."""
    values = np.frombuffer(data, DTYPES[dtype])
    if dtype == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32, copy=False)


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file by name.

    Raises:
      UsageError: if the file is missing.
      RunError: if it is cut short or its header is damaged.
    """
    plain_file(path)
    try:
        # what it checks: the header's size, its JSON, that offsets cover the file without overlap
        with safetensors.safe_open(path, framework="numpy"):
            pass
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(size))
    except (OSError, ValueError, struct.error, safetensors.SafetensorError) as error:
        raise RunError(f"damaged safetensors file {path}: {error}. Get it again.") from error
    header.pop("__metadata__", None)
    return {name: _stored(path, 8 + size, entry) for name, entry in header.items()}


def _stored(path: Path, data_start: int, entry: dict[str, Any]) -> StoredTensor:
    shape, dtype = tuple(entry["shape"]), str(entry["dtype"])
    begin, end = entry["data_offsets"]

    def read() -> np.ndarray:
        with path.open("rb") as file:
            file.seek(data_start + begin)
            data = file.read(end - begin)
        if len(data) != end - begin:
            raise RunError(f"damaged safetensors file {path}: it was cut short. Get it again.")
        return to_float32(data, dtype).reshape(shape)

    return StoredTensor(path, shape, dtype, read)


def count_numbers(path: Path) -> int | None:
    """How many numbers a safetensors file holds, by its header alone; None if that is damaged."""
    try:
        with open_plain(path) as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length <= MAX_HEADER else {}
        header.pop("__metadata__", None)
        return sum(math.prod(tensor["shape"]) for tensor in header.values()) or None
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError, RecursionError):
        return None


class Streamed(NamedTuple):
    """Float32 arrays that are asked for one after the other, and not kept.

    Attributes:
      shapes: of each name.
      array_of: the array of a name.
    """

    shapes: Mapping[str, Shape]
    array_of: Callable[[str], np.ndarray]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(4 * math.prod(shape) for shape in self.shapes.values())

    def write(self, path: Path) -> None:
        """Write them as a safetensors file."""
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers 4 asks for it
        end = 0
        for name, shape in self.shapes.items():
            begin, end = end, end + 4 * math.prod(shape)
            header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)  # the data are aligned
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for name, shape in self.shapes.items():
                array = np.ascontiguousarray(self.array_of(name), "<f4")
                assert array.shape == shape, f"{name} has shape {array.shape}, not {shape}"
                file.write(array.data)
