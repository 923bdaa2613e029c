"""Which calls of layers are noted, and that nothing of it stays behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.errors import ModelError
from injecttf2.evaluation import dependence
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.faults.listed import FromFaultList
from injecttf2.graph.keras_model import CALLED
from injecttf2.graph.keras_steps import inner_layers
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.noting import noting
from injecttf2.sampling.rates import Probability
from injecttf2.sampling.sites import Sites
from tests.builders import cell_of
from tests.comparing import trials_of
from tests.families import FAMILIES, Block

IN_A_LOOP = "it runs inside a loop or function of TensorFlow's, where one call stands for many"
NOT_CALLED = "it is not called by itself when the model runs, or only in a compiled function"


def functional(layer: Any, shape: tuple[int, ...] = (6,)) -> keras.Model:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input(shape, name="features")
    outputs = layers.Dense(3, name="classes")(layers.Flatten(name="flatten")(layer(inputs)))
    return keras.Model(inputs, outputs)


def reasons(model: keras.Model) -> dict[str, str | None]:
    return {info.layer: info.reason for info in ModelGraph.of(model).layers if "/" in info.layer}


def held(layer: Any) -> list[Any]:
    """A layer and those that it holds."""
    return [layer, *inner_layers(layer)]


def noted(operation: Any, inputs: Any) -> list[str]:
    """The calls of an operation's layers, by their names, as they end."""
    operation(inputs)  # which builds it, by calling it more often
    calls = []

    def visit(within: Sequence[Any], layer: Any, outputs: Any) -> Any:
        calls.append("/".join(one.name for one in (*within, layer)))
        return outputs

    with noting(held(operation), CALLED, visit):
        operation(inputs)
    return calls


def test_calls_are_noted_as_they_end_with_the_layers_that_they_are_made_in() -> None:
    block = ["block/first", "block/first", "block/norm", "block"]
    assert noted(Block(name="block"), tf.ones((2, 6))) == block
    nested = keras.Sequential([Block(name="block")], name="nested")
    calls = noted(nested, tf.ones((2, 6)))
    assert [call for call in calls if "functional" not in call][-1] == "nested"
    assert [call.partition("block")[1:] for call in calls if "block" in call] == [
        ("block", one.removeprefix("block")) for one in block
    ]


def test_what_is_returned_takes_the_place_of_what_a_layer_gives_out() -> None:
    block = Block()
    block(tf.ones((2, 6)))

    def visit(within: Sequence[Any], layer: Any, outputs: Any) -> Any:
        return outputs + 1.0 if layer is block.norm else outputs

    expected = block(tf.ones((2, 6))) + 1.0
    with noting(held(block), CALLED, visit):
        assert np.array_equal(block(tf.ones((2, 6))), expected)


def test_every_layer_is_as_it_was_afterwards_whatever_happens() -> None:
    block = Block()
    block(tf.ones((2, 6)))
    expected = block(tf.ones((2, 6))).numpy()
    own = block.norm.call
    vars(block.norm)["call"] = own  # as a user may have set it
    before = [dict(vars(layer)) for layer in held(block)]

    def fails(within: Sequence[Any], layer: Any, outputs: Any) -> Any:
        raise RuntimeError(layer.name)

    with pytest.raises(RuntimeError, match="first"), noting(held(block), CALLED, fails):
        block(tf.ones((2, 6)))
    after = [dict(vars(layer)) for layer in held(block)]
    assert after == before
    assert after[-1]["call"] is own
    assert np.array_equal(block(tf.ones((2, 6))), expected)


def test_a_quantised_layer_is_noted_once_for_each_call() -> None:
    block = Block(name="block")
    block(tf.ones((2, 6)))
    block.first.quantize("int8")
    calls = noted(block, tf.ones((2, 6)))
    assert calls == ["block/first", "block/first", "block/norm", "block"]


