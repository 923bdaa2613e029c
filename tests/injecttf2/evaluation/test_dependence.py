"""A model whose output for a sample is not its own is refused, by the layer where that begins."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from injecttf2.datasets import Dataset
from injecttf2.errors import ModelError
from injecttf2.evaluation import dependence
from injecttf2.evaluation.dependence import AGAIN, BESIDE_OTHERS
from injecttf2.graph.model_graph import ModelGraph
from tests import networks
from tests.families import FAMILIES

pytestmark = pytest.mark.filterwarnings(
    "ignore:Layer 'inner' .of type Functional. was passed an input with a mask:UserWarning"
)

SAMPLES = np.random.default_rng(0).normal(size=(60, 6)).astype("float32")


class Own(layers.Layer):
    """A layer of the user's own, which calls a function with itself."""

    def __init__(self, function: Callable[[Any, Any], Any], **options: Any) -> None:
        super().__init__(name="own", **options)
        self.function = function
        self.seeds = keras.random.SeedGenerator(7)
        self.dropout = layers.Dropout(0.5, seed=1, name="dropout")
        self.norm = layers.BatchNormalization(name="norm")
        self.noise = layers.GaussianNoise(0.01, seed=1, name="noise")
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")
        self.count = tf.Variable(0.0)

    def build(self, shape: Any) -> None:
        """Build the only layer that has weights."""
        self.norm.build(shape)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return as many features as go in."""
        return self.function(self, inputs)

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the same shape."""
        return shape


def network(layer: Any, **options: Any) -> keras.Model:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(2)
    inputs = keras.Input((6,), name="features")
    x = layers.Dense(12, activation="relu", name="hidden")(inputs)
    return keras.Model(inputs, layers.Dense(4, name="scores")(layer(x, **options)))


def check(model: keras.Model, inputs: Any = SAMPLES, output: str | None = None) -> None:
    dependence.check(ModelGraph.of(model, inputs, output=output), Dataset(inputs, None))


def sampled(layer: Own, x: Any) -> Any:
    """As a variational autoencoder does."""
    noise = keras.random.normal((6,), seed=layer.seeds)
    return ops.tile(x[:, :6] + ops.exp(x[:, 6:] / 2) * noise, (1, 2))


def counted(layer: Own, x: Any) -> Any:
    layer.calls.assign(layer.calls + 1)
    return x * layer.calls


def counted_by_tensorflow(layer: Own, x: Any) -> Any:
    return x * (layer.count.assign_add(1.0) + 1.0)


def drawn(_: Own, x: Any) -> Any:
    return x + np.random.default_rng().normal(size=12).astype("float32")


BY_CHANCE: dict[str, tuple[Callable[[Own, Any], Any], str]] = {
    "keras_random": (lambda o, x: x + keras.random.normal(ops.shape(x), seed=o.seeds), "own"),
    "vae": (sampled, "own"),
    "monte_carlo_dropout": (lambda o, x: o.dropout(x, training=True), "own/dropout"),
    "noise_layer": (lambda o, x: o.noise(x, training=True), "own/noise"),
    "tf_random": (lambda _, x: x * tf.random.uniform(tf.shape(x)), "own"),
    "tf_random_with_a_seed": (lambda _, x: x * tf.random.uniform(tf.shape(x), seed=3), "own"),
    "numpy_random": (drawn, "own"),
    "counter": (counted, "own"),
    "counter_of_tensorflow": (counted_by_tensorflow, "own"),
}


@pytest.mark.parametrize("name", BY_CHANCE)
def test_a_layer_that_gives_out_other_values_the_second_time_is_named(name: str) -> None:
    function, begins = BY_CHANCE[name]
    with pytest.raises(ModelError) as error:
        check(network(Own(function)))
    kind = begins.rpartition("/")[2].capitalize().replace("Noise", "GaussianNoise")
    assert error.value.message == (
        "what the model gives out for a sample is not its own: the layer "
        f"{begins!r} ({kind}) gives out other values {AGAIN}"
    )
    assert "when training is False" in str(error.value.hint)


def attention(_: Own, x: Any) -> Any:
    return tf.nn.softmax(x @ tf.transpose(x), axis=1) @ x


