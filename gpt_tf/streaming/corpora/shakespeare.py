"""Tiny Shakespeare: one text of 1,115,394 characters, its last tenth for validation."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from pathlib import Path

from gpt_tf.errors import UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.folders import parents_of
from gpt_tf.streaming.corpora.corpus import publish
from gpt_tf.streaming.corpora.download import RemoteFile, download, is_the_file
from gpt_tf.streaming.corpora.preparing import PrepareReport, ReportRow, locked_corpus
from gpt_tf.streaming.corpora.reviews import ProgressBar, no_progress

# Karpathy's char-rnn; the SHA-256 as the package tensorflow-datasets lists it.
TINY_SHAKESPEARE = RemoteFile(
    url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    size=1_115_394,
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)
TRAINING_SHARE = 0.9  # the split in common use: 1,003,854 and 111,540 characters
PARTS = "parts"
GZIP_MAGIC = b"\x1f\x8b"


def prepare_tinyshakespeare(
    workspace: Path,
    *,
    archive: Path | None = None,
    progress: ProgressBar = no_progress,
    original: RemoteFile = TINY_SHAKESPEARE,
) -> PrepareReport:
    """Bring the text to ``data/tinyshakespeare/input.txt`` and write its two parts.

    Args:
        workspace: the folder that holds ``data/``.
        archive: the text, gzipped or plain; without it `original` is downloaded.
        progress: makes a progress bar, as `gpt_tf.cli.console.progress_bar` does.
        original: the published text; what is brought must be exactly this.

    Raises:
        UsageError: `archive` cannot be read or is another text; another `prepare` at work.
        RunError: a failed download.
    """
    with locked_corpus(workspace, "tinyshakespeare", PARTS) as directory:
        path = directory / original.name
        reused = is_the_file(original, path)
        if not reused and os.path.lexists(path):
            raise UsageError(f"another text in {path}. Move it away.")
        if not reused and archive is not None:
            atomic.write_bytes(path, _read_archive(archive, original))
        elif not reused:
            with progress(f"downloading {original.name}", "bytes") as bar:
                download(original, directory, bar, "Give the file with --archive FILE.")
        text = path.read_text("utf-8")
        cut = int(TRAINING_SHARE * len(text))
        parts = {"train": text[:cut], "validation": text[cut:]}
        names = {split: f"{PARTS}/{split}.txt" for split in parts}
        for split, part in parts.items():
            with parents_of(directory / names[split]):
                _write_once(directory / names[split], part)
        splits = {split: [name] for split, name in names.items()} | {"test": []}
        corpus = publish(directory, "shakespeare-best", splits, {"share": 1 - TRAINING_SHARE})
        rows = [ReportRow(split, PARTS, 1, len(part.encode()), 0) for split, part in parts.items()]
        return PrepareReport(corpus, tuple(rows), reused)


def _write_once(path: Path, text: str) -> None:
    """Write a text, unless it is there. Raises UsageError if something else is."""
    if not os.path.lexists(path):
        atomic.write_text(path, text)
    elif path.is_symlink() or not path.is_file() or path.read_bytes() != text.encode():
        raise UsageError(f"another text in {path}. Move it away.")


def _read_archive(archive: Path, original: RemoteFile) -> bytes:
    """The text in a plain or gzipped file. Raises UsageError if it is another one."""
    try:
        contents = archive.read_bytes()
        if contents.startswith(GZIP_MAGIC):
            contents = gzip.decompress(contents)
    except OSError as error:
        raise UsageError(f"cannot read the text in {str(archive)!r}: {error}.") from error
    except (EOFError, zlib.error) as error:
        raise UsageError(f"damaged file in {str(archive)!r}: {error}. Fetch it again.") from error
    found = hashlib.sha256(contents).hexdigest()
    if found != original.sha256:
        raise UsageError(
            f"another text in {str(archive)!r}: its SHA-256 is {found}, tiny Shakespeare's "
            f"{original.sha256}. Train on a text of your own with `gpt-tf train --data FILE "
            "--train-tokenizer`."
        )
    return contents
