"""Figures as the page holds them: one for each kind of faults and rate, or one for several."""

from __future__ import annotations

import json
import math
from base64 import b64decode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from results.errors import NothingToShowError
from results.report.figure_style import DIGITS

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from results.report.rankings import Ranking

_T = TypeVar("_T")

Make = tuple[Sequence[int], Callable[[], "go.Figure"]]
"""Of which choices a figure is, and what makes it."""


@dataclass(frozen=True)
class Variant:
    """A figure.

    Args:
        choices: The choices that it is shown for, counted from 0, joined by blanks.
        figure: It as JSON.
    """

    choices: str
    figure: str


@dataclass(frozen=True)
class Plot:
    """A place for a figure.

    Args:
        name: Its anchor.
        title: What it shows.
        note: How it is to be read.
        variants: The figures; one of them is shown.
        height: Of the highest, in pixels, with few rows.
    """

    name: str
    title: str
    note: str
    variants: tuple[Variant, ...]
    height: int


@dataclass(frozen=True)
class Section:
    """A section with figures.

    Args:
        name: Its anchor.
        title: Its heading.
        note: What is said above the figures.
        plots: Its figures.
    """

    name: str
    title: str
    note: str
    plots: tuple[Plot, ...]


def plot(name: str, title: str, note: str, make: Iterable[Make], missing: set[str]) -> list[Plot]:
    """Return a plot, or none where there is nothing to show for any choice.

    Args:
        name: See ``Plot``.
        title: See ``Plot``.
        note: See ``Plot``.
        make: What makes the figures.
        missing: The reasons of those that are not there are put into it.
    """
    variants, heights = [], []
    for choices, one in make:
        try:
            figure = one()
        except NothingToShowError as error:
            missing.add(error.message)
            continue
        figure.update_layout(title=None, margin_t=28)  # the page has a heading
        variants.append(Variant(" ".join(str(number) for number in choices), figure_json(figure)))
        heights.append(min(int(figure.layout.height), 520))
    return [Plot(name, title, note, tuple(variants), max(heights))] if variants else []


def each(rankings: Sequence[Ranking], make: Callable[[Ranking], go.Figure]) -> list[Make]:
    """Return what makes a figure of each ranking, for the choice of the same number."""
    return [((number,), partial(make, one)) for number, one in enumerate(rankings)]


def or_none(make: Callable[[], _T]) -> _T | None:
    """Return what is made; None where there is nothing to show."""
    try:
        return make()
    except NothingToShowError:
        return None


def figure_json(figure: go.Figure) -> str:
    """Return a figure as JSON, its numbers with ``DIGITS`` digits."""
    return json.dumps(_plain(figure.to_plotly_json()), separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it; what is not known is null."""
    if isinstance(value, dict) and "bdata" in value:  # as Plotly writes the arrays of NumPy
        flat = np.frombuffer(b64decode(value["bdata"]), value["dtype"])
        shape = [int(size) for size in str(value.get("shape", flat.size)).split(",")]
        return _plain(flat.reshape(shape))
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(one) for one in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        short = float(f"{value:.{DIGITS}g}") if abs(value) < 10**DIGITS else value
        return int(short) if short == int(short) else short
    return value