def place_noise(_: Own, x: Any) -> Any:
    """Noise that is the same in every call, and so another at each place of a batch."""
    return x + 0.01 * tf.random.stateless_normal(tf.shape(x), seed=[1, 2])


def quantised(_: Own, x: Any) -> Any:
    """To 8 bits, by the largest value of the batch."""
    scale = tf.reduce_max(tf.abs(x)) / 127
    return tf.round(x / scale) * scale


def best_of_batch(_: Own, x: Any) -> Any:
    best, _ = tf.math.top_k(tf.transpose(x), k=3)
    return x * tf.cast(x >= tf.transpose(best)[-1:], x.dtype)


BY_NEIGHBOURS: dict[str, tuple[Callable[[Own, Any], Any], str]] = {
    "mean": (lambda _, x: x - ops.mean(x, axis=0, keepdims=True), "own"),
    "largest": (lambda _, x: x / (1 + ops.max(ops.abs(x))), "own"),
    "batch_statistics": (lambda o, x: o.norm(x, training=True), "own/norm"),
    "sort": (lambda _, x: tf.sort(x, axis=0), "own"),
    "top_k": (best_of_batch, "own"),
    "cumulative_sum": (lambda _, x: tf.cumsum(x, axis=0), "own"),
    "attention": (attention, "own"),
    "place_noise": (place_noise, "own"),
    "quantised": (quantised, "own"),
    "tiny_mean": (lambda _, x: x - 1e-4 * ops.mean(x, axis=0, keepdims=True), "own"),
    "next_sample": (lambda _, x: tf.roll(x, 1, axis=0), "own"),
    "size": (lambda _, x: x / tf.cast(tf.shape(x)[0], x.dtype), "own"),
    "size_by_keras": (lambda _, x: x * ops.cast(ops.shape(x)[0], x.dtype), "own"),
    "size_as_a_sum": (lambda _, x: x / tf.reduce_sum(0 * x + 1, axis=0), "own"),
    "size_as_a_limit": (lambda _, x: tf.where(tf.shape(x)[0] > 20, x, -x), "own"),
}


@pytest.mark.parametrize("name", BY_NEIGHBOURS)
def test_a_layer_that_heeds_other_samples_is_named(name: str) -> None:
    function, begins = BY_NEIGHBOURS[name]
    with pytest.raises(ModelError) as error:
        check(network(Own(function)))
    kind = "BatchNormalization" if begins == "own/norm" else "Own"
    assert error.value.message == (
        "what the model gives out for a sample is not its own: the layer "
        f"{begins!r} ({kind}) gives out other values {BESIDE_OTHERS}"
    )
    assert "over the batch" in str(error.value.hint)


def test_in_a_subclassed_model_it_is_the_first_layer_that_gives_out_other_values() -> None:
    class Centring(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="centring")
            self.hidden = layers.Dense(5, name="hidden")
            self.scores = layers.Dense(4, name="scores")

        def call(self, inputs: Any) -> Any:
            x = self.hidden(inputs)
            return self.scores(x - ops.mean(x, axis=0))

    model = Centring()
    model(SAMPLES[:2])
    with pytest.raises(ModelError) as error:
        check(model)
    assert error.value.message.endswith(
        f"the layer 'scores' (Dense) gives out other values {BESIDE_OTHERS}"
    )


def test_neighbours_of_whole_numbers_are_others_too() -> None:
    class Centring(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="centring")
            self.embedding = layers.Embedding(20, 12, name="embedding")
            self.scores = layers.Dense(4, name="scores")

        def call(self, tokens: Any) -> Any:
            x = ops.mean(self.embedding(tokens), axis=1)
            return self.scores(x - ops.mean(x, axis=0, keepdims=True))

    model = Centring()
    tokens = np.random.default_rng(0).integers(0, 20, (60, 7)).astype("int32")
    model(tokens[:2])
    with pytest.raises(ModelError, match=f"'scores' .*{BESIDE_OTHERS}"):
        check(model, tokens)


def test_neighbours_are_others_where_a_check_lets_no_huge_values_pass() -> None:
    def guarded(_: Own, x: Any) -> Any:
        tf.debugging.assert_less(tf.abs(x), 100.0)
        return x - ops.mean(x, axis=0, keepdims=True)

    with pytest.raises(ModelError, match=f"'own' .*{BESIDE_OTHERS}"):
        check(network(Own(guarded)))


