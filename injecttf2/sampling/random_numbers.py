"""Random numbers whose arithmetic is written down, from the 64-bit words of Philox.

NumPy keeps the words of a bit generator as they are for ever, but not what the methods of
``Generator`` make of them, so whole numbers are made here. Each function says which words it
reads, in order; so everything can be computed again by any program that knows Philox4x64-10.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SMALLEST = 2.0**-54
"""Stands for the uniform number 0 where its quantile would be infinite."""


def uniform(source: np.random.Philox, rows: int, columns: int) -> npt.NDArray[np.float64]:
    """Return uniform numbers in [0, 1), [rows, columns]: the upper 53 bits of a word each."""
    return np.random.Generator(source).random((rows, columns))


def distinct(source: np.random.Philox, count: int, below: int) -> npt.NDArray[np.int64]:
    """Return ``count`` different whole numbers from 0 to ``below`` - 1, every set equally likely.

    Of each word the upper b bits count, b the fewest that can hold ``below - 1``; a number that
    is too large, or was there before, is passed over. Words are read until ``count`` numbers are
    found. Where more than half of all numbers are asked for, the others are found in this way.

    Args:
        source: Where words are read.
        count: At most ``below``.
        below: At most 2^63.

    Returns:
        int64 [count], ascending.
    """
    if count > below - count:
        chosen = np.ones(below, bool)
        chosen[distinct(source, below - count, below)] = False
        return np.flatnonzero(chosen)
    shift = np.uint64(64 - (below - 1).bit_length())
    found = [np.empty(0, np.int64)]
    missing = count
    while missing:  # as many words as numbers are missing are never too many
        numbers = (source.random_raw(missing) >> shift).view(np.int64)
        new = np.sort(numbers[numbers < below])  # np.unique would hash them, which takes far longer
        new = new[np.diff(new, prepend=-1) > 0]
        for earlier in found:
            new = new[~_is_in(new, earlier)]
        found.append(new)
        missing -= len(new)
    return np.sort(np.concatenate(found))


def _is_in(numbers: npt.NDArray[np.int64], known: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return for each number whether it is in ``known``; both ascending."""
    if not len(known):
        return np.zeros(len(numbers), bool)
    place = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    same: npt.NDArray[np.bool_] = known[place] == numbers
    return same


def binomial(number: float, trials: int, chance: float) -> int:
    """Return how many of ``trials`` succeed, from one uniform number, by inversion.

    At least k succeed where the number is below the chance of that, the regularised incomplete
    beta function I_chance(k, trials - k + 1) (NIST DLMF, 8.17.5). So one trial succeeds where
    the number is below its chance, and more succeed as the chance grows.

    Args:
        number: In [0, 1).
        trials: 0 or more.
        chance: Of each trial, in [0, 1].
    """
    from scipy.special import betainc  # takes long to load

    number = max(number, SMALLEST)
    least, most = 0, trials
    while least < most:
        middle = (least + most + 1) // 2
        if number < betainc(middle, trials - middle + 1, chance):
            least = middle
        else:
            most = middle - 1
    return least
