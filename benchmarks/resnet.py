"""Injections per second on ResNet-20, all layers, with and without levels."""

import statistics
import sys
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import data
from benchmarks.timing import forward_rate, seconds, trials
from injecttf2 import device

ASKED_RATE = 7_500
ASKED_RATIO = 2.7

SECONDS = 1.5
"""Time of one measurement, about; a worker's chunk of trials takes two seconds."""


@dataclass
class Total:
    """What one trial of each of some layers takes.

    Args:
        dense: Seconds at level ``dense``.
        levels: Seconds with all levels.
        injections: Samples.
        dropped: Those that left early.
        twice: Those left to level ``dense``.
    """

    dense: float = 0.0
    levels: float = 0.0
    injections: int = 0
    dropped: float = 0.0
    twice: float = 0.0

    def add(self, other: "Total") -> None:
        """Add what other layers took."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


def main() -> None:
    if not data.resnet_files()[0].exists():
        print("resnet: left out, INJECTTF2_DATA names no folder with resnet20_cifar10.keras\n")
        return
    device.configure(threads=device.cores())
    from injecttf2.engine import Engine

    model, dataset = data.resnet()
    engines = {levels: Engine(model, dataset, levels=levels) for levels in ((), data.LEVELS)}
    console = Console(width=100)
    _rates(console, engines, model, dataset)


def _rates(console: Console, engines: dict[tuple[str, ...], Any], model: Any, dataset: Any) -> None:
    """Print injections/s of all layers."""
    groups: dict[str, Total] = {}
    every, forwards = Total(), []
    graph = engines[()].graph
    for info in graph.layers[1:]:
        _say(f"{info.index} of {len(graph.layers) - 1}: {info.layer}")
        layer = _measured(engines, info.layer, len(dataset))
        groups.setdefault(info.layer.partition("_")[0], Total()).add(layer)
        every.add(layer)
        if info.index % 8 == 1:
            forwards.append(forward_rate(model, dataset.inputs))
    table = Table(title=f"resnet: ResNet-20, {len(dataset):,} images, random bit, p = 1")
    for name in ("layers", "dense, inj/s", "levels, inj/s", "levels / dense", "left", "twice"):
        table.add_column(name, justify="left" if name == "layers" else "right")
    for name, total in {**groups, "all layers": every}.items():
        table.add_row(
            name,
            f"{total.injections / total.dense:,.0f}",
            f"{total.injections / total.levels:,.0f}",
            f"{total.dense / total.levels:.2f}x",
            f"{total.dropped / total.injections:.1%}",
            f"{total.twice / total.injections:.2%}",
        )
    console.print(table)
    plain = statistics.median(forwards)
    console.print(
        "left: golden again and gone early; twice: left to level dense\n"
        f"plain forward pass: {plain:,.0f} images/s; levels / forward: "
        f"{every.injections / every.levels / plain:.2f}, asked for >= {ASKED_RATIO} "
        f"and >= {ASKED_RATE:,} injections/s\n"
        f"peak memory of this process, which holds both engines: {data.peak_memory():.2f} GB, "
        f"asked for <= 2 of a worker\n{data.machine()}\n",
        highlight=False,
    )


def _measured(engines: dict[tuple[str, ...], Any], layer: str, samples: int) -> Total:
    """Return what one trial of a layer takes, after warm-up."""
    total = Total(injections=samples)
    for levels, engine in engines.items():
        prepared = engine.prepare(layer)
        warm = seconds(lambda e=engine: e.evaluate(trials(layer, 1, start=1000)))
        chosen = trials(layer, max(1, round(SECONDS / warm)))
        dropped, twice = prepared.dropped, prepared.reevaluated
        taken = seconds(lambda e=engine, t=chosen: e.evaluate(t)) / len(chosen)
        if levels:
            total.levels = taken
            total.dropped = (prepared.dropped - dropped) / len(chosen)
            total.twice = (prepared.reevaluated - twice) / len(chosen)
        else:
            total.dense = taken
    return total


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
