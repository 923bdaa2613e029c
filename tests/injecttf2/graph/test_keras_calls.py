"""Nested models: the calls inside them are layers of the model around them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.graph.model_graph import ModelGraph
from tests.families import FAMILIES


def listed(model: keras.Model) -> list[str]:
    """All addresses."""
    return [info.layer for info in ModelGraph.of(model).layers]


def assert_same(model: keras.Model, *inputs: Any) -> None:
    """The chain computes what the model does, bit for bit."""
    arrays = tuple(np.array(one, np.float32) for one in inputs)
    given = arrays[0] if len(arrays) == 1 else arrays
    expected = model.predict(given, verbose=0)
    golden = Engine(model, Dataset(given, np.zeros(len(expected), np.int64))).golden.outputs
    assert golden.dtype == expected.dtype
    np.testing.assert_allclose(golden, expected, rtol=1e-6, atol=0)


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
    graph = ModelGraph.of(FAMILIES["nested_twice"].model())
    first, second = graph.point("block/inner/dense"), graph.point("block/inner/dense#2")
    assert first.operation is second.operation
    assert first.name != second.name
    assert [info.layer for info in graph.layers] == [
        "features",
        *("block/inner/dense", "block/inner/dropout", "block/out", "block/add"),
        *("block/inner/dense#2", "block/inner/dropout#2", "block/out#2", "block/add#2", "classes"),
    ]
    positions = [graph.flow.position[point.name] for point in graph.points]
    assert positions == sorted(positions)


def test_an_input_of_another_dtype_is_converted_as_the_nested_model_does_it() -> None:
    inputs = keras.Input((4,), name="features")
    x = layers.Dense(4, dtype="float16", name="half")(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="classes")(inner()(x)))
    graph = ModelGraph.of(model)
    assert [info.layer for info in graph.layers] == ["features", "half", "inner/dense", "classes"]
    assert_same(model, [[0.1, 0.2, 0.3, 1e-6], [1.0, -2.0, 3.0, 4.0]])


@pytest.mark.filterwarnings("ignore:Layer 'nested' .of type Functional. was passed:UserWarning")
def test_a_mask_that_is_given_to_a_nested_model_reaches_the_layers_inside() -> None:
    series = keras.Input((3, 2), name="series")
    nested = keras.Model(series, layers.LSTM(2, name="lstm")(series), name="nested")
    inputs = keras.Input((3, 2), name="inputs")
    model = keras.Model(inputs, nested(inputs, mask=inputs[:, :, 0] > 0.0))
    assert [info.layer for info in ModelGraph.of(model).layers if info.in_all] == [
        *("get_item", "greater", "nested/lstm")
    ]
    assert_same(model, [[[1.0, 2.0], [-1.0, 5.0], [2.0, 3.0]]])


def test_a_model_with_a_call_of_its_own_is_listed() -> None:
    class Twice(keras.Model):
        def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            return 2.0 * super().call(inputs, training=training, mask=mask)

    taken = keras.Input((4,))
    twice = Twice(taken, layers.Dense(4, name="dense")(taken), name="twice")
    inputs = keras.Input((4,), name="features")
    model = keras.Model(inputs, twice(inputs))
    assert listed(model) == ["features", "twice/dense", "twice"]
    assert_same(model, [[1.0, 2.0, 3.0, 4.0]])
    assert listed(twice)[1:] == ["dense", "twice"]
    assert_same(twice, [[1.0, 2.0, 3.0, 4.0]])


def test_a_nested_model_that_is_given_another_rank_is_listed() -> None:
    inputs = keras.Input((1,), name="feature")
    taken = keras.Input((), name="scalar")
    nested = keras.Model(taken, keras.ops.expand_dims(taken, 1) * 2.0, name="nested")
    model = keras.Model(inputs, layers.Dense(3, name="classes")(nested(inputs)))
    assert listed(model) == ["feature", "nested/expand_dims", "nested/multiply", "classes"]
    assert_same(model, [[1.0], [2.0]])


def test_a_nested_model_that_gives_its_input_out_adds_nothing() -> None:
    taken = keras.Input((4,))
    nested = keras.Model(taken, [taken, layers.ReLU(name="relu")(taken)], name="nested")
    inputs = keras.Input((4,), name="features")
    model = keras.Model(inputs, layers.Add(name="add")(nested(inputs)))
    assert listed(model) == ["features", "nested/relu", "add"]
    assert_same(model, [[1.0, -2.0, 3.0, -4.0]])
