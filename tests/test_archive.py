"""Archives from strangers: what is extracted, and what never is (FAULTS.md, X5)."""

import gzip
import io
import os
import resource
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage.archive import CHUNK, extract

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


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar.xz", "w:xz")],
)
def test_files_arrive_with_their_text_time_and_mode(tmp_path: Path, name: str, mode: str) -> None:
    folder = special("./reviews", tarfile.DIRTYPE)
    members = [folder, plain("./reviews/pos/0_9.txt", b"good"), plain("README", b"")]
    archive = write_tar(tmp_path / name, members, mode)
    destination = tmp_path / "out"
    destination.mkdir()
    calls: list[tuple[int, int | None]] = []
    umask = os.umask(0o077)
    try:
        count = extract(
            archive, destination, **LIMITS, progress=lambda done, total: calls.append((done, total))
        )
    finally:
        os.umask(umask)
    assert count == 2
    assert files_below(destination) == {"reviews/pos/0_9.txt": b"good", "README": b""}
    stat = (destination / "reviews/pos/0_9.txt").stat()
    assert (stat.st_mtime, stat.st_mode & 0o7777) == (MTIME, 0o644)
    assert (destination / "reviews").stat().st_mode & 0o7777 == 0o755
    assert (destination / "reviews/pos").stat().st_mode & 0o7777 == 0o755
    assert [total for _, total in calls] == [archive.stat().st_size] * 2
    assert 0 < calls[-1][0] <= archive.stat().st_size


