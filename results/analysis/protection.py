"""What protections bring: each against the same faults without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from results.analysis.differences import CELL, difference
from results.analysis.paired import PAIRED, paired_differences
from results.analysis.rate_estimates import EXACT
from results.analysis.summary import RATED, grouping, outcomes_of, summary
from results.analysis.trial_source import TrialSource
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

_PAIR = (*(name for name in CELL if name != "protection"), "sampling", "listed_as", "repetition")
"""Columns in which a trial and the one without its protection are equal."""


def protection(
    run: TrialSource, by: Sequence[str], *, metric: str, confidence: float
) -> pd.DataFrame:
    """Return what each protection makes of the same faults; see ``Run.protection``."""
    criteria = criteria_of(run.header.schema)
    check_columns([metric], [*RATED, *criteria], "metric")
    check_confidence(confidence)
    names = grouping([*by, "protection"])
    counted = list(outcomes_of(metric))
    trials = run.trials([*dict.fromkeys([*_PAIR, *names, "injected", *counted])])
    if trials.empty or trials["protection"].isna().all():
        raise NothingToShowError(
            "The run has no protection: `protections:` in a grid names some beside `none`."
        )
    table = summary(run, names, confidence)
    group = table.columns[: table.columns.get_loc("trials")].tolist()
    group.remove("protection")
    hits = trials.assign(hits=trials[counted].sum(axis=1))
    bare = hits[hits["protection"].isna()][[*_PAIR, "hits", "injected"]]
    pairs = hits[hits["protection"].notna()].merge(bare, on=list(_PAIR), suffixes=("", "_bare"))
    rows = [
        _row(own, base, _same(pairs, own, [*group, "protection"]), metric, confidence)
        for own, base in _with_bases(table, group)
    ]
    found = table.assign(**{name: [row[name] for row in rows] for name in rows[0]})
    found["detected"] = _detected(run, found, [*group, "protection"])
    ends = [f"{metric}_{end}" for end in RATE_ENDS]
    shown = dict.fromkeys(["trials", "injected", "detected", "sdc_rate", "due_rate", *ends])
    columns = [*group, "protection", *shown, "accuracy", "golden_accuracy", *rows[0]]
    order = found["protection"].astype(object).fillna("")
    return found.assign(_order=order).sort_values([*group, "_order"], ignore_index=True)[columns]


def _with_bases(table: pd.DataFrame, group: Sequence[str]) -> list[tuple[Any, Any]]:
    """Return each row of a summary with that of its group that has no protection, or None."""
    number = [0] * len(table)
    if group:
        number = table.groupby(list(group), dropna=False, observed=True).ngroup().tolist()
    rows = [row for _, row in table.iterrows()]
    bases = {
        at: row
        for at, row in zip(number, rows, strict=True)
        if not isinstance(row["protection"], str)
    }
    return [(row, bases.get(at)) for at, row in zip(number, rows, strict=True)]


def _same(rows: pd.DataFrame, one: Any, columns: Sequence[str]) -> pd.DataFrame:
    """Return the rows that are equal to one in some columns, nulls among them."""
    return rows[np.logical_and.reduce([_equal(rows[name], one[name]) for name in columns])]


def _equal(column: pd.Series[Any], value: Any) -> Any:
    import pandas as pd

    same = column.isna() if pd.isna(value) else (column == value).fillna(value=False)
    return same.to_numpy(np.bool_)


def _row(
    own: Any, base: Any, pairs: pd.DataFrame, metric: str, confidence: float
) -> dict[str, Any]:
    """Return how the rate under a protection differs from that without it."""
    nothing = dict.fromkeys((*_ENDS, *REDUCTION), np.nan) | {"pairs": 0, "method": None}
    if base is None or not isinstance(own["protection"], str):
        return nothing
    counts = tuple(_one(pairs[name]) for name in ("hits_bare", "hits"))
    sizes = tuple(_one(pairs[name]) for name in ("injected_bare", "injected"))
    told, shared, enough = paired_differences(
        (counts[0], counts[1]), (sizes[0], sizes[1]), confidence
    )
    independent = difference(base.to_frame().T, own.to_frame().T, metric).iloc[0]
    rates = [one[f"{metric}_rate"] for one in (base, own)]
    # Where cells count by their sites, or trials are missing, pairs have other rates.
    same = np.allclose(rates, [told["rate_a"][0], told["rate_b"][0]], atol=1e-12)
    exact, paired = independent["method"] == EXACT, bool(enough[0]) and same
    chosen = {name: told[name][0] if paired and not exact else independent[name] for name in _ENDS}
    reduction = 1 - rates[1] / rates[0] if rates[0] else np.nan
    bounds = (reduction, reduction) if exact else (np.nan, np.nan)
    if paired and not exact:
        bounds = _bounds(counts[0], counts[1], confidence)
    return {
        **nothing,
        **chosen,
        **dict(zip(REDUCTION, (reduction, *bounds), strict=True)),
        "pairs": int(shared[0]),
        "method": PAIRED if paired and not exact else independent["method"],
    }


def _one(column: pd.Series[Any]) -> Floats:
    values: Floats = column.to_numpy(np.float64)[np.newaxis]
    return values


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


def _detected(run: TrialSource, table: pd.DataFrame, columns: Sequence[str]) -> list[int]:
    """Return how many samples were stopped in each group."""
    trials = run.trials([*dict.fromkeys([*columns, "detected"])])
    trials = trials.assign(detected=trials["detected"].fillna(0))
    return [int(_same(trials, row, columns)["detected"].sum()) for _, row in table.iterrows()]
