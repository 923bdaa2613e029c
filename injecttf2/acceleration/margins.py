"""Which outcomes rounding could decide, where outputs were computed in another way than densely."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.judging.outcomes import is_close, judge

SOFTMAX_LEAD = 2.0**-18
"""Least lead of an input of a softmax that shows in what it gives out: scores that are d apart give
probabilities p and p exp(-d), of which the spacing of float32 below 1, 2^-24, may make one; 64
times that."""

NEGLIGIBLE = 2.0**-24
"""Probability up to which rounding of a class's score does not show in a softmax: half of float32's
epsilon, which rounds away beside a sum of 1."""

FLOOR = 2.0**-22
"""Effect of rounding a softmax on a distance, however little goes into it: an exponential, a sum, a
quotient and the difference of two, each rounded by at most 2^-24 of 1."""

LARGE = 2.0**127
"""Magnitude from which a score might not be finite in another order of summation: half of what
float32 holds."""

CLOSE_TO_A_TIE = 2.0**-10
"""Lead of a golden decision, relative to the largest output, up to which rounding might take it."""


def judged(
    outputs: Any, scores: Any, golden: Any, *, bound: Any, is_softmax: bool
) -> tuple[Any, Any, Any]:
    """Judge outputs by their top-1 class.

    Args:
        outputs: [samples, classes].
        scores: [samples, classes], what goes into the softmax that gives them out; else the same.
        golden: [samples, classes], golden outputs.
        bound: Most that rounding changes scores, relative to the largest magnitude of a sample's.
        is_softmax: Whether a softmax gives the outputs out.

    Returns:
        Outcome codes uint8 [samples], classes int32 [samples], and whether rounding could decide
        another outcome, bool [samples].
    """
    code, faulty_class, distance = judge(outputs, golden)
    largest = tf.reduce_max(tf.abs(golden), axis=1)
    magnitude = tf.reduce_max(tf.abs(scores), axis=1)
    change, floor, lead = magnitude, 0.0, 0.0
    if is_softmax:
        counting = tf.reduce_max(tf.where(outputs > NEGLIGIBLE, tf.abs(scores), 0.0), axis=1)
        # The derivative of a probability p by its score is p (1 - p), by the others' less.
        change = tf.reduce_max(outputs * (1 - outputs), axis=1) * counting
        floor, lead = FLOOR, SOFTMAX_LEAD
    allowed = (floor + tf.cast(bound, change.dtype) * change) / largest
    close = is_close(scores, distance, bound=allowed, large=LARGE, lead=lead)
    finite = tf.reduce_all(tf.math.is_finite(scores), axis=1)
    return code, faulty_class, close | ~finite


def close_to_a_tie(outputs: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which golden decisions rounding might take, bool [samples].

    Args:
        outputs: [samples, classes], golden.
    """
    wide = outputs.astype(np.float64)
    second, largest = np.sort(wide, axis=1)[:, -2:].T
    close: npt.NDArray[np.bool_] = largest - second <= CLOSE_TO_A_TIE * np.abs(wide).max(axis=1)
    return close


def deviation(scores: npt.NDArray[Any], dense: npt.NDArray[Any]) -> float:
    """Return how far scores are from those of level dense, relative to a sample's largest.

    Args:
        scores: [samples, classes].
        dense: The same; samples that are not finite do not count.
    """
    magnitude = np.abs(dense).max(axis=1)
    finite = np.isfinite(dense).all(axis=1) & np.isfinite(scores).all(axis=1) & (magnitude > 0)
    if not finite.any():
        return 0.0
    apart = np.abs(scores[finite].astype(np.float64) - dense[finite]).max(axis=1)
    return float((apart / magnitude[finite]).max())
