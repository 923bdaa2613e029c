"""A run against another of the same cells: two models, or one with a protection and without.

Also what cells of one run that share their sites differ by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from results.analysis.comparison import as_texts, compare
from results.analysis.criticality import METRIC
from results.analysis.differences import CELL, WORST, difference, surest_first
from results.analysis.summary import WITHIN
from results.errors import NothingToShowError, ResultsError
from results.frames import differing
from results.reading.snapshot import Snapshot
from results.report.labels import place_labels, rate_labels
from results.report.rankings import Ranking, bit_labels, rankings
from results.report.tables import percent, rate
from results.run_folder.schema import RATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

SHARED = ("fault", "parameters", "bit_field", "bit", "probability")
"""In what paired cells may differ, in the order in which one of them is chosen to be shown."""

MOST_PAIRED = 4
"""Values of which all pairs are compared; more are compared with the one that loses most."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Against:
    """What two runs have in common.

    Args:
        names: What the runs are called.
        layers: By ranking of the first run, within the common cells: what is lost in each run, as
            a sentence, and the layers with the rates of both, ``a`` and ``b``.
        cells: The common cells, those first that differ most surely.
        left_out: How many cells only one of the runs has.
    """

    names: tuple[str, str]
    layers: tuple[tuple[Ranking, str, pd.DataFrame], ...]
    cells: pd.DataFrame
    left_out: int


def against(run: Snapshot, other: Snapshot) -> Against:
    """Compare two runs by the cells that both have.

    Raises:
        ResultsError: They have none in common.
    """
    every = compare(run, other, CONFIDENCE, metric=METRIC)
    cells = every[every["runs"] == "both"].reset_index(drop=True)
    if cells.empty:
        raise ResultsError(
            f"no cell is in both this run and {run.path}{_apart(every)}",
            place=other.path,
            hint="Compare runs of the same campaign: layers, faults, bits and rates have to be the "
            "same.",
        )
    joint = CONFIDENCE ** (1 / len(cells))
    wide = compare(run, other, joint, metric=METRIC).loc[(every["runs"] == "both").to_numpy()]
    a, b = (_within(one, cells) for one in (run, other))
    names = _names(run.path, other.path)
    pairs = []
    theirs = {one.key: one for one in rankings(b, "layer")}
    totals = [one.summary(WITHIN) for one in (a, b)]
    for one in rankings(a, "layer"):
        if (match := theirs.get(one.key)) is None:
            continue
        told = _sentence(one, names, one.select(totals[0]), match.select(totals[1]))
        both = one.rows.merge(match.rows, on="place", suffixes=("_a", "_b"), sort=False)
        here, there = (
            both[[f"{name}_{side}" for name in _NAMES]].set_axis(_NAMES, axis=1) for side in "ab"
        )
        pairs.append((one, told, both.join(difference(here, there, METRIC))))
    return Against(names, tuple(pairs), _surest(cells, wide), int((every["runs"] != "both").sum()))


def paired_cells(run: Snapshot) -> tuple[str, pd.DataFrame]:
    """Return in what paired cells of a run differ, and their differences, the surest first.

    Raises:
        NothingToShowError: No two cells share their sites, or none of them lost a sample.
    """
    trials = run.trials([*SHARED, "sampling", "sdc", "due", "injected"])
    paired = trials[trials["sampling"] == "paired"]
    for of in differing(paired, SHARED) if len(paired) else []:
        base = WORST if paired[of].nunique() > MOST_PAIRED else None
        rows = run.differences(of, base, metric=METRIC, confidence=CONFIDENCE)
        rows = rows[(rows["pairs"] > 0) & (rows[["rate_a", "rate_b"]].max(axis=1) > 0)]
        if len(rows):
            joint = CONFIDENCE ** (1 / len(rows))
            wide = run.differences(of, base, metric=METRIC, confidence=joint).loc[rows.index]
            return of, _surest(rows, wide, of)
    raise NothingToShowError("No cells share their sites.")


