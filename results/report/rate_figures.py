"""Figures of accuracy, and of what is lost, by layer or against the rate of faults.

To be had from ``figures`` too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from results.analysis.criticality import METRIC
from results.errors import NothingToShowError
from results.report import plot_data
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
    shortened,
    told,
)
from results.report.rank_figures import ROW
from results.report.rankings import Ranking, chosen, rankings
from results.report.site_figures import HIGHEST
from results.run_folder.schema import RATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import plotly.graph_objects as go

    from results.reading.run import Run

LINES = 6
"""Layers that have a line, those that lose most; more would share their colours."""

_RATES = {"probability": "probability", "count": "sites a sample or trial", "ber": "bit error rate"}
_ACCURACY = ("accuracy", "accuracy_low", "accuracy_high")
_LOST = tuple(f"{METRIC}_{end}" for end in ("rate", "low", "high"))

Value = Literal["accuracy", "lost"]
"""What stands at the vertical axis of curves."""


def accuracy(
    run: Run, *, label: str | None = None, shown: int = HIGHEST, confidence: float = 0.95
) -> go.Figure:
    """Return the mean accuracy under faults in each layer, with intervals, and that without.

    Args:
        run: The run.
        label: Which kind of faults at which rate; see ``criticality``.
        shown: How many layers are shown, those that lose most.
        confidence: Two-sided confidence level of the intervals.

    Raises:
        NothingToShowError: No trial is finished, or nothing was hit.
        ValueError: There is no such label.
    """
    one = chosen(rankings(run, "layer", confidence=confidence), label)
    return accuracy_by_layer(one, plot_data.accuracy(run, confidence=confidence), shown=shown)


def accuracy_by_layer(one: Ranking, values: pd.DataFrame, *, shown: int | None = None) -> go.Figure:
    """Return the figure of accuracies, in the order of a ranking.

    Args:
        one: The ranking.
        values: What ``plot_data.accuracy`` gives of the run.
        shown: How many layers are shown; None for all.
    """
    import plotly.graph_objects as go

    values = _in_order(one, values)
    values = values.head(shown) if shown else values
    names = values["place"].tolist()
    columns = ["place", *_ACCURACY, "golden_accuracy", "trials", "cells"]
    figure = new_figure(
        title="Accuracy under faults" + (f", {escape(one.label)}" if one.label else ""),
        height=height_of(len(names), row=ROW),
        xaxis=rate_axis("accuracy", zero=False),
        yaxis=row_axis(names),
        meta={"row": ROW, "columns": columns},
    )
    figure.add_trace(
        go.Scatter(
            x=values["accuracy"].to_numpy(),
            y=escaped(names),
            error_x=error_bars(values, *_ACCURACY),
            mode="markers",
            marker={"size": 8},
            customdata=told(values, columns),
            hovertemplate=[
                hover(
                    columns,
                    "{place}",
                    _accuracy_told(unknown),
                    "without faults {golden_accuracy:.2%}",
                    "{trials:,} trials in {cells:,} cells",
                )
                for unknown in values["accuracy_low"].isna()
            ],
        )
    )
    golden = values["golden_accuracy"].iloc[0]
    figure.add_vline(x=golden, line={"dash": "dot", "width": 1.5, "color": "#808080"})
    figure.add_annotation(
        x=golden,
        y=1,
        yref="paper",
        yanchor="bottom",
        text=f"without faults {golden:.2%}",
        showarrow=False,
    )
    return figure


def curves(
    run: Run,
    value: Value = "accuracy",
    *,
    kind: str | None = None,
    shown: int = LINES,
    confidence: float = 0.95,
) -> go.Figure:
    """Return accuracy, or the share that is lost, against the rate of faults, a line a layer.

    Args:
        run: The run.
        value: ``accuracy`` or ``lost``: sdc or due.
        kind: Which kind of faults, as the report calls it; the last by default.
        shown: How many layers are shown, those that lose most at the highest rate.
        confidence: Two-sided confidence level of the intervals.

    Raises:
        NothingToShowError: No trial is finished, nothing was hit, or there is one rate.
    """
    found = rankings(run, "layer", confidence=confidence)
    kind = found[-1].kind if kind is None else kind
    values = plot_data.accuracy(run, confidence=confidence)
    return against_rate([one for one in found if one.kind == kind], values, value, shown=shown)


def against_rate(
    found: Sequence[Ranking], values: pd.DataFrame, value: Value, *, shown: int | None = None
) -> go.Figure:
    """Return the curves of the rankings of a kind of faults.

    Args:
        found: The rankings, from the lowest rate to the highest.
        values: What ``plot_data.accuracy`` gives of the run.
        value: ``accuracy`` or ``lost``.
        shown: How many layers are shown; None for all.

    Raises:
        NothingToShowError: There are fewer than two rates.
    """
    import pandas as pd
    import plotly.graph_objects as go

    numbers = {name: [one.rows[name].iloc[0] for one in found] for name in RATES}
    rate = max(RATES, key=lambda name: pd.Series(numbers[name]).nunique())
    found = [one for one, at in zip(found, numbers[rate], strict=True) if pd.notna(at)]
    if len(found) < 2:
        raise NothingToShowError("There are not two rates.")
    names = _ACCURACY if value == "accuracy" else _LOST
    rows = pd.concat([_in_order(one, values) if value == "accuracy" else one.rows for one in found])
    each = sorted(float(at) for at in set(numbers[rate]) if pd.notna(at))
    wide = min(each) > 0 and max(each) / min(each) >= 8
    columns = [
        "place",
        rate,
        *names,
        *(("golden_accuracy",) if value == "accuracy" else ("sdc", "due", "injected")),
    ]
    figure = new_figure(
        title=f"{'Accuracy' if value == 'accuracy' else 'Lost samples'} against the rate",
        height=380,
        xaxis={
            "title": {"text": _RATES[rate]},
            "type": "log" if wide else "linear",
            **(
                {"tickvals": each, "ticktext": [f"{at:g}" for at in each]} if len(each) < 12 else {}
            ),
        },
        yaxis=rate_axis("accuracy", zero=False)
        if value == "accuracy"
        else rate_axis("share of injected samples, sdc or due"),
    )
    places = found[-1].rows["place"].head(shown or len(rows)).tolist()
    figure.layout.meta = {"lines": LINES, "places": escaped(places), "columns": columns}
    for number, (place, name) in enumerate(zip(places, shortened(places), strict=True)):
        line = rows[rows["place"] == place]
        figure.add_trace(
            go.Scatter(
                name=escape(name),
                line={"dash": "solid" if number < len(SERIES) else "dash"},
                x=line[rate].to_numpy(np.float64),
                y=line[names[0]].to_numpy(),
                error_y=error_bars(line, *names),
                mode="lines+markers",
                customdata=told(line, columns),
                hovertemplate=[
                    hover(
                        columns,
                        "{place}",
                        f"{_RATES[rate]} {{{rate}}}",
                        *(
                            [_accuracy_told(unknown)]
                            if value == "accuracy"
                            else [
                                f"lost {{{METRIC}%}}",
                                "{sdc:,} sdc and {due:,} due of n = {injected:,}",
                            ]
                        ),
                    )
                    for unknown in line[names[1]].isna()
                ],
            )
        )
    if value == "accuracy":
        golden = values["golden_accuracy"].iloc[0]
        figure.add_hline(y=golden, line={"dash": "dot", "width": 1.5, "color": "#808080"})
    return figure


def _accuracy_told(unknown: bool) -> str:
    """Return the line of a hover, with bounds unless they are not known."""
    return "accuracy {accuracy:.2%}" + (
        "" if unknown else " ({accuracy_low:.2%} to {accuracy_high:.2%})"
    )


def _in_order(one: Ranking, values: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a ranking's kind and rate in the order of its layers."""
    rows = one.select(values).set_index("place", drop=False)
    return rows.loc[[place for place in one.rows["place"] if place in rows.index]]
