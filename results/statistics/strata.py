"""Rates of groups of cells: each cell is a stratum with its own weight, whatever its trials.

An adaptive plan gives some cells more trials than others. Adding up the outcomes would let those
cells count for more; here a group's rate is the weighted mean of its cells' rates.

Outcomes that are independent get Wilson's interval on an effective sample size, that of a simple
random sample as precise; see ``clusters`` for those that come in clusters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from results.statistics.intervals import Floats, Interval, wilson

Codes = npt.NDArray[np.int64]
"""Which of n things something belongs to: int64, 0 to n - 1."""

_CERTAIN = 1e100
"""An effective sample size at which nothing is left to chance, and whose square is a number."""


def add_up(values: npt.ArrayLike, codes: Codes, length: int) -> Floats:
    """Return the sums of ``values``, [n], by what they belong to: float64 [length]."""
    return np.asarray(np.bincount(codes, np.asarray(values, np.float64), length), np.float64)


@dataclass(frozen=True)
class Strata:
    """The cells of all groups.

    Args:
        group: int64 [cells], the group that each cell belongs to, 0 to ``groups`` - 1.
        groups: Number of groups.
        weight: float64 [cells], above 0; what matters is their proportion within a group.
        shared: int64 [cells]. Cells of a group with the same number share their sites, and are as
            likely to err in the same direction; others are independent.
        sampled: float64 [cells], 0 to 1, which part of all its sites a cell has had; 0 for sites
            that were drawn with replacement or from very many.
    """

    group: Codes
    groups: int
    weight: Floats
    shared: Codes
    sampled: Floats

    @classmethod
    def of(
        cls,
        weight: npt.ArrayLike,
        *,
        group: npt.ArrayLike | None = None,
        shared: npt.ArrayLike | None = None,
        sampled: npt.ArrayLike = 0.0,
    ) -> Self:
        """Return strata, by default of one group and independent.

        Args:
            weight: As in the class, which has dtypes and shapes; and so the others.
            group: By default all cells are of one.
            shared: By default cells share no sites.
            sampled: By default 0; one number, or one a cell.
        """
        weights = np.asarray(weight, np.float64)
        each = np.arange(len(weights))
        groups = np.zeros_like(each) if group is None else np.asarray(group, np.int64)
        return cls(
            groups,
            int(groups.max(initial=-1)) + 1,
            weights,
            each if shared is None else np.asarray(shared, np.int64),
            np.broadcast_to(np.asarray(sampled, np.float64), weights.shape),
        )

    @cached_property
    def families(self) -> tuple[Codes, Codes]:
        """The cells of a group that share their sites, taken together.

        Returns:
            int64 [families], the group of each, ascending; int64 [cells], the family of each.
        """
        key = self.group * (self.shared.max(initial=0) + 1) + self.shared
        order = np.argsort(key, kind="stable")
        first = np.ones(len(key), np.bool_)
        first[1:] = key[order[1:]] != key[order[:-1]]
        family = np.empty_like(key)
        family[order] = np.cumsum(first) - 1
        return self.group[order[first]], family

    @property
    def proportion(self) -> Floats:
        """The weights, which add up to 1 in every group: float64 [cells]."""
        with np.errstate(invalid="ignore"):
            return self.weight / self.sum(self.weight)[self.group]

    def sum(self, values: npt.ArrayLike) -> Floats:
        """Return the sums of ``values``, [cells], by group: float64 [groups]."""
        return add_up(values, self.group, self.groups)

    def mean(self, rates: npt.ArrayLike) -> Floats:
        """Return the weighted means of ``rates``, [cells], by group: float64 [groups].

        They are kept within [0, 1], which rounding of the weights' sum may leave.
        """
        return np.clip(self.sum(self.proportion * np.asarray(rates, np.float64)), 0.0, 1.0)

    def variance(self, variances: Floats) -> Floats:
        """Return the variances of the weighted means by group: float64 [groups].

        The errors of cells that share their sites add up, as if they were perfectly correlated:
        the worst that can be.

        Args:
            variances: float64 [cells], of the terms.
        """
        errors = self.proportion * np.sqrt(variances * (1 - self.sampled))
        group, family = self.families
        return add_up(add_up(errors, family, len(group)) ** 2, group, self.groups)


@dataclass(frozen=True)
class Estimate:
    """Rates of groups, each float64 [groups], NaN where nothing was injected.

    Args:
        rate: Weighted mean of the cells' rates.
        variance: Its variance.
        low: Lower bound of its interval.
        high: Upper bound.
    """

    rate: Floats
    variance: Floats
    low: Floats
    high: Floats

    def where(self, keep: npt.NDArray[np.bool_], rate: Floats, bounds: Interval) -> Estimate:
        """Return this estimate with others, [groups], in the groups that are not to be kept."""
        return replace(
            self,
            rate=np.where(keep, self.rate, rate),
            low=np.where(keep, self.low, bounds[0]),
            high=np.where(keep, self.high, bounds[1]),
        )


def stratified(
    successes: npt.ArrayLike, sizes: npt.ArrayLike, strata: Strata, confidence: float = 0.95
) -> Estimate:
    """Return the rates of groups whose outcomes are independent within each cell.

    The interval is Wilson's on an effective sample size: the smaller of Kish's, in which cells
    differ only in weight and size, and that of the stratified variance. So it keeps a width where
    nothing was seen, and is Wilson's own on the sums where sizes are proportional to weights.

    Args:
        successes: [cells], how many outcomes are successes.
        sizes: [cells], how many outcomes there are.
        strata: The cells.
        confidence: Two-sided confidence level, strictly between 0 and 1.

    Returns:
        Rates, variances and bounds, by group.

    Raises:
        ValueError: An argument is outside its range.

    Sources: W. G. Cochran, Sampling Techniques, 3rd ed., Wiley 1977, section 5.3, for rate and
    variance; L. Kish, Survey Sampling, Wiley 1965, section 11.7, for his effective sample size.
    """
    k, n = np.asarray(successes, np.float64), np.asarray(sizes, np.float64)
    there = np.maximum(n, 1.0)
    rates = k / there
    rate = strata.mean(rates)
    variance = strata.variance(rates * (1 - rates) / there)
    low, high = at_size(rate, effective_size(rates, there, strata), confidence)
    return Estimate(rate, variance, low, high)


def effective_size(rates: Floats, sizes: Floats, strata: Strata) -> Floats:
    """Return how many independent outcomes tell a group's rate as precisely: float64 [groups].

    Args:
        rates: [cells], the share of successes.
        sizes: [cells], of how many independent outcomes, at least 1.
        strata: The cells.
    """
    rate = strata.mean(rates)
    variance = strata.variance(rates * (1 - rates) / sizes)
    kish = strata.variance(1 / sizes)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.fmin(np.fmin(1 / kish, rate * (1 - rate) / variance), _CERTAIN)


def at_size(rate: Floats, size: Floats, confidence: float) -> Interval:
    """Return Wilson's interval of rates, NaN where there is none, at an effective sample size."""
    there = ~np.isnan(rate)
    sizes = np.where(there, size, 0.0)
    return wilson(np.where(there, rate, 0.0) * sizes, sizes, confidence)
