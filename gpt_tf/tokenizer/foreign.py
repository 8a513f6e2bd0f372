"""Tokenizers of other projects, read from their files and never from code.

- `tokenizer.json`, as `tokenizers` writes it
- `vocab.json` and `merges.txt`, or OpenAI's `encoder.json` and `vocab.bpe`: byte-level BPE
- `vocab.txt`: WordPiece if the files name BERT's tokenizer; otherwise a word a line, and text is
  cut at white space

transformers puts them together, so that a text has the ids that it has there. What a tokenizer.json
may ask for is listed in `parts`.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from gpt_tf.errors import RunError, UsageError
from gpt_tf.tokenizer.backend_file import raise_others, refuse_holes
from gpt_tf.tokenizer.base import END_OF_TEXT, Tokenizer, put_before_texts
from gpt_tf.tokenizer.files import CONFIG_FILE, TOKENIZER_FILE
from gpt_tf.tokenizer.foreign_files import (
    AS_IT_IS,
    BPE_FILES,
    BYTE_LEVEL,
    SENTENCEPIECE_FILES,
    WORDPIECE,
    WORDS_FILE,
    Found,
    find_files,
)
from gpt_tf.tokenizer.ordinary_text import unknown_id_of
from gpt_tf.tokenizer.parts import check_parts
from gpt_tf.tokenizer.round_trip import what_is_lost

ROLES = ("eos", "pad", "bos", "unk")
# Roles for which a class has its own token, which is left out if the vocabulary lacks it.
LEFT_OUT = {WORDPIECE: ("pad", "mask"), **dict.fromkeys(BYTE_LEVEL, ROLES)}
log = logging.getLogger(__name__)


def has_foreign_tokenizer(directory: Path) -> bool:
    """Whether there is a file that `read_foreign` reads, or refuses by name."""
    names = (TOKENIZER_FILE, WORDS_FILE, *(first for first, _ in BPE_FILES), *SENTENCEPIECE_FILES)
    return any((directory / name).exists() for name in names)


def refuse_foreign(directory: Path) -> None:
    """Raise UsageError for a tokenizer that must be imported, as it is in no tokenizer.json."""
    if has_foreign_tokenizer(directory) and not (directory / TOKENIZER_FILE).is_file():
        remedy = shlex.join(["gpt-tf", "import", str(directory)])
        raise UsageError(
            f"no {TOKENIZER_FILE} in {directory}. Make one of its other files with `{remedy}`, and "
            "give what that prints with --tokenizer; of a run, its folder tokenizer."
        )


def read_foreign(directory: Path, ids: Mapping[str, Any] | None = None) -> Tokenizer:
    """The tokenizer in a folder.

    Args:
      ids: role ("eos", "pad", "bos") to id, as a config.json gives them; what the tokenizer's own
        files say goes first. A pad token that is the end token counts as none.

    Raises:
      UsageError: if there is none, or one that is refused.
      RunError: if a file is damaged.
    """
    found = find_files(directory)
    settings = found.settings()
    backend, named_special = _put_together(directory, found)
    _check_added(directory, found, backend)
    refuse_holes(backend, directory)
    special = _special_tokens(backend, settings, ids or {})
    _make_special(backend, {*special.values(), *named_special})
    if settings.get("add_bos_token") is True and "bos" in special:
        put_before_texts(backend, special["bos"])
    tokenizer = Tokenizer(backend, special)
    if lost := what_is_lost(tokenizer):
        log.warning("the tokenizer in %s: %s", directory, lost)
    return tokenizer


def _put_together(directory: Path, found: Found) -> tuple[Backend, list[str]]:
    """The backend that transformers makes of the files, and what it takes for special tokens."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # of PyTorch's absence
    import transformers

    of_class: Any = getattr(transformers, found.class_name)
    found.options.update(_left_out(found))
    try:
        with TemporaryDirectory() as folder:
            found.write(Path(folder))
            theirs = of_class.from_pretrained(folder, local_files_only=True)
    except BaseException as error:
        raise_others(error)
        file = "merges and vocabulary" if found.merges is not None else "tokenizer"
        raise RunError(
            f"{file} in {_vocabulary_file(directory, found)} that do not fit {found.class_name}: "
            f"{error}. Get the files again."
        ) from error
    backend = theirs.backend_tokenizer
    pipeline = json.loads(backend.to_str())
    check_parts(pipeline, directory)
    if found.steps is not None and found.class_name != AS_IT_IS:
        _check_same_steps(directory, found, pipeline)
    return backend, [str(token) for token in theirs.all_special_tokens]


