"""Weight variables: each is one place, whatever has it, and none where it is not read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.errors import ModelError
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.traceable import Variable
from injecttf2.graph.weights import UNREAD as NOT_READ
from injecttf2.graph.weights import all_counted, reason_of, unread_of, weights_of
from injecttf2.models.digest import model_digest
from injecttf2.sampling.rates import Exhaustive
from injecttf2.trial import WEIGHTS, CellTrials, Identity
from tests import networks, sharing
from tests.builders import cell_of
from tests.families import FAMILIES
from tests.sharing import SHARING, UNREAD

IDENTITY = Identity(model="m", data="d", seed=1)
TOP = {1: 6, 2: 14, 4: 30}
"""The highest bit of an exponent by the bytes of a word, or of a whole number's size."""


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    keras.utils.clear_session(free_memory=False)
    yield
    keras.utils.clear_session(free_memory=False)


def counted(graph: ModelGraph) -> dict[str, list[str]]:
    """The weights that are counted at each address."""
    return {
        layer: names
        for layer, ones in all_counted(graph).items()
        if (names := [one.weight.name for one in ones if one.at and one.at.layer == layer])
    }


def elements(graph: ModelGraph) -> int:
    """Elements of all that is counted, each where it is."""
    return sum(
        one.weight.elements
        for layer, ones in all_counted(graph).items()
        for one in ones
        if one.at and (one.at.layer, one.at.name) == (layer, one.weight.name)
    )


def assign(variable: Variable, values: np.ndarray) -> None:
    tf.raw_ops.AssignVariableOp(resource=variable.handle, value=values)


def outputs(model: keras.Model, inputs: Any) -> np.ndarray:
    """What Keras computes in one graph, [samples, classes]."""
    arrays = inputs if isinstance(inputs, tuple) else (inputs,)
    given = [tf.constant(array) for array in arrays]

    @tf.function
    def whole() -> Any:
        return model(given if len(given) > 1 else given[0], training=False)

    values: np.ndarray = whole().numpy()
    return values


def flipped(values: np.ndarray, element: int) -> np.ndarray:
    """Values with the highest bit of the exponent of one of them the other way."""
    words = values.copy().reshape(-1)
    bits = words.view(f"u{values.itemsize}")
    bits[element] ^= np.array(1 << TOP[values.itemsize], bits.dtype)
    return words.reshape(values.shape)


@pytest.mark.parametrize("name", SHARING)
def test_every_variable_is_counted_at_one_address(name: str) -> None:
    build, expected = SHARING[name]
    model = build()
    graph = ModelGraph.of(model)
    assert counted(graph) == expected
    assert elements(graph) == model.count_params()


@pytest.mark.filterwarnings("ignore:Layer 'inner'")  # Keras, of masks that end there
@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_counted_is_all_that_keras_counts(name: str) -> None:
    family = FAMILIES[name]
    model = family.model()
    graph = ModelGraph.of(model, family.data(3), output=family.output)
    off = model.get_layer("box").count_params() if name == "two_by_two" else 0
    assert elements(graph) == model.count_params() - off


def test_the_weights_of_a_head_that_is_not_judged_are_none_that_can_be_injected() -> None:
    family = FAMILIES["two_by_two"]
    graph = ModelGraph.of(family.model(), family.data(3), output="classes")
    expected = "its weights do not reach the output 'classes', which is judged"
    assert reason_of(graph, "box") == expected
    assert [one.reason for one in all_counted(graph)["box"]] == [expected] * 2
    assert reason_of(ModelGraph.of(family.model()), "box") is None


