"""Trials per second of the engine alone, and of the reference evaluator on the same trials."""

import statistics
import time

from rich.console import Console
from rich.table import Table

from benchmarks import data
from injecttf2 import device

TARGETS = {"conv2d": 4, "dense": 120, "dense_1": 250}
"""Trials per second asked for, on 2 cores."""

SECONDS = 1.5
"""Time of one measurement, about."""

MEASUREMENTS = 5


def main() -> None:
    device.configure()
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # the reference traces the model anew for every batch
    from injecttf2 import datasets, models
    from injecttf2.digest import model_digest
    from injecttf2.engine import Engine
    from injecttf2.faults import BitFlip
    from injecttf2.trials import Cell, Identity, Repetitions
    from tests import reference

    model = models.load_file(data.mnist_model())
    dataset = datasets.prepare(
        datasets.load(str(data.mnist())),
        datasets.Preparation(),
        shape=(28, 28, 1),
        dtype="float32",
    )
    engine = Engine(model, dataset)
    identity = Identity(model_digest(model), dataset.digest, seed=2026)
    table = Table(title=f"engine: example CNN, {len(dataset):,} images, bit 30, p = 1")
    for name in ("layer", "trials/s", "asked for", "injections/s", "reference trials/s", "ratio"):
        table.add_column(name, justify="left" if name == "layer" else "right")

    def measure(cell: Cell, trials: int) -> float:
        chosen = list(Repetitions(cell, 0, trials).trials(identity))
        begin = time.perf_counter()
        engine.evaluate(chosen)
        return time.perf_counter() - begin

    for info in engine.graph.layers:
        if info.is_input:
            continue
        cell = Cell(info.layer, BitFlip(bit=30), 1.0)
        engine.prepare(info.layer)
        once = measure(cell, 8) / 8
        trials = max(4, round(SECONDS / once))
        rate = trials / statistics.median(measure(cell, trials) for _ in range(MEASUREMENTS))
        (trial,) = Repetitions(cell, 0, 1).trials(identity)
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
            f"{rate:,.1f}",
            str(TARGETS.get(info.layer, "")),
            f"{rate * len(dataset):,.0f}",
            f"{slow:.2f}",
            f"{rate / slow:,.0f}x",
        )
    console = Console(width=100)
    console.print(table)
    console.print(f"median of {MEASUREMENTS}; {data.machine()}\n", highlight=False)
