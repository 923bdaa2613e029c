"""What the report says: its sections, their figures and tables, and why one is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from results.errors import NothingToShowError
from results.frames import differing
from results.report import figures, plot_data
from results.report.figure_style import OUTCOME_COLOURS
from results.report.tables import Table, arranged, count, json_of, percent, rate, table_of

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from results.analysis.vulnerability import Part
    from results.reading.run import Run
    from results.reading.snapshot import Snapshot
    from results.reading.status import RunStatus

SHOWN_ROWS = 400
"""Rows of the table below a figure; a longer one is left out."""

SHOWN_CELLS = 20_000
"""Cells in the table that can be sorted and filtered: those with the highest sdc rates."""


@dataclass(frozen=True)
class Plot:
    """A figure of a section.

    Args:
        label: What it shows.
        figure: The figure as JSON; empty if there is none.
        height: Of the figure, in pixels.
        missing: A sentence that says why there is none.
    """

    label: str
    figure: str = ""
    height: int = 0
    missing: str = ""


@dataclass(frozen=True)
class Section:
    """A section with figures.

    Args:
        name: Its anchor.
        title: Its heading.
        note: What the figures show and how they are to be read.
        plots: Its figures.
        table: Their values; None where they are missing or too many.
    """

    name: str
    title: str
    note: str
    plots: tuple[Plot, ...]
    table: Table | None


def content(run: Snapshot) -> dict[str, Any]:
    """Return what the template of the report is filled with."""
    status = run.status()
    filled = {
        "name": str(run.campaign.get("name", "campaign")),
        "place": run.path,
        "status": status,
        "state": _state(status),
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "facts": _facts(run, status),
        "layers": _layers(run),
        "sections": _sections(run),
        "cells": _cells(run),
        "methods": _methods(run),
        "identity": dict(_flat(run.identity)),
        "golden": dict(_flat(run.golden or {})),
        "provenance": dict(
            _flat({**run.provenance, "numerics": dict(enumerate(run.numerics, start=1))})
        ),
        "earlier": [dict(_flat(earlier)) for earlier in run.earlier_provenance],
        "campaign": json.dumps(run.campaign, indent=2, ensure_ascii=False, default=str),
    }
    return {**filled, "left_out": sorted({*status.unreadable, *run.left_out})}


def _sections(run: Run) -> list[Section]:
    return [
        _section(
            "accuracy",
            "Accuracy by layer and rate",
            "Mean over trials with 95% intervals; the dotted line is the accuracy without faults.",
            {"accuracy by layer and rate": lambda: figures.accuracy(run)},
            lambda: plot_data.accuracy_by_rate(run),
        ),
        _section(
            "bits",
            "Layers and bits",
            "Share of the injected samples, over all rates.",
            {
                "sdc: the decision changed": lambda: figures.bit_heatmap(run, "sdc"),
                "due: the output holds NaN or Inf": lambda: figures.bit_heatmap(run, "due"),
            },
            lambda: plot_data.by_bit(run),
        ),
        _section(
            "fields",
            "Bit fields",
            "Share of the injected samples over all layers, with 95% intervals.",
            {"rates by bit field": lambda: figures.bit_fields(run)},
            lambda: plot_data.by_bit_field(run),
        ),
        _section(
            "criticality",
            "Most critical layers and bits",
            "By sdc rate, with 95% intervals. A filled marker is a rank that the intervals make "
            "certain; for an open one, they allow other ranks too.",
            {"highest sdc rates": lambda: figures.criticality(run)},
            lambda: plot_data.ranking(run).head(figures.HIGHEST),
        ),
        _section(
            "drift",
            "Where wrong decisions go",
            "The sdc samples of each golden class, by the class that they were taken for.",
            {"golden and faulty classes": lambda: figures.class_drift(run)},
            lambda: plot_data.drift(run),
        ),
        _map_section(run),
    ]


def _map_section(run: Run) -> Section:
    """Return the vulnerability map of the layer with the highest sdc rate."""
    title = "Inside the worst layer"
    try:
        worst = plot_data.worst_layer(run)
    except NothingToShowError as error:
        return Section("map", title, "", (Plot("map", missing=error.message),), None)
    name = " ".join(filter(None, [worst.layer, worst.variable]))
    last = worst.groupings[-1]
    return _section(
        "map",
        f"{title}, {name}",
        "The layer with the highest sdc rate: where in it a fault does harm.",
        {f"sdc rate by {by}": partial(_map, run, worst, by) for by in worst.groupings},
        lambda: plot_data.layer_map(run, worst.layer, by=last, variable=worst.variable),
    )


def _map(run: Run, worst: plot_data.Worst, by: Part) -> go.Figure:
    return figures.vulnerability_map(run, worst.layer, by=by, variable=worst.variable)


def _section(
    name: str,
    title: str,
    note: str,
    make: Mapping[str, Callable[[], go.Figure]],
    values: Callable[[], pd.DataFrame],
) -> Section:
    plots = tuple(_plot(label, one) for label, one in make.items())
    frame = _or_none(values) if any(plot.figure for plot in plots) else None
    table = None
    if frame is not None and len(frame) <= SHOWN_ROWS:
        keys = [name for name in ("place", "rate", "bit_field", "bit") if name in frame]
        table = table_of(arranged(frame, keys))
    return Section(name, title, note, plots, table)


def _plot(label: str, make: Callable[[], go.Figure]) -> Plot:
    try:
        figure = make()
    except NothingToShowError as error:
        return Plot(label, missing=error.message)
    figure.update_layout(title=None, margin_t=28)  # the page has a heading
    return Plot(label, figure.to_json(), int(figure.layout.height))


_T = TypeVar("_T")


def _or_none(make: Callable[[], _T]) -> _T | None:
    try:
        return make()
    except NothingToShowError:
        return None


def _state(status: RunStatus) -> str:
    """Return a sentence on how complete the run is; empty if it is."""
    left = status.planned - status.done - status.failures
    if left <= 0:
        return ""
    heartbeat = status.heartbeat
    running = " It was running when this was written." if heartbeat and heartbeat.alive else ""
    return (
        f"The run is not finished: {left:,} of {status.planned:,} trials are still to be done, and "
        f"everything here is about the others.{running}"
    )


def _facts(run: Run, status: RunStatus) -> list[tuple[str, str, str]]:
    """Return what is to be known first: name, value, and what it is of."""
    given_up = f"{status.failures:,} given up on" if status.failures else "none given up on"
    facts = [("trials", f"{status.done:,} of {status.planned:,}", given_up)]
    trials = run.trials(["samples", "golden_accuracy"])
    if trials.empty:
        return facts
    golden, samples = trials["golden_accuracy"].iloc[0], trials["samples"].iloc[0]
    told = f"on {samples:,} samples"
    if (run.golden or {}).get("at_chance"):
        told += "; hardly better than chance"
    facts.append(("golden accuracy", percent(golden), told))
    targets = run.summary("target")
    for row in targets.to_dict("records"):
        of = f" in {row['target']}" if len(targets) > 1 else ""
        for outcome in OUTCOME_COLOURS:
            value, low, high = (row[f"{outcome}_{end}"] for end in ("rate", "low", "high"))
            told = f"{row[outcome]:,} of n = {count(row['injected'])} injected"
            facts.append((f"{outcome} rate{of}", rate(value, low, high), told))
    if known := status.precision:
        rest = [str(one["of"]) for one in known if one["state"] != "reached"]
        told = f"not reached: {'; '.join(rest)}" if rest else "all rates are known as asked"
        facts.append(("precision", f"{len(known) - len(rest):,} of {len(known):,} reached", told))
    return facts


def _methods(run: Run) -> list[str]:
    """Return the names of the methods that the intervals of cells and layers come from."""
    names = [run.summary(by)["method"] for by in ("layer", "target")]
    return sorted({str(name) for column in names for name in column})


def _cells(run: Run) -> dict[str, Any]:
    """Return the table that can be sorted and filtered, of how many cells, and what all share."""
    cells = _or_none(lambda: plot_data.by_cell(run))
    if cells is None:
        return {"total": 0, "shared": "", "table": {"rows": 0, "columns": []}}
    worst = cells
    if len(cells) > SHOWN_CELLS:
        worst = cells.nlargest(SHOWN_CELLS, "sdc_rate").sort_index()
    different = differing(worst, plot_data.CELL[1:])
    shared = [name for name in plot_data.CELL[1:] if name not in different]
    told = [f"{name} {worst[name].iloc[0]}" for name in shared if worst[name].notna().all()]
    table = arranged(worst.drop(columns=shared), ["layer", *different])
    return {"total": len(cells), "shared": ", ".join(told), "table": json_of(table)}


def _layers(run: Run) -> Table | None:
    layers = _or_none(lambda: plot_data.by_place(run))
    return None if layers is None else table_of(arranged(layers, ["place"]))


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield what a mapping holds, nested names joined by dots."""
    for name, one in value.items():
        if isinstance(one, Mapping):
            yield from _flat(one, f"{before}{name}.")
        elif one is not None:
            yield f"{before}{name}", ("yes" if one else "no") if isinstance(one, bool) else str(one)
