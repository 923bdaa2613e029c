"""Faster levels for a fault in one weight: it changes one channel of what the layer gives out.

A weight of a dense layer or a convolution is used for one output channel only, and so is one of a
batch normalisation. That channel is computed with the fault and without, and is the window that
the steps behind the layer begin with; so the tensor of the layer itself need not be golden data.

Shared by all samples of a batch, and so an argument of what is compiled, are the channel, the
place of a changed element in its column of the kernel, and of each weight of the layer the column
of that channel, with the fault and without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import layers, ops

from injecttf2.graph import Graph, Step
from injecttf2.path import Path
from injecttf2.rules.linear import activated, golden_sums, is_plain
from injecttf2.variables import weights_of
from injecttf2.windows import Differences, GoldenKey, Window

Columns = Sequence[Any]
"""Of each weight of a layer, in Keras' order, the part that one channel is computed with."""


class ChannelPath(Path):
    """The steps behind a layer in whose weights something is wrong.

    Args:
        graph: The model.
        layer: Address of the layer, which :func:`has_channels` says yes of.
        sparse: Steps behind the layer that are taken on windows; None takes all.
    """

    def __init__(self, graph: Graph, layer: str, sparse: int | None = None) -> None:
        super().__init__(graph, layer, sparse)
        self._step = graph.step(layer)
        self._weights = weights_of(graph, layer)
        self.frontier = graph.cut_of([layer], weights=True).frontier
        self.read = self._step.inputs
        self._exact = False  # the layer itself sums

    def inject(self, differences: Differences, shared: Sequence[Any], wrong: Sequence[Any]) -> None:
        """Compute the channel with the fault and without.

        Args:
            differences: A batch that is golden everywhere.
            shared: As :func:`channel_of` returns it.
            wrong: Nothing: it is the same in all samples.
        """
        del wrong
        self.go_on(differences, shared)
        _, place, *columns = shared
        faulty, golden = columns[: len(columns) // 2], columns[len(columns) // 2 :]
        compute = CHANNELS[type(self._step.operation)]
        differences.windows[self.target] = compute(self._step, differences, place, faulty, golden)

    def go_on(self, differences: Differences, shared: Sequence[Any]) -> None:
        """Say in which channel the windows of the batch lie."""
        differences.channel = shared[0]

    def single_specs(self, size: int) -> list[tf.TensorSpec]:
        """Return shape and dtype of the rows."""
        return [tf.TensorSpec((size,), tf.int32)]

    def shared_specs(self) -> tuple[tf.TensorSpec, ...]:
        """Return shapes and dtypes of what :func:`channel_of` returns."""
        index = tf.TensorSpec((), tf.int32)
        columns = [
            tf.TensorSpec(weight.variable.shape[:-1], weight.dtype) for weight in self._weights
        ]
        return (index, index, *columns, *columns)


def has_channels(graph: Graph, layer: str) -> bool:
    """Return whether each weight of a layer is known to be used for one output channel only."""
    place = graph.place(layer)
    if place.inner is not None or type(place.step.operation) not in CHANNELS:
        return False
    step = place.step
    if not _is_plain(step.operation, axes=len(graph.shape(step.outputs[0]))):
        return False
    return graph.reading.users([step.operation]) == [step]


def channel_of(
    golden: Sequence[npt.NDArray[Any]], changed: int, corrupted: npt.NDArray[Any]
) -> tuple[Any, ...] | None:
    """Return what a fault in a weight changes, as :class:`ChannelPath` takes it.

    Args:
        golden: All weights of the layer.
        changed: Which of them is corrupted.
        corrupted: Its values with the fault.

    Returns:
        The channel, the place in its column of the weight, and the columns of all weights with the
        fault and without; None where other than one element changed.
    """
    before = golden[changed]
    words = f"u{before.itemsize}"
    places = np.flatnonzero(corrupted.view(words) != before.view(words))
    if len(places) != 1:
        return None
    place, channel = divmod(int(places[0]), before.shape[-1])
    columns = [weight[..., channel] for weight in golden]
    faulty = list(columns)
    faulty[changed] = corrupted[..., channel]
    return tuple(
        tf.constant(one) for one in (np.int32(channel), np.int32(place), *faulty, *columns)
    )


def _is_plain(layer: Any, *, axes: int) -> bool:
    if isinstance(layer, layers.BatchNormalization):
        return layer.axis in (-1, axes) and layer.compute_dtype == layer.variable_dtype
    if not is_plain(layer) or layer.lora_enabled:  # whose kernel is made of three weights
        return False
    return isinstance(layer, layers.Dense) or (
        layer.groups == 1 and layer.data_format == "channels_last" and layer.padding != "causal"
    )


Compute = Callable[[Step, Differences, Any, Columns, Columns], Window]


def _dense(
    step: Step, differences: Differences, place: Any, faulty: Columns, golden: Columns
) -> Window:
    """Add what the changed weight adds to the golden sum of its channel."""
    shape = differences.shape(step.outputs[0])
    lead, extents = (0,) * (len(shape) - 1), (*shape[:-1], 1)

    def column(key: GoldenKey, number: Any) -> Any:
        return differences.golden(key, (*lead, _of_all(number, differences.rows)), extents)

    before = column(golden_sums(step), differences.channel)
    number = tf.minimum(place, faulty[0].shape[0] - 1)
    inputs = column(step.inputs[0], number)
    weight = faulty[0][number] - golden[0][number]
    bias = faulty[1] - golden[1] if len(faulty) > 1 else tf.zeros_like(weight)
    added = inputs * weight + bias
    differences.doubt_sums(tf.abs(inputs) * tf.abs(weight) + tf.abs(bias))
    return _window(step, differences, before + added, before)


def _convolution(
    step: Step, differences: Differences, place: Any, faulty: Columns, golden: Columns
) -> Window:
    """Convolve with the two columns of the kernel."""
    del place
    layer = step.operation
    inputs = differences.whole(step.inputs[0])
    total = ops.conv(
        inputs,
        tf.stack([faulty[0], golden[0]], axis=-1),
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
    )
    if layer.use_bias:
        total += tf.stack([faulty[1], golden[1]])
    axes = list(range(1, inputs.shape.rank))
    largest = tf.maximum(tf.reduce_max(inputs, axis=axes), -tf.reduce_min(inputs, axis=axes))
    gain = tf.maximum(*(sum(map(_magnitude, columns)) for columns in (faulty, golden)))
    differences.doubt_sums((largest * gain)[:, tf.newaxis])
    return _window(step, differences, total[..., :1], total[..., 1:])


def _batch_normalization(
    step: Step, differences: Differences, place: Any, faulty: Columns, golden: Columns
) -> Window:
    """Scale and shift the channel by its four numbers."""
    del place
    layer = step.operation
    shape = differences.shape(step.inputs[0])
    offsets = (*(0,) * (len(shape) - 1), _of_all(differences.channel, differences.rows))
    inputs = differences.golden(step.inputs[0], offsets, (*shape[:-1], 1))

    def normalised(columns: Columns) -> Any:
        given = iter(columns)
        gamma = next(given) if layer.scale else 1.0
        beta = next(given) if layer.center else 0.0
        mean, variance = given
        scale = tf.math.rsqrt(variance + layer.epsilon) * gamma
        return inputs * scale + (beta - mean * scale)

    values = normalised(faulty)
    differences.doubt_sums(values)
    return _window(step, differences, values, normalised(golden))


def _window(step: Step, differences: Differences, values: Any, golden: Any) -> Window:
    """Return the window of a channel, of sums with the fault and without."""
    axes = len(differences.shape(step.outputs[0]))
    offsets = (*(0,) * (axes - 1), _of_all(differences.channel, differences.rows))
    if isinstance(step.operation, layers.BatchNormalization):
        return Window(offsets, values, golden)
    values, golden = (activated(step.operation, total) for total in (values, golden))
    return Window(offsets, values, golden)


def _of_all(number: Any, rows: Any) -> Any:
    return tf.fill(rows.shape, number)


def _magnitude(column: Any) -> Any:
    return tf.reduce_sum(tf.abs(column))


CHANNELS: dict[type, Compute] = {
    layers.Dense: _dense,
    layers.Conv1D: _convolution,
    layers.Conv2D: _convolution,
    layers.Conv3D: _convolution,
    layers.BatchNormalization: _batch_normalization,
}
"""How one channel of a layer is computed, by the class of the layer."""