@pytest.mark.parametrize("name", [*SHARING, "spectral", "counting", "float8"])
def test_faults_in_what_is_counted_do_what_they_do_in_keras(name: str) -> None:
    """Faults set by hand into the variables, which every call and every layer reads."""
    model = {**SHARING, **UNREAD}[name][0]()
    inputs = sharing.data(model)
    engine = Engine(model, Dataset(inputs, np.zeros(20, int)))
    golden = outputs(model, inputs)
    for layer, names in counted(engine.graph).items():
        for weight in weights_of(engine.graph, layer):
            if weight.name not in names:
                continue
            values = weight.variable.read()
            fault, count = BitFlip(bit=TOP[values.itemsize]), min(weight.elements, 2)
            cell = cell_of(layer, fault, Exhaustive(), WEIGHTS, weight.name)
            trials = list(CellTrials(cell, 0, count).trials(IDENTITY))
            tallies = engine.evaluate(trials).tallies
            changed = False
            for element in range(count):
                assign(weight.variable, flipped(values, element))
                faulty = outputs(model, inputs)
                due = ~np.isfinite(faulty).all(axis=1)
                sdc = ~due & (faulty.argmax(axis=1) != golden.argmax(axis=1))
                changed |= not np.array_equal(faulty, golden)
                found = tallies.due[element], tallies.sdc[element]
                assert found == (due.sum(), sdc.sum()), (layer, weight.name, element)
            assign(weight.variable, values)
            assert changed, (layer, weight.name)


@pytest.mark.parametrize("name", UNREAD)
def test_what_inference_does_not_read_is_no_place(name: str) -> None:
    build, expected = UNREAD[name]
    model = build()
    graph = ModelGraph.of(model)
    layers_ = [info.layer for info in graph.layers]
    found = {
        layer: [one.name.rpartition("/")[2] for one in unread_of(graph, layer)] for layer in layers_
    }
    assert {layer: names for layer, names in found.items() if names} == expected
    unread = {
        one.variable.key: one.variable for layer in layers_ for one in unread_of(graph, layer)
    }
    sizes = sum(int(np.prod(variable.shape)) for variable in unread.values())
    assert elements(graph) == model.count_params() - sizes
    for layer in layers_:
        told = [one.weight.name for one in all_counted(graph)[layer] if one.reason == NOT_READ]
        assert told == [one.name for one in unread_of(graph, layer)]


@pytest.mark.parametrize("name", UNREAD)
def test_whatever_is_in_what_is_not_read_keras_gives_out_the_same(name: str) -> None:
    model = UNREAD[name][0]()
    graph = ModelGraph.of(model)
    inputs = sharing.data(model)
    golden = outputs(model, inputs)
    for weight in (one for info in graph.layers for one in unread_of(graph, info.layer)):
        values = weight.variable.read()
        for filled in (
            np.zeros_like(values),
            ~values if values.dtype.kind == "i" else values + np.nan,
        ):
            assign(weight.variable, filled)
            assert np.array_equal(outputs(model, inputs), golden), weight.name
        assign(weight.variable, values)
    for variable in (
        one.variable for info in graph.layers for one in weights_of(graph, info.layer)
    ):
        values = variable.read()
        assign(variable, flipped(values, 0))
        assert not np.array_equal(outputs(model, inputs), golden), variable.path
        assign(variable, values)


def test_a_layer_of_which_nothing_is_read_has_no_weights_for_faults() -> None:
    graph = ModelGraph.of(sharing.adapted())
    assert reason_of(graph, "normalization") == "it has no weights that inference reads"
    assert reason_of(graph, "features") == "it has no weights"
    engine = Engine(sharing.adapted(), Dataset(*sharing.dataset()))
    cell = cell_of("normalization", BitFlip(bit=30), Exhaustive(), WEIGHTS)
    with pytest.raises(ModelError, match="'normalization' has no weights that inference reads"):
        engine.evaluate(list(CellTrials(cell, 0, 1).trials(IDENTITY)))


class Bounded(layers.Layer):
    """Raises where a value is above a bound, which nothing that comes out depends on."""

    def build(self, shape: Any) -> None:
        del shape
        self.bound = self.add_weight(shape=(), name="bound", initializer="ones")

    def call(self, x: Any) -> Any:
        tf.debugging.assert_less(tf.reduce_max(x), 1e9 * self.bound)
        return tf.identity(x)


class Absolute(layers.Layer):
    """Names its operations from the root of the graph."""

    def build(self, shape: Any) -> None:
        del shape
        self.shift = self.add_weight(shape=(), name="shift", initializer="ones")

    def call(self, x: Any) -> Any:
        with tf.name_scope("elsewhere/"):
            return x + self.shift


