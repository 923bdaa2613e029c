"""Whether a model brings pixels to a small range by itself, however it does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from injecttf2 import datasets
from injecttf2.datasets import Preparation, Raw
from injecttf2.datasets.pixels import Beginning
from injecttf2.errors import DatasetError
from injecttf2.models.inputs import model_inputs

SHAPE = (8, 8, 3)


def begins(model: keras.Model, number: int = 0) -> Beginning:
    one = model_inputs(model)[number]
    return one.begins([size or 12 for size in one.shape])


def followed(*first: Any, shape: tuple[int | None, ...] = SHAPE) -> keras.Model:
    """Layers in front of a convolution."""
    keras.utils.clear_session(free_memory=False)
    rest = [layers.Conv2D(4, 3, name="conv"), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    return keras.Sequential([keras.Input(shape), *first, *rest])


def normalised(mean: float, deviation: float) -> keras.Model:
    """BatchNormalization in front, as it is after training on data of a mean and deviation."""
    model = followed(layers.BatchNormalization(name="norm"))
    model.get_layer("norm").moving_mean.assign([mean] * 3)
    model.get_layer("norm").moving_variance.assign([deviation**2] * 3)
    return model


class Subclassed(keras.Model):
    """A model whose ``call`` does something to its input before the first layer."""

    def __init__(self, first: Callable[[Any], Any]) -> None:
        super().__init__()
        self.first = first
        self.conv = layers.Conv2D(4, 3, name="conv")
        self.last = layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        return self.last(keras.ops.mean(self.conv(self.first(inputs)), axis=(1, 2)))


def subclassed(first: Callable[[Any], Any]) -> keras.Model:
    model = Subclassed(first)
    model(np.zeros((1, *SHAPE), np.float32))
    return model


def by_operations() -> keras.Model:
    inputs = keras.Input(SHAPE)
    mapped = keras.applications.mobilenet_v2.preprocess_input(inputs)
    return keras.Model(inputs, layers.Flatten()(layers.Conv2D(2, 3, name="conv")(mapped)))


def video() -> keras.Model:
    frame = keras.Sequential([layers.Rescaling(1 / 255), layers.Conv2D(2, 3), layers.Flatten()])
    return keras.Sequential(
        [keras.Input((3, *SHAPE)), layers.TimeDistributed(frame), layers.LSTM(2)]
    )


RESCALING: dict[str, tuple[Callable[[], keras.Model], str]] = {
    "Rescaling": (lambda: followed(layers.Rescaling(1 / 255)), "0 to 1"),
    "to -1": (lambda: followed(layers.Rescaling(1 / 127.5, offset=-1)), "-1 to 1"),
    "Normalization": (
        lambda: followed(layers.Normalization(mean=[120.0] * 3, variance=[3600.0] * 3)),
        "-2 to 2.25",
    ),
    "BatchNormalization": (lambda: normalised(110, 60), "-1.833 to 2.417"),
    "behind others": (
        lambda: followed(
            keras.Sequential([layers.RandomFlip(), layers.ZeroPadding2D(), layers.Rescaling(0.01)]),
            layers.Dropout(0.5),
        ),
        "0 to 2.55",
    ),
    "a Lambda": (lambda: followed(layers.Lambda(lambda x: x / 255)), "0 to 1"),
    "operations": (by_operations, "-1 to 1"),
    "any size": (lambda: followed(layers.Rescaling(1 / 255), shape=(None, None, 3)), "0 to 1"),
    "subclassed": (lambda: subclassed(lambda x: x / 255.0), "0 to 1"),
    "frames": (video, "0 to 1"),
    "a mean subtracted": (
        lambda: followed(layers.Lambda(keras.applications.vgg16.preprocess_input)),
        "-116.8 to 138.2",
    ),
}


@pytest.mark.parametrize("name", RESCALING)
def test_models_that_scale_pixels_by_themselves(name: str) -> None:
    build, become = RESCALING[name]
    found = begins(build())
    assert found.rescales is True
    assert found.how.startswith(
        f"the model scales them itself, 0 to 255 become {become} before conv"
    )


TAKING_SCALED: dict[str, Callable[[], keras.Model]] = {
    "nothing": lambda: followed(),
    "0 to 1 to -1 to 1": lambda: followed(layers.Rescaling(2.0, offset=-1.0)),
    "normalised 0 to 1": lambda: followed(layers.Normalization(mean=0.13, variance=0.09)),
    "BatchNormalization of 0 to 1": lambda: normalised(0.45, 0.25),
    "BatchNormalization untrained": lambda: normalised(0, 1),
    "a threshold within 0 to 1": lambda: followed(
        layers.Lambda(lambda x: tf.cast(x > 0.5, tf.float32))
    ),
    "subclassed": lambda: subclassed(lambda x: x),
    "rows of an image": lambda: keras.Sequential([keras.Input((28, 28)), layers.LSTM(3)]),
}


@pytest.mark.parametrize("name", TAKING_SCALED)
def test_models_that_take_pixels_scaled(name: str) -> None:
    assert begins(TAKING_SCALED[name]()) == Beginning(False)


@pytest.mark.parametrize(
    ("name", "rescales"),
    [
        ("EfficientNetB0", True),
        ("MobileNetV3Small", True),
        ("ConvNeXtTiny", True),
        ("MobileNetV2", False),
    ],
)
def test_models_of_keras_applications(name: str, rescales: bool) -> None:
    build = getattr(keras.applications, name)
    assert begins(build(weights=None, input_shape=(32, 32, 3))).rescales is rescales


class Bare(keras.Model):
    """A model without a layer."""

    def __init__(self, product: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.product = product

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")

    def call(self, inputs: Any) -> Any:
        return self.product(inputs, self.kernel)


def bare(product: Callable[[Any, Any], Any]) -> keras.Model:
    model = Bare(product)
    model(np.zeros((1, *SHAPE), np.float32))
    return model


def test_a_model_needs_no_layers_to_be_watched() -> None:
    assert begins(bare(lambda x, kernel: x @ kernel)) == Beginning(False)
    assert begins(bare(lambda x, kernel: (x / 255) @ kernel)).rescales is True


def test_a_model_that_cannot_be_watched_is_not_known() -> None:
    model = bare(lambda x, kernel: x * kernel[0])
    assert begins(model).rescales is None
    raw = Raw(np.full((1, *SHAPE), 255, np.uint8), np.zeros(1))
    with pytest.raises(DatasetError, match="it cannot be seen whether the model scales"):
        datasets.prepare(raw, Preparation(), model_inputs(model, raw.inputs))


def test_only_the_input_that_is_asked_for_counts() -> None:
    keras.utils.clear_session(free_memory=False)
    photo, other = keras.Input(SHAPE, name="photo"), keras.Input(SHAPE, name="other")
    tokens = keras.Input((None,), name="tokens")
    parts = [
        layers.Flatten()(layers.Conv2D(2, 3)(layers.Rescaling(1 / 255)(photo))),
        layers.Flatten()(layers.Conv2D(2, 3)(other)),
        layers.GlobalAveragePooling1D()(layers.Embedding(5, 2)(tokens)),
    ]
    model = keras.Model([tokens, other, photo], layers.Concatenate()(parts))
    assert [begins(model, number).rescales for number in (1, 2)] == [False, True]


def test_a_model_is_left_as_it_was() -> None:
    model = followed(layers.Rescaling(1 / 255))
    held = [set(vars(layer)) for layer in model.layers]
    begins(model)
    assert [set(vars(layer)) for layer in model.layers] == held
