"""Deep models: how soon an engine and its layers are ready, and what whole commands take."""

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import commands, data
from benchmarks.timing import CLOCKS, forward_rate, seconds
from injecttf2 import device

IMAGES = 64
SIZE = (96, 96, 3)
"""Number and shape of the random images of models that come without any."""

ASKED_READY = {"ResNet-20": 0.08, "MobileNetV2": 0.15, "DenseNet121": 0.2}
"""CPU s for a further layer."""

ASKED_CPU = {"ResNet-20": 75, "MobileNetV2": 50}
"""CPU s of a command with ``REPETITIONS``."""

ASKED_RATIO = 3.5
"""Injections/s over plain images/s, with ``LONG`` repetitions."""

ASKED_SHORT = 1.05
"""CPU s with all levels over those with none, of a campaign too short to gain anything by them."""

REPETITIONS, LONG = 2, 10

ROUNDS = 3
"""How often the short campaign is run with all levels and with none, in turns."""

CAMPAIGN = """
name: deep
model: {model}
dataset: {dataset}
repetitions: {repetitions}
grid: {{layers: {layers}, bits: [random], probabilities: [1.0]}}
"""


class Case(NamedTuple):
    """A model, images as it takes them, and both as a campaign names them."""

    name: str
    model: Any
    images: Any
    source: str
    dataset: str

    def campaign(self, layers: list[str], repetitions: int) -> str:
        """Return a campaign on some layers."""
        named = {"model": self.source, "dataset": self.dataset, "layers": json.dumps(layers)}
        return CAMPAIGN.format(repetitions=repetitions, **named)


def main(*, every: int = 1, long: bool = False) -> None:
    """Print how soon models are ready, and what commands on them take.

    Args:
        every: Every which layer of each model the commands inject.
        long: Whether ResNet-20 is also run with ``LONG`` repetitions.
    """
    device.configure(threads=device.cores())
    console = Console(width=110, highlight=False)
    ready = Table(title=f"deep: from a loaded model to layers ready, {IMAGES} random images")
    for name in ("model", "engine, CPU s", "engine, s", "layers", "each further, CPU s", "asked"):
        ready.add_column(name, justify="left" if name == "model" else "right")
    with tempfile.TemporaryDirectory() as folder:
        commanded = []
        for case in _cases(Path(folder)):
            layers, *cells = _ready(case.model)
            ready.add_row(case.name, *cells, f"<= {ASKED_READY[case.name]}")
            if case.name in ASKED_CPU:
                commanded.append((case, layers[::every]))
        console.print(ready)
        _print_commands(console, Path(folder), commanded, long=long)
        _print_short(console, Path(folder), *commanded[0])
    console.print(f"{data.machine()}\n")


def _cases(folder: Path) -> Iterator[Case]:
    """Yield the models; random images are written to a file in the folder."""
    import keras

    if (file := data.resnet_files()[0]).exists():
        model, dataset = data.resnet()
        yield Case("ResNet-20", model, dataset.inputs, str(file), data.resnet_dataset())
    else:
        print("deep: INJECTTF2_DATA names no folder with resnet20_cifar10.keras, it is left out")
    images, file = _random_images(SIZE), folder / "images.npz"
    np.savez(file, x_test=images, y_test=np.zeros(IMAGES, np.int64))
    for name in ("MobileNetV2", "DenseNet121"):
        keras.utils.set_random_seed(0)  # as for random weights in a campaign
        model = getattr(keras.applications, name)(weights=None, input_shape=SIZE)
        source = f"{{source: keras.applications:{name}, weights: random, input_shape: {[*SIZE]}}}"
        yield Case(name, model, images, source, str(file))


def _random_images(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(1).random((IMAGES, *shape), np.float32)


def _ready(model: Any) -> tuple[Any, ...]:
    """Return the layers to inject, and cells that tell how soon an engine and they are ready."""
    from injecttf2.datasets import Dataset
    from injecttf2.engine import Engine

    dataset = Dataset(_random_images(model.input_shape[1:]), np.zeros(IMAGES, np.int64))
    cpu, wall = time.process_time(), time.perf_counter()
    engine = Engine(model, dataset)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    layers = [one.layer for one in engine.graph.layers if one.in_all and one.reason is None]
    engine.prepare(layers[0])
    others = seconds(lambda: [*map(engine.prepare, layers[1:])], time.process_time)
    each = f"{others / (len(layers) - 1):.3f}" if layers[1:] else ""
    return layers, f"{cpu:.1f}", f"{wall:.1f}", f"{len(layers)}", each


def _print_commands(
    console: Console, folder: Path, cases: list[tuple[Case, list[str]]], *, long: bool
) -> None:
    """Print what whole commands take."""
    table = Table(title="deep: whole commands in one process, random bit, p = 1")
    table.add_column("model")
    for name in ("injections", "CPU s", "asked", "s", "/ plain", "/ plain, CPU", "asked", "GB"):
        table.add_column(name, justify="right")
    for case, layers in cases:
        plain = [forward_rate(case.model, case.images, clock) for clock in CLOCKS]
        also = [LONG] if long and case.name == "ResNet-20" else []
        for repetitions in (REPETITIONS, *also):
            run, _ = commands.run_inline(case.campaign(layers, repetitions), folder)
            injections = run.summary["injections"]
            table.add_row(
                f"{case.name}, {len(layers)} layers x {repetitions}",
                f"{injections:,}",
                f"{run.cpu_seconds:.0f}",
                f"<= {ASKED_CPU[case.name]}" if repetitions == REPETITIONS else "",
                f"{run.seconds:.0f}",
                f"{injections / run.seconds / plain[0]:.2f}",
                f"{injections / run.cpu_seconds / plain[1]:.2f}",
                f">= {ASKED_RATIO}" if repetitions == LONG else "",
                f"{run.peak_bytes / 1e9:.2f}",
            )
    console.print(table)
    console.print(
        "/ plain: injections/s over images/s of the model's own compiled forward pass, by the "
        "clock and by CPU time\nGB: peak memory of the command, asked for <= 2"
    )


def _print_short(console: Console, folder: Path, case: Case, layers: list[str]) -> None:
    """Print what the levels cost where there is nothing to gain."""
    chosen = [*dict.fromkeys([layers[0], layers[len(layers) // 2], layers[-1]])]
    taken: dict[str, list[float]] = {"drop,difference": [], "dense": []}
    for _ in range(ROUNDS):
        for levels, times in taken.items():
            campaign = case.campaign(chosen, 1)
            run, _ = commands.run_inline(campaign, folder, "--levels", levels)
            times.append(run.cpu_seconds)
    every, dense = map(statistics.median, taken.values())
    console.print(
        f"a short campaign, {case.name}, {', '.join(chosen)} x 1: {every:.1f} CPU s with all "
        f"levels, {dense:.1f} with none, {every / dense:.2f} times as many, asked for "
        f"<= {ASKED_SHORT}; medians of {ROUNDS}"
    )
