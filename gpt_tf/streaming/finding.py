"""Which data files a path, a folder or a pattern names, and what is left out of them.

A file list is sorted by the bytes of the path, so that it is the same on every file system.
"""

from __future__ import annotations

import codecs
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from gpt_tf.errors import UsageError
from gpt_tf.storage.manifest import own_files
from gpt_tf.streaming.files import DocumentError, is_folder, not_plain, open_bytes
from gpt_tf.streaming.kinds import KINDS_IN_WORDS, kind_of
from gpt_tf.streaming.own_work import is_own_folder, is_users_own

WILDCARDS = "*?["
LIST = ".files"  # a text file of that suffix lists data files: a path a line, from its own folder
LONGEST_LIST, LONGEST_PATH = 64 * 1024 * 1024, 4096  # bytes
NAMED = 6  # kinds of what was left out
HIDDEN, OWN, LINKS, NO_SUFFIX = (
    "hidden",
    "written by gpt-tf",
    "links to folders",
    "without a suffix",
)


@dataclass(frozen=True)
class Found:
    """The data files of a source.

    Attributes:
      left_out: how many files and folders are not data, by kind.
    """

    files: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def describe_left_out(self) -> str:
        """What was left out, for people.

        >>> Found(left_out=Counter({"*.md": 3, "hidden": 2})).describe_left_out()
        'left out: 3 *.md, 2 hidden'
        """
        return f"left out: {by_number(self.left_out)}" if self.left_out else ""


def by_number(kinds: Counter[str]) -> str:
    """How many there are of each kind, the most frequent first.

    >>> by_number(Counter({"*.txt": 1200, "*.csv": 1}))
    '1,200 *.txt, 1 *.csv'
    """
    ordered = kinds.most_common()
    named = [f"{count:,} {kind}" for kind, count in ordered[:NAMED]]
    if rest := sum(count for _, count in ordered[NAMED:]):
        named.append(f"{rest:,} of other kinds")
    return ", ".join(named)


def find(source: Path) -> Found:
    """The data files that `source` names: itself, all below it, in its list, or of its pattern.

    Sorted by the bytes of their relative path. A file is taken if it is named itself. Otherwise
    hidden ones, other kinds and what gpt-tf wrote are left out, and links to folders not followed.

    Raises:
      UsageError: if there is no such file, or its name does not say what kind it is.
      DocumentError: if an entry with the name of a data file is not a regular file, or is a link
        out of the folder, and if a folder or a list cannot be read.
    """
    if not source.is_dir() and not is_pattern(source):
        return Found(_listed(source) if source.suffix == LIST else [_the_file(source)])
    root, pattern = split_pattern(source)
    if not root.is_dir():
        raise UsageError(f"no such directory: {root}, of the pattern {source}.")
    found = Found()
    target = root.resolve()
    for path in _matching(root, pattern, found.left_out):
        _refuse_odd(path)
        if path.is_symlink() and not path.resolve().is_relative_to(target):
            raise DocumentError(f"link out of {root}: {str(path)!r}. Copy the file there.")
        found.files.append(path)
    if not found.files:
        where = "directory" if source == root else "pattern"
        left_out = found.describe_left_out()
        remedy = " Name the file or the folder that has your own text." if left_out else ""
        raise UsageError(
            f"no *.txt files in {where}: {source} (looked for {KINDS_IN_WORDS})"
            f"{'; ' if left_out else ''}{left_out}.{remedy}"
        )
    found.files.sort(key=lambda path: os.fsencode(path.relative_to(root)))
    return found


def refuse_users_data(folder: Path) -> None:
    """Raise if a folder that gpt-tf is about to write in is the user's own and holds data.

    Raises:
      UsageError: naming it.
    """
    if not is_users_own(folder):
        return
    try:
        find(folder)
    except UsageError:  # of another program, but no data
        return
    except DocumentError:  # something odd is in it
        pass
    raise UsageError(
        f"a folder of your own in {folder}: it holds data, and gpt-tf writes nothing into it. "
        "Rename it, or work in another folder."
    )


def is_pattern(source: Path) -> bool:
    """True for `books/*.txt`, if no file has that very name."""
    return not os.path.lexists(source) and any(char in str(source) for char in WILDCARDS)


