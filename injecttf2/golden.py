"""The golden run: the fault-free reference that outcomes are judged against."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.batches import batch_size, batches, padded
from injecttf2.datasets import Dataset
from injecttf2.errors import DatasetError, ModelError
from injecttf2.graph import Graph
from injecttf2.outcomes import top1


@dataclass(frozen=True, eq=False)
class GoldenRun:
    """What the model says of each sample without any fault.

    Args:
        outputs: float [samples, classes], in the model's output dtype.
        classes: int32 [samples], top-1.
        correct: Samples whose class is their label.
    """

    outputs: npt.NDArray[Any]
    classes: npt.NDArray[np.int32]
    correct: int

    @property
    def accuracy(self) -> float:
        """Share of samples whose class is their label."""
        return self.correct / len(self.classes)

    @property
    def decisions(self) -> str:
        """128-bit blake2b digest of the classes, hexadecimal: equal where golden runs agree."""
        return hashlib.blake2b(self.classes.tobytes(), digest_size=16).hexdigest()


def run(graph: Graph, dataset: Dataset) -> GoldenRun:
    """Run the whole model on the whole data set, in batches of one fixed shape.

    Raises:
        ModelError: The model's output is not one row of two or more classes a sample.
        DatasetError: The golden output of a sample holds NaN or Inf, or a label is no class.
    """
    check_task(graph, dataset)
    size = batch_size(graph, graph.steps)
    shape = (size, *dataset.inputs.shape[1:])

    def forward(inputs: Any) -> Any:
        outputs = graph.run(graph.steps, {id(graph.input): inputs})[id(graph.output)]
        return outputs, top1(outputs)

    signature = [tf.TensorSpec(shape, graph.input.dtype)]
    compiled = tf.function(forward, input_signature=signature, autograph=False)
    outputs, classes = [], []
    for start, stop in batches(len(dataset), size):
        batch = compiled(padded(dataset.inputs[start:stop], size))
        outputs.append(batch[0].numpy()[: stop - start])
        classes.append(batch[1].numpy()[: stop - start])
    all_outputs, all_classes = np.concatenate(outputs), np.concatenate(classes)
    _check_finite(all_outputs)
    correct = int(np.count_nonzero(all_classes == dataset.labels))
    return GoldenRun(all_outputs, all_classes, correct)


def check_task(graph: Graph, dataset: Dataset) -> None:
    """Check that a model classifies and that the labels are among its classes.

    Raises:
        ModelError: The model's output is not one row of two or more classes a sample.
        DatasetError: A label is no class of the model.
    """
    shape = graph.shapes[id(graph.output)]
    if len(shape) != 1 or (shape[0] or 0) < 2:
        raise ModelError(
            f"the model's output has shape {shape} a sample; top-1 needs one row of at least two "
            "classes"
        )
    classes = shape[0]
    assert classes is not None  # noqa: S101 - for the type checker
    largest = int(dataset.labels.max())
    if largest >= classes:
        sample = int(dataset.labels.argmax())
        raise DatasetError(
            f"the label of sample {sample} is {largest}; the model has the classes 0 to "
            f"{classes - 1}",
            hint="use the data set that the model was trained for",
        )


def _check_finite(outputs: npt.NDArray[Any]) -> None:
    broken = ~np.isfinite(outputs.astype(np.float64)).all(axis=1)
    if broken.any():
        raise DatasetError(
            f"without any fault the model gives NaN or Inf for {np.count_nonzero(broken)} of "
            f"{len(outputs)} samples, the first of them sample {int(broken.argmax())}",
            hint="check scale, mean and std of the data set, and the model's weights",
        )
