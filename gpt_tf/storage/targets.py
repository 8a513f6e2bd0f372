"""What may be written where: one place that decides which folders and files may be replaced.

A target folder is new, empty, or holds nothing but plain files that its own readable manifest
lists. A target file is new, or a plain file that the user told us to overwrite. Everything else
belongs to others, and is refused with `--overwrite` too. What is refused changes nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from gpt_tf.errors import UsageError
from gpt_tf.storage import atomic
from gpt_tf.storage.manifest import own_files
from gpt_tf.storage.names import is_unicode, refuse_long

MAX_LINKS = 40  # followed in a row, as Linux does
NEW = "Choose a new folder"
PROCESSES = Path("/proc")


def check_folder(
    path: Path,
    option: str | None = None,
    *,
    overwrite: bool | None = True,
    own: Collection[str] = (),
) -> None:
    """Raise UsageError unless a folder can be put at `path` without loss.

    Args:
      path: the folder to be written.
      option: or argument that named it; a folder inside a run is refused then, too.
      overwrite: if False, a folder that gpt-tf wrote is refused as well; an empty one is always
        accepted. None if the option's command cannot replace one.
      own: names of files that are ours even if the manifest is missing or damaged: of a folder
        whose place is not chosen by the user.
    """
    place = f" in {option}" if option else ""
    _check_place(path, place)
    mode = _mode(path)
    if mode and not stat.S_ISDIR(mode):
        what = "a link" if stat.S_ISLNK(mode) else "not a folder"
        raise UsageError(f"{what}{place}: {path}. {'Move it away' if own else NEW}.")
    is_empty = not mode or not any(path.iterdir())
    foreign = None if is_empty else first_foreign(path, own)
    if foreign is not None:
        raise UsageError(
            f"folder with other files{place}: {path} holds {foreign}, which gpt-tf did not write "
            f"there. {'Move it away' if own else f'{NEW}, or move the files away'}."
        )
    if option:
        refuse_in_run(path, option)
    if not (overwrite or is_empty):
        remedy = f"Choose a new folder, or replace it with {_overwrite(option)}."
        if overwrite is None:
            remedy = f"Choose another {option}."
        raise UsageError(f"folder in use{place}: {path}. {remedy}")


def _overwrite(option: str | None) -> str:
    """How the caller who gave this option, or argument of a function, says it."""
    return "--overwrite" if option and option.startswith("-") else "overwrite=True"


def first_foreign(directory: Path, own: Collection[str] = ()) -> str | None:
    """The first entry of a folder that gpt-tf did not write, by its relative name; None if all
    are plain files that the folder's manifest or `own` names, or folders of such files.
    """
    listed = {*own, *own_files(directory)}
    folders = {str(parent) for name in listed for parent in Path(name).parents}
    for name, mode in _entries(directory):
        if not (name in folders if stat.S_ISDIR(mode) else name in listed and stat.S_ISREG(mode)):
            return name
    return None


def check_file(path: Path, option: str, *, overwrite: bool) -> Path:
    """The plain file to write for an option: `path`, or what it links to.

    Args:
      overwrite: a plain file that is there may be replaced.

    Raises:
      UsageError: if something else is there, if there is no folder to write it in, or if that is
        part of a run.
    """
    refuse_long(path.name, f" in {option}")
    target = _followed(path, option)
    mode = _mode(target)
    if mode and not stat.S_ISREG(mode):
        raise UsageError(f"not a plain file in {option}: {path}. Choose another name.")
    refuse_in_run(path, option)
    if mode and not overwrite:
        raise UsageError(
            f"file exists in {option}: {path}. Choose another name, or replace it with "
            f"{_overwrite(option)}."
        )
    if not target.parent.is_dir():
        raise UsageError(f"no such folder in {option}: {target.parent}. Make it first.")
    if not atomic.can_write(target.parent) or (mode and not os.access(target, os.W_OK)):
        raise UsageError(f"no permission to write in {option}: {path}. Choose another name.")
    return target


def write_file(path: Path, option: str, data: bytes, *, overwrite: bool) -> None:
    """Write the file that an option names, atomically: links stay, and the mode is kept.

    Raises:
      UsageError: as `check_file`; call that before the work as well.
      RunError: if the disk is full or fails; what was there is intact.
    """
    target = check_file(path, option, overwrite=overwrite)
    try:
        atomic.write_bytes(target, data, replace=overwrite)
    except atomic.DiskError as error:
        if isinstance(error.__cause__, FileExistsError):  # another process made it meanwhile
            check_file(path, option, overwrite=overwrite)
        raise


def _followed(path: Path, option: str) -> Path:
    """What `path` links to, in the end; itself if it is not a link."""
    for _ in range(MAX_LINKS):
        path = Path(os.path.realpath(path.parent)) / path.name
        if PROCESSES in path.parents:  # as /dev/stdout: a file of that name is not what is meant
            raise UsageError(
                f"an open file of a process in {option}: {path}. Use - for standard output."
            )
        if not path.is_symlink():
            return path
        path = path.parent / path.readlink()
    raise UsageError(f"links in a circle in {option}: {path}. Choose another name.")


def _entries(directory: Path, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Relative name and mode of everything below a folder, sorted; links are not followed."""
    for path in sorted((directory / prefix).iterdir()):
        relative, mode = f"{prefix}{path.name}", path.lstat().st_mode
        yield relative, mode
        if stat.S_ISDIR(mode):
            yield from _entries(directory, f"{relative}/")


def _mode(path: Path) -> int:
    """The mode of what is at `path`, a link's own; 0 if nothing is there."""
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _check_place(path: Path, place: str) -> None:
    """Raise UsageError if no folder can be at `path`, whatever is there."""
    if not is_unicode(str(path.absolute())):
        raise UsageError(
            f"name that is not UTF-8{place}: {path}. Choose another: TensorFlow and tokenizers "
            "cannot write there."
        )
    refuse_long(path.name, place)
    here = Path.cwd().resolve()
    if Path(os.path.realpath(path)) in (here, *here.parents):
        raise UsageError(
            f"the current folder, or one above it{place}: {str(path)!r}. Choose a new one."
        )
    above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not above.is_dir():
        raise UsageError(f"not a folder: {above}. Move it away, or choose another place.")


def refuse_in_run(path: Path, option: str) -> None:
    """Raise UsageError if what an option or argument names is a run, or in one."""
    if run := run_around(path):
        raise UsageError(
            f"part of a run in {option}: {path} belongs to {run}. Choose another folder."
        )


def run_around(path: Path) -> Path | None:
    """The run directory that `path` is, or is in; a project with a workspace in it is none."""
    path = path.resolve()
    for folder in (path, *path.parents):
        has_settings = (folder / "checkpoints").is_dir() and (folder / "config.yaml").is_file()
        if has_settings and not (folder / "runs").is_dir():
            return folder
    return None
