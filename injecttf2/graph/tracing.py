"""Tracing a model once, as inference, into one graph of TensorFlow's.

While it is traced, each layer's call is noted with the tensors that it gave out. That is all that
is known of layers: whatever the kind of model, it is a graph, and some of its tensors have names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tensorflow as tf

from injecttf2.errors import ModelError, todo, told
from injecttf2.graph.traceable import Traceable

VECTORISED = re.compile(r"(^|/)loop_body(_\d+)?(/|$)")
"""Name scope in which ``tf.vectorized_map`` traces what it makes one operation of."""

ASSIGNING = ("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp")
"""Operations that change a variable, which are left out of what is evaluated."""

READS = ("ReadVariableOp",)
"""Operations that give out what a variable holds."""


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a layer.

    Args:
        within: The layers that it was made in, the model first.
        layer: The layer.
        tensors: What it gave out, flat; None for what is no dense tensor.
        looped: Whether it was made in a loop or function of TensorFlow's, where one call stands for
            many.
    """

    within: tuple[Any, ...]
    layer: Any
    tensors: tuple[Any, ...]
    looped: bool


@dataclass(frozen=True, eq=False)
class Trace:
    """A model as a graph.

    Args:
        model: The model.
        batch: Samples that it was traced with; None for any number.
        graph: The graph; its operations stand in an order of execution.
        inputs: Tensors that go in.
        structure: What came out, tensors in the model's own structure.
        calls: The calls of layers, in the order in which they ended.
    """

    model: Traceable
    batch: int | None
    graph: Any
    inputs: tuple[Any, ...]
    structure: Any
    calls: tuple[Call, ...]

    @property
    def outputs(self) -> tuple[Any, ...]:
        """What came out, flat."""
        return tuple(tf.nest.flatten(self.structure))

    @cached_property
    def assigned(self) -> frozenset[int]:
        """Keys of the variables that the model assigns to."""
        assigning = [one for one in self.graph.get_operations() if one.type in ASSIGNING]
        handles = (self.captures.get(one.inputs[0].name) for one in assigning)
        return self.model.assigned | {id(one) for one in handles if one is not None}

    @cached_property
    def captures(self) -> Mapping[str, Any]:
        """What the graph takes from outside, by the name of the tensor that stands for it."""
        return {inner.name: outer for outer, inner in self.graph.captures}

    @cached_property
    def reads(self) -> Mapping[str, Any]:
        """Handles of variables by the name of the tensor that holds what is read of each."""
        return {
            operation.outputs[0].name: self.captures[operation.inputs[0].name]
            for operation in self.graph.get_operations()
            if operation.type in READS and operation.inputs[0].name in self.captures
        }


def trace(model: Traceable, shapes: Sequence[tuple[int | None, ...] | None]) -> Trace:
    """Trace a model for any number of samples, or for as many as it insists on.

    Args:
        model: The model.
        shapes: Shape of one sample of each input; None where it is not known.

    Raises:
        ModelError: It cannot be run on such samples, or it is not known what it takes.
    """
    known = [one for one in shapes if one is not None]
    if len(known) < len(shapes):
        names = [one.name for one, shape in zip(model.inputs, shapes, strict=True) if shape is None]
        raise ModelError(
            f"it is not known which shape the model {model.name!r} takes for {', '.join(names)}",
            hint="give a data set, or say it: "
            "tf.function(input_signature=[tf.TensorSpec((None, 28, 28, 1))])",
        )
    batches = (None, FALLBACK) if model.batch is None else (model.batch,)
    failed: Exception | None = None
    for batch in batches:
        try:
            return _traced(model, known, batch)
        except ModelError:
            raise
        except Exception as error:  # noqa: BLE001 - Python may want a number where None stands
            failed = failed or error
    assert failed is not None  # noqa: S101 - for the type checker
    described = ", ".join(
        f"{shape} {spec.dtype}" for shape, spec in zip(shapes, model.inputs, strict=True)
    )
    raise ModelError(
        f"the model {model.name!r} cannot be run on samples of {described}: "
        f"{' '.join(told(failed).split())}",
        hint=todo(failed, ANY_NUMBER),
    ) from failed


ANY_NUMBER = (
    "it must take samples of that shape, and any number of them; one that takes a fixed number "
    "says so with keras.Input(batch_shape=(number, ...))"
)

FALLBACK = 24
"""Samples at a time of a model that can be traced with a number of them only."""


def _traced(model: Traceable, shapes: Sequence[tuple[int | None, ...]], batch: int | None) -> Trace:
    specs = [
        tf.TensorSpec((batch, *shape), spec.dtype)
        for shape, spec in zip(shapes, model.inputs, strict=True)
    ]
    notes = _Notes(model)
    found: list[tuple[tuple[Any, ...], Any, tuple[Call, ...]]] = []

    def forward(*tensors: Any) -> None:
        notes.begin(tensors)
        with model.noting(notes.visit):
            structure = model.call(tensors)
        found.append((tensors, structure, tuple(notes.calls)))

    # Not wrap_function, in which an assertion within a condition would be left out.
    graph = tf.function(forward, autograph=False).get_concrete_function(*specs).graph
    return Trace(model, batch, graph, *found[-1])  # traced again if it made its variables


class _Notes:
    """Notes the calls of layers.

    Args:
        model: The model.

    Attributes:
        calls: Those noted.
    """

    def __init__(self, model: Traceable) -> None:
        self._model = model
        self.calls: list[Call] = []
        self._graph: Any = None
        self._given: set[Any] = set()

    def begin(self, tensors: Sequence[Any]) -> None:
        """Begin with what goes into the model."""
        self.calls = []
        self._graph = tf.compat.v1.get_default_graph()
        self._given = {one.ref() for one in tensors}

    def visit(self, within: Sequence[Any], layer: Any, outputs: Any) -> Any:
        """Note a call; each call gives out tensors of its own."""
        looped = tf.compat.v1.get_default_graph() is not self._graph or bool(
            VECTORISED.search(tf.get_current_name_scope())
        )
        flat = tf.nest.flatten(outputs)
        if not (looped or self._model.is_container(layer)):
            own = [self._own(one) for one in flat]
            if any(one is not other for one, other in zip(own, flat, strict=True)):
                outputs = tf.nest.pack_sequence_as(outputs, own)
            flat = own
        tensors = tuple(one if isinstance(one, tf.Tensor) else None for one in flat)
        self.calls.append(Call(tuple(within), layer, tensors, looped))
        return outputs

    def _own(self, tensor: Any) -> Any:
        """Return a tensor that no other call gives out.

        A layer that does nothing at inference hands on what it was given, which others may take
        past it: a fault in what it gives out is none in theirs.
        """
        if not isinstance(tensor, tf.Tensor):
            return tensor
        if tensor.ref() in self._given or not tf.is_symbolic_tensor(tensor):
            copy = tf.identity(tensor)
            if (mask := getattr(tensor, "_keras_mask", None)) is not None:
                copy._keras_mask = mask
            tensor = copy
        self._given.add(tensor.ref())
        return tensor
