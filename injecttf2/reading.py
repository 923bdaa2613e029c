"""Which variables inference reads, and in which steps.

A variable that no output depends on is no place for a fault: what an adapted layer was adapted by,
a counter, the history of a scale. A graph of the model tells, whatever its layers are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from injecttf2.errors import ModelError, todo
from injecttf2.steps import Step, Values
from injecttf2.tracing import traced_samples

COMPILED = ("PartitionedCall", "StatefulPartitionedCall")
"""Operations that call what ``tf.function`` compiled."""


@dataclass(frozen=True, eq=False)
class Reading:
    """Which steps of a model read which variables.

    Args:
        steps: All steps in order.
        by_variable: By the id of each variable that an output depends on: the positions of the
            steps that read it.
        compiled: Ids of those that a function of the model's reads which was compiled before, so
            that nothing can stand in their place.
    """

    steps: Sequence[Step]
    by_variable: Mapping[int, frozenset[int]]
    compiled: frozenset[int] = frozenset()

    def reads(self, variable: Any) -> bool:
        """Return whether an output of the model depends on a variable."""
        return id(variable) in self.by_variable

    def users(self, operations: Iterable[Any]) -> list[Step]:
        """Return the steps that read a weight of some operations, in order."""
        found: set[int] = set()
        for operation in operations:
            for variable in _weights(operation):
                found |= self.by_variable.get(id(variable), frozenset())
        return [step for step in self.steps if step.index in found]


Held = Mapping[int, tuple[Any, frozenset[int]]]
"""By the id of a variable: itself, and the positions of the steps whose layers hold it."""


def reading_of(
    steps: Sequence[Step],
    inputs: Sequence[Any],
    shapes: Sequence[tuple[int | None, ...]],
    outputs: Sequence[Any],
    run: Callable[..., Values],
) -> Reading:
    """Trace a model and return what it reads.

    A step reads all that its layer holds where the model cannot be traced because its inputs are of
    no known size.

    Args:
        steps: All steps of the model.
        inputs: Symbolic tensors that go in.
        shapes: Shapes of one sample of each.
        outputs: Symbolic tensors that come out.
        run: Runs steps on tensors by key and returns all; see :meth:`Graph.run`.

    Raises:
        ModelError: The model cannot be run on samples of these shapes.
    """
    held = _held(steps)
    if not held:
        return Reading(steps, {})
    samples = traced_samples(inputs)
    specs = [
        tf.TensorSpec((samples, *shape), one.dtype)
        for one, shape in zip(inputs, shapes, strict=True)
    ]

    def traced(fed: Sequence[Any] = ()) -> tuple[Any, list[Any]]:
        made: list[Any] = []

        def forward(given: Sequence[Any], words: Sequence[Any]) -> None:
            values = dict(zip(map(id, inputs), given, strict=True))
            values = run(steps, values, state=zip(fed, words, strict=True))
            wanted = [values[id(one)] for one in outputs]
            made.extend(filter(tf.is_symbolic_tensor, tf.nest.flatten(wanted, True)))

        words = [tf.TensorSpec(one.shape, one.dtype) for one in fed]
        function = tf.function(forward, autograph=False)
        return function.get_concrete_function(specs, words).graph, made

    try:
        found = _read(*traced(), steps, held)
        if not found.compiled:
            return found
        again, _ = traced([held[key][0] for key in found.compiled])
        return replace(found, compiled=found.compiled & _captured(again, held).keys())
    except Exception as error:
        if any(None in shape for shape in shapes):
            return Reading(steps, {key: where for key, (_, where) in held.items()})
        raise ModelError(
            f"the model cannot be run on inputs of shape "
            f"{', '.join(str(tuple(spec.shape)) for spec in specs)}: "
            f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}",
            hint=todo(
                error, "it must run in `predict` of Keras, which also says how it may be called"
            ),
        ) from error


def _held(steps: Sequence[Step]) -> Held:
    found: dict[int, tuple[Any, frozenset[int]]] = {}
    for step in steps:
        for variable in _weights(step.operation):
            _, before = found.get(id(variable), (variable, frozenset()))
            found[id(variable)] = variable, before | {step.index}
    return found


def _captured(graph: Any, held: Held) -> dict[int, Any]:
    """Return the tensors by which a graph reaches variables, by the variables' ids."""
    captured = {id(outer): inner for outer, inner in graph.captures}
    handles = {key: id(variable.value.handle) for key, (variable, _) in held.items()}
    return {key: captured[handle] for key, handle in handles.items() if handle in captured}


def _read(graph: Any, made: Iterable[Any], steps: Sequence[Step], held: Held) -> Reading:
    """Return what a graph reads to make some tensors."""
    handles = _captured(graph, held)
    needed = _needed(graph, made, handles.values())
    positions = {step.scope: frozenset({step.index}) for step in steps}
    found: dict[int, frozenset[int]] = {}
    compiled: set[int] = set()
    for key, handle in handles.items():
        for reader in (one for one in handle.consumers() if one in needed):
            # A layer may name its operations from the root of the graph.
            where = positions.get(reader.name.partition("/")[0], held[key][1])
            found[key] = found.get(key, frozenset()) | where
            if reader.type in COMPILED:
                compiled.add(key)
    return Reading(steps, found, frozenset(compiled))


def _needed(graph: Any, made: Iterable[Any], handles: Iterable[Any]) -> set[Any]:
    """Return the operations of a graph that decide what comes out, or whether anything does.

    An assertion, and a function of Python's, may raise: so operations with state count, but those
    that read a variable, which count where something depends on them.
    """
    resources = {one.ref() for one in handles}
    reached: list[Any] = list(made)
    for operation in _acting(graph, resources):
        reached.extend(operation.inputs)
    needed: set[Any] = set()
    seen: set[Any] = set()
    while reached:
        tensor = reached.pop()
        if tensor.ref() in seen:
            continue
        seen.add(tensor.ref())
        needed.add(tensor.op)
        together = tensor.op.type == "IdentityN"  # each of several tensors, for a gradient
        reached.extend(tensor.op.inputs[tensor.value_index :][:1] if together else tensor.op.inputs)
    return needed


def _acting(graph: Any, resources: set[Any]) -> Iterator[Any]:
    """Yield the operations with state that are given no variable."""
    for operation in graph.get_operations():
        if operation.op_def.is_stateful and not any(
            one.ref() in resources for one in operation.inputs
        ):
            yield operation


def _weights(operation: Any) -> Sequence[Any]:
    weights: Sequence[Any] = getattr(operation, "weights", ())
    return weights