_NAMES = [f"{METRIC}_rate", f"{METRIC}_low", f"{METRIC}_high", "method"]


def _within(run: Snapshot, cells: pd.DataFrame) -> Snapshot:
    """Return a run with the trials of some cells only."""
    trials = run.trials()
    keys = as_texts(trials[list(CELL)])
    there = keys.merge(cells[list(CELL)].assign(there=1), on=list(CELL), how="left")["there"]
    return run.only(trials[there.notna().to_numpy()])


def _apart(cells: pd.DataFrame) -> str:
    """Return in what two runs without common cells have nothing in common."""
    if set(cells["runs"]) != {"a", "b"}:
        return ", which has none yet" if set(cells["runs"]) == {"b"} else ""
    for name in CELL:
        ours, theirs = ([*dict.fromkeys(cells.loc[cells["runs"] == run, name])] for run in "ab")
        if not {str(value) for value in ours} & {str(value) for value in theirs}:
            return f": {name} is {_named(theirs)} here and {_named(ours)} there"
    return ""


def _named(values: Sequence[object]) -> str:
    some = ", ".join(str(value) for value in values[:3])
    return f"{some} and {len(values) - 3} more" if len(values) > 3 else some


def _names(first: str, second: str) -> tuple[str, str]:
    """Return what two run directories are called: their last parts or, if equal, all of them."""
    last = (first.rstrip("/").rpartition("/")[2], second.rstrip("/").rpartition("/")[2])
    return last if last[0] != last[1] else (first, second)


def _sentence(
    one: Ranking, names: tuple[str, str], first: pd.DataFrame, second: pd.DataFrame
) -> str:
    """Return what is lost in two runs at one rate, from the row of each."""
    found = difference(first, second, METRIC).iloc[0]
    a, b = (
        rate(*(float(row[f"{METRIC}_{end}"].iloc[0]) for end in ("rate", "low", "high")))
        for row in (first, second)
    )
    low, high = found["low"], found["high"]
    ends = sorted([abs(low), abs(high)])
    points = [percent(value).removesuffix("%") for value in (abs(found["difference"]), *ends)]
    if low <= 0 <= high:
        what = "which of them loses more is not certain"
    else:
        what = f"{points[0]} points {'more' if low > 0 else 'less'} ({points[1]} to {points[2]})"
    before = f"{one.label}: " if one.label else ""
    return f"{before}`{names[0]}` loses {a} of injected samples, `{names[1]}` {b}: {what}."


def _surest(rows: pd.DataFrame, wide: pd.DataFrame, of: str = "") -> pd.DataFrame:
    """Return differences with the names of their cells, the surest first.

    Args:
        rows: As ``compare`` or ``differences`` give them.
        wide: The same with bounds that hold for all of them together.
        of: The column in which cells of one run differ, if they are of one run.
    """
    return surest_first(rows.assign(place=_cell_labels(rows, of)), wide)


def _cell_labels(rows: pd.DataFrame, of: str) -> list[str]:
    """Return what the cells of rows are called, as far as they differ."""
    columns = [name for name in CELL if name in rows]
    apart = {"layer", *differing(rows, columns)}
    where = [
        name
        for name in columns[: columns.index("bit_field") if "bit_field" in columns else None]
        if name in apart and name not in RATES and name != "bit"
    ]
    words: list[Sequence[str]] = [place_labels(rows, where)]
    if {"bit", "bit_field"} <= set(columns) and apart & {"bit", "bit_field"}:
        words.append(bit_labels(rows))
    elif "bit" in apart:
        words.append([f"bit {value}" for value in rows["bit"]])
    if apart & set(RATES) and set(RATES) <= set(columns):
        words.append(rate_labels(rows.assign(sampling="paired")))
    if of:
        unit = "bit " if of == "bit" else "p = " if of == "probability" else ""
        values = zip(rows[f"{of}_a"], rows[f"{of}_b"], strict=True)
        words.append([f"{unit}{a} → {b}" for a, b in values])
    return [" ".join(word for word in one if word) for one in zip(*words, strict=True)]
