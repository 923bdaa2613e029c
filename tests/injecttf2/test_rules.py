"""Every rule against the layer itself: a fault in every element of the input."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from injecttf2.graph import Graph, Step
from injecttf2.path import Path
from injecttf2.rules import EXACT, RULES, linear, output_window, rule
from injecttf2.rules.linear import sums
from injecttf2.windows import Differences, Sums, Window

SIGN = np.uint32(1 << 31)

Build = Callable[[], keras.Model]


def chain(shape: tuple[int, ...], *stack: layers.Layer) -> Build:
    """A model of layers one behind the other."""

    def build() -> keras.Model:
        inputs = x = keras.Input(shape, name="input")
        for layer in stack:
            x = layer.__class__.from_config(layer.get_config())(x)
        return keras.Model(inputs, x)

    return build


def with_skip(join: layers.Layer) -> Build:
    """A convolution, by-passed, and both joined."""

    def build() -> keras.Model:
        inputs = keras.Input((6, 5, 2), name="input")
        x = layers.Conv2D(2, 3, padding="same")(inputs)
        return keras.Model(inputs, join.__class__.from_config(join.get_config())([x, inputs]))

    return build


def with_golden_branch(join: layers.Layer) -> Build:
    """A layer beside the one that is hit."""

    def build() -> keras.Model:
        inputs = keras.Input((6, 5, 2), name="image")
        hit = layers.Identity(name="input")(inputs)
        beside = layers.Conv2D(2, 1)(inputs)
        return keras.Model(inputs, join.__class__.from_config(join.get_config())([beside, hit]))

    return build


def operators() -> keras.Model:
    inputs = keras.Input((4, 3), name="input")
    return keras.Model(inputs, (layers.ReLU()(inputs) + inputs) * inputs - layers.ReLU()(inputs))


IMAGE = (6, 5, 2)

EXACT_RULES: dict[str, Build] = {
    "relu": chain(IMAGE, layers.ReLU()),
    "leaky_relu": chain(IMAGE, layers.LeakyReLU()),
    "dropout": chain(IMAGE, layers.Dropout(0.5)),
    "activation": chain(IMAGE, layers.Activation("relu")),
    "batch_normalization_of_channels": chain(
        IMAGE, layers.BatchNormalization(), layers.BatchNormalization(scale=False, center=False)
    ),
    "max_pooling": chain(IMAGE, layers.MaxPooling2D()),
    "max_pooling_same_overlapping": chain(IMAGE, layers.MaxPooling2D(3, 2, padding="same")),
    "max_pooling_1d": chain((9, 2), layers.MaxPooling1D(3, strides=2)),
    "max_pooling_3d": chain((4, 4, 5, 2), layers.MaxPooling3D(2)),
    "pool_of_pool": chain((12, 9, 2), layers.MaxPooling2D(2, 1), layers.MaxPooling2D(3, 2)),
    "flatten": chain(IMAGE, layers.Flatten()),
    "reshape": chain(IMAGE, layers.Reshape((5, 12))),
    "zero_padding": chain(IMAGE, layers.ZeroPadding2D(((1, 2), (0, 3)))),
    "zero_padding_1d": chain((7, 2), layers.ZeroPadding1D((2, 1))),
    "concatenate_a_golden_branch": with_golden_branch(layers.Concatenate()),
    "concatenate_along_rows": with_golden_branch(layers.Concatenate(axis=1)),
    "add_a_golden_branch": with_golden_branch(layers.Add()),
    "operators": operators,
    "max_pooling_of_the_whole_map": chain(
        (4, 4, 2), layers.MaxPooling2D(2, 1, padding="same"), layers.MaxPooling2D(4)
    ),
}

SUMMING_RULES: dict[str, Build] = {
    "dense": chain((7,), layers.Dense(5, activation="relu")),
    "dense_linear": chain((7,), layers.Dense(5)),
    "dense_without_bias": chain((7,), layers.Dense(5, use_bias=False, activation="tanh")),
    "dense_on_the_last_axis": chain((4, 7), layers.Dense(5, activation="relu")),
    "conv_same": chain(IMAGE, layers.Conv2D(3, 3, padding="same")),
    "conv_valid_relu": chain(IMAGE, layers.Conv2D(3, (2, 3), activation="relu")),
    "conv_strided": chain((7, 6, 2), layers.Conv2D(3, 3, strides=2, padding="same")),
    "conv_strided_past_its_kernel": chain((7, 8, 2), layers.Conv2D(3, 1, strides=3)),
    "conv_dilated": chain((9, 8, 2), layers.Conv2D(3, 3, dilation_rate=2, padding="same")),
    "conv_grouped": chain((5, 5, 4), layers.Conv2D(4, 3, groups=2)),
    "conv_1d": chain((9, 2), layers.Conv1D(3, 3, padding="same")),
    "conv_3d": chain((4, 5, 4, 2), layers.Conv3D(2, 3, padding="same")),
    "depthwise": chain(IMAGE, layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")),
    "depthwise_1d": chain((9, 2), layers.DepthwiseConv1D(3)),
    "average_pooling": chain(IMAGE, layers.AveragePooling2D(2)),
    "global_average_pooling": chain(IMAGE, layers.GlobalAveragePooling2D()),
    "growing": chain(
        (14, 14, 2),
        layers.Conv2D(3, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv2D(2, 3, strides=2, padding="same"),
        layers.MaxPooling2D(2, 1),
    ),
    "add_a_skip": with_skip(layers.Add()),
    "subtract_a_skip": with_skip(layers.Subtract()),
    "multiply_by_a_skip": with_skip(layers.Multiply()),
    "average_with_a_skip": with_skip(layers.Average()),
    "maximum_with_a_skip": with_skip(layers.Maximum()),
    "concatenate_a_skip": with_skip(layers.Concatenate()),
}


def negating(count: int) -> tuple[Any, Any]:
    """Keep and flip of words of which the sign changes."""
    return tf.fill((count,), np.uint32(2**32 - 1)), tf.fill((count,), SIGN)


class Golden:
    """Golden tensors of one sample, by key."""

    def __init__(self, model: keras.Model) -> None:
        keras.utils.set_random_seed(1)
        for variable in model.weights:
            variable.assign(np.random.default_rng(2).uniform(0.2, 1.0, variable.shape))
        self.graph = Graph(model)
        shape = self.graph.shape(id(self.graph.input))
        sample = np.random.default_rng(3).normal(size=(1, *shape)).astype(np.float32)
        self.values = self.graph.run(self.graph.steps, {id(self.graph.input): tf.constant(sample)})

    def __call__(self, key: Any) -> Any:
        if isinstance(key, Sums):
            step = self.graph.step(key.layer)
            return sums(step.operation, self.values[step.inputs[0]])
        return self.values[key]


@functools.cache
def both_ways(build: Build, *, jit: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The output with a fault in each element: on windows, in full, and golden outside of them."""
    keras.utils.clear_session(free_memory=False)
    golden = Golden(build())
    graph = golden.graph
    steps = graph.cut("input").suffix
    path = Path(graph, "input", sparse=len(steps))
    target, output = graph.cut("input").frontier[0], id(graph.output)
    elements = int(np.prod(graph.shape(target)))

    def on_windows(mark: bool) -> Any:
        rows = tf.zeros((elements,), tf.int32)
        differences = path.differences(rows, golden, xla=jit)
        path.inject(differences, (), (tf.range(elements), *negating(elements)))
        path.run(differences, 0, len(steps))
        if mark:
            window = differences.windows[output]
            nans = tf.fill(window.values.shape, np.nan)
            differences.windows[output] = Window(window.offsets, nans)
        return differences.whole(output)

    run = tf.function(on_windows, autograph=False, jit_compile=jit)
    result, covered = run(False), run(True)
    faulty = np.repeat(golden.values[target].numpy(), elements, axis=0)
    flat = faulty.reshape(elements, elements)
    np.fill_diagonal(flat, -np.diagonal(flat))
    values = {key: np.repeat(one.numpy(), elements, axis=0) for key, one in golden.values.items()}
    values[target] = faulty
    dense = graph.run(steps, {key: tf.constant(one) for key, one in values.items()})[output]
    unchanged = ~np.isnan(covered.numpy())
    golden_rows = np.repeat(golden.values[output].numpy(), elements, axis=0)
    return result.numpy(), dense.numpy(), np.where(unchanged, golden_rows, dense.numpy())


