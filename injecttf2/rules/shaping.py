"""Layers that move elements and leave them as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import tensorflow as tf
from keras import layers

from injecttf2.graph import Step
from injecttf2.rules.registry import only_window, rule
from injecttf2.windows import Differences, Offset, Window, unravelled


@rule(layers.Flatten, layers.Reshape, exact=True)
def reshape(step: Step, differences: Differences) -> Window | None:
    """Number the elements anew.

    A window that is no run of consecutive elements has no place. Where all windows lie in one
    channel it keeps the place that it had.
    """
    window = only_window(step, differences)
    before, after = (differences.shape(key) for key in (step.inputs[0], step.outputs[0]))
    if getattr(step.operation, "data_format", None) == "channels_first":
        return None
    count = math.prod(window.extents)
    if not _is_run(window, before) or (len(after) > 1 and count > 1):
        kept = differences.channel is not None and window.golden is not None and len(after) == 1
        return replace(window, shape=before) if kept else None
    first: Offset = 0
    for offset, size in zip(window.offsets, before, strict=True):
        first = first * size + offset
    extents = *[1] * (len(after) - 1), count
    return moved(window, unravelled(first, after), extents)


@rule(layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D, exact=True)
def zero_padding(step: Step, differences: Differences) -> Window | None:
    """Move the window by the padding in front."""
    layer, window = step.operation, only_window(step, differences)
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return None
    padding = layer.padding if isinstance(layer.padding[0], tuple) else (layer.padding,)
    before = (*(front for front, _ in padding), 0)
    offsets = tuple(
        offset + front if front else offset
        for offset, front in zip(window.offsets, before, strict=True)
    )
    return moved(window, offsets, window.extents)


def moved(window: Window, offsets: Sequence[Offset], extents: Sequence[int]) -> Window:
    """Return a window with the same elements at another place."""
    golden = None if window.golden is None else tf.reshape(window.golden, (-1, *extents))
    return Window(tuple(offsets), tf.reshape(window.values, (-1, *extents)), golden)


def _is_run(window: Window, shape: tuple[int, ...]) -> bool:
    """Return whether a window holds consecutive elements of a tensor of ``shape``."""
    sizes = list(zip(window.extents, shape, strict=True))
    while sizes and sizes[0][0] == 1:
        sizes.pop(0)
    return all(extent == size for extent, size in sizes[1:])
