"""Which estimate is right for a group of trials, and what it gives.

The unit of chance decides. A fault in outputs hits each sample at a place of its own: the outcomes
of its samples are independent. A fault in weights is in all samples, and a trial of an exhaustive
cell hits one place in all of them: there the unit is the trial.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from results.intervals import Floats, wilson
from results.strata import Codes, Estimate, Strata, add_up, clustered, stratified

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

DESIGN = (
    "cell_id",
    "layer",
    "target",
    "variable",
    "fault",
    "parameters",
    "count",
    "ber",
    "sampling",
)
"""Columns of trials that ``Estimator`` needs, beside ``repetition``, ``injected`` and the keys."""

EXACT, WILSON, STRATIFIED, CLUSTERED = "exact", "wilson", "stratified wilson", "korn-graubard"
"""What a row of a summary can have in its column ``method``."""

_FAMILY = tuple(name for name in DESIGN if name != "cell_id")


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
    _strata: Strata

    @classmethod
    def of(cls, trials: pd.DataFrame, group: Codes, sites: Mapping[str, int]) -> Estimator:
        """Return the estimator of groups of ``trials``.

        Args:
            trials: Trials with the columns ``DESIGN``, ``repetition`` and ``injected``.
            group: [trials], the group of each, 0 and up, each of them there.
            sites: ``plan["exhaustive"]``: by ``cell_id``, how many trials are all of a cell's.
        """
        import pandas as pd

        frame = trials[["cell_id"]].assign(group=group)
        cell = np.asarray(frame.groupby(["group", "cell_id"]).ngroup(), np.int64)
        _, first = np.unique(cell, return_index=True)
        cells = trials.iloc[first]
        injected = trials["injected"].to_numpy(np.int64)
        n = np.bincount(cell)
        shared = _families(cells)
        of_paired = (cells["sampling"] == "paired").to_numpy()
        repetition = trials["repetition"].to_numpy(np.int64)
        unit = np.arange(len(trials), dtype=np.int64)
        if of_paired.any():
            units = pd.DataFrame({"shared": shared[cell], "repetition": repetition})
            together = units.groupby(["shared", "repetition"]).ngroup().to_numpy("int64")
            unit = np.where(of_paired[cell], together, len(trials) + unit)
        strata = Strata(
            group[first],
            int(group.max(initial=-1)) + 1,
            add_up(injected, cell, len(n)) / np.maximum(n, 1),
            shared,
            sampled(cells, n, sites),
        )
        return cls(_methods(cells, n, strata), injected, cell, unit, strata)

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
        return found.where(self.method != EXACT, found.rate, (found.rate, found.rate))


def _families(cells: pd.DataFrame) -> Codes:
    """Return which cells share their sites: int64 [cells], the same number for those that do."""
    each = np.arange(len(cells), dtype=np.int64)
    paired = (cells["sampling"] == "paired").to_numpy()
    if not paired.any():
        return each
    alike = cells.groupby(list(_FAMILY), observed=True, dropna=False).ngroup().to_numpy("int64")
    return np.where(paired, len(cells) + alike, each)


def sampled(cells: pd.DataFrame, n: npt.NDArray[np.int64], sites: Mapping[str, int]) -> Floats:
    """Return which part of its sites each cell has had, as far as that matters: [cells]."""
    exhaustive = np.flatnonzero((cells["sampling"] == "exhaustive").to_numpy())
    part = np.zeros(len(cells))
    names = cells["cell_id"].to_numpy()
    for place in exhaustive:
        total = sites.get(str(names[place]))
        if total:
            part[place] = min(n[place] / total, 1.0)
    return part


def _methods(
    cells: pd.DataFrame, n: npt.NDArray[np.int64], strata: Strata
) -> npt.NDArray[np.object_]:
    """Return which estimate each group gets, see ``Estimator``."""
    in_trials = ((cells["target"] == "weights") | (cells["sampling"] == "exhaustive")).to_numpy()
    complete = strata.sampled == 1
    count = strata.sum(np.ones_like(n))
    families = np.unique(np.stack([strata.group, strata.shared]), axis=1)[0]
    apart = np.bincount(families, minlength=strata.groups) == count
    most = np.zeros(strata.groups)
    np.maximum.at(most, strata.group, n)
    even = apart & (strata.sum(n) == most * count) & (strata.sum(complete) == 0)
    method = np.where(even, WILSON, STRATIFIED).astype(object)
    method[strata.sum(in_trials & ~complete) > 0] = CLUSTERED
    method[strata.sum(complete) == count] = EXACT
    return method
