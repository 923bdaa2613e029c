"""Two runs of the same plan compared: two models, or two versions of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from results.differences import CELL, difference
from results.frames import check_columns
from results.schema import criteria_of
from results.summary import RATED

if TYPE_CHECKING:
    import pandas as pd

    from results.answers import Answers


def compare(
    run_a: Answers, run_b: Answers, confidence: float = 0.95, *, metric: str = "sdc"
) -> pd.DataFrame:
    """Return how the rates of the same cells differ between two runs.

    Cells are the same where layer, target, variable, fault, its parameters, bits and rate are.
    The runs are taken as independent: with another model or other data, sites are drawn anew.

    Args:
        run_a: The first run; its rates are subtracted.
        run_b: The second.
        confidence: Two-sided confidence level of the bounds, between 0 and 1.
        metric: ``sdc``, ``due`` or a criterion that both runs have.

    Returns:
        One row a cell of either run, in the order of the first: the columns ``differences.CELL``;
        ``runs``, which is ``both``, or ``a`` or ``b`` for a cell that only one of them has;
        ``trials_a``, ``trials_b``, ``injected_a``, ``injected_b``, 0 where there is none;
        ``rate_a``, ``rate_b``, ``difference`` (b - a), ``low``, ``high``, NaN where they are not
        known; ``method``: ``newcombe``, ``square and add`` or ``exact``, null but for ``both``.

    Raises:
        ValueError: ``metric`` is none of both runs, or ``confidence`` is out of range.
    """
    criteria = [name for name in criteria_of(run_a.header.schema) if name in run_b.header.columns]
    check_columns([metric], [*RATED, *criteria], "metric")
    a, b = (_cells(run, confidence) for run in (run_a, run_b))
    table = a.merge(b, on=list(CELL), how="outer", suffixes=("_a", "_b"), sort=False)
    table = table.sort_values(["order_a", "order_b"], ignore_index=True, na_position="last")
    sides = [
        table[[f"{name}_{side}" for name in _ends(metric)]].set_axis(_ends(metric), axis=1)
        for side in ("a", "b")
    ]
    rates = difference(sides[0], sides[1], metric)
    both = table["order_a"].notna() & table["order_b"].notna()
    table["runs"] = np.where(both, "both", np.where(table["order_a"].notna(), "a", "b"))
    counts = [f"{name}_{side}" for name in ("trials", "injected") for side in ("a", "b")]
    table[counts] = table[counts].fillna(0).astype(np.int64)
    rates["method"] = rates["method"].where(both)
    return table[[*CELL, "runs", *counts]].join(rates)


def _ends(metric: str) -> list[str]:
    return [*(f"{metric}_{end}" for end in ("rate", "low", "high")), "method"]


def _cells(run: Answers, confidence: float) -> pd.DataFrame:
    """Return the cells of a run, strings as such: the layers of two models are other categories."""
    cells = run.summary(list(CELL), confidence=confidence)
    texts = cells.select_dtypes("category").columns
    cells[texts] = cells[texts].astype(object).where(cells[texts].notna(), None)
    return cells.assign(order=np.arange(len(cells), dtype=np.float64))
