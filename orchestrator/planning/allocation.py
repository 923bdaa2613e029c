"""Trials for the cells of a layer or of the network, whose rate is asked for as one.

The cells are strata, which count by their sites. Neyman's allocation makes the rate of all as exact
as a number of trials can: a cell gets them in proportion to its weight and to the standard
deviation of its outcomes (J. Neyman, "On the two different aspects of the representative method",
Journal of the Royal Statistical Society 97 (1934), 558-625).

Whoever estimates the deviation of a cell from the cell's own outcomes, and again at every look,
gets a rate that is too low: a cell that happens to show no hit gets no more trials and stays at 0.
Three things keep that away. The trials up to the first look alone decide, once. Cells that hit the
same bit have one deviation, with one success and one failure more (A. Agresti and B. A. Coull, The
American Statistician 52 (1998), 119-126). And as far as bits differ no more than chance has them
differ, trials stay in proportion to the sites (W. James and C. Stein, "Estimation with quadratic
loss", Proc. 4th Berkeley Symposium 1 (1961), 361-379: the positive part).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from orchestrator.campaign.precision import CellTally

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PooledTally:
    """What the trials of several cells have brought so far, as one rate.

    Args:
        tallies: What those of each cell have.
        weights: By how much each cell counts, above 0.
    """

    tallies: Sequence[CellTally]
    weights: Sequence[float]

    @property
    def rate(self) -> float:
        """The weighted mean of the cells' rates; NaN where one of them is not known."""
        return float(np.average(self._rates, weights=self.weights))

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the bounds of the rate, as a summary shows them; NaN where it is not known."""
        from results.statistics import Strata, clustered_sums

        if np.isnan(self._rates).any():
            return np.nan, np.nan
        units, injected, hits, squares = self._sums
        found = clustered_sums(units, injected, hits, squares, Strata.of(self.weights), confidence)
        return float(found.low[0]), float(found.high[0])

    def shares(self, kinds: Sequence[Hashable]) -> Floats:
        """Return in which proportion the cells are to have trials: float64 [cells], above 0.

        Args:
            kinds: Of each cell, what it has in common with those of the same deviation.
        """
        weights = np.asarray(self.weights, np.float64)
        units, injected, hits, squares = self._sums
        size = np.maximum(injected / np.maximum(units, 1), 1)
        number = {kind: index for index, kind in enumerate(dict.fromkeys(kinds))}
        of = np.array([number[kind] for kind in kinds])
        n, k, squared = (np.bincount(of, one) for one in (units, hits / size, squares / size**2))
        total = max(n.sum(), 1.0)
        mean = k.sum() / total
        variance = squared.sum() / total - mean**2
        spread = ((k - n * mean) ** 2 / np.maximum(n, 1)).sum()
        if spread <= (by_chance := (np.count_nonzero(n) - 1) * variance):
            return weights
        deviation = np.sqrt((squared + 1) / (n + 2) - ((k + 1) / (n + 2)) ** 2)[of]
        neyman = deviation / np.average(deviation, weights=weights)
        trust = 1 - by_chance / spread
        shares: Floats = weights * (trust * neyman + 1 - trust)
        return shares

    @cached_property
    def _rates(self) -> Floats:
        return np.array([tally.rate for tally in self.tallies])

    @cached_property
    def _sums(self) -> Floats:
        """Units of chance, injected samples, hits and squares of a unit's hits: [4, cells].

        A unit is a trial where its samples share its fault, and a sample elsewhere.
        """
        rows = [
            (one.trials, one.injected, one.hits, one.squares)
            if one.clustered
            else (one.injected, one.injected, one.hits, one.hits)
            for one in self.tallies
        ]
        return np.array(rows, np.float64).T


def allot(total: int, counts: Counts, shares: Floats) -> Counts:
    """Return how many trials cells have when there are ``total``: int64 [cells].

    They come as near to being in proportion to ``shares`` as what they have already lets them.

    Args:
        total: Trials of all cells, not below the sum of ``counts``.
        counts: int64 [cells], trials that they have.
        shares: float64 [cells], above 0.
    """
    order = np.argsort(counts / shares, kind="stable")
    filled, kept = np.cumsum(shares[order]), counts.sum() - np.cumsum(counts[order])
    level = (total - kept) / filled  # of trials a share, if the cells up to here get any
    reached = np.flatnonzero(level >= (counts / shares)[order])
    wanted = np.maximum(counts, shares * level[reached[-1] if len(reached) else 0])
    found: Counts = np.floor(wanted).astype(np.int64)
    rest = max(0, total - int(found.sum()))
    found[np.argsort(found - wanted, kind="stable")[:rest]] += 1
    return found
