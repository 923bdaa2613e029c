"""Figures of recorded injections: where wrong decisions go, and where in a layer harm is done.

To be had from ``figures`` too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from results.report import plot_data
from results.report.figure_style import (
    OUTCOME_COLOURS,
    PERCENT,
    check_outcome,
    error_bars,
    escape,
    heat_colours,
    height_of,
    hover,
    new_figure,
    rate_axis,
    told,
)
from results.run_folder.schema import RATE_ENDS

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from results.analysis.vulnerability import Part
    from results.reading.run import Run

HIGHEST = 30
"""Rows that a figure shows, and classes of a drift; a figure of all would not be readable."""

MOST_POINTS = 2_000
"""Parts of a layer in a row of points: those with the highest lower bounds."""

MOST_BARS = 100
"""Points that have error bars; of more, only hovers tell the interval."""


def class_drift(run: Run, *, shown: int = HIGHEST) -> go.Figure:
    """Return which classes the sdc samples of each golden class are taken for.

    Args:
        run: The run; its injections were recorded.
        shown: How many classes are shown, those with most sdc samples.

    Raises:
        NothingToShowError: No injections were recorded, or none has classes and is sdc.
    """
    import plotly.graph_objects as go

    drift = plot_data.drift(run)
    most = drift.melt("count", ["golden_class", "faulty_class"], value_name="class")
    classes = most.groupby("class")["count"].sum().nlargest(shown).index.sort_values()
    table = {
        name: drift.pivot(index="golden_class", columns="faulty_class", values=name).reindex(
            index=classes, columns=classes
        )
        for name in ("share", "count")
    }
    labels = [str(name) for name in classes]
    ticks = {"tickvals": list(range(len(labels))), "ticktext": labels, "showgrid": False}
    figure = new_figure(
        title="Classes of sdc samples, golden to faulty",
        height=height_of(len(labels), row=26),
        xaxis={"title": {"text": "faulty class"}, **ticks},
        yaxis={"title": {"text": "golden class"}, **ticks, "autorange": "reversed"},
        meta={"columns": ["golden class", "faulty class", "sdc", "share of the golden class"]},
    )
    share = table["share"].to_numpy(np.float64)
    figure.add_trace(
        go.Heatmap(
            z=share,
            customdata=np.stack([table["count"].to_numpy(np.float64), share], axis=2),
            hovertemplate="golden class %{y}, faulty class %{x}<br>%{customdata[0]:,} sdc samples, "
            f"%{{z:{PERCENT}}} of those of the golden class<extra></extra>",
            **heat_colours(share, power=1),
        )
    )
    return figure


def vulnerability_map(
    run: Run,
    layer: str,
    *,
    by: Part = "position",
    variable: str | None = None,
    outcome: str = "sdc",
    confidence: float = 0.95,
) -> go.Figure:
    """Return the rate of an outcome over a layer's elements, channels or positions.

    Args:
        run: The run; its injections were recorded.
        layer: Address of the layer.
        by: ``element``, ``channel`` or ``position``; see ``Run.vulnerability_map``.
        variable: Variable of the layer, for faults in weights.
        outcome: ``sdc`` or ``due``.
        confidence: Two-sided confidence level of the intervals.

    Returns:
        A heat map where positions have two axes, else a row of points; of more than 2,000 those
        whose rates are surely the highest.

    Raises:
        NothingToShowError: No injection was recorded.
        ResultsError: As for ``Run.vulnerability_map``.
        ValueError: As for it, or ``outcome`` is another one.
    """
    check_outcome(outcome)
    values = plot_data.layer_map(run, layer, by=by, variable=variable, confidence=confidence)
    axes = list(values.columns[: values.columns.get_loc("injected")])
    title = f"Rate of {outcome} in {escape(layer)} by {by}"
    if by == "position" and len(axes) == 3:
        return _plane(values, axes[1:], outcome=outcome, title=title)
    return _points(values, axes[0], outcome=outcome, title=title)


def _plane(values: pd.DataFrame, axes: list[str], *, outcome: str, title: str) -> go.Figure:
    """Return the map of a layer whose positions have two axes."""
    import plotly.graph_objects as go

    names = _columns(outcome)
    down, across = (values[name].to_numpy(np.intp) for name in axes)
    cells = np.full((down.max() + 1, across.max() + 1, len(names)), np.nan)
    cells[down, across] = values[names].to_numpy(np.float64)
    figure = new_figure(
        title=title,
        height=height_of(len(cells), row=max(8, min(24, 420 // len(cells)))),
        xaxis={"title": {"text": axes[1]}, "showgrid": False, "constrain": "domain"},
        yaxis={
            "title": {"text": axes[0]},
            "showgrid": False,
            "autorange": "reversed",
            "scaleanchor": "x",
        },
        meta={"columns": [*axes, *names]},
    )
    figure.add_trace(
        go.Heatmap(
            z=cells[:, :, 0],
            customdata=cells,
            hovertemplate=hover(names, f"{axes[0]} %{{y}}, {axes[1]} %{{x}}", *_lines(outcome)),
            **heat_colours(cells[:, :, 0]),
        )
    )
    return figure


def _points(values: pd.DataFrame, axis: str, *, outcome: str, title: str) -> go.Figure:
    """Return the rates of places in a row, with intervals."""
    import plotly.graph_objects as go

    names = _columns(outcome)
    label, bars = axis, {}
    if len(values) > MOST_POINTS:
        label = f"{axis} ({MOST_POINTS:,} of {len(values):,})"
        values = values.nlargest(MOST_POINTS, names[1]).sort_values(axis)
    if len(values) <= MOST_BARS:
        bars = {"error_y": error_bars(values, *names[:3])}
    figure = new_figure(
        title=title,
        height=320,
        xaxis={"title": {"text": label}, "showgrid": False},
        yaxis=rate_axis(f"rate of {outcome}"),
        meta={"columns": [axis, *names]},
    )
    figure.add_trace(
        go.Scatter(
            x=values[axis].to_numpy(),
            y=values[names[0]].to_numpy(),
            mode="markers",
            marker={"color": OUTCOME_COLOURS[outcome], "size": 5},
            customdata=told(values, [axis, *names]),
            hovertemplate=hover([axis, *names], f"{axis} %{{x}}", *_lines(outcome)),
            **bars,
        )
    )
    return figure


def _columns(outcome: str) -> list[str]:
    return [*(f"{outcome}_{end}" for end in RATE_ENDS), outcome, "injected"]


def _lines(outcome: str) -> tuple[str, str]:
    return f"{outcome} {{{outcome}%}}", f"{{{outcome}:,}} of n = {{injected:,}} injected"
