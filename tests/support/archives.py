"""Archives for the tests, and those that a stranger might send."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

MTIME = 1_300_000_000  # seconds: March 2011
LIMITS: dict[str, Any] = {"max_files": 100, "max_bytes": 1_000_000}
Member = tuple[tarfile.TarInfo, bytes]


def plain(name: str, data: bytes = b"text", **fields: Any) -> Member:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), MTIME, 0o777
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def special(name: str, kind: bytes, linkname: str = "") -> Member:
    return plain(name, b"", type=kind, linkname=linkname)


def write_tar(path: Path, members: list[Member], mode: str = "w") -> Path:
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return path


def tar_bytes(*members: Member, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def scan(folder: Path, but: Path) -> dict[str, tuple[int, ...]]:
    """Inode, mode, size, links and time of all below `folder`, except below `but`."""
    return {
        str(path): (stat.st_ino, stat.st_mode, stat.st_size, stat.st_nlink, stat.st_mtime_ns)
        for path in folder.rglob("*")
        if but not in (path, *path.parents)
        for stat in [path.lstat()]
    }


HOSTILE: dict[str, tuple[Callable[[Path], list[Member]], str]] = {
    "parent": (lambda out: [plain("../outside.txt")], "leaves"),
    "parent inside": (lambda out: [plain("a/../../outside.txt")], "leaves"),
    "absolute": (lambda out: [plain(str(out / "outside.txt"))], "absolute"),
    "symlink": (lambda out: [special("l", tarfile.SYMTYPE, str(out))], "a link to"),
    "symlink inside": (lambda out: [special("l", tarfile.SYMTYPE, "x")], "a link to"),
    "hard link": (lambda out: [special("l", tarfile.LNKTYPE, str(out / "secret"))], "a link to"),
    "write through a link": (
        lambda out: [special("d", tarfile.SYMTYPE, ".."), plain("d/outside.txt")],
        "a link to",
    ),
    "character device": (lambda out: [special("null", tarfile.CHRTYPE)], "not a plain file"),
    "block device": (lambda out: [special("disk", tarfile.BLKTYPE)], "not a plain file"),
    "fifo": (lambda out: [special("pipe", tarfile.FIFOTYPE)], "not a plain file"),
    "unknown type": (lambda out: [special("odd", b"Z")], "not a plain file"),
    "bomb of bytes": (lambda out: [plain("bomb", bytes(1_000_001))], "limit of bytes"),
    "bomb of bytes in sum": (
        lambda out: [plain(f"bomb{i}", bytes(300_000)) for i in range(4)],
        "limit of bytes",
    ),
    "bomb of files": (lambda out: [plain(f"{i}", b"") for i in range(101)], "limit of 100 files"),
    "bomb of folders": (
        lambda out: [special(f"{i}", tarfile.DIRTYPE) for i in range(101)],
        "limit of 100 files",
    ),
    "case clash": (lambda out: [plain("Readme"), plain("README")], "clashes with 'Readme'"),
    "folder case clash": (lambda out: [plain("a/x"), plain("A/y")], "clashes with 'a'"),
    "composed clash": (lambda out: [plain("caf\u00e9"), plain("cafe\u0301")], "clashes with"),
    "the same file twice": (lambda out: [plain("x"), plain("./x")], "clashes with 'x'"),
    "a file for a folder": (lambda out: [plain("x"), plain("x/y")], "clashes with 'x'"),
    "escape sequence": (lambda out: [plain("a\x1b[2Jb")], "control characters"),
    "line end": (lambda out: [plain("a\nb")], "control characters"),
    "C1 control": (lambda out: [plain("a\x9bb")], "control characters"),
    "NUL": (lambda out: [plain("x", pax_headers={"path": "a\0b"})], "control characters"),
    "not UTF-8": (lambda out: [plain("a\udcffb")], "not UTF-8"),
    "long name": (lambda out: [plain("a" * 1025)], "1,024 bytes"),
    "no name": (lambda out: [plain("x", pax_headers={"path": ""})], "empty name"),
    "impossible time": (lambda out: [plain("x", pax_headers={"mtime": "nan"})], "impossible"),
}
