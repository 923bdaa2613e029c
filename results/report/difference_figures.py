"""Figures of differences: between two runs by layer, and between cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from results.analysis.criticality import METRIC
from results.errors import NothingToShowError
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
"""Cells that a figure of differences shows, of those that differ certainly."""

OTHERS = 5
"""Cells that it shows of the others, beside those."""

_POINTS = ["points", "points_low", "points_high"]
"""The columns of a difference and its bounds, in percentage points."""

_CHANGE = "{points:.3~g} percentage points ({points_low:.3~g} to {points_high:.3~g})"


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
    columns = ["place", *rates["a"], *rates["b"], *_POINTS, "method"]
    rows = _in_points(rows)
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
        rows: As ``against`` and ``paired_cells`` give them; ``drawn_of`` them are drawn.
        a: What ``rate_a`` is of.
        b: What ``rate_b`` is of.

    Raises:
        NothingToShowError: None of them differ certainly.
    """
    import plotly.graph_objects as go

    if not rows["certain"].any():
        raise NothingToShowError(f"None of the {len(rows):,} cells differs certainly.")
    rows = _in_points(drawn_of(rows))
    columns = ["place", "rate_a", "rate_b", *_POINTS, "pairs", "method", "certain"]
    places = rows["place"].tolist()
    figure = new_figure(
        title="Differences of cells",
        height=height_of(len(rows), row=ROW),
        xaxis={"title": {"text": "difference of what is lost, in percentage points"}},
        yaxis=row_axis(places),
        meta={"columns": columns},
    )
    figure.add_trace(
        go.Scatter(
            x=rows["points"].to_numpy(),
            y=escaped(places),
            error_x=error_bars(rows, *_POINTS),
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


def drawn_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the differences that are drawn: those that are certain, and the surest others."""
    import pandas as pd

    sure = rows["certain"].astype(bool)
    return pd.concat([rows[sure].head(SHOWN), rows[~sure].head(OTHERS)])


def _in_points(rows: pd.DataFrame) -> pd.DataFrame:
    values = 100 * rows[["difference", "low", "high"]].astype("float64")
    return rows.assign(**dict(zip(_POINTS, values.to_numpy().T, strict=True)))
