"""What the engine asks of a model, whatever made it: to be called once, and to tell its layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.errors import ModelError

Shape = tuple[int | None, ...]

Visit = Callable[[Sequence[Any], Any, Any], Any]
"""Receives the layers that a call was made in, the outermost first, the layer that was called and
what it gave out; returns what it shall give out."""


@dataclass(frozen=True)
class InputSpec:
    """An input of a model.

    Args:
        name: Its address.
        shape: Shape of one sample, None where a size is not known; None where the data tell it.
        dtype: TensorFlow's name of the dtype.
        rank: Calls of the model itself that come before it in the order of execution, and which of
            the inputs at that place it is.
        key: What users call it, where inputs are given by keys.
        ordered: Whether a tuple of inputs tells which is which.
    """

    name: str
    shape: Shape | None
    dtype: str
    rank: tuple[int, int] = (0, 0)
    key: str | None = None
    ordered: bool = True


@dataclass(frozen=True, eq=False)
class Variable:
    """A variable of a model.

    Args:
        path: Its name, behind those of the layers that hold it.
        dtype: dtype of its words, as ``bits`` names it.
        shape: Its shape.
        handle: The resource that graphs capture.
        read: Returns its value.
    """

    path: str
    dtype: str
    shape: tuple[int, ...]
    handle: Any
    read: Callable[[], npt.NDArray[Any]]

    @classmethod
    def of(cls, variable: Any) -> Variable:
        """Return what a ``tf.Variable`` is to the engine; its name is its path."""
        return cls(
            path=str(variable.name).partition(":")[0],
            dtype=str(variable.dtype.name),
            shape=tuple(variable.shape),
            handle=variable.handle,
            read=variable.numpy,
        )

    @property
    def key(self) -> int:
        """What tells variables apart."""
        return id(self.handle)

    @property
    def elements(self) -> int:
        """How many elements it has."""
        return int(np.prod(self.shape))


def fixed_batch(inputs: Sequence[Any]) -> int | None:
    """Return how many samples a model takes at a time; None where that is any number.

    Args:
        inputs: Symbolic tensors or their specifications.

    Raises:
        ModelError: They do not agree.
    """
    known = {one.name: tf.TensorShape(one.shape) for one in inputs}
    given = {shape[0] for shape in known.values() if shape.rank} - {None}
    if len(given) > 1:
        described = ", ".join(f"{name} {tuple(shape)}" for name, shape in known.items())
        raise ModelError(
            f"the inputs of the model take different numbers of samples at a time: {described}",
            hint="give all of them the same batch size, or none: keras.Input(shape)",
        )
    return given.pop() if given else None


class Traceable(Protocol):
    """A model that can be traced.

    Attributes:
        name: What messages call it.
        inputs: What goes in.
        batch: Samples that it insists on at a time; None for any number.
        assigned: Keys of the variables that a call of it has assigned new values to, which hold for
            that call only.
    """

    name: str
    inputs: tuple[InputSpec, ...]
    batch: int | None
    assigned: frozenset[int]

    def call(self, tensors: Sequence[Any]) -> Any:
        """Return what the model gives out at inference, tensors in any structure."""

    def noting(self, visit: Visit) -> AbstractContextManager[None]:
        """Have the calls of layers visited until the context ends."""

    def type_of(self, layer: Any, tensor: Any) -> str:
        """Return what kind of layer gives out a tensor, or would; None for no tensor."""

    def is_container(self, layer: Any) -> bool:
        """Return whether a layer only calls others in a fixed order.

        The last of them gives out what it gives out.
        """

    def is_library(self, layer: Any) -> bool:
        """Return whether a layer is the library's own, not of the user's."""

    def layers_in(self, layer: Any) -> Sequence[Any]:
        """Return the layers that a layer holds directly."""

    def variables_of(self, layer: Any) -> Sequence[Variable]:
        """Return the variables of a layer and of those that it holds, in the library's order."""


class TensorFlowModel(Traceable, Protocol):
    """A model whose variables are TensorFlow's own, as those of all are but of Keras 3.

    Attributes:
        variables: Those that it holds, always in the same order.
        modules: Names of the modules of the user's that its classes are from.
    """

    variables: Sequence[Any]
    modules: Collection[str]
