"""`manifest.json`: the SHA-256 and size of each file of a directory, and its own; written last.

Names are relative, such as `variables/variables.index`, and lead down: a manifest cannot point
outside its own directory.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gpt_tf.errors import RunError
from gpt_tf.storage import atomic
from gpt_tf.storage.plain import NotPlainError, open_plain

MANIFEST = "manifest.json"
VERSION = 2  # 1 had neither its own SHA-256 nor this number
# Facts that tell those without it from another program's: of a checkpoint, a tokenizer, a
# token store, an engine, an export.
FIRST_FACTS = ({"format", "step"}, {"vocab_size"}, {"dtype", "left_out"}, {"weights_sha256"},
               {"format", "gpt_tf"})  # fmt: skip
MAX_BYTES = 1 << 24  # a longer file is not one of our manifests


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open_plain(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_manifest(directory: Path, names: Iterable[str], facts: Mapping[str, Any]) -> None:
    """Describe `names` in `directory`, with `facts` beside them; call it after the last file."""
    files = {
        name: {
            "sha256": sha256_file(directory / name),
            "bytes": (directory / name).stat().st_size,
        }
        for name in sorted(names)
    }
    manifest = {"manifest": VERSION, **facts, "files": files}
    atomic.write_json(directory / MANIFEST, {**manifest, "sha256": _own_sha256(manifest)})


def _own_sha256(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of `directory`. Raises RunError if it is missing or damaged."""
    path = directory / MANIFEST
    try:
        manifest = atomic.read_json(path)
        recorded, files = manifest.pop("sha256", None), manifest["files"]
        well_formed = isinstance(files, dict) and all(
            isinstance(entry["sha256"], str) and isinstance(entry["bytes"], int)
            for entry in files.values()
        )
    except NotPlainError as error:
        raise RunError(f"not a plain file: {path}. Move it away.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"no readable manifest in {path}: {error!r}.") from error
    # Without both it is of an older version; no single change makes it look like one.
    is_first = not recorded and "manifest" not in manifest
    if not is_first and recorded != _own_sha256(manifest):
        raise RunError(f"damaged manifest in {path}: it is not what was written.")
    if not well_formed:
        raise RunError(f"damaged manifest in {path}: its list of files is malformed.")
    for name in files:
        if not _leads_down(name):
            raise RunError(f"damaged manifest in {path}: {name!r} is not a name below the folder.")
    if is_first and not any(manifest.keys() >= facts for facts in FIRST_FACTS):
        raise RunError(f"no manifest of gpt-tf in {path}: another program's. Move it away.")
    return dict(manifest)


def own_files(directory: Path) -> set[str]:
    """Names of the files in a folder that gpt-tf wrote: its manifest, and what that lists.

    None if the manifest is missing, damaged or another program's.
    """
    try:
        status = (directory / MANIFEST).lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            return set()
        return {MANIFEST, *read_manifest(directory)["files"]}
    except (OSError, RunError):
        return set()


def _leads_down(name: str) -> bool:
    """Whether a relative name stays below its directory, spelled as `write_manifest` does."""
    return name.isprintable() and all(part not in ("", ".", "..") for part in name.split("/"))


def verify(
    directory: Path, manifest: Mapping[str, Any], names: Iterable[str] | None = None
) -> None:
    """Check `names` (default: all files) against the manifest. Raises RunError naming the file."""
    for name in manifest["files"] if names is None else names:
        path = directory / name
        if name not in manifest["files"]:
            raise RunError(f"file missing in the manifest of {directory}: {name}.")
        entry = manifest["files"][name]
        try:
            size = path.stat().st_size
            found = sha256_file(path) if size == entry["bytes"] else None
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror}.") from error
        if found is None:
            raise RunError(f"damaged file {path}: {size} bytes, but {entry['bytes']} were written.")
        if found != entry["sha256"]:
            raise RunError(f"damaged file {path}: its SHA-256 is {found}, not {entry['sha256']}.")


def check_sizes(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Check that every file is there and has its size, without reading it. Raises RunError."""
    for name, entry in manifest["files"].items():
        path = directory / name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror}.") from error
        if size != entry["bytes"]:
            raise RunError(f"damaged file {path}: {size} bytes, but {entry['bytes']} were written.")
