"""Groups of trials ranked by how often faults in them matter, and how sure the ranks are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from results.analysis.accuracy import mean_accuracy
from results.analysis.summary import NEEDED, RATED, WITHIN, grouping, summarise, told_apart
from results.analysis.trial_source import TrialSource, sites_of_cells
from results.frames import check_columns
from results.run_folder.schema import DRAWN, RATE_ENDS, criteria_of
from results.statistics.intervals import Floats, check_confidence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

METRIC = "sdc+due"
"""What is ranked by where nothing is said: both are predictions that are lost."""

ACCURACY_LOST = "accuracy_lost"
"""The metric that is no share of injected samples: accuracy without faults, less that with them."""

METRICS = (*RATED, ACCURACY_LOST)
"""What every run may be ranked by, beside its own criteria."""

RANKS = ("rank", "rank_low", "rank_high")
"""Columns of ``criticality``, int64 from 1, null where nothing was injected."""


JOINT = ("joint_low", "joint_high")
"""Columns of ``ranked``: bounds of the metric that all hold together with the confidence."""


def criticality(
    run: TrialSource, by: str | Sequence[str], *, metric: str, confidence: float
) -> pd.DataFrame:
    """Return groups of trials, the most critical first; see ``Run.criticality``."""
    keys = grouping(by)
    apart = told_apart(run, keys)
    # What is hit more often is not more critical: ranks are within a rate, but for ranks of rates.
    rates = [] if {*keys} <= {*DRAWN} else [name for name in keys if name in DRAWN]
    within = [name for name in WITHIN if name in {*apart, *rates}]
    by = [name for name in (*keys, *apart) if name not in within]
    found = ranked(run, by, within=within, metric=metric, confidence=confidence)
    return found.drop(columns=list(JOINT))


def ranked(
    run: TrialSource, by: Sequence[str], *, within: Sequence[str], metric: str, confidence: float
) -> pd.DataFrame:
    """Return groups of trials ranked among those that are equal in ``within``.

    Args:
        run: The run.
        by: The columns to group by, and to be ranked.
        within: Columns that are grouped by too; each of their values has ranks of its own.
        metric: See ``Run.criticality``.
        confidence: Of each interval, and of all ranks together.

    Returns:
        The columns of ``Run.criticality``, ``within`` first, and ``JOINT``.
    """
    criteria = criteria_of(run.header.schema)
    check_columns([metric], [*METRICS, *criteria], "metric")
    keys = list(dict.fromkeys([*within, *by]))
    trials = run.trials(list(dict.fromkeys([*keys, *NEEDED, *criteria])))
    sites = sites_of_cells(run)
    asked = [metric] if metric in criteria else []
    table = summarise(trials, keys, confidence, criteria=asked, sites=sites)
    joint = check_confidence(confidence) ** (1 / max(len(table), 1))
    wide = summarise(trials, keys, joint, criteria=asked, sites=sites)
    if metric == ACCURACY_LOST:
        table = table.assign(**_accuracy_lost(trials, keys, confidence, sites))
        wide = wide.assign(**_accuracy_lost(trials, keys, joint, sites))
    bounds = np.array([wide[f"{metric}_{end}"] for end in RATE_ENDS[1:]], np.float64)
    rate, low = (table[f"{metric}_{end}"].to_numpy(np.float64) for end in RATE_ENDS[:2])
    found = np.zeros((3, len(table)), np.int64)
    for rows in _within(table, within):
        found[:, rows] = ranks(rate[rows], low[rows], bounds[:, rows])
    for name, values in zip(RANKS, found, strict=True):
        table[name] = values
        table[name] = table[name].astype("Int64").where(~np.isnan(rate))
    table["certain"] = (table["rank_low"] == table["rank_high"]).fillna(value=False).astype("bool")
    table = table.assign(**dict(zip(JOINT, bounds, strict=True)))
    rated = [name for name in (*RATED, *asked) for name in (name, *_ends(name))]
    rated += [*_ends(ACCURACY_LOST)] if metric == ACCURACY_LOST else []
    columns = [*keys, "trials", "injected", *rated, "accuracy", *RANKS, "certain", "method", *JOINT]
    return table[columns].sort_values(
        [*within, "rank"], kind="stable", key=_bare_first, ignore_index=True
    )


def _bare_first(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return what a column is sorted by: what nothing protects comes first."""
    return column.astype(object).fillna("") if column.name == "protection" else column


def ranks(rate: Floats, low: Floats, bounds: Floats) -> npt.NDArray[np.int64]:
    """Return the rank of each rate, and those that its interval allows.

    The rank is that of the lower bound, the highest first: a rate of which little is known does not
    stand above one that is known to be high. Where bounds are equal, the rate decides.

    Args:
        rate: float64 [n], NaN where there is none; such a row takes no rank from others.
        low: float64 [n], the lower bound that each is ranked by.
        bounds: float64 [2, n], of intervals that all hold together with the confidence wanted.

    Returns:
        int64 [3, n], from 1; ties share the smallest: rank, lowest and highest rank possible.

    Source: M. Klein, T. Wright and J. Wieczorek, "A joint confidence region for an overall ranking
    of populations", Journal of the Royal Statistical Society C 69 (2020), 589-606.
    """
    there = ~np.isnan(rate)
    lowest, highest = bounds
    lows, highs = np.sort(lowest[there]), np.sort(highest[there])
    pairs = np.stack([np.nan_to_num(low), np.nan_to_num(rate)], axis=1)
    order, place = np.unique(pairs, axis=0, return_inverse=True)
    counts = np.bincount(place.ravel()[there], minlength=len(order))
    above = counts[::-1].cumsum()[::-1] - counts
    first = 1 + len(lows) - np.searchsorted(lows, highest, side="right")
    last = len(lows) - np.searchsorted(highs, lowest, side="left")
    return np.stack([1 + above[place.ravel()], first, last])


def _within(table: pd.DataFrame, columns: Sequence[str]) -> list[npt.NDArray[np.int64]]:
    """Return the rows that are ranked together, those with the same values in ``columns``."""
    if not columns:
        return [np.arange(len(table))]
    group = table.groupby(list(columns), observed=True, dropna=False, sort=False).ngroup()
    codes = group.to_numpy(np.int64)
    return [np.flatnonzero(codes == code) for code in np.unique(codes)]


def _accuracy_lost(
    trials: pd.DataFrame, keys: Sequence[str], confidence: float, sites: Mapping[str, int]
) -> dict[str, Floats]:
    """Return rate and bounds of the accuracy that groups lose, in the order of ``summarise``."""
    found = mean_accuracy(trials, keys, confidence=confidence, sites=sites)
    golden = found["golden_accuracy"].to_numpy()
    left = ("accuracy", "accuracy_high", "accuracy_low")
    lost = [golden - found[name].to_numpy() for name in left]
    return dict(zip(_ends(ACCURACY_LOST), lost, strict=True))


def _ends(name: str) -> tuple[str, ...]:
    return tuple(f"{name}_{end}" for end in RATE_ENDS)
