"""Figures of differences: between two runs by layer, and between cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from results.analysis.criticality import METRIC
from results.report.figure_style import (
    SERIES,
    error_bars,
    escape,
    escaped,
    height_of,
    hover,
    new_figure,
    rate_axis,
    row_axis,
    told,
)

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

ROW = 24
"""Pixels that a row of a figure is high."""

SHOWN = 30
"""Cells that a figure of differences shows."""

_CHANGE = "difference {difference:.3~p} ({low:.3~p} to {high:.3~p})"


def two_runs(rows: pd.DataFrame, names: tuple[str, str]) -> go.Figure:
    """Return what two runs lose in each layer, with intervals.

    Args:
        rows: Of ``Against.layers``.
        names: What the runs are called.
    """
    import plotly.graph_objects as go

    places = rows["place"].tolist()
    ends = ("rate", "low", "high")
    rates = {side: [f"{METRIC}_{end}_{side}" for end in ends] for side in "ab"}
    columns = ["place", *rates["a"], *rates["b"], "difference", "low", "high", "method"]
    figure = new_figure(
        title="Two runs by layer",
        height=height_of(len(places), row=ROW),
        xaxis=rate_axis("share that is lost"),
        yaxis=row_axis(places),
        scattermode="group",
        meta={"row": ROW, "columns": columns},
    )
    for number, (side, name) in enumerate(zip("ab", names, strict=True)):
        own = (f"%{{customdata[{columns.index(one)}]:.3~p}}" for one in rates[side])
        figure.add_trace(
            go.Scatter(
                name=escape(name),
                x=rows[rates[side][0]].to_numpy(),
                y=escaped(places),
                error_x=error_bars(rows, *rates[side]),
                orientation="h",
                mode="markers",
                marker={
                    "size": 8,
                    "color": SERIES[number],
                    "symbol": ("circle", "diamond")[number],
                },
                customdata=told(rows, columns),
                hovertemplate=hover(
                    columns, "{place}", escape(name) + " {} ({} to {})".format(*own), _CHANGE
                ),
            )
        )
    return figure


def cell_differences(rows: pd.DataFrame, *, a: str, b: str) -> go.Figure:
    """Return the differences of cells, with intervals; filled where they are certain.

    Args:
        rows: As ``against`` and ``paired_cells`` give them; the first ``SHOWN`` are drawn.
        a: What ``rate_a`` is of.
        b: What ``rate_b`` is of.
    """
    import plotly.graph_objects as go

    rows = rows.head(SHOWN)
    columns = [
        "place",
        "rate_a",
        "rate_b",
        "difference",
        "low",
        "high",
        "pairs",
        "method",
        "certain",
    ]
    places = rows["place"].tolist()
    figure = new_figure(
        title="Differences of cells",
        height=height_of(len(rows), row=ROW),
        xaxis={"title": {"text": "difference of what is lost"}, "tickformat": "~%"},
        yaxis=row_axis(places),
        meta={"columns": columns},
    )
    figure.add_trace(
        go.Scatter(
            x=rows["difference"].to_numpy(),
            y=escaped(places),
            error_x=error_bars(rows, "difference", "low", "high"),
            mode="markers",
            marker={
                "size": 8,
                "color": SERIES[0],
                "symbol": np.where(rows["certain"], "circle", "circle-open").tolist(),
            },
            customdata=told(rows, columns),
            hovertemplate=hover(
                columns,
                "{place}",
                f"{escape(a)} {{rate_a:.3~p}}, {escape(b)} {{rate_b:.3~p}}",
                _CHANGE,
                "{method}, {pairs:,} shared trials",
            ),
        )
    )
    figure.add_vline(x=0, line={"width": 1.5, "dash": "dot", "color": "#808080"})
    return figure
