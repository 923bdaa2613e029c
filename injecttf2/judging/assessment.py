"""All that a campaign asks of outputs: a judge, metrics and criteria, applied in one go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.errors import DatasetError, ModelError, UserError
from injecttf2.judging.criteria import ByCriterion, Criterion
from injecttf2.judging.judge import Component, Judge, Output
from injecttf2.judging.metrics import Metric
from injecttf2.judging.outcomes import DUE, argmax_differs, is_finite, outcome_codes, widened
from injecttf2.judging.top_k import Top1
from injecttf2.user_code.digest import described

TOP1 = Top1()


class Verdict(NamedTuple):
    """What became of some samples: tensors on the device, or NumPy arrays.

    Args:
        outcome: uint8 [samples], codes of ``outcomes.OUTCOMES``.
        faulty_class: int32 [samples], -1 where the outcome is ``due`` or samples have no class.
        score: float64 [samples], 0 where the outcome is ``due``.
        metrics: float64 [samples, metrics], the metric's worst value where the outcome is ``due``.
        criteria: bool [samples, criteria], False where the outcome is ``due``.
        argmax_differs: bool [samples], as ``outcomes.argmax_differs``, whatever the outcome; False
            where there are no outputs.
    """

    outcome: Any
    faulty_class: Any
    score: Any
    metrics: Any
    criteria: Any
    argmax_differs: Any

    @classmethod
    def joined(cls, parts: Sequence[Verdict]) -> Verdict:
        """Return verdicts on consecutive batches as one, NumPy arrays; None where they are."""
        columns = zip(*parts, strict=True)
        return cls(
            *(
                None if column[0] is None else np.concatenate([np.asarray(one) for one in column])
                for column in columns
            )
        )

    def first(self, samples: int) -> Verdict:
        """Return the verdict on the first of the samples, without what filled the last batch."""
        return Verdict(*(column[:samples] for column in self))


@dataclass(frozen=True)
class Assessment:
    """A judge, metrics and criteria.

    Args:
        judge: What counts as a decision.
        metrics: Each a column ``metric_<name>``.
        criteria: Each a column ``sdc_<name>``.
    """

    judge: Judge = TOP1
    metrics: tuple[Metric, ...] = ()
    criteria: tuple[Criterion, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether this is top-1 and nothing else: what all levels can do."""
        return self == Assessment()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that metrics and criteria add to a trial's row, in order."""
        metrics = [f"metric_{metric.name}" for metric in self.metrics]
        return (*metrics, *(f"sdc_{criterion.name}" for criterion in self.criteria))

    @property
    def worst(self) -> npt.NDArray[np.float64]:
        """The worst value of each metric, float64 [metrics]."""
        return np.array([metric.worst for metric in self.metrics], np.float64)

    def reading_logits(self, output: Output) -> tuple[Component, ...]:
        """Return the judge, metrics and criteria to which it matters that outputs are logits."""
        judge = self.judge.criterion if isinstance(self.judge, ByCriterion) else self.judge
        parts = (judge, *self.metrics, *self.criteria)
        return tuple(part for part in parts if part.reads_logits(output))

    @property
    def due(self) -> Verdict:
        """The verdict on a sample that has no outputs, NumPy values."""
        criteria = np.zeros(len(self.criteria), np.bool_)
        none = np.bool_(False)
        return Verdict(np.uint8(DUE), np.int32(-1), np.float64(0), self.worst, criteria, none)

    @property
    def is_builtin(self) -> bool:
        """Whether all that is asked is of this package."""
        return all(is_builtin(part) for part in (self.judge, *self.metrics, *self.criteria))

    def identity(self) -> dict[str, Any]:
        """Return plain values for a trial's identity; none where this is top-1 and nothing else."""
        if self.is_plain:
            return {}
        return {
            "judge": described(self.judge),
            "metrics": [described(part) for part in sorted(self.metrics, key=lambda one: one.name)],
            "criteria": [
                described(part) for part in sorted(self.criteria, key=lambda one: one.name)
            ],
        }

    def labels(self, labels: npt.NDArray[Any], output: Output) -> npt.NDArray[Any]:
        """Check that a model can be judged, and return the labels as the judge takes them.

        Args:
            labels: [samples, ...], as they were loaded.
            output: What the model gives out for one sample.

        Raises:
            ModelError: The judge, a metric or a criterion does not fit the model, or one of the
                user's own fails.
            DatasetError: The labels do not fit the model.
        """
        _call(self.judge, "check", output)
        taken = np.asarray(_call(self.judge, "labels", labels, output))
        if taken.dtype.kind not in "biuf" or taken.shape[:1] != labels.shape[:1]:
            raise DatasetError(
                f"the judge {name_of(self.judge)} made labels of shape {taken.shape} and dtype "
                f"{taken.dtype}; expected numbers, one row for each of {len(labels)} samples"
            )
        self._check_parts(taken, output)
        return taken

    def check(self, labels: npt.NDArray[Any], output: Output) -> None:
        """Check that a model can be judged; see :meth:`labels`.

        Args:
            labels: [samples, ...], as the judge takes them.
            output: What the model gives out for one sample.
        """
        _call(self.judge, "check", output)
        if is_builtin(self.judge):
            self.judge.labels(labels, output)  # what it takes, it returns as it is
        self._check_parts(labels, output)

    def _check_parts(self, labels: npt.NDArray[Any], output: Output) -> None:
        for metric in self.metrics:
            _call(metric, "check", output, labels)
        for criterion in self.criteria:
            _call(criterion, "check", output)
        self._try(output, labels)

    def verdict(self, outputs: Any, golden: Any, labels: Any) -> Verdict:
        """Judge outputs, on the device; to be called in a compiled function.

        Golden outputs in place of ``outputs`` give the golden run's own scores and metrics: see
        :func:`golden.golden_verdict`.

        Args:
            outputs: [samples, ...] in the model's output dtype.
            golden: Same shape and dtype, finite.
            labels: [samples, ...], as :meth:`labels` returned them.

        Raises:
            ModelError: A judge, metric or criterion of the user's own fails.
        """
        outputs, golden = widened(outputs), widened(golden)
        given, finite = outputs, is_finite(outputs)
        # Whoever judges would have to beware of NaN: as an argmax it is an index beyond the row.
        each = tf.reshape(finite, (-1, *[1] * (outputs.shape.rank - 1)))
        outputs = tf.where(each, outputs, golden)
        differs = _flags(self.judge, "differs", outputs, golden)
        classes = _call(self.judge, "classes", outputs)
        if classes is None:
            classes = tf.fill(tf.shape(finite), -1)
        score = _numbers(self.judge, "score", outputs, labels)
        metrics = [_numbers(part, "values", outputs, golden, labels) for part in self.metrics]
        criteria = [_flags(part, "met", outputs, golden) & finite for part in self.criteria]
        values = _side_by_side(metrics, finite, tf.float64)
        usable = finite[:, tf.newaxis] & ~tf.math.is_nan(values)
        return Verdict(
            outcome=outcome_codes(given, golden, differs=differs),
            faulty_class=tf.where(finite, tf.cast(classes, tf.int32), -1),
            score=tf.where(finite, score, 0.0),
            metrics=tf.where(usable, values, self.worst),
            criteria=_side_by_side(criteria, finite, tf.bool),
            argmax_differs=argmax_differs(given, golden),
        )

    def _try(self, output: Output, labels: npt.NDArray[Any]) -> None:
        """Trace the verdict once where code of the user's own is in it, to tell of its errors."""
        if self.is_builtin:
            return
        outputs = tf.TensorSpec((2, *output.sizes), output.dtype)
        specs = (outputs, outputs, tf.TensorSpec((2, *labels.shape[1:]), labels.dtype))
        tf.function(self.verdict, autograph=False).get_concrete_function(*specs)


