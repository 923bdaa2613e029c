"""What a judge is: it says what the decision of a model is, and how good one is."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy.typing as npt

from injecttf2.errors import ModelError


@dataclass(frozen=True)
class Output:
    """What a model gives out for one sample.

    Args:
        shape: Its shape; None stands for a size that is not known.
        dtype: Its dtype, by its Keras name.
    """

    shape: tuple[int | None, ...]
    dtype: str

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape, all of which must be known.

        Raises:
            ModelError: A size is not known.
        """
        sizes = tuple(size for size in self.shape if size is not None)
        if len(sizes) != len(self.shape):
            raise ModelError(
                f"the model's output has shape {self.shape} a sample; "
                "its size must not depend on the data to be judged"
            )
        return sizes


class Component:
    """What judges, metrics and criteria have in common: a name, and what they take outputs for."""

    exclusive: ClassVar[bool] = True
    """Whether it takes probabilities for those of classes of which a sample has one."""

    @property
    def name(self) -> str:
        """What it is called in columns and messages; letters, digits, ``_`` and ``.``."""
        return type(self).__name__

    def reads_logits(self, output: Output) -> bool:  # noqa: ARG002 - for subclasses
        """Return whether it matters that outputs are logits, as a parameter ``logits`` says."""
        return "logits" in inspect.signature(type(self)).parameters


class Judge(Component, ABC):
    """What counts as a decision.

    A judge of your own is a subclass, best a frozen dataclass whose fields are the parameters that
    the campaign file gives; a field ``logits`` is filled in, whether the model's outputs are logits
    and not probabilities. A campaign names it ``package.module:Class``.

    The methods on outputs run in a compiled function, on TensorFlow's tensors, whose first axis is
    the samples. Outputs come as float32, or as float64 where the model's dtype is that or an
    integer type. They are always finite: a sample whose outputs are not is ``due``, and has its
    golden outputs in their place. Samples must not depend on one another.
    """

    def check(self, output: Output) -> None:
        """Check that a model's output can be judged.

        Raises:
            ModelError: It cannot.
        """

    def labels(
        self,
        labels: npt.NDArray[Any],
        output: Output,  # noqa: ARG002 - for subclasses
    ) -> npt.NDArray[Any]:
        """Return the labels of the data set, [samples, ...], as ``score`` takes them.

        Raises:
            DatasetError: They do not fit the model's output.
        """
        return labels

    @abstractmethod
    def differs(self, outputs: Any, golden: Any) -> Any:
        """Return for each sample whether its decision is another than the golden one.

        Args:
            outputs: [samples, ...], with faults.
            golden: Same shape and dtype.

        Returns:
            bool [samples].
        """

    @abstractmethod
    def score(self, outputs: Any, labels: Any) -> Any:
        """Return how good each decision is, from 0 to 1.

        Args:
            outputs: [samples, ...].
            labels: [samples, ...], as the method ``labels`` returned them.

        Returns:
            Floating-point [samples]; their mean is the accuracy.
        """

    def classes(self, outputs: Any) -> Any | None:  # noqa: ARG002 - for subclasses
        """Return the class of each sample, int32 [samples]; None where a sample has not one."""
        return None


def one_row(output: Output, *, at_least: int, what: str) -> int:
    """Return the length of a model's output, which is to be one row of scores a sample.

    Args:
        output: The model's output.
        at_least: Least length.
        what: What needs it, for the message.

    Raises:
        ModelError: It is something else.
    """
    if len(output.shape) != 1 or (output.shape[0] or 0) < at_least:
        number = {1: "one", 2: "two"}.get(at_least, str(at_least))
        raise ModelError(
            f"the model's output has shape {output.shape} a sample; {what} needs one row of at "
            f"least {number} {'class' if at_least == 1 else 'classes'}",
            hint=hint_for(output),
        )
    return output.sizes[0]


def hint_for(output: Output) -> str:
    """Return which judge suits an output."""
    task = (
        "a class at each position take `judge: per_position`"
        if len(output.shape) > 1
        else "one yes or no take `judge: threshold`"
    )
    return f"for {task}, for values `judge: regression`"
