"""Tokenizers of other projects, read from their files and never from code.

- `tokenizer.json`, as `tokenizers` writes it
- `vocab.json` and `merges.txt`, or OpenAI's `encoder.json` and `vocab.bpe`: byte-level BPE
- `vocab.txt`: a word a line; text is cut at white space

What a tokenizer.json may ask for is listed in `parts`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage.json_file import MAX_BYTES, plain_file, read_json
from gpt_tf.tokenizer.backend_file import read_backend, refuse_holes
from gpt_tf.tokenizer.base import (
    CONFIG_FILE,
    END_OF_TEXT,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_FILE,
    Tokenizer,
    put_before_texts,
)

BPE_FILES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
WORDS_FILE = "vocab.txt"
ADDED_TOKENS_FILE = "added_tokens.json"
ROLES = ("eos", "pad", "bos", "unk")
log = logging.getLogger(__name__)


def has_foreign_tokenizer(directory: Path) -> bool:
    """Whether one of the files that `read_foreign` reads is there."""
    names = (TOKENIZER_FILE, WORDS_FILE, *(vocabulary for vocabulary, _ in BPE_FILES))
    return any((directory / name).exists() for name in names)


def read_foreign(directory: Path, ids: Mapping[str, Any] | None = None) -> Tokenizer:
    """The tokenizer in a folder.

    Args:
      ids: role ("eos", "pad", "bos") to id, as a config.json gives them; what the tokenizer's own
        files say goes first. A pad token that is the end token counts as none.

    Raises:
      UsageError: where there is none, or one that is refused.
      RunError: where a file is damaged.
    """
    settings = _settings(directory)
    if (directory / TOKENIZER_FILE).exists():
        backend = read_backend(directory / TOKENIZER_FILE)
    elif pair := next((p for p in BPE_FILES if (directory / p[0]).exists()), None):
        backend = _byte_level(directory / pair[0], directory / pair[1], settings)
        _add_tokens(backend, directory, settings)
    elif (directory / WORDS_FILE).exists():
        backend = _words(directory / WORDS_FILE)
    else:
        raise UsageError(
            f"no tokenizer in {directory}: neither {TOKENIZER_FILE}, nor vocab.json with "
            f"merges.txt, nor {WORDS_FILE}."
        )
    refuse_holes(backend, directory)
    special = _special_tokens(backend, settings, ids or {})
    backend.add_special_tokens(sorted(set(special.values())))
    if settings.get("add_bos_token") is True and "bos" in special:
        put_before_texts(backend, special["bos"])
    return Tokenizer(backend, special)


def _settings(directory: Path) -> dict[str, Any]:
    """What the files beside the vocabulary say; tokenizer_config.json goes first."""
    settings: dict[str, Any] = {}
    for name in (SPECIAL_TOKENS_FILE, CONFIG_FILE):
        if (directory / name).exists():
            settings |= {k: v for k, v in read_json(directory / name).items() if v is not None}
    return settings


def _byte_level(vocabulary: Path, merges: Path, settings: Mapping[str, Any]) -> Backend:
    """Byte-level BPE of GPT-2's two files."""
    entries = read_json(vocabulary)
    ids = set(entries.values()) if all(type(i) is int for i in entries.values()) else set()
    if not ids or len(ids) < len(entries) or min(ids) < 0 or max(ids) >= 2**31:
        raise RunError(f"damaged vocabulary {vocabulary}: ids that repeat, or no ids.")
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(_lines(merges), 1):
        if number == 1 and line.startswith("#version"):
            continue
        left, blank, right = line.partition(" ")
        if not (left and blank and right) or " " in right:
            raise RunError(f"damaged merges in {merges}, line {number}: {line[:60]!r}.")
        pairs.append((left, right))
    try:
        model = models.BPE(entries, pairs)
    except Exception as error:  # the backend raises plain Exception
        raise RunError(f"merges in {merges} that do not fit {vocabulary}: {error}.") from error
    backend = Backend(model)
    with_blank = settings.get("add_prefix_space") is True
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=with_blank, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    return backend


def _add_tokens(backend: Backend, directory: Path, settings: Mapping[str, Any]) -> None:
    """The tokens that stand beside the vocabulary, at the ids that they are given."""
    added: dict[str, Any] = {}
    if (directory / ADDED_TOKENS_FILE).exists():
        added |= read_json(directory / ADDED_TOKENS_FILE)
    decoder = settings.get("added_tokens_decoder", {})
    for token_id, token in decoder.items() if isinstance(decoder, dict) else ():
        if isinstance(token, dict) and isinstance(token.get("content"), str) and token_id.isdigit():
            added[token["content"]] = int(token_id)
    for token, token_id in sorted(added.items(), key=lambda item: str(item[1]).zfill(12)):
        backend.add_special_tokens([AddedToken(token, special=True)])
        if backend.token_to_id(token) != token_id:
            raise UsageError(
                f"added token in {directory}: {token!r} has the id {token_id}, the vocabulary has "
                f"{backend.token_to_id(token)} for it."
            )


def _words(path: Path) -> Backend:
    """One entry a word, the id its line."""
    words = list(_lines(path))
    vocabulary = {word: i for i, word in enumerate(words)}
    if len(vocabulary) < len(words) or any(not word or len(word.split()) != 1 for word in words):
        raise RunError(f"damaged vocabulary {path}: words that repeat, or have blanks.")
    backend = Backend(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return backend


def _lines(path: Path) -> list[str]:
    """The lines of a text file, ends of any kind; a last empty one is left out."""
    size = plain_file(path).stat().st_size
    if size > MAX_BYTES:
        raise UsageError(f"file too large in {path}: {size:,} bytes, the limit is {MAX_BYTES:,}.")
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise RunError(f"no UTF-8 text in {path}: {error}.") from error
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _special_tokens(
    backend: Backend, settings: Mapping[str, Any], ids: Mapping[str, Any]
) -> dict[str, str]:
    """Role to token: named beside the vocabulary, else by the id in a config."""
    special: dict[str, str] = {}
    for role in ROLES:
        token = settings.get(f"{role}_token")
        token = token.get("content") if isinstance(token, dict) else token
        if token is None:
            listed = ids.get(role)  # there may be several end tokens
            token_id = listed[0] if isinstance(listed, list) and listed else listed
            if isinstance(token_id, int) and 0 <= token_id < 2**31:
                token = backend.id_to_token(token_id)
        if isinstance(token, str) and backend.token_to_id(token) is not None:
            special[role] = token
        elif token is not None:
            log.warning("the %s token %r is not in the vocabulary: there is none", role, token)
    if "eos" not in special and backend.token_to_id(END_OF_TEXT) is not None:
        special["eos"] = END_OF_TEXT
    if special.get("pad") == special.get("eos"):
        special.pop("pad", None)
    return special
