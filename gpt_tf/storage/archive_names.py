"""Which members of an archive from a stranger may be unpacked: plain files with harmless names."""

from __future__ import annotations

import tarfile
import unicodedata
from pathlib import Path

from gpt_tf.errors import UsageError

NAME_LIMIT = 1024  # bytes of a member's name
NEWEST_MTIME = 2**33  # seconds since 1970: the year 2242, what a ustar header can hold


class Names:
    """The names met so far, to refuse one that a careless file system would take for another."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.taken: dict[str, str] = {}  # case-folded, composed name -> the name itself
        self.folders: set[str] = set()

    def admit(self, member: tarfile.TarInfo, destination: Path) -> str:
        """The member's clean name; raises UsageError when its type or name is not harmless."""
        complaint = _type_complaint(member) or _name_complaint(member.name)
        if complaint:
            raise refusal(self.archive, member.name, complaint)
        try:
            tarfile.data_filter(member, str(destination))
        except tarfile.FilterError as error:
            raise refusal(self.archive, member.name, f"is refused: {error}") from error
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        name = "/".join(parts)
        for depth in range(1, len(parts)):
            self._claim("/".join(parts[:depth]), is_folder=True)
        self._claim(name, is_folder=member.isdir())
        return name

    def _claim(self, name: str, is_folder: bool) -> None:
        """Take `name`; only a folder may be met again, spelled the same."""
        if is_folder and name in self.folders:
            return
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        if folded in self.taken:
            raise refusal(self.archive, name, f"clashes with {self.taken[folded]!r}")
        self.taken[folded] = name
        if is_folder:
            self.folders.add(name)


def _type_complaint(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return f"is a link to {member.linkname[:NAME_LIMIT]!r}"
    if not member.isdir() and (not member.isreg() or member.issparse()):
        return "is not a plain file or folder (a device, a FIFO, a sparse file)"
    if member.size < 0 or not 0 <= member.mtime < NEWEST_MTIME:
        return f"has an impossible size or time: {member.size} bytes, {member.mtime} s"
    return ""


def _name_complaint(name: str) -> str:
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name):
        return "has control characters or bytes that are not UTF-8 in its name"
    if not name or len(name.encode()) > NAME_LIMIT:
        return f"has an empty name or one of more than {NAME_LIMIT:,} bytes"
    if name.startswith("/"):
        return "has an absolute name"
    if ".." in name.split("/"):
        return "leaves the destination"
    return ""


def refusal(archive: Path, name: str, reason: str) -> UsageError:
    """The error that refuses a member of an archive."""
    return UsageError(
        f"refused member in {str(archive)!r}: {name[:NAME_LIMIT]!r} {reason}. "
        "Use an archive from the publisher."
    )
