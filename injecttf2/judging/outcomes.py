"""Judging outputs: what an injected fault did to one sample.

The four outcomes are exhaustive and disjoint, decided in this order:

1. ``due``: the output holds NaN or Inf. Decided before any argmax, which is meaningless then.
2. ``sdc``: the decision changed; what counts as one is the judge's, top-1 by default.
3. ``masked``: no element differs from the golden output by more than ``MASKED_TOLERANCE`` of that
   sample's largest golden magnitude. Bit for bit would make the outcome depend on the order of
   summation; the tolerance is far above rounding and far below what matters.
4. ``benign``: the output changed, the decision did not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Counts = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

OUTCOMES = ("masked", "benign", "sdc", "due")
"""Names by code: ``OUTCOMES[code]``."""

MASKED, BENIGN, SDC, DUE = range(4)

MASKED_TOLERANCE = 2.0**-16

MARGIN = 2.0**-12
"""Lead of the top-1 class, relative to the largest score, that rounding cannot take away."""


@dataclass(frozen=True, eq=False)
class OutcomeCounts:
    """What some trials did, counted over the samples of the data set.

    All fields are int64 [trials] but the last three. ``masked + benign + sdc + due == injected``;
    ``sdc_critical`` of the ``sdc`` samples have a lower score than without the fault;
    ``due_changed`` of the ``due`` samples have their largest output, NaN being the largest of all,
    at another place.

    Args:
        correct: float64 [trials], the sum of the scores of all samples: those not hit with their
            golden score, those with outcome ``due`` with 0. With top-1 a score is 1 or 0, so that
            this is the number of samples that are classified rightly.
        metrics: float64 [trials, metrics], means over all samples.
        criteria: int64 [trials, criteria], the injected samples that meet each, ``due`` left out.
    """

    injected: Counts
    masked: Counts
    benign: Counts
    sdc: Counts
    sdc_critical: Counts
    due: Counts
    due_changed: Counts
    correct: Scores
    metrics: Scores
    criteria: Counts

    def __len__(self) -> int:
        return len(self.injected)


def top1(outputs: Any) -> Any:
    """Return the class of each sample: the lowest index that holds the largest output.

    ``tf.argmax`` leaves open which of several equal outputs it names, so it may differ between
    devices; the lowest index is what NumPy gives.

    Args:
        outputs: Numbers [samples, ..., classes], finite.

    Returns:
        int32 [samples, ...].
    """
    return _first(outputs == tf.reduce_max(outputs, axis=-1, keepdims=True))


def _first(flags: Any) -> Any:
    """Return the lowest index along the last axis that is set, or the axis' length if none is."""
    size = flags.shape[-1]
    return tf.reduce_min(tf.where(flags, tf.range(size, dtype=tf.int32), size), axis=-1)


def argmax_differs(outputs: Any, golden: Any) -> Any:
    """Return for each sample whether NumPy's ``argmax`` finds another place than without the fault.

    NumPy and PyTorch take the first NaN for the largest of all. Other injectors compare these
    places whatever the outputs hold, where the outcome here is ``due``.

    Args:
        outputs: float [samples, ...]; the argmax is along the last axis.
        golden: Same shape and dtype, finite.

    Returns:
        bool [samples], True where it differs at any position of the axes between.
    """
    if outputs.shape.rank == 1:
        return tf.zeros_like(outputs, tf.bool)  # a sample is one number
    is_nan = tf.math.is_nan(outputs)
    is_largest = outputs == tf.reduce_max(outputs, axis=-1, keepdims=True)
    any_nan = tf.reduce_any(is_nan, axis=-1, keepdims=True)
    place = _first(tf.where(any_nan, is_nan, is_largest))
    differs = place != top1(golden)
    return tf.reduce_any(differs, axis=_within_a_sample(differs))


def is_finite(outputs: Any) -> Any:
    """Return for each sample whether its outputs, floating-point [samples, ...], are all finite."""
    return tf.reduce_all(tf.math.is_finite(outputs), axis=_within_a_sample(outputs))


def equal_up_to_rounding(outputs: Any, golden: Any) -> Any:
    """Return for each sample whether its outputs are golden by the rule of ``masked``.

    Args:
        outputs: float [samples, ...].
        golden: same shape and dtype, finite.

    Returns:
        bool [samples], False where the outputs hold NaN.
    """
    difference, largest = _difference(outputs, golden)
    return difference <= tf.cast(MASKED_TOLERANCE, golden.dtype) * largest


