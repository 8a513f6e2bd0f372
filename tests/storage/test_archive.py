"""Archives from strangers: what is extracted, and what never is (FAULTS.md, X5)."""

import gzip
import os
import resource
import tarfile
from pathlib import Path

import pytest
from archives import HOSTILE, LIMITS, MTIME, plain, scan, special, tar_bytes, write_tar

from gpt_tf.errors import RunError, UsageError
from gpt_tf.storage.archive import CHUNK, extract


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


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_are_refused(tmp_path: Path, what: str) -> None:
    members, complaint = HOSTILE[what]
    destination = tmp_path / "in" / "out"
    destination.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    archive = write_tar(tmp_path / "hostile.tar.gz", [plain("first"), *members(tmp_path)], "w:gz")
    before = scan(tmp_path, but=destination)
    with pytest.raises(UsageError, match=complaint) as error:
        extract(archive, destination, **LIMITS)
    assert scan(tmp_path, but=destination) == before
    assert repr(str(archive)) in str(error.value)
    assert str(error.value).isprintable()  # names are repr-escaped
    assert not [path for path in destination.rglob("*") if path.is_symlink()]


def test_the_members_nobody_wants_are_judged_and_counted_too(tmp_path: Path) -> None:
    for members in (HOSTILE["symlink"][0], HOSTILE["bomb of bytes"][0]):
        archive = write_tar(tmp_path / "hostile.tar.xz", members(tmp_path), "w:xz")
        with pytest.raises(UsageError):
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
    with pytest.raises(UsageError, match="'bomb' is beyond the limit of bytes"):
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
    with pytest.raises(UsageError, match="where a header belongs"):
        extract(archive, tmp_path, **LIMITS)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
@pytest.mark.parametrize("size", [0, 512])
def test_a_chain_of_headers_is_refused(tmp_path: Path, kind: bytes, size: int) -> None:
    info = tarfile.TarInfo("header of a header")
    info.type, info.size = kind, size
    archive = tmp_path / "chain.tar"
    archive.write_bytes((info.tobuf() + bytes(size)) * 20_000)
    with pytest.raises(UsageError, match="damaged"):
        extract(archive, tmp_path, **LIMITS)


def test_sparse_files_are_refused(tmp_path: Path) -> None:
    info, data = plain("hole", b"x" * 512, type=tarfile.GNUTYPE_SPARSE)
    archive = tmp_path / "sparse.tar"
    archive.write_bytes(tar_bytes((info, data), format=tarfile.GNU_FORMAT))
    with pytest.raises(UsageError, match="sparse"):
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
        with pytest.raises((UsageError, RunError)):
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
        with pytest.raises(UsageError, match=r"damaged or not a tar archive in .*cut"):
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
        except UsageError:
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
    with pytest.raises(UsageError, match="end is missing"):
        extract(archive, tmp_path, **LIMITS)


def test_two_archives_in_one_file_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "two.tar"
    archive.write_bytes(tar_bytes(plain("a")) + tar_bytes(plain("b")))
    with pytest.raises(UsageError, match="data after"):
        extract(archive, tmp_path, **LIMITS)


@pytest.mark.parametrize("contents", [b"", b"no archive\n" * 100, b"PK\3\4" + bytes(2000)])
def test_other_files_are_refused(tmp_path: Path, contents: bytes) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(contents)
    with pytest.raises(UsageError, match="not a tar archive"):
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
