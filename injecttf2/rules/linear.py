"""Layers that sum products with a kernel.

A convolution is evaluated on the part of the golden input that the window reaches, a dense layer
as a sum of the golden one and the difference. Sums are rounded in another order than in the whole
layer, so what follows is equal up to rounding only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from injecttf2.graph import Step
from injecttf2.rules.elementwise import is_elementwise
from injecttf2.rules.registry import only_window, rule
from injecttf2.rules.sliding import Sliding
from injecttf2.windows import Differences, GoldenKey, Sums, Window, positions

RANK_ONE = 8
"""Most elements of a dense layer's input that are followed one by one."""

WIDE = ("float32", "float64")
"""dtypes whose rounding is far below the tolerance of ``masked``."""


def sums(operation: Any, inputs: Any) -> Any:
    """Return what a dense layer gives out before its activation."""
    products = ops.matmul(inputs, operation.kernel)
    return products if operation.bias is None else ops.add(products, operation.bias)


def largest_gain(layer: Any) -> float:
    """Return the most that magnitudes add up to in a layer's sums, for inputs of magnitude 1."""
    with tf.init_scope():  # of the weights as they are, while a function is traced
        kernel = np.abs(layer.kernel.numpy()).astype(np.float64)
    depthwise = isinstance(layer, (layers.DepthwiseConv1D, layers.DepthwiseConv2D))
    axes = tuple(range(kernel.ndim - (2 if depthwise else 1)))
    return max(1.0, float(kernel.sum(axis=axes).max()))


def is_plain(operation: Any) -> bool:
    """Return whether a layer's kernel is used as it is, in a dtype that rounds finely."""
    return (
        operation.compute_dtype in WIDE
        and operation.compute_dtype == operation.variable_dtype
        and not getattr(operation, "quantization_mode", None)
        and is_elementwise(operation.activation)
    )


def activated(operation: Any, total: Any) -> Any:
    """Return what a layer gives out, from its sums."""
    return total if operation.activation is None else operation.activation(total)


@rule(layers.Dense, flat=True)
def dense(step: Step, differences: Differences) -> Window | None:
    """Add ``difference * kernel[k, :]`` to the golden sums, for each input k that differs."""
    layer, window = step.operation, only_window(step, differences)
    if window.shape is not None:
        return _dense_of_channel(step, differences)
    changed = window.extents[-1]
    if not is_plain(layer) or changed > RANK_ONE:
        return None
    lead = len(window.offsets) - 1
    delta = window.values - differences.golden_of(step.inputs[0])
    places = positions(window.offsets[-1], changed)
    places = tf.reshape(places, (-1, *[1] * lead, changed))
    kernel = tf.gather(layer.kernel, places)
    offsets = (*window.offsets[:-1], 0)
    extents = (*window.extents[:-1], layer.units)
    total = differences.golden(golden_sums(step), offsets, extents)
    for index in range(changed):
        total += delta[..., index : index + 1] * kernel[..., index, :]
    # Looking at every sum would take longer than summing.
    products = tf.abs(delta) * tf.gather(_largest_weights(layer), places)
    differences.doubt_sums(tf.reduce_sum(products, axis=-1, keepdims=True))
    return Window(offsets, activated(layer, total))


def _dense_of_channel(step: Step, differences: Differences) -> Window | None:
    """Add ``difference @ kernel`` of the places of one channel to the golden sums."""
    layer, window = step.operation, only_window(step, differences)
    assert window.shape is not None  # noqa: S101 - by the caller, for the type checker
    places = math.prod(window.shape[:-1])
    if not is_plain(layer) or window.extents != (*window.shape[:-1], 1):
        return None
    kernel = tf.reshape(layer.kernel, (places, window.shape[-1], layer.units))
    kernel = tf.gather(kernel, differences.channel, axis=1)
    delta = tf.reshape(window.values - window.golden, (-1, places))
    total = differences.golden(golden_sums(step), (0,), (layer.units,))
    differences.doubt_sums(delta, gain=largest_gain(layer))
    return Window((0,), activated(layer, total + tf.matmul(delta, kernel)))


def golden_sums(step: Step) -> GoldenKey:
    """Return the golden key of what a dense layer gives out before its activation."""
    linear = step.operation.activation in (None, keras.activations.linear)
    return step.outputs[0] if linear else Sums(step.layer)


def _largest_weights(layer: layers.Dense) -> Any:
    """Return the largest magnitude of the weights of each input."""
    with tf.init_scope():
        return tf.reduce_max(tf.abs(layer.kernel), axis=-1)


SUMMING = (
    layers.Dense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
)
"""Layers of which :func:`largest_gain` holds."""


@rule(layers.Conv1D, layers.Conv2D, layers.Conv3D)
def convolution(step: Step, differences: Differences) -> Window | None:
    """Convolve the part of the input that the window reaches."""
    return _convolution(step, differences, ops.conv)


@rule(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
def depthwise_convolution(step: Step, differences: Differences) -> Window | None:
    """Convolve the part of the input that the window reaches, channel by channel."""
    return _convolution(step, differences, ops.depthwise_conv)


def _convolution(
    step: Step, differences: Differences, convolve: Callable[..., Any]
) -> Window | None:
    layer, window = step.operation, only_window(step, differences)
    if not is_plain(layer):
        return None
    sliding = Sliding.of(step, differences, layer.kernel_size, layer.dilation_rate)
    if sliding is None:
        return None
    reached = sliding.reached(window)
    patch = differences.read(
        step.inputs[0],
        (*reached.patch_offsets, 0),
        (*reached.patch_extents, differences.shape(step.inputs[0])[-1]),
        outside=None if layer.padding == "valid" else 0.0,
    )
    total = convolve(
        patch,
        layer.kernel,
        strides=layer.strides,
        padding="valid",
        dilation_rate=layer.dilation_rate,
    )
    if layer.bias is not None:
        total += layer.bias
    differences.doubt_sums(patch, gain=largest_gain(layer))
    return Window((*reached.offsets, 0), activated(layer, total))
