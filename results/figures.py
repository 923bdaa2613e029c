"""The figures of a run, as Plotly figures: for notebooks, and the ones that the report shows.

Each function takes a run, as ``open_run`` returns it, and raises ``NothingToShowError``, whose
message says why, where its figure would be empty. Intervals are those of ``Run.summary``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from results import views
from results.figure_style import (
    DUE,
    PERCENT,
    SDC,
    SERIES,
    SYMBOLS,
    colour_scale,
    error_bars,
    escape,
    escaped,
    height_of,
    new_figure,
    rate_columns,
    rate_hover,
    row_axis,
)
from results.labels import RATES

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from results.run import Run

OF_RATE = ("sdc", "due")
"""The outcomes whose rates are shown."""

HIGHEST = 30
"""Places that a ranking shows, and classes of a drift; a figure of all would not be readable."""

_COLOURS = {"sdc": SDC, "due": DUE}


def accuracy(run: Run, *, confidence: float = 0.95) -> go.Figure:
    """Return the mean accuracy of each layer and rate, with intervals, and the golden accuracy."""
    import plotly.graph_objects as go

    values = views.accuracy_by_rate(run, confidence=confidence)
    rows = list(dict.fromkeys(values["place"]))
    rates = list(dict.fromkeys(values.sort_values(list(RATES))["rate"]))
    figure = new_figure(
        title="Accuracy under faults",
        height=height_of(len(rows), row=max(20, 7 * len(rates))),
        xaxis={"title": {"text": "accuracy"}, "tickformat": ".0%"},
        yaxis=row_axis(rows),
    )
    for number, rate in enumerate(rates):
        series = values[values["rate"] == rate]
        offset = (number - (len(rates) - 1) / 2) * 0.6 / len(rates)
        names = ["accuracy", "accuracy_low", "accuracy_high", "golden_accuracy", "trials", "cells"]
        figure.add_trace(
            go.Scatter(
                name=escape(rate),
                x=series["accuracy"].to_numpy(),
                y=np.array([rows.index(place) + offset for place in series["place"]]),
                error_x=error_bars(series, *names[:3]),
                mode="markers",
                marker=_marker(number),
                text=escaped(series["place"]),
                customdata=series[names].to_numpy(np.float64),
                hovertemplate="%{text}<br>" + escape(rate) + "<br>accuracy %{x:.2%} "
                "(%{customdata[1]:.2%} to %{customdata[2]:.2%})<br>golden %{customdata[3]:.2%}<br>"
                "%{customdata[4]:,} trials in %{customdata[5]:,} cells<extra></extra>",
            )
        )
    golden = values["golden_accuracy"].iloc[0]
    figure.add_vline(x=golden, line={"dash": "dot", "width": 1.5, "color": "#808080"})
    figure.add_annotation(
        x=golden, y=1, yref="paper", yanchor="bottom", text=f"golden {golden:.2%}", showarrow=False
    )
    return figure


def bit_heatmap(run: Run, outcome: str = "sdc", *, confidence: float = 0.95) -> go.Figure:
    """Return the rate of an outcome by layer and bit, the most significant bit on the left.

    Args:
        run: The run.
        outcome: ``sdc`` or ``due``.
        confidence: Of the intervals that the hovers tell.

    Raises:
        NothingToShowError: No trial has a bit of its own.
        ValueError: ``outcome`` is another one.
    """
    import plotly.graph_objects as go

    _check_outcome(outcome)
    values = views.by_bit(run, confidence=confidence)
    rows = list(dict.fromkeys(values["place"]))
    bits = np.arange(values["bit"].max(), values["bit"].min() - 1, -1)
    names = rate_columns(outcome)
    cells = np.full((len(rows), len(bits), len(names)), np.nan)
    down = values["place"].map({place: row for row, place in enumerate(rows)}).to_numpy(np.intp)
    across = (bits[0] - values["bit"]).to_numpy(np.intp)
    cells[down, across] = values[names].to_numpy(np.float64)
    figure = new_figure(
        title=f"Rate of {outcome} by layer and bit",
        height=height_of(len(rows)),
        xaxis={
            "title": {"text": "bit, the most significant on the left"},
            "tickvals": [bit for bit in bits.tolist() if bit % 8 == 7 or bit in bits[[0, -1]]],
            "range": [bits[0] + 0.5, bits[-1] - 0.5],
            "showgrid": False,
        },
        yaxis=row_axis(rows),
    )
    figure.add_trace(
        go.Heatmap(
            x=bits,
            z=cells[:, :, 0],
            customdata=cells,
            text=np.repeat(np.array(escaped(rows))[:, None], len(bits), axis=1),
            hovertemplate="%{text}<br>bit %{x}<br>" + rate_hover(outcome) + "<extra></extra>",
            **_scale(cells[:, :, 0]),
        )
    )
    for field, (highest, lowest) in _spans(values).items():
        narrow = highest - lowest < 2  # then its name has room on the left only
        figure.add_annotation(
            x=lowest - 0.5 if narrow else (highest + lowest) / 2,
            y=1,
            yref="paper",
            xanchor="right" if narrow else "center",
            yanchor="bottom",
            text=escape(field),
            showarrow=False,
        )
        if lowest > bits[-1]:
            figure.add_vline(x=lowest - 0.5, line={"width": 1, "color": "#FFFFFF"})
    return figure


def bit_fields(run: Run, *, confidence: float = 0.95) -> go.Figure:
    """Return the rates of sdc and due by bit field over all layers, with intervals."""
    import plotly.graph_objects as go

    values = views.by_bit_field(run, confidence=confidence)
    fields = (values["bit_field"].astype(str) + " " + values["place"]).str.strip()
    figure = new_figure(
        title="Rates by bit field",
        height=height_of(len(values), row=44),
        xaxis={
            "title": {"text": "share of injected samples"},
            "tickformat": "~%",
            "rangemode": "tozero",
        },
        yaxis=row_axis(fields.tolist()),
        bargap=0.3,
    )
    for outcome in OF_RATE:
        names = rate_columns(outcome)
        figure.add_trace(
            go.Bar(
                name=outcome,
                orientation="h",
                x=values[names[0]].to_numpy(),
                y=np.arange(len(values)),
                error_x=error_bars(values, *names[:3]),
                marker={"color": _COLOURS[outcome]},
                text=escaped(fields.tolist()),
                textposition="none",
                customdata=values[names].to_numpy(np.float64),
                hovertemplate="%{text}<br>" + rate_hover(outcome) + "<extra></extra>",
            )
        )
    return figure


def criticality(
    run: Run, *, metric: str = "sdc", shown: int = HIGHEST, confidence: float = 0.95
) -> go.Figure:
    """Return the layers and bits with the highest rate, ranked, with intervals.

    Filled markers are ranks that are certain: no other interval overlaps.

    Args:
        run: The run.
        metric: ``sdc`` or ``due``.
        shown: How many places are shown.
        confidence: Of the intervals.

    Raises:
        NothingToShowError: No sample was injected.
        ValueError: ``metric`` is another one.
    """
    import plotly.graph_objects as go

    _check_outcome(metric)
    values = views.ranking(run, metric=metric, confidence=confidence).head(shown)
    names = rate_columns(metric)
    figure = new_figure(
        title=f"Highest rates of {metric}",
        height=height_of(len(values)),
        xaxis={"title": {"text": f"rate of {metric}"}, "tickformat": "~%", "rangemode": "tozero"},
        yaxis=row_axis(values["place"].tolist()),
        showlegend=False,
    )
    figure.add_trace(
        go.Scatter(
            x=values[names[0]].to_numpy(),
            y=np.arange(len(values)),
            error_x=error_bars(values, *names[:3]),
            mode="markers",
            marker={
                "color": _COLOURS[metric],
                "size": 8,
                "symbol": np.where(values["certain"], "circle", "circle-open").tolist(),
            },
            text=escaped(values["place"].tolist()),
            customdata=values[[*names, "rank", "rank_low", "rank_high"]].to_numpy(np.float64),
            hovertemplate="%{text}<br>" + rate_hover(metric) + "<br>rank %{customdata[6]} "
            "(%{customdata[7]} to %{customdata[8]})<extra></extra>",
        )
    )
    return figure


def class_drift(run: Run, *, shown: int = HIGHEST) -> go.Figure:
    """Return which classes the sdc samples of each golden class are taken for.

    Args:
        run: The run; its injections were recorded.
        shown: How many classes are shown, those with most sdc samples.

    Raises:
        NothingToShowError: No injections were recorded, or none has classes and is sdc.
    """
    import plotly.graph_objects as go

    drift = views.drift(run)
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
    )
    share = table["share"].to_numpy(np.float64)
    figure.add_trace(
        go.Heatmap(
            z=share,
            customdata=table["count"].to_numpy(np.float64),
            hovertemplate="golden class %{y}, faulty class %{x}<br>%{customdata:,} sdc samples, "
            f"%{{z:{PERCENT}}} of those of the golden class<extra></extra>",
            **_scale(share),
        )
    )
    return figure


def vulnerability_map(
    run: Run, layer: str, *, by: str = "position", outcome: str = "sdc"
) -> go.Figure:
    """Return the rate of an outcome over a layer's elements, channels or positions.

    Args:
        run: The run; its injections were recorded.
        layer: Address of the layer.
        by: ``element``, ``channel`` or ``position``; see ``Run.vulnerability_map``.
        outcome: ``sdc`` or ``due``.

    Returns:
        A heat map where positions have two axes, else a row of points with intervals.

    Raises:
        NothingToShowError: No injection into the layer was recorded.
        ValueError: ``outcome`` or ``by`` is another one.
    """
    _check_outcome(outcome)
    values = views.layer_map(run, layer, by=by)
    axes = list(values.columns[: values.columns.get_loc("injected")])
    title = f"Rate of {outcome} in {escape(layer)} by {by}"
    if by == "position" and len(axes) == 3:
        return _plane(values, axes[1:], outcome=outcome, title=title)
    return _points(values, axes[0], outcome=outcome, title=title)


def _plane(values: pd.DataFrame, axes: list[str], *, outcome: str, title: str) -> go.Figure:
    """Return the map of a layer whose positions have two axes."""
    import plotly.graph_objects as go

    names = [name for name in rate_columns(outcome) if name != "trials"]
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
    )
    figure.add_trace(
        go.Heatmap(
            z=cells[:, :, 0],
            customdata=cells,
            hovertemplate=f"{axes[0]} %{{y}}, {axes[1]} %{{x}}<br>"
            + rate_hover(outcome, trials=False)
            + "<extra></extra>",
            **_scale(cells[:, :, 0]),
        )
    )
    return figure


def _points(values: pd.DataFrame, axis: str, *, outcome: str, title: str) -> go.Figure:
    """Return the rates of places in a row, with intervals."""
    import plotly.graph_objects as go

    names = [name for name in rate_columns(outcome) if name != "trials"]
    figure = new_figure(
        title=title,
        height=320,
        xaxis={"title": {"text": axis}, "showgrid": False},
        yaxis={"title": {"text": f"rate of {outcome}"}, "tickformat": "~%", "rangemode": "tozero"},
    )
    figure.add_trace(
        go.Scatter(
            x=values[axis].to_numpy(),
            y=values[names[0]].to_numpy(),
            error_y=error_bars(values, *names[:3]),
            mode="markers",
            marker={"color": _COLOURS[outcome], "size": 5},
            customdata=values[names].to_numpy(np.float64),
            hovertemplate=f"{axis} %{{x}}<br>"
            + rate_hover(outcome, trials=False)
            + "<extra></extra>",
        )
    )
    return figure


def _spans(values: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Return the highest and the lowest bit of each bit field; none where layers differ in them."""
    bits = values[["bit", "bit_field"]].dropna().drop_duplicates()
    if bits["bit"].duplicated().any():
        return {}
    return {
        str(field): (int(rows["bit"].max()), int(rows["bit"].min()))
        for field, rows in bits.groupby("bit_field", observed=True)
    }


def _scale(rates: Any) -> dict[str, Any]:
    """Return the colours of a heat map of ``rates``, float64 with NaN where nothing is known."""
    return {
        "colorscale": colour_scale(),
        "zmin": 0,
        "zmax": float(np.nanmax(rates)) or 1,
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
        "colorbar": {"tickformat": "~%", "thickness": 12, "outlinewidth": 0, "len": 1},
    }


def _check_outcome(outcome: str) -> None:
    if outcome not in OF_RATE:
        raise ValueError(f"outcome is {outcome!r}, expected one of: {', '.join(OF_RATE)}.")


def _marker(number: int) -> dict[str, Any]:
    """Return colour and symbol of the series ``number``."""
    turn, place = divmod(number, len(SERIES))
    return {"color": SERIES[place], "symbol": SYMBOLS[(place + turn) % len(SYMBOLS)], "size": 8}
