"""The figures of a run, as Plotly figures: for notebooks, and the ones that the report shows.

Each function takes a run, as ``open_run`` returns it, and raises ``NothingToShowError``, whose
message says why, where its figure would be empty. Intervals are those of ``Run.summary``. The
figures that need recorded injections are in ``site_figures``, and to be had here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from results.errors import NothingToShowError
from results.report import plot_data
from results.report.figure_style import (
    OUTCOME_COLOURS,
    SERIES,
    SYMBOLS,
    check_outcome,
    error_bars,
    escape,
    escaped,
    heat_colours,
    height_of,
    new_figure,
    rate_axis,
    rate_columns,
    rate_hover,
    row_axis,
)
from results.report.site_figures import HIGHEST, class_drift, vulnerability_map
from results.run_folder.schema import RATES

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from results.reading.run import Run

RATES_SHOWN = 20
"""Rates that the figure of accuracies shows; of more, so many evenly spaced ones."""

__all__ = [
    "HIGHEST",
    "RATES_SHOWN",
    "accuracy",
    "bit_fields",
    "bit_heatmap",
    "class_drift",
    "criticality",
    "vulnerability_map",
]


def accuracy(run: Run, *, shown: int = RATES_SHOWN, confidence: float = 0.95) -> go.Figure:
    """Return the mean accuracy of each layer and rate, with intervals, and the golden accuracy.

    Args:
        run: The run.
        shown: How many rates to show. Of more, so many are shown from the lowest to the highest,
            evenly spaced by rank, and the axis says how many there are.
        confidence: Two-sided confidence level of the intervals.
    """
    import plotly.graph_objects as go

    values = plot_data.accuracy_by_rate(run, confidence=confidence)
    rows = list(dict.fromkeys(values["place"]))
    every = list(dict.fromkeys(values.sort_values(list(RATES))["rate"]))
    chosen = np.linspace(0, len(every) - 1, min(shown, len(every))).round().astype(int)
    rates = [every[at] for at in chosen]
    some = f" ({len(rates)} of {len(every):,} rates)" if len(rates) < len(every) else ""
    values = values[values["rate"].isin(rates)]
    values = values.assign(y=_spread(values["place"].map(rows.index)))
    figure = new_figure(
        title="Accuracy under faults",
        height=height_of(len(rows), row=max(20, 8 * int(values.groupby("place").size().max()))),
        xaxis={"title": {"text": f"accuracy{some}"}, "tickformat": "~%"},
        yaxis=row_axis(rows),
    )
    bounds = " (%{customdata[1]:.2%} to %{customdata[2]:.2%})"
    for number, rate in enumerate(rates):
        series = values[values["rate"] == rate]
        names = ["accuracy", "accuracy_low", "accuracy_high", "golden_accuracy", "trials", "cells"]
        figure.add_trace(
            go.Scatter(
                name=escape(rate),
                x=series["accuracy"].to_numpy(),
                y=series["y"].to_numpy(),
                error_x=error_bars(series, *names[:3]),
                mode="markers",
                marker=_marker(number),
                text=escaped(series["place"]),
                customdata=series[names].to_numpy(np.float64),
                hovertemplate=[
                    f"%{{text}}<br>{escape(rate)}<br>accuracy %{{x:.2%}}{'' if lone else bounds}"
                    "<br>golden %{customdata[3]:.2%}<br>"
                    "%{customdata[4]:,} trials in %{customdata[5]:,} cells<extra></extra>"
                    for lone in series["accuracy_low"].isna()
                ],
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
        NothingToShowError: No trial has a bit of its own, or none has the outcome.
        ValueError: ``outcome`` is another one.
    """
    import plotly.graph_objects as go

    check_outcome(outcome)
    values = plot_data.by_bit(run, confidence=confidence)
    if not values[outcome].any():
        raise NothingToShowError(plot_data.none_of(values, outcome))
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
            **heat_colours(cells[:, :, 0]),
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
            name="narrow" if narrow else None,
        )
        if lowest > bits[-1]:
            figure.add_vline(x=lowest - 0.5, line={"width": 1, "color": "#FFFFFF"})
    return figure


def bit_fields(run: Run, *, confidence: float = 0.95) -> go.Figure:
    """Return the rates of sdc and due by bit field over all layers, with intervals."""
    import plotly.graph_objects as go

    values = plot_data.by_bit_field(run, confidence=confidence)
    fields = (values["bit_field"].astype(str) + " " + values["place"]).str.strip()
    figure = new_figure(
        title="Rates by bit field",
        height=height_of(len(values), row=44),
        xaxis=rate_axis("share of injected samples"),
        yaxis=row_axis(fields.tolist()),
        bargap=0.3,
    )
    for outcome in OUTCOME_COLOURS:
        names = rate_columns(outcome)
        figure.add_trace(
            go.Bar(
                name=outcome,
                orientation="h",
                x=values[names[0]].to_numpy(),
                y=np.arange(len(values)),
                error_x=error_bars(values, *names[:3]),
                marker={"color": OUTCOME_COLOURS[outcome]},
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
        NothingToShowError: No injected sample has the outcome.
        ValueError: ``metric`` is another one.
    """
    import plotly.graph_objects as go

    check_outcome(metric)
    values = plot_data.ranking(run, metric=metric, confidence=confidence).head(shown)
    names = rate_columns(metric)
    figure = new_figure(
        title=f"Highest rates of {metric}",
        height=height_of(len(values)),
        xaxis=rate_axis(f"rate of {metric}"),
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
                "color": OUTCOME_COLOURS[metric],
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


def _spans(values: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Return the highest and the lowest bit of each bit field; none where layers differ in them."""
    bits = values[["bit", "bit_field"]].dropna().drop_duplicates()
    if bits["bit"].duplicated().any():
        return {}
    return {
        str(field): (int(rows["bit"].max()), int(rows["bit"].min()))
        for field, rows in bits.groupby("bit_field", observed=True)
    }


def _spread(rows: pd.Series[int]) -> pd.Series[float]:
    """Return where the points of a row are drawn: side by side, as they would cover each other."""
    in_row = rows.groupby(rows)
    place, count = in_row.cumcount(), in_row.transform("size")
    return rows + (place - (count - 1) / 2) * 0.6 / count


def _marker(number: int) -> dict[str, Any]:
    """Return colour and symbol of the series ``number``."""
    turn, place = divmod(number, len(SERIES))
    return {"color": SERIES[place], "symbol": SYMBOLS[(place + turn) % len(SYMBOLS)], "size": 8}
