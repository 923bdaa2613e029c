"""Runs and frames at a glance: what a notebook or a terminal of 80 characters shows of them."""

from __future__ import annotations

import math
import warnings
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from results.errors import NothingToShowError, ResultsError
from results.report.answer import answer
from results.report.rankings import Ranking, rankings, shown_first
from results.report.report import marked
from results.report.tables import UNKNOWN, Column, columns_of, count, percent, rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from results.reading.run import Run

WIDTH = 80
"""Characters of a terminal."""

IMPORTANT = (
    *("rank", "sdc+due_rate", "difference", "sdc_rate", "due_rate", "accuracy_lost_rate"),
    *("low", "high", "certain", "accuracy", "injected", "trials", "method"),
)
"""Columns of summaries, ranks and differences, the most important first; keys come before them."""

ROWS = 10
"""Layers that a notebook shows of a run."""


def brief(frame: pd.DataFrame, width: int = WIDTH) -> pd.DataFrame:
    """Return the important columns of a frame as texts, rates with their bounds in one.

    Args:
        frame: A summary, ranks or differences, or some of their rows.
        width: Characters that it takes printed, keys aside; by default 80.

    Returns:
        The columns that tell a row, if their values differ, then as many of the important others
        as there is room for, in the order of the frame. The index stays.

    Examples:
        >>> from injecttf2 import brief, open_run
        >>> run = open_run("runs/first")
        >>> print(brief(run.summary("layer").head(2), width=60))
                   layer              sdc rate          sdc+due rate
        0         conv2d  6.14% (5.85 to 6.44)  6.14% (5.85 to 6.44)
        1  max_pooling2d  6.62% (6.31 to 6.93)  6.62% (6.32 to 6.93)
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise ResultsError(f"expected a frame, such as run.summary(); received {frame!r:.60}")
    columns = columns_of(frame)
    texts = {one: _texts(frame, one) for one in columns}
    first = next((at for at, one in enumerate(columns) if one.name in IMPORTANT), len(columns))
    keys = [one for one in columns[:first] if frame[one.name].nunique(dropna=False) > 1]
    others = [one for one in columns[first:] if one.name in IMPORTANT]
    chosen = keys or list(columns[:1])
    room = width - max((len(str(one)) for one in frame.index), default=0)
    room -= sum(_width(one.label, texts[one]) for one in chosen)
    for one in sorted(others, key=lambda one: IMPORTANT.index(one.name)):
        room -= _width(one.label, texts[one])
        if room < 0:
            break
        chosen.append(one)
    return pd.DataFrame(
        {one.label: texts[one] for one in columns if one in chosen}, index=frame.index
    )


def run_text(run: Run) -> str:
    """Return what a run says of itself: how far it is, on what, and the answer."""
    return "\n  ".join([f"Run({run.path!r})", *_lines(run)])


def run_html(run: Run) -> str:
    """Return the same for a notebook, with the layers that are the most critical.

    They are those that the report shows first; see ``shown_first``.
    """
    lines = "<br>".join(marked(line) for line in [f"Run {run.path}", *_lines(run)])
    try:
        found = rankings(run, "layer")
        table = _ranking_html(found[shown_first(found)])
    except (NothingToShowError, ResultsError):
        table = ""
    return f"<div>{lines}{table}</div>"


def html_table(heads: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Return a table of texts as HTML, escaped."""
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(one)}</td>' for one in row)}</tr>" for row in rows)
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{told}<tr>{head}</tr>{body}</table>"


def _lines(run: Run) -> list[str]:
    """Return the state of a run and its answer; what cannot be read is said."""
    try:
        with warnings.catch_warnings(action="ignore"):  # what is damaged, methods tell
            status = run.status()
            told = answer(run).splitlines()
    except ResultsError as error:
        return [str(error).splitlines()[0]]
    parts = [f"{status.done:,} of {status.planned:,} trials done"]
    parts += [f"{status.failures:,} given up on"] if status.failures else []
    parts += [f"{len(status.layers)} layer{'s' * (len(status.layers) != 1)}"]
    accuracy = (run.golden or {}).get("accuracy")
    parts += [f"golden accuracy {percent(accuracy)}"] if accuracy is not None else []
    return [", ".join(parts), *told]


def _ranking_html(one: Ranking) -> str:
    rows = one.rows.head(ROWS)
    texts = zip(
        map(str, rows["place"]),
        (f"{count:,}" for count in rows["injected"]),
        map(rate, rows["sdc+due_rate"], rows["sdc+due_low"], rows["sdc+due_high"]),
        strict=True,
    )
    left = len(one.rows) - len(rows)
    more = f"{left} more layer{'s' * (left != 1)}" if left else ""
    caption = ", ".join(filter(None, [one.label, more]))
    return html_table(["layer", "injected", "sdc or due"], texts, caption)


def _texts(frame: pd.DataFrame, column: Column) -> list[str]:
    """Return a column as people read it, rates with their bounds."""
    values = frame[column.name]
    if column.kind == "text":
        words = {True: "yes", False: "no"}
        known = values.astype(object).where(values.notna(), UNKNOWN)
        return [words.get(value, str(value)) for value in known]
    if column.kind == "rate":
        ends = (_floats(frame[name]) for name in (column.name, column.low, column.high))
        return [rate(*row) for row in zip(*ends, strict=True)]
    write = {"count": count, "percent": percent, "number": _number}[column.kind]
    return [write(value) for value in _floats(values)]


def _floats(values: pd.Series[Any]) -> list[float]:
    return [float(value) for value in values.to_numpy(np.float64, na_value=np.nan)]


def _number(value: float) -> str:
    return UNKNOWN if math.isnan(value) else f"{value:.4g}"


def _width(label: str, texts: Iterable[str]) -> int:
    return 2 + max(map(len, (label, *texts)))
