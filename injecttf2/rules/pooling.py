"""Layers that pool."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from keras import layers, ops

from injecttf2.graph import Step
from injecttf2.rules.registry import only_window, rule
from injecttf2.rules.sliding import Sliding
from injecttf2.windows import Differences, Window


@rule(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D, exact=True)
def maximum_pooling(step: Step, differences: Differences) -> Window | None:
    """Pool the part of the input that the window reaches, in the window's channels."""
    return _pooling(step, differences, maximum=True)


@rule(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D)
def average_pooling(step: Step, differences: Differences) -> Window | None:
    """Pool the part of the input that the window reaches, in the window's channels."""
    if step.operation.padding != "valid":
        return None  # the padding is left out of the count
    return _pooling(step, differences, maximum=False)


def _pooling(step: Step, differences: Differences, *, maximum: bool) -> Window | None:
    layer, window = step.operation, only_window(step, differences)
    sliding = Sliding.of(step, differences, layer.pool_size, [1] * len(layer.pool_size))
    if sliding is None:
        return None
    reached = sliding.reached(window)
    channels = window.offsets[-1], window.extents[-1]
    box = (*reached.patch_offsets, channels[0]), (*reached.patch_extents, channels[1])
    outside = None if layer.padding == "valid" else -math.inf
    pool = ops.max_pool if maximum else ops.average_pool

    def pooled(patch: Any) -> Any:
        if maximum and math.prod(reached.extents) == 1:
            axes = list(range(1, 1 + len(reached.extents)))
            return tf.reduce_max(patch, axis=axes, keepdims=True)
        return pool(patch, layer.pool_size, strides=layer.strides, padding="valid")

    patch = differences.read(step.inputs[0], *box, outside=outside)
    values = pooled(patch)
    if not maximum:
        differences.doubt_sums(patch, gain=math.prod(layer.pool_size))
    golden = pooled(differences.golden_under(step.inputs[0], *box, outside=outside))
    return Window((*reached.offsets, channels[0]), values, golden)


@rule(layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D)
def global_average_pooling(step: Step, differences: Differences) -> Window | None:
    """Add the mean of the differences to the golden mean, in the window's channels."""
    layer, window = step.operation, only_window(step, differences)
    if layer.data_format != "channels_last" or layer.keepdims:
        return None
    axes = list(range(1, len(window.offsets)))
    size = math.prod(differences.shape(step.inputs[0])[:-1])
    delta = window.values - differences.golden_of(step.inputs[0])
    offsets, extents = window.offsets[-1:], window.extents[-1:]
    mean = differences.golden(step.outputs[0], offsets, extents)
    mean += tf.reduce_sum(delta, axis=axes) / size
    differences.doubt_sums(window.values, gain=size)
    return Window(offsets, mean)
