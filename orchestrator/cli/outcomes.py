"""What a run found, as the terminal shows it: the most critical first, a row for each rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from orchestrator.cli.fitting import Column, FittedTable
from results.analysis.criticality import METRIC
from results.analysis.protection import REDUCTION
from results.analysis.rate_estimates import EXACT
from results.analysis.summary import KIND, WITHIN
from results.frames import differing
from results.report.answer import answer
from results.report.labels import PLACE, place_labels, rate_labels
from results.report.rankings import NO_TRIALS, bit_names
from results.report.tables import UNKNOWN, count, percent, rate
from results.run_folder.golden import golden_warning
from results.run_folder.schema import DRAWN, RATE_ENDS, RATES
from results.shown import shown

if TYPE_CHECKING:
    import pandas as pd

    from results import Run

SHOWN = 20
"""Rows after a run; ``injecttf2 summary`` shows all."""

LEAST = 3
"""Rows of each kind of fault and rate, however many there are."""

BITS = ("bit_field", "bit")

_NOUNS = {
    "bit_field": "bits",
    "parameters": "faults",
    **dict.fromkeys(RATES, "rates"),
    "sampling": "sampling plans",
    "layer_type": "types of layers",
    "layer_index": "layers",
}
"""What groups by a column are called, where that is not the column's name with an s."""


