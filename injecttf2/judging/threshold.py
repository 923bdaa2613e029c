"""The judge of yes-or-no questions: one for a binary classifier, several for multi-label ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.config.parameters import flag, number
from injecttf2.datasets.label_forms import flag_labels
from injecttf2.errors import ModelError
from injecttf2.judging.judge import Judge, Output, hint_for


def limit_of(threshold: float | None, *, logits: bool) -> float:
    """Return the threshold, by default 0.5 of probabilities and 0 of logits, which is the same."""
    if threshold is not None:
        return threshold
    return 0.0 if logits else 0.5


def read_threshold(threshold: object) -> float | None:
    """Return a threshold, or None; raise ValueError where it is no finite number."""
    return None if threshold is None else number("threshold", threshold)


def is_above(outputs: Any, limit: float) -> Any:
    """Return which outputs are above a limit; the limit itself is not.

    It is rounded to the dtype of the outputs, so that an output equal to 0.3 in that dtype is not
    above 0.3.
    """
    return outputs > tf.constant(limit, outputs.dtype)


@dataclass(frozen=True)
class Threshold(Judge):
    """The decision is which outputs are above a threshold.

    Labels are 0 and 1, [samples] for a binary classifier and [samples, outputs] else. A score is 1
    where **all** outputs of the sample are on the side that its label says, and 0 else: the whole
    set is the decision that ``sdc`` compares, so a decision that was right and now is not can be
    told by its score. This is known as subset accuracy or exact match ratio.

    Args:
        threshold: Outputs above it are a yes; by default 0.5, and 0 for logits.
        logits: Whether the outputs are logits, not probabilities.
    """

    told_as: ClassVar[str] = "injecttf2.judges.threshold:Threshold"
    name: ClassVar[str] = "threshold"
    exclusive: ClassVar[bool] = False

    threshold: float | None = None
    logits: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", read_threshold(self.threshold))
        flag("logits", self.logits)

    def check(self, output: Output) -> None:
        """Check that the output is one number, or one row."""
        if len(output.shape) > 1 or 0 in output.sizes:
            raise ModelError(
                f"the model's output has shape {output.shape} a sample; "
                "the judge threshold needs one number or one row",
                hint=hint_for(output),
            )

    def reads_logits(self, output: Output) -> bool:  # noqa: ARG002
        """Return whether there is no threshold of the user's own."""
        return self.threshold is None

    def labels(self, labels: npt.NDArray[Any], output: Output) -> npt.NDArray[np.int64]:
        """Return the labels as 0 and 1, int64 [samples, outputs]."""
        return flag_labels(labels, math.prod(output.sizes))

    def classes(self, outputs: Any) -> Any | None:
        """Return 1 for yes and 0 for no, int32 [samples], of a binary classifier."""
        answers = self._answers(outputs)
        return tf.cast(answers[:, 0], tf.int32) if answers.shape[1] == 1 else None

    def differs(self, outputs: Any, golden: Any) -> Any:
        """Return whether an output is on the other side of the threshold, bool [samples]."""
        return tf.reduce_any(self._answers(outputs) != self._answers(golden), axis=1)

    def score(self, outputs: Any, labels: Any) -> Any:
        """Return 1 where all outputs are on the side that the label says, else 0."""
        right = self._answers(outputs) == (labels == 1)
        return tf.cast(tf.reduce_all(right, axis=1), tf.float64)

    def _answers(self, outputs: Any) -> Any:
        if outputs.shape.rank == 1:
            outputs = outputs[:, tf.newaxis]
        return is_above(outputs, limit_of(self.threshold, logits=self.logits))
