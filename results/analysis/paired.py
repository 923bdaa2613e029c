"""Differences between cells that share their sites, from the trials that they have in common."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from results.statistics.intervals import Floats, paired_t

PAIRED = "paired t"
"""The method of a difference that was found trial by trial."""

MIN_PAIRS = 10
"""Trials that two cells share, and in which either shows the outcome, for them to be compared
trial by trial: with fewer, Student's t is wide, and not to be trusted near a rate of 0."""

AT_ONCE = 2_000_000
"""How many pairs of trials are compared at once, which bounds the memory."""


def paired_differences(
    counts: tuple[Floats, Floats], sizes: tuple[Floats, Floats], confidence: float
) -> tuple[dict[str, Floats], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the differences of cells from the trials that they share.

    Args:
        counts: Of first and second cells, float64 [pairs, repetitions], NaN where there is no
            trial.
        sizes: The same for the injected samples.
        confidence: Confidence level of the bounds.

    Returns:
        ``rate_a``, ``rate_b``, ``difference``, ``low`` and ``high``, float64 [pairs] each; how many
        trials are shared, int64 [pairs]; whether in at least ``MIN_PAIRS`` of them either cell has
        a count, bool [pairs].
    """
    missing = np.isnan(counts[0] + counts[1])
    rate, linear = [], []
    for count, size in zip(counts, sizes, strict=True):
        k, m = np.where(missing, 0.0, count), np.where(missing, 0.0, size)
        with np.errstate(invalid="ignore", divide="ignore"):
            rate.append(k.sum(1) / m.sum(1))
            # A cell's rate is a ratio of sums; this is what each trial adds to its error.
            mean = m.sum(1) / (~missing).sum(1)
            linear.append((k - rate[-1][:, None] * m) / mean[:, None])
    middle = rate[1] - rate[0]
    each = np.where(missing, np.nan, middle[:, None] + linear[1] - linear[0])
    low, high = paired_t(each, confidence)
    seen = ~missing & ((counts[0] > 0) | (counts[1] > 0))
    told = {
        "rate_a": rate[0],
        "rate_b": rate[1],
        "difference": middle,
        "low": np.maximum(low, -1.0),
        "high": np.minimum(high, 1.0),
    }
    return told, (~missing).sum(1).astype(np.int64), seen.sum(1) >= MIN_PAIRS