def _difference(outputs: Any, golden: Any) -> tuple[Any, Any]:
    """Return for each sample the largest difference from golden and the largest magnitude of it."""
    axes = _within_a_sample(golden)
    difference = tf.reduce_max(tf.abs(outputs - golden), axis=axes)
    return difference, tf.reduce_max(tf.abs(golden), axis=axes)


def _within_a_sample(outputs: Any) -> list[int]:
    return list(range(1, outputs.shape.rank))


def outcome_codes(outputs: Any, golden: Any, *, differs: Any) -> Any:
    """Return the outcome of each sample, on the device.

    Args:
        outputs: [samples, ...], the outputs with faults, as :func:`widened` returns them.
        golden: Same shape and dtype, finite.
        differs: bool [samples], whether the decision is another than the golden one.

    Returns:
        Codes, uint8 [samples].
    """
    changed = tf.where(equal_up_to_rounding(outputs, golden), MASKED, BENIGN)
    decided = tf.where(differs, SDC, changed)
    return tf.cast(tf.where(is_finite(outputs), decided, DUE), tf.uint8)


def judge(outputs: Any, golden: Any) -> tuple[Any, Any, Any]:
    """Compare outputs with golden outputs by their top-1 class, sample by sample, on the device.

    Args:
        outputs: float [samples, classes], the outputs with faults.
        golden: same shape and dtype, finite.

    Returns:
        The outcome codes, uint8 [samples]; the classes with faults, int32 [samples], which are -1
        where the outcome is ``due``; and the distance from golden, float [samples]: the largest
        difference relative to the largest golden magnitude.
    """
    outputs, golden = widened(outputs), widened(golden)
    faulty_class = top1(outputs)
    outcome = outcome_codes(outputs, golden, differs=faulty_class != top1(golden))
    difference, largest = _difference(outputs, golden)
    return outcome, tf.where(is_finite(outputs), faulty_class, -1), difference / largest


def is_close(
    scores: Any, distance: Any, *, bound: Any, large: float | None, lead: float = 0.0
) -> Any:
    """Return for each sample whether rounding could decide its outcome.

    For outputs that were computed in another way than at level ``dense``. Rounding may decide where

    - the two largest scores differ by less than ``MARGIN`` of the largest magnitude;
    - the distance from golden lies within ``bound`` of the tolerance of ``masked``;
    - a score is not finite, or so large that it might not be finite in another order of summation.

    Args:
        scores: float [samples, classes], what the decision is taken by: the model's outputs, or
            what goes into their softmax, which hides how close a decision was.
        distance: float [samples], as returned by :func:`judge`.
        bound: Most that rounding changes a distance, of its dtype, a scalar or [samples].
        large: Magnitude from which a score is too large; None where the scores were not summed,
            so that one that is large says nothing of the others.
        lead: Least lead of the top-1 class that decides, whatever the magnitudes.

    Returns:
        bool [samples].
    """
    scores = widened(scores)
    is_top = tf.range(scores.shape[1], dtype=tf.int32) == top1(scores)[:, tf.newaxis]
    behind = tf.reduce_max(tf.where(is_top, scores.dtype.min, scores), axis=1)
    largest = tf.reduce_max(scores, axis=1)
    if large is None:
        magnitude = tf.maximum(tf.abs(largest), tf.abs(behind))
        large = math.inf
    else:
        magnitude = tf.reduce_max(tf.abs(scores), axis=1)
    enough = tf.maximum(tf.cast(lead, scores.dtype), MARGIN * magnitude)
    decided = (largest - behind > enough) & (magnitude < large)  # False for NaN
    decided &= tf.math.is_finite(distance)  # it is not where all golden outputs are zero
    return ~decided | ~(tf.abs(distance - MASKED_TOLERANCE) > bound)


def widened(outputs: Any) -> Any:
    """Return outputs in the dtype that they are judged in.

    That is float32 for narrower floating-point numbers, and float64 for whole numbers, which it
    holds exactly up to 2^53.
    """
    is_narrow = outputs.dtype.is_floating and outputs.dtype != tf.float64
    return tf.cast(outputs, tf.float32 if is_narrow else tf.float64)
