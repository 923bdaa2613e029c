"""Frames as tables that people read: columns with labels, rates with their intervals, counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

UNKNOWN = "-"
"""What stands for a value that is not known."""

_LABELS = {"place": "layer", "injected": "n injected", "bit_field": "field"}

_ORDER = (
    *("sdc+due_rate", "sdc_rate", "due_rate", "rank", "certain", "accuracy", "injected", "trials"),
    *("critical_rate", "masked", "benign", "sdc", "sdc_critical", "due", "due_changed"),
)
"""Columns that come after those that a row is told by; after them come all others."""

_PERCENT = ("accuracy", "golden_accuracy", "share")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: Name in the frame.
        label: What stands above it.
        kind: ``text``, ``count``, ``number``, ``percent`` or ``rate``, a percentage with bounds.
        low: Name of the lower bound's column, for a rate.
        high: Name of the upper bound's column, for a rate.
    """

    name: str
    label: str
    kind: str
    low: str = ""
    high: str = ""


def arranged(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return the columns of a view or a summary in the order in which they are read.

    Args:
        frame: The rows.
        keys: Columns that a row is told by; they come first.
    """
    columns = list(frame.columns)
    order = dict.fromkeys([*keys, *(name for name in _ORDER if name in columns), *columns])
    return frame[list(order)]


def columns_of(frame: pd.DataFrame) -> tuple[Column, ...]:
    """Return the columns that show ``frame``; bounds are part of the rate that they belong to.

    Columns without any value are left out, but for rates, where nothing was hit.
    """
    return tuple(_columns(frame))


def json_of(frame: pd.DataFrame) -> dict[str, Any]:
    """Return ``frame`` as JSON holds it for the table that can be sorted and filtered.

    Returns:
        ``rows``, their number, and ``columns``: each with ``label``, ``kind`` and ``values``; a
        text's values are positions in ``levels``; a rate has ``low`` and ``high`` too. Numbers
        have six digits; null is what is not known, and infinite ones are ``inf`` and ``-inf``.
    """
    entries = []
    for column in columns_of(frame):
        entry: dict[str, Any] = {"name": column.name, "label": column.label, "kind": column.kind}
        if column.kind == "text":
            codes, levels = _levels(frame[column.name])
            entry |= {"values": codes.tolist(), "levels": [_word(level) for level in levels]}
        else:
            entry["values"] = _numbers(frame[column.name])
        if column.kind == "rate":
            entry |= {"low": _numbers(frame[column.low]), "high": _numbers(frame[column.high])}
        entries.append(entry)
    return {"rows": len(frame), "columns": entries}


def percent(value: float) -> str:
    """Return a share as a percentage: two decimals, or two digits where it is smaller."""
    if math.isnan(value):
        return UNKNOWN
    size = abs(value)
    decimals = 1 - math.floor(math.log10(100 * size)) if 0 < size < 0.0001 else 2
    return f"{100 * value:.{decimals}f}%"


def rate(value: float, low: float, high: float) -> str:
    """Return a rate with its bounds: ``7.53% (7.21 to 7.86)``.

    They have two decimals, or as many as the interval has two digits with.
    """
    if math.isnan(value):
        return UNKNOWN
    if math.isnan(low) or math.isnan(high) or high <= low:
        return percent(value)
    decimals = max(2, 1 - math.floor(math.log10(100 * (high - low))))
    told, *ends = (f"{100 * one:.{decimals}f}" for one in (value, low, high))
    if value > 0 and not float(told):
        told = f"<{10**-decimals:.{decimals}f}"
    return f"{told}% ({ends[0]} to {ends[1]})"


def count(value: float) -> str:
    """Return a count with its thousands set apart."""
    return UNKNOWN if math.isnan(value) else f"{value:,.0f}"


def _columns(frame: pd.DataFrame) -> Iterator[Column]:
    import pandas as pd

    for name in frame.columns:
        base = name.removesuffix("_rate")
        low, high = f"{base}_low", f"{base}_high"
        label = _LABELS.get(name, name.replace("_", " "))
        if name.endswith(("_low", "_high")) and not name.startswith(("rank", "metric_")):
            continue
        if frame[name].isna().all() and not name.endswith("_rate"):
            continue
        if low in frame and (name.endswith("_rate") or name == "accuracy"):
            yield Column(name, label, "rate", low, high)
        elif name in _PERCENT:
            yield Column(name, label, "percent")
        elif pd.api.types.is_bool_dtype(frame[name]) or not pd.api.types.is_numeric_dtype(
            frame[name]
        ):
            yield Column(name, label, "text")
        else:
            whole = pd.api.types.is_integer_dtype(frame[name])
            yield Column(name, label, "count" if whole else "number")


def _levels(values: pd.Series[Any]) -> tuple[Any, Any]:
    """Return the codes of texts and what they stand for, categories in the order that they have."""
    import pandas as pd

    if isinstance(values.dtype, pd.CategoricalDtype):
        used = values.cat.remove_unused_categories().cat
        return used.codes, used.categories
    return values.astype(object).factorize()


def _word(value: object) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _floats(values: pd.Series[Any]) -> list[float]:
    return [float(value) for value in values.to_numpy(np.float64, na_value=np.nan)]


def _numbers(values: pd.Series[Any]) -> list[float | int | str | None]:
    return [_json_number(value) for value in _floats(values)]


def _json_number(value: float) -> float | int | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return str(value)
    short = float(f"{value:.6g}") if abs(value) < 1e6 else value
    return int(short) if short == int(short) else short
