"""Trials per second of the engine alone on the example's CNN, with and without levels."""

import statistics
import time

from rich.console import Console
from rich.table import Table

from benchmarks import data
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

SECONDS = 1.5
"""Time of one measurement, about."""

MEASUREMENTS = 5


def main() -> None:
    device.configure()
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # the reference traces the model anew for every batch
    from injecttf2.digest import model_digest
    from injecttf2.engine import Engine
    from injecttf2.faults import BitFlip
    from injecttf2.trials import Cell, Identity, Repetitions
    from tests import reference

    model, dataset = data.example()
    identity = Identity(model_digest(model), dataset.digest, seed=2026)
    engines = {levels: Engine(model, dataset, levels=levels) for levels in ((), data.LEVELS)}
    table = Table(title=f"engine: example CNN, {len(dataset):,} images, bit 30, p = 1, trials/s")
    for name in ("layer", "reference", "dense", "levels", "asked for", "levels / dense", "twice"):
        table.add_column(name, justify="left" if name == "layer" else "right")

    def rate(engine: Engine, cell: Cell) -> float:
        def measure(trials: int) -> float:
            chosen = list(Repetitions(cell, 0, trials).trials(identity))
            begin = time.perf_counter()
            engine.evaluate(chosen)
            return time.perf_counter() - begin

        engine.prepare(cell.layer, tune=True)
        measure(2)
        trials = max(3, round(SECONDS / (measure(8) / 8)))
        return trials / statistics.median(measure(trials) for _ in range(MEASUREMENTS))

    for info in engines[()].graph.layers:
        if info.is_input:
            continue
        cell = Cell(info.layer, BitFlip(bit=30), 1.0)
        rates = [rate(engine, cell) for engine in engines.values()]
        prepared = engines[data.LEVELS].prepare(info.layer)
        before = prepared.reevaluated
        (trial,) = Repetitions(cell, 0, 1).trials(identity)
        engines[data.LEVELS].evaluate([trial])
        twice = (prepared.reevaluated - before) / len(dataset)
        begin = time.perf_counter()
        reference.evaluate(
            model,
            dataset.inputs,
            dataset.labels,
            layer=info.layer,
            trial_id=trial.id,
            elements=info.elements or 0,
            candidates=[30],
            probability=1.0,
            batch=1000,
        )
        slow = 1 / (time.perf_counter() - begin)
        table.add_row(
            info.layer,
            f"{slow:.2f}",
            f"{rates[0]:,.1f}",
            f"{rates[1]:,.1f}",
            str(TARGETS.get(info.layer, "")),
            f"{rates[1] / rates[0]:.1f}x",
            f"{twice:.2%}",
        )
        for engine in engines.values():
            engine.prepare(info.layer).release()
    console = Console(width=100)
    console.print(table)
    console.print(
        f"twice: share that levels leave to dense; median of {MEASUREMENTS}; {data.machine()}\n",
        highlight=False,
    )