def split_pattern(source: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder that a pattern begins in, and its parts from the first wildcard on.

    A part that exists by exactly that name is not a wildcard. Of a folder: itself, and the
    pattern of everything below it.

    >>> split_pattern(Path("a/b/**/c/*.txt"))
    (PosixPath('a/b'), ('**', 'c', '*.txt'))
    """
    if not is_pattern(source):
        return source, ("**", "*")
    root, parts = Path(), list(source.parts)
    while not is_pattern(root / parts[0]):
        root /= parts.pop(0)
    return root, (*parts, "*") if parts[-1] == "**" else tuple(parts)


def _matching(root: Path, pattern: tuple[str, ...], left_out: Counter[str]) -> set[Path]:
    """The data files that match `pattern` below `root`; `**` stands for any folders, also none.

    Args:
      left_out: counts what is not taken.
    """
    found: set[Path] = set()
    others: dict[Path, str] = {}
    folders: dict[Path, list[os.DirEntry[str]]] = {}
    pending = {(root, pattern)}
    seen = set(pending)
    while pending:
        folder, (head, *rest) = pending.pop()
        below = set()
        if head == "**":
            below.add((folder, tuple(rest)))
        if folder not in folders:
            folders[folder] = list(_entries(folder, others))
        for entry in _named(folders[folder], head, others):
            path = Path(entry)
            is_below = entry.is_dir(follow_symlinks=False)
            if head == "**":
                if is_below:
                    below.add((path, (head, *rest)))
            elif rest:
                if is_below:
                    below.add((path, tuple(rest)))
            elif kind_of(entry.name):
                found.add(path)
            elif not is_below:
                others[path] = LINKS if is_folder(entry) else _suffix(entry.name)
        pending |= below - seen
        seen |= below
    left_out.update(others.values())
    return found


def _named(
    entries: list[os.DirEntry[str]], head: str, others: dict[Path, str]
) -> Iterator[os.DirEntry[str]]:
    """The entries that a part of a pattern means: the one of that very name, or all that match."""
    exact = [entry for entry in entries if entry.name == head]
    for entry in exact or entries:
        if not exact and entry.name.startswith(".") and not head.startswith("."):
            if head == "**" or fnmatchcase(entry.name, head):
                others[Path(entry)] = HIDDEN
        elif exact or head == "**" or fnmatchcase(entry.name, head):
            yield entry


def _entries(folder: Path, others: dict[Path, str]) -> Iterator[os.DirEntry[str]]:
    """What is in a folder and was not written by gpt-tf."""
    try:
        with os.scandir(folder) as scanned:
            entries = list(scanned)
    except OSError as error:
        raise DocumentError(f"cannot read {str(folder)!r}: {error.strerror}.") from error
    names = {entry.name for entry in entries}
    if is_own_folder(folder, names):
        others[folder] = OWN
        return
    ours = own_files(folder)
    for entry in entries:
        if entry.name in ours:
            others[Path(entry)] = OWN
        else:
            yield entry


def _suffix(name: str) -> str:
    """What a file's name says of its kind.

    >>> _suffix("page.HTML"), _suffix("README")
    ('*.html', 'without a suffix')
    """
    suffix = Path(name).suffix.lower()
    return f"*{suffix}" if suffix else NO_SUFFIX


def _listed(source: Path) -> list[Path]:
    """The files that a list names."""
    if not os.path.lexists(source):
        raise UsageError(f"no such list of files: {source}.")
    with open_bytes(source) as file:
        content = file.read(LONGEST_LIST + 1)
    # no other line ends: U+2028, a vertical tab or a form feed may be in the name of a file
    text = content.removeprefix(codecs.BOM_UTF8)
    lines = [line.removesuffix(b"\r") for line in text.split(b"\n")]
    if len(content) > LONGEST_LIST or b"\0" in content or max(map(len, lines)) > LONGEST_PATH:
        raise UsageError(
            f"no list of files in {source}: it is binary or too large. Write the path of a file "
            "in each line."
        )
    files = [
        _the_file(source.parent / os.fsdecode(line), f" in line {number} of the list {source}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not files:
        raise UsageError(f"no files in the list {source}. Write the path of a file in each line.")
    if len({path.resolve() for path in files}) < len(files):
        raise UsageError(f"a file is twice in the list {source}. Leave one out.")
    return sorted(files, key=os.fsencode)


def folder_of(source: Path, files: Sequence[Path]) -> Path:
    """The folder that the files of a source are in, some perhaps below it."""
    if source.suffix == LIST and source.is_file():
        return Path(os.path.commonpath([path.parent for path in files]))
    root, _ = split_pattern(source)
    return root


def _the_file(path: Path, named_in: str = "") -> Path:
    if not os.path.lexists(path):
        raise UsageError(
            f"no such directory{named_in}: {path}, nor such a file ({KINDS_IN_WORDS})."
        )
    if named_in and path.is_dir():
        raise UsageError(f"a folder{named_in}: {path}. Write the paths of its files.")
    if kind_of(path.name) is None:
        raise UsageError(f"unknown kind of file{named_in}: {path}. Name it {KINDS_IN_WORDS}.")
    _refuse_odd(path)
    return path


def _refuse_odd(path: Path) -> None:
    if not path.is_file():  # a FIFO would block the reader for ever
        raise not_plain(path)
