"""What a model's outputs are, probabilities or logits: said by the campaign, or seen in them.

A sigmoid has many names, and its class or what comes behind it tells little. The values tell more:
probabilities are from 0 to 1, those of classes that exclude one another sum to 1 in each row, and
logits are on both sides of 0. What values leave open is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np
import numpy.typing as npt

from injecttf2.errors import CampaignError, ModelError
from injecttf2.graph.keras_steps import is_keras
from injecttf2.judging.assessment import name_of
from injecttf2.judging.judge import Component
from injecttf2.judging.names import Named
from injecttf2.judging.probabilities import ending, gives_logits, unwrapped
from injecttf2.models.scopes import Scope

Kind = Literal["probabilities", "logits"]

SUM_TOLERANCE = 2.0**-6
"""How far from 1 a sum of probabilities may be.

A model may compute in 16 bits whatever the dtype of its outputs. A rounding to bfloat16, of the
exponential, the sum, the quotient and an average, say, is at most 2^-8 of a value, and of the sum.
"""

RANGE_TOLERANCE = 2.0**-12
"""How far beyond 0 and 1 rounding may take probabilities; two units in the last place of 1 where
the dtype of the outputs is coarser. A model whose logits are all that small decides nothing."""

AROUND = 0.5
"""How far beyond 0 and 1 a model may go that was trained to give out 0 and 1 (on squares, say), and
how far from 1 the mean sum of its rows may then be where one class of several is right."""

LEAST_ROWS = 4
"""Rows whose sums tell something: of random ones, 1 in 30 sums to 1 within the tolerance."""

LEAST_VALUES = 30
"""Values that tell something without sums: so many logits, which have either sign, are not all
above 0 by chance (2^-30)."""

EITHER = "say it in `judge:`, by `outputs: probabilities` or `outputs: logits`"


@dataclass(frozen=True)
class OutputKind:
    """What a model's outputs are taken for.

    Args:
        kind: ``probabilities`` or ``logits``.
        reason: Why.
    """

    kind: Kind
    reason: str


def as_columns(outputs: OutputKind | None) -> dict[str, Any]:
    """Return what outputs are taken for as JSON has it; nothing where nothing depends on it."""
    return {} if outputs is None else {"outputs": asdict(outputs)}


def stated(outputs: Kind | None, named: Iterable[Named]) -> OutputKind | None:
    """Return what a campaign says of the model's outputs; None where it says nothing.

    Args:
        outputs: ``outputs`` of the judge.
        named: Judge, metrics and criteria; the parameter ``logits`` of one of them says it too.

    Raises:
        CampaignError: It says both.
    """
    flags = [one.parameters.get("logits") for one in named]
    said: set[Kind] = {
        "logits" if flag else "probabilities" for flag in flags if isinstance(flag, bool)
    }
    if outputs is not None:
        said.add(outputs)
    if len(said) > 1:
        raise CampaignError(
            "it is said that the model's outputs are probabilities, and that they are logits",
            hint="`outputs:` in `judge:` says it once, for the judge, metrics and criteria",
        )
    return OutputKind(said.pop(), "the campaign says so") if said else None


def decide(
    outputs: Iterable[npt.NDArray[Any]], operation: Any, parts: Sequence[Component]
) -> OutputKind:
    """Return what golden outputs are.

    Args:
        outputs: Those of the data set, finite, [samples, ...] each, in an order that is always the
            same; only as many of them are asked for as are needed.
        operation: The Keras layer or operation that they come from.
        parts: What depends on it, one or more.

    Raises:
        CampaignError: It cannot be told.
    """
    whole = (type(operation), type(unwrapped(operation)))
    if not gives_logits(operation) and all(kind is Scope or is_keras(kind) for kind in whole):
        # They are from 0 to 1 by construction; the golden run of a worker sees that.
        maker = "TensorFlow" if Scope in whole else "Keras"
        return OutputKind("probabilities", f"the model ends with a softmax or sigmoid of {maker}")
    seen = Seen()
    for some in outputs:
        seen.add(some)
        if seen.is_on_both_sides and not seen.is_near:
            break
    if seen.is_like_zeros_and_ones(parts):
        raise _unknown(f"they are {seen.span}, as those of a model trained to give out 0 and 1 are")
    if seen.is_on_both_sides:
        return OutputKind("logits", f"they go {seen.span}")
    return (_outside if seen.is_outside else _inside)(seen, operation, parts)


def _outside(seen: Seen, operation: Any, parts: Sequence[Component]) -> OutputKind:
    """Return what outputs are that go beyond 0 and 1 and are all on one side of 0."""
    # What a log_softmax gives is as good as logits where it becomes probabilities by a softmax.
    logarithms = seen.high <= seen.tolerance and seen.columns > 1
    if _is_linear(operation) or (logarithms and all(part.exclusive for part in parts)):
        return OutputKind("logits", f"they are {seen.span}")
    raise _unknown(f"they are {seen.span}, not on both sides of 0, and not from 0 to 1")


def _inside(seen: Seen, operation: Any, parts: Sequence[Component]) -> OutputKind:
    """Return what outputs from 0 to 1 are."""
    if seen.sums_to_one:
        return OutputKind("probabilities", f"they are {seen.span} and sum to 1 in each row")
    if _is_linear(operation):
        raise _unknown(f"they are {seen.span}, but the model ends without an activation")
    if seen.columns > 1 and any(part.exclusive for part in parts):
        raise _unknown(f"they are {seen.span}, but do not sum to 1 in each row")
    # As logits, all of them would be a yes.
    if seen.values < LEAST_VALUES or not seen.low < 0.5 < seen.high:
        raise _unknown(f"the {seen.values:,} values are {seen.span}, which says too little")
    return OutputKind("probabilities", f"they are {seen.span}")


def check(outputs: npt.NDArray[Any], parts: Sequence[Component]) -> None:
    """See that golden outputs are what they are taken for, as far as values tell it.

    Args:
        outputs: Finite, [samples, ...].
        parts: What depends on it.

    Raises:
        ModelError: They are not.
    """
    if not parts:
        return
    seen = Seen()
    seen.add(outputs)
    for part in parts:
        taken = getattr(part, "logits", None)
        if taken is False and seen.is_outside:
            raise ModelError(
                f"{name_of(part)} takes the model's outputs for probabilities; expected values "
                f"from 0 to 1, but without any fault they are {seen.span}",
                hint="if they are logits, say so by `outputs: logits` in `judge:`, in Python by "
                "`logits=True`; if they are neither, judge them by a `threshold` of your own",
            )
        if taken is True and seen.sums_to_one:
            raise ModelError(
                f"{name_of(part)} takes the model's outputs for logits, but without any fault they "
                f"are {seen.span} and sum to 1 in each row, as probabilities do",
                hint="say so by `outputs: probabilities` in `judge:`, in Python by `logits=False`",
            )


class Seen:
    """What was seen of golden outputs."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.columns = self.rows = self.values = 0
        self.tolerance = RANGE_TOLERANCE
        self._furthest = self._total = 0.0

    def add(self, outputs: npt.NDArray[Any]) -> None:
        """See more outputs, finite, [samples, ...]."""
        self.low = min(self.low, float(outputs.min()))
        self.high = max(self.high, float(outputs.max()))
        self.columns = outputs.shape[-1] if outputs.ndim > 1 else 1
        self.values += outputs.size
        self.rows += outputs.size // self.columns
        if outputs.dtype.kind not in "biu":
            self.tolerance = max(RANGE_TOLERANCE, 2 * float(ml_dtypes.finfo(outputs.dtype).eps))
        self._total += float(outputs.sum(dtype=np.float64))
        if self.columns > 1:
            sums = outputs.sum(axis=-1, dtype=np.float64)
            self._furthest = max(self._furthest, float(np.abs(sums - 1).max()))

    @property
    def is_outside(self) -> bool:
        """Whether there are values that no probability has."""
        return self.low < -self.tolerance or self.high > 1 + self.tolerance

    @property
    def sums_to_one(self) -> bool:
        """Whether each row is one of probabilities of classes that exclude one another."""
        enough = self.columns > 1 and self.rows >= LEAST_ROWS
        return enough and not self.is_outside and self._furthest <= SUM_TOLERANCE

    @property
    def is_on_both_sides(self) -> bool:
        """Whether there are values clearly below 0 and clearly above."""
        return self.low < -self.tolerance and self.high > self.tolerance

    @property
    def is_near(self) -> bool:
        """Whether nothing is far below 0 or above 1."""
        return self.low >= -AROUND and self.high <= 1 + AROUND

    def is_like_zeros_and_ones(self, parts: Sequence[Component]) -> bool:
        """Return whether they could be of a model that was trained to give out 0 and 1."""
        one_of_several = self.columns > 1 and any(part.exclusive for part in parts)
        sums_fit = abs(self._total / self.rows - 1) <= AROUND
        near = self.is_outside and self.is_near and self.high > 0.5
        return near and (sums_fit or not one_of_several)

    @property
    def span(self) -> str:
        """From where to where they go."""
        return f"from {self.low:.4g} to {self.high:.4g}"


def _is_linear(operation: Any) -> bool:
    """Return whether a layer could have an activation and has none."""
    return ending(operation) == "linear"


def _unknown(seen: str) -> CampaignError:
    return CampaignError(
        f"it cannot be told whether the model's outputs are probabilities or logits: {seen}",
        hint=EITHER,
    )
