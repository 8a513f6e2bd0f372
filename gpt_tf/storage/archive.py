"""Unpacking an archive from a stranger: plain files only, within limits, nothing outside.

`tarfile` parses the headers; every decision is made here, and its own `data_filter` (PEP 706) is
asked as a second opinion. The archive is read once, front to back:

1. the decompressor checks the stream's own checksum, to its last byte;
2. each header may take at most `HEADER_LIMIT` bytes, so that none can fill the memory;
3. each member's type and name are checked, wanted or not;
4. bytes are counted as they come out of the decompressor, whatever the header says;
5. the end mark of the archive must be there: `tarfile` alone takes a cut or a broken header for
   the end.
"""

from __future__ import annotations

import gzip
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage.archive_names import Names, refusal

Progress = Callable[[int, int | None], None]

BLOCK = 512  # bytes; tar is made of such blocks and ends with two of zeros (POSIX.1-2001, ustar)
HEADER_LIMIT = 256 * 1024  # bytes of one member's headers, and of the zeros after the end
CHUNK = 1024 * 1024  # bytes read at a time

_DAMAGE = (
    tarfile.TarError,
    EOFError,
    lzma.LZMAError,
    zlib.error,
    gzip.BadGzipFile,
    ValueError,
    OverflowError,
    RecursionError,
)


def extract(
    archive: Path,
    destination: Path,
    *,
    wanted: Callable[[str], bool] | None = None,
    max_files: int,
    max_bytes: int,
    progress: Progress | None = None,
) -> int:
    """Unpack a .tar, .tar.gz or .tar.xz below `destination`; returns the number of files written.

    The kind of archive is recognized by its first bytes, not by its name. `wanted` is asked with
    each file's cleaned name (no leading ``./``). `max_files` counts all members, `max_bytes` the
    bytes of all files, wanted or not. `progress` receives (bytes of the archive read, its size).

    Files get mode 0644 and the member's time stamp, folders 0755. `destination` must be a folder
    that the caller throws away when this raises: `storage.folders.new_directory`.

    Raises:
        UsageError: there is no such archive, or it is damaged, too large, or holds anything but
            plain files and folders with harmless names.
        RunError: the disk is full or fails.
    """
    if not hasattr(tarfile, "data_filter"):
        raise RunError(
            "no safe extraction filter in this Python's tarfile. "
            "Use Python 3.10.12, 3.11.4 or newer (PEP 706)."
        )
    if not archive.is_file():
        raise UsageError(f"no archive in {str(archive)!r}. Give the path of a .tar.gz or .tar.xz.")
    size = archive.stat().st_size
    names = Names(archive)
    written = members = total_bytes = 0
    with _open(archive) as (raw, meter):
        for tar, member in _members(archive, meter):
            members += 1
            if members > max_files:
                raise refusal(archive, member.name, f"is beyond the limit of {max_files:,} files")
            name = names.admit(member, destination)
            if member.isdir():
                _make_folder(destination, name)
                continue
            target = destination / name if wanted is None or wanted(name) else None
            total_bytes += _copy(archive, tar, member, target, destination, max_bytes - total_bytes)
            written += target is not None
            if progress is not None:
                progress(raw.tell(), size)
    return written


class _Meter:
    """The decompressed stream, with a limit on what parsing may read and the last block kept."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.allowance: int | None = None  # bytes; None: no limit here, the reader counts
        self.last = b""

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        if self.allowance is not None:
            self.allowance -= len(data)
            if self.allowance < 0:
                raise tarfile.ReadError(f"more than {HEADER_LIMIT:,} bytes where a header belongs")
        self.last = data
        return data


@contextmanager
def _open(archive: Path) -> Iterator[tuple[IO[bytes], _Meter]]:
    """The raw file, whose position is the progress, and its decompressed contents."""
    with archive.open("rb") as raw:
        magic = raw.read(6)
        raw.seek(0)
        if magic.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=raw) as unzipped:
                yield raw, _Meter(unzipped)  # type: ignore[arg-type]
        elif magic == b"\xfd7zXZ\0":
            with lzma.LZMAFile(raw) as unpacked:
                yield raw, _Meter(unpacked)
        else:
            yield raw, _Meter(raw)


def _members(archive: Path, meter: _Meter) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Each member, in order; afterwards the end of the archive is checked."""
    meter.allowance = HEADER_LIMIT
    with _reading(archive):
        # Blocks are read one by one, so that `meter.last` is the block the parser stopped at.
        tar = tarfile.open(  # noqa: SIM115  (it holds nothing that needs closing)
            mode="r|", fileobj=meter, bufsize=BLOCK
        )  # type: ignore[call-overload]
    while True:
        meter.allowance = HEADER_LIMIT
        with _reading(archive):
            member = tar.next()
        if member is None:
            break
        meter.allowance = None
        yield tar, member
    with _reading(archive):
        _check_end(meter)


def _check_end(meter: _Meter) -> None:
    zeros = bytes(BLOCK)
    if meter.last != zeros or meter.read(BLOCK) != zeros:
        raise tarfile.ReadError("the mark of the archive's end is missing: cut short?")
    while padding := meter.read(BLOCK):
        if padding.strip(b"\0"):
            raise tarfile.ReadError("there is data after the archive's end")


def _make_folder(destination: Path, name: str) -> None:
    """Create `name` and its parents below `destination`, each with mode 0755."""
    folder = destination
    for part in name.split("/"):
        folder = folder / part
        if part and not folder.is_dir():
            folder.mkdir()
            folder.chmod(0o755)  # mkdir's own mode is cut by the umask


def _copy(
    archive: Path,
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    target: Path | None,
    destination: Path,
    max_bytes: int,
) -> int:
    """Read one file, into `target` unless that is None; returns its bytes."""
    sink = None
    copied = 0
    try:
        if target is not None:
            if not target.parent.is_dir():
                _make_folder(destination, target.parent.relative_to(destination).as_posix())
            # O_EXCL: what is there already, a link too, is never written through.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
            sink = os.fdopen(os.open(target, flags, 0o644), "wb")
        with _reading(archive):
            source = tar.extractfile(member)
        assert source is not None  # it is a regular file
        while True:
            with _reading(archive):
                data = source.read(min(CHUNK, max_bytes - copied + 1))
            copied += len(data)
            if copied > max_bytes:
                raise refusal(archive, member.name, "is beyond the limit of bytes: a bomb?")
            if not data:
                break
            if sink is not None:
                sink.write(data)
        if sink is not None and target is not None:
            os.fchmod(sink.fileno(), 0o644)
            sink.close()
            os.utime(target, (member.mtime, member.mtime))
    except OSError as error:
        raise RunError(
            f"cannot write a member of {str(archive)!r} to {str(target)!r}: {error.strerror}. "
            "See that the disk has room and is writable."
        ) from error
    finally:
        if sink is not None:
            sink.close()
    return copied


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """What the parser and the decompressor raise, as one kind of error, and what the disk does."""
    try:
        yield
    except _DAMAGE as error:
        raise UsageError(
            f"damaged or not a tar archive in {str(archive)!r}: {error}. Get it again."
        ) from error
    except OSError as error:
        raise RunError(f"cannot read {str(archive)!r}: {error}. Get it again.") from error
