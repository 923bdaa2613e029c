"""Steps of a model: single calls of layers and operations, run on tensors by key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import tensorflow as tf

Values = dict[int, Any]
"""Computed tensors by the key of the symbolic tensor that they stand for."""


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

    @property
    def scope(self) -> str:
        """What the names of its operations begin with in a graph where it runs once."""
        return f"step{self.index}"

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """Keys of the tensors that go in."""
        return tuple(id(tensor) for tensor in self.given)

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """Keys of the tensors that come out."""
        return tuple(id(tensor) for tensor in self.made)

    def run(self, values: Values) -> None:
        """Call the operation on ``values`` in inference mode and add what comes out.

        Its operations get names behind :attr:`scope`. At the root of a graph TensorFlow takes no
        name that begins with an underscore or a dash; in ``predict`` the model's name is before it.
        """
        tensors = zip(self.node.input_tensors, self.inputs, strict=True)
        args, kwargs = self.node.arguments.fill_in({id(one): values[key] for one, key in tensors})
        if "training" in getattr(self.operation, "_call_context_args", {}):
            kwargs = {**kwargs, "training": False}
        with tf.name_scope(self.scope):
            results = keras.tree.flatten(self.operation(*args, **kwargs))
        values.update(zip(self.outputs, results, strict=True))

    def on(self, inputs: Values) -> Any:
        """Call the operation on its inputs by key and return its only output."""
        values = dict(inputs)
        self.run(values)
        return values[self.outputs[0]]


def inner_layers(operation: Any, *, recursive: bool = True) -> list[Any]:
    """Return the layers that a layer holds; an operation that is no layer holds none."""
    if not isinstance(operation, keras.Layer):
        return []
    layers: list[Any] = operation._flatten_layers(include_self=False, recursive=recursive)
    return layers


def is_keras(kind: Any) -> bool:
    """Return whether a class or function is Keras' own."""
    return str(kind.__module__).partition(".")[0] == "keras"
