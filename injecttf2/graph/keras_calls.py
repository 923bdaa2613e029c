"""The calls that a graph of Keras' makes, those of nested models among them.

A nested ``Sequential`` or functional model is replaced by the calls inside it. Keras has one record
of those for all calls of the nested model, so each call gets symbolic tensors of its own. A model
that is called in a way of its own, or is given more than its inputs, stays one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from injecttf2.graph.keras_function import graph_run_by
from injecttf2.graph.keras_steps import Step
from injecttf2.graph.points import Addresses

Tensors = dict[int, Any]
"""Symbolic tensors of the flat graph by the id of those in a graph of Keras'."""


@dataclass(frozen=True)
class Flat:
    """A graph without nested models.

    Args:
        steps: All calls in the order of execution.
        inputs: Symbolic tensors that go in.
        outputs: Symbolic tensors that come out.
    """

    steps: tuple[Step, ...]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


class Conversion(keras.Operation):  # type: ignore[misc]  # Keras has no types
    """What a nested model does to an input that it takes in another dtype, or with a mask.

    Args:
        dtype: The dtype that it is cast to.
    """

    def __init__(self, dtype: str) -> None:
        super().__init__(name="conversion")
        self.dtype = dtype

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Cast a tensor and give it a mask, or the one that it has."""
        result = keras.ops.cast(tf.identity(inputs), self.dtype)  # whose mask others do not see
        result._keras_mask = getattr(inputs, "_keras_mask", None) if mask is None else mask
        return result

    def compute_output_spec(self, inputs: Any, mask: Any = None) -> Any:  # noqa: ARG002
        """Return what comes out, without computing it."""
        return keras.KerasTensor(inputs.shape, dtype=self.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return what decides what is computed."""
        return {"dtype": self.dtype}


@dataclass(frozen=True)
class _Call:
    path: str
    node: Any
    given: tuple[Any, ...]
    made: tuple[Any, ...]


def flatten(function: Any) -> Flat:
    """Return a graph of Keras' without nested models."""
    calls: list[_Call] = []
    tensors: Tensors = {}
    _walk(function, "", tensors, calls)
    addresses = Addresses([call.path for call in calls])
    return Flat(
        steps=tuple(
            Step(index, call.path, addresses.of(call.path), call.node, call.given, call.made)
            for index, call in enumerate(calls)
        ),
        inputs=tuple(tensors[id(one)] for one in function.inputs),
        outputs=tuple(tensors[id(one)] for one in function.outputs),
    )


def _walk(function: Any, prefix: str, tensors: Tensors, calls: list[_Call]) -> None:
    """Add the calls of a function in its own order of execution.

    Args:
        function: A graph of Keras'.
        prefix: Path of the nested model that it is.
        tensors: Those that go into a nested model; what the calls make is added.
        calls: Where to add them.
    """
    depths = sorted(function._nodes_by_depth, reverse=True)
    for node in [node for depth in depths for node in function._nodes_by_depth[depth]]:
        if node.is_input and prefix:
            continue
        path = f"{prefix}{node.operation.name}"
        inner = graph_run_by(node.operation)
        arguments = None if inner is None else _arguments(node, inner)
        if inner is not None and arguments is not None:
            entered: Tensors = {}
            for taken, (one, mask) in zip(inner.inputs, arguments, strict=True):
                given = [tensors[id(tensor)] for tensor in (one, mask) if tensor is not None]
                entered[id(taken)] = _entered(taken, given, path, calls)
            _walk(inner, f"{path}/", entered, calls)
            for outer, one in zip(node.outputs, inner.outputs, strict=True):
                tensors[id(outer)] = entered[id(one)]
            continue
        made = tuple(map(_copy, node.outputs) if prefix else node.outputs)
        tensors.update((id(one), own) for one, own in zip(node.outputs, made, strict=True))
        calls.append(_Call(path, node, tuple(tensors[id(one)] for one in node.input_tensors), made))


def _arguments(node: Any, function: Any) -> list[tuple[Any, Any]] | None:
    """Return the tensors that a nested model is called on, each with its mask or None.

    They come in the order of the model's inputs. None where it is called on anything else, which
    its ``call`` has ways of its own for.
    """
    args, kwargs = node.arguments.args, dict(node.arguments.kwargs)
    masks = keras.tree.flatten(kwargs.pop("mask", None))
    kwargs.pop("training", None)
    more = any(one is not None for one in kwargs.values())
    if len(args) != 1 or more or node.operation.supports_masking:
        return None
    given = args[0]
    if isinstance(given, dict) and not isinstance(function._inputs_struct, dict):
        if not {one.name for one in function.inputs} <= given.keys():
            return None
        given = [given[one.name] for one in function.inputs]
    flat = keras.tree.flatten(given)
    alike = len(flat) == len(function.inputs) and all(
        isinstance(one, keras.KerasTensor)
        and len(one.shape) == len(taken.shape)
        and not (one.sparse or taken.sparse or one.ragged or taken.ragged)
        for one, taken in zip(flat, function.inputs, strict=True)
    )
    if all(mask is None for mask in masks):
        masks = [None] * len(flat)
    elif isinstance(args[0], dict) or not all(map(_is_mask, masks)):
        return None  # Keras takes tensors of a dictionary by name, and masks by order
    return list(zip(flat, masks, strict=True)) if alike and len(masks) == len(flat) else None


def _entered(taken: Any, tensors: Sequence[Any], path: str, calls: list[_Call]) -> Any:
    """Return the tensor that a nested model computes on: the one given, or that one converted.

    Args:
        taken: Its input.
        tensors: What is given to it: a tensor, and a mask where there is one.
        path: Path of the nested model.
        calls: Where a conversion is added.
    """
    given, *masks = tensors
    if given.dtype == taken.dtype and not masks:
        return given
    operation = Conversion(str(taken.dtype))
    made = operation.symbolic_call(*tensors)
    node = operation._inbound_nodes[0]
    calls.append(_Call(f"{path}/{taken.name}", node, tuple(tensors), (made,)))
    return made


def _is_mask(mask: Any) -> bool:
    return mask is None or isinstance(mask, keras.KerasTensor)


def _copy(tensor: Any) -> Any:
    return keras.KerasTensor(
        tensor.shape, dtype=tensor.dtype, sparse=tensor.sparse, ragged=tensor.ragged
    )
