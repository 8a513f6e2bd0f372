"""Paths as a workspace records them: what lies inside is relative, so that a workspace can move."""

from __future__ import annotations

import os
from pathlib import Path


def recorded(path: Path, workspace: Path) -> str:
    """`path`, which may be a pattern, as it is recorded: relative to the workspace if inside.

    >>> recorded(Path("/home/me/work/texts/*.txt"), Path("/home/me/work"))
    'texts/*.txt'
    >>> recorded(Path("/home/me/texts"), Path("/home/me/work"))
    '/home/me/texts'
    """
    # As they were named: a link inside the workspace leads on after a move.
    named, home = (Path(os.path.normpath(each.absolute())) for each in (path, workspace))
    if named.is_relative_to(home):
        return str(named.relative_to(home))
    real, home = path.resolve(), workspace.resolve()
    return str(real.relative_to(home) if real.is_relative_to(home) else real)


def found(record: str, workspace: Path) -> Path:
    """The path that was recorded; one that lies outside is absolute in the record."""
    return workspace / record
