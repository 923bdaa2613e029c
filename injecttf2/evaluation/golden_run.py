"""The golden run: the fault-free reference that outcomes, scores and metrics are compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.errors import DatasetError, ModelError
from injecttf2.evaluation.batching import batches, padded
from injecttf2.evaluation.chance import chance_of
from injecttf2.evaluation.golden_cache import GoldenCache
from injecttf2.judging import Assessment, Output, Verdict, output_kind
from injecttf2.judging.assessment import is_builtin, name_of


@dataclass(frozen=True, eq=False)
class GoldenRun:
    """What the model says of each sample without any fault.

    Args:
        outputs: [samples, ...], in the model's output dtype.
        verdict: On these outputs, compared with themselves.
        chance: How often its classes agree with the labels by chance; None where labels are none.
        at_chance: Whether they do hardly more often; see :func:`chance.chance_of`.
    """

    outputs: npt.NDArray[Any]
    verdict: Verdict
    chance: float | None = None
    at_chance: bool = False

    @property
    def classes(self) -> npt.NDArray[np.int32]:
        """The class of each sample, int32 [samples]; -1 where the judge knows none."""
        classes: npt.NDArray[np.int32] = self.verdict.faulty_class
        return classes

    @property
    def correct(self) -> float:
        """Sum of the scores of all samples: how many are right, of a judge that knows no more."""
        return float(np.sum(self.verdict.score))

    @property
    def accuracy(self) -> float:
        """Mean score of all samples."""
        return self.correct / len(self.outputs)

    @property
    def decisions(self) -> str:
        """128-bit blake2b digest, hexadecimal: equal where golden runs agree.

        Of the classes, or of the scores where the judge knows no classes.
        """
        decided = self.classes if (self.classes >= 0).any() else self.verdict.score
        return hashlib.blake2b(decided.tobytes(), digest_size=16).hexdigest()

    @property
    def digest(self) -> str:
        """64-bit blake2b digest of the outputs, hexadecimal: equal where kernels round alike."""
        return hashlib.blake2b(self.outputs.tobytes(), digest_size=8).hexdigest()


def run(cache: GoldenCache, assessment: Assessment) -> GoldenRun:
    """Run the whole model on the whole data set, in batches of fixed shapes.

    Args:
        cache: The model with its data; where all golden tensors fit, they are in place afterwards.
        assessment: What is asked of outputs.

    Raises:
        ModelError: The judge or a metric does not fit the model, or takes probabilities for logits
            or logits for probabilities.
        DatasetError: The golden output of a sample holds NaN or Inf, or the labels do not fit.
    """
    graph, dataset = cache.chain.graph, cache.dataset
    output = Output(graph.output_shape, graph.output.dtype.name)
    assessment.check(dataset.labels, output)
    found = np.concatenate(list(outputs(cache)))
    output_kind.check(found, assessment.reading_logits(output))
    size = cache.chain.batch[-1]
    verdict = golden_verdict(assessment, found, dataset.labels, batch=size)
    chance, at_chance = _chance(assessment, found, verdict.faulty_class, dataset.labels)
    return GoldenRun(found, verdict, chance, at_chance)


def outputs(cache: GoldenCache) -> Iterator[npt.NDArray[Any]]:
    """Yield the model's outputs for the data set, [samples, ...], some samples at a time.

    Raises:
        DatasetError: The output of a sample holds NaN or Inf.
    """
    for start, found in cache.all_outputs():
        _check_finite(found, start)
        yield found


def _chance(
    assessment: Assessment,
    outputs: npt.NDArray[Any],
    classes: npt.NDArray[np.int32],
    labels: npt.NDArray[Any],
) -> tuple[float | None, bool]:
    """Return what chance gives, where samples have one class each and labels are such classes."""
    one = labels.dtype.kind == "i" and labels.size == len(labels)
    if not one or not is_builtin(assessment.judge) or (classes < 0).any():
        return None, False
    wanted = labels.reshape(-1)
    return chance_of(classes, wanted, max(2, outputs[:1].size))


def _check_finite(outputs: npt.NDArray[Any], start: int) -> None:
    rows = outputs.reshape(len(outputs), -1).astype(np.float64)
    broken = ~np.isfinite(rows).all(axis=1)
    if broken.any():
        where = f"{len(outputs)} samples" + (f" from {start} on" if start else "")
        raise DatasetError(
            f"without any fault the model gives NaN or Inf for {np.count_nonzero(broken)} of "
            f"{where}, the first of them sample {start + int(broken.argmax())}",
            hint="check scale, mean and std of the data set, and the model's weights",
        )


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
    judge, compiled = tf.function(assessment.verdict, autograph=False), None
    parts = []
    for start, stop in batches(len(outputs), batch):
        rows = tf.constant(padded(outputs[start:stop], batch))
        marks = tf.constant(padded(labels[start:stop], batch))
        # Traced by itself: of calls that trace TensorFlow warns, from the fifth run on.
        compiled = compiled or judge.get_concrete_function(rows, rows, marks)
        parts.append(Verdict(*compiled(rows, rows, marks)))
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
