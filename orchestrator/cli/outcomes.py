"""What a run found, as the terminal shows it: the most critical first, a row for each rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from orchestrator.cli.fitting import Column, FittedTable
from results.analysis.criticality import METRIC
from results.analysis.rate_estimates import EXACT
from results.frames import differing
from results.report.answer import answer
from results.report.labels import PLACE, place_labels, rate_labels
from results.report.tables import count, percent, rate
from results.run_folder.golden import golden_warning
from results.run_folder.schema import DRAWN, RATE_ENDS
from results.shown import shown

if TYPE_CHECKING:
    import pandas as pd

    from results import Run

SHOWN = 20
"""Rows after a run; ``injecttf2 summary`` shows all."""

LEAST = 3
"""Rows of each rate, however many there are."""

BITS = ("bit_field", "bit")


def outcome_tables(run: Run, *, metric: str = METRIC) -> RenderableType:
    """Return the answer in words, then layers and bits, the most critical first.

    Args:
        run: A run.
        metric: What they are ranked by.
    """
    trials = run.trials([*PLACE, *BITS])
    if trials.empty:
        return Text("no trial is finished")
    kinds = _kinds(trials)
    tables = [ranked_table(run, ["layer", *kinds], metric=metric, shown_rows=SHOWN)]
    numbered = trials["bit"].notna()
    bits = ["bit"] if numbered.all() else ["bit_field"] if not numbered.any() else [*BITS]
    if differing(trials, bits):
        tables.append(ranked_table(run, [*kinds, *bits], metric=metric, shown_rows=SHOWN // 2))
    told = [line for by in ("layer", "bit") for line in answer(run, by, metric).splitlines()]
    golden = run.trials(["golden_accuracy"])["golden_accuracy"].iloc[0]
    lines = [f"golden accuracy {golden:.2%}"]
    lines += [warning] if (warning := golden_warning(run.golden)) else []
    return Group(*_texts(told), Text(), *tables, *_texts(lines))


def _texts(lines: Iterable[str]) -> Iterator[Text]:
    return (Text(shown(line)) for line in lines)


def _kinds(trials: pd.DataFrame) -> list[str]:
    """Return the columns that tell target and fault, where these are not the usual ones."""
    distinct = trials[list(PLACE)].drop_duplicates()
    return [
        name
        for names in (["target"], ["fault", "parameters"])
        if any(place_labels(distinct, names))
        for name in names
    ]


def ranked_table(
    run: Run, by: Sequence[str], *, metric: str = METRIC, shown_rows: int | None = None
) -> RenderableType:
    """Return groups of a run's trials, the most critical of each rate first.

    Args:
        run: A run.
        by: Columns to group by, as in ``Run.criticality``.
        metric: What they are ranked by.
        shown_rows: How many rows are shown, at least ``LEAST`` of each rate; default all.
    """
    every = run.criticality(by, metric=metric)
    rates = [name for name in DRAWN if name in every and name not in by]
    kept = _worst(every, rates, shown_rows)
    shared = run.trials(DRAWN).head(1)
    same = {name: shared[name].repeat(len(kept)).array for name in DRAWN if name not in every}
    labels = rate_labels(kept.assign(**same))
    columns = [*_named(kept, by), *([Column("rate", labels)] if rates else [])]
    columns += _measured(kept, metric)
    title = f"{_plural(by)}, most critical first by {metric}"
    title += "" if rates else f"; {rate_labels(shared)[0]}"
    title += "; exact: every site was hit" if _is_exact(kept) else "; 95% intervals"
    table = FittedTable(title, columns, _ends_of(kept, rates))
    if len(kept) == len(every):
        return table
    every_row = f"`injecttf2 summary RUN --by {','.join(by)}` has all"
    return Group(table, Text(f"{len(kept)} of {len(every):,} rows; {every_row}"))


def _worst(table: pd.DataFrame, rates: Sequence[str], rows: int | None) -> pd.DataFrame:
    """Return the first rows of each rate."""
    if rows is None:
        return table
    if not rates:
        return table.head(rows)
    groups = table.groupby(list(rates), dropna=False, sort=False)
    each = max(LEAST, rows // groups.ngroups)
    return groups.head(each).reset_index(drop=True)


def _named(table: pd.DataFrame, by: Sequence[str]) -> list[Column]:
    """Return the columns that a row is told by: the place in one, the others each by itself."""
    place = [name for name in PLACE if name in by]
    columns = [Column(place[0], place_labels(table, place))] if place else []
    others = [name for name in by if name not in place]
    columns += [Column(name.replace("_", " "), [*map(_word, table[name])]) for name in others]
    return columns


def _measured(table: pd.DataFrame, metric: str) -> list[Column]:
    """Return what is ranked by, with intervals, and beside it what it is made and is of."""
    others = [name for name in ("sdc", "due") if name != metric]
    return [
        Column(metric.replace("_", " "), _rates(table, metric), 6),
        Column("accuracy", [*map(percent, table["accuracy"])], 5),
        *(
            Column(name, [*map(percent, table[f"{name}_rate"])], 4 - place)
            for place, name in enumerate(others)
        ),
        Column("injected", [*map(count, table["injected"])], 2),
        Column("trials", [*map(count, table["trials"])], 1),
    ]


def _rates(table: pd.DataFrame, name: str) -> list[str]:
    ends = (table[f"{name}_{end}"] for end in RATE_ENDS)
    return [
        percent(value) if method == EXACT else rate(value, low, high)
        for value, low, high, method in zip(*ends, table["method"], strict=True)
    ]


def _is_exact(table: pd.DataFrame) -> bool:
    return bool(len(table)) and bool((table["method"] == EXACT).all())


def _ends_of(table: pd.DataFrame, rates: Sequence[str]) -> frozenset[int]:
    """Return the last row of each rate."""
    if not rates:
        return frozenset()
    groups = table.groupby(list(rates), dropna=False, sort=False).indices.values()
    return frozenset(int(max(rows)) for rows in groups)


def _plural(by: Sequence[str]) -> str:
    names = ["bits" if name in BITS else f"{name}s" for name in by]
    return " and ".join(dict.fromkeys(names))


def _word(value: Any) -> str:
    import pandas as pd

    return "-" if pd.isna(value) else str(value)
