"""The golden run's own scores and metrics, with which those of injected samples are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.errors import ModelError
from injecttf2.evaluation.batching import batches, padded
from injecttf2.judging.assessment import Assessment, Verdict, name_of


def golden_verdict(
    assessment: Assessment, outputs: npt.NDArray[Any], labels: npt.NDArray[Any], *, batch: int
) -> Verdict:
    """Return the verdict on golden outputs, compared with themselves, NumPy arrays.

    Args:
        assessment: What is asked of them.
        outputs: [samples, ...], golden, finite.
        labels: [samples, ...], as the judge takes them.
        batch: Samples that are judged at a time.

    Raises:
        ModelError: A score is not from 0 to 1, or a metric is not finite.
    """
    compiled = tf.function(assessment.verdict, autograph=False)
    parts = []
    for start, stop in batches(len(outputs), batch):
        rows = tf.constant(padded(outputs[start:stop], batch))
        parts.append(compiled(rows, rows, tf.constant(padded(labels[start:stop], batch))))
    golden = Verdict.joined(parts).first(len(outputs))
    check(assessment, golden)
    return golden


def check(assessment: Assessment, golden: Verdict) -> None:
    """Check the golden run's own verdict, NumPy arrays.

    Raises:
        ModelError: A score is not from 0 to 1, or a metric is not finite.
    """
    wrong = ~((golden.score >= 0) & (golden.score <= 1))
    if wrong.any():
        sample = int(wrong.argmax())
        raise ModelError(
            f"the judge {name_of(assessment.judge)} gives sample {sample} the score "
            f"{golden.score[sample]} without any fault; expected a number from 0 to 1"
        )
    for metric, values in zip(assessment.metrics, golden.metrics.T, strict=True):
        if not np.isfinite(values).all():
            sample = int(np.isfinite(values).argmin())
            raise ModelError(
                f"the metric {metric.name} of sample {sample} is {values[sample]} without any "
                "fault; expected a finite number",
                hint="leave the metric out, or the sample",
            )
