"""Judges of classifiers: the largest output, or the set of the largest ones, is the decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.config.parameters import whole
from injecttf2.datasets.label_forms import check_classes, class_labels
from injecttf2.errors import ModelError
from injecttf2.judging.judge import Judge, Output, one_row
from injecttf2.judging.outcomes import top1


@dataclass(frozen=True)
class Top1(Judge):
    """The decision is the class with the largest output; of equal ones, the lowest.

    Labels are classes, [samples], or one-hot. A score is 1 where the class is the label, else 0.
    """

    told_as: ClassVar[str] = "injecttf2.judges.top:Top1"
    name: ClassVar[str] = "top1"

    def check(self, output: Output) -> None:
        """Check that the output is one row of two or more classes."""
        one_row(output, at_least=2, what="top-1")

    def labels(self, labels: npt.NDArray[Any], output: Output) -> npt.NDArray[np.int64]:
        """Return the labels as classes, int64 [samples]."""
        classes = class_labels(labels)
        check_classes(classes, output.sizes[0])
        return classes

    def classes(self, outputs: Any) -> Any:
        """Return the class of each sample, int32 [samples]."""
        return top1(outputs)

    def differs(self, outputs: Any, golden: Any) -> Any:
        """Return whether the class is another one, bool [samples]."""
        return top1(outputs) != top1(golden)

    def score(self, outputs: Any, labels: Any) -> Any:
        """Return 1 where the class is the label, else 0."""
        return tf.cast(top1(outputs) == tf.cast(labels, tf.int32), tf.float64)


@dataclass(frozen=True)
class TopK(Top1):
    """The decision is the set of the classes with the k largest outputs, whatever their order.

    Of equal outputs the lowest class comes first. Labels are as for ``top1``; a score is 1 where
    the label is in the set, else 0. The class of a sample is its top-1.

    Args:
        k: Size of the set.
    """

    told_as: ClassVar[str] = "injecttf2.judges.top:TopK"
    name: ClassVar[str] = "topk"

    k: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", whole("k", self.k, least=1))

    def check(self, output: Output) -> None:
        """Check that the output is one row of more than k classes."""
        check_more_than(self.k, output, "the judge topk")

    def differs(self, outputs: Any, golden: Any) -> Any:
        """Return whether the set is another one, bool [samples]."""
        changed = among_largest(outputs, self.k) != among_largest(golden, self.k)
        return tf.reduce_any(changed, axis=1)

    def score(self, outputs: Any, labels: Any) -> Any:
        """Return 1 where the label is in the set, else 0."""
        chosen = among_largest(outputs, self.k)
        found = tf.gather(chosen, tf.cast(labels, tf.int32), batch_dims=1)
        return tf.cast(found, tf.float64)


def check_more_than(k: int, output: Output, what: str) -> None:
    """Check that an output is one row of more than k classes; ``what`` asks for that.

    Raises:
        ModelError: It is not.
    """
    classes = one_row(output, at_least=2, what=what)
    if k >= classes:
        raise ModelError(
            f"{what}: the model has {classes} classes, so its top-{k} is always all of them",
            hint=f"take a k from 1 to {classes - 1}",
        )


def among_largest(outputs: Any, k: int) -> Any:
    """Return which classes of each sample have the k largest outputs.

    ``tf.math.top_k`` may name any of several equal outputs, depending on the device; here those of
    the lowest classes are taken, as :func:`outcomes.top1` does.

    Args:
        outputs: Floating-point [samples, classes], finite.
        k: How many, fewer than there are classes.

    Returns:
        bool [samples, classes], k of them set.
    """
    last = tf.math.top_k(outputs, k).values[:, -1:]
    above, tied = outputs > last, outputs == last
    room = k - tf.reduce_sum(tf.cast(above, tf.int32), axis=1, keepdims=True)
    return above | (tied & (tf.cumsum(tf.cast(tied, tf.int32), axis=1) <= room))
