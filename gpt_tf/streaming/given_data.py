"""What a caller of Python names as data: a path or a pattern, files, or texts."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Union

from gpt_tf.arguments import path_of, several
from gpt_tf.errors import UsageError
from gpt_tf.streaming.finding import find
from gpt_tf.streaming.kinds import kind_of
from gpt_tf.streaming.sources import DocumentReader
from gpt_tf.tokenizer.given import lone_surrogate
from gpt_tf.tokenizer.texts import LONGEST_PATH, is_path

Data = Union[str, "os.PathLike[str]", Sequence[Path], Sequence[str]]
REMEDY = "Give a folder, a file or a pattern; or a list of texts, or of Path."
TEXTS_FILE = "texts.jsonl"


def listed(data: Any) -> list[Any]:
    """The texts, or the paths, in `data`, in order.

    Raises:
      UsageError: for a set or a mapping, for a file that is there twice, and for
        what `are_texts` refuses.
    """
    if isinstance(data, (set, frozenset, Mapping)):
        raise UsageError(f"no order in data: a {type(data).__name__}. {REMEDY}")
    given = list(several(data, "data", REMEDY))
    if not are_texts(given):
        seen: set[str] = set()
        for path in map(os.path.abspath, given):
            if path in seen:
                raise UsageError(f"a file is twice in data: {path}. Leave one out.")
            seen.add(path)
    return given


def are_texts(data: Sequence[Path] | Sequence[str]) -> bool:
    """Whether the things in a list are texts and not the paths of files.

    A list of `str` are texts, a list of `Path` are files.

    Raises:
      UsageError: for a list of both, or of anything else, and for strings that all exist as paths.
    """
    texts = [each for each in data if isinstance(each, str)]
    others = [each for each in data if not isinstance(each, str)]
    wrong = next((each for each in others if not isinstance(each, os.PathLike)), None)
    if wrong is not None:
        raise UsageError(f"neither text nor path in data: {wrong!r:.60}. {REMEDY}")
    if texts and others:
        raise UsageError(
            f"both str and Path in data, such as {texts[0]!r:.60} and {str(others[0])!r:.60}. "
            "Give a list of str, which are texts, or of Path, which are files."
        )
    if texts and all(map(is_path, texts)):
        raise UsageError(
            f"paths instead of texts in data: {texts[0]!r:.60} and all others exist as files. "
            "Give a list of Path: [Path(name) for name in names]."
        )
    are_names = all(len(text) <= LONGEST_PATH and kind_of(text) for text in texts)
    if are_names and (there := next(filter(is_path, texts), None)):
        raise UsageError(
            f"paths instead of texts in data: {there!r:.60} exists as a file, and all others are "
            "called like files. Give a list of Path: [Path(name) for name in names]."
        )
    if found := lone_surrogate(texts):
        raise found
    return bool(texts)


@contextmanager
def files_of(data: Data, reader: DocumentReader) -> Iterator[tuple[list[Path], DocumentReader]]:
    """The files of some data, and how documents are found in them; texts have one meanwhile.

    Raises:
      UsageError: if there are no such files, or `data` are neither a path nor a list of texts or
        of paths.
    """
    if isinstance(data, (str, os.PathLike)):
        path = path_of(data, "data")
        assert path is not None, "it was given"
        yield find(path).files, reader
        return
    given = listed(data)
    if not given or not isinstance(given[0], str):
        yield [Path(path) for path in given], reader
    else:
        with tempfile.TemporaryDirectory(prefix="gpt-tf-") as folder:
            file = Path(folder) / TEXTS_FILE
            with file.open("w", encoding="utf-8") as target:
                target.writelines(json.dumps({"text": str(text)}) + "\n" for text in given)
            yield [file], dataclasses.replace(reader, encoding="utf-8", column="text")
