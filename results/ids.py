"""Sets of trial ids as sorted arrays.

NumPy 2.3 and later hash in ``np.unique`` and all that stands on it, which takes a second for a
million ids; sorting them takes a fiftieth of that.

In JSON an id is a text: most readers of JSON take numbers for doubles, which have 53 bits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.uint64]
"""Trial ids: uint64 [n], ascending, each once."""


def as_texts(ids: npt.NDArray[np.uint64]) -> list[str]:
    """Return ids, uint64 [n], as JSON holds them."""
    return [str(trial_id) for trial_id in ids.tolist()]


def from_json(values: Sequence[object]) -> npt.NDArray[np.uint64]:
    """Return ids that JSON holds, uint64 [n]: as texts, or as numbers, which they used to be.

    Raises:
        ValueError: One is neither.
    """
    for value in values:
        if not (type(value) is int or (isinstance(value, str) and re.fullmatch("[0-9]+", value))):
            raise ValueError(f"trial ids are {values!r}, expected texts of numbers of 64 bits")
    try:
        return np.array([int(value) for value in values], np.uint64)  # type: ignore[call-overload]
    except OverflowError:
        raise ValueError(f"trial ids are {values!r}, expected numbers of 64 bits") from None


def parsed(given: float | str) -> int | None:
    """Return the whole number that a trial is asked for by, also one like 1.8e19; None if none."""
    try:
        number = Decimal(given.strip() if isinstance(given, str) else int(given))
    except (InvalidOperation, TypeError, ValueError, OverflowError):
        return None
    return int(number) if number.is_finite() and abs(number) < 2**65 else None


def rounded_to(ids: Ids, number: int) -> Ids:
    """Return those of ``ids`` that are told as ``number`` by those who keep numbers as doubles."""
    same: npt.NDArray[np.bool_] = ids.astype(np.float64) == float(number)
    return ids[same & (number >= 2**53)]


def ascending(ids: npt.NDArray[np.uint64]) -> Ids:
    """Return ``ids``, uint64 [n], sorted and each once."""
    ordered = np.sort(ids)
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def union(*sets: Ids) -> Ids:
    """Return the ids that are in any of ``sets``."""
    return ascending(np.concatenate(sets))


def difference(ids: Ids, others: Ids) -> Ids:
    """Return those of ``ids`` that are not among ``others``."""
    return ids[~contains(others, ids)]


def contains(ids: Ids, wanted: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Tell for each of ``wanted``, uint64 [m], whether it is among ``ids``.

    Returns:
        bool [m].
    """
    if len(ids) == 0:
        return np.zeros(len(wanted), np.bool_)
    places = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    found: npt.NDArray[np.bool_] = ids[places] == wanted
    return found
