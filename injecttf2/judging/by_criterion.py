"""The judge whose decision changed where a criterion is met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from injecttf2.judging.criteria import Criterion
from injecttf2.judging.judge import Output
from injecttf2.judging.top_k import Top1


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