def is_builtin(part: Component) -> bool:
    """Return whether a judge, metric or criterion is of this package, and so is all it holds."""
    held = getattr(part, "criterion", None)
    own = type(part).__module__.startswith("injecttf2.")
    return own and (held is None or is_builtin(held))


def name_of(part: Component) -> str:
    """Return what to call a judge, metric or criterion in a message."""
    if is_builtin(part):
        return part.name
    return f"{type(part).__module__}:{type(part).__qualname__}"


def _call(part: Component, method: str, *arguments: Any) -> Any:
    """Call a method; what goes wrong in code of the user's own is theirs to mend."""
    function: Callable[..., Any] = getattr(part, method)
    if is_builtin(part):
        return function(*arguments)
    try:
        return function(*arguments)
    except UserError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines() or [""]
        raise ModelError(
            f"{name_of(part)}.{method} raised {type(error).__name__}: {reason[0]}",
            hint="what it gets from outputs are TensorFlow's tensors, in a compiled function",
        ) from error


def _flags(part: Component, method: str, *arguments: Any) -> Any:
    return _checked(part, method, arguments, lambda dtype: dtype == tf.bool, "true or false")


def _numbers(part: Component, method: str, *arguments: Any) -> Any:
    found = _checked(part, method, arguments, lambda dtype: dtype.is_floating, "a number")
    return tf.cast(found, tf.float64)


def _checked(
    part: Component,
    method: str,
    arguments: tuple[Any, ...],
    is_right: Callable[[Any], bool],
    expected: str,
) -> Any:
    """Call a method of a part and check that what it returns is one value a sample."""
    result = _call(part, method, *arguments)
    rows = arguments[0].shape[:1]
    if not tf.is_tensor(result) or not is_right(result.dtype) or result.shape != rows:
        received = f"{result.dtype.name} {result.shape}" if tf.is_tensor(result) else repr(result)
        raise ModelError(
            f"{name_of(part)}.{method} returned {received} for {rows[0]} samples; "
            f"expected {expected} for each"
        )
    return result


def _side_by_side(columns: Sequence[Any], like: Any, dtype: Any) -> Any:
    """Return columns of [samples] as [samples, columns], also where there is none."""
    if columns:
        return tf.stack(columns, axis=1)
    return tf.zeros((tf.shape(like)[0], 0), dtype)