def outcome_tables(run: Run, *, metric: str = METRIC) -> RenderableType:
    """Return the answer in words, then layers and bits, the most critical first.

    Args:
        run: A run.
        metric: What they are ranked by.
    """
    trials = run.trials(BITS)
    if trials.empty:
        return Text(NO_TRIALS)
    protected = run.trials(["protection"])["protection"].notna().any()
    tables: list[RenderableType] = [protection_table(run, metric)] if protected else []
    tables.append(ranked_table(run, ["layer"], metric=metric, shown_rows=SHOWN))
    if differing(trials, BITS):
        bits = "bit" if trials["bit"].notna().any() else "bit_field"
        tables.append(ranked_table(run, [bits], metric=metric, shown_rows=SHOWN // 2))
    told = [line for by in ("layer", "bit") for line in answer(run, by, metric).splitlines()]
    golden = run.trials(["golden_accuracy"])["golden_accuracy"].iloc[0]
    lines = [f"golden accuracy {golden:.2%}"]
    lines += [warning] if (warning := golden_warning(run.golden)) else []
    return Group(*_texts(told), Text(), *tables, *_texts(lines))


def protection_table(run: Run, metric: str = METRIC) -> FittedTable:
    """Return what each protection makes of the same faults, in all layers together.

    Where it has not all faults that there are without it, their rate without it is shown too.

    Args:
        run: A run that has some.
        metric: Whose rate.
    """
    found = run.protection(metric=metric)
    group = found.columns[: found.columns.get_loc("protection")].tolist()
    names = found["protection"].astype(object).where(found["protection"].notna(), "none")
    columns = [Column("protection", names.tolist()), *_named(found, group)]
    reductions = zip(*(found[name] for name in REDUCTION), strict=True)
    less = [Column("less", [_whole(*one) for one in reductions], 7)]
    bare = found[f"{metric}_rate"].where(found["protection"].isna())
    ends = _ends_of(found, group)
    if (found["bare_rate"] - bare.ffill()).abs().gt(1e-12).any():
        less.insert(0, Column("without", [*map(percent, found["bare_rate"])], 7))
    rates, accuracy, *others = _measured(found, metric)
    table = [*columns, replace(rates, importance=8), *less, accuracy, *others[:-2]]
    told = found["detected"].astype("float64").fillna(math.nan)
    table.append(Column("detected", [*map(count, told)], 2))
    title = "protections, against the same faults without them; 95% intervals"
    return FittedTable(title, table, ends)


def _whole(value: float, low: float, high: float) -> str:
    """Return a share in whole percent, with its bounds where there are some."""
    if math.isnan(value):
        return UNKNOWN
    return f"{value:.0%}" + ("" if math.isnan(low) else f" ({100 * low:.0f} to {100 * high:.0f})")


def _texts(lines: Iterable[str]) -> Iterator[Text]:
    return (Text(shown(line)) for line in lines)


def ranked_table(
    run: Run,
    by: Sequence[str],
    *,
    metric: str = METRIC,
    shown_rows: int | None = None,
    each: int | None = None,
) -> RenderableType:
    """Return groups of a run's trials, the most critical of each kind of fault and rate first.

    Args:
        run: A run.
        by: Columns to group by, as in ``Run.criticality``.
        metric: What they are ranked by.
        shown_rows: How many rows are shown, at least ``LEAST`` of each kind and rate; default all.
        each: How many of each are shown; default all.
    """
    every = run.criticality(by, metric=metric)
    if every.empty:
        return Text(NO_TRIALS)
    keys = every.columns[: every.columns.get_loc("trials")].tolist()
    within = [name for name in WITHIN if name in keys and name not in by]
    if shown_rows is not None:
        kinds = every.groupby(within, dropna=False).ngroups if within else 1
        each = max(LEAST if within else 1, shown_rows // kinds)
    kept = every if each is None else _first_of(every, within, each)
    columns = [*_named(kept, keys), *_measured(kept, metric)]
    title = f"{_plural(by)}, most critical first by {metric}"
    shared = run.trials(WITHIN).head(1)
    if kind := place_labels(shared, [name for name in KIND if name not in keys])[0]:
        title += f"; {kind}"
    if not {*DRAWN} & {*keys}:
        title += f"; {rate_labels(shared)[0]}"
    title += "; exact: every site was hit" if _is_exact(kept) else "; 95% intervals"
    table = FittedTable(title, columns, _ends_of(kept, within))
    if len(kept) == len(every):
        return table
    every_row = f"`injecttf2 summary RUN --by {','.join(by)}` has all"
    return Group(table, Text(f"{len(kept)} of {len(every):,} rows; {every_row}"))


def _first_of(table: pd.DataFrame, within: Sequence[str], rows: int) -> pd.DataFrame:
    """Return the first rows of each kind of fault and rate."""
    if not within:
        return table.head(rows)
    groups = table.groupby(list(within), dropna=False, sort=False)
    return groups.head(rows).reset_index(drop=True)


def _named(table: pd.DataFrame, keys: Sequence[str]) -> list[Column]:
    """Return the columns that a row is told by: place and fault, bit and rate in one each."""
    columns = []
    if place := [name for name in PLACE if name in keys]:
        head = "layer" if "layer" in place else " and ".join(_NOUNS.get(one, one) for one in place)
        columns.append(Column(head, place_labels(table, place, usual="layer" not in place)))
    if bits := [name for name in BITS if name in keys]:
        only = table.assign(**{name: None for name in BITS if name not in bits})
        columns.append(Column("bit", bit_names(only)))
    known = {*PLACE, *BITS, *DRAWN}
    columns += [
        Column(name.replace("_", " "), [*map(_word, table[name])])
        for name in keys
        if name not in known
    ]
    if {*DRAWN} & {*keys}:
        columns.append(Column("rate", rate_labels(table)))
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


def _ends_of(table: pd.DataFrame, within: Sequence[str]) -> frozenset[int]:
    """Return the last row of each kind of fault and rate."""
    if not within:
        return frozenset()
    group = table.groupby(list(within), dropna=False, sort=False).ngroup()
    return frozenset(int(row) for row in group.drop_duplicates(keep="last").index)


def _plural(by: Sequence[str]) -> str:
    names = [_NOUNS.get(name, f"{name.replace('_', ' ')}s") for name in by]
    return " and ".join(dict.fromkeys(names))


def _word(value: Any) -> str:
    import pandas as pd

    return "-" if pd.isna(value) else str(value)
