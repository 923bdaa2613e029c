"""Proportions and their confidence intervals: pure functions on arrays."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def wilson(
    successes: npt.ArrayLike, trials: npt.ArrayLike, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Return the Wilson score interval of a binomial proportion.

    Unlike the Wald interval it keeps a width at 0 and at ``trials`` successes and stays within
    [0, 1]. It takes the trials as independent.

    Args:
        successes: Number of successes k, 0 <= k <= n.
        trials: Number of trials n; of a shape that broadcasts with ``successes``.
        confidence: Two-sided confidence level, strictly between 0 and 1.

    Returns:
        Lower and upper bound, float64 of the broadcast shape; exactly 0 below k = 0 and exactly 1
        above k = n; NaN where n = 0.

    Raises:
        ValueError: An argument is outside its range.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927), 209-212.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence!r}, expected a number between 0 and 1.")
    k, n = np.broadcast_arrays(
        np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    )
    if np.any((k < 0) | (k > n)):
        raise ValueError("successes must be between 0 and trials, everywhere.")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    with np.errstate(invalid="ignore"):
        centre = (k + z**2 / 2) / (n + z**2)
        half = z / (n + z**2) * np.sqrt(k * (n - k) / n + z**2 / 4)
    empty = np.where(n == 0, np.nan, 0.0)
    low = np.where(k == 0, 0.0, np.maximum(centre - half, 0.0)) + empty
    high = np.where(k == n, 1.0, np.minimum(centre + half, 1.0)) + empty
    return low, high
