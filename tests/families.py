"""Small models of all families of Keras layers and ways to write a model, with fixed weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from injecttf2.judging import Assessment
from injecttf2.judging.per_position import PerPosition
from tests import reference
from tests.networks import _scatter_batch_norm
from tests.reference import Judging

CLASSES = 4
TOKENS = 9
TOLERANCE = 0.05
"""Share of positions that may change, where each is given a class."""


@dataclass(frozen=True)
class Family:
    """A model and what it takes.

    Args:
        build: Returns the model.
        shapes: Shapes of one sample of its inputs.
        tokens: Whether the inputs are token ids, 0 among them.
        output: The output that is judged, where the model has several.
        positions: Sizes of what is given classes position by position; none for one class.
    """

    build: Callable[[], keras.Model]
    shapes: tuple[tuple[int, ...], ...]
    tokens: bool = False
    output: str | None = None
    positions: tuple[int, ...] = ()

    @property
    def assessment(self) -> Assessment:
        """What is asked of outputs."""
        return Assessment(PerPosition(tolerance=TOLERANCE)) if self.positions else Assessment()

    @property
    def judging(self) -> Judging:
        """The same, of the oracle."""
        return reference.per_position(tolerance=TOLERANCE) if self.positions else Judging()

    def model(self) -> keras.Model:
        """Return the model, called once on data as a user's is."""
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(1)
        model = self.build()
        model(self.given(self.data(2)))
        _scatter_batch_norm(model)
        return model

    def data(self, samples: int) -> Any:
        """Return one array, or a tuple of several."""
        generator = np.random.default_rng(2)
        if self.tokens:
            arrays = [generator.integers(0, TOKENS, (samples, *s), np.int32) for s in self.shapes]
        else:
            arrays = [generator.normal(size=(samples, *s)).astype("f4") for s in self.shapes]
        return arrays[0] if len(arrays) == 1 else tuple(arrays)

    def labels(self, samples: int, generator: np.random.Generator) -> np.ndarray:
        """Return random labels, [samples, positions...]."""
        return generator.integers(CLASSES, size=(samples, *self.positions))

    def given(self, data: Any) -> Any:
        """Return data as the model is called on: by name where it takes a dictionary."""
        return dict(zip(("a", "b"), data, strict=True)) if self.build is by_name else data


def _classes(x: Any) -> Any:
    return layers.Dense(CLASSES, activation="softmax", name="classes")(x)


def nested_twice() -> keras.Model:
    """A Sequential within a functional model, which is called twice in another."""
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(5, activation="relu", name="dense"), layers.Dropout(0.5)],
        name="inner",
    )
    x = keras.Input((6,))
    block = keras.Model(x, layers.Dense(6, name="out")(inner(x)) + x, name="block")
    inputs = keras.Input((6,), name="features")
    return keras.Model(inputs, _classes(block(block(inputs))))


def by_name() -> keras.Model:
    """A model that takes a dictionary, and one inside that is given its inputs by their names."""
    taken = [keras.Input((3,), name="right"), keras.Input((3,), name="left")]
    pair = keras.Model(taken, layers.Subtract(name="subtract")(taken), name="pair")
    inputs = {"a": keras.Input((3,), name="a"), "b": keras.Input((3,), name="b")}
    x = pair({"left": inputs["a"], "right": layers.Dense(3, name="dense")(inputs["b"])})
    return keras.Model(inputs, _classes(x))


def two_by_two() -> keras.Model:
    """Two inputs and two outputs."""
    image, features = keras.Input((4, 4, 1), name="image"), keras.Input((3,), name="features")
    x = layers.Flatten(name="flatten")(layers.Conv2D(2, 3, name="conv")(image))
    both = layers.Concatenate(name="join")([x, layers.Dense(3, name="dense")(features)])
    return keras.Model([image, features], [layers.Dense(2, name="box")(both), _classes(both)])


def shared() -> keras.Model:
    """A layer that is called three times."""
    inputs = keras.Input((6,), name="features")
    layer = layers.Dense(6, activation="tanh", name="shared")
    return keras.Model(inputs, _classes(layer(layer(layer(inputs))) + inputs))


def convolutions() -> keras.Model:
    """Convolutions and poolings of several kinds, BatchNorm and Dropout."""
    inputs = keras.Input((8, 8, 2), name="image")
    x = layers.SeparableConv2D(4, 3, padding="same", name="separable")(inputs)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
    x = layers.Dropout(0.5, name="dropout")(layers.AveragePooling2D(2, name="average")(x))
    x = layers.Conv2DTranspose(3, 2, strides=2, name="transpose")(x)
    both = [layers.GlobalMaxPooling2D(name="max")(x), layers.GlobalAveragePooling2D(name="mean")(x)]
    series = layers.Reshape((6, 18), name="series")(x)
    series = layers.MaxPooling1D(name="pool1")(layers.Conv1D(3, 2, name="conv1")(series))
    volume = layers.Reshape((3, 3, 4, 3), name="volume")(x)
    volume = layers.MaxPooling3D(name="pool3")(layers.Conv3D(2, 2, name="conv3")(volume))
    flat = [layers.Flatten(name="flat1")(series), layers.Flatten(name="flat3")(volume)]
    return keras.Model(inputs, _classes(layers.Concatenate(name="join")([*both, *flat])))