def test_a_layer_in_a_loop_or_function_of_tensorflow_cannot_be_injected() -> None:
    class Mapped(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="mapped")
            self.each = layers.Dense(6, name="each")
            self.once = layers.Dense(6, name="once")

        def build(self, shape: Any) -> None:
            self.each.build((None, 6))
            self.once.build(shape)

        def call(self, inputs: Any) -> Any:
            rows = tf.map_fn(lambda row: self.each(row[tf.newaxis])[0], inputs)
            return self.once(rows)

    assert reasons(functional(Mapped())) == {"mapped/each": IN_A_LOOP, "mapped/once": None}

    class Compiled(Mapped):
        @tf.function
        def call(self, inputs: Any) -> Any:
            return self.once(self.each(inputs))

    found = reasons(functional(Compiled()))
    assert found in (
        {"mapped/each": IN_A_LOOP, "mapped/once": IN_A_LOOP},
        {"mapped/each": NOT_CALLED, "mapped/once": NOT_CALLED},  # traced before
    )


def test_a_wrapper_that_is_vectorised_over_steps_of_any_number_has_no_layer_to_inject() -> None:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((None, 4), name="series")
    x = layers.TimeDistributed(layers.Dense(3, name="each"), name="steps")(inputs)
    model = keras.Model(inputs, layers.GlobalAveragePooling1D(name="pool")(x))
    assert reasons(model) == {"steps/each": IN_A_LOOP}
    data = np.zeros((3, 2, 4), np.float32)
    known = {info.layer: info.reason for info in ModelGraph.of(model, data).layers}
    assert known == dict.fromkeys(["series", "steps/each", "steps/each#2", "steps", "pool"])


def test_a_layer_whose_first_axis_is_not_the_sample_cannot_be_injected() -> None:
    class Pairs(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="pairs")
            self.dense = layers.Dense(3, name="dense")

        def build(self, _: Any) -> None:
            self.dense.build((None, 3))

        def call(self, inputs: Any) -> Any:
            return keras.ops.reshape(self.dense(keras.ops.reshape(inputs, (-1, 3))), (-1, 6))

    assert reasons(functional(Pairs())) == {"pairs/dense": "its first axis is not the sample"}


def test_a_layer_that_calls_its_layers_in_another_way_each_time_is_refused() -> None:
    class Moody(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="moody")
            self.dense = layers.Dense(6, name="dense")
            self.calls = 0

        def build(self, shape: Any) -> None:
            self.dense.build(shape)

        def call(self, inputs: Any) -> Any:
            self.calls += 1
            return self.dense(inputs) if self.calls % 2 else inputs

    data = np.ones((30, 6), np.float32)
    graph = ModelGraph.of(functional(Moody()), data)
    with pytest.raises(ModelError, match="gives out other values the second time"):
        dependence.check(graph, Dataset(data, np.zeros(30, np.int64)))


def test_a_wrapped_layers_second_call_is_the_second_part_of_the_wrappers_output() -> None:
    family = FAMILIES["wrapped"]
    data = family.data(20)
    engine = Engine(family.model(), Dataset(data, np.zeros(20, np.int64)))
    found = []
    # elements of the second of three steps
    for layer, first in (("steps/each#2", 0), ("steps", 6)):
        place = np.arange(20) % 6 + first
        sites = Sites(np.arange(20), place, np.full(20, 30), np.zeros((20, 0)))
        cell = cell_of(layer, BitFlip(bit=30), FromFaultList("list", outputs=(sites,)))
        (trial,) = trials_of(cell)
        rows = engine.evaluate([trial], record=True).injections
        assert rows is not None
        found.append((rows.original.tolist(), engine.outputs(trial)[1].tobytes()))
    assert found[0] == found[1]
    assert found[0][1] != engine.golden.outputs.tobytes()


def test_nothing_stays_behind_in_the_model() -> None:
    family = FAMILIES["transformer"]
    model, data = family.model(), family.data(20)
    expected = model.predict(data, verbose=0)
    before = [dict(vars(layer)) for layer in held(model)]
    engine = Engine(model, Dataset(data, np.zeros(20, np.int64)))
    cell = cell_of("mha/value", BitFlip(bit=30), Probability(1.0))
    assert engine.evaluate(trials_of(cell)).tallies.injected.tolist() == [20]
    for layer, attributes in zip(held(model), before, strict=True):
        assert sorted(vars(layer)) == sorted(attributes)
        assert not {*CALLED} & {*vars(layer)}
    assert np.array_equal(model.predict(data, verbose=0), expected)
