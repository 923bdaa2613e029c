"""What the commands print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.fitting import Column, FittedTable
from results import Compacted, RunStatus
from results.analysis.differences import CELL
from results.report.labels import fault_label, rate_labels
from results.report.tables import percent
from results.run_folder.schema import OUTCOMES
from results.shown import shown, shown_address

if TYPE_CHECKING:
    from injecttf2.graph.layer_info import LayerInfo
    from injecttf2.graph.weights import Counted
    from orchestrator.planning.adaptive_sampling import CellsReached
    from orchestrator.planning.estimate import Estimate
    from orchestrator.planning.expectation import Expectation
    from orchestrator.planning.plan import Plan
    from orchestrator.session.session import Summary


def summary_lines(run: str, summary: Summary, report: str | None = None) -> RenderableType:
    """Return what a run has done, in counts, and where the results and their report are."""
    line = (
        f"{summary.done:,} of {summary.trials:,} trials done, {summary.injections:,} injections "
        f"in {summary.seconds:.1f} s"
    )
    if summary.unmet and not summary.reached:
        cells = "cell has" if summary.unmet == 1 else "cells have"
        line += f"; {summary.unmet:,} {cells} had all trials without being known as asked"
    where = [f"results: {shown_address(run)}"] + ([f"report: {report}"] if report else [])
    known = [*map(_line, precision_lines(summary.reached))]
    if summary.cells_reached is not None:
        known.append(_line(_cells_line(summary.cells_reached)))
    return Group(
        _line(line), *known, *(_line(one, no_wrap=True, overflow="ignore") for one in where)
    )


def precision_lines(reached: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield how well the rates of layers or of the network are known, a line each."""
    states = {
        "reached": "reached",
        "open": "goes on",
        "stopped": "not reached: it has had all the trials that it may have",
        "waiting": "not reached: it waits for trials that were given up on; `injecttf2 run "
        "--retry-failed` goes on",
    }
    for one in reached:
        line = f"{one['of']}: {one['trials']:,} trials"
        if one["low"] is not None:
            line += (
                f", {one['metric']} {one['rate']:.3%}, {one['low']:.3%} to {one['high']:.3%}; "
                f"known to {one['margin']:.3%}, asked {one['asked']:.3%}"
            )
        yield f"{line}: {states[one['state']]}"


def _cells_line(reached: CellsReached) -> str:
    """Return how well the rates of cells are known, and what that took."""
    each = f"{reached.most:,}"
    if reached.fewest < reached.most:
        each = f"{reached.fewest:,} to {each}"
    line = f"{reached.cells:,} cells: {reached.trials:,} trials, {each} each"
    if reached.margin is None:
        return line
    width = f"widest half width {reached.margin:.3%}, asked {reached.asked:.3%}"
    return f"{line}; {reached.metric}: {width}"


def cells_entry(cells: Sequence[Expectation]) -> dict[str, Any]:
    """Return how well the rates of a plan's cells will be known, as plain values."""
    told = [
        {
            "target": one.target,
            one.rate.name: one.rate.value,
            "least": round(one.least, 2),
            "most": round(one.most, 2),
            "few": one.few,
            "half_widths": {
                f"{rate:g}": [round(width, 4) for width in widths]
                for rate, widths in one.half_widths.items()
            },
        }
        for one in cells
    ]
    return {"per_cell": told} if told else {}


def _cells_lines(cells: Sequence[Expectation]) -> Iterator[str]:
    """Yield how well the rates of a plan's cells will be known, a line a target and rate."""
    import pandas as pd

    rates = rate_labels(pd.DataFrame([{one.rate.name: one.rate.value} for one in cells]))
    several = len(set(rates)) > 1
    for one, label in zip(cells, rates, strict=True):
        rate = f" at {label}" if several else ""
        known = " and ".join(
            f"a rate of {rate:.0%} to ±{widths[0]:.1%}" for rate, widths in one.half_widths.items()
        )
        better = " or better" if one.least < one.most else ""
        yield (
            f"a cell in {one.target}{rate} has {_range(_count(one.least), _count(one.most))} "
            f"{one.unit}: at 95 % they tell {known}{better}"
        )