def recurrent() -> keras.Model:
    """Masked tokens through an LSTM in a nested model, and a bidirectional GRU."""
    x = keras.Input((4, 4))
    inner = keras.Model(x, layers.LSTM(4, return_sequences=True, name="lstm")(x), name="inner")
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    x = layers.Embedding(TOKENS, 4, mask_zero=True, name="embedding")(tokens)
    x = inner(layers.Dropout(0.5, name="drop")(x))
    x = layers.Bidirectional(layers.GRU(3), name="both")(x)
    return keras.Model(tokens, _classes(x))


def states() -> keras.Model:
    """A Masking layer, and an LSTM that gives out its states."""
    inputs = keras.Input((5, 3), name="series")
    x = layers.Masking(0.5, name="masking")(
        layers.Dense(3, activation="relu", name="first")(inputs)
    )
    whole, last, cell = layers.LSTM(4, return_sequences=True, return_state=True, name="lstm")(x)
    x = layers.LSTM(4, name="second")(whole, initial_state=[last, cell])
    return keras.Model(inputs, _classes(layers.Add(name="add")([x, cell])))


def transformer() -> keras.Model:
    """A block of a transformer on masked tokens; the attention takes the masks off its inputs."""
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    x = layers.Embedding(TOKENS, 4, mask_zero=True, name="embedding")(tokens)
    attended = layers.MultiHeadAttention(2, 3, name="mha")(x, x)
    x = layers.LayerNormalization(name="norm")(layers.Add(name="add")([x, attended]))
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.EinsumDense("ab,bc->ac", (5,), activation="gelu", name="einsum")(x)
    return keras.Model(tokens, _classes(x))


def cross_attention() -> keras.Model:
    """A decoder of a transformer, causal within, with attention across to other masked tokens."""
    source = keras.Input((6,), dtype="int32", name="source")
    target = keras.Input((4,), dtype="int32", name="target")

    def attended(name: str, query: Any, value: Any, **options: Any) -> Any:
        found = layers.MultiHeadAttention(2, 3, name=name)(query, value, **options)
        both = layers.Add(name=f"{name}_add")([query, found])
        return layers.LayerNormalization(name=f"{name}_norm")(both)

    memory = layers.Embedding(TOKENS, 8, mask_zero=True, name="memory")(source)
    x = layers.Embedding(TOKENS, 6, mask_zero=True, name="begun")(target)
    x = attended("decoder", x, x, use_causal_mask=True)
    x = attended("cross", x, memory)
    hidden = layers.Dense(10, activation="gelu", name="hidden")(x)
    x = layers.Add(name="last_add")([x, layers.Dense(6, name="last")(hidden)])
    return keras.Model([source, target], _classes(layers.GlobalAveragePooling1D(name="pool")(x)))


def u_net() -> keras.Model:
    """A U-Net: down by pooling, up by transposed convolutions beside skips; classes of pixels."""
    inputs = keras.Input((8, 8, 2), name="image")

    def block(x: Any, filters: int, name: str) -> Any:
        x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv")(x)
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    def up(x: Any, skipped: Any, filters: int, name: str) -> Any:
        x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", name=f"{name}_up")(x)
        return block(layers.Concatenate(name=f"{name}_skip")([x, skipped]), filters, name)

    wide = block(inputs, 4, "down1")
    narrow = block(layers.MaxPooling2D(name="pool1")(wide), 6, "down2")
    x = block(layers.MaxPooling2D(name="pool2")(narrow), 8, "bottom")
    x = up(up(x, narrow, 6, "up2"), wide, 4, "up1")
    classes = layers.Conv2D(CLASSES, 1, activation="softmax", name="pixels")(x)
    return keras.Model(inputs, classes)


@keras.saving.register_keras_serializable("tests")
class Block(keras.Model):
    """Two layers and a branch around them; the first is called twice."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.first = layers.Dense(6, activation="relu", name="first")
        self.norm = layers.LayerNormalization(name="norm")

    def call(self, inputs: Any) -> Any:
        """Return as many features as go in."""
        return self.norm(self.first(self.first(inputs)) + inputs)


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """What :func:`subclassed` builds."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.blocks = [Block(name="block1"), Block(name="block2")]
        self.head = keras.Sequential([layers.Dense(5, name="hidden"), layers.ReLU()], name="head")
        self.classes = layers.Dense(CLASSES, name="classes")
        self.spare = layers.Dropout(0.5, name="spare")

    def call(self, inputs: Any) -> Any:
        """Return probabilities of the classes."""
        x = inputs
        for block in self.blocks:
            x = block(x)
        return keras.ops.softmax(self.classes(self.head(x)))


def wrapped() -> keras.Model:
    """A subclassed block and a wrapper inside a functional model."""
    inputs = keras.Input((3, 6), name="series")
    x = layers.TimeDistributed(layers.Dense(6, name="each"), name="steps")(inputs)
    x = Block(name="block")(layers.Flatten(name="flatten")(x)[:, 6:12])
    return keras.Model(inputs, _classes(x))


