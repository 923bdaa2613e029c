"""How all figures look: colours that the colour-blind can tell apart, axes, and words in them."""

from __future__ import annotations

import html
import math
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

NONE_SEEN = "#A6ADB5"
"""Colour of a rate of which no case was seen; the colours of rates have no grey."""

PERCENT = ".3~p"
"""Format of rates in hovers: three digits, however small."""

DIGITS = 5
"""Significant digits of the numbers that a figure holds in the report."""

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
        "colorway": SERIES,
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
        **_heat_map(tickformat="~%", len=min(1, 12 / len(rates))),
    }


def log_heat(rates: Floats) -> dict[str, Any]:
    """Return values, colours and colour bar of a heat map on a logarithmic scale.

    Args:
        rates: float64 [rows, columns], from 0 to 1, NaN where nothing is known; some are above 0.

    Returns:
        ``z``, the logarithm of the rate to the base 10, NaN where nothing is known; rates of 0 lie
        below the scale and have a colour of their own, ``NONE_SEEN``.
    """
    from plotly.colors import sequential

    with np.errstate(divide="ignore"):
        z = np.log10(rates)
    seen = z[np.isfinite(z)]
    low, high = math.floor(seen.min()), max(float(seen.max()), math.floor(seen.min()) + 1)
    below = 0.15 * (high - low)
    bottom = below / (below + high - low)
    colours = sequential.Viridis
    scale = [
        (bottom + (1 - bottom) * step / (len(colours) - 1), colour)
        for step, colour in enumerate(colours)
    ]
    decades = list(range(low, math.floor(high) + 1))
    ticks = [f"{100 * 10.0**decade:.6g}%" for decade in decades]
    return {
        "z": np.where(np.isneginf(z), low - below, z),
        "colorscale": [(0.0, NONE_SEEN), (bottom, NONE_SEEN), *scale],
        "zmin": low - below,
        "zmax": high,
        **_heat_map(
            tickvals=[low - below / 2, *decades],
            ticktext=["none", *ticks],
            lenmode="pixels",
            len=190,
        ),
    }


def _heat_map(**bar: Any) -> dict[str, Any]:
    place = {"thickness": 12, "outlinewidth": 0, "y": 1, "yanchor": "top"}
    return {"hoverongaps": False, "xgap": 1, "ygap": 1, "colorbar": {**place, **bar}}


def rate_axis(title: str) -> dict[str, Any]:
    """Return an axis of rates, from 0."""
    return {"title": {"text": title}, "tickformat": "~%", "rangemode": "tozero"}


def height_of(rows: int, *, row: int = 20) -> int:
    """Return the height in pixels of a figure with so many rows, each ``row`` high."""
    return 110 + row * max(3, rows)


def row_axis(names: Sequence[str]) -> dict[str, Any]:
    """Return the vertical axis of rows with these names, from the top.

    Rows are told by ``escape`` of their names. At the axis, long names lose their beginning, which
    layers of the same block share.
    """
    return {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": escaped(names),
        "tickvals": escaped(names),
        "ticktext": [escape(shortened(name)) for name in names],
        "range": [len(names) - 0.5, -0.5],
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


def told(frame: pd.DataFrame, columns: Sequence[str]) -> list[list[Any]]:
    """Return rows as ``customdata``: what hovers tell and what a table of the figure holds."""
    values = [
        frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in columns
    ]
    return [
        [escape(one) if isinstance(one, str) else one for one in row]
        for row in zip(*values, strict=True)
    ]


def hover(columns: Sequence[str], *lines: str) -> str:
    """Return a hover's template: ``{name}`` or ``{name:format}`` stands for a column of ``told``.

    A rate is ``{sdc%}``: its percentage, and its bounds in brackets.
    """
    text = "<br>".join(lines)
    for name in columns:
        base = name.removesuffix("_rate")
        at = {end: _place(columns, f"{base}_{end}", PERCENT) for end in ("rate", "low", "high")}
        text = text.replace(f"{{{base}%}}", "{rate} ({low} to {high})".format(**at))
    for number, name in enumerate(columns):
        text = text.replace(f"{{{name}}}", f"%{{customdata[{number}]}}")
        text = text.replace(f"{{{name}:", f"%{{customdata[{number}]:")
    return text + "<extra></extra>"


def _place(columns: Sequence[str], name: str, form: str) -> str:
    return f"%{{customdata[{columns.index(name)}]:{form}}}" if name in columns else ""
