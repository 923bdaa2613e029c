"""Trials per second of the engine alone on the example's CNN, with and without levels."""

import statistics
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import data
from benchmarks.timing import seconds, trials
from injecttf2 import device

TARGETS = {
    "conv2d": 200,
    "max_pooling2d": 200,
    "flatten": 200,
    "dense": 200,
    "dropout": 200,
    "dense_1": 350,
    "softmax": 400,
}
"""Trials per second asked for, on 2 cores, with all levels."""

BIT = 30

SECONDS = 1.5
"""Time of one measurement, about."""

MEASUREMENTS = 5


def main() -> None:
    device.configure(threads=device.cores())
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # the reference traces the model anew for every batch
    from injecttf2.engine import Engine

    model, dataset = data.example()
    engines = [Engine(model, dataset, levels=levels) for levels in ((), data.LEVELS)]
    table = Table(title=f"engine: example CNN, {len(dataset):,} images, bit 30, p = 1, trials/s")
    for name in ("layer", "reference", "dense", "levels", "asked for", "levels / dense", "twice"):
        table.add_column(name, justify="left" if name == "layer" else "right")
    for info in engines[0].graph.layers[1:]:
        table.add_row(info.layer, *_row(model, dataset, engines, info))
    peak = data.peak_memory()
    console = Console(width=100)
    console.print(table)
    console.print(
        f"twice: share that levels leave to dense; median of {MEASUREMENTS}; peak memory of this "
        f"process, which holds both engines: {peak:.2f} GB, asked for <= 2 of a worker\n"
        f"{data.machine()}\n",
        highlight=False,
    )


def _row(model: Any, dataset: Any, engines: Sequence[Any], info: Any) -> list[str]:
    """Measure one layer."""
    dense, levels = (_rate(engine, info.layer) for engine in engines)
    prepared = engines[1].prepare(info.layer)
    before = prepared.reevaluated
    engines[1].evaluate(trials(info.layer, 1, bit=BIT))
    twice = (prepared.reevaluated - before) / len(dataset)
    return [
        f"{1 / _reference_seconds(model, dataset, info):.2f}",
        f"{dense:,.1f}",
        f"{levels:,.1f}",
        str(TARGETS.get(info.layer, "")),
        f"{levels / dense:.1f}x",
        f"{twice:.2%}",
    ]


def _rate(engine: Any, layer: str) -> float:
    """Return the trials/s of an engine."""

    def measure(count: int) -> float:
        chosen = trials(layer, count, bit=BIT)
        return seconds(lambda: engine.evaluate(chosen))

    engine.prepare(layer)
    measure(2)
    count = max(3, round(SECONDS / (measure(8) / 8)))
    return count / statistics.median(measure(count) for _ in range(MEASUREMENTS))


def _reference_seconds(model: Any, dataset: Any, info: Any) -> float:
    """Return how long the reference evaluator takes for one trial."""
    from tests.reference import Reference

    trial, other = trials(info.layer, 2, bit=BIT)
    reference = Reference(model, dataset.inputs, dataset.labels, batch=1000)
    reference.evaluate(other)  # golden run, and compilation; the last trial is remembered
    return seconds(lambda: reference.evaluate(trial))
