"""The interval of a rate whose samples come in clusters: all samples of a trial share its fault."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from results.intervals import Floats, wilson


def cluster_wilson(
    clusters: npt.ArrayLike,
    injected: npt.ArrayLike,
    hits: npt.ArrayLike,
    squares: npt.ArrayLike,
    confidence: float = 0.95,
) -> tuple[Floats, Floats]:
    """Return Wilson's interval of a rate at the effective size of a sample of equal clusters.

    The effective size is the number of independent samples whose mean varies as much as that of the
    clusters' rates (Kish, "Survey Sampling", 1965: the design effect). It is at least the number of
    clusters. So that a few clusters that happen to agree do not look like certainty, one more
    cluster is counted in the variance that goes the other way: wholly hit where the rate is below a
    half, not hit at all where it is above.

    Args:
        clusters: Number of clusters n, such as trials with a fault in weights.
        injected: Samples of all clusters together, the same number in each.
        hits: Those of them that count.
        squares: Sum over the clusters of the square of each one's hits.
        confidence: Two-sided confidence level, strictly between 0 and 1.

    Returns:
        Lower and upper bound, float64 of the broadcast shape; NaN where nothing was injected.
    """
    n, total, k, squared = np.broadcast_arrays(
        *(np.asarray(one, np.float64) for one in (clusters, injected, hits, squares))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        size = total / n
        rate = k / total
        opposite = np.where(rate < 0.5, 1.0, 0.0)
        mean = (n * rate + opposite) / (n + 1)
        # Of n + 1 rates, the last one the opposite.
        variance = ((squared / size**2 + opposite**2) - (n + 1) * mean**2) / n
        effective = np.clip(rate * (1 - rate) * n / variance, n, total)
    effective = np.where(total > 0, effective, 0.0)
    return wilson(np.where(total > 0, rate, 0.0) * effective, effective, confidence)
