"""Small models whose layers share weights, or hold some that inference does not read."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

FEATURES = 6
CLASSES = 3
TOKENS = 9


def data(model: keras.Model, samples: int = 20) -> Any:
    """What a model takes: one array, or a tuple of several."""
    generator = np.random.default_rng(3)
    arrays = []
    for tensor in getattr(model, "inputs", None) or [keras.KerasTensor((None, FEATURES))]:
        shape = (samples, *tensor.shape[1:])
        if "int" in tensor.dtype:
            arrays.append(generator.integers(0, TOKENS, shape, np.int32))
        else:
            arrays.append(generator.normal(size=shape).astype("f4"))
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def dataset() -> Any:
    """What most of the models take, and labels, as a campaign names it."""
    generator = np.random.default_rng(3)
    inputs = generator.normal(size=(20, FEATURES)).astype("f4")
    return inputs, generator.integers(CLASSES, size=20)


def classes(x: Any) -> Any:
    """The last layer of all the models."""
    return layers.Dense(CLASSES, activation="softmax", name="classes")(x)


def around(build: Callable[[Any], Any], shape: tuple[int, ...] = (FEATURES,)) -> keras.Model:
    """A model of one input, with the same weights every time."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input(shape, name="features")
    return keras.Model(inputs, classes(build(inputs)))


def called_again() -> keras.Model:
    """A layer that is called four times, at different places of the model."""
    cell = layers.Dense(FEATURES, activation="relu", name="cell")
    return around(lambda x: cell(layers.LayerNormalization(name="norm")(cell(cell(cell(x))))))


def siamese() -> keras.Model:
    """Two branches through the same nested model."""
    keras.utils.set_random_seed(1)
    branch = [keras.Input((FEATURES,)), layers.Dense(5, name="one"), layers.Dense(4, name="two")]
    encoder = keras.Sequential(branch, name="encoder")
    left, right = (keras.Input((FEATURES,), name=name) for name in ("left", "right"))
    return keras.Model([left, right], classes(encoder(left) - encoder(right)))


class Block(layers.Layer):
    """A layer with two layers inside and a weight of its own."""

    def build(self, shape: Any) -> None:
        """Make the weights."""
        self.dense = layers.Dense(FEATURES, activation="tanh", name="dense")
        self.norm = layers.LayerNormalization(name="norm")
        self.scale = self.add_weight(shape=(FEATURES,), name="scale", initializer="ones")
        self.dense.build(shape)
        self.norm.build(shape)

    def call(self, x: Any) -> Any:
        """Return as many features as go in."""
        return self.norm(self.dense(x)) * self.scale


def blocks() -> keras.Model:
    """A block beside its own layers, called twice."""
    block = Block(name="block")
    return around(lambda x: block(block(x)))


class Tied(layers.Layer):
    """Scores of tokens, by the table of an embedding and a bias."""

    def __init__(self, embedding: Any, **options: Any) -> None:
        super().__init__(**options)
        self.embedding = embedding

    def build(self, shape: Any) -> None:
        """Make the bias."""
        del shape
        self.bias = self.add_weight(shape=(TOKENS,), name="bias", initializer="zeros")

    def call(self, x: Any) -> Any:
        """Return a score for each token."""
        return ops.matmul(x, ops.transpose(self.embedding.embeddings)) + self.bias


def tied() -> keras.Model:
    """An embedding that is also the projection of the output."""
    keras.utils.set_random_seed(1)
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    embedding = layers.Embedding(TOKENS, 4, name="embedding")
    x = layers.GlobalAveragePooling1D(name="pool")(embedding(tokens))
    return keras.Model(tokens, layers.Softmax(name="softmax")(Tied(embedding, name="scores")(x)))


def beside() -> keras.Model:
    """A branch that reads a weight of a layer of another branch, which Keras does not know."""
    keras.utils.set_random_seed(1)
    left, right = (keras.Input((FEATURES,), name=name) for name in ("left", "right"))
    dense = layers.Dense(FEATURES, name="dense")
    x = layers.Activation("tanh", name="tanh")(dense(left))
    return keras.Model([left, right], classes(ops.matmul(right, dense.kernel) - x))


def wrappers() -> keras.Model:
    """A layer called by itself and inside a wrapper, and a wrapper of two."""
    dense = layers.Dense(FEATURES, name="dense")

    def build(x: Any) -> Any:
        x = dense(layers.TimeDistributed(dense, name="each")(x))
        return layers.Bidirectional(layers.GRU(2), name="both")(x)

    return around(build, (4, FEATURES))


