"""A Keras model as an ordered list of steps, and the cut at a layer.

The model is not re-built: the steps are the nodes of the graph that the model itself runs, so a
``Sequential`` that was loaded from disk, whose layers also carry nodes of earlier builds, and a
model with skip connections or shared layers are walked alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any

import keras
import tensorflow as tf

from injecttf2 import bits
from injecttf2.errors import ModelError
from injecttf2.suggest import nearest

TRACED_SAMPLES = 13
"""Samples in a trace of the model; a prime that is no size of a usual layer."""

Values = dict[int, Any]
"""Computed tensors by the key of the symbolic tensor that they stand for."""


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a layer or operation.

    Args:
        index: Position in the order of execution, the model's inputs first.
        layer: Address: the layer's name; later calls of a shared layer get ``#2``, ``#3``, ...
        node: Keras' record of the call.
    """

    index: int
    layer: str
    node: Any

    @property
    def operation(self) -> Any:
        """The Keras layer or operation that is called."""
        return self.node.operation

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """Keys of the tensors that go in."""
        return tuple(id(tensor) for tensor in self.node.input_tensors)

    @cached_property
    def outputs(self) -> tuple[int, ...]:
        """Keys of the tensors that come out."""
        return tuple(id(tensor) for tensor in self.node.outputs)

    def run(self, values: Values) -> None:
        """Call the operation on ``values`` in inference mode and add what comes out."""
        args, kwargs = self.node.arguments.fill_in(values)
        if "training" in getattr(self.operation, "_call_context_args", {}):
            kwargs = {**kwargs, "training": False}
        results = keras.tree.flatten(self.operation(*args, **kwargs))
        values.update(zip(self.outputs, results, strict=True))

    def on(self, inputs: Values) -> Any:
        """Call the operation on its inputs by key and return its only output."""
        values = dict(inputs)
        self.run(values)
        return values[self.outputs[0]]


@dataclass(frozen=True)
class LayerInfo:
    """What a user needs to know of a layer to write a grid.

    Args:
        layer: Address.
        index: Position in the order of execution.
        type: Class of the layer or operation.
        shape: Shape of the output of one sample; None where it depends on the data.
        dtype: dtype of the output.
        parameters: Weights of the layer, trained or not.
        is_input: It is an input of the model; ``layers: all`` leaves it out.
        reason: Why it cannot be injected; None when it can.
    """

    layer: str
    index: int
    type: str
    shape: tuple[int | None, ...]
    dtype: str
    parameters: int
    is_input: bool
    reason: str | None = None

    @property
    def elements(self) -> int | None:
        """Elements in the output of one sample; None where that depends on the data."""
        count = 1
        for size in self.shape:
            if size is None:
                return None
            count *= size
        return count


@dataclass(frozen=True, eq=False)
class Cut:
    """A model split at one tensor.

    Args:
        frontier: Keys of the tensors that the suffix needs, the cut layer's output first, then
            every golden tensor that by-passes it.
        prefix: Steps that compute the frontier from the model's inputs.
        suffix: Steps that depend on the cut layer's output.
    """

    frontier: tuple[int, ...]
    prefix: tuple[Step, ...]
    suffix: tuple[Step, ...]


