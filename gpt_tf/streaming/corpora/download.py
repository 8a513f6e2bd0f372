"""One file from the network, taken only when it is exactly the file that was published."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage.archive import Progress
from gpt_tf.storage.atomic import fsync_path, temporary_name
from gpt_tf.storage.flock import writing_in
from gpt_tf.storage.manifest import sha256_file

CHUNK = 256 * 1024  # bytes read at a time
TIMEOUT = 60.0  # seconds without a byte from the server


@dataclass(frozen=True)
class RemoteFile:
    """Where a file is published, and how to know it."""

    url: str
    size: int  # bytes
    sha256: str  # hexadecimal

    @property
    def name(self) -> str:
        """The file's name, the last part of its URL."""
        return self.url.rsplit("/", 1)[-1]


def download(remote: RemoteFile, folder: Path, progress: Progress, remedy: str) -> Path:
    """`remote` below `folder`, fetched unless it is there already; returns its path.

    It grows under a temporary name and gets its own only when size and SHA-256 are right; a file
    that is not is deleted. `progress` receives (bytes read, bytes in all). `remedy` ends each
    error message.

    Raises:
        UsageError: another file has its name.
        RunError: no network, a broken connection, a wrong size or a wrong SHA-256.
    """
    destination = folder / remote.name
    if is_the_file(remote, destination):
        return destination
    if os.path.lexists(destination):
        raise UsageError(f"another file in {destination}: it is not {remote.url}. Move it away.")
    folder.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(destination)
    with writing_in(folder):
        try:
            size, sha256 = _fetch(remote, temporary, progress, remedy)
            found = f"{size:,} bytes" if size <= remote.size else "more"
            _check(remote, "size", f"{remote.size:,} bytes", found, remedy)
            _check(remote, "SHA-256", remote.sha256, sha256, remedy)
            temporary.replace(destination)
        finally:
            temporary.unlink(missing_ok=True)
    fsync_path(folder)
    return destination


def is_the_file(remote: RemoteFile, path: Path) -> bool:
    """Whether `path` is the published file, by size and SHA-256."""
    is_alike = path.is_file() and path.stat().st_size == remote.size
    return is_alike and sha256_file(path) == remote.sha256


def _fetch(remote: RemoteFile, path: Path, progress: Progress, remedy: str) -> tuple[int, str]:
    """Write the answer to `path`, no more than a byte beyond the size; (bytes, SHA-256)."""
    sha256 = hashlib.sha256()
    size = 0
    try:
        response = urllib.request.urlopen(remote.url, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()  # it is an answer too
        raise _failure(remote, error, remedy) from error
    except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
        raise _failure(remote, error, remedy) from error
    with response, path.open("wb") as file:
        while size <= remote.size:
            try:
                data = response.read(min(CHUNK, remote.size - size + 1))
            except (OSError, http.client.HTTPException) as error:
                raise _failure(remote, error, remedy) from error
            if not data:
                break
            file.write(data)
            sha256.update(data)
            size += len(data)
            progress(min(size, remote.size), remote.size)
        file.flush()
        os.fsync(file.fileno())
    return size, sha256.hexdigest()


def _failure(remote: RemoteFile, error: Exception, remedy: str) -> RunError:
    reason = error.reason if type(error) is urllib.error.URLError else error
    return RunError(f"download failed from {remote.url}: {str(reason) or repr(reason)}. {remedy}")


def _check(remote: RemoteFile, what: str, expected: str, found: str, remedy: str) -> None:
    if expected != found:
        raise RunError(
            f"wrong {what} in {remote.url}: expected {expected}, found {found} (deleted). {remedy}"
        )