@pytest.mark.parametrize("name", EXACT_RULES)
def test_layers_that_sum_nothing_are_equal_on_windows(name: str) -> None:
    result, dense, _ = both_ways(EXACT_RULES[name], jit=False)
    np.testing.assert_array_equal(result, dense)


@pytest.mark.parametrize("name", SUMMING_RULES)
def test_layers_that_sum_are_equal_up_to_rounding_on_windows(name: str) -> None:
    result, dense, _ = both_ways(SUMMING_RULES[name], jit=False)
    np.testing.assert_allclose(result, dense, rtol=1e-5, atol=1e-5)


@pytest.mark.full
@pytest.mark.parametrize("name", SUMMING_RULES)
def test_xla_gives_the_same_up_to_rounding(name: str) -> None:
    result, dense, _ = both_ways(SUMMING_RULES[name], jit=True)
    np.testing.assert_allclose(result, dense, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [*EXACT_RULES, *SUMMING_RULES])
def test_nothing_differs_outside_of_the_window(name: str) -> None:
    _, dense, allowed = both_ways({**EXACT_RULES, **SUMMING_RULES}[name], jit=False)
    np.testing.assert_allclose(dense, allowed, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "build",
    [
        chain((4,), layers.Dense(3, activation="softmax")),
        chain((4,), layers.Activation("softmax")),
        chain((4,), layers.Dense(3, dtype="mixed_bfloat16")),
        chain(IMAGE, layers.AveragePooling2D(2, padding="same")),
        chain((6, 2), layers.Conv1D(2, 3, padding="causal")),
        chain(IMAGE, layers.GlobalAveragePooling2D(keepdims=True)),
        chain((4,), layers.LayerNormalization()),
    ],
)
def test_a_layer_that_changes_more_than_a_window_ends_the_sparse_part(build: Build) -> None:
    keras.utils.clear_session(free_memory=False)
    golden = Golden(build())
    (step,) = golden.graph.cut("input").suffix
    path = Path(golden.graph, "input", sparse=1)
    differences = path.differences(tf.zeros((2,), tf.int32), golden, xla=False)
    path.inject(differences, (), (tf.range(2), *negating(2)))
    assert output_window(step, differences) is None


