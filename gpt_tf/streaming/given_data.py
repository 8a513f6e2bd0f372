"""What a caller of Python names as data: a path or a pattern, files, or texts."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Union

from gpt_tf.arguments import path_of, several
from gpt_tf.errors import UsageError
from gpt_tf.streaming.finding import find
from gpt_tf.streaming.sources import DocumentReader
from gpt_tf.tokenizer.given import lone_surrogate
from gpt_tf.tokenizer.texts import is_path

Data = Union[str, "os.PathLike[str]", Sequence[Path], Sequence[str]]
REMEDY = "Give a folder, a file or a pattern; or a list of texts, or of Path."
TEXTS_FILE = "texts.jsonl"


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
    listed: list[Any] = list(several(data, "data", REMEDY))
    if not are_texts(listed):
        yield [Path(path) for path in listed], reader
    else:
        with tempfile.TemporaryDirectory(prefix="gpt-tf-") as folder:
            file = Path(folder) / TEXTS_FILE
            with file.open("w", encoding="utf-8") as target:
                target.writelines(json.dumps({"text": str(text)}) + "\n" for text in listed)
            yield [file], dataclasses.replace(reader, encoding="utf-8", column="text")
