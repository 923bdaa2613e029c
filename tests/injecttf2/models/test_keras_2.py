"""Models of Keras 2: injected as a recomputation by Keras 2 itself has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from injecttf2.engine import Engine
from injecttf2.errors import ModelError
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.models.digest import model_digest
from injecttf2.models.inputs import model_inputs
from injecttf2.models.keras2_model import Keras2Model
from tests.keras_2 import KINDS, Bent, shaken
from tests.splitting import check_outputs, check_weights, dataset, halves


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    tf_keras.backend.clear_session()
    return str(request.param)


def symbolic(model: Any, address: str) -> Any:
    layer, _, call = address.partition("#")
    return model.get_layer(layer).get_output_at(int(call or 1) - 1)


def test_faults_in_outputs_and_weights_do_what_they_do_in_keras_2(name: str) -> None:
    kind = KINDS[name]
    model, data = kind.model(), kind.data()
    output = "b" if name == "branches" else None
    judged = model.output if output is None else model.output[output]
    engine = Engine(ModelGraph.of(Keras2Model(model), tuple(data), output=output), dataset(data))
    seen: set[str] = set()
    for layer in kind.outputs:
        split = halves(tf_keras, model, data, symbolic(model, layer), judged)
        seen |= check_outputs(engine, layer, split)

    def whole() -> np.ndarray:
        outputs = model(data if len(data) > 1 else data[0], training=False)
        return np.array(outputs if output is None else outputs[output])

    for layer in kind.weights:
        *outer, last = layer.split("/")
        held = model.get_layer(outer[0]) if outer else model
        found = held.get_layer(last)
        paths = [one.name.partition(":")[0].removeprefix(f"{layer}/") for one in found.weights]
        ends = [path.rpartition("/")[2] for path in paths]
        names = [
            end if ends.count(end) == 1 else path for end, path in zip(ends, paths, strict=True)
        ]
        variables = dict(zip(names, found.weights, strict=True))
        seen |= check_weights(engine, layer, variables, whole)
    assert {"sdc", "benign"} <= seen


def test_all_layers_have_the_addresses_that_keras_3_would_give() -> None:
    graph = ModelGraph.of(Keras2Model(KINDS["shared"].model()))
    assert [info.layer for info in graph.layers] == [
        *("given", "dense", "inner/deep", "dense#2", "inner/deep#2", "classes")
    ]
    assert {info.reason for info in graph.layers} == {None}


def test_inputs_are_called_as_in_predict() -> None:
    model = Keras2Model(KINDS["branches"].model())
    inputs = model_inputs(model)
    assert [(one.called, one.shape, one.ordered) for one in inputs] == [
        ("left", (5,), False),
        ("right", (3, 4), False),
    ]
    graph = ModelGraph.of(model)
    assert [one.called for one in graph.output_slots] == ["a", "b"]


def test_a_users_layer_is_converted_by_autograph_and_its_layers_are_hit() -> None:
    given = tf_keras.Input((4,), name="given")
    model = shaken(tf_keras.Model(given, Bent(name="bent")(given)))
    graph = ModelGraph.of(Keras2Model(model))
    assert [info.layer for info in graph.layers] == ["given", "bent/inside", "bent"]
    data = [np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)]
    engine = Engine(ModelGraph.of(Keras2Model(model), tuple(data)), dataset(data))
    inside = model.get_layer("bent").dense

    def back(values: np.ndarray) -> np.ndarray:
        return np.array(tf.constant(values) * 2.0 + data[0])

    check_outputs(engine, "bent/inside", (lambda: inside(data[0]).numpy(), back))


def test_layers_are_as_before_after_tracing() -> None:
    model = KINDS["convolutions"].model()
    before = [set(vars(layer)) for layer in model._flatten_layers()]
    ModelGraph.of(Keras2Model(model))
    assert [set(vars(layer)) for layer in model._flatten_layers()] == before


def test_a_stateful_layer_is_told_of() -> None:
    given = tf_keras.Input(batch_shape=(6, 5, 4))
    model = tf_keras.Model(given, tf_keras.layers.LSTM(2, stateful=True)(given))
    graph = ModelGraph.of(Keras2Model(model))
    assert graph.batch == 6
    assert len(graph.trace.assigned) == 2


def test_a_subclassed_model_must_have_been_called() -> None:
    class Mine(tf_keras.Model):
        def __init__(self) -> None:
            super().__init__(name="mine")
            self.dense = tf_keras.layers.Dense(3, name="dense")

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

    model = Mine()
    with pytest.raises(ModelError, match=r"'mine' \(Mine\) has not been called"):
        Keras2Model(model)
    model(np.zeros((1, 4), np.float32))
    graph = ModelGraph.of(Keras2Model(model))
    assert [(info.layer, info.shape) for info in graph.layers][1] == ("dense", (3,))


def test_digests_follow_weights_and_what_is_computed(name: str) -> None:
    kind = KINDS[name]
    model = kind.model()
    digest = model_digest(Keras2Model(model))
    tf_keras.backend.clear_session()
    again = kind.model()
    assert model_digest(Keras2Model(again)) == digest
    variable = again.weights[0]
    values = variable.numpy()
    values.flat[0] = np.nextafter(values.flat[0], np.float32(9))
    variable.assign(values)
    assert model_digest(Keras2Model(again)) != digest


def test_digests_tell_activations_and_constants_apart() -> None:
    def made(activation: str, factor: float) -> str:
        tf_keras.backend.clear_session()
        given = tf_keras.Input((4,))
        dense = tf_keras.layers.Dense(3, activation)(given)
        return model_digest(Keras2Model(shaken(tf_keras.Model(given, dense * factor))))

    assert made("relu", 2.0) == made("relu", 2.0)
    assert len({made("relu", 2.0), made("tanh", 2.0), made("relu", 3.0)}) == 3