class Graph:
    """The steps of a Keras model in the order in which the model runs them.

    Args:
        model: A built ``Sequential`` or functional model with one input and one output.
        input_shape: Shape of one sample, for a model that takes inputs of any size.

    Raises:
        ModelError: The model has no such graph, or more than one input or output.
    """

    def __init__(self, model: keras.Model, input_shape: tuple[int, ...] | None = None) -> None:
        function = _function_of(model)
        self.steps = _steps_of(function)
        self.input = _only(function.inputs, "input", model.name)
        self.output = _only(function.outputs, "output", model.name)
        self._by_layer = {step.layer: step for step in self.steps}
        tensors = {id(tensor): tensor for step in self.steps for tensor in step.node.outputs}
        self.dtypes: dict[int, str] = {key: tensor.dtype for key, tensor in tensors.items()}
        self.shapes: dict[int, tuple[int | None, ...]] = {
            key: tuple(tensor.shape[1:]) for key, tensor in tensors.items()
        }
        self._sample_shape = tuple(self.input.shape[1:]) if input_shape is None else input_shape
        if input_shape is not None and any(None in shape for shape in self.shapes.values()):
            self.shapes.update((key, shape[1:]) for key, shape in self._traced.items())

    @cached_property
    def layers(self) -> tuple[LayerInfo, ...]:
        """All addressable layers in the order of execution.

        Raises:
            ModelError: The model cannot be run on any number of samples.
        """
        others = _sparse_or_ragged(self.steps)
        return tuple(
            LayerInfo(
                layer=step.layer,
                index=step.index,
                type=type(step.operation).__name__,
                shape=self.shapes[step.outputs[0]],
                dtype=str(step.node.outputs[0].dtype),
                parameters=int(getattr(step.operation, "count_params", lambda: 0)()),
                is_input=bool(step.node.is_input),
                reason=_reason(step, dense=others.isdisjoint(step.outputs))
                or self._samples_reason(step),
            )
            for step in self.steps
        )

    def shape(self, key: int) -> tuple[int, ...]:
        """Return the shape of one sample's part of the tensor ``key``.

        Raises:
            ModelError: The size depends on the data, and no input shape was given.
        """
        shape = self.shapes[key]
        if None in shape:
            raise ModelError(
                f"the model takes inputs of any size, {tuple(self.input.shape[1:])}; "
                "the size must be known here"
            )
        return tuple(size or 0 for size in shape)

    def row_bytes(self, key: int) -> int:
        """Return the bytes of one sample's part of the tensor ``key``.

        Raises:
            ModelError: The size depends on the data, and no input shape was given.
        """
        return math.prod(self.shape(key)) * bits.numpy_dtype(self.dtypes[key]).itemsize

    def step(self, layer: str) -> Step:
        """Return the step at the address ``layer``.

        Raises:
            ModelError: The model has no such layer; the message names the nearest ones.
        """
        if layer not in self._by_layer:
            raise ModelError(
                f"the model has no layer {layer!r}{nearest(layer, self._by_layer)}",
                hint="`injecttf2 layers MODEL` lists what can be injected",
            )
        return self._by_layer[layer]

    def run(self, steps: Sequence[Step], values: Mapping[int, Any]) -> Values:
        """Run ``steps`` in order on top of ``values`` and return all tensors by key."""
        computed = dict(values)
        for step in steps:
            if not step.node.is_input:
                step.run(computed)
        return computed

    def cut(self, layer: str) -> Cut:
        """Split the model at the output of ``layer``.

        The suffix holds the descendants of that output and nothing else: a branch that runs
        beside the layer is golden, and is part of the frontier where it joins.
        """
        target = self.step(layer)
        reached = {target.outputs[0]}
        suffix: list[Step] = []
        for step in self.steps:
            if step is not target and reached.intersection(step.inputs):
                reached.update(step.outputs)
                suffix.append(step)
        made = {key for step in suffix for key in step.outputs}
        needed = dict.fromkeys([target.outputs[0]])
        needed.update(dict.fromkeys(key for step in suffix for key in step.inputs))
        frontier = tuple(key for key in needed if key not in made)
        return Cut(frontier, self.ancestors(frontier), tuple(suffix))

    def _samples_reason(self, step: Step) -> str | None:
        """Return why the samples of a step's cut cannot be told apart, or None when they can."""
        if step.outputs[0] in self._not_per_sample:
            return "its first axis is not the sample"
        if self._not_per_sample and not self._not_per_sample.isdisjoint(
            self.cut(step.layer).frontier
        ):
            return "a tensor that by-passes it is not one row a sample"
        return None

    @cached_property
    def _not_per_sample(self) -> frozenset[int]:
        """Keys of the tensors whose first axis is not the sample."""
        tensors = {id(tensor): tensor for step in self.steps for tensor in step.node.outputs}
        fixed = {key for key, tensor in tensors.items() if tuple(tensor.shape[:1]) != (None,)}
        traced = None in self.input.shape[1:] or any(map(_may_move_samples, self.steps))
        if None in self._sample_shape or not traced:
            return frozenset(fixed)
        moved = {key for key, shape in self._traced.items() if shape[:1] != (TRACED_SAMPLES,)}
        return frozenset(fixed | moved)

    @cached_property
    def _traced(self) -> dict[int, tuple[int | None, ...]]:
        """Shapes of all tensors for ``TRACED_SAMPLES`` samples, by key."""
        found: dict[int, tuple[int | None, ...]] = {}

        def forward(inputs: Any) -> None:
            values = self.run(self.steps, {id(self.input): inputs})
            found.update((key, tuple(value.shape)) for key, value in values.items())

        shape = (TRACED_SAMPLES, *self._sample_shape)
        try:
            tf.function(forward, autograph=False).get_concrete_function(
                tf.TensorSpec(shape, self.input.dtype)
            )
        except Exception as error:
            raise ModelError(
                f"the model cannot be run on {TRACED_SAMPLES} samples, inputs of shape {shape}: "
                f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}",
                hint="it must take any number of samples, and samples of that shape",
            ) from error
        return found

    def ancestors(self, keys: Iterable[int]) -> tuple[Step, ...]:
        """Return the steps that compute ``keys``, in order."""
        needed = set(keys)
        steps: list[Step] = []
        for step in reversed(self.steps):
            if needed.intersection(step.outputs):
                needed.update(step.inputs)
                steps.append(step)
        return tuple(reversed(steps))