class Own(keras.Model):
    """A model with a layer, and a weight of its own."""

    def build(self, shape: Any) -> None:
        """Make the weights."""
        self.token = self.add_weight(shape=(FEATURES,), name="token", initializer="ones")
        self.classes = layers.Dense(CLASSES, name="classes")
        self.classes.build(shape)

    def call(self, x: Any) -> Any:
        """Return scores of the classes."""
        return self.classes(x + self.token)


def own() -> keras.Model:
    """A subclassed model that was called."""
    keras.utils.set_random_seed(1)
    model = Own(name="model")
    model(np.zeros((1, FEATURES), "f4"))
    return model


SHARING: dict[str, tuple[Callable[[], keras.Model], dict[str, list[str]]]] = {
    "called_again": (
        called_again,
        {"cell": ["kernel", "bias"], "norm": ["gamma", "beta"], "classes": ["kernel", "bias"]},
    ),
    "siamese": (
        siamese,
        {name: ["kernel", "bias"] for name in ("encoder/one", "encoder/two", "classes")},
    ),
    "blocks": (
        blocks,
        {
            "block/dense": ["kernel", "bias"],
            "block/norm": ["gamma", "beta"],
            "block": ["scale"],
            "classes": ["kernel", "bias"],
        },
    ),
    "tied": (tied, {"embedding": ["embeddings"], "scores": ["bias"]}),
    "beside": (beside, {name: ["kernel", "bias"] for name in ("dense", "classes")}),
    "wrappers": (
        wrappers,
        {
            "each": ["kernel", "bias"],
            "both": [
                f"{way}_gru/gru_cell/{name}"
                for way in ("forward", "backward")
                for name in ("kernel", "recurrent_kernel", "bias")
            ],
            "classes": ["kernel", "bias"],
        },
    ),
    "own": (own, {"classes": ["kernel", "bias"], "model": ["token"]}),
}
"""Models whose weights have several addresses: what is counted where."""


def adapted() -> keras.Model:
    """A layer that was adapted to data, and reads what came of it from elsewhere."""
    normalization = layers.Normalization(name="normalization")
    normalization.adapt(np.random.default_rng(4).normal(2, 3, (50, FEATURES)).astype("f4"))
    return around(normalization)


def spectral() -> keras.Model:
    """A vector that only training reads."""
    dense = layers.Dense(FEATURES, name="dense")
    return around(layers.SpectralNormalization(dense, name="spectral"))


def float8() -> keras.Model:
    """Scales that are read, and histories by which training sets them."""
    model = around(layers.Dense(FEATURES, name="dense"))
    with warnings.catch_warnings():  # of the Input, which has no weights
        warnings.simplefilter("ignore")
        model.quantize("float8")
    return model


def int8() -> keras.Model:
    """Scales of weights of 8 bits, all of which are read."""
    model = around(layers.Dense(FEATURES, name="dense"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.quantize("int8")
    return model


def renormalised() -> keras.Model:
    """A batch normalisation with statistics that only training reads."""
    return around(layers.BatchNormalization(renorm=True, name="norm"))


class Counting(layers.Layer):
    """Counts its calls, checks a bound, and holds a layer that it does not call."""

    def build(self, shape: Any) -> None:
        """Make the weights."""
        self.count = self.add_weight(shape=(), name="count", initializer="zeros", trainable=False)
        self.factor = self.add_weight(shape=(), name="factor", initializer="ones")
        self.spare = layers.Dense(FEATURES, name="spare")
        self.spare.build(shape)

    def call(self, x: Any) -> Any:
        """Return what goes in, times a factor."""
        self.count.assign_add(1.0)
        return x * self.factor


def counting() -> keras.Model:
    """A counter and a layer that is not called, beside what is read."""
    return around(Counting(name="counting"))


AMAX = ("inputs_amax_history", "kernel_amax_history")
GRADIENT = ("outputs_grad_scale", "outputs_grad_amax_history")

UNREAD: dict[str, tuple[Callable[[], keras.Model], dict[str, list[str]]]] = {
    "adapted": (adapted, {"normalization": ["mean", "variance", "count"]}),
    "spectral": (spectral, {"spectral": ["vector_u"]}),
    "float8": (float8, {name: [*AMAX, *GRADIENT] for name in ("dense", "classes")}),
    "int8": (int8, {}),
    "renormalised": (
        renormalised,
        {"norm": ["moving_stddev", "renorm_mean", "renorm_stddev"]},
    ),
    "counting": (
        counting,
        {"counting": ["count", "kernel", "bias"], "counting/spare": ["kernel", "bias"]},
    ),
}
"""Models, and the weights of theirs that inference does not read, by every address."""