def _vocabulary_file(directory: Path, found: Found) -> Path:
    if found.merges is not None:
        return next(
            directory / merges for first, merges in BPE_FILES if (directory / first).exists()
        )
    return directory / (TOKENIZER_FILE if (directory / TOKENIZER_FILE).exists() else WORDS_FILE)


def _left_out(found: Found) -> dict[str, None]:
    """The roles whose token neither the files name nor the vocabulary has."""
    import inspect

    import transformers

    added = found.added_tokens or {}
    decoder = found.options.get("added_tokens_decoder")
    listed = decoder.values() if isinstance(decoder, dict) else ()
    contents = {token.get("content") for token in listed if isinstance(token, dict)}
    parameters = inspect.signature(getattr(transformers, found.class_name)).parameters
    left_out: dict[str, None] = {}
    for role in LEFT_OUT.get(found.class_name, ()):
        key = f"{role}_token"
        usual = parameters[key].default if key in parameters else None
        there = usual in found.vocabulary or usual in added or usual in contents
        if key not in found.settings() and not there:
            left_out[key] = None
    return left_out


def _check_same_steps(directory: Path, found: Found, pipeline: Mapping[str, Any]) -> None:
    """Raise UsageError if a class of transformers does not do what its tokenizer.json says."""
    said = json.loads(found.steps.to_str()) if found.steps is not None else {}
    for section in ("normalizer", "pre_tokenizer", "decoder"):
        ours, theirs = (_without_offsets(each.get(section), section) for each in (said, pipeline))
        if ours != theirs:
            raise UsageError(
                f"{section} in {directory / TOKENIZER_FILE} is not that of tokenizer_class "
                f"{found.class_name}. To take the file as it is, set tokenizer_class to {AS_IT_IS} "
                f"in {CONFIG_FILE}."
            )


def _without_offsets(step: Any, section: str) -> Any:
    """A step without the options that change neither ids nor texts."""
    if isinstance(step, list):
        return [_without_offsets(part, section) for part in step]
    if not isinstance(step, dict):
        return step
    if section == "decoder" and step.get("type") == "ByteLevel":
        return "ByteLevel"
    return {k: _without_offsets(v, section) for k, v in step.items() if k != "trim_offsets"}


def _check_added(directory: Path, found: Found, backend: Backend) -> None:
    """Raise UsageError if a token beside the vocabulary did not get the id that it is given."""
    decoder = found.options.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        given = [(token["content"], int(token_id)) for token_id, token in decoder.items()]
    else:
        given = list((found.added_tokens or {}).items())
    for token, token_id in given:
        if backend.token_to_id(token) != token_id:
            raise UsageError(
                f"added token in {directory}: {token!r} has the id {token_id}, the vocabulary has "
                f"{backend.token_to_id(token)} for it. Correct the id."
            )


def _make_special(backend: Backend, tokens: Iterable[str]) -> None:
    """Mark tokens as special; how they are matched beside blanks stays."""
    added = {token.content: token for token in backend.get_added_tokens_decoder().values()}
    for content in sorted(tokens):
        token = added.get(content) or AddedToken(content, normalized=False)
        if not token.special and backend.token_to_id(content) is not None:
            token.special = True
            backend.add_special_tokens([token])


def _special_tokens(
    backend: Backend, settings: Mapping[str, Any], ids: Mapping[str, Any]
) -> dict[str, str]:
    """Role to token: named beside the vocabulary, otherwise by the id in a config."""
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
    unknown_id = unknown_id_of(backend.model)
    added = backend.get_added_tokens_decoder()
    if "unk" not in special and unknown_id in added and added[unknown_id].special:
        special["unk"] = added[unknown_id].content
    if special.get("pad") == special.get("eos"):
        special.pop("pad", None)
    return special