def _function_of(model: keras.Model) -> Any:
    """Return the Keras ``Function`` that the model runs."""
    function = getattr(model, "_functional", None) or model
    if not isinstance(function, keras.Function):
        unbuilt = isinstance(model, keras.Sequential)
        what = "has not been built" if unbuilt else "is subclassed and has no graph of layers"
        raise ModelError(
            f"the model {model.name!r} ({type(model).__name__}) {what}, so it cannot be walked",
            hint="give it an Input, e.g. keras.Sequential([keras.Input(shape), ...])"
            if unbuilt
            else "write it as a Sequential or functional model: keras.Model(inputs, outputs)",
        )
    return function


def _steps_of(function: Any) -> tuple[Step, ...]:
    """Return the nodes of a function in its own order of execution, each with an address."""
    depths = sorted(function._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in function._nodes_by_depth[depth]]
    taken = {node.operation.name for node in nodes}
    calls: dict[str, int] = {}
    steps: list[Step] = []
    for node in nodes:
        address = name = node.operation.name
        calls[name] = calls.get(name, 0) + 1
        if calls[name] > 1:
            numbered = (f"{name}#{number}" for number in count(calls[name]))
            address = next(one for one in numbered if one not in taken)
            taken.add(address)
        steps.append(Step(len(steps), address, node))
    return tuple(steps)


def _only(tensors: Sequence[Any], what: str, name: str) -> Any:
    if len(tensors) != 1:
        raise ModelError(
            f"the model {name!r} has {len(tensors)} {what}s; expected one",
            hint=f"wrap it in a keras.Model that has one {what}",
        )
    return tensors[0]


def _may_move_samples(step: Step) -> bool:
    """Return whether a step may give out another first axis; Keras' own layers keep the samples."""
    operation = step.operation
    if isinstance(operation, keras.Model | keras.layers.Lambda | keras.layers.Wrapper):
        return True
    own = type(operation).__module__.partition(".")[0] == "keras"
    return not (own and isinstance(operation, keras.Layer))


def _sparse_or_ragged(steps: Iterable[Step]) -> set[int]:
    """Return the keys of the tensors that are not dense.

    Keras also marks the product of a dense tensor and a constant as sparse, so the mark counts only
    where a sparse tensor goes in, or where the operation was asked for a sparse one.
    """
    found: set[int] = set()
    for step in steps:
        sparse = getattr(step.operation, "sparse", False) or not found.isdisjoint(step.inputs)
        marked = (one for one in step.node.outputs if one.ragged or (sparse and one.sparse))
        found.update(id(one) for one in marked)
    return found


def _reason(step: Step, *, dense: bool) -> str | None:
    """Return why the outputs of a step cannot be injected, or None when they can."""
    tensor = step.node.outputs[0]
    if len(step.node.outputs) != 1:
        return f"it has {len(step.node.outputs)} outputs; one is supported"
    if tensor.dtype not in bits.LAYOUTS:
        return f"it holds {tensor.dtype} values; supported are {', '.join(bits.LAYOUTS)}"
    if len(tensor.shape) == 0 or tensor.shape[0] is not None:
        return f"its output {tuple(tensor.shape)} is not one value or array a sample"
    if not dense:
        return "its output is sparse or ragged"
    return None
