"""Values as a script has them, turned into those that a YAML file could hold.

A campaign from Python is then the same, with the same ids and the same ``campaign.json``, whatever
its numbers were kept in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from enum import Enum
from itertools import islice
from typing import Any

import numpy as np

MOST = 100_000
"""Entries of a list; what has more is left as it is, and refused where a list is expected."""


def plain_values(value: Any) -> Any:
    """Return a value made of text, numbers, booleans, None, lists and mappings.

    NumPy's scalars become Python's, arrays, pandas' series, ranges, sets (sorted, since they have
    no order), iterators and other sequences lists, paths texts and enumerations their values; so do
    those inside of lists and mappings. All else is left as it is, arrays of two and more dimensions
    among it: what they might mean, nobody can tell.
    """
    if isinstance(value, Enum):
        return plain_values(value.value)
    if isinstance(value, np.generic) or (hasattr(value, "__array__") and _dimensions(value) == 0):
        return np.asarray(value).item()
    if isinstance(value, os.PathLike):
        return _path(os.fspath(value))
    if value is None or isinstance(value, str | bytes | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {plain_values(key): plain_values(item) for key, item in value.items()}
    items = _items(value)
    return value if items is None else [plain_values(item) for item in items]


def _items(value: Any) -> Iterable[Any] | None:
    """Return what is in a list by another name; None where it is none."""
    if isinstance(value, Iterator):
        return _drawn(value)
    if not isinstance(value, Sequence | AbstractSet | ValuesView) and _dimensions(value) != 1:
        return None
    if len(value) > MOST:
        return None
    return _sorted(value) if isinstance(value, set | frozenset) else _listed(value)


def _listed(value: Any) -> list[Any]:
    """Return the entries; pandas' own lists keep whole numbers beside missing ones."""
    if hasattr(value, "__array__") and not hasattr(value, "tolist"):
        value = np.asarray(value)
    return list(value.tolist() if hasattr(value, "tolist") else value)


def _drawn(iterator: Iterator[Any]) -> list[Any] | None:
    """Return all that an iterator gives; None where it has no end, or gives data."""
    found = []
    for item in islice(iterator, MOST + 1):
        if isinstance(item, list | tuple) or _dimensions(item):
            return None
        found.append(item)
    return found if len(found) <= MOST else None


def _dimensions(value: Any) -> int:
    return len(getattr(value, "shape", ()))


def _sorted(values: AbstractSet[Any]) -> list[Any]:
    """Return the values of a set in an order that does not depend on the process."""
    try:
        return sorted(values, key=lambda value: (isinstance(value, str), value))
    except TypeError:
        return sorted(values, key=repr)


def _path(path: str | bytes) -> str | bytes:
    """Return a path as a source names it: a single word might be the name of something builtin."""
    if isinstance(path, str) and re.fullmatch(r"[\w-]+", path):
        return f"./{path}"
    return path
