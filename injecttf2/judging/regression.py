"""The judge of models whose outputs are values, not classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.config.parameters import number, shown
from injecttf2.datasets.label_forms import value_labels
from injecttf2.errors import ModelError
from injecttf2.judging.judge import Judge, Output


@dataclass(frozen=True)
class Regression(Judge):
    """The decision is the values; it is the same as long as all are within a tolerance.

    It changed where ``|faulty - golden| > absolute + relative * |golden|`` for any element. Labels
    are values of the output's shape. A score is 1 where all elements are within the same tolerance
    of the label, ``|output - label| <= absolute + relative * |label|``, else 0. All of this is
    computed in float64.

    Args:
        absolute: Part of the tolerance that is the same for all values.
        relative: Part of it that grows with the magnitude of the golden value, or of the label.
    """

    told_as: ClassVar[str] = "injecttf2.judges.regression:Regression"
    name: ClassVar[str] = "regression"

    absolute: float = 0.0
    relative: float = 0.0

    def __post_init__(self) -> None:
        for which, given in (("absolute", self.absolute), ("relative", self.relative)):
            read = number(which, given)
            if read < 0:
                raise ValueError(f"{which} is a number from 0; received {shown(given)}")
            object.__setattr__(self, which, read)
        if self.absolute == self.relative == 0:
            raise ValueError("regression needs a tolerance above 0: absolute, relative, or both")

    def check(self, output: Output) -> None:
        """Check that there is an output."""
        if 0 in output.sizes:
            raise ModelError(f"the model's output has shape {output.shape} a sample: no element")

    def labels(self, labels: npt.NDArray[Any], output: Output) -> npt.NDArray[np.float64]:
        """Return the labels as values of the output's shape, float64 [samples, ...]."""
        return value_labels(labels, output.sizes)

    def differs(self, outputs: Any, golden: Any) -> Any:
        """Return whether an element is further from golden than is tolerated, bool [samples]."""
        return tf.reduce_any(self._is_beyond(outputs, golden), axis=1)

    def score(self, outputs: Any, labels: Any) -> Any:
        """Return 1 where all elements are within the tolerance of the label, else 0."""
        return tf.cast(~tf.reduce_any(self._is_beyond(outputs, labels), axis=1), tf.float64)

    def _is_beyond(self, outputs: Any, expected: Any) -> Any:
        """Return which elements are too far from what is expected, bool [samples, elements]."""
        elements = math.prod(outputs.shape[1:])
        values, wanted = (
            tf.reshape(tf.cast(tensor, tf.float64), (-1, elements))
            for tensor in (outputs, expected)
        )
        return tf.abs(values - wanted) > self.absolute + self.relative * tf.abs(wanted)