def test_only_wanted_files_are_written(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", [plain("./a/x.txt"), plain("a/x.feat"), plain("y")])
    asked: list[str] = []

    def wanted(name: str) -> bool:
        asked.append(name)
        return name.endswith(".txt")

    (tmp_path / "out").mkdir()
    assert extract(archive, tmp_path / "out", wanted=wanted, **LIMITS) == 1
    assert asked == ["a/x.txt", "a/x.feat", "y"]
    assert files_below(tmp_path / "out") == {"a/x.txt": b"text"}


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


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_are_refused(tmp_path: Path, what: str) -> None:
    members, complaint = HOSTILE[what]
    destination = tmp_path / "in" / "out"
    destination.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    archive = write_tar(tmp_path / "hostile.tar.gz", [plain("first"), *members(tmp_path)], "w:gz")
    before = scan(tmp_path, but=destination)
    with pytest.raises(RunError, match=complaint) as error:
        extract(archive, destination, **LIMITS)
    assert scan(tmp_path, but=destination) == before
    assert repr(str(archive)) in str(error.value)
    assert str(error.value).isprintable()  # names are repr-escaped
    assert not [path for path in destination.rglob("*") if path.is_symlink()]


def test_the_members_nobody_wants_are_judged_and_counted_too(tmp_path: Path) -> None:
    for members in (HOSTILE["symlink"][0], HOSTILE["bomb of bytes"][0]):
        archive = write_tar(tmp_path / "hostile.tar.xz", members(tmp_path), "w:xz")
        with pytest.raises(RunError):
            extract(archive, tmp_path, wanted=lambda name: False, **LIMITS)


def test_a_bomb_stops_early(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.tar.gz"
    info, _ = plain("bomb")
    info.size = 2**40  # claimed; the archive holds 200 MB, and breaks off
    with gzip.open(archive, "wb", compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(200):
            file.write(bytes(1_000_000))
    destination = tmp_path / "out"
    destination.mkdir()
    with pytest.raises(RunError, match="'bomb' is beyond the limit of bytes"):
        extract(archive, destination, **LIMITS)
    assert (destination / "bomb").stat().st_size <= LIMITS["max_bytes"] + CHUNK


def test_a_header_cannot_fill_the_memory(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.tar.gz"
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 2**33 - 1
    with gzip.open(archive, "wb", compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(50):
            file.write(bytes(1_000_000))
    with pytest.raises(RunError, match="where a header belongs"):
        extract(archive, tmp_path, **LIMITS)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
@pytest.mark.parametrize("size", [0, 512])
def test_a_chain_of_headers_is_refused(tmp_path: Path, kind: bytes, size: int) -> None:
    info = tarfile.TarInfo("header of a header")
    info.type, info.size = kind, size
    archive = tmp_path / "chain.tar"
    archive.write_bytes((info.tobuf() + bytes(size)) * 20_000)
    with pytest.raises(RunError, match="damaged"):
        extract(archive, tmp_path, **LIMITS)


def test_sparse_files_are_refused(tmp_path: Path) -> None:
    info, data = plain("hole", b"x" * 512, type=tarfile.GNUTYPE_SPARSE)
    archive = tmp_path / "sparse.tar"
    archive.write_bytes(tar_bytes((info, data), format=tarfile.GNU_FORMAT))
    with pytest.raises(RunError, match="sparse"):
        extract(archive, tmp_path / "out", **LIMITS)


def test_what_is_there_is_never_written_through(tmp_path: Path) -> None:
    destination = tmp_path / "out"
    destination.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "precious").write_text("precious")
    (destination / "mine").write_text("mine")
    (destination / "x").symlink_to(tmp_path / "precious")
    (destination / "y").symlink_to("mine")
    (destination / "d").symlink_to(tmp_path / "outside")
    for name in ("x", "y", "mine", "d/z"):
        archive = write_tar(tmp_path / "a.tar", [plain(name)])
        with pytest.raises(RunError):
            extract(archive, destination, **LIMITS)
    assert (tmp_path / "precious").read_text() == "precious"
    assert (destination / "mine").read_text() == "mine"
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_cut_archive_is_noticed_wherever_it_is_cut(tmp_path: Path, mode: str) -> None:
    whole = write_tar(
        tmp_path / "whole", [plain("a", b"a" * 600), plain("b", b""), plain("c", bytes(512))], mode
    ).read_bytes()
    useful = len(whole.rstrip(b"\0")) + 1024 if mode == "w" else len(whole)
    cuts = [*range(0, useful, 512), *range(0, useful, 41), useful - 1]
    for cut in cuts:
        archive = tmp_path / "cut"
        archive.write_bytes(whole[:cut])
        destination = tmp_path / f"out{cut}"
        destination.mkdir(exist_ok=True)
        with pytest.raises(RunError, match=r"damaged or not a tar archive in .*cut"):
            extract(archive, destination, **LIMITS)
            raise AssertionError(f"cut at {cut} of {useful}")
        for path in destination.iterdir():
            path.unlink()


def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    members = [plain("a", b"first"), plain("b", b"second")]
    whole = write_tar(tmp_path / "whole.tar.gz", members, "w:gz").read_bytes()
    noticed = 0
    for position in range(len(whole)):
        destination = tmp_path / str(position)
        destination.mkdir()
        archive = tmp_path / "flipped.tar.gz"
        archive.write_bytes(
            whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :]
        )
        try:
            extract(archive, destination, **LIMITS)
        except RunError:
            noticed += 1
        else:  # only gzip's own header has bytes that nothing depends on: name, time, system
            assert files_below(destination) == {"a": b"first", "b": b"second"}
    assert noticed > 0.8 * len(whole)


@pytest.mark.parametrize("text", [b"text", b""])
def test_a_broken_header_is_not_taken_for_the_end(tmp_path: Path, text: bytes) -> None:
    whole = bytearray(tar_bytes(plain("a"), plain("b", text)))
    whole[1024 + 148] ^= 1  # the checksum of the second header
    archive = tmp_path / "broken.tar"
    archive.write_bytes(whole)
    with pytest.raises(RunError, match="end is missing"):
        extract(archive, tmp_path, **LIMITS)


def test_two_archives_in_one_file_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "two.tar"
    archive.write_bytes(tar_bytes(plain("a")) + tar_bytes(plain("b")))
    with pytest.raises(RunError, match="data after"):
        extract(archive, tmp_path, **LIMITS)


@pytest.mark.parametrize("contents", [b"", b"no archive\n" * 100, b"PK\3\4" + bytes(2000)])
def test_other_files_are_refused(tmp_path: Path, contents: bytes) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(contents)
    with pytest.raises(RunError, match="not a tar archive"):
        extract(archive, tmp_path, **LIMITS)


def test_no_archive_is_a_usage_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tar")  # opening it would block for ever
    for name in ("missing.tar.gz", "pipe.tar", "."):
        with pytest.raises(UsageError, match="no archive in"):
            extract(tmp_path / name, tmp_path, **LIMITS)


def test_a_disk_that_takes_no_more_is_told(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", [plain("folder/x", bytes(300_000))], "w:gz")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # bytes; Python ignores SIGXFSZ
    try:
        with pytest.raises(RunError, match=r"cannot write .* to '.*folder/x': File too large"):
            extract(archive, tmp_path, **LIMITS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_in_the_way_of_a_folder_is_told(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", [plain("folder/x")])
    (tmp_path / "folder").write_text("in the way")
    with pytest.raises(RunError, match=r"cannot write .* to '.*folder/x': File exists"):
        extract(archive, tmp_path, **LIMITS)
