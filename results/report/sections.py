"""The sections below the first screen, those that have something to show."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from results.errors import NothingToShowError
from results.report import plot_data
from results.report.against import Against, paired_cells
from results.report.difference_figures import cell_differences, drawn_of, two_runs
from results.report.plots import Section, each, or_none, plot
from results.report.rankings import Ranking
from results.report.rate_figures import LINES, accuracy_by_layer, against_rate
from results.report.site_figures import class_drift, vulnerability_map
from results.report.tables import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from results.reading.run import Run
    from results.reading.snapshot import Snapshot


def sections_of(
    run: Snapshot, drawn: list[Ranking], first: Ranking, missing: set[str]
) -> list[Section]:
    """Return the sections below the first screen that have something to show."""
    accuracy = plot_data.accuracy(run)
    kinds: dict[str, list[int]] = {}
    for number, one in enumerate(drawn):
        kinds.setdefault(one.kind, []).append(number)
    curves = [
        *plot("curves", "Accuracy", "", _curves(drawn, kinds, accuracy, "accuracy"), set()),
        *plot(
            "lost", "Lost samples: sdc or due", "", _curves(drawn, kinds, accuracy, "lost"), set()
        ),
    ]
    by_layer = plot(
        "by-layer",
        "Accuracy by layer",
        "",
        each(drawn, lambda one: accuracy_by_layer(one, accuracy)),
        missing,
    )
    part = run.only(first.select(run.trials()))
    at = f", {first.label}" if first.label else ""
    paired = _paired_section(run)
    found = [
        Section(
            "accuracy",
            "Accuracy under faults",
            _accuracy_note(accuracy, lines=bool(curves)),
            (*curves, *by_layer),
        ),
        paired,
        Section(
            "drift",
            f"Where wrong decisions go{at}",
            "The sdc samples of each golden class, by the class that they were taken for.",
            tuple(plot("drift-map", "Classes", "", [((), lambda: class_drift(part))], missing)),
        ),
        _map_section(part, at, missing),
    ]
    return [one for one in found if one and (one.plots or one is paired)]


def _accuracy_note(accuracy: pd.DataFrame, *, lines: bool) -> str:
    """Return how the figures of accuracy are to be read."""
    note = "Means over trials with 95% intervals; dotted: without faults."
    if accuracy["accuracy_low"].isna().any():
        note += f" Of fewer than {plot_data.FEW} trials an accuracy has none."
    if lines and accuracy["place"].nunique() > LINES:
        note += f" Lines are those of the {LINES} layers that lose most."
    return note


def _curves(
    drawn: list[Ranking], kinds: Mapping[str, list[int]], accuracy: pd.DataFrame, value: Any
) -> list[Any]:
    return [
        (numbers, partial(against_rate, [drawn[number] for number in numbers], accuracy, value))
        for numbers in kinds.values()
        if len(numbers) > 1
    ]


def _map_section(part: Snapshot, at: str, missing: set[str]) -> Section | None:
    """Return the vulnerability map of the layer that loses most."""
    try:
        worst = plot_data.worst_layer(part)
    except NothingToShowError as error:
        missing.add(error.message)
        return None
    name = " ".join(filter(None, [worst.layer, worst.variable]))
    plots = [
        one
        for by in worst.groupings
        for one in plot(
            f"inside-{by}",
            f"sdc rate by {by}",
            "",
            [((), partial(vulnerability_map, part, worst.layer, by=by, variable=worst.variable))],
            missing,
        )
    ]
    note = "The layer that loses most: where in it a fault does harm."
    return Section("inside", f"Inside {name}{at}", note, tuple(plots))


def _paired_section(run: Snapshot) -> Section | None:
    """Return the section of cells that share their sites; its note tells if none differ."""
    found = or_none(lambda: paired_cells(run))
    if found is None:
        return None
    of, rows = found
    note = (
        f"Cells that differ in their {of.replace('_', ' ')} and share their sites, compared trial "
        f"by trial, with 95% intervals. {_which(rows)}"
    )
    make = partial(cell_differences, rows, a="first", b="second")
    return Section(
        "paired", "Paired cells", note, tuple(plot("pairs", "Differences", "", [((), make)], set()))
    )


def _which(rows: pd.DataFrame) -> str:
    """Return how many of the differences are certain, and which are drawn."""
    sure, drawn = int(rows["certain"].sum()), len(drawn_of(rows))
    if not sure:
        return f"None of the {len(rows):,} differs certainly."
    some = f"; here the {drawn:,} surest" if drawn < len(rows) else ""
    return f"{sure:,} of {len(rows):,} differ certainly, all at once: filled{some}."


def against_section(found: Against, drawn: list[Ranking], other: Run) -> Section:
    """Return the section that compares two runs."""
    numbers = {one.key: number for number, one in enumerate(drawn)}
    layers = [
        ((numbers[one.key],), partial(two_runs, rows, found.names))
        for one, _, rows in found.layers
        if one.key in numbers
    ]
    make = partial(cell_differences, found.cells, a=found.names[0], b=found.names[1])
    accuracy = (other.golden or {}).get("accuracy")
    note = f"The other run is {other.path}"
    note += f", its accuracy without faults {percent(accuracy)}. " if accuracy else ". "
    note += f"{len(found.cells):,} cells are in both"
    note += f"; {found.left_out:,} are in one only and left out here." if found.left_out else "."
    if not found.cells["certain"].any():
        note += " No cell by itself differs certainly."
    return Section(
        "against",
        f"Against {found.names[1]}",
        note,
        (
            *plot(
                "two-runs", "What is lost in each layer", "Over the common cells.", layers, set()
            ),
            *plot("changes", "Differences of cells", _which(found.cells), [((), make)], set()),
        ),
    )
