"""Level dense on ResNet50 at 224 x 224: images/s against ``predict_on_batch`` on the same batch."""

import statistics
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import data
from benchmarks.timing import seconds, trials
from injecttf2 import device

LAYERS = (
    "conv1_conv",
    "conv2_block1_out",
    "conv3_block1_out",
    "conv4_block1_out",
    "conv5_block1_out",
    "predictions",
)
"""From the first layer to the last."""

IMAGES = 64
ROUNDS = 5
ASKED = 0.9
"""Share of the rate of ``predict_on_batch`` that is asked for at the first layer."""


def main() -> None:
    device.configure()
    import keras

    from injecttf2.datasets import Dataset
    from injecttf2.engine import Engine

    keras.utils.set_random_seed(1)
    model = keras.applications.ResNet50(weights=None)
    images = np.random.default_rng(1).normal(size=(IMAGES, 224, 224, 3)).astype(np.float32)
    engine = Engine(model, Dataset(images, np.zeros(IMAGES, np.int64)), levels=())
    model.predict_on_batch(images)
    table = Table(title=f"resnet50: {IMAGES} images of 224 x 224, a bit flip in each, one thread")
    for name in ("layer", "images/s", "of predict_on_batch", "asked for"):
        table.add_column(name, justify="left" if name == "layer" else "right")
    for layer in LAYERS:
        rate, share = _measured(engine, model, images, layer)
        asked = f">= {ASKED:.0%}" if layer == LAYERS[0] else ""
        table.add_row(layer, f"{rate:,.1f}", f"{share:.0%}", asked)
    console = Console(width=100)
    console.print(table)
    console.print(
        f"medians of {ROUNDS} rounds, taken in turns\n{data.machine()}\n", highlight=False
    )


def _measured(engine: Any, model: Any, images: Any, layer: str) -> tuple[float, float]:
    """Return the images/s of a layer, and the share that they are of the model's own."""
    engine.prepare(layer)
    (trial,) = trials(layer, 1)
    engine.evaluate([trial])
    rates, shares = [], []
    for _ in range(ROUNDS):
        plain = seconds(lambda: model.predict_on_batch(images))
        ours = seconds(lambda: engine.evaluate([trial]))
        rates.append(len(images) / ours)
        shares.append(plain / ours)
    return statistics.median(rates), statistics.median(shares)
