"""What gpt-tf itself writes into a run directory: all that it may remove, and no links.

A user's own file beside it is never removed. A run may come from elsewhere: if a file of it is
a link, what is written to the run would change a file outside.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gpt_tf.errors import UsageError
from gpt_tf.storage.atomic import TEMPORARY
from gpt_tf.storage.lock import LOCK_FILE
from gpt_tf.storage.plain import begins_with

PREVIOUS = "previous-run"  # the run that another is about to replace
SET_ASIDE = "set-aside-by-gpt-tf"  # an empty file in it: the folder is not the user's own
KEPT = (LOCK_FILE, PREVIOUS)  # neither is part of a run

_OWN = re.compile(
    r"""
    config\.yaml | source\.json | data_files\.json
    | metrics\.(jsonl | csv) | samples\.md | loss\.png | run\.log
    | events\.out\.tfevents\.\d+\.[^/\s]+
    | lock | lock-owner\.json
    | checkpoints (/ step-\d{8,} (/ (model\.safetensors | training\.safetensors | state\.json
                                     | manifest\.json) )? )?
    | tokenizer (/ (tokenizer\.json | tokenizer_config\.json | special_tokens_map\.json
                    | added_tokens\.json | chat_template\.(json|jinja) | vocab\.(json|txt)
                    | merges\.txt | manifest\.json) )?
    | engines (/ (int8 | float32)-step-\d{8,} (/ (model\.tflite | manifest\.json) )? )?
    | plugins (/ profile (/ \d{4}(_\d\d){5} (/ [^/\s]+\.xplane\.pb )? )? )?
    """,
    re.VERBOSE,
)
_FOLDERS = re.compile(
    r"checkpoints(/step-\d{8,})?|tokenizer|engines(/(int8|float32)-step-\d{8,})?"
    r"|plugins(/profile(/\d{4}(_\d\d){5})?)?|new|" + PREVIOUS  # new: one that is being claimed
)
_SWEEP = re.compile(r"sweep\.yaml|results\.json|results\.csv|heatmap\.png|lock|lock-owner\.json")


# Users make tables of this name, too; ours has the names of what is measured in its first line.
TABLE = "metrics.csv"
# A spreadsheet that saved it may have put a mark before it, and CRLF at its ends.
_HEADER = re.compile(rb"(\xef\xbb\xbf)?step(,(train|eval|perf)/\w+)*\r?\n")
_LONGEST_HEADER = 1 << 12  # bytes


def is_own_table(path: Path) -> bool:
    """Whether a table of metrics is one of gpt-tf's."""
    return begins_with(path, _HEADER, _LONGEST_HEADER)


def is_own(name: str, place: Path) -> bool:
    """Whether gpt-tf wrote what is at `place`, by its name relative to a run directory."""
    return _OWN.fullmatch(name) is not None and (name != TABLE or is_own_table(place))


def own_entries(run: Path) -> list[str]:
    """Names of what gpt-tf wrote into a run directory, what is in a folder before the folder."""
    return [name for name, _, own in _entries(run, _OWN) if own][::-1]


def own_bytes(run: Path) -> int:
    """The size of what gpt-tf wrote into a run directory."""
    sizes = 0
    for name in own_entries(run):
        with suppress(OSError):  # a trainer removed it meanwhile
            status = (run / name).lstat()
            sizes += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return sizes


def foreign_files(run: Path) -> list[str]:
    """Names in a run directory that gpt-tf did not write, relative to it."""
    return [name for name, _, own in _entries(run, _OWN) if not own]


def refuse_foreign(run: Path, remedy: str) -> None:
    """Raise UsageError if there is anything in a run directory that gpt-tf did not write."""
    foreign = foreign_files(run)
    if foreign:
        raise UsageError(f"not a file of gpt-tf in {run}: {', '.join(foreign[:5])}. {remedy}")


def refuse_links(run: Path) -> None:
    """Raise UsageError naming the first file of a run that is a link, a folder, a device or a pipe.

    The directory itself may be a link: that is its owner's choice.
    """
    _refuse_links(run, _OWN)


def refuse_links_of_sweep(sweep: Path) -> None:
    """The same for the directory of a sweep."""
    _refuse_links(sweep, _SWEEP)


def is_set_aside(run: Path) -> bool:
    """Whether `previous-run/` is there, and gpt-tf made it."""
    previous = run / PREVIOUS
    if previous.is_symlink() or not previous.is_dir():
        return False
    return (previous / SET_ASIDE).is_file() or not any(previous.iterdir())


def _refuse_links(directory: Path, names: re.Pattern[str]) -> None:
    for name, mode, own in _entries(directory, names):
        if own and not (stat.S_ISREG(mode) or (stat.S_ISDIR(mode) and _may_be_folder(name))):
            kind = "a link" if stat.S_ISLNK(mode) else "not a plain file"
            raise UsageError(
                f"{kind} in {directory}: {name}. A run holds plain files alone: put a copy of the "
                "file there, or move it away."
            )


def _may_be_folder(name: str) -> bool:
    """Whether gpt-tf makes a folder of this name in a run; in one being made, it may be any."""
    parts = name.removeprefix(f"{PREVIOUS}/").split("/")
    for place, part in enumerate(parts):
        if TEMPORARY.fullmatch(part):
            parts = [*parts[:place], part.rsplit(".", 2)[0]]  # what it will be
            break
    return _FOLDERS.fullmatch("/".join(parts)) is not None


def _entries(
    directory: Path, names: re.Pattern[str], prefix: str = ""
) -> Iterator[tuple[str, int, bool]]:
    """Every entry as (relative name, mode, whether gpt-tf wrote it), own folders entered."""
    try:
        listed = sorted(os.scandir(directory / prefix), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in listed:
        name = prefix + entry.name
        inner = name.removeprefix(f"{PREVIOUS}/")
        temporary = any(TEMPORARY.fullmatch(part) for part in name.split("/"))
        is_previous = name == PREVIOUS and is_set_aside(directory)
        own = temporary or is_previous or names.fullmatch(inner) is not None
        own |= name == f"{PREVIOUS}/{SET_ASIDE}"
        try:
            mode = entry.stat(follow_symlinks=False).st_mode
        except FileNotFoundError:  # a trainer removed it meanwhile
            continue
        if inner == TABLE and stat.S_ISREG(mode):
            own = is_own_table(directory / name)
        yield name, mode, own
        if own and stat.S_ISDIR(mode):
            yield from _entries(directory, names, f"{name}/")
