"""How many samples an estimate takes."""

from __future__ import annotations

import math
from statistics import NormalDist


def sample_size(
    margin: float, confidence: float = 0.95, population: int | None = None, rate: float = 0.5
) -> int:
    """Return how many samples a rate takes to be known up to a margin.

    Args:
        margin: Half the width of the interval.
        confidence: Two-sided confidence level.
        population: How many there are to draw from without replacement; None for any number.
        rate: The rate that is expected; 0.5 is the one that takes most.

    Source: R. Leveugle et al., "Statistical fault injection: quantified error and confidence",
    DATE 2009.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    if population is None:
        return math.ceil(z**2 * rate * (1 - rate) / margin**2 - 1e-9)
    return math.ceil(
        population / (1 + margin**2 * (population - 1) / (z**2 * rate * (1 - rate))) - 1e-9
    )
