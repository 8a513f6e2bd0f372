"""Entries of the tables that the parts of a model are chosen from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

V = TypeVar("V")


def by_name(table: Mapping[str, V], name: str, argument: str) -> V:
    """The entry that an argument names. Raises ValueError if there is none."""
    if name not in table:
        raise ValueError(f"{argument} must be one of {', '.join(table)}. Received: {name!r}.")
    return table[name]
