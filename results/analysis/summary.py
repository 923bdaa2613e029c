"""Trials added up by group, with rates and their confidence intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from results.analysis.rate_estimates import DESIGN, Estimator
from results.analysis.trial_source import TrialSource, sites_of_cells
from results.errors import ResultsError
from results.frames import check_columns, differing
from results.run_folder.schema import (
    DRAWN,
    RATE_ENDS,
    TALLIES,
    TRIALS,
    criteria_of,
    metrics_of,
)
from results.statistics.intervals import Floats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

MEANS = ("accuracy", "golden_accuracy")
"""Columns that are averaged over a group's cells, in each over its trials."""

KEYS = tuple(
    name for name in TRIALS.names if name not in {*TALLIES, *MEANS, "detected", "bare_trial_id"}
)
"""Columns that trials can be grouped by."""

COUNTS = ("injected", "masked", "benign", "sdc", "sdc_critical", "due", "due_changed")
"""Columns that are summed over a group's trials."""

NEEDED = (*TALLIES, *MEANS, *DESIGN, "repetition")
"""Columns that ``summarise`` needs, beside those to group by, metrics and criteria."""

CRITICAL = ("sdc", "due_changed")
"""What is added up as ``critical``: what injectors count that compare argmax alone."""

ADDED_UP = {"critical": CRITICAL, "sdc+due": ("sdc", "due")}
"""Outcomes that are added up, by what the sum is called."""

MEASURED = ("sdc", "due")
"""Outcomes that are columns of trials and get a rate over the injected samples."""

RATED = (*MEASURED, *ADDED_UP)
"""Outcomes that get a rate over the injected samples, and its bounds; criteria get them too."""


KIND = ("target", "fault", "parameters", "protection")
"""Columns that tell kinds of faults, and what protects from them, apart."""

WITHIN = (*KIND, *DRAWN)
"""Columns that tell kinds of faults and rates apart: groups are never of several of them."""


def outcomes_of(metric: str) -> tuple[str, ...]:
    """Return the columns of trials that are added up for a metric."""
    return ADDED_UP.get(metric, (metric,))


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


def told_apart(run: TrialSource, by: Sequence[str]) -> list[str]:
    """Return the columns that groups differ in beside those that they are asked by.

    A mean over kinds of faults, or over probabilities, counts or bit error rates, is that of no
    experiment, and nor is one over bits that were drawn from the sign and from the mantissa.
    """
    trials = run.trials([*WITHIN, "bit", "bit_field"])
    apart = [name for name in differing(trials, WITHIN) if name not in by]
    drawn = trials[trials["bit"].isna()]
    some = 0 < len(drawn) < len(trials)
    if "bit" in by and "bit_field" not in by and (some or differing(drawn, ["bit_field"])):
        apart.append("bit_field")
    return apart


def without_protection(trials: pd.DataFrame, place: str) -> pd.DataFrame:
    """Return the trials that nothing protects, for what has no row for each protection.

    If all are under the same protection, they are of one experiment and all are returned.

    Args:
        trials: Trials with the column ``protection``.
        place: What messages name.

    Raises:
        ResultsError: All trials have a protection, and not all the same.
    """
    bare = trials["protection"].isna()
    if bare.any():
        return trials[bare]
    if len(trials) and (several := trials["protection"].nunique()) > 1:
        raise ResultsError(
            f"all trials are under one of {several} protections, which are no one experiment",
            place=place,
            hint="Add `none` to the campaign's protections, and run it again.",
        )
    return trials


def summary(run: TrialSource, by: str | Sequence[str], confidence: float) -> pd.DataFrame:
    """Return a run's trials added up by group; see ``Run.summary``."""
    keys = grouping(by)
    return add_up(run, [*keys, *told_apart(run, keys)], confidence)


def add_up(run: TrialSource, keys: Sequence[str], confidence: float) -> pd.DataFrame:
    """Return a run's trials added up by group, whatever there is in a group."""
    schema = run.header.schema
    metrics, criteria = metrics_of(schema), criteria_of(schema)
    trials = run.trials(list(dict.fromkeys([*keys, *NEEDED, *metrics, *criteria])))
    sites = sites_of_cells(run)
    return summarise(trials, keys, confidence, metrics=metrics, criteria=criteria, sites=sites)


def summarise(
    trials: pd.DataFrame,
    by: Sequence[str],
    confidence: float,
    *,
    metrics: Sequence[str] = (),
    criteria: Sequence[str] = (),
    sites: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Return one row a group of ``trials``; see ``Run.summary``.

    Args:
        trials: Trials with the columns ``by``, ``NEEDED``, ``metrics`` and ``criteria``, one row
            an id.
        by: The columns to group by.
        confidence: Confidence level of the bounds.
        metrics: Columns that are averaged as ``MEANS`` are.
        criteria: Columns that are summed and get a rate.
        sites: See ``Estimator.of``.
    """
    import pandas as pd

    keys = list(by)
    sums = {name: trials[list(outcomes_of(name))].sum(axis=1) for name in ADDED_UP}
    trials = trials.assign(**sums)
    rows = trials.assign(trials=1)
    groups = rows.groupby(keys, observed=True, dropna=False, sort=True)
    counted = [*COUNTS, *ADDED_UP]
    table = groups[["trials", *counted]].sum().reset_index()
    estimator = Estimator.of(trials, np.asarray(groups.ngroup(), np.int64), sites or {})

    def rated(name: str) -> dict[str, Floats]:
        found = estimator.estimate(trials[name].to_numpy(np.int64), confidence)
        ends = zip(RATE_ENDS, (found.rate, found.low, found.high), strict=True)
        return {f"{name}_{end}": values for end, values in ends}

    for name in MEANS:
        table[name] = estimator.mean(trials[name])
    for name in RATED:
        table = table.assign(**rated(name))
    for name in metrics:
        table[name] = estimator.mean(trials[name])
    for name in criteria:
        table = table.assign(**{name: groups[name].sum().to_numpy()}, **rated(name))
    return table.assign(method=pd.Series(estimator.method, dtype="str"))
