"""What protections bring: each against the same faults without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from results.analysis.differences import difference
from results.analysis.paired import PAIRED, paired_differences
from results.analysis.rate_estimates import EXACT, units_of
from results.analysis.summary import NEEDED, RATED, grouping, outcomes_of, summarise, summary
from results.analysis.trial_source import TrialSource, sites_of_cells
from results.errors import NothingToShowError
from results.frames import check_columns
from results.run_folder.schema import RATE_ENDS, criteria_of
from results.statistics.intervals import check_confidence, paired_t

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from results.statistics.intervals import Floats

REDUCTION = ("reduction", "reduction_low", "reduction_high")
"""Columns of the share of the rate that a protection takes away, and its bounds."""

_ENDS = ("difference", "low", "high")

_OF_PAIRS = ("trial_id", "bare_trial_id", "protection", "detected")
"""Columns that trials are paired by, and what a protection adds to them."""


def protection(
    run: TrialSource, by: Sequence[str], *, metric: str, confidence: float
) -> pd.DataFrame:
    """Return what each protection makes of the same faults; see ``Run.protection``."""
    criteria = criteria_of(run.header.schema)
    check_columns([metric], [*RATED, *criteria], "metric")
    check_confidence(confidence)
    names = grouping([*by, "protection"])
    table = summary(run, names, confidence)
    keys = table.columns[: table.columns.get_loc("trials")].tolist()
    needed = [*keys, *NEEDED, *criteria, *_OF_PAIRS]
    trials = run.trials(list(dict.fromkeys(needed)))
    if trials.empty or trials["protection"].isna().all():
        raise NothingToShowError(
            "The run has no protection: `protections:` in a grid names some beside `none`."
        )
    stopped = trials.groupby(keys, dropna=False, observed=True)["detected"].sum(min_count=1)
    after, before = _pairs(trials, keys)
    sites = sites_of_cells(run)
    rows = [
        summarise(one, keys, confidence, criteria=criteria, sites=sites) for one in (before, after)
    ]
    against = rows[1][keys].join(_against(rows, (before, after), keys, metric, confidence))
    found = table.merge(stopped.reset_index(), on=keys, how="left").merge(
        against, on=keys, how="left"
    )
    found["pairs"] = found["pairs"].fillna(0).astype("int64")
    ends = [f"{metric}_{end}" for end in RATE_ENDS]
    shown = dict.fromkeys(["trials", "injected", "detected", "sdc_rate", "due_rate", *ends])
    columns = [*keys, *shown, "accuracy", "golden_accuracy", *against.columns[len(keys) :]]
    first = [name for name in keys if name != "protection"]
    order = found["protection"].astype(object).fillna("")
    found = found.drop(columns="method_x", errors="ignore").rename(columns={"method_y": "method"})
    return found.assign(_order=order).sort_values([*first, "_order"], ignore_index=True)[columns]


def _pairs(trials: pd.DataFrame, keys: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return trials under a protection, and the same ones without it, row by row.

    The second have the ``keys`` of the first, so that they are grouped alike.
    """
    import pandas as pd

    under = trials[trials["protection"].notna()]
    place = pd.Index(trials["trial_id"]).get_indexer(under["bare_trial_id"].astype("uint64"))
    after = under[place >= 0].reset_index(drop=True)
    before = trials.iloc[place[place >= 0]].reset_index(drop=True)
    return after, before.assign(**{name: after[name] for name in keys})


def _against(
    rows: Sequence[pd.DataFrame],
    trials: tuple[pd.DataFrame, pd.DataFrame],
    keys: Sequence[str],
    metric: str,
    confidence: float,
) -> pd.DataFrame:
    """Return how the rates of groups differ with a protection and without it.

    Args:
        rows: Summaries of the trials without it and with it, by the ``keys``.
        trials: These trials, in pairs.
        keys: What they are grouped by.
        metric: Whose rates.
        confidence: Of the bounds.
    """
    found = difference(rows[0], rows[1], metric)
    rates = found[["rate_a", "rate_b"]].to_numpy(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found["reduction"] = np.where(rates[:, 0] > 0, 1 - rates[:, 1] / rates[:, 0], np.nan)
    exact = (found["method"] == EXACT).to_numpy(np.bool_)
    for name in REDUCTION[1:]:
        found[name] = found["reduction"].where(exact)
    counted = list(outcomes_of(metric))
    hits, sizes = (
        [one[names].sum(axis=1).to_numpy(np.float64) for one in trials]
        for names in (counted, ["injected"])
    )
    group = trials[1].groupby(list(keys), dropna=False, observed=True, sort=True).ngroup()
    found["pairs"], units = np.bincount(group, minlength=len(found)), units_of(trials[1])
    for row in np.flatnonzero(~exact):
        mine = (group == row).to_numpy(np.bool_)
        _, unit = np.unique(units[mine], return_inverse=True)
        counts, of = ([_summed(one[mine], unit) for one in both] for both in (hits, sizes))
        told, _, enough = paired_differences((counts[0], counts[1]), (of[0], of[1]), confidence)
        # Where cells count by their sites, sums over trials are other rates.
        if enough[0] and np.allclose([told["rate_a"][0], told["rate_b"][0]], rates[row]):
            bounds = _bounds(counts[0], counts[1], confidence)
            values = [*(told[name][0] for name in _ENDS), *bounds, PAIRED]
            found.loc[row, [*_ENDS, *REDUCTION[1:], "method"]] = values
    names = ["rate_a", *_ENDS, *REDUCTION, "pairs", "method"]
    return found[names].rename(columns={"rate_a": "bare_rate"})


def _summed(values: Floats, unit: npt.NDArray[np.int64]) -> Floats:
    """Return the sums of values by unit, float64 [1, units]."""
    return np.bincount(unit, values)[np.newaxis].astype(np.float64)


def _bounds(before: Floats, after: Floats, confidence: float) -> tuple[float, float]:
    """Return bounds of 1 less the ratio of two sums of pairs, [1, pairs], by its linear part.

    NaN where nothing was lost before.
    """
    total = before.sum()
    if not total:
        return np.nan, np.nan
    ratio = after.sum() / total
    each = 1 - ratio - (after - ratio * before) * before.size / total
    low, high = paired_t(each, confidence)
    return float(low[0]), float(min(1.0, high[0]))