def _range(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def _count(number: float) -> str:
    return f"{number:,.1f}" if number < 10 and number % 1 else f"{number:,.0f}"


def plan_table(plan: Plan, expected: Estimate, cells: Sequence[Expectation] = ()) -> RenderableType:
    """Return what a plan would do and take, and how well the rates of its cells will be known."""
    infos = {info.layer: info for info in plan.layers}
    groups = plan.grid.groups
    parts = [[infos[layer] for layer in group.scope.layers] for group in groups]
    columns = [
        Column("layer", [group.layer for group in groups]),
        Column("target", [group.scope.target for group in groups]),
        Column("cells", [f"{group.cells:,}" for group in groups], 4),
        Column("trials", [f"{sum(n for _, n in plan.cells(group)):,}" for group in groups], 5),
        Column("shape", [" + ".join(_shape(one.shape) for one in those) for those in parts], 2),
        Column("dtype", [" + ".join(dict.fromkeys(i.dtype for i in those)) for those in parts], 1),
    ]
    protections = [group.scope.protection for group in groups]
    if any(protections):
        names = ["none" if one is None else one.label for one in protections]
        columns.insert(2, Column("protection", names))
    skipped = (f"skipped {info.layer}: {info.reason}" for info in plan.skipped)
    line = (
        f"{plan.trials:,} trials on {len(plan.dataset):,} samples, about "
        f"{plan.injections:,.0f} injections, {_span(expected)} on this machine, "
        f"{_size(expected.bytes)}"
    )
    precision = plan.campaign.precision
    if precision is not None and (span := plan.trial_range()):
        whose = precision.whose
        line = f"at least {span.at_least:,}, at most {line}\n{whose} until it is known as asked"
        if span.fixed is not None:
            line += f"; the sample size by Leveugle et al. for {whose}: {span.fixed:,} trials"
    lines = [*skipped, line, *_cells_lines(cells), *plan.reading_lines()]
    return Group(FittedTable(f"plan of {plan.campaign.name}", columns), *map(_line, lines))


def status_table(run: str, status: RunStatus) -> RenderableType:
    """Return how far a run is, what is at work on it, and what was given up on."""
    states = status.layers.values()
    columns = [
        Column("layer", [*status.layers]),
        Column("done", [f"{state.done:,}" for state in states], 4),
        Column("planned", [f"{state.planned:,}" for state in states], 3),
    ]
    if status.failures:
        columns.append(Column("given up", [f"{state.failed:,}" for state in states], 2))
    if status.outside:
        outside = [f"{status.outside.get(layer, 0):,}" for layer in status.layers]
        columns.append(Column("of an earlier grid", outside, 1))
    table = FittedTable(run, columns)
    return Group(
        table,
        _line(_how_far(status)),
        *map(_line, precision_lines(status.precision)),
        *(_line(line) for line in _at_work(status)),
        *(_line(f"{name} cannot be read") for name in status.unreadable),
        *(_line(line) for line in (status.contradiction or "").splitlines()),
        *_failures(status),
    )


def _how_far(status: RunStatus) -> str:
    share = status.done / status.planned if status.planned else 1.0
    parts = [f"{status.done:,} of {status.planned:,} trials done ({share:.1%})"]
    if status.failures:
        parts.append(f"{status.failures:,} given up on")
    if status.trials_per_second and status.done < status.planned:
        parts.append(f"{status.trials_per_second:,.1f} trials/s")
    if status.seconds_left is not None:
        parts.append(f"{_time(status.seconds_left)} left at that rate")
    if status.last_finished_at:
        parts.append(f"last trial at {status.last_finished_at:%Y-%m-%d %H:%M:%S} UTC")
    return "; ".join(parts)


def _at_work(status: RunStatus) -> Iterator[str]:
    """Yield what is known of the process that writes, if anything is."""
    heartbeat = status.heartbeat
    if heartbeat is None:
        return
    who = f"process {heartbeat.pid} on {heartbeat.host}"
    ago = f"heartbeat {_time(heartbeat.age)} ago"
    if heartbeat.age < 0:
        ago = f"heartbeat {_time(-heartbeat.age)} ahead of the clock here"
    if heartbeat.alive:
        workers = heartbeat.workers or 0
        yield f"running with {workers} worker{'s' if workers != 1 else ''}: {who}, {ago}"
    elif heartbeat.state == "running" and heartbeat.age < 0:
        yield f"running or not: {who} said so, {ago}; set the clocks of both machines"
    elif heartbeat.state == "running":
        yield f"not running: {who} has been silent, {ago}; the same command goes on"
    else:
        yield f"{heartbeat.state}: {who}, {ago}"
        if reason := heartbeat.details.get("reason"):
            yield str(reason)


def _failures(status: RunStatus) -> Iterator[RenderableType]:
    """Yield a table of what was given up on, if anything was."""
    if not status.failed:
        return
    table = _table("given up on (`injecttf2 run --retry-failed` tries them again)")
    table.add_column("trial_id", no_wrap=True)
    for name in ("trial", "error"):
        table.add_column(name, overflow="fold")
    for failed in status.failed:
        table.add_row(str(failed.trial_id), failed.trial, failed.error)
    yield table
    if status.failures > len(status.failed):
        rest = status.failures - len(status.failed)
        yield _line(f"and {rest:,} more: all of them, with tracebacks, are in failures/")


def trial_lines(row: Mapping[str, Any]) -> RenderableType:
    """Return what a trial does, and what became of the samples that it hits."""
    told = {name: row[name] for name in (*CELL, "repetition") if row[name] is not None}
    told["fault"] = fault_label(row["fault"], told.pop("parameters", None))
    if "bit" in told:
        told.pop("bit_field", None)
    outcomes = ", ".join(f"{row[name]:,} {name}" for name in OUTCOMES)
    return Group(
        _line(", ".join(f"{name} {value}" for name, value in told.items())),
        _line(
            f"{row['injected']:,} of {row['samples']:,} samples injected: {outcomes}; "
            f"accuracy {percent(row['accuracy'])}, golden {percent(row['golden_accuracy'])}"
        ),
    )


def compacted_line(compacted: Compacted) -> str:
    """Return what a compaction did."""
    if not compacted.merged:
        return f"nothing to do: {compacted.parts_before:,} files, {_size(compacted.bytes_before)}"
    return (
        f"{compacted.parts_before:,} files, {_size(compacted.bytes_before)} -> "
        f"{compacted.parts_after:,} files, {_size(compacted.bytes_after)}"
    )


def layer_entry(info: LayerInfo, weights: Sequence[Counted]) -> dict[str, Any]:
    """Return what can be injected in a layer, as plain values."""
    entry: dict[str, Any] = {
        "layer": info.layer,
        "type": info.type,
        "shape": list(info.shape),
        "dtype": info.dtype,
        "elements": info.elements,
        "parameters": info.parameters,
    }
    if weights:
        entry["weights"] = [
            {
                "variable": one.weight.name,
                "dtype": one.weight.dtype,
                "elements": one.weight.elements,
                "counted_at": None
                if one.at is None
                else {"layer": one.at.layer, "variable": one.at.name},
                **({} if one.reason is None else {"reason": one.reason}),
            }
            for one in weights
        ]
    if not (info.in_all or info.is_input):
        entry["in_all"] = False
    return entry if info.reason is None else {**entry, "reason": info.reason}


def layers_table(
    model: str, layers: Sequence[LayerInfo], weights: Mapping[str, Sequence[Counted]]
) -> RenderableType:
    """Return what can be injected in a model.

    Args:
        model: What it was asked for by.
        layers: Its layers.
        weights: By the address of each: its weights.
    """
    names = [
        info.layer if info.reason is None else f"{info.layer} (not injectable: {info.reason})"
        for info in layers
    ]
    elements = [
        "depends on data" if info.elements is None else f"{info.elements:,}" for info in layers
    ]
    columns = [
        Column("layer", names),
        Column("type", [_kind(info) for info in layers]),
        Column("shape", [_shape(info.shape) for info in layers], 4),
        Column("dtype", [info.dtype for info in layers], 2),
        Column("elements", elements, 3),
        Column("parameters", [f"{info.parameters:,}" for info in layers], 1),
        Column("weights", [_weights(info.layer, weights[info.layer]) for info in layers], 0),
    ]
    return FittedTable(shown(model), columns)


def _weights(layer: str, weights: Iterable[Counted]) -> str:
    """Return the weights of a layer, and where they are counted if not there."""
    told: dict[str, list[str]] = {}
    for one in weights:
        where = one.reason or ""
        if one.at is not None and one.at.layer != layer:
            where = f"counted at {one.at.layer}"
        told.setdefault(where, []).append(one.weight.name)
    return "; ".join(
        ", ".join(names) + (f" ({where})" if where else "") for where, names in told.items()
    )


def _kind(info: LayerInfo) -> str:
    """Return what a layer is, and whether `layers: all` leaves it out."""
    if info.is_input:
        return f"{info.type} (an input)"
    return info.type if info.in_all else f"{info.type} (not among `all`)"


def _table(title: str) -> Table:
    return Table(
        title=title,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def _line(text: str, **options: Any) -> Text:
    """Return a text as it may be shown, which is not laid out like one of a table."""
    return Text(shown(text), **options)


def _shape(shape: Sequence[int | None]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"


def _span(expected: Estimate) -> str:
    least, most = _time(expected.at_least), _time(expected.seconds)
    return least if least == most else f"{least} to {most}"


def _time(seconds: float) -> str:
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.1f} days"


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
