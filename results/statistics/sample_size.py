"""How many faults a wanted precision takes: pure functions on arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from results.statistics.intervals import Floats, normal_quantile

Integers = npt.NDArray[np.int64]


def sample_size(
    margin: npt.ArrayLike,
    confidence: float = 0.95,
    population: npt.ArrayLike | None = None,
    rate: npt.ArrayLike = 0.5,
) -> Integers:
    """Return how many faults estimate a rate to within ``margin``.

    The size holds for what is sampled: a sample of a whole network says nothing of this precision
    about one of its layers or bits, each of which needs a sample of its own.

    Args:
        margin: Half width of the interval, above 0; all arrays are of shapes that broadcast.
        confidence: Two-sided confidence level, strictly between 0 and 1.
        population: Number of possible faults; None if it is without limit.
        rate: The rate that is expected, 0 to 1; 0.5 is the one that takes most.

    Returns:
        int64, rounded up, at most ``population``.

    Raises:
        ValueError: An argument is outside its range.

    Source: R. Leveugle, A. Calvez, P. Maistri and P. Vanhauwaert, "Statistical fault injection:
    quantified error and confidence", DATE 2009, equation 1.

    Examples:
        >>> from results.statistics import sample_size
        >>> print(sample_size(0.01))
        9604
        >>> print(sample_size(0.01, population=10_000))
        4900
    """
    e, p = _above_zero(margin, "margin"), np.asarray(rate, np.float64)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"rate is {rate!r}, expected numbers from 0 to 1.")
    return _corrected(normal_quantile(confidence) ** 2 * p * (1 - p) / e**2, population)


def _corrected(unlimited: Floats, population: npt.ArrayLike | None) -> Integers:
    """Return the size of a sample from ``population`` that is as precise as ``unlimited``."""
    n = np.maximum(unlimited, 1.0)
    if population is not None:
        size = _above_zero(population, "population")
        n = n * size / (n + size - 1)
    # The tolerance keeps rounding in the last digit from asking for one more.
    return np.ceil(n * (1 - 1e-12)).astype(np.int64)


def _above_zero(values: npt.ArrayLike, name: str) -> Floats:
    array = np.asarray(values, np.float64)
    if not np.all(array > 0):
        raise ValueError(f"{name} is {values!r}, expected numbers above 0.")
    return array
