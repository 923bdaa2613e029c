"""Small models of different shapes, with fixed random weights."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers


def _functional(inputs: Any, outputs: Any) -> keras.Model:
    return keras.Model(inputs, outputs)


def cnn(dtype: str = "float32") -> keras.Model:
    """A plain stack, like InjectTF2's example but smaller."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), dtype=dtype, name="image"),
            layers.Conv2D(4, 3, padding="same", activation="relu", name="conv", dtype=dtype),
            layers.MaxPooling2D(name="pool", dtype=dtype),
            layers.Flatten(name="flatten", dtype=dtype),
            layers.Dropout(0.5, name="dropout", dtype=dtype),
            layers.Dense(5, name="logits", dtype=dtype),
            layers.Softmax(name="softmax", dtype=dtype),
        ]
    )


def residual() -> keras.Model:
    """Two residual blocks with batch norm, so that skip connections by-pass most layers."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(2)
    inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    for block in (1, 2):
        skip = x
        x = layers.Conv2D(4, 3, padding="same", name=f"block{block}_conv1")(x)
        x = layers.BatchNormalization(name=f"block{block}_bn")(x)
        x = layers.ReLU(name=f"block{block}_relu")(x)
        x = layers.Conv2D(4, 3, padding="same", name=f"block{block}_conv2")(x)
        x = layers.Add(name=f"block{block}_add")([x, skip])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = _functional(inputs, layers.Dense(6, name="logits")(x))
    _scatter_batch_norm(model)
    return model


def branches() -> keras.Model:
    """Three branches of different depth that are concatenated, one through keras.ops."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    inputs = keras.Input((12,), name="features")
    shared = layers.Dense(8, activation="tanh", name="shared")
    left = layers.Dense(12, activation="relu", name="left")(inputs)
    right = layers.Dense(12, name="right1")(inputs)
    right = layers.Dense(12, activation="gelu", name="right2")(right)
    both = layers.Concatenate(name="join")([shared(left), shared(right), keras.ops.sin(left)])
    return _functional(inputs, layers.Dense(4, activation="softmax", name="classes")(both))


def crossed() -> keras.Model:
    """Two tensors without an axis of samples: ``flat`` is all that goes on, ``sum`` by-passes."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(4)
    ops = keras.ops
    inputs = keras.Input((5, 6), name="x")
    flat = layers.Lambda(lambda x: ops.reshape(x, (-1, 6)), output_shape=(6,), name="flat")(inputs)
    rows = layers.Lambda(lambda x: ops.reshape(x, (-1, 5, 6)), output_shape=(5, 6), name="rows")
    early = layers.Dense(6, name="early")(rows(flat))
    summed = layers.Lambda(lambda x: ops.sum(x, axis=0), output_shape=(5, 6), name="sum")(early)
    late = layers.Dense(6, name="late")(early) + summed
    return keras.Model(inputs, layers.Dense(3, name="last")(layers.Flatten(name="flatten")(late)))


def data(shape: tuple[int, ...], classes: int, samples: int = 70) -> tuple[Any, Any]:
    """Random inputs and labels; 70 samples leave a short last batch at most sizes."""
    generator = np.random.default_rng(4)
    inputs = generator.normal(size=(samples, *shape)).astype(np.float32)
    return inputs, generator.integers(classes, size=samples)


def _scatter_batch_norm(model: keras.Model) -> None:
    """Give batch norms statistics that are not the identity."""
    generator = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
