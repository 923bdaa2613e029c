"""Confidence intervals of proportions and of their differences: pure functions on arrays."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Interval = tuple[Floats, Floats]
"""Lower and upper bounds, float64 of one shape."""


def wilson(successes: npt.ArrayLike, trials: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the Wilson score interval of a binomial proportion.

    Unlike the Wald interval it keeps a width at 0 and at ``trials`` successes and stays within
    [0, 1]. It takes the trials as independent.

    Args:
        successes: Number of successes k, 0 <= k <= n; with an effective sample size it need not be
            whole.
        trials: Number of trials n; of a shape that broadcasts with ``successes``.
        confidence: Two-sided confidence level, strictly between 0 and 1.

    Returns:
        Lower and upper bound, float64 of the broadcast shape; exactly 0 below k = 0 and exactly 1
        above k = n; NaN where n = 0.

    Raises:
        ValueError: An argument is outside its range.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22 (1927), 209-212.

    Examples:
        >>> from results.statistics import wilson
        >>> low, high = wilson([0, 5], [100, 100])
        >>> low.round(3), high.round(3)
        (array([0.   , 0.022]), array([0.037, 0.112]))
    """
    k, n = _counts(successes, trials)
    z = normal_quantile(confidence)
    with np.errstate(invalid="ignore"):
        centre = (k + z**2 / 2) / (n + z**2)
        half = z / (n + z**2) * np.sqrt(k * (n - k) / n + z**2 / 4)
    empty = np.where(n == 0, np.nan, 0.0)
    low = np.where(k == 0, 0.0, np.maximum(centre - half, 0.0)) + empty
    high = np.where(k == n, 1.0, np.minimum(centre + half, 1.0)) + empty
    return low, high


def square_and_add(
    rate_a: npt.ArrayLike,
    interval_a: tuple[npt.ArrayLike, npt.ArrayLike],
    rate_b: npt.ArrayLike,
    interval_b: tuple[npt.ArrayLike, npt.ArrayLike],
) -> Interval:
    """Return the interval of ``rate_b - rate_a`` for two estimates that are independent.

    With Wilson's intervals it is Newcombe's; it is too wide, not too narrow, where the estimates
    are positively correlated.

    Args:
        rate_a: The first rate; all arguments are of shapes that broadcast.
        interval_a: Its bounds, at the confidence level wanted for the difference.
        rate_b: The second rate.
        interval_b: Its bounds.

    Returns:
        Lower and upper bound of the difference, float64 of the broadcast shape, within -1 and 1.

    Sources: R. G. Newcombe, "Interval estimation for the difference between independent
    proportions: comparison of eleven methods", Statistics in Medicine 17 (1998), 873-890, method
    10; G. Y. Zou and A. Donner, "Construction of confidence limits about effect measures: a general
    approach", Statistics in Medicine 27 (2008), 1693-1702, for other intervals.
    """
    a, b = np.asarray(rate_a, np.float64), np.asarray(rate_b, np.float64)
    (low_a, high_a), (low_b, high_b) = (
        [np.asarray(bound, np.float64) for bound in interval]
        for interval in (interval_a, interval_b)
    )
    difference = b - a
    low: Floats = difference - np.hypot(b - low_b, high_a - a)
    high: Floats = difference + np.hypot(high_b - b, a - low_a)
    return low, high


def paired_t(differences: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Return Student's t interval of the mean of paired differences.

    Args:
        differences: float64 [..., n], one a pair, NaN where a pair is missing; the mean is over
            the last axis.
        confidence: Two-sided confidence level, strictly between 0 and 1.

    Returns:
        Lower and upper bound of the mean, float64 [...]; NaN where there are fewer than two pairs.

    Raises:
        ValueError: ``confidence`` is outside its range.

    Source: Student, "The probable error of a mean", Biometrika 6 (1908), 1-25.
    """
    from scipy.special import stdtrit

    values = np.asarray(differences, np.float64)
    there = ~np.isnan(values)
    n = there.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, values, 0.0).sum(axis=-1) / n
        squares = np.where(there, values - mean[..., None], 0.0) ** 2
        error = np.sqrt(squares.sum(axis=-1) / (n - 1) / n)
        half = stdtrit(n - 1, 0.5 + check_confidence(confidence) / 2) * error
    return mean - half, mean + half


def normal_quantile(confidence: float) -> float:
    """Return how many standard deviations hold ``confidence`` of a normal distribution: 1.96."""
    return NormalDist().inv_cdf(0.5 + check_confidence(confidence) / 2)


def check_confidence(confidence: float) -> float:
    """Return ``confidence``.

    Raises:
        ValueError: It is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence!r}, expected a number between 0 and 1.")
    return confidence


def _counts(successes: npt.ArrayLike, trials: npt.ArrayLike) -> tuple[Floats, Floats]:
    k, n = np.broadcast_arrays(
        np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    )
    if np.any((k < 0) | (k > n)):
        raise ValueError("successes must be between 0 and trials, everywhere.")
    return k, n
