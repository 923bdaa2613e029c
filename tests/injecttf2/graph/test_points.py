"""What is listed of a model: every address, and why what cannot be injected cannot."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from injecttf2.graph.model_graph import ModelGraph
from tests.families import FAMILIES, Subclassed

USED_AS_INDICES = (
    "its values are used as indices, and what one out of range does depends on the device"
)
NOT_CALLED = "it is not called by itself when the model runs, or only in a compiled function"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    keras.utils.clear_session(free_memory=False)


def listed(graph: ModelGraph) -> list[tuple[str, bool, str | None]]:
    return [(info.layer, info.in_all, info.reason) for info in graph.layers]


def test_the_layers_inside_an_attention_are_taken_by_name_only() -> None:
    graph = ModelGraph.of(FAMILIES["transformer"].model())
    assert [info.index for info in graph.layers] == list(range(len(graph.layers)))
    assert listed(graph)[:9] == [
        ("tokens", False, USED_AS_INDICES),
        ("embedding", True, None),
        ("mha/query", False, None),
        ("mha/key", False, None),
        ("mha/value", False, None),
        ("mha/attention_output", False, None),
        ("mha/softmax", False, NOT_CALLED),
        ("mha/dropout", False, NOT_CALLED),
        ("mha", True, None),
    ]
    (query,) = (info for info in graph.layers if info.layer == "mha/query")
    assert (query.type, query.shape, query.dtype) == ("EinsumDense", (5, 2, 3), "float32")
    assert query.parameters == 4 * 2 * 3 + 2 * 3


def test_the_layers_of_a_subclassed_model_are_its_own_without_its_name() -> None:
    model = FAMILIES["subclassed"].model()
    graph = ModelGraph.of(model, np.zeros((3, 6), np.float32))
    inside = [
        *(("block1/first", True), ("block1/first#2", True), ("block1/norm", True)),
        *(("block1", True), ("block2/first", True), ("block2/first#2", True)),
        *(("block2/norm", True), ("block2", True), ("head/hidden", True), ("head/re_lu", True)),
        *(("classes", True), ("spare", False)),
    ]
    assert listed(graph) == [
        ("inputs", False, None),
        *((name, in_all, None if in_all else NOT_CALLED) for name, in_all in inside),
        ("model", False, None),
    ]


def test_a_subclassed_model_that_was_called_remembers_what_it_takes() -> None:
    graph = ModelGraph.of(FAMILIES["subclassed"].model())
    assert [(one.name, one.shape, one.dtype) for one in graph.model.inputs] == [
        ("inputs", (6,), "float32")
    ]


def test_a_subclassed_model_that_was_never_called_is_built_for_the_data() -> None:
    model = Subclassed(name="model")
    graph = ModelGraph.of(model, np.zeros((3, 6), np.float32))
    assert graph.output.shape == (None, 4)
    assert model.count_params() == 54 * 2 + 35 + 24


def test_several_inputs_are_given_to_a_subclassed_model_as_a_tuple() -> None:
    class Sum(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="sum")
            self.dense = layers.Dense(3, name="dense")

        def call(self, inputs: Any) -> Any:
            left, right = inputs
            return self.dense(left), self.dense(right)

    arrays = np.zeros((2, 4), np.float32), np.zeros((2, 5, 4), np.float32)
    graph = ModelGraph.of(Sum(), arrays, output="sum:0")
    names = ["inputs_1", "inputs_2", "dense", "dense#2", "sum:0", "sum:1"]
    assert [info.layer for info in graph.layers] == names
    assert [info.shape for info in graph.layers][2:4] == [(3,), (5, 3)]


def reason_of_input(build: Any, dtype: str) -> str | None:
    inputs = keras.Input((6,), dtype=dtype, name="inputs")
    return ModelGraph.of(keras.Model(inputs, build(inputs))).layers[0].reason


INDICES: dict[str, Any] = {
    "an embedding": layers.Embedding(9, 4),
    "ids that are shifted": lambda x: layers.Embedding(9, 4)(x + 1),
    "a table": lambda x: keras.ops.take(np.eye(9, dtype=np.float32), x, axis=0),
    "lengths": lambda x: layers.Lambda(
        lambda x: tf.reverse_sequence(tf.ones((tf.shape(x)[0], 9)), tf.cast(x[:, 0], tf.int32), 1)
    )(x),
    "an embedding inside a layer": lambda x: layers.TimeDistributed(layers.Embedding(9, 4))(
        keras.ops.expand_dims(x, 2)
    ),
}


@pytest.mark.parametrize("what", INDICES)
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_what_is_used_as_an_index_cannot_be_injected(what: str, dtype: str) -> None:
    if dtype == "float32" and what == "a table":
        pytest.skip("Keras takes whole numbers there")
    assert reason_of_input(INDICES[what], dtype) == USED_AS_INDICES


def test_what_an_index_in_range_is_made_of_can_be_injected() -> None:
    def looked_up(x: Any) -> Any:
        return layers.Embedding(6, 4)(keras.ops.argmax(x, axis=1))

    assert reason_of_input(looked_up, "float32") is None
    assert reason_of_input(lambda x: layers.Dense(2)(x), "float32") is None
