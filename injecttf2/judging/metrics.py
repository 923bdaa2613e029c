"""Metrics: a number for each sample, whose mean over all samples is a column of a trial."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy.typing as npt
import tensorflow as tf

from injecttf2.config.parameters import flag, whole
from injecttf2.datasets.label_forms import check_classes
from injecttf2.errors import ModelError
from injecttf2.judging.judge import Component, Output
from injecttf2.judging.outcomes import top1
from injecttf2.judging.probabilities import check_classifier, class_scores, probabilities
from injecttf2.judging.top_k import TopK, check_more_than


class Metric(Component, ABC):
    """A number for each sample.

    One of your own is a subclass, best a frozen dataclass whose fields are its parameters; see
    ``Judge`` for the tensors that it gets. The column is ``metric_`` and its ``name``, by default
    that of the class.
    """

    worst: ClassVar[float] = 0.0
    """Value of a sample whose outcome is ``due``, and in place of NaN."""

    def check(self, output: Output, labels: npt.NDArray[Any]) -> None:
        """Check that the metric fits a model's output and the labels as the judge takes them.

        Raises:
            ModelError: It does not.
        """

    @abstractmethod
    def values(self, outputs: Any, golden: Any, labels: Any) -> Any:
        """Return the metric of each sample.

        Args:
            outputs: [samples, ...], with faults; golden ones for the golden run.
            golden: Same shape and dtype.
            labels: [samples, ...], as the judge takes them.

        Returns:
            Floating-point [samples].
        """


@dataclass(frozen=True)
class TopKAccuracy(Metric):
    """1 where the label is among the k largest outputs, else 0; ties as with the judge ``topk``.

    Args:
        k: How many.
    """

    told_as: ClassVar[str] = "injecttf2.judges.metrics:TopKAccuracy"

    k: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", whole("k", self.k, least=1))

    @property
    def name(self) -> str:
        """``top``, k and ``_accuracy``."""
        return f"top{self.k}_accuracy"

    def check(self, output: Output, labels: npt.NDArray[Any]) -> None:
        """Check that there are more than k classes, and labels that are classes."""
        check_more_than(self.k, output, f"the metric {self.name}")
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ModelError(
                f"the metric {self.name} needs one class a sample as label; "
                f"the judge's labels have shape {labels.shape}",
                hint="take a judge of classes, such as top1 or topk, or leave the metric out",
            )
        check_classes(labels, output.sizes[0])

    def values(self, outputs: Any, golden: Any, labels: Any) -> Any:  # noqa: ARG002
        """Return 1 or 0, float64 [samples]."""
        return TopK(self.k).score(outputs, labels)


@dataclass(frozen=True)
class Confidence(Metric):
    """The probability that the model gives to the golden class, its top-1 without the fault.

    Args:
        logits: Whether the outputs are logits, not probabilities.
    """

    told_as: ClassVar[str] = "injecttf2.judges.metrics:Confidence"

    logits: bool = False

    name: ClassVar[str] = "confidence"

    def __post_init__(self) -> None:
        flag("logits", self.logits)

    def check(self, output: Output, labels: npt.NDArray[Any]) -> None:  # noqa: ARG002
        """Check that the model is a classifier."""
        check_classifier(output, f"the metric {self.name}")

    def values(self, outputs: Any, golden: Any, labels: Any) -> Any:  # noqa: ARG002
        """Return the probability, float64 [samples]."""
        golden_class = top1(class_scores(golden, logits=self.logits))
        return tf.gather(probabilities(outputs, logits=self.logits), golden_class, batch_dims=1)


@dataclass(frozen=True)
class _Error(Metric):
    """A mean over the elements of a sample of how far they are from the label, in float64."""

    worst: ClassVar[float] = math.inf

    def check(self, output: Output, labels: npt.NDArray[Any]) -> None:
        """Check that the labels have the output's shape."""
        if labels.shape[1:] != output.sizes:
            raise ModelError(
                f"the metric {self.name} needs labels of the output's shape, {output.shape} a "
                f"sample; the judge's labels have shape {labels.shape[1:]} a sample",
                hint="take `judge: regression`, or leave the metric out",
            )

    def _differences(self, outputs: Any, labels: Any) -> Any:
        """Return output less label, float64 [samples, elements]."""
        differences = tf.cast(outputs, tf.float64) - tf.cast(labels, tf.float64)
        return tf.reshape(differences, (-1, math.prod(outputs.shape[1:])))


@dataclass(frozen=True)
class MeanAbsoluteError(_Error):
    """The mean of |output - label| over the elements of a sample; infinite for ``due``."""

    told_as: ClassVar[str] = "injecttf2.judges.metrics:MeanAbsoluteError"
    name: ClassVar[str] = "mean_absolute_error"

    def values(self, outputs: Any, golden: Any, labels: Any) -> Any:  # noqa: ARG002
        """Return the mean, float64 [samples]."""
        return tf.reduce_mean(tf.abs(self._differences(outputs, labels)), axis=1)


@dataclass(frozen=True)
class MeanSquaredError(_Error):
    """The mean of (output - label)^2 over the elements of a sample; infinite for ``due``."""

    told_as: ClassVar[str] = "injecttf2.judges.metrics:MeanSquaredError"
    name: ClassVar[str] = "mean_squared_error"

    def values(self, outputs: Any, golden: Any, labels: Any) -> Any:  # noqa: ARG002
        """Return the mean, float64 [samples]."""
        return tf.reduce_mean(tf.square(self._differences(outputs, labels)), axis=1)
