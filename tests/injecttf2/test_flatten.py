"""Nested models: the calls inside them are steps of the model around them."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf
from keras import layers

from injecttf2.flatten import Conversion
from injecttf2.graph import Graph
from injecttf2.tuning import suits_levels
from tests.families import FAMILIES


def steps_of(model: keras.Model) -> list[str]:
    return [step.layer for step in Graph(model).steps]


def assert_same(model: keras.Model, *inputs: Any) -> None:
    """The steps compute what the model does, bit for bit."""
    graph = Graph(model)
    tensors = [tf.constant(one) for one in inputs]
    expected = model(tensors[0] if len(tensors) == 1 else tensors, training=False)
    got = graph.run(graph.steps, graph.feed(tensors))[id(graph.output)]
    assert got.dtype == expected.dtype
    assert got.numpy().tobytes() == expected.numpy().tobytes()


def inner(dtype: str | None = None, shape: tuple[int, ...] = (4,)) -> keras.Sequential:
    return keras.Sequential(
        [keras.Input(shape, dtype="float32"), layers.Dense(4, name="dense", dtype=dtype)],
        name="inner",
    )


@pytest.fixture(autouse=True)
def _fresh() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)


def test_each_call_of_a_nested_model_has_addresses_and_tensors_of_its_own() -> None:
    graph = Graph(FAMILIES["nested_twice"].model())
    first, second = graph.step("block/inner/dense"), graph.step("block/inner/dense#2")
    assert first.operation is second.operation
    assert first.node is second.node
    assert set(first.outputs).isdisjoint(second.outputs)
    behind = [step.layer for step in graph.cut("block/inner/dense").suffix]
    assert behind == [
        *("block/inner/dropout", "block/out", "block/add"),
        *("block/inner/dense#2", "block/inner/dropout#2", "block/out#2", "block/add#2", "classes"),
    ]
    frontier = graph.cut("block/inner/dense#2").frontier
    assert list(frontier[1:]) == list(graph.step("block/add").outputs)


def test_plain_nested_models_may_be_taken_in_faster_ways() -> None:
    graph = Graph(FAMILIES["nested_twice"].model())
    assert suits_levels(graph, graph.cut("block/inner/dense"))


def test_an_input_of_another_dtype_is_converted_as_the_nested_model_does_it() -> None:
    inputs = keras.Input((4,), name="features")
    x = layers.Dense(4, dtype="float16", name="half")(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="classes")(inner()(x)))
    graph = Graph(model)
    conversions = [step for step in graph.steps if isinstance(step.operation, Conversion)]
    assert [step.operation.dtype for step in conversions] == ["float32"]
    assert [info.layer for info in graph.layers] == ["features", "half", "inner/dense", "classes"]
    assert_same(model, [[0.1, 0.2, 0.3, 1e-6], [1.0, -2.0, 3.0, 4.0]])


@pytest.mark.filterwarnings("ignore:Layer 'nested' .of type Functional. was passed:UserWarning")
def test_a_mask_that_is_given_to_a_nested_model_reaches_the_layers_inside() -> None:
    series = keras.Input((3, 2), name="series")
    nested = keras.Model(series, layers.LSTM(2, name="lstm")(series), name="nested")
    inputs = keras.Input((3, 2), name="inputs")
    model = keras.Model(inputs, nested(inputs, mask=inputs[:, :, 0] > 0.0))
    assert [info.layer for info in Graph(model).layers if info.inside is None] == [
        *("inputs", "get_item", "greater", "nested/lstm")
    ]
    assert_same(model, [[[1.0, 2.0], [-1.0, 5.0], [2.0, 3.0]]])


def test_a_model_with_a_call_of_its_own_stays_one_step() -> None:
    class Twice(keras.Model):
        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            return 2.0 * super().call(inputs, training=training, mask=mask)

    taken = keras.Input((4,))
    twice = Twice(taken, layers.Dense(4, name="dense")(taken), name="twice")
    inputs = keras.Input((4,), name="features")
    model = keras.Model(inputs, twice(inputs))
    assert steps_of(model) == ["features", "twice"]
    assert [info.layer for info in Graph(model).layers] == ["features", "twice/dense", "twice"]
    assert_same(model, [[1.0, 2.0, 3.0, 4.0]])
    assert [info.layer for info in Graph(twice).layers][1:] == ["dense", "twice"]
    assert_same(twice, [[1.0, 2.0, 3.0, 4.0]])


def test_a_nested_model_that_is_given_another_rank_stays_one_step() -> None:
    inputs = keras.Input((1,), name="feature")
    taken = keras.Input((), name="scalar")
    nested = keras.Model(taken, keras.ops.expand_dims(taken, 1) * 2.0, name="nested")
    model = keras.Model(inputs, nested(inputs))
    assert steps_of(model) == ["feature", "nested"]
    assert_same(model, [[1.0], [2.0]])


def test_a_nested_model_that_gives_its_input_out_adds_nothing() -> None:
    taken = keras.Input((4,))
    nested = keras.Model(taken, [taken, layers.ReLU(name="relu")(taken)], name="nested")
    inputs = keras.Input((4,), name="features")
    model = keras.Model(inputs, layers.Add(name="add")(nested(inputs)))
    assert steps_of(model) == ["features", "nested/relu", "add"]
    assert_same(model, [[1.0, -2.0, 3.0, -4.0]])