def mixed(policy: str) -> Callable[[], keras.Model]:
    """Return what builds a model of a policy."""

    def build() -> keras.Model:
        """Convolutions and a nested model in mixed precision, with classes in float32."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            inner = keras.Sequential(
                [keras.Input((8,)), layers.Dense(6, activation="relu", name="dense")], name="inner"
            )
            inputs = keras.Input((4, 4, 1), name="image")
            x = layers.Conv2D(2, 3, activation="relu", name="conv")(inputs)
            x = inner(layers.Flatten(name="flatten")(x))
            x = layers.Dense(CLASSES, dtype="float32", activation="softmax", name="classes")(x)
            return keras.Model(inputs, x)
        finally:
            keras.config.set_dtype_policy(before)

    return build


def quantised() -> keras.Model:
    """A Sequential whose weights are quantised to 8 bits."""
    model = keras.Sequential(
        [
            keras.Input((6, 4), name="series"),
            layers.EinsumDense("abc,cd->abd", (6, 5), activation="relu", name="einsum"),
            layers.Flatten(name="flatten"),
            layers.Dense(8, activation="relu", name="dense"),
            layers.Dense(CLASSES, name="classes"),
        ]
    )
    with warnings.catch_warnings():  # of the Input, which has no weights
        warnings.simplefilter("ignore")
        model.quantize("int8")
    return model


WHOLE = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def whole_numbers() -> keras.Model:
    """Activations that are rounded to whole numbers of every width."""
    inputs = keras.Input((6,), name="features")
    x = layers.Dense(5, activation="relu", name="dense")(inputs)
    parts = []
    for dtype in WHOLE:
        whole = Rounded(dtype, name=dtype)(x)
        parts.append(layers.Rescaling(0.1, name=f"{dtype}_back")(whole))
    return keras.Model(inputs, _classes(layers.Concatenate()(parts)))


class Rounded(keras.Layer):
    """Tenths, as whole numbers."""

    def __init__(self, whole: str, **options: Any) -> None:
        super().__init__(**options)
        self.whole = whole

    def call(self, inputs: Any) -> Any:
        """Return whole numbers of the dtype."""
        return keras.ops.cast(inputs * 10.0, self.whole)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Return shape and dtype."""
        return keras.KerasTensor(inputs.shape, dtype=self.whole)


class Checked(keras.Layer):
    """What a check of what goes in gives out, unless it raises."""

    def __init__(self, check: Callable[[Any], Any], **options: Any) -> None:
        super().__init__(**options)
        self.check = check

    def call(self, inputs: Any) -> Any:
        """Return as many features as go in."""
        return tf.ensure_shape(self.check(inputs), inputs.shape)


def _bounded(values: Any) -> Any:
    tf.debugging.assert_less(values, 90.0)
    return values


def _not_too_large(values: Any) -> Any:
    """A function of the user's own that knows no more than 200 to be right."""
    if np.abs(values).max() > 200:
        raise RuntimeError(f"received {np.abs(values).max()}, which no image gives")
    return values


def checked() -> keras.Model:
    """Checks that raise: for NaN and Inf, an assertion, a function of the user's own."""
    inputs = keras.Input((6,), name="features")
    x = layers.Dense(5, name="first")(inputs)
    x = Checked(lambda t: tf.debugging.check_numerics(t, "first"), name="finite")(x)
    x = layers.Dense(5, name="second")(keras.ops.tanh(x / 50.0) * 50.0)
    x = Checked(_bounded, name="bounded")(x)
    x = layers.Dense(5, name="third")(x)
    x = Checked(lambda t: tf.numpy_function(_not_too_large, [t], t.dtype), name="known")(x)
    return keras.Model(inputs, _classes(x))


def subclassed() -> keras.Model:
    """A subclassed model with blocks, a Sequential and a layer that it does not call."""
    return Subclassed(name="model")


FAMILIES = {
    "nested_twice": Family(nested_twice, ((6,),)),
    "by_name": Family(by_name, ((3,), (3,))),
    "two_by_two": Family(two_by_two, ((4, 4, 1), (3,)), output="classes"),
    "shared": Family(shared, ((6,),)),
    "convolutions": Family(convolutions, ((8, 8, 2),)),
    "recurrent": Family(recurrent, ((4,),), tokens=True),
    "states": Family(states, ((5, 3),)),
    "transformer": Family(transformer, ((5,),), tokens=True),
    "subclassed": Family(subclassed, ((6,),)),
    "wrapped": Family(wrapped, ((3, 6),)),
    "mixed_float16": Family(mixed("mixed_float16"), ((4, 4, 1),)),
    "mixed_bfloat16": Family(mixed("mixed_bfloat16"), ((4, 4, 1),)),
    "quantised": Family(quantised, ((6, 4),)),
    "whole_numbers": Family(whole_numbers, ((6,),)),
    "checked": Family(checked, ((6,),)),
    "cross_attention": Family(cross_attention, ((6,), (4,)), tokens=True),
    "u_net": Family(u_net, ((8, 8, 2),), positions=(8, 8)),
}
