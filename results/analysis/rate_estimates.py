"""Which estimate is right for a group of trials, and what it gives.

The unit of chance decides. A fault in outputs hits each sample at a place of its own: the outcomes
of its samples are independent. A fault in weights is in all samples, and a trial of an exhaustive
cell hits one place in all of them: there the unit is the trial.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from results.statistics.clusters import clustered, clustered_sums
from results.statistics.intervals import Floats, wilson
from results.statistics.strata import Codes, Estimate, Strata, add_up, stratified

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

DESIGN = ("cell_id", "layer", "target", "variable", "count", "ber", "sampling")
"""Columns of trials that ``Estimator`` needs, beside ``repetition``, ``injected`` and the keys."""

EXACT, WILSON, STRATIFIED, CLUSTERED = "exact", "wilson", "stratified wilson", "cluster wilson"
"""What a row of a summary can have in its column ``method``."""

_FAMILY = tuple(name for name in DESIGN if name != "cell_id")
"""What paired cells with the same draws have in common: neither the fault nor the value of a
probability, which is the rate where ``count`` and ``ber`` are null."""


@dataclass(frozen=True)
class Estimator:
    """Estimates rates for groups of trials; made by ``Estimator.of``.

    Attributes:
        method: str [groups], which estimate each group gets.
    """

    method: npt.NDArray[np.object_]
    _injected: npt.NDArray[np.int64]
    _cell: Codes
    _unit: Codes
    _share: Floats
    _strata: Strata
    _in_trials: npt.NDArray[np.bool_]
    _by_sites: npt.NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        trials: pd.DataFrame,
        group: Codes,
        sites: Mapping[str, int],
        *,
        size: npt.NDArray[np.int64] | None = None,
    ) -> Estimator:
        """Return the estimator of groups of ``trials``.

        Args:
            trials: Trials with the columns ``DESIGN``, ``repetition`` and ``injected``.
            group: [trials], the group of each, 0 and up, each of them there.
            sites: By ``cell_id``, by how many sites cells count; see ``sites_of_cells``.
            size: [trials], how many trials its cell has; by default as many as are in the group.
        """
        frame = trials[["cell_id"]].assign(group=group)
        cell = np.asarray(frame.groupby(["group", "cell_id"]).ngroup(), np.int64)
        _, first = np.unique(cell, return_index=True)
        cells = trials.iloc[first]
        injected = trials["injected"].to_numpy(np.int64)
        n = np.bincount(cell) if size is None else size[first]
        shared, unit = _families(cells), units_of(trials)
        places = Places.of(cells, n, sites)
        share = places.share(group[first])
        each = add_up(injected, cell, len(n)) / np.maximum(n, 1)
        strata = Strata(
            group[first],
            int(group.max(initial=-1)) + 1,
            share * each,
            shared,
            places.sampled,
        )
        drawn = (cells["sampling"] == "random").to_numpy() & (places.number > 0)
        by_sites = (strata.sum(~drawn) == 0) & (size is None)  # else rows are parts of trials
        weight = np.where(by_sites[group[first]], places.number * (each > 0), strata.weight)
        strata = replace(strata, weight=weight)
        in_trials = (
            (cells["target"] == "weights") | (cells["sampling"] == "exhaustive")
        ).to_numpy()
        method = _methods(in_trials, n, strata, by_sites)
        return cls(method, injected, cell, unit, share, strata, in_trials, by_sites)

    def mean(self, values: npt.ArrayLike) -> Floats:
        """Return the mean of the cells' means of ``values``, [trials], by group: float64 [groups].

        Cells count equally, exhaustive ones and those that count by their sites by
        ``Places.share``: a value such as the accuracy is
        over all samples of a trial, whatever part of them is injected.
        """
        cells = len(self._share)
        means = add_up(values, self._cell, cells) / np.bincount(self._cell, minlength=cells)
        return self._strata.sum(self._share * means) / self._strata.sum(self._share)

    def estimate(self, counts: npt.NDArray[np.int64], confidence: float) -> Estimate:
        """Return the rate of ``counts``, [trials], in the injected samples, by group.

        Raises:
            ValueError: ``confidence`` is outside its range.
        """
        strata = self._strata
        cells = len(strata.group)
        k = add_up(counts, self._cell, cells)
        n = add_up(self._injected, self._cell, cells)
        found = stratified(k, n, strata, confidence)
        with np.errstate(invalid="ignore"):
            pooled = strata.sum(k) / strata.sum(n)
        found = found.where(
            self.method != WILSON, pooled, wilson(strata.sum(k), strata.sum(n), confidence)
        )
        if (self.method == CLUSTERED).any():
            spread = clustered(
                counts, self._injected, self._cell, strata, confidence, unit=self._unit
            )
            found = found.where(self.method != CLUSTERED, spread.rate, (spread.low, spread.high))
        if self._by_sites.any():
            units = np.where(self._in_trials, np.bincount(self._cell, minlength=cells), n)
            squares = np.where(self._in_trials, add_up(counts**2, self._cell, cells), k)
            spread = clustered_sums(units, n, k, squares, strata, confidence)
            found = found.where(~self._by_sites, spread.rate, (spread.low, spread.high))
        return found.where(self.method != EXACT, found.rate, (found.rate, found.rate))


def units_of(trials: pd.DataFrame) -> Codes:
    """Return the unit of chance of each trial: int64 [trials], equal where paired ones share sites.

    Args:
        trials: Trials with the columns ``DESIGN`` and ``repetition``.
    """
    each = np.arange(len(trials), dtype=np.int64)
    paired = (trials["sampling"] == "paired").to_numpy()
    if not paired.any():
        return each
    keys = [*_FAMILY, "repetition"]
    together = trials.groupby(keys, observed=True, dropna=False).ngroup().to_numpy("int64")
    return np.where(paired, len(trials) + together, each)


def _families(cells: pd.DataFrame) -> Codes:
    """Return which cells share their sites: int64 [cells], the same number for those that do."""
    each = np.arange(len(cells), dtype=np.int64)
    paired = (cells["sampling"] == "paired").to_numpy()
    if not paired.any():
        return each
    alike = cells.groupby(list(_FAMILY), observed=True, dropna=False).ngroup().to_numpy("int64")
    return np.where(paired, len(cells) + alike, each)


@dataclass(frozen=True)
class Places:
    """How many places cells have, on which a fault may fall.

    Args:
        number: float64 [cells]; 0 for cells whose sites are drawn and do not count by them.
        sampled: float64 [cells], 0 to 1, which part of them was hit, each by a trial of an
            exhaustive cell; 0 where the number is not known.
    """

    number: Floats
    sampled: Floats

    @classmethod
    def of(cls, cells: pd.DataFrame, n: npt.NDArray[np.int64], sites: Mapping[str, int]) -> Places:
        """Return the places of cells.

        Args:
            cells: A trial of each, with the columns ``cell_id`` and ``sampling``.
            n: [cells], how many trials it has.
            sites: See ``Estimator.of``.
        """
        number, part = np.zeros(len(cells)), np.zeros(len(cells))
        names = cells["cell_id"].to_numpy()
        exhaustive = (cells["sampling"] == "exhaustive").to_numpy()
        for at in range(len(cells)) if sites else np.flatnonzero(exhaustive):
            total = sites.get(str(names[at]))
            number[at] = total or (n[at] if exhaustive[at] else 0.0)
            part[at] = min(n[at] / total, 1.0) if total and exhaustive[at] else 0.0
        return cls(number, part)

    def share(self, group: Codes) -> Floats:
        """Return by how much cells count in their groups beside what they inject in a trial.

        Exhaustive cells, and those of a precision of a layer or the network, count by their places,
        so that a group of them has the rate of all its sites; on average they count for 1, as much
        as others.

        Args:
            group: int64 [cells], the group of each.

        Returns:
            float64 [cells].
        """
        known = self.number > 0
        length = int(group.max(initial=-1)) + 1
        count = np.maximum(add_up(known, group, length), 1)
        mean = (add_up(self.number, group, length) / count)[group]
        return np.where(known, self.number / np.where(known, mean, 1.0), 1.0)


def trial_weights(trials: pd.DataFrame, sites: Mapping[str, int]) -> Floats:
    """Return by how much each trial counts, so that its cell counts for no more with more of them.

    Args:
        trials: Trials with the columns ``cell_id`` and ``sampling``.
        sites: See ``Estimator.of``.

    Returns:
        float64 [trials], ``Places.share`` over the number of the cell's trials.
    """
    _, first, cell = np.unique(trials["cell_id"].to_numpy(), return_index=True, return_inverse=True)
    n = np.bincount(cell, minlength=len(first))
    places = Places.of(trials.iloc[first], n, sites)
    return (places.share(np.zeros_like(first)) / n)[cell]


def _methods(
    in_trials: npt.NDArray[np.bool_],
    n: npt.NDArray[np.int64],
    strata: Strata,
    by_sites: npt.NDArray[np.bool_],
) -> npt.NDArray[np.object_]:
    """Return which estimate each group gets, see ``Estimator``."""
    complete = strata.sampled == 1
    count = strata.sum(np.ones_like(n))
    apart = np.bincount(strata.families[0], minlength=strata.groups) == count
    most = np.zeros(strata.groups)
    np.maximum.at(most, strata.group, n)
    even = apart & (strata.sum(n) == most * count) & (strata.sum(complete) == 0)
    even &= ~by_sites | (count == 1)
    method = np.where(even, WILSON, STRATIFIED).astype(object)
    method[strata.sum(in_trials & ~complete) > 0] = CLUSTERED
    method[strata.sum(complete) == count] = EXACT
    return method
