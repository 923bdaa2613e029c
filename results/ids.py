"""Sets of trial ids as sorted arrays.

NumPy 2.3 and later hash in ``np.unique`` and all that stands on it, which takes a second for a
million ids; sorting them takes a fiftieth of that.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.uint64]
"""Trial ids: uint64 [n], ascending, each once."""


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
