"""Differences between the rates of cells of a run, and between those of two runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from results.analysis.paired import AT_ONCE, PAIRED, paired_differences
from results.analysis.rate_estimates import CLUSTERED, EXACT
from results.analysis.summary import NEEDED, RATED, outcomes_of, summarise
from results.analysis.trial_source import TrialSource, sites_of_cells
from results.frames import IN_A_LAYER, check_columns
from results.run_folder.schema import RATE_ENDS, criteria_of
from results.statistics.intervals import Floats, check_confidence, square_and_add

if TYPE_CHECKING:
    import pandas as pd


CELL = ("layer", *IN_A_LAYER)
"""Columns that say what a cell is, in the order in which cells are told."""

NEWCOMBE, SQUARE_AND_ADD = "newcombe", "square and add"
"""How a difference can have been estimated, beside exactly and trial by trial."""

WORST = "worst"
"""The baseline that is, for each question, the value with the highest rate."""

_SHARING = ("fault", "parameters", "bit", "bit_field", "probability")
"""In what paired cells may differ and yet share their sites."""


def differences(
    run: TrialSource, of: str, baseline: object | None, *, metric: str, confidence: float
) -> pd.DataFrame:
    """Return the differences between cells that differ in ``of``; see ``Run.differences``."""
    criteria = criteria_of(run.header.schema)
    if of == "protection":
        raise ValueError("of is 'protection': Run.protection compares protections, in pairs.")
    check_columns([of], CELL, "of")
    check_columns([metric], [*RATED, *criteria], "metric")
    keys = [*CELL, "sampling"]
    trials = run.trials(list(dict.fromkeys([*keys, *NEEDED, *criteria])))
    if of in ("bit", "bit_field"):
        # A numbered bit has a field too, the one that it lies in: bits of all fields are compared,
        # and fields by the cells whose bits were drawn from them.
        keys.remove("bit_field" if of == "bit" else "bit")
        numbered = trials["bit"].notna()
        trials = trials[numbered if of == "bit" else ~numbered].reset_index(drop=True)
    cells = summarise(
        trials, keys, check_confidence(confidence), criteria=criteria, sites=sites_of_cells(run)
    )
    others = [name for name in keys if name != of]
    groups = cells.groupby(others, observed=True, dropna=False, sort=False)
    family = np.asarray(groups.ngroup(), np.int64)
    first, second = _pairs(family, cells[of], _floats(cells[f"{metric}_rate"]), baseline)
    rates = difference(cells.iloc[first], cells.iloc[second], metric)
    rates.insert(0, "pairs", 0)
    if of in _SHARING:
        grouped = trials.groupby(keys, observed=True, dropna=False)
        hits = trials[list(outcomes_of(metric))].sum(axis=1)
        shared = trials[["repetition", "injected"]].assign(cell=grouped.ngroup(), **{metric: hits})
        shared["family"] = family[shared["cell"]]
        shared = shared[(trials["sampling"] == "paired").to_numpy()]
        _take_pairs(rates, shared, (first, second), metric, confidence)
    table = cells[others].iloc[first].reset_index(drop=True)
    table[f"{of}_a"] = cells[of].iloc[first].array
    table[f"{of}_b"] = cells[of].iloc[second].array
    return table.join(rates)


def difference(first: pd.DataFrame, second: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the differences of two summaries, row by row, taken as independent.

    Args:
        first: Rows of a summary; their rates are subtracted.
        second: As many of another, or of the same.
        metric: Whose rates.

    Returns:
        ``rate_a``, ``rate_b``, ``difference``, ``low``, ``high`` and ``method``.
    """
    import pandas as pd

    rate_a, low_a, high_a = (_floats(first[f"{metric}_{end}"]) for end in RATE_ENDS)
    rate_b, low_b, high_b = (_floats(second[f"{metric}_{end}"]) for end in RATE_ENDS)
    low, high = square_and_add(rate_a, (low_a, high_a), rate_b, (low_b, high_b))
    methods = [table["method"].to_numpy(object) for table in (first, second)]
    exact, spread = ([one == kind for one in methods] for kind in (EXACT, CLUSTERED))
    method = np.where(spread[0] | spread[1], SQUARE_AND_ADD, NEWCOMBE)
    return pd.DataFrame(
        {
            "rate_a": rate_a,
            "rate_b": rate_b,
            "difference": rate_b - rate_a,
            "low": low,
            "high": high,
            "method": np.where(exact[0] & exact[1], EXACT, method),
        }
    )


