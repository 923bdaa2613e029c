"""The cluster bootstrap: an interval for outcomes that come in groups which belong together."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from results.statistics.intervals import check_confidence, clopper_pearson


def cluster_bootstrap(
    successes: npt.ArrayLike,
    sizes: npt.ArrayLike,
    confidence: float = 0.95,
    *,
    resamples: int = 1999,
) -> tuple[float, float]:
    """Return the bias-corrected and accelerated bootstrap interval of a rate over clusters.

    A fault in a weight is a cluster: it is evaluated on all samples, whose outcomes belong
    together. So whole clusters are drawn again, with replacement. The draws follow from the
    arguments: the same data have the same interval.

    Resampling cannot show what was not seen. Where all clusters have the same rate, such as 0, the
    bounds are therefore those of Clopper and Pearson, with each cluster as one trial.

    Args:
        successes: int64 [n], how many outcomes of each cluster are successes.
        sizes: int64 [n], how many outcomes each cluster has, above 0.
        confidence: Two-sided confidence level, strictly between 0 and 1.
        resamples: How often the clusters are drawn again.

    Returns:
        Lower and upper bound of the sum of successes over the sum of sizes; NaN without clusters.

    Raises:
        ValueError: An argument is outside its range.

    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, Chapman & Hall 1993,
    sections 8.3 and 14.3.
    """
    k, m = np.asarray(successes, np.int64), np.asarray(sizes, np.int64)
    if k.ndim != 1 or k.shape != m.shape:
        raise ValueError(f"successes is {k.shape}, sizes {m.shape}, expected two of one length.")
    if np.any((k < 0) | (k > m) | (m < 1)):
        raise ValueError("successes must be between 0 and sizes, and sizes above 0, everywhere.")
    if len(k) == 0 or np.ptp(k / m) == 0:
        rate = k.sum() / m.sum() if len(k) else 0.0
        low, high = clopper_pearson(rate * len(k), len(k), confidence)
        return float(low), float(high)
    from scipy.stats import bootstrap

    interval = bootstrap(
        (k, m),
        _ratio,
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, 2_000_000 // len(k)),
        confidence_level=check_confidence(confidence),
        rng=np.random.default_rng(_seed(k, m)),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _ratio(
    successes: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], axis: int = -1
) -> npt.NDArray[np.float64]:
    return np.asarray(successes.sum(axis=axis) / sizes.sum(axis=axis))


def _seed(*arrays: npt.NDArray[np.int64]) -> int:
    digest = blake2b(digest_size=8)
    for array in arrays:
        digest.update(array.tobytes())
    return int.from_bytes(digest.digest(), "big")
