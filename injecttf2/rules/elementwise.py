"""Layers that map each element by itself: the window stays where it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from injecttf2.graph import Step
from injecttf2.rules.registry import only_window, rule
from injecttf2.windows import Differences, Window, positions

ACTIVATIONS = {
    keras.activations.get(name)
    for name in (
        "linear",
        "relu",
        "relu6",
        "leaky_relu",
        "elu",
        "selu",
        "celu",
        "gelu",
        "silu",
        "mish",
        "sigmoid",
        "hard_sigmoid",
        "hard_silu",
        "tanh",
        "softplus",
        "softsign",
        "exponential",
    )
}
"""Activations that map each element by itself; softmax and a user's own are not known to."""


def is_elementwise(activation: Any) -> bool:
    """Return whether an activation maps each element by itself."""
    return activation is None or activation in ACTIVATIONS


@rule(
    layers.ReLU,
    layers.LeakyReLU,
    layers.ELU,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.AlphaDropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.ActivityRegularization,
    layers.Identity,
    exact=True,
    flat=True,
)
def elementwise(step: Step, differences: Differences) -> Window:
    """Run the step on the values of the window."""
    return mapped(only_window(step, differences), lambda values: step.on({step.inputs[0]: values}))


@rule(layers.Activation, exact=True, flat=True)
def activation(step: Step, differences: Differences) -> Window | None:
    """Apply an activation to the values of the window, unless it mixes elements."""
    known = is_elementwise(step.operation.activation)
    return elementwise(step, differences) if known else None


@rule(layers.BatchNormalization, exact=True)
def batch_normalization(step: Step, differences: Differences) -> Window | None:
    """Scale and shift by the channels that the window lies in, as the layer itself does."""
    layer, window = step.operation, only_window(step, differences)
    axes = len(window.offsets)
    if layer.axis not in (-1, axes) or layer.compute_dtype != layer.variable_dtype:
        return None
    scale = tf.math.rsqrt(layer.moving_variance + layer.epsilon)
    if layer.scale:
        scale *= layer.gamma
    shift = -layer.moving_mean * scale
    if layer.center:
        shift += layer.beta
    channels = positions(window.offsets[-1], window.extents[-1])
    shape = (channels.shape[0], *[1] * (axes - 1), channels.shape[1])
    scale, shift = (tf.reshape(tf.gather(one, channels), shape) for one in (scale, shift))
    return mapped(window, lambda values: values * scale + shift)


def mapped(window: Window, function: Callable[[Any], Any]) -> Window:
    """Return the window of a function of each element."""
    golden = None if window.golden is None else function(window.golden)
    return replace(window, values=function(window.values), golden=golden)
