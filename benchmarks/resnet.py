"""Injections per second on ResNet-20, all layers, with and without levels."""

import statistics
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from benchmarks import data
from injecttf2 import device

ASKED_RATE = 7_500
ASKED_RATIO = 2.7
ASKED_OVERHEAD = 0.10

FORWARD_BATCHES = (64, 128, 256)
"""Batch sizes of the plain forward pass; the best counts."""

OVERHEAD_LAYERS = ("stem_conv", "stage2_block1_add", "stage3_block2_relu2")
"""Cuts at which the engine is compared with the bare compiled suffix."""


def main() -> None:
    device.configure()
    if not data.resnet_files()[0].exists():
        sys.exit("resnet: set INJECTTF2_DATA to a folder with models/resnet20_cifar10.keras")
    import tensorflow as tf

    from injecttf2.digest import model_digest
    from injecttf2.engine import Engine
    from injecttf2.faults import BitFlip
    from injecttf2.trials import Cell, Identity, Repetitions

    model, dataset = data.resnet()
    identity = Identity(model_digest(model), dataset.digest, seed=2026)
    engines = {levels: Engine(model, dataset, levels=levels) for levels in ((), data.LEVELS)}
    graph = engines[()].graph
    console = Console(width=100)

    def seconds(call: Callable[[], object], times: int = 1) -> float:
        taken = []
        for _ in range(times):
            begin = time.perf_counter()
            call()
            taken.append(time.perf_counter() - begin)
        return statistics.median(taken)

    def run(inputs: tf.Tensor) -> tf.Tensor:
        return graph.run(graph.steps, {id(graph.input): inputs})[id(graph.output)]

    def forward_rate() -> float:
        rates = []
        for batch in FORWARD_BATCHES:
            inputs = tf.constant(dataset.inputs[:batch])
            forward(inputs)
            rates.append(batch / seconds(lambda inputs=inputs: forward(inputs).numpy(), 5))
        return max(rates)

    forward = tf.function(run, autograph=False)
    table = Table(title=f"resnet: ResNet-20, {len(dataset):,} images, random bit, p = 1")
    for name in ("layers", "dense, inj/s", "levels, inj/s", "levels / dense", "left", "twice"):
        table.add_column(name, justify="left" if name == "layers" else "right")
    totals: dict[str, list[float]] = {}
    forwards = []
    for info in graph.layers:
        if info.is_input:
            continue
        cell = Cell(info.layer, BitFlip(bit_field="any"), 1.0)
        group = totals.setdefault(info.layer.partition("_")[0], [0.0] * 5)
        totals.setdefault("all layers", [0.0] * 5)
        for column, (levels, engine) in enumerate(engines.items()):
            prepared = engine.prepare(info.layer, tune=True)
            engine.evaluate(list(Repetitions(cell, 9, 10).trials(identity)))
            dropped, twice = prepared.dropped, prepared.reevaluated
            trials = list(Repetitions(cell, 0, 2 if levels else 1).trials(identity))
            taken = seconds(lambda engine=engine, trials=trials: engine.evaluate(trials))
            values = [0.0] * 5
            values[column] = taken / len(trials)
            if levels:
                values[2] = (prepared.dropped - dropped) / len(trials)
                values[3] = (prepared.reevaluated - twice) / len(trials)
                values[4] = len(dataset)
            for total in (group, totals["all layers"]):
                total[:] = [a + b for a, b in zip(total, values, strict=True)]
            prepared.release()
        if info.index % 8 == 1:
            forwards.append(forward_rate())
    rows = sorted(totals.items(), key=lambda item: item[0] == "all layers")
    for name, (dense, fast, dropped, twice, count) in rows:
        table.add_row(
            name,
            f"{count / dense:,.0f}",
            f"{count / fast:,.0f}",
            f"{dense / fast:.2f}x",
            f"{dropped / count:.1%}",
            f"{twice / count:.2%}",
        )
    console.print(table)
    plain = statistics.median(forwards)
    _, fast, _, _, count = totals["all layers"]
    console.print(
        f"left: golden again and gone early; twice: left to dense\n"
        f"plain forward pass: {plain:,.0f} images/s; levels / forward: {count / fast / plain:.2f}, "
        f"asked for >= {ASKED_RATIO} and >= {ASKED_RATE:,} injections/s\n{data.machine()}\n",
        highlight=False,
    )
    _overhead(console, engines[()], dataset, identity, seconds)


def _overhead(console, engine, dataset, identity, seconds) -> None:  # type: ignore[no-untyped-def]
    """Compare level dense with the bare compiled suffix on batches that lie ready."""
    import tensorflow as tf

    from injecttf2.faults import BitFlip
    from injecttf2.trials import Cell, Repetitions

    table = Table(title="resnet: level dense over the bare compiled suffix, same batches")
    for name in ("layer", "batch", "bare, inj/s", "dense, inj/s", "overhead", "asked for"):
        table.add_column(name, justify="left" if name == "layer" else "right")
    graph = engine.graph
    for layer in OVERHEAD_LAYERS:
        cut = graph.cut(layer)
        prepared = engine.prepare(layer)
        batch = prepared.batch
        count = -(-len(dataset) // batch) * batch
        frontier = [
            tf.random.normal((batch, *graph.shape(key)), dtype=graph.dtypes[key])
            for key in cut.frontier
        ]

        def bare(*tensors: tf.Tensor, cut=cut) -> tf.Tensor:  # type: ignore[no-untyped-def]
            values = graph.run(cut.suffix, dict(zip(cut.frontier, tensors, strict=True)))
            return values[id(graph.output)]

        compiled = tf.function(bare, autograph=False)
        trials = list(Repetitions(Cell(layer, BitFlip(bit=1), 1.0), 0, 1).trials(identity))

        def all_bare(compiled=compiled, frontier=frontier, times=count // batch) -> None:  # type: ignore[no-untyped-def]
            for _ in range(times):
                compiled(*frontier).numpy()

        def all_dense(trials=trials) -> None:  # type: ignore[no-untyped-def]
            engine.evaluate(trials)

        all_bare()
        all_dense()
        pairs = [(seconds(all_bare), seconds(all_dense)) for _ in range(5)]
        ratio = statistics.median(dense / bare for bare, dense in pairs)
        bare_time, dense_time = (statistics.median(one) for one in zip(*pairs, strict=True))
        table.add_row(
            layer,
            str(batch),
            f"{count / bare_time:,.0f}",
            f"{count / dense_time:,.0f}",
            f"{ratio - 1:+.1%}",
            f"<= {ASKED_OVERHEAD:.0%}",
        )
    console.print(table)
    console.print(f"pairs in turn, medians of 5; {data.machine()}\n", highlight=False)
