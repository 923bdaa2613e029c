"""Models of Keras 3, as the engine takes them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from injecttf2.errors import ModelError
from injecttf2.graph.keras_function import built_for, graph_run_by, never_called
from injecttf2.graph.keras_steps import is_keras
from injecttf2.graph.noting import noting
from injecttf2.graph.traceable import InputSpec, Shape, Variable, Visit, fixed_batch

CALLED = ("call", "quantized_call")
"""What Keras calls a layer by; it prefers the second where the layer's weights are quantised."""


class KerasModel:
    """A model of Keras 3.

    Args:
        model: The model.
        shapes: Shape of one sample of each input, where data tell it.
        dtypes: dtype of each input; a subclassed model does not know it itself.

    Raises:
        ModelError: It has not been built, or it is not known what it takes.
    """

    def __init__(
        self,
        model: keras.Model,
        shapes: Sequence[Shape] | None = None,
        dtypes: Sequence[str] | None = None,
    ) -> None:
        self.model = model
        self.name = str(model.name)
        function = graph_run_by(model)
        if function is None and isinstance(model, keras.Function):
            function = model  # with a call of its own, on the same inputs
        if function is None and isinstance(model, keras.Sequential):
            raise ModelError(
                f"the model {self.name!r} (Sequential) has not been built, so it cannot be walked",
                hint="give it an Input, e.g. keras.Sequential([keras.Input(shape), ...])",
            )
        if function is not None:
            self._structure = function._inputs_struct
            self.inputs = _inputs_of(function)
            self.batch = fixed_batch(function.inputs)
        else:
            self._structure, self.inputs = _built_inputs(model, shapes, dtypes)
            self.batch = None
        self.assigned: frozenset[int] = frozenset()

    def call(self, tensors: Sequence[Any]) -> Any:
        """Return what the model gives out at inference.

        Each variable is read once, and what a layer assigns to one holds for this call only.
        """
        read = [(one, tf.convert_to_tensor(one.value)) for one in self.model.variables]
        given = tf.nest.pack_sequence_as(self._structure, list(tensors))
        with _Scope(state_mapping=read) as scope:
            outputs = self.model(given, training=False)
        self.assigned = frozenset(id(one.value.handle) for one in scope.assigned)
        return outputs

    def noting(self, visit: Visit) -> AbstractContextManager[None]:
        """Have the calls of layers, and of operations, visited until the context ends."""
        layers = self.model._flatten_layers()
        graphs = [graph for one in layers if (graph := graph_run_by(one)) is not None]
        held = [*layers, *(one for graph in graphs for one in graph._operations)]
        return noting(list({id(one): one for one in held}.values()), CALLED, visit)

    def type_of(self, layer: Any, tensor: Any) -> str:  # noqa: ARG002 - a class says it
        """Return the class of a layer."""
        return type(layer).__name__

    def is_container(self, layer: Any) -> bool:
        """Return whether a layer is a model that runs a graph of Keras'."""
        return graph_run_by(layer) is not None

    def is_library(self, layer: Any) -> bool:
        """Return whether a layer is Keras' own."""
        return is_keras(type(layer))

    def layers_in(self, layer: Any) -> Sequence[Any]:
        """Return the layers that a layer holds directly, but those that stand for inputs."""
        if not isinstance(layer, keras.Layer):
            return []
        held = layer._flatten_layers(include_self=False, recursive=False)
        return [one for one in held if not isinstance(one, keras.layers.InputLayer)]

    def variables_of(self, layer: Any) -> Sequence[Variable]:
        """Return the weights of a layer, in Keras' order."""
        return [_variable(one) for one in getattr(layer, "weights", ())]


class _Scope(keras.StatelessScope):  # type: ignore[misc]
    """Keeps what is assigned to variables to itself, and notes to which.

    Attributes:
        assigned: The variables, also those that no layer tracks, as the state of a recurrent layer.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.assigned: list[Any] = []

    def add_update(self, update: tuple[Any, Any]) -> None:
        """Take what is assigned to a variable."""
        self.assigned.append(update[0])
        super().add_update(update)


def _variable(variable: Any) -> Variable:
    return Variable(
        path=str(variable.path),
        dtype=str(variable.dtype),
        shape=tuple(variable.shape),
        handle=variable.value.handle,
        read=variable.numpy,
    )


def _inputs_of(function: Any) -> tuple[InputSpec, ...]:
    """Return the inputs of a graph of Keras', each where it stands in its order of execution."""
    ranks: dict[str, tuple[int, int]] = {}
    calls = 0
    for depth in sorted(function._nodes_by_depth, reverse=True):
        for node in function._nodes_by_depth[depth]:
            if node.is_input:
                ranks[node.operation.name] = calls, len(ranks)
            else:
                calls += 1
    return tuple(
        InputSpec(
            one._keras_history.operation.name,
            tuple(one.shape[1:]),
            str(one.dtype),
            ranks.get(one._keras_history.operation.name, (0, 0)),
        )
        for one in function.inputs
    )


def _built_inputs(
    model: keras.Model, shapes: Sequence[Shape] | None, dtypes: Sequence[str] | None
) -> tuple[Any, tuple[InputSpec, ...]]:
    """Return structure and inputs of a model that has no graph of its own."""
    built = built_for(model)
    keys = None if built is None else built.keys
    if shapes is None:
        if built is None or not built.shapes:
            raise never_called(model)
        shapes = built.shapes
    names = list(keys) if keys is not None else _unnamed(len(shapes))
    if dtypes is None:
        dtypes = [str(model.input_dtype)] * len(shapes)
    inputs = tuple(
        InputSpec(name, tuple(shape), dtype)
        for name, shape, dtype in zip(names, shapes, dtypes, strict=False)
    )
    if keys is not None:
        return dict.fromkeys(keys), inputs
    return None if len(inputs) == 1 else (None,) * len(inputs), inputs


def _unnamed(count: int) -> list[str]:
    return ["inputs"] if count == 1 else [f"inputs_{number + 1}" for number in range(count)]
