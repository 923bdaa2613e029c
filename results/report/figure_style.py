"""How all figures look: colours that the colour-blind can tell apart, axes, and words in them."""

from __future__ import annotations

import html
import math
import re
from itertools import takewhile
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

SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""Colours of categories, those that have a contrast of 3:1 with white and with the dark page.

Source: M. Okabe and K. Ito, "Color universal design" (2008).
"""

NONE_SEEN = "#A6ADB5"
"""Colour of a rate of which no case was seen; the colours of rates have no grey."""

PERCENT = ".3~p"
"""Format of rates in hovers: three digits, however small."""

DIGITS = 5
"""Significant digits of the numbers that a figure holds in the report."""

_BELOW_BAR = 17
"""Pixels below a horizontal colour bar, in which its labels stand; as in figures.js."""

_MOST_DECADES = 5
"""Powers of ten that have a label at a colour bar."""

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


def log_heat(rates: Floats, *, height: int) -> dict[str, Any]:
    """Return values, colours and colour bar of a heat map on a logarithmic scale.

    Args:
        rates: float64 [rows, columns], from 0 to 1, NaN where nothing is known; some are above 0.
        height: Of the figure, in pixels.

    Returns:
        ``z``, the logarithm of the rate to the base 10, NaN where nothing is known; rates of 0 lie
        below the scale and have a colour of their own, ``NONE_SEEN``.
    """
    from plotly.colors import sequential

    with np.errstate(divide="ignore"):
        z = np.log10(rates)
    seen = z[np.isfinite(z)]
    low, high = math.floor(seen.min()), max(float(seen.max()), math.floor(seen.min()) + 1)
    below = 0.35 * (high - low)  # room for a label
    bottom = below / (below + high - low)
    colours = sequential.Viridis
    scale = [
        (bottom + (1 - bottom) * step / (len(colours) - 1), colour)
        for step, colour in enumerate(colours)
    ]
    decades = list(range(low, math.floor(high) + 1))
    decades = decades[:: math.ceil(len(decades) / _MOST_DECADES)]
    ticks = [f"{100 * 10.0**decade:.6g}%" for decade in decades]
    return {
        "z": np.where(np.isneginf(z), low - below, z),
        "colorscale": [(0.0, NONE_SEEN), (bottom, NONE_SEEN), *scale],
        "zmin": low - below,
        "zmax": high,
        **_heat_map(
            tickvals=[low - below / 2, *decades],
            ticktext=["none", *ticks],
            orientation="h",
            lenmode="pixels",
            len=300,
            x=1,
            xanchor="right",
            xpad=0,
            yref="container",
            y=_BELOW_BAR / height,
            yanchor="bottom",
            ypad=0,
            tickangle=0,
            ticklabeloverflow="allow",
            tickfont={"size": 11},
        ),
    }


def _heat_map(**bar: Any) -> dict[str, Any]:
    place = {"thickness": 12, "outlinewidth": 0, "y": 1, "yanchor": "top"}
    return {"hoverongaps": False, "xgap": 1, "ygap": 1, "colorbar": {**place, **bar}}


def rate_axis(title: str, *, zero: bool = True) -> dict[str, Any]:
    """Return an axis of rates, from 0 or from the lowest of them, never beyond 0 to 100 %."""
    return {
        "title": {"text": title},
        "tickformat": "~%",
        "rangemode": "tozero" if zero else "normal",
        "autorangeoptions": {"clipmin": 0, "clipmax": 1},
    }


def height_of(rows: int, *, row: int = 20) -> int:
    """Return the height in pixels of a figure with so many rows, each ``row`` high."""
    return 110 + row * max(3, rows)


def row_axis(names: Sequence[str]) -> dict[str, Any]:
    """Return the vertical axis of rows with these names, from the top.

    Rows are told by ``escape`` of their names; at the axis, long names are ``shortened``.
    """
    return {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": escaped(names),
        "tickvals": escaped(names),
        "ticktext": escaped(shortened(names)),
        "range": [len(names) - 0.5, -0.5],
        "showgrid": False,
    }


def shortened(labels: Sequence[str]) -> list[str]:
    """Return labels that fit at an axis; those that differ stay different.

    Long ones lose their middle, their end or their beginning, whichever leaves them different. If
    none does, they lose first what all of them begin and end with; and more is left of them.
    """
    long = [label for label in labels if len(label) > _LONGEST]
    whole = {label: label for label in long}
    bare = {label: f"…{label[at]}…" for at in [_apart(long)] for label in long}
    lengths = range(_LONGEST, max(map(len, labels), default=0) + 1)
    for length, names in [(_LONGEST, whole), *((length, bare) for length in lengths)]:
        for cut in (_without_middle, _without_end, _without_beginning):
            short = {label: cut(name, length) for label, name in names.items()}
            if len({*short.values()}) == len(short):
                return [short.get(label, label) for label in labels]
    return list(labels)


def _apart(labels: Sequence[str]) -> slice:
    """Return where labels are, whole words of them, that differ: without what all have."""
    words = [re.findall(r"[^/_.]*[/_.]?", label) for label in labels]
    start, end = (_shared(one) for one in (words, [word[::-1] for word in words]))
    room = _LONGEST - 2 - max((len(label) - start - end for label in labels), default=0)
    return slice(max(0, start - max(0, room)), -end or None)


def _shared(labels: Sequence[list[str]]) -> int:
    """Return how many characters the first words take that all labels have."""
    same = takewhile(lambda words: len({*words}) == 1, zip(*labels, strict=False))
    return sum(len(words[0]) for words in same)


def _without_middle(label: str, length: int) -> str:
    half = (length - 1) // 2
    return label if len(label) <= length else f"{label[:half]}…{label[half + 1 - length :]}"


def _without_end(label: str, length: int) -> str:
    return label if len(label) <= length else f"{label[: length - 1]}…"


def _without_beginning(label: str, length: int) -> str:
    return label if len(label) <= length else f"…{label[1 - length :]}"


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
