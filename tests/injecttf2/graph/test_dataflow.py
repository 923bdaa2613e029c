"""What depends on the data, and what is needed behind each place of a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from injecttf2.graph.model_graph import ModelGraph
from tests import networks


@pytest.fixture(autouse=True)
def _fresh() -> None:
    keras.utils.clear_session(free_memory=False)


def around(function: Callable[[Any], Any], name: str = "own") -> ModelGraph:
    """A layer that calls a function, between two others."""
    inputs = keras.Input((6,), name="features")
    x = layers.Dense(6, activation="relu", name="hidden")(inputs)
    x = layers.Lambda(function, output_shape=(6,), name=name)(x)
    return ModelGraph.of(keras.Model(inputs, layers.Dense(4, name="scores")(x)))


def types(graph: ModelGraph) -> list[str]:
    """The kinds of operations that a fault may go through."""
    return [one.type for one in graph.flow.path if one.type != "Identity"]


PLAIN = ["MatMul", "BiasAdd", "Relu", "MatMul", "BiasAdd"]


def test_the_path_is_what_depends_on_the_data_in_the_order_of_execution() -> None:
    graph = around(lambda x: x)
    assert types(graph) == PLAIN
    assert graph.flow.inputs == ("tensors_0:0",)
    assert graph.flow.position["tensors_0:0"] == -1
    for index, operation in enumerate(graph.flow.path):
        for tensor in operation.inputs:
            assert graph.flow.position.get(tensor.name, -1) < index


def test_what_the_judged_output_does_not_depend_on_is_not_on_the_path() -> None:
    inputs = keras.Input((6,), name="features")
    x = layers.Dense(3, name="classes")(inputs)
    other = layers.Dense(2, activation="tanh", name="other")(x)
    graph = ModelGraph.of(keras.Model(inputs, [x, other]), output="classes")
    assert types(graph) == ["MatMul", "BiasAdd"]
    assert graph.flow.reaches(graph.point("features").name)
    assert not graph.flow.reaches(graph.point("other").name)


def test_behind_each_place_just_what_is_read_later_is_needed() -> None:
    graph = ModelGraph.of(networks.branches())
    flow = graph.flow
    assert len(flow.frontiers) == len(flow.path) + 1
    assert flow.frontiers[0] == flow.inputs
    assert {*flow.frontiers[-1]} == {*flow.outputs}
    assert flow.outputs[0] == graph.output.name
    for place, frontier in enumerate(flow.frontiers):
        before = {*flow.inputs, *(t.name for one in flow.path[:place] for t in one.outputs)}
        read = {t.name for one in flow.path[place:] for t in one.inputs} | {*flow.outputs}
        assert set(frontier) == before & read


def test_the_closure_ends_at_what_depends_on_the_data() -> None:
    graph = around(lambda x: x * tf.reshape(tf.range(6.0) + 1.0, (1, 6)))
    product = next(one for one in graph.flow.path if one.type == "Mul")
    needed = {graph.flow.tensor(name).op.type for name in graph.flow.closure([product])}
    assert {"Range", "AddV2", "Reshape", "Const"} < needed
    assert "MatMul" not in needed
    assert "Reshape" not in types(graph)  # it depends on no data


def test_a_number_of_samples_that_is_asked_for_is_a_constant() -> None:
    graph = around(lambda x: tf.reshape(x, (tf.shape(x)[0], 2, 3))[:, 0] @ tf.ones((3, 6)))
    assert "Shape" in [one.type for one in graph.trace.graph.get_operations()]
    assert types(graph) == [*PLAIN[:3], *("Reshape", "StridedSlice", "MatMul"), *PLAIN[3:]]
    assert {len(frontier) for frontier in graph.flow.frontiers} == {1}
    for batch in (13, 24):
        (shape,) = (value for value in graph.constants(batch).values() if value.shape == (2,))
        assert shape.tolist() == [batch, 6]


def checked_in_a_branch(x: Any) -> Any:
    """A check on which nothing that comes out depends."""

    def large() -> Any:
        with tf.control_dependencies([tf.debugging.Assert(False, ["too large"])]):
            return tf.constant(1.0)

    tf.cond(tf.reduce_any(x > 1e3), large, lambda: tf.constant(0.0))
    return tf.identity(x)


def test_what_may_raise_is_kept_although_nothing_that_comes_out_depends_on_it() -> None:
    assert "If" in types(around(checked_in_a_branch))

    def checked(x: Any) -> Any:
        tf.debugging.assert_less(x, 1e3)
        return tf.identity(x)

    assert {"Less", "All"} < {*types(around(checked))}

    def looked_at(x: Any) -> Any:
        tf.numpy_function(np.sum, [x], tf.float32)
        return tf.identity(x)

    assert {"PyFunc", "EagerPyFunc"} & {*types(around(looked_at))}


def test_the_first_use_of_a_variable_is_the_operation_that_reads_it() -> None:
    graph = around(lambda x: x)
    reads = graph.reading.read
    kernel, bias = (one.value.handle for one in graph.point("scores").operation.weights)
    first = [graph.flow.first_use(reads[id(one)]) for one in (kernel, bias)]
    assert [graph.flow.path[one].type for one in first if one is not None] == ["MatMul", "BiasAdd"]
    assert graph.flow.first_use(["no such tensor"]) is None
