"""Trials added up by group, with rates and their confidence intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from results.frames import check_columns
from results.schema import TALLIES, TRIALS
from results.statistics import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

MEANS = ("accuracy", "golden_accuracy")
"""Columns that are averaged over a group's trials, weighted by their samples."""

KEYS = tuple(name for name in TRIALS.names if name not in {*TALLIES, *MEANS})
"""Columns that trials can be grouped by."""

COUNTS = ("injected", "masked", "benign", "sdc", "sdc_critical", "due")
"""Columns that are summed over a group's trials."""

RATED = ("sdc", "due")
"""Outcomes that get a rate over the injected samples, and its bounds."""


def grouping(by: str | Sequence[str]) -> list[str]:
    """Return ``by`` as a list of columns.

    Raises:
        ValueError: It is empty or names a column that trials cannot be grouped by.
    """
    names = [by] if isinstance(by, str) else list(dict.fromkeys(by))
    if not names:
        raise ValueError(f"by is empty, expected at least one of: {', '.join(KEYS)}.")
    check_columns(names, KEYS, "by")
    return names


def summarise(trials: pd.DataFrame, by: Sequence[str], confidence: float) -> pd.DataFrame:
    """Return one row a group of ``trials``; see ``Run.summary``.

    Args:
        trials: Trials with the columns ``by``, ``TALLIES`` and ``MEANS``, one row an id.
        by: The columns to group by.
        confidence: Confidence level of the bounds.
    """
    keys = list(by)
    rows = trials.assign(**{name: trials[name] * trials["samples"] for name in MEANS}, trials=1)
    groups = rows.groupby(keys, observed=True, dropna=False, sort=True)
    sums = groups[["trials", "samples", *COUNTS, *MEANS]].sum().reset_index()
    samples = sums["samples"].where(sums["samples"] > 0).astype("float64")
    for name in MEANS:
        sums[name] = sums[name].astype("float64") / samples
    injected = sums["injected"].to_numpy(dtype=np.float64)
    for name in RATED:
        count = sums[name].to_numpy(dtype=np.float64)
        low, high = wilson(count, injected, confidence)
        with np.errstate(invalid="ignore"):
            sums[f"{name}_rate"] = count / injected
        sums[f"{name}_low"], sums[f"{name}_high"] = low, high
    return sums.drop(columns="samples")
