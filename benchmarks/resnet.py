"""Injections per second on ResNet-20, all layers, with and without levels."""

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import data
from benchmarks.timing import seconds, trials
from injecttf2 import device

ASKED_RATE = 7_500
ASKED_RATIO = 2.7
ASKED_OVERHEAD = 0.10

SECONDS = 1.5
"""Time of one measurement, about; a worker's chunk of trials takes two seconds."""

FORWARD_BATCHES = (64, 128, 256)
"""Batch sizes of the plain forward pass; the best counts."""

OVERHEAD_LAYERS = ("stem_conv", "stage2_block1_add", "stage3_block2_relu2")
"""Cuts at which the engine is compared with the bare compiled suffix."""


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
    _rates(console, engines, dataset)
    _overhead(console, engines[()], dataset)


def _rates(console: Console, engines: dict[tuple[str, ...], Any], dataset: Any) -> None:
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
            forwards.append(_forward_rate(graph, dataset))
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
        prepared = engine.prepare(layer, tune=True)
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
        prepared.release()
    return total


def _forward_rate(graph: Any, dataset: Any) -> float:
    """Return the images/s of the whole compiled model at its best batch size."""
    import tensorflow as tf

    def run(inputs: Any) -> Any:
        return graph.run(graph.steps, {id(graph.input): inputs})[id(graph.output)]

    forward = tf.function(run, autograph=False)
    rates = []
    for batch in FORWARD_BATCHES:
        inputs = tf.constant(dataset.inputs[:batch])
        forward(inputs)
        times = [seconds(lambda i=inputs: forward(i).numpy()) for _ in range(5)]
        rates.append(batch / statistics.median(times))
    return max(rates)


def _overhead(console: Console, engine: Any, dataset: Any) -> None:
    """Compare level dense with the bare compiled suffix on batches that lie ready."""
    table = Table(title="resnet: level dense over the bare compiled suffix, same batches")
    for name in ("layer", "batch", "bare, inj/s", "dense, inj/s", "overhead", "asked for"):
        table.add_column(name, justify="left" if name == "layer" else "right")
    for layer in OVERHEAD_LAYERS:
        batch = engine.prepare(layer).batch
        batches = -(-len(dataset) // batch)
        bare = _bare_suffix(engine.graph, layer, batch, batches)
        chosen = trials(layer, 1)
        bare()
        engine.evaluate(chosen)
        pairs = [(seconds(bare), seconds(lambda t=chosen: engine.evaluate(t))) for _ in range(5)]
        bare_time, dense_time = (statistics.median(one) for one in zip(*pairs, strict=True))
        ratio = statistics.median(dense / bare for bare, dense in pairs)
        table.add_row(
            layer,
            str(batch),
            f"{batch * batches / bare_time:,.0f}",
            f"{batch * batches / dense_time:,.0f}",
            f"{ratio - 1:+.1%}",
            f"<= {ASKED_OVERHEAD:.0%}",
        )
    console.print(table)
    console.print(f"pairs in turn, medians of 5; {data.machine()}\n", highlight=False)


def _bare_suffix(graph: Any, layer: str, batch: int, batches: int) -> Callable[[], None]:
    """Return a call that runs the compiled steps behind a layer on batches that lie ready."""
    import tensorflow as tf

    cut = graph.cut(layer)
    frontier = [
        tf.random.normal((batch, *graph.shape(key)), dtype=graph.dtypes[key])
        for key in cut.frontier
    ]

    def run(*tensors: Any) -> Any:
        values = graph.run(cut.suffix, dict(zip(cut.frontier, tensors, strict=True)))
        return values[id(graph.output)]

    compiled = tf.function(run, autograph=False)

    def call() -> None:
        for _ in range(batches):
            compiled(*frontier).numpy()

    return call


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
