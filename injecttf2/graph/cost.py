"""The counted work of operations, in multiply-accumulates a sample.

Moving an element through memory takes about as long as ``ELEMENT`` of them, as measured with a
convolutional network on two cores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from injecttf2.graph.shapes import Shape

ELEMENT = 50.0


def elements(shape: Shape | None) -> int:
    """Return how many elements a tensor has; 0 where that is not known."""
    return 0 if shape is None else math.prod(size or 0 for size in shape)


def products(operation: Any, shapes: Mapping[str, Shape | None]) -> float:
    """Return the multiply-accumulates of an operation on whole batches; 0 where it is light."""
    kind = operation.type
    made = elements(shapes[operation.outputs[0].name]) if operation.outputs else 0
    given = [shapes.get(tensor.name) for tensor in operation.inputs]
    if kind in ("Conv2D", "Conv3D", "DepthwiseConv2dNative"):
        kernel = given[1] or (1,)
        depth = kernel[:-1] if kind != "DepthwiseConv2dNative" else kernel[:-2]
        return made * float(elements(depth))
    if kind in ("Conv2DBackpropInput", "Conv3DBackpropInputV2"):
        return elements(given[2]) * float(elements((given[1] or (1,))[:-1]))
    if kind in ("MatMul", "BatchMatMulV2", "BatchMatMulV3"):
        transposed = "transpose_a" if kind == "MatMul" else "adj_x"
        left = given[0] or (1,)
        return made * float(left[-2 if operation.get_attr(transposed) else -1] or 1)
    if kind == "Einsum":
        return math.sqrt(float(math.prod(elements(one) for one in given)) * made)
    return 0.0


def work(operation: Any, shapes: Mapping[str, Shape | None]) -> float:
    """Return the work of an operation on whole batches."""
    tensors = (*operation.inputs, *operation.outputs)
    moved = sum(elements(shapes.get(tensor.name)) for tensor in tensors)
    return products(operation, shapes) + ELEMENT * moved
