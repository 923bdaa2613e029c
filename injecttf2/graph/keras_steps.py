"""Steps of a model: single calls of layers and operations, run on tensors by key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a layer or operation.

    Args:
        index: Position in the order of execution, the model's inputs first.
        path: Name of the layer, behind the names of the nested models that it is called in.
        layer: Address: the path; later calls under the same path get ``#2``, ``#3``, ...
        node: Keras' record of the call.
        given: Symbolic tensors that go in, in the order of the node's.
        made: Symbolic tensors that come out. They are those of the node, but in a nested model,
            whose node is the same for each of its calls.
    """

    index: int
    path: str
    layer: str
    node: Any
    given: tuple[Any, ...]
    made: tuple[Any, ...]

    @property
    def operation(self) -> Any:
        """The Keras layer or operation that is called."""
        return self.node.operation

    @property
    def is_input(self) -> bool:
        """Whether it is an input of the model, which calls nothing."""
        return bool(self.node.is_input)

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """Keys of the tensors that go in."""
        return tuple(id(tensor) for tensor in self.given)

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """Keys of the tensors that come out."""
        return tuple(id(tensor) for tensor in self.made)


def inner_layers(operation: Any, *, recursive: bool = True) -> list[Any]:
    """Return the layers that a layer holds; an operation that is no layer holds none."""
    if not isinstance(operation, keras.Layer):
        return []
    layers: list[Any] = operation._flatten_layers(include_self=False, recursive=recursive)
    return layers


def is_keras(kind: Any) -> bool:
    """Return whether a class or function is Keras' own, of version 2 or 3."""
    return str(kind.__module__).partition(".")[0] in ("keras", "tf_keras")
