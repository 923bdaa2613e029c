"""Seeing and replacing what the layers inside a step give out, while the step is traced.

A subclassed model, an attention or a wrapper calls its layers in Python. For the time of one call
of the step, each layer that it holds gets a ``call`` of its own that passes on to the one of its
class; afterwards every layer is as it was, whatever happened.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from injecttf2.errors import EngineError
from injecttf2.steps import Step, Values, inner_layers

CALLED = ("call", "quantized_call")
"""What Keras calls a layer by; it prefers the second where the layer's weights are quantised."""

VECTORISED = re.compile(r"(^|/)loop_body(_\d+)?(/|$)")
"""Name scope in which ``tf.vectorized_map`` traces what it makes one operation of."""


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a layer inside a step.

    Args:
        path: Names of the layers that it is called in, below the step, and its own.
        layer: The layer.
        within: The layers that it is called in, the step's own first.
        number: Which of the calls under this path it is, from 1; 0 where it is made in a loop or
            function of TensorFlow's, where one call stands for many.
    """

    path: tuple[str, ...]
    layer: Any
    within: tuple[Any, ...]
    number: int


Change = Callable[[Any, Values], Any]
"""Receives a tensor and the values of the run, by key; returns what shall be in its place."""

Visit = Callable[[Call, Any], Any]
"""Receives a call and what it gives out; returns what it shall give out."""


@contextmanager
def watched(operation: Any, visit: Visit) -> Iterator[None]:
    """Have the calls of all layers inside an operation visited, until the context ends."""
    stack: list[Any] = [operation]
    numbers: dict[tuple[str, ...], int] = {}
    scope = _scope()

    def number_of(path: tuple[str, ...]) -> int:
        if _scope() is not scope or VECTORISED.search(tf.get_current_name_scope()):
            return 0
        numbers[path] = numbers.get(path, 0) + 1
        return numbers[path]

    def visiting(layer: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if stack[-1] is layer:  # its quantised call goes on to the plain one
                return function(*args, **kwargs)
            within = tuple(stack)
            stack.append(layer)
            try:
                outputs = function(*args, **kwargs)
            finally:
                stack.pop()
            path = tuple(one.name for one in (*within[1:], layer))
            return visit(Call(path, layer, within, number_of(path)), outputs)

        return call

    with rewired(inner_layers(operation), visiting):
        yield


@contextmanager
def rewired(
    layers: Sequence[Any], wrapped: Callable[[Any, Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Have layers called by functions of their own, until the context ends.

    Args:
        layers: The layers.
        wrapped: Gets a layer and what it is called by; returns what it shall be called by.
    """
    # Not setattr, by which Keras and TensorFlow would track what is set.
    attributes = [(vars(layer), name) for layer in layers for name in CALLED]
    before = [held.get(name) for held, name in attributes]
    try:
        for layer in layers:
            for name in CALLED:
                vars(layer)[name] = wrapped(layer, getattr(layer, name))
        yield
    finally:
        for (held, name), own in zip(attributes, before, strict=True):
            held.pop(name, None)
            if own is not None:
                held[name] = own


def _scope() -> Any:
    """Return the graph that is being traced; None while operations run at once."""
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


@dataclass(frozen=True, eq=False)
class InnerOutput:
    """One tensor that a call of a layer inside a step gives out.

    Args:
        call: The call.
        position: Which of the tensors that come out of it.
        outputs: How many come out.
        tensor: Symbolic tensor.
    """

    call: Call
    position: int
    outputs: int
    tensor: Any

    def is_of(self, call: Call) -> bool:
        """Return whether it is given out by a call in another trace of the same step."""
        return (self.call.path, self.call.number) == (call.path, call.number)


@dataclass(frozen=True, eq=False)
class ChangedStep(Step):
    """A step that is run with changes of what comes out of it and of layers inside it.

    Args:
        inside: Outputs of layers inside it, each with what changes it.
        outside: What changes outputs of its own, by key.
    """

    inside: tuple[tuple[InnerOutput, Change], ...]
    outside: Mapping[int, Change]

    @classmethod
    def of(
        cls,
        step: Step,
        inside: Sequence[tuple[InnerOutput, Change]],
        outside: Mapping[int, Change] | None = None,
    ) -> ChangedStep:
        """Return a step with the changes."""
        called = (step.index, step.path, step.layer, step.node, step.given, step.made)
        return cls(*called, tuple(inside), outside or {})

    def run(self, values: Values) -> None:
        """Run the step, and change what is to be changed as soon as it is there.

        Raises:
            EngineError: The layers were not called as they were when the model was looked at.
        """
        seen: list[InnerOutput] = []

        def visit(call: Call, outputs: Any) -> Any:
            mine = [pair for pair in self.inside if pair[0].is_of(call)]
            if not mine:
                return outputs
            flat = keras.tree.flatten(outputs)
            for inner, change in mine:
                seen.append(inner)
                flat[inner.position] = _with_mask(change, flat[inner.position], values)
            return keras.tree.pack_sequence_as(outputs, flat)

        with watched(self.operation, visit):
            super().run(values)
        if seen != [inner for inner, _ in self.inside]:
            names = ", ".join(repr("/".join(inner.call.path)) for inner, _ in self.inside)
            raise EngineError(
                f"{names} inside {self.layer!r} made {len(seen)} calls where {len(self.inside)} "
                "were expected: the step does not call its layers in the same way each time"
            )
        for key, change in self.outside.items():
            values[key] = _with_mask(change, values[key], values)


def tapped(step: Step, inner: InnerOutput) -> Step:
    """Return a step that adds the output of a layer inside it to what it makes."""

    def keep(output: Any, values: Values) -> Any:
        values[id(inner.tensor)] = output
        return output

    return ChangedStep.of(step, [(inner, keep)])


def replaced(step: Step, inner: InnerOutput) -> Step:
    """Return a step that takes the output of a layer inside it from the values it is run on."""
    return ChangedStep.of(step, [(inner, lambda _, values: values[id(inner.tensor)])])


def _with_mask(change: Change, tensor: Any, values: Values) -> Any:
    """Return the changed tensor with the mask that travels on it."""
    changed = change(tensor, values)
    changed._keras_mask = getattr(tensor, "_keras_mask", None)
    return changed
