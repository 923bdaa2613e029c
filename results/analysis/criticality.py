"""Groups of trials ranked by how often faults in them matter, and how sure the ranks are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from results.analysis.summary import NEEDED, RATED, grouping, summarise
from results.analysis.trial_source import TrialSource, complete_cells
from results.frames import check_columns
from results.run_folder.schema import RATE_ENDS, criteria_of
from results.statistics.intervals import Floats, Interval, check_confidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

RANKS = ("rank", "rank_low", "rank_high")
"""Columns of ``criticality``, int64 from 1, null where nothing was injected."""


def criticality(
    run: TrialSource, by: str | Sequence[str], *, metric: str, confidence: float
) -> pd.DataFrame:
    """Return groups of trials, the one with the highest rate first; see ``Run.criticality``."""
    keys, criteria = grouping(by), criteria_of(run.header.schema)
    check_columns([metric], [*RATED, *criteria], "metric")
    trials = run.trials(list(dict.fromkeys([*keys, *NEEDED, *criteria])))
    sites = complete_cells(run)
    asked = [] if metric in RATED else [metric]
    table = summarise(trials, keys, confidence, criteria=asked, sites=sites)
    joint = check_confidence(confidence) ** (1 / max(len(table), 1))
    wide = summarise(trials, keys, joint, criteria=asked, sites=sites)
    low, high = (wide[f"{metric}_{end}"].to_numpy(np.float64) for end in RATE_ENDS[1:])
    rate = table[f"{metric}_rate"].to_numpy(np.float64)
    for name, values in zip(RANKS, ranks(rate, (low, high)), strict=True):
        table[name] = values
        table[name] = table[name].astype("Int64").where(~np.isnan(rate))
    table["certain"] = (table["rank_low"] == table["rank_high"]).fillna(value=False).astype("bool")
    rated = [f"{name}{end}" for name in (*RATED, *asked) for end in _ENDS]
    columns = [*keys, "trials", "injected", *rated, *RANKS, "certain", "method"]
    return table[columns].sort_values("rank", kind="stable", ignore_index=True)


def ranks(
    rate: Floats, interval: Interval
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rank of each rate, highest first, and those that its interval allows.

    Args:
        rate: float64 [n], NaN where there is none; such a row takes no rank from others.
        interval: Its bounds, which all hold together with the confidence wanted.

    Returns:
        int64 [n] each, from 1; ties share the smallest: rank, lowest and highest rank possible.

    Source: M. Klein, T. Wright and J. Wieczorek, "A joint confidence region for an overall ranking
    of populations", Journal of the Royal Statistical Society C 69 (2020), 589-606.
    """
    there = ~np.isnan(rate)
    low, high = interval
    lows, highs, rates = np.sort(low[there]), np.sort(high[there]), np.sort(rate[there])
    place = 1 + len(rates) - np.searchsorted(rates, rate, side="right")
    first = 1 + len(rates) - np.searchsorted(lows, high, side="right")
    last = len(rates) - np.searchsorted(highs, low, side="left")
    return place, first, last


_ENDS = ("", *(f"_{end}" for end in RATE_ENDS))