def surest_first(rows: pd.DataFrame, wide: pd.DataFrame) -> pd.DataFrame:
    """Return differences with the column ``certain``, those first that are the furthest from 0.

    Args:
        rows: As ``differences`` or ``compare`` give them.
        wide: The same with bounds that hold for all of them together.
    """
    low, high = (wide[name].to_numpy(np.float64) for name in ("low", "high"))
    found = rows.assign(certain=(low > 0) | (high < 0))
    sure = np.fmax(rows["low"].to_numpy(np.float64), -rows["high"].to_numpy(np.float64))
    apart = np.abs(rows["difference"].to_numpy(np.float64))
    return found.iloc[np.lexsort([-apart, -sure])].reset_index(drop=True)


def _pairs(
    family: npt.NDArray[np.int64], values: pd.Series[Any], rates: Floats, baseline: object | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows of cells to compare: int64 [pairs], first and second of each.

    Args:
        family: int64 [cells]; cells of the same one differ in nothing but the value.
        values: Of each cell, null in those that are left out.
        rates: float64 [cells].
        baseline: See ``Run.differences``.

    Raises:
        ValueError: No cell has the baseline.
    """
    there = values.notna().to_numpy()
    worst = baseline == WORST and WORST not in set(values.dropna())
    is_base = (values == baseline).fillna(value=False).to_numpy(np.bool_, copy=True)
    if baseline is not None and not worst and not is_base.any():
        known = ", ".join(str(value) for value in sorted(set(values.dropna()))) or "null"
        raise ValueError(f"baseline is {baseline!r}, expected a value that cells have: {known}.")
    pairs = [np.zeros((2, 0), np.int64)]
    order = np.argsort(family, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(family[order])) + 1):
        cells = rows[there[rows]]
        if worst and len(cells):
            is_base[cells[np.argmax(np.nan_to_num(rates[cells], nan=-1.0))]] = True
        if baseline is None:
            row, column = np.nonzero(np.tri(len(cells), k=-1, dtype=np.bool_).T)
            pairs.append(np.stack([cells[row], cells[column]]))
        else:
            pairs += [
                np.stack([np.full(len(cells) - 1, base), cells[cells != base]])
                for base in cells[is_base[cells]]
            ]
    first, second = np.concatenate(pairs, axis=1)
    return first, second


def _take_pairs(
    rates: pd.DataFrame,
    trials: pd.DataFrame,
    pairs: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    metric: str,
    confidence: float,
) -> None:
    """Put into ``rates`` what trials that share their sites tell, where they tell enough.

    Args:
        rates: What ``difference`` gives, and ``pairs``.
        trials: Trials that share their sites: ``cell``, ``family``, ``repetition``,
            ``injected``, ``metric``.
        pairs: The two cells of each row.
        metric: Whose rates.
        confidence: Confidence level of the bounds.
    """
    family = np.asarray(trials["family"], np.int64)
    for code in np.unique(family):
        wide = trials[family == code].pivot(
            index="cell", columns="repetition", values=[metric, "injected"]
        )
        cells = np.asarray(wide.index, np.int64)
        counts, sizes = (np.asarray(wide[name], np.float64) for name in (metric, "injected"))
        rows = np.flatnonzero(np.isin(pairs[0], cells))
        step = max(1, AT_ONCE // counts.shape[1])
        for start in range(0, len(rows), step):
            these = rows[start : start + step]
            a, b = (np.searchsorted(cells, side[these]) for side in pairs)
            told = paired_differences((counts[a], counts[b]), (sizes[a], sizes[b]), confidence)
            put_pairs(rates, these, told)


def put_pairs(
    rates: pd.DataFrame,
    rows: npt.NDArray[np.int64],
    told: tuple[dict[str, Floats], npt.NDArray[np.int64], npt.NDArray[np.bool_]],
) -> None:
    """Put into ``rows`` of ``rates`` what ``paired_differences`` told, where it tells enough."""
    values, shared, enough = told
    rates.loc[rows, "pairs"] = shared
    for name, column in values.items():
        rates.loc[rows[enough], name] = column[enough]
    rates.loc[rows[enough], "method"] = PAIRED


def _floats(values: pd.Series[float]) -> Floats:
    return np.asarray(values, np.float64)