def test_what_may_raise_and_what_is_named_elsewhere_is_read() -> None:
    graph = ModelGraph.of(
        sharing.around(lambda x: Absolute(name="absolute")(Bounded(name="bounded")(x)))
    )
    for layer, name in (("bounded", "bound"), ("absolute", "shift")):
        assert [one.name for one in weights_of(graph, layer)] == [name]


class Compiled(keras.Model):
    """Calls one of its layers in a compiled function, and reads the kernel of another itself."""

    def build(self, shape: Any) -> None:
        self.inside = layers.Dense(6, name="inside")
        self.table = layers.Dense(6, name="table")
        self.classes = layers.Dense(3, name="classes")
        for layer in (self.inside, self.table, self.classes):
            layer.build(shape)
        self.compiled_call = tf.function(lambda x: self.inside(x))

    def call(self, x: Any) -> Any:
        return self.classes(keras.ops.matmul(self.compiled_call(x), self.table.kernel))


def test_weights_in_a_compiled_function_are_left_out_and_those_that_are_read_directly_not() -> None:
    model = Compiled(name="model")
    model(np.zeros((1, 6), "f4"))
    any_number = tf.TensorSpec((None, 6), tf.float32)
    tf.function(model).get_concrete_function(any_number)  # so the layer's function is compiled too
    graph = ModelGraph.of(model)
    assert counted(graph) == {"classes": ["kernel", "bias"], "table": ["kernel"]}
    told = {one.weight.name: one.reason for one in all_counted(graph)["inside"]}
    reason = "a tf.function inside it reads its weights, which a fault cannot reach; "
    assert told == dict.fromkeys(["kernel", "bias"], f"{reason}take @tf.function off")
    assert [one.name for one in unread_of(graph, "table")] == ["bias"]


class Fresh(layers.Layer):
    """Compiles a function anew whenever it is called."""

    def build(self, shape: Any) -> None:
        del shape
        self.factor = self.add_weight(shape=(6,), name="factor", initializer="ones")

    def call(self, x: Any) -> Any:
        return tf.function(lambda: x * self.factor)()


def grouped(x: Any) -> Any:
    x = layers.Conv1D(4, 2, groups=2, name="inner")(layers.Reshape((3, 2), name="series")(x))
    return layers.Flatten(name="flatten")(x)


FUNCTIONS = {"grouped": grouped, "fresh": lambda x: Fresh(name="inner")(x)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_weights_in_functions_that_are_compiled_anew_can_be_injected(name: str) -> None:
    """As Keras compiles a grouped convolution by XLA on a CPU."""
    model = sharing.around(FUNCTIONS[name])
    engine = Engine(model, Dataset(*sharing.dataset()))
    assert reason_of(engine.graph, "inner") is None
    cell = cell_of("inner", BitFlip(bit=30), Exhaustive(), WEIGHTS)
    tallies = engine.evaluate(list(CellTrials(cell, 0, 6).trials(IDENTITY))).tallies
    assert (tallies.sdc + tallies.due).sum() > 0


def test_a_model_for_inputs_of_any_size_reads_what_its_layers_hold() -> None:
    inputs = keras.Input((None, None, 1), name="image")
    x = layers.GlobalMaxPooling2D(name="pool")(layers.Conv2D(3, 3, name="conv")(inputs))
    graph = ModelGraph.of(keras.Model(inputs, layers.Dense(5, name="classes")(x)))
    assert counted(graph) == {"conv": ["kernel", "bias"], "classes": ["kernel", "bias"]}


def test_a_model_that_cannot_be_run_is_told_with_what_it_was_run_on() -> None:
    inputs = keras.Input((6,), name="features")
    model = keras.Model(inputs, layers.Dense(3, name="my dense")(inputs))
    with pytest.raises(
        ModelError, match=r"on samples of \(6,\) float32: .*'my dense' is not a valid"
    ):
        model_digest(model)


def test_the_digest_counts_which_weights_are_read_only_where_some_are_not() -> None:
    plain, some = networks.branches(), sharing.spectral()
    for model, differs in ((plain, False), (some, True)):
        graph = ModelGraph.of(model)
        digest = model_digest(model, graph)
        assert digest == model_digest(model)
        graph.reading = Mock(reads=lambda _: True)
        assert (model_digest(model, graph) != digest) == differs
