"""Models of Keras 2, small, with weights that are not zero anywhere, and data for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

SAMPLES = 20


def shaken(model: Any) -> Any:
    """Give a model weights by chance that are always the same; variances stay above zero."""
    random = np.random.default_rng(3)
    for variable in model.variables:
        values = random.uniform(0.2, 1.0, variable.shape)
        if "variance" not in variable.name and "gamma" not in variable.name:
            values = random.normal(0, 0.6, variable.shape)
        variable.assign(values.astype(np.float32))
    return model


def convolutions() -> Any:
    given = layers.Input((8, 8, 2), name="image")
    made = layers.Conv2D(4, 3, name="conv", use_bias=False)(given)
    made = layers.BatchNormalization(name="norm")(made)
    made = layers.ReLU(6.0, name="relu")(made)
    made = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(made)
    made = layers.SeparableConv2D(4, 3, name="separable")(made)
    made = layers.Dropout(0.5, name="dropout")(made)
    made = layers.Flatten(name="flatten")(made)
    return shaken(tf_keras.Model(given, layers.Dense(3, "softmax", name="classes")(made)))


def branches() -> Any:
    left, right = layers.Input((5,), name="left"), layers.Input((3, 4), name="right")
    one = layers.Dense(4, "relu", name="one")(left)
    other = layers.Dense(4, "tanh", name="other")(right)[:, 0]
    both = layers.Add(name="both")([one, tf.nn.relu(other) * 2.0])
    named = {"b": layers.Dense(3, name="b")(both), "a": layers.Dense(2, name="a")(one)}
    return shaken(tf_keras.Model({"right": right, "left": left}, named))


def shared() -> Any:
    dense = layers.Dense(6, "relu", name="dense")
    inner_input = layers.Input((6,))
    inner = tf_keras.Model(inner_input, layers.Dense(6, name="deep")(inner_input), name="inner")
    given = layers.Input((6,), name="given")
    made = dense(inner(dense(given)))
    return shaken(tf_keras.Model(given, layers.Dense(3, name="classes")(inner(made))))


def recurrent() -> Any:
    given = layers.Input((5, 4), name="steps")
    made = layers.LSTM(4, return_sequences=True, name="lstm")(given)
    made = layers.Bidirectional(layers.GRU(3), name="both")(made)
    return shaken(tf_keras.Model(given, layers.Dense(3, name="classes")(made)))


def tokens() -> Any:
    given = layers.Input((5,), dtype="int32", name="tokens")
    made = layers.Embedding(7, 4, name="embedding")(given)
    made = layers.Flatten(name="flatten")(made)
    return shaken(tf_keras.Model(given, layers.Dense(3, name="classes")(made)))


def mixed() -> Any:
    policy = tf_keras.mixed_precision.Policy("mixed_float16")
    given = layers.Input((8, 8, 2), name="image")
    made = layers.Conv2D(4, 3, activation="relu", dtype=policy, name="conv")(given)
    made = layers.GlobalAveragePooling2D(dtype=policy, name="pool")(made)
    return shaken(tf_keras.Model(given, layers.Dense(3, dtype="float32", name="classes")(made)))


@dataclass(frozen=True)
class Kind:
    """A model, shapes of its inputs, and layers to inject in."""

    model: Callable[[], Any]
    shapes: list[tuple[int, ...]]
    outputs: list[str]
    weights: list[str]

    def data(self) -> list[np.ndarray]:
        random = np.random.default_rng(5)
        if self.model is tokens:
            return [random.integers(0, 7, (SAMPLES, 5)).astype(np.int32)]
        return [random.normal(size=(SAMPLES, *one)).astype(np.float32) for one in self.shapes]


KINDS = {
    "convolutions": Kind(
        convolutions,
        [(8, 8, 2)],
        ["conv", "norm", "relu", "depthwise", "separable", "dropout", "flatten", "classes"],
        ["conv", "norm", "depthwise", "separable", "classes"],
    ),
    "branches": Kind(
        branches,
        [(5,), (3, 4)],
        ["one", "other", "tf.__operators__.getitem", "tf.nn.relu", "tf.math.multiply", "both", "b"],
        ["one", "other"],
    ),
    "shared": Kind(shared, [(6,)], ["dense", "dense#2", "classes"], ["dense", "inner/deep"]),
    "recurrent": Kind(recurrent, [(5, 4)], ["lstm", "both", "classes"], ["lstm", "both"]),
    "tokens": Kind(tokens, [(5,)], ["embedding", "classes"], ["embedding"]),
    "mixed": Kind(mixed, [(8, 8, 2)], ["conv", "pool", "classes"], ["conv", "classes"]),
}


class Bent(layers.Layer):
    """A layer of a user's own, whose Python would raise in a graph if it were not converted."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dense = layers.Dense(4, name="inside")

    def call(self, inputs: Any) -> Any:
        made = self.dense(inputs)
        if tf.reduce_max(made) > 1e30:  # noqa: SIM108 - a branch of Python, on a tensor
            bent = made * 0.5
        else:
            bent = made * 2.0
        return bent + inputs
