"""The judge of models that decide at each position: segmentation and sequence labelling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.config.parameters import flag, number, shown
from injecttf2.datasets.label_forms import position_labels
from injecttf2.errors import ModelError
from injecttf2.judging.judge import Judge, Output
from injecttf2.judging.outcomes import top1
from injecttf2.judging.threshold import is_above, limit_of, read_threshold

NO_LABEL = -1
"""No position has this label unless it is the one that is ignored."""


@dataclass(frozen=True)
class PerPosition(Judge):
    """The decision is the class at each position: the largest of its channels, the last axis.

    A single channel is a yes or no by a threshold. Labels are classes, [samples, positions...], or
    one-hot. A score is the share of the positions that are right, without those whose label is
    ``ignore``; it is 1 where no position counts. A change at such a position is still a changed
    decision, which is told without labels.

    Args:
        ignore: Label of positions that do not count, for example 255 or -1.
        tolerance: Share of positions that may change while the decision counts as the same.
        threshold: For a single channel: outputs above it are class 1; by default 0.5, and 0 for
            logits.
        logits: For a single channel: whether the outputs are logits, not probabilities.
    """

    told_as: ClassVar[str] = "injecttf2.judges.per_position:PerPosition"
    name: ClassVar[str] = "per_position"
    exclusive: ClassVar[bool] = False

    ignore: int | None = None
    tolerance: float = 0.0
    threshold: float | None = None
    logits: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", read_threshold(self.threshold))
        object.__setattr__(self, "tolerance", number("tolerance", self.tolerance))
        flag("logits", self.logits)
        if not 0 <= self.tolerance < 1:
            raise ValueError(
                f"tolerance is a share from 0 to below 1; received {shown(self.tolerance)}"
            )
        whole = isinstance(self.ignore, int) and not isinstance(self.ignore, bool)
        if self.ignore is not None and not (whole and abs(self.ignore) < 2**31):
            raise ValueError(f"ignore is a whole number; received {shown(self.ignore)}")

    def check(self, output: Output) -> None:
        """Check that the output has positions and channels."""
        if len(output.shape) < 2 or 0 in output.sizes:
            raise ModelError(
                f"the model's output has shape {output.shape} a sample; the judge per_position "
                "needs at least two axes, the positions and, last, the channels",
                hint="for one row of yes and no take `judge: threshold`",
            )

    def reads_logits(self, output: Output) -> bool:
        """Return whether a single channel has no threshold of the user's own."""
        return self.threshold is None and output.shape[-1] == 1

    def labels(self, labels: npt.NDArray[Any], output: Output) -> npt.NDArray[np.int64]:
        """Return the labels as classes, int64 [samples, positions...]."""
        *positions, channels = output.sizes
        return position_labels(labels, tuple(positions), channels=channels, ignore=self.ignore)

    def differs(self, outputs: Any, golden: Any) -> Any:
        """Return whether more than the tolerated share of positions changed, bool [samples]."""
        changed = self._by_position(outputs) != self._by_position(golden)
        return _count(changed) > self.tolerated(changed.shape[1])

    def tolerated(self, positions: int) -> int:
        """Return how many of a number of positions may change: the most whose share is tolerated.

        TensorFlow turns a division by a constant into a product, which rounds another way.
        """
        most = math.ceil(self.tolerance * positions)
        return most if most / positions <= self.tolerance else most - 1

    def score(self, outputs: Any, labels: Any) -> Any:
        """Return the share of positions that are right."""
        decided = self._by_position(outputs)
        wanted = tf.reshape(labels, tf.shape(decided))
        # Without an ignored label too the divisor depends on labels: see :meth:`tolerated`.
        counts = wanted != (NO_LABEL if self.ignore is None else self.ignore)
        right = _count(counts & (tf.cast(decided, wanted.dtype) == wanted))
        of = _count(counts)
        share = tf.cast(right, tf.float64) / tf.cast(tf.maximum(of, 1), tf.float64)
        return tf.where(of > 0, share, 1.0)

    def _by_position(self, outputs: Any) -> Any:
        """Return the class at each position, int32 [samples, positions]."""
        if outputs.shape[-1] == 1:
            above = is_above(outputs[..., 0], limit_of(self.threshold, logits=self.logits))
            decided = tf.cast(above, tf.int32)
        else:
            decided = top1(outputs)
        return tf.reshape(decided, (-1, math.prod(outputs.shape[1:-1])))


def _count(flags: Any) -> Any:
    """Return how many flags of each sample are set, int32 [samples]."""
    return tf.reduce_sum(tf.cast(flags, tf.int32), axis=1)
