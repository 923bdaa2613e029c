"""Criteria for silent data corruption other than the judge's own, counted beside it.

G. Li et al., "Understanding Error Propagation in Deep Learning Neural Network (DNN) Accelerators
and Applications", SC 2017, section 4, name four: SDC-1, the top-ranked class is another one;
SDC-5, it is not among the five top-ranked classes of the fault-free run; SDC-10% and SDC-20%, the
confidence of the top-ranked class varies by more than 10 or 20 % of its fault-free value. Here
they are ``top1``, ``top5``, ``confidence_10`` and ``confidence_20``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import tensorflow as tf

from injecttf2.config.parameters import flag, number, shown, whole
from injecttf2.judging.judge import Component, Output
from injecttf2.judging.outcomes import top1
from injecttf2.judging.probabilities import check_classifier, probabilities
from injecttf2.judging.top_k import Top1, among_largest, check_more_than


class Criterion(Component, ABC):
    """A criterion that an injected sample may meet.

    One of your own is a subclass, best a frozen dataclass whose fields are its parameters; see
    ``Judge`` for the tensors that it gets. The column is ``sdc_`` and its ``name``, by default that
    of the class.
    """

    def check(self, output: Output) -> None:
        """Check that the criterion fits a model's output.

        Raises:
            ModelError: It does not.
        """

    @abstractmethod
    def met(self, outputs: Any, golden: Any) -> Any:
        """Return which samples meet the criterion.

        Args:
            outputs: [samples, ...], with faults.
            golden: Same shape and dtype.

        Returns:
            bool [samples].
        """


@dataclass(frozen=True)
class ConfidenceMoved(Criterion):
    """The largest probability moved by more than some per cent of its golden value.

    Up or down, and whether or not it belongs to another class now: 0.5 has moved by more than 10 %
    where it is below 0.45 or above 0.55.

    Args:
        percent: How much; the golden probability is 100.
        logits: Whether the outputs are logits, not probabilities.
    """

    told_as: ClassVar[str] = "injecttf2.judges.criteria:ConfidenceMoved"

    percent: float
    logits: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "percent", number("percent", self.percent))
        flag("logits", self.logits)
        if not self.percent > 0:
            raise ValueError(f"percent is a number above 0; received {shown(self.percent)}")

    @property
    def name(self) -> str:
        """``confidence_`` and the per cent."""
        return f"confidence_{self.percent:.15g}"

    def check(self, output: Output) -> None:
        """Check that the model is a classifier."""
        check_classifier(output, f"the criterion {self.name}")

    def met(self, outputs: Any, golden: Any) -> Any:
        """Return whether the largest probability moved that much, bool [samples]."""
        now, before = (
            tf.reduce_max(probabilities(tensor, logits=self.logits), axis=1)
            for tensor in (outputs, golden)
        )
        return tf.abs(now - before) > self.percent / 100 * tf.abs(before)


@dataclass(frozen=True)
class LeftTop(Criterion):
    """The top-1 class is not among the golden top-k.

    Args:
        k: How many golden classes it may be.
    """

    told_as: ClassVar[str] = "injecttf2.judges.criteria:LeftTop"

    k: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", whole("k", self.k, least=1))

    @property
    def name(self) -> str:
        """``top`` and k."""
        return f"top{self.k}"

    def check(self, output: Output) -> None:
        """Check that the model has more than k classes."""
        check_more_than(self.k, output, f"the criterion {self.name}")

    def met(self, outputs: Any, golden: Any) -> Any:
        """Return whether the class is none of the golden k, bool [samples]."""
        allowed = among_largest(golden, self.k)
        return ~tf.gather(allowed, top1(outputs), batch_dims=1)


@dataclass(frozen=True)
class ByCriterion(Top1):
    """The judge of a classifier whose decision changed where a criterion is met.

    Labels, scores and classes are those of ``top1``.

    Args:
        criterion: The criterion.
    """

    told_as: ClassVar[str] = "injecttf2.judges.by_criterion:ByCriterion"
    name: ClassVar[str] = "by_criterion"

    criterion: Criterion

    def check(self, output: Output) -> None:
        """Check that the model is a classifier that the criterion fits."""
        super().check(output)
        self.criterion.check(output)

    def differs(self, outputs: Any, golden: Any) -> Any:
        """Return whether the criterion is met, bool [samples]."""
        return self.criterion.met(outputs, golden)