def test_a_check_of_what_mixes_samples_does_not_hide_where_that_begins() -> None:
    def guarded(_: Own, x: Any) -> Any:
        tf.debugging.assert_less(tf.abs(x), 100.0)
        return x

    inputs = keras.Input((6,), name="features")
    x = layers.Dense(12, name="hidden")(inputs)
    mean = Own(guarded)(layers.Lambda(lambda x: ops.mean(x, axis=0, keepdims=True), name="mean")(x))
    with pytest.raises(ModelError, match=f"'mean' .*{BESIDE_OTHERS}"):
        check(keras.Model(inputs, layers.Dense(4, name="scores")(x - mean)))


def test_a_layer_that_mixes_samples_is_named_behind_its_last_use_of_them() -> None:
    class Mean(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.mean(x, axis=0, keepdims=True)

        def compute_output_shape(self, shape: Any) -> Any:
            return (1, *shape[1:])

    inputs = keras.Input((6,), name="features")
    mean = Mean(name="mean")(layers.Dense(12, name="hidden")(inputs))
    x = layers.Dense(12, name="other")(inputs) - mean
    with pytest.raises(ModelError, match=r"'mean' \(Mean\)"):
        check(keras.Model(inputs, layers.Dense(4, name="scores")(x)))


def test_a_batch_size_that_by_passes_is_seen_where_it_is_taken() -> None:
    inputs = keras.Input((6,), name="features")
    x = layers.Dense(12, name="hidden")(inputs)
    count = layers.Lambda(
        lambda x: tf.cast(tf.shape(x)[0], x.dtype), output_shape=lambda _: (), name="count"
    )(x)
    with pytest.raises(ModelError, match=f"'count' .*{BESIDE_OTHERS}"):
        check(keras.Model(inputs, layers.Dense(4, name="scores")(x / count)))


def test_a_batch_size_does_not_matter_where_the_model_has_one() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input(batch_shape=(4, 6), name="features")
    x = layers.Lambda(lambda x: x / tf.cast(tf.shape(x)[0], x.dtype), name="share")(inputs)
    check(keras.Model(inputs, layers.Dense(4, name="scores")(x)))


def test_a_layer_that_takes_some_batch_sizes_only_is_named() -> None:
    def in_eights(_: Own, x: Any) -> Any:
        tf.debugging.assert_equal(tf.shape(x)[0] % 8, 0)
        return x

    model = network(Own(in_eights))
    with pytest.raises(ModelError) as error:
        check(model)
    assert error.value.message == (
        "what the model gives out for a sample is not its own: the layer 'own' (Own) raises "
        f"InvalidArgumentError {BESIDE_OTHERS}"
    )


def test_a_single_sample_has_neighbours_too() -> None:
    model = network(Own(lambda _, x: x - ops.mean(x, axis=0, keepdims=True)))
    with pytest.raises(ModelError, match=BESIDE_OTHERS):
        check(model, SAMPLES[:1])


def test_what_golden_outputs_hide_is_seen_all_the_same() -> None:
    model = network(Own(lambda _, x: x - ops.mean(x, axis=0, keepdims=True)))
    scores = layers.Activation("sigmoid", name="sigmoid")(model.output * 1e-9)
    with pytest.raises(ModelError, match="the layer 'own'"):
        check(keras.Model(model.inputs, scores))


def test_operations_and_layers_of_keras_are_named_too() -> None:
    inputs = keras.Input((6,), name="features")
    x = layers.Dense(5, name="hidden")(inputs)
    for centred in (x - ops.mean(x, axis=0), layers.Softmax(axis=0, name="over_batch")(x)):
        with pytest.raises(ModelError, match=f"'mean' .*{BESIDE_OTHERS}|'over_batch' .Softmax"):
            check(keras.Model(inputs, layers.Dense(4, name="scores")(centred)))


def test_where_a_tensor_without_samples_by_passes_the_layer_that_makes_it_is_named() -> None:
    with pytest.raises(ModelError, match=r"the layer 'sum' \(Lambda\)"):
        check(networks.crossed(), networks.data((5, 6), 3)[0])


def test_a_recurrent_layer_with_a_state_is_named() -> None:
    inputs = keras.Input(batch_shape=(4, 5, 3), name="series")
    x = layers.LSTM(6, stateful=True, name="memory")(inputs)
    model = keras.Model(inputs, layers.Dense(4, name="scores")(x))
    data = np.random.default_rng(1).normal(size=(10, 5, 3)).astype("float32")
    with pytest.raises(ModelError) as error:
        check(model, data)
    assert error.value.message.endswith(f"the layer 'memory' (LSTM) gives out other values {AGAIN}")
    assert "stateful=False" in str(error.value.hint)
    assert not model.get_layer("memory").states[0].numpy().any()


@pytest.mark.parametrize("name", FAMILIES)
def test_no_family_is_refused(name: str) -> None:
    family = FAMILIES[name]
    check(family.model(), family.data(40), family.output)


def unused_seeds(layer: Own, x: Any) -> Any:
    keras.random.normal((3,), seed=layer.seeds)
    return x


def nothing_but_a_count(layer: Own, x: Any) -> Any:
    layer.calls.assign(layer.calls + 1)
    return x


def masked_attention(_: Own, x: Any) -> Any:
    scores = tf.where(tf.eye(12, dtype=tf.bool), -np.inf, x[:, :, None] * x[:, None])
    return tf.nn.softmax(scores, axis=-1) @ x[:, :, None] @ tf.ones((1, 1))


HARMLESS: dict[str, Callable[[Own, Any], Any]] = {
    "dropout": lambda o, x: o.noise(o.dropout(o.norm(x))),
    "unused_noise": unused_seeds,
    "count": nothing_but_a_count,
    "noise_far_below_the_tolerance": lambda _, x: x + 1e-9 * tf.random.uniform(tf.shape(x)),
    "fixed_noise_for_all": lambda _, x: x + tf.random.stateless_normal((12,), seed=[1, 2]),
    "not_a_number_within": lambda _, x: tf.where(x > 0, tf.math.log(x), tf.math.log(-x - 1)) * 0,
    "minus_infinity": lambda _, x: tf.squeeze(masked_attention(_, x), -1),
    "time_major": lambda _, x: tf.transpose(tf.cumsum(tf.transpose(x), axis=0)),
    "flattened": lambda _, x: tf.reshape(tf.tanh(tf.reshape(x, (-1,))), (-1, 12)),
    "check": lambda _, x: tf.debugging.check_numerics(x, "x"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_matters_to_no_sample_is_no_reason(name: str) -> None:
    check(network(Own(HARMLESS[name])))


@pytest.mark.parametrize("layer", [layers.Dropout(0.5), layers.BatchNormalization()])
def test_keras_leaves_training_out_where_a_model_predicts_and_so_does_the_engine(
    layer: Any,
) -> None:
    model = network(layer, training=True)
    first, half = model.predict(SAMPLES, verbose=0), model.predict(SAMPLES[:24], verbose=0)
    np.testing.assert_array_equal(first, model.predict(SAMPLES, verbose=0))
    np.testing.assert_allclose(half, first[:24], rtol=1e-5)
    check(model)


def test_a_branch_that_does_not_lead_to_the_judged_output_does_not_matter() -> None:
    inputs = keras.Input((6,), name="features")
    x = layers.Dense(4, name="scores")(inputs)
    centred = layers.Dense(3, name="other")(x - ops.mean(x, axis=0))
    model = keras.Model(inputs, [x, centred])
    check(model, output="scores")
    with pytest.raises(ModelError, match="the layer 'mean'"):
        check(model, output="other")


def test_nothing_of_the_model_has_changed_afterwards() -> None:
    model = network(Own(nothing_but_a_count))
    before = [np.array(variable.numpy()) for variable in model.variables]
    check(model)
    for variable, values in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), values)


def test_what_cannot_be_tried_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def never_right(_: Own, x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(x, -1.0)]):
            return tf.identity(x)

    with caplog.at_level(logging.WARNING, "injecttf2"):  # the original's class may have set another
        check(network(Own(never_right)))
    (told,) = [record.getMessage() for record in caplog.records]
    assert told == (
        "whether a sample's output is its own was not tried from the layer 'own' on, which raised "
        "InvalidArgumentError"
    )
