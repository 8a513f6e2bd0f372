"""A tokenizer's files: written, read and copied whole, and known by their SHA-256."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.folders import new_directory
from gpt_tf.storage.manifest import MANIFEST, read_manifest, sha256_file, verify, write_manifest
from gpt_tf.storage.targets import check_folder
from gpt_tf.tokenizer.backend_file import read_backend

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
OWN_FILES = (TOKENIZER_FILE, CONFIG_FILE, SPECIAL_TOKENS_FILE)


def write_files(
    directory: Path,
    backend: tokenizers.Tokenizer,
    special_tokens: Mapping[str, str],
    *,
    option: str | None,
    overwrite: bool | None,
    trained_on: Mapping[str, Any] | None,
) -> None:
    """Write a tokenizer atomically, as `Tokenizer.save` says."""
    check_folder(directory, option, overwrite=overwrite)
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # of PyTorch's absence
    from transformers import PreTrainedTokenizerFast

    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        clean_up_tokenization_spaces=False,
        **{f"{role}_token": token for role, token in special_tokens.items()},
    )
    with new_directory(directory, option=option, overwrite=overwrite) as temporary:
        wrapped.save_pretrained(temporary)
        config_path = temporary / CONFIG_FILE
        config = json.loads(config_path.read_text("utf-8"))
        # transformers 5 writes a class name that transformers 4 does not know
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        atomic.write_json(config_path, config)
        names = [path.name for path in temporary.iterdir()]
        origin = {"trained_on": dict(trained_on)} if trained_on else {}
        write_manifest(temporary, names, {"vocab_size": size_of(backend), **origin})


def size_of(backend: tokenizers.Tokenizer) -> int:
    """Entries of the vocabulary, special tokens included."""
    return int(backend.get_vocab_size(with_added_tokens=True))


def read_files(directory: Path) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """The backend and the special tokens of a saved tokenizer, checked.

    Raises:
      UsageError: if there is no tokenizer.
      RunError: if a file is damaged.
    """
    path = tokenizer_file(directory)
    if (directory / MANIFEST).exists():
        manifest = read_manifest(directory)  # of an export, it lists a model's weights, too
        verify(directory, manifest, [name for name in OWN_FILES if name in manifest["files"]])
    return read_backend(path), read_special_tokens(directory)


def read_special_tokens(directory: Path) -> dict[str, str]:
    """Roles and tokens named in `tokenizer_config.json`, as transformers writes them."""
    path = directory / CONFIG_FILE
    if not path.exists():
        return {}
    try:
        config: dict[str, Any] = dict(atomic.read_json(path))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"damaged tokenizer in {path}: {error}.") from error
    special = {}
    for role in ("eos", "pad", "bos", "unk"):
        token = config.get(f"{role}_token")
        if isinstance(token, dict):
            token = token.get("content")
        if isinstance(token, str):
            special[role] = token
    return special


def tokenizer_file(directory: Path) -> Path:
    """The vocabulary file of a tokenizer's folder. Raises UsageError if it is missing."""
    path = directory / TOKENIZER_FILE
    if not path.is_file():
        from gpt_tf.tokenizer.foreign import refuse_foreign

        remedy = "Restore the run's tokenizer from a copy."
        if not (directory.parent / "checkpoints").is_dir():  # another would not fit its weights
            refuse_foreign(directory)
            remedy = (
                "Restore it, or train one with "
                f"`gpt-tf train-tokenizer --output {shlex.quote(str(directory))}`."
            )
        raise UsageError(f"no tokenizer in {directory}: {TOKENIZER_FILE} is missing. {remedy}")
    return path


def tokenizer_sha256(directory: Path) -> str:
    """The SHA-256 of the vocabulary file: what ties a model to its tokenizer."""
    return sha256_file(tokenizer_file(directory))


def check_same_tokenizer(directory: Path, expected_sha256: str | None) -> None:
    """Raise UsageError if the tokenizer is not the one that a model was trained with.

    Call it before loading: a file that is whole but another one is a mistake, not damage.
    """
    found = tokenizer_sha256(directory)
    if found != expected_sha256:
        read_backend(tokenizer_file(directory))
        raise UsageError(
            f"another tokenizer in {directory}: its SHA-256 is {found}, the model was trained "
            f"with {expected_sha256}. Restore the run's own tokenizer."
        )


def copy_tokenizer(source: Path, destination: Path) -> None:
    """Copy a tokenizer's own files into a run, atomically, and nothing that is beside them.

    Raises:
      UsageError: if another tokenizer was put in its place meanwhile.
    """
    with new_directory(destination) as temporary:
        names = [name for name in OWN_FILES if (source / name).is_file()]
        for name in names:
            shutil.copyfile(source / name, temporary / name)
        if (source / MANIFEST).exists():
            listed = read_manifest(source)["files"]
            if any(
                sha256_file(temporary / name) != listed[name]["sha256"]
                for name in names
                if name in listed
            ):
                raise UsageError(f"tokenizer replaced while it was read: {source}. Try again.")
        write_manifest(temporary, names, {"vocab_size": size_of(read_files(temporary)[0])})
