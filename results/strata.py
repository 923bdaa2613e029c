"""Rates of groups of cells: each cell is a stratum with its own weight, whatever its trials.

An adaptive plan gives some cells more trials than others. Adding up the outcomes would let those
cells count for more; here a group's rate is the weighted mean of its cells' rates.

Outcomes that are independent get Wilson's interval, those that come in clusters Korn and
Graubard's: both on an effective sample size, that of a simple random sample as precise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from results.intervals import Floats, Interval, korn_graubard, wilson

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
        """Return strata, by default of one group and independent; see the class."""
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

    @property
    def proportion(self) -> Floats:
        """The weights, which add up to 1 in every group: float64 [cells]."""
        with np.errstate(invalid="ignore"):
            return self.weight / self.sum(self.weight)[self.group]

    def sum(self, values: npt.ArrayLike) -> Floats:
        """Return the sums of ``values``, [cells], by group: float64 [groups]."""
        return add_up(values, self.group, self.groups)

    def variance(self, variances: Floats) -> Floats:
        """Return the variances of the weighted means by group: float64 [groups].

        The errors of cells that share their sites add up, as if they were perfectly correlated:
        the worst that can be.

        Args:
            variances: float64 [cells], of the terms.
        """
        errors = self.proportion * np.sqrt(variances * (1 - self.sampled))
        places, family = np.unique(np.stack([self.group, self.shared]), axis=1, return_inverse=True)
        total = add_up(errors, family.ravel(), places.shape[1])
        return add_up(total**2, places[0], self.groups)


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

    Raises:
        ValueError: An argument is outside its range.

    Sources: W. G. Cochran, Sampling Techniques, 3rd ed., Wiley 1977, section 5.3, for rate and
    variance; L. Kish, Survey Sampling, Wiley 1965, section 11.7, for his effective sample size.
    """
    k, n = np.asarray(successes, np.float64), np.asarray(sizes, np.float64)
    there = np.maximum(n, 1.0)
    rates = k / there
    rate = _within(strata.sum(strata.proportion * rates))
    variance = strata.variance(rates * (1 - rates) / there)
    kish = strata.variance(1 / there)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.fmin(1 / kish, rate * (1 - rate) / variance)
    size = np.where(np.isnan(rate), 0.0, np.fmin(size, _CERTAIN))
    low, high = wilson(np.nan_to_num(rate) * size, size, confidence)
    return Estimate(rate, variance, low, high)


def clustered(
    successes: npt.ArrayLike,
    sizes: npt.ArrayLike,
    cell: npt.ArrayLike,
    strata: Strata,
    confidence: float = 0.95,
    *,
    unit: npt.ArrayLike | None = None,
) -> Estimate:
    """Return the rates of groups whose outcomes come in clusters, such as all samples of a trial.

    Between clusters of a cell nothing is assumed but that they are independent. Cells of a single
    cluster, which show no spread of their own, are taken as clusters of one cell. See
    ``korn_graubard`` for the interval.

    Args:
        successes: [clusters], how many outcomes of a cluster are successes.
        sizes: [clusters], how many outcomes it has.
        cell: [clusters], which of the cells it belongs to.
        strata: The cells. Those that share their sites have to have their clusters numbered in
            ``unit``; how they vary together is then seen, nothing is assumed about it.
        confidence: Two-sided confidence level, strictly between 0 and 1.
        unit: int64 [clusters]; clusters of a group with the same number are one, spread over
            several cells. By default each is one.

    Raises:
        ValueError: An argument is outside its range.

    Source: W. G. Cochran, Sampling Techniques, 3rd ed., Wiley 1977, sections 6.3 and 6.4: Taylor
    linearisation of a ratio.
    """
    k, m = np.asarray(successes, np.float64), np.asarray(sizes, np.float64)
    place = np.asarray(cell, np.int64)
    cells = len(strata.group)
    group = strata.group[place]
    n, injected = np.bincount(place, minlength=cells), add_up(m, place, cells)
    there = np.maximum(injected, 1.0)
    rates = add_up(k, place, cells) / there
    rate = _within(strata.sum(strata.proportion * rates))
    lone = n == 1
    merged = strata.sum(lone)[strata.group]
    peers = np.where(lone, merged, n)
    centre = np.where(lone, rate[strata.group], rates)
    scale = (
        strata.proportion / there * np.sqrt((1 - strata.sampled) * peers / np.maximum(peers - 1, 1))
    )
    residuals = scale[place] * (k - centre[place] * m)
    which = np.arange(len(k)) if unit is None else np.asarray(unit, np.int64)
    units, member = np.unique(np.stack([group, which]), axis=1, return_inverse=True)
    total = add_up(residuals, member.ravel(), units.shape[1])
    variance = add_up(total**2, units[0], strata.groups)
    count = np.bincount(units[0], minlength=strata.groups)
    families = np.unique(np.stack([strata.group, np.where(lone, -1, strata.shared)]), axis=1)
    freedom = np.maximum(count - np.bincount(families[0], minlength=strata.groups), 1)
    with np.errstate(divide="ignore"):
        alike = 1 / strata.variance(1 / np.maximum(n, 1))
    low, high = korn_graubard(
        rate, variance, freedom, outcomes=strata.sum(injected), alike=alike, confidence=confidence
    )
    return Estimate(rate, variance, low, high)


def _within(rate: Floats) -> Floats:
    """Return rates within [0, 1], which rounding of the weights' sum may leave."""
    return np.clip(rate, 0.0, 1.0)
