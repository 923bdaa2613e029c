"""Shapes of all tensors of a graph at one number of samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from injecttf2.graph.importing import Importer, Values
from injecttf2.graph.tracing import Trace

Shape = tuple[int | None, ...]
Shapes = Mapping[str, Shape | None]
"""Shapes of tensors by their names, None where even the rank is not known."""


def shapes_at(
    trace: Trace, importer: Importer, batch: int, data: Sequence[Any] | None = None
) -> Shapes:
    """Return the shapes of all tensors for a number of samples.

    What TensorFlow does not know without running a model, as behind a loop, is seen by running it
    on some samples, or on zeros.

    Args:
        trace: The model.
        importer: Of its graph.
        batch: Number of samples.
        data: Arrays [samples, ...] of each input; None where there are no data.
    """
    found: dict[str, Shape | None] = {}
    unknown: list[str] = []

    def forward(*tensors: Any) -> list[Any]:
        values: Values = dict(zip((one.name for one in trace.inputs), tensors, strict=True))
        given = set(values) | set(trace.captures)
        operations = [
            operation
            for operation in trace.graph.get_operations()
            if operation.outputs and operation.outputs[0].name not in given
        ]
        names = [tensor.name for operation in operations for tensor in operation.outputs]
        importer.copy(operations, values, names)
        for name in (*values,):
            found[name] = _shape(values[name])
            if None in (found[name] or (None,)) and values[name].dtype not in OPAQUE:
                unknown.append(name)
        return [tf.shape(values[name]) for name in unknown]

    specs = [tf.TensorSpec((batch, *one.shape[1:]), one.dtype) for one in trace.inputs]
    shapes = tf.function(forward, autograph=False).get_concrete_function(*specs)
    if unknown and (samples := _samples(specs, data)) is not None:
        try:
            seen = shapes(*samples)
        except tf.errors.OpError:  # it raises on the data, which is told elsewhere
            return found
        found.update(
            (name, tuple(shape.numpy().tolist())) for name, shape in zip(unknown, seen, strict=True)
        )
    return found


OPAQUE = (tf.resource, tf.variant)
"""dtypes of what has no elements."""


def _samples(specs: Sequence[Any], data: Sequence[Any] | None) -> list[Any] | None:
    """Return samples of some shapes, or None where these are not known."""
    if data is not None:
        rows = np.arange(specs[0].shape[0])
        return [
            tf.constant(array[rows % len(array)], spec.dtype)
            for array, spec in zip(data, specs, strict=True)
        ]
    if not all(spec.shape.is_fully_defined() for spec in specs):
        return None
    return [tf.zeros(spec.shape, spec.dtype) for spec in specs]


def constant_shapes(operations: Sequence[Any], shapes: Shapes) -> Mapping[str, Any]:
    """Return what operations give out that ask for nothing but a shape, where that is known.

    Args:
        operations: Of the graph.
        shapes: Of its tensors.

    Returns:
        Arrays by the names of tensors.
    """
    found: dict[str, Any] = {}
    for operation in operations:
        if operation.type not in ("Shape", "ShapeN", "Size", "Rank"):
            continue
        for given, made in zip(operation.inputs, operation.outputs, strict=True):
            shape = shapes.get(given.name)
            if shape is None or (None in shape and operation.type != "Rank"):
                continue
            sizes = [size or 0 for size in shape]
            value = {"Size": math.prod(sizes), "Rank": len(shape)}.get(operation.type, sizes)
            found[made.name] = np.array(value, made.dtype.as_numpy_dtype)
    return found


def _shape(tensor: Any) -> Shape | None:
    return None if tensor.shape.rank is None else tuple(tensor.shape)
