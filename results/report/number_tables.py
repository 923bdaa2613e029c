"""The tables of all numbers: of layers and bits by rank, and of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from results.analysis.summary import KIND
from results.report import plot_data
from results.report.plots import or_none
from results.report.tables import arranged, json_of
from results.run_folder.schema import RATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from results.reading.run import Run
    from results.report.rankings import By, Ranking

SHOWN_CELLS = 20_000
"""Cells in the table that can be sorted and filtered: those that lose most."""

_ROW = (
    *("trials", "injected", "sdc+due_rate", "sdc+due_low", "sdc+due_high", "sdc_rate", "sdc_low"),
    *("sdc_high", "due_rate", "due_low", "due_high", "rank", "certain", "accuracy"),
)
"""Columns of rankings that the tables of layers and bits have."""


def number_tables(run: Run, ranked: Mapping[By, list[Ranking]]) -> dict[str, Any]:
    """Return the tables that can be sorted and filtered: of layers, of bits and of cells.

    Kind by kind, they begin with the highest rate of faults; within it, as ranks do, with the
    highest lower bound of what is lost.
    """
    import pandas as pd

    tables: dict[str, Any] = {}
    for by, found in ranked.items():
        if found:
            rows = [
                one.rows[["place", *_ROW]].assign(faults=one.kind or None, rate=one.rate)
                for kind in dict.fromkeys(one.kind for one in found)
                for one in reversed(found)
                if one.kind == kind
            ]
            frame = pd.concat(rows, ignore_index=True).rename(columns={"place": by})
            keys = [name for name in ("faults", "rate") if frame[name].nunique() > 1]
            left = {"faults", "rate"} - {*keys}
            tables[f"{by}s"] = json_of(arranged(frame.drop(columns=list(left)), [by, *keys]))
    cells = or_none(lambda: plot_data.by_cell(run))
    if cells is not None:
        total = len(cells)
        cells = cells.nlargest(min(total, SHOWN_CELLS), "sdc+due_low")
        cells = cells.sort_values(
            [*KIND, *RATES, "sdc+due_low"],
            ascending=[True] * len(KIND) + [False] * (len(RATES) + 1),
        )
        different = [name for name in plot_data.CELL[1:] if cells[name].nunique(dropna=False) > 1]
        shared = [name for name in plot_data.CELL[1:] if name not in different]
        told = [f"{name} {cells[name].iloc[0]}" for name in shared if cells[name].notna().all()]
        table = json_of(arranged(cells.drop(columns=shared), ["layer", *different]))
        tables["cells"] = {**table, "total": total, "shared": ", ".join(told)}
    return tables
