"""Figures of what is critical: layers and bits by rank, and every layer at every bit.

Each is of one kind of fault at one rate. To be had from ``figures`` too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from results.analysis.criticality import METRIC
from results.errors import NothingToShowError
from results.report import plot_data
from results.report.figure_style import (
    OUTCOME_COLOURS,
    error_bars,
    escape,
    escaped,
    height_of,
    hover,
    log_heat,
    new_figure,
    rate_axis,
    row_axis,
    told,
)
from results.report.rankings import NO_BITS, By, Ranking, bit_names, chosen, rankings
from results.report.site_figures import HIGHEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import plotly.graph_objects as go

    from results.reading.run import Run

ROW = 18
"""Pixels that a row of a figure is high."""

MAP_ROW = 15
"""The same of a heat map."""

_ENDS = tuple(f"{METRIC}_{end}" for end in ("rate", "low", "high"))
_COUNTS = ("sdc", "due", "injected", "trials")
_LINES = (f"lost {{{METRIC}%}}", "{sdc:,} sdc and {due:,} due of n = {injected:,} injected")


def criticality(
    run: Run,
    by: By = "layer",
    *,
    label: str | None = None,
    shown: int = HIGHEST,
    confidence: float = 0.95,
) -> go.Figure:
    """Return layers or bits by the share of injected samples that faults in them lose.

    Filled markers are ranks that are certain; open ones, where the intervals allow other ranks.

    Args:
        run: The run.
        by: ``layer`` or ``bit``.
        label: Which kind of faults at which rate, as the report calls it, such as ``BER 1e-06``;
            by default the last kind at its highest rate.
        shown: How many layers are shown.
        confidence: Two-sided confidence level of each interval, and of all ranks together.

    Raises:
        NothingToShowError: No trial is finished, nothing was hit or lost, or there are no bits.
        ValueError: There is no such label.

    Examples:
        >>> from injecttf2 import open_run
        >>> from results.report import figures
        >>> figure = figures.criticality(open_run("runs/first"), "bit")
        >>> figure.layout.title.text
        'Bits over all layers'
        >>> figure.write_html("bits.html")
    """
    one = chosen(rankings(run, by, confidence=confidence), label)
    return layers_by_rank(one, shown=shown) if by == "layer" else bits_in_order(one)


def layers_by_rank(one: Ranking, *, shown: int | None = None) -> go.Figure:
    """Return the figure of a ranking of layers, the most critical on top."""
    rows = _lost(one).head(shown) if shown else _lost(one)
    names = rows["place"].tolist()
    figure = new_figure(
        title=_title("Most critical layers", one),
        height=height_of(len(names), row=ROW),
        xaxis=rate_axis("share that is lost"),
        yaxis=row_axis(names),
        barmode="stack",
        bargap=0.35,
        meta={"row": ROW},
    )
    across = {"orientation": "h", "y": escaped(names)}
    return _ranked(figure, rows, across, "x", "{place}")


def bits_in_order(one: Ranking) -> go.Figure:
    """Return the figure of a ranking of bits, the most significant on the left, then of fields."""
    rows = _lost(one)
    names = _in_order(rows)
    rows = rows.assign(name=bit_names(rows)).set_index("name").loc[names].reset_index()
    figure = new_figure(
        title=_title("Bits over all layers", one),
        height=200,
        xaxis=bit_axis(names),
        yaxis=rate_axis("share that is lost"),
        barmode="stack",
        bargap=0.2,
        meta={},
    )
    _name_fields(figure, rows)
    return _ranked(figure, rows, {"x": names}, "y", "{place}")


def bit_heatmap(run: Run, *, label: str | None = None, confidence: float = 0.95) -> go.Figure:
    """Return the share that is lost by layer and bit, on a logarithmic scale.

    Layers are by rank, the most significant bit is on the left; where none was lost the colour is
    one of its own.

    Args:
        run: The run.
        label: Which kind of faults at which rate; see ``criticality``.
        confidence: Two-sided confidence level of the intervals that the hovers tell.

    Raises:
        NothingToShowError: No trial has a bit of its own, nothing was hit or lost, or there is one
            layer or one bit, of which ``criticality`` tells the same.
        ValueError: There is no such label.
    """
    one = chosen(rankings(run, "layer", confidence=confidence), label)
    return layers_and_bits(one, plot_data.by_bit(run, confidence=confidence))


def layers_and_bits(one: Ranking, values: pd.DataFrame) -> go.Figure:
    """Return the heat map of a ranking of layers.

    Args:
        one: The ranking; its order is that of the rows.
        values: What ``plot_data.by_bit`` gives of the run.
    """
    import plotly.graph_objects as go

    values = one.select(values)
    if values.empty:
        raise NothingToShowError(NO_BITS)
    _check_lost(values)
    there = {*values["place"]}
    rows = [name for name in one.rows["place"] if name in there]
    bits = _in_order(values)
    if len(rows) == 1 or len(bits) == 1:
        raise NothingToShowError(
            "A map of layers and bits has several of both; of one, the bars tell the same."
        )
    names = [*_ENDS, *_COUNTS]
    cells = np.full((len(rows), len(bits), len(names)), np.nan)
    down = values["place"].map({place: row for row, place in enumerate(rows)}).to_numpy(np.intp)
    across = [bits.index(name) for name in bit_names(values)]
    cells[down, across] = values[names].to_numpy(np.float64)
    figure = new_figure(
        title=_title("Layers and bits", one),
        height=height_of(len(rows), row=MAP_ROW) + 8,
        margin={"l": 8, "r": 20, "t": 48, "b": 90},
        xaxis=bit_axis(bits),
        yaxis=row_axis(rows),
        meta={"row": MAP_ROW, "columns": ["layer", "bit", *names]},
    )
    figure.add_trace(
        go.Heatmap(
            x=bits,
            y=escaped(rows),
            customdata=cells,
            hovertemplate=hover(names, "%{y}", "bit %{x}", *_LINES),
            **log_heat(cells[:, :, 0], height=figure.layout.height),
        )
    )
    _name_fields(figure, values)
    return figure


def _in_order(rows: pd.DataFrame) -> list[str]:
    """Return the names of bits, the most significant first, then those of fields."""
    bits = rows["bit"].dropna().unique().tolist()
    drawn = {*rows.loc[rows["bit"].isna(), "bit_field"]}
    return [
        *(str(bit) for bit in sorted(bits, reverse=True)),
        *(name for name in plot_data.FIELDS if name in drawn),
    ]


def bit_axis(names: Sequence[str]) -> dict[str, Any]:
    """Return the horizontal axis of the bits that were injected, each of which has its label."""
    fields = not any(name.isdecimal() for name in names)
    return {
        "title": {
            "text": "field that the bit was drawn from" if fields else "bit",
            "standoff": 4,
        },
        "type": "category",
        "categoryorder": "array",
        "categoryarray": list(names),
        "tickvals": list(names),
        "ticktext": list(names),
        "range": [-0.5, len(names) - 0.5],
        "showgrid": False,
    }


def _ranked(
    figure: go.Figure, rows: pd.DataFrame, along: dict[str, Any], value: str, name: str
) -> go.Figure:
    """Put bars of the outcomes into a figure, and markers of their sum with its interval.

    Args:
        figure: The figure.
        rows: Of a ranking.
        along: Where the bars stand.
        value: The axis of the rate: ``x`` or ``y``.
        name: First line of the hovers.
    """
    import plotly.graph_objects as go

    for outcome, colour in OUTCOME_COLOURS.items():
        bars = {**along, value: rows[f"{outcome}_rate"].to_numpy()}
        figure.add_trace(go.Bar(name=outcome, **bars, marker={"color": colour}, hoverinfo="skip"))
    columns = ["place", *_ENDS, "rank", "rank_low", "rank_high", "certain", *_COUNTS]
    along = {name: at for name, at in along.items() if name != "orientation"}
    points = {**along, value: rows[_ENDS[0]].to_numpy()}
    lines = ("rank {rank} ({rank_low} to {rank_high})",)
    figure.add_trace(
        go.Scatter(
            name="sdc + due",
            **points,
            **{f"error_{value}": error_bars(rows, *_ENDS)},
            mode="markers",
            cliponaxis=False,
            marker={
                "size": 7,
                "color": "#6E7781",
                "symbol": np.where(rows["certain"], "circle", "circle-open").tolist(),
            },
            customdata=told(rows, columns),
            hovertemplate=hover(columns, name, *_LINES, *lines),
        )
    )
    figure.layout.meta = {**figure.layout.meta, "columns": columns}
    return figure


def _lost(one: Ranking) -> pd.DataFrame:
    """Return the rows of a ranking, in some of which samples were lost.

    Raises:
        NothingToShowError: In none.
    """
    _check_lost(one.rows)
    return one.rows


def _check_lost(rows: pd.DataFrame) -> None:
    if not (rows["sdc"] + rows["due"]).any():
        raise NothingToShowError(plot_data.none_of(rows, "sdc or due"))


def _title(what: str, one: Ranking) -> str:
    return f"{what}, {escape(one.label)}" if one.label else what


def _name_fields(figure: go.Figure, values: pd.DataFrame) -> None:
    """Write the names of bit fields above a figure whose horizontal axis has bits.

    The page shortens those that have no room: annotations say above how many bits they stand.
    """
    bits = values[["bit", "bit_field"]].dropna().drop_duplicates()
    if bits["bit"].duplicated().any():
        return  # layers of several types
    fields = bits.sort_values("bit", ascending=False)["bit_field"].astype(str).tolist()
    for field in dict.fromkeys(fields):
        first, count = fields.index(field), fields.count(field)
        figure.add_annotation(
            x=first + (count - 1) / 2,
            y=1,
            yref="paper",
            yanchor="bottom",
            text=escape(field),
            showarrow=False,
            name=f"above {count}",
        )
        if first > 0:
            line = {"width": 1, "dash": "dot", "color": "#8A929A"}
            figure.add_vline(x=first - 0.5, line=line)
