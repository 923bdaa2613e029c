"""How all figures look: colours that the colour-blind can tell apart, axes, and words in them."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import plotly.graph_objects as go

Floats = npt.NDArray[np.float64]

OUTCOME_COLOURS = {"sdc": "#D55E00", "due": "#0072B2"}
"""The outcomes whose rates are shown, and their colours; they are among ``SERIES``."""

SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of categories, those that show on white and on black.

Source: M. Okabe and K. Ito, "Color universal design" (2008).
"""

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "cross")
"""Symbols of categories: they tell apart what the same colour is given to."""

PERCENT = ".3~p"
"""Format of rates in hovers: three digits, however small."""

_LONGEST = 26
"""Characters of a label at an axis; hovers tell it in full."""


def new_figure(*, title: str, height: int, **layout: Any) -> go.Figure:
    """Return an empty figure in the style of all others.

    Args:
        title: What the figure shows.
        height: In pixels.
        layout: What else its layout is given.
    """
    import plotly.graph_objects as go

    axis = {"automargin": True, "zeroline": False, "gridcolor": "#D9D9D9", "ticks": "outside"}
    style = {
        "template": "none",
        "title": {"text": title, "x": 0, "xref": "paper", "font": {"size": 15}},
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 48, "b": 44},
        "dragmode": False,
        "hoverlabel": {"align": "left"},
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        "xaxis": {**axis, **layout.pop("xaxis", {})},
        "yaxis": {**axis, **layout.pop("yaxis", {})},
    }
    return go.Figure(layout={**style, **layout})


def check_outcome(outcome: str) -> None:
    """Check that rates of an outcome are shown.

    Raises:
        ValueError: They are not.
    """
    if outcome not in OUTCOME_COLOURS:
        expected = ", ".join(OUTCOME_COLOURS)
        raise ValueError(f"The outcome is {outcome!r}, expected one of: {expected}.")


def heat_colours(rates: Floats, *, power: int = 2) -> dict[str, Any]:
    """Return the colours of a heat map, dark at 0, and its colour bar.

    Args:
        rates: float64 [rows, columns], from 0 to 1, NaN where nothing is known.
        power: Colours follow this root of the rate. With the square root, small rates differ from
            none: a few bits have rates near 1, most have rates near 0.

    Source of the colours: J. R. Nunez, C. R. Anderton and R. S. Renslow, "Optimizing colormaps with
    consideration for color vision deficiency", PLOS ONE 13 (2018).
    """
    from plotly.colors import sequential

    colours = sequential.Cividis
    steps = len(colours) - 1
    return {
        "colorscale": [((step / steps) ** power, colour) for step, colour in enumerate(colours)],
        "zmin": 0,
        "zmax": float(np.nanmax(rates)) or 1,
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
        "colorbar": {
            "tickformat": "~%",
            "thickness": 12,
            "outlinewidth": 0,
            "len": min(1, 12 / len(rates)),
            "y": 1,
            "yanchor": "top",
        },
    }


def rate_axis(title: str) -> dict[str, Any]:
    """Return an axis of rates, from 0."""
    return {"title": {"text": title}, "tickformat": "~%", "rangemode": "tozero"}


def height_of(rows: int, *, row: int = 20) -> int:
    """Return the height in pixels of a figure with so many rows, each ``row`` high."""
    return 150 + row * max(3, rows)


def row_axis(labels: Sequence[str]) -> dict[str, Any]:
    """Return the vertical axis of rows at 0, 1, ... from the top, with their labels.

    Long labels lose their beginning, which layers of the same block share.
    """
    return {
        "tickvals": list(range(len(labels))),
        "ticktext": [escape(shortened(label)) for label in labels],
        "range": [len(labels) - 0.5, -0.5],
        "showgrid": False,
    }


def shortened(label: str) -> str:
    """Return a label that fits at an axis."""
    return label if len(label) <= _LONGEST else "…" + label[1 - _LONGEST :]


def escape(text: str) -> str:
    """Return text of the user as Plotly shows it, which takes ``<b>`` and ``&lt;`` for markup."""
    return html.escape(text, quote=False)


def escaped(texts: Sequence[str]) -> list[str]:
    """Return ``escape`` of each text."""
    return [escape(text) for text in texts]


def error_bars(frame: pd.DataFrame, value: str, low: str, high: str) -> dict[str, Any]:
    """Return Plotly's error bars from the columns of a value and its bounds."""
    return {
        "type": "data",
        "array": np.asarray(frame[high] - frame[value], np.float64),
        "arrayminus": np.asarray(frame[value] - frame[low], np.float64),
        "thickness": 1.2,
        "width": 3,
    }


def rate_hover(name: str, *, trials: bool = True) -> str:
    """Return the lines of a hover that tell a rate, its bounds and what it is of.

    Args:
        name: Name of the outcome.
        trials: Whether ``customdata``, which begins with ``rate_columns``, has the last of them.
    """
    lines = [
        f"{name} %{{customdata[0]:{PERCENT}}} "
        f"(%{{customdata[1]:{PERCENT}}} to %{{customdata[2]:{PERCENT}}})",
        "%{customdata[3]:,} of n = %{customdata[4]:,} injected",
    ]
    return "<br>".join([*lines, "%{customdata[5]:,} trials"] if trials else lines)


def rate_columns(outcome: str) -> list[str]:
    """Return the columns of a summary that ``rate_hover`` tells, in its order."""
    ends = [f"{outcome}_{end}" for end in ("rate", "low", "high")]
    return [*ends, outcome, "injected", "trials"]
