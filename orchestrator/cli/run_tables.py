"""Tables of single trials, and of how two runs differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from injecttf2.config.spelling import nearest
from injecttf2.errors import UserError
from orchestrator.cli.fitting import Column, FittedTable
from results.analysis.comparison import compare
from results.analysis.differences import surest_first
from results.analysis.summary import KEYS
from results.frames import check_columns, differing
from results.report.labels import PLACE, place_labels, rate_labels
from results.report.tables import count, percent
from results.run_folder.schema import DRAWN, OUTCOMES, RATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from results import Run

CONFIDENCE = 0.95
"""Of the interval of each cell, and of all that is called certain together."""

GROUPED = tuple(
    name
    for name in KEYS
    if name not in ("trial_id", "cell_id", "repetition", "seconds", "worker", "finished_at")
)
"""Columns that ``summary`` groups by: what trials are of, not which of them they are."""

_TOLD = (*PLACE, "bit_field", "bit", *DRAWN, "repetition", "listed_as")


def chosen_trials(
    run: Run, *, layer: str | None = None, bit: int | None = None, outcome: str | None = None
) -> pd.DataFrame:
    """Return the trials of a run that have an outcome, those with most such samples first.

    Args:
        run: A run.
        layer: Only those of it.
        bit: Only those of it.
        outcome: ``masked``, ``benign``, ``sdc`` or ``due``; without one all, by sdc and due.

    Raises:
        UserError: The run has no trial of the layer or bit.
        ValueError: There is no such outcome.
    """
    if outcome is not None:
        check_columns([outcome], OUTCOMES, "outcome")
    trials = run.trials(["trial_id", *_TOLD, "injected", *OUTCOMES, "accuracy"])
    for name, value in (("layer", layer), ("bit", bit)):
        if value is None:
            continue
        known = trials[name].dropna().unique().tolist()
        if value not in known:
            near = nearest(value, known) if isinstance(value, str) else ""
            raise UserError(f"the run has no trial with the {name} {value!r}{near}")
        trials = trials[(trials[name] == value).fillna(value=False)]
    counted = [outcome] if outcome else ["sdc", "due"]
    hits = trials[counted].sum(axis=1)
    order = np.argsort(-hits.to_numpy(np.int64), kind="stable")
    if outcome:
        order = order[: int((hits > 0).sum())]
    return trials.iloc[order].reset_index(drop=True)


def trials_table(trials: pd.DataFrame, rows: int) -> RenderableType:
    """Return the first rows of ``chosen_trials`` as a table."""
    kept = trials.head(rows)
    place = ["layer", *differing(trials, PLACE[1:])]
    columns = [
        Column("trial_id", [*map(str, kept["trial_id"])]),
        Column("layer", place_labels(kept, place)),
    ]
    named = ["bit"] if trials["bit"].notna().any() else ["bit_field"]
    columns += [_told(kept, name) for name in (*named, "listed_as") if trials[name].notna().any()]
    columns.append(Column("rate", rate_labels(kept), 7 if differing(trials, RATES) else 3))
    importance = {"sdc": 6, "due": 6, "benign": 5, "masked": 4}
    columns += [Column(name, [*map(count, kept[name])], importance[name]) for name in OUTCOMES]
    columns.append(Column("accuracy", [*map(percent, kept["accuracy"])], 4))
    line = "no such trial" if trials.empty else f"{len(kept)} of {len(trials):,} trials"
    told = f"{line}; `injecttf2 replay RUN TRIAL_ID` runs one again"
    return Group(FittedTable("trials", columns), Text(told))


def comparison_table(run: Run, other: Run, metric: str, rows: int) -> RenderableType:
    """Return how cells differ between two runs, those that differ most certainly first.

    Args:
        run: The first run.
        other: The second, less the first.
        metric: Whose rates.
        rows: How many cells are shown.

    Raises:
        ValueError: The metric is none of both runs.
    """
    every = compare(run, other, metric=metric)
    is_both = (every["runs"] == "both").to_numpy()
    joint = CONFIDENCE ** (1 / max(1, int(is_both.sum())))
    wide = compare(run, other, joint, metric=metric)[is_both]
    both = surest_first(every[is_both], wide)
    kept, certain = both.head(rows), both[both["certain"]]
    place = ["layer", *differing(both, PLACE[1:])]
    columns = [Column("layer", place_labels(kept, place))]
    columns += [_told(kept, name) for name in differing(both, ["bit", "bit_field"])]
    if differing(both, RATES):
        columns.append(Column("rate", rate_labels(kept.assign(sampling="chosen"))))
    columns += [
        Column("first", [*map(percent, kept["rate_a"])], 3),
        Column("second", [*map(percent, kept["rate_b"])], 3),
        Column("difference", _points(kept), 5),
        Column("certain", ["yes" if one else "no" for one in kept["certain"]], 4),
        Column("method", [*map(str, kept["method"])], 1),
    ]
    more = int((certain["difference"] > 0).sum())
    line = (
        f"of {len(both):,} cells in both runs {more:,} certainly have a higher rate of {metric} in "
        f"the second, {len(certain) - more:,} a lower one"
    )
    title = f"{metric}, second run against first, in percentage points with 95% intervals"
    return Group(*map(Text, [line, *_only(every)]), FittedTable(title, columns))


def _told(rows: pd.DataFrame, name: str) -> Column:
    cells = rows[name].astype(object).where(rows[name].notna(), "-")
    return Column(name.replace("_", " "), [*map(str, cells)])


def _points(rows: pd.DataFrame) -> list[str]:
    ends = (100 * rows[name].to_numpy(np.float64) for name in ("difference", "low", "high"))
    return [
        f"{value:+.2f} ({low:+.2f} to {high:+.2f})" for value, low, high in zip(*ends, strict=True)
    ]


def _only(differences: pd.DataFrame) -> Sequence[str]:
    counts = differences["runs"].value_counts()
    told = {"a": "first", "b": "second"}
    return [
        f"{counts[name]:,} cells are only in the {side} run"
        for name, side in told.items()
        if counts.get(name, 0)
    ]
