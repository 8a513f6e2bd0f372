"""`pytorch_model.bin` read without running it: the zip form of `torch.save`, tensors alone.

The file is a zip of `data.pkl`, which says what there is, and `data/<key>`, the bytes of each
storage. `torch_pickle` follows the former.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from gpt_tf.errors import RunError, UsageError
from gpt_tf.interop.torch_pickle import RefusedError, View, follow
from gpt_tf.storage.json_file import plain_file
from gpt_tf.storage.tensors import StoredTensor, to_float32

MAX_PICKLE_BYTES = 16 * 1024 * 1024  # it holds names and shapes: 1,000 tensors take 0.1 MB
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}

# what `zipfile` raises on headers that do not fit the file
DAMAGE = (OSError, EOFError, LookupError, NotImplementedError, RuntimeError, ValueError)


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file that `torch.save(model.state_dict())` wrote, by name.

    Raises:
      UsageError: if the file is missing, is not in the zip form, or holds anything but tensors.
      RunError: if it is damaged.
    """
    plain_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            pickles = [name for name in names if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise RefusedError(f"{len(pickles)} files data.pkl, one was expected")
            root = pickles[0].removesuffix("data.pkl")
            order = f"{root}byteorder"  # PyTorch 2.1 and newer say it
            if order in names and _member(archive, order, max_bytes=16) != b"little":
                raise RefusedError("its numbers are big-endian")
            found = follow(_member(archive, pickles[0], MAX_PICKLE_BYTES))
            return {name: _stored(path, archive, root, view) for name, view in found.items()}
    except RefusedError as error:
        raise UsageError(
            f"refused {path}: {error}. Only tensors are read, nothing is run; "
            "write the model as model.safetensors."
        ) from error
    except zipfile.BadZipFile as error:
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        if is_zip:
            raise RunError(f"damaged file {path}: {error}. Get it again.") from error
        raise UsageError(
            f"not in the zip form of torch.save: {path}. Save it again with PyTorch 1.6 or newer, "
            "or as model.safetensors."
        ) from error
    except DAMAGE as error:
        raise RunError(f"damaged file {path}: {error}. Get it again.") from error


def _member(archive: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    """A member's bytes; torch stores without compression, so that none can swell."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise RefusedError(f"{name} is compressed")
    if info.file_size > max_bytes:
        raise RefusedError(f"{name} has {info.file_size:,} bytes, the limit is {max_bytes:,}")
    return archive.read(info)


def _stored(path: Path, archive: zipfile.ZipFile, root: str, view: View) -> StoredTensor:
    """The view as a tensor of the file, its bounds checked: numpy will not check them."""
    storage = view.storage
    name, size = f"{root}data/{storage.key}", storage.items * ITEM_BYTES[storage.dtype]
    try:
        found = archive.getinfo(name).file_size
    except KeyError:
        raise RefusedError(f"the storage {name} is missing") from None
    if found != size:
        raise RefusedError(f"{name} has {found:,} bytes, not {size:,}")
    count = math.prod(view.shape)
    last = sum((n - 1) * stride for n, stride in zip(view.shape, view.strides, strict=True))
    if count > storage.items or (count and view.offset + last >= storage.items):
        raise RefusedError(f"a tensor of shape {view.shape} leaves its storage {name}")

    def read() -> np.ndarray:
        try:
            with zipfile.ZipFile(path) as again:
                flat = to_float32(_member(again, name, size), storage.dtype)
        except (*DAMAGE, zipfile.BadZipFile, RefusedError) as error:
            raise RunError(f"damaged file {path}: {error}. Get it again.") from error
        strides = [4 * stride for stride in view.strides]
        return np.lib.stride_tricks.as_strided(flat[view.offset :], view.shape, strides)

    return StoredTensor(path, view.shape, storage.dtype, read)