def test_a_constant_with_axes_has_its_places() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((4, 3), name="input")
    golden = Golden(keras.Model(inputs, inputs - np.array([1.0, 2.0, 3.0], np.float32)))
    (step,) = golden.graph.cut("input").suffix
    differences = Differences(tf.zeros((1,), tf.int32), golden, golden.graph.shape, xla=False)
    differences.windows[step.inputs[0]] = Window((0, 0), tf.ones((1, 1, 1)))
    assert output_window(step, differences) is None


def test_a_window_of_several_rows_cannot_be_flattened() -> None:
    keras.utils.clear_session(free_memory=False)
    golden = Golden(chain(IMAGE, layers.Flatten())())
    (step,) = golden.graph.cut("input").suffix
    differences = Differences(tf.zeros((1,), tf.int32), golden, golden.graph.shape, xla=False)
    differences.windows[step.inputs[0]] = Window((0, 0, 0), tf.zeros((1, 2, 2, 2)))
    assert output_window(step, differences) is None
    differences.windows[step.inputs[0]] = Window((0, 3, 0), tf.ones((1, 1, 2, 2)))
    window = output_window(step, differences)
    assert window is not None
    assert (window.offsets, window.extents) == ((6,), (4,))


def test_one_registers_a_rule_without_touching_the_engine() -> None:
    class Doubled(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return 2 * inputs

    @rule(Doubled, exact=True)
    def doubled(step: Step, differences: Differences) -> Window:
        window = differences.windows[step.inputs[0]]
        return Window(window.offsets, 2 * window.values)

    try:
        result, dense, _ = both_ways(chain((5,), Doubled()), jit=False)
        np.testing.assert_array_equal(result, dense)
    finally:
        RULES.pop(Doubled)
        EXACT.discard(Doubled)


def test_a_rule_holds_for_exactly_its_class() -> None:
    class Squared(layers.ReLU):
        def call(self, inputs: Any) -> Any:
            return inputs * inputs

    golden = Golden(chain((5,), Squared())())
    (step,) = golden.graph.cut("input").suffix
    differences = Differences(tf.zeros((1,), tf.int32), golden, golden.graph.shape, xla=False)
    differences.windows[step.inputs[0]] = Window((0,), tf.ones((1, 1)))
    assert output_window(step, differences) is None


def test_sums_that_overflow_are_doubtful() -> None:
    keras.utils.clear_session(free_memory=False)
    golden = Golden(chain((4,), layers.Dense(3))())
    (step,) = golden.graph.cut("input").suffix
    differences = Differences(tf.zeros((3,), tf.int32), golden, golden.graph.shape, xla=False)
    huge = tf.constant([[1.0], [3e38], [np.nan]])
    differences.windows[step.inputs[0]] = Window((0,), huge)
    assert output_window(step, differences) is not None
    assert differences.doubtful.numpy().tolist() == [False, True, True]


def test_sums_that_cancel_are_doubtful() -> None:
    """Two huge inputs and weights of 1 and -1: the sum is 0, but in no order of more of them."""
    keras.utils.clear_session(free_memory=False)
    golden = Golden(chain((4, 1), layers.Conv1D(1, 2))())
    (step,) = golden.graph.cut("input").suffix
    step.operation.set_weights([np.array([[[1.0]], [[-1.0]]]), np.zeros(1)])
    differences = Differences(tf.zeros((3,), tf.int32), golden, golden.graph.shape, xla=False)
    values = tf.constant([[[1e38]] * 4, [[3e38]] * 4, [[1.0]] * 4])
    differences.windows[step.inputs[0]] = Window((0, 0), values)
    window = output_window(step, differences)
    assert window is not None
    assert window.values.numpy().tolist() == [[[0.0]] * 3] * 3
    assert differences.doubtful.numpy().tolist() == [True, True, False]
    assert linear.largest_gain(step.operation) == 2
