"""Modules of TensorFlow without Keras, and data for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

SAMPLES = 20

SIGNATURE = [tf.TensorSpec((None, 4), tf.float32, name="features")]


class Dense(tf.Module):
    def __init__(self, inputs: int, outputs: int, seed: int, name: str) -> None:
        super().__init__(name=name)
        random = np.random.default_rng(seed)
        self.w = tf.Variable(random.normal(size=(inputs, outputs)).astype(np.float32), name="w")
        self.b = tf.Variable(random.normal(size=outputs).astype(np.float32), name="b")

    @tf.Module.with_name_scope
    def __call__(self, x: Any) -> Any:
        return tf.nn.tanh(x @ self.w + self.b)


class Plain(tf.Module):
    """Two named layers and operations around them, one of which reads a weight."""

    def __init__(self, seed: int = 1, factor: float = 1.5) -> None:
        super().__init__(name="plain")
        self.first = Dense(4, 6, seed, "first")
        self.second = Dense(6, 3, seed + 1, "second")
        self.scale = tf.Variable(np.full((3,), 2.0, np.float32), name="scale")
        self.factor = factor

    def __call__(self, features: Any, training: bool = False) -> Any:
        hidden = self.first(features) * self.factor
        return tf.multiply(self.second(hidden), self.scale, name="scaled")


class Decorated(Plain):
    @tf.function(input_signature=SIGNATURE)
    def __call__(self, features: Any) -> Any:
        return super().__call__(features)


class Named(tf.Module):
    """A call of another name, which alone says what it takes."""

    def __init__(self) -> None:
        super().__init__(name="named")
        self.module = Plain()

    @tf.function(input_signature=SIGNATURE)
    def predict(self, features: Any) -> Any:
        return self.module(features)

    @tf.function
    def other(self, features: Any) -> Any:
        return features


class Branching(tf.Module):
    """A loop and a branch, each of which stays one operation."""

    def __init__(self) -> None:
        super().__init__(name="branching")
        self.dense = Dense(4, 4, 5, "dense")

    @tf.function(input_signature=SIGNATURE)
    def __call__(self, features: Any) -> Any:
        made = self.dense(features)
        with tf.name_scope("looping"):
            for _ in tf.range(3):
                made = made * 0.5 + 1.0
        return made


def data() -> list[np.ndarray]:
    return [np.random.default_rng(5).normal(size=(SAMPLES, 4)).astype(np.float32)]


def signatures(module: Decorated) -> dict[str, Any]:
    """Return what a module is saved with: its scores, and what its first layer gives out."""
    return {
        "scores": module.__call__.get_concrete_function(),
        "hidden": tf.function(module.first.__call__).get_concrete_function(*SIGNATURE),
    }
