"""What the published models are, what they take, and how each is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tf_keras

from tests import judging
from tests.reference import Judging, per_position

ABSOLUTE = 5.0
"""How far an output of the autoencoder may move, in its decibels."""

Data = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Published:
    """A model that others published.

    Args:
        file: Name of its file.
        keras: The Keras that the engine reads it with: both compute the same, but round otherwise.
        parameters: How many numbers its weights are.
        trials: How many there are in a campaign with two cells a layer in outputs, one in weights.
        data: Returns inputs as the model takes them, and labels, from photographs.
        judge: What is asked of outputs, as a campaign says it.
        judging: The same, of the oracle.
    """

    file: str
    keras: Any
    parameters: int
    trials: int
    data: Callable[[np.ndarray], Data]
    judge: str = "top1"
    judging: Judging = field(default_factory=Judging)

    def read(self, path: Path) -> Any:
        """The model, by Keras itself."""
        return self.keras.models.load_model(path, compile=False)


def labelled(inputs: np.ndarray, classes: int, *positions: int) -> Data:
    labels = np.random.default_rng(1).integers(classes, size=(len(inputs), *positions))
    return inputs.astype(np.float32), labels


def enlarged(photographs: np.ndarray, times: int) -> np.ndarray:
    return photographs.repeat(times, axis=1).repeat(times, axis=2)


def nights(photographs: np.ndarray) -> np.ndarray:
    """Sequences of features, some of them shorter: the rest is what the model masks."""
    random = np.random.default_rng(2)
    made = random.normal(size=(len(photographs), 12, 36))
    for night, length in zip(made, random.integers(6, 13, len(made)), strict=True):
        night[length:] = -1
    return made


def spectra(photographs: np.ndarray) -> Data:
    """Five frames of 128 decibels in a row; an autoencoder's labels are its inputs."""
    made = np.random.default_rng(2).normal(-20, 10, (len(photographs), 640)).astype(np.float32)
    return made, made


PUBLISHED = {
    "ResNet-8": Published(
        "mlperf_tiny_resnet8_keras2.h5", keras, 78_666, 75, lambda one: labelled(one, 10)
    ),
    "MobileNetV1": Published(
        "mlperf_tiny_mobilenetv1_keras2.h5",
        tf_keras,
        221_794,
        223,
        lambda one: labelled(enlarged(one, 3) / 255, 2),
    ),
    "autoencoder": Published(
        "mlperf_tiny_autoencoder_keras2.h5",
        keras,
        269_992,
        75,
        spectra,
        f"{{type: regression, absolute: {ABSOLUTE}}}",
        Judging(
            differs=lambda one, golden: judging.beyond(one, golden, ABSOLUTE, 0.0),
            score=lambda one, label: float(not judging.beyond(one, label, ABSOLUTE, 0.0)),
            classes=lambda _: -1,
        ),
    ),
    "mini-Xception": Published(
        "fer_mini_xception_keras2.hdf5",
        keras,
        58_423,
        119,
        lambda one: labelled(enlarged(one, 2)[..., :1] / 127.5 - 1, 7),
    ),
    "bidirectional GRU": Published(
        "sleepecg_bigru.keras",
        keras,
        7_380,
        19,
        lambda one: labelled(nights(one), 4, 12),
        "per_position",
        per_position(),
    ),
}
