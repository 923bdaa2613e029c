"""Models that take a fixed number of samples at a time are evaluated with just that number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.errors import ModelError
from injecttf2.evaluation import dependence
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.faults.value_faults import Scale
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.sampling.rates import BitErrorRate, Count, Probability
from injecttf2.trial import WEIGHTS
from tests.builders import cell_of
from tests.comparing import assert_equal, assert_same, chain_of, trials_of
from tests.reference import Reference

SAMPLES = 70

FLIP = BitFlip(bit_field="any")


def convolutional(batch: int) -> keras.Model:
    """With a branch, a layer that holds another, and an operation that knows the batch."""
    inputs = keras.Input(batch_shape=(batch, 6, 6, 2), name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = x + layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.TimeDistributed(layers.Dense(5, name="each"), name="rows")(
        layers.Reshape((4, 16), name="lines")(x)
    )
    x = ops.reshape(x, (batch, 20))
    return keras.Model(inputs, layers.Dense(4, activation="softmax", name="scores")(x))


def recurrent(batch: int) -> keras.Model:
    """An LSTM that keeps no state between batches."""
    inputs = keras.Input(batch_shape=(batch, 6, 3), name="series")
    x = layers.LSTM(5, name="memory")(layers.Dense(3, activation="tanh", name="first")(inputs))
    return keras.Model(inputs, layers.Dense(4, name="scores")(x))


MODELS: dict[str, tuple[Callable[[int], keras.Model], tuple[int, ...], list[str]]] = {
    "convolutional": (convolutional, (6, 6, 2), ["image", "conv", "rows"]),
    "recurrent": (recurrent, (6, 3), ["first", "memory"]),
}


def made(name: str, batch: int, samples: int = SAMPLES) -> tuple[keras.Model, Dataset]:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    build, shape, _ = MODELS[name]
    generator = np.random.default_rng(4)
    inputs = generator.normal(size=(samples, *shape)).astype("float32")
    return build(batch), Dataset(inputs, generator.integers(4, size=samples))


def predicted(model: keras.Model, inputs: np.ndarray, batch: int) -> np.ndarray:
    """What Keras makes of samples, batch by batch, the last filled up with the first samples."""
    parts = []
    for start in range(0, len(inputs), batch):
        rows = np.resize(np.arange(start, min(start + batch, len(inputs))), batch)
        parts.append(model.predict(inputs[rows], batch_size=batch, verbose=0))
    result: np.ndarray = np.concatenate(parts)[: len(inputs)]
    return result


@pytest.mark.parametrize("batch", [1, 5, 32])
@pytest.mark.parametrize("name", MODELS)
def test_golden_outputs_are_those_that_the_model_predicts(name: str, batch: int) -> None:
    model, dataset = made(name, batch, samples=37)
    engine = Engine(model, dataset)
    np.testing.assert_array_equal(engine.golden.outputs, predicted(model, dataset.inputs, batch))


@pytest.mark.parametrize(
    ("name", "batch"), [("convolutional", 1), ("convolutional", 32), ("recurrent", 5)]
)
def test_outcomes_equal_the_reference(name: str, batch: int) -> None:
    model, dataset = made(name, batch, samples=37)
    engine = Engine(model, dataset)
    reference = Reference(model, dataset.inputs, dataset.labels, batch=batch)
    _, _, addresses = MODELS[name]
    rates = [(FLIP, Probability(0.9)), (FLIP, Count(20)), (Scale(-20.0), Count(15))]
    cells = [cell_of(layer, *both) for layer in addresses for both in rates]
    cells += [cell_of(" + ".join(addresses[-2:]), *both) for both in rates]
    in_weights = [(FLIP, Count(1)), (FLIP, BitErrorRate(0.01))]
    cells += [cell_of(addresses[1], *both, WEIGHTS) for both in in_weights]
    seen = set()
    for cell in cells:
        seen |= assert_equal(engine, reference, trials_of(cell, 2))
    assert set(chain_of(engine).batch) == {batch}
    assert len(seen) >= 3


@pytest.mark.parametrize("batch", [1, 32])
def test_all_layers_can_be_injected(batch: int) -> None:
    model, dataset = made("convolutional", batch)
    layers_ = ModelGraph.of(model, dataset.inputs).layers
    assert {info.reason for info in layers_} == {None}
    assert [info.shape for info in layers_ if info.layer == "conv"] == [(4, 4, 4)]


def test_what_a_sample_gives_does_not_depend_on_its_company() -> None:
    """An LSTM rounds the last of five rows otherwise: so a sample keeps its place."""
    model, dataset = made("recurrent", 5)
    engine = Engine(model, dataset)
    trials = trials_of(cell_of("first + memory", Scale(3.0), Count(90)), 9)
    whole = engine.evaluate(trials, record=True)
    for place in range(9):
        assert_same(engine.evaluate([trials[place]], record=True), whole, [place])


def test_nor_does_it_where_batches_are_small_because_samples_are_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for limit in ("BATCH_BYTES", "MOST_BYTES"):
        monkeypatch.setattr(f"injecttf2.evaluation.batching.{limit}", 1000)
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(5)
    inputs = keras.Input((60,), name="features")
    x = layers.Dense(18, activation="tanh", name="first")(inputs)
    x = layers.LSTM(5, name="memory")(layers.Reshape((6, 3), name="series")(x))
    model = keras.Model(inputs, layers.Dense(4, name="scores")(x))
    data = np.random.default_rng(6).normal(size=(SAMPLES, 60)).astype("float32")
    dataset = Dataset(data, np.zeros(SAMPLES, np.int64))
    trials = trials_of(cell_of("series + memory", Scale(3.0), Count(90)), 9)
    engine, blocks = Engine(model, dataset), Engine(model, dataset, memory=1)
    whole = engine.evaluate(trials, record=True)
    assert chain_of(blocks).batch == (3, 12, 12)  # of 60 features of 4 bytes, and fewer
    assert_same(blocks.evaluate(trials, record=True), whole)
    assert blocks.golden_use.computed == 3  # blocks of 24 of 70 samples, of which batches are parts
    for place in range(9):
        assert_same(engine.evaluate([trials[place]], record=True), whole, [place])


def test_several_inputs_agree_on_the_number() -> None:
    one, other = keras.Input(batch_shape=(8, 3), name="one"), keras.Input((4,), name="other")
    x = layers.Concatenate(name="join")([one, layers.Dense(3, name="dense")(other)])
    model = keras.Model([one, other], layers.Dense(4, name="scores")(x))
    generator = np.random.default_rng(1)
    arrays = tuple(generator.normal(size=(21, size)).astype("float32") for size in (3, 4))
    labels = generator.integers(4, size=21)
    engine = Engine(model, Dataset(arrays, labels))
    reference = Reference(model, arrays, labels, batch=8)
    assert_equal(engine, reference, trials_of(cell_of("dense", FLIP, Count(15)), 2))
    clash = keras.Input(batch_shape=(4, 3), name="clash")
    both = [layers.Dense(2, name=f"of_{taken.name}")(taken) for taken in (one, clash)]
    with pytest.raises(ModelError) as error:
        ModelGraph.of(keras.Model([one, clash], both))
    assert str(error.value) == (
        "the inputs of the model take different numbers of samples at a time: one (8, 3), "
        "clash (4, 3)\n"
        "  give all of them the same batch size, or none: keras.Input(shape)"
    )


def test_a_model_that_hides_its_number_is_told_how_to_say_it() -> None:
    class Fixed(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return tf.reshape(tf.reshape(inputs, (32, 2, 3)), (32, 6))

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    inputs = keras.Input((6,), name="features")
    model = keras.Model(inputs, layers.Dense(4, name="scores")(Fixed(name="fixed")(inputs)))
    with pytest.raises(ModelError, match="cannot be run on 13 samples") as error:
        _ = ModelGraph.of(model).layers
    assert "keras.Input(batch_shape=(number, ...))" in str(error.value.hint)
    inputs = keras.Input(batch_shape=(32, 6), name="features")
    model = keras.Model(inputs, layers.Dense(4, name="scores")(Fixed(name="fixed")(inputs)))
    assert {info.reason for info in ModelGraph.of(model).layers} == {None}


@pytest.mark.parametrize("batch", [1, 32])
@pytest.mark.parametrize("name", MODELS)
def test_none_is_taken_for_one_whose_samples_depend_on_each_other(name: str, batch: int) -> None:
    model, dataset = made(name, batch)
    dependence.check(ModelGraph.of(model, dataset.inputs), dataset)


def test_a_mean_over_a_fixed_batch_is_refused() -> None:
    inputs = keras.Input(batch_shape=(32, 6), name="features")
    x = inputs - ops.mean(inputs, axis=0)
    model = keras.Model(inputs, layers.Dense(4, name="scores")(x))
    data = np.random.default_rng(1).normal(size=(40, 6)).astype("float32")
    with pytest.raises(ModelError, match="the layer 'mean'"):
        dependence.check(ModelGraph.of(model, data), Dataset(data, None))
