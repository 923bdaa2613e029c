"""Layers that join several tensors of one shape, or one behind the other."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers

from injecttf2.graph import Step
from injecttf2.rules.registry import rule
from injecttf2.rules.shaping import moved
from injecttf2.windows import Differences, Offset, Window, contains

# What `x + y` on Keras tensors makes; the classes are not public.
OPERATORS = tuple(
    type(operator(keras.KerasTensor((None, 1)), keras.KerasTensor((None, 1)))._keras_history[0])
    for operator in (keras.ops.add, keras.ops.subtract, keras.ops.multiply)
)


@rule(
    layers.Add,
    layers.Subtract,
    layers.Multiply,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    *OPERATORS,
    exact=True,
)
def merge(step: Step, differences: Differences) -> Window | None:
    """Run the step on the largest of the windows."""
    if len({differences.shape(key) for key in step.inputs}) > 1:
        return None  # one of them is broadcast
    if _takes_array(step):
        return None  # its elements belong to certain places
    base = _largest(step, differences)
    boxes = {key: differences.read(key, base.offsets, base.extents) for key in step.inputs}
    return Window(base.offsets, step.on(boxes))


@rule(layers.Concatenate, exact=True)
def concatenate(step: Step, differences: Differences) -> Window | None:
    """Move the window along the axis; of several, take their common box on all other axes."""
    axes = len(differences.shape(step.outputs[0]))
    axis = step.operation.axis
    axis = axis - 1 if axis > 0 else axis + axes
    if axis < 0:
        return None
    sizes = [differences.shape(key)[axis] for key in step.inputs]
    live = [index for index, key in enumerate(step.inputs) if key in differences.windows]
    if len(live) == 1:
        window = differences.windows[step.inputs[live[0]]]
        offsets = list(window.offsets)
        offsets[axis] = offsets[axis] + sum(sizes[: live[0]])
        return moved(window, offsets, window.extents)
    base = _largest(step, differences, without=axis)

    def box(size: int) -> tuple[tuple[Offset, ...], tuple[int, ...]]:
        offsets = (*base.offsets[:axis], 0, *base.offsets[axis + 1 :])
        return offsets, (*base.extents[:axis], size, *base.extents[axis + 1 :])

    boxes = {
        key: differences.read(key, *box(size)) for key, size in zip(step.inputs, sizes, strict=True)
    }
    return Window(box(sum(sizes))[0], step.on(boxes))


def _takes_array(step: Step) -> bool:
    """Return whether one of a step's arguments is an array that is no tensor of the model."""
    arguments = keras.tree.flatten((step.node.arguments.args, step.node.arguments.kwargs))
    others = [one for one in arguments if not isinstance(one, keras.KerasTensor)]
    return any(np.ndim(one) > 0 for one in others)


def _largest(step: Step, differences: Differences, without: int | None = None) -> Window:
    """Return the largest window of a step's inputs.

    A sample in which it does not contain the others is marked as doubtful.

    Args:
        step: The step.
        differences: The differences so far.
        without: An axis that does not matter.
    """
    windows = [differences.windows[key] for key in step.inputs if key in differences.windows]
    base = max(windows, key=lambda window: math.prod(window.extents))
    for window in windows:
        inside: Any = contains(base, window, without=without)
        if inside is not True:
            differences.doubtful |= ~inside
    return base
