"""Hooks on the layers inside a step: which calls are seen, and that no hook stays behind."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from injecttf2 import changes
from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.errors import EngineError
from injecttf2.faults import BitFlip
from injecttf2.graph import Graph
from injecttf2.hooks import Call, watched
from injecttf2.packed import Packed, Words
from injecttf2.rates import Probability
from injecttf2.steps import inner_layers
from injecttf2.trials import Cell, Identity, Repetitions
from tests.families import FAMILIES, Block

IN_A_LOOP = "it runs inside a loop or function of TensorFlow's, where one call stands for many"
NOT_CALLED = "it is not called by itself when the model runs, or only in a compiled function"


def functional(layer: Any, shape: tuple[int, ...] = (6,)) -> keras.Model:
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input(shape, name="features")
    outputs = layers.Dense(3, name="classes")(layers.Flatten(name="flatten")(layer(inputs)))
    return keras.Model(inputs, outputs)


def reasons(model: keras.Model) -> dict[str, str | None]:
    return {info.layer: info.reason for info in Graph(model).layers if info.inside is not None}


def seen(operation: Any, inputs: Any) -> list[tuple[str, int]]:
    operation(inputs)  # which builds it, by calling it more often
    calls = []

    def visit(call: Call, outputs: Any) -> Any:
        calls.append(("/".join(call.path), call.number))
        return outputs

    with watched(operation, visit):
        operation(inputs)
    return calls


def test_calls_are_seen_by_path_and_numbered() -> None:
    assert seen(Block(), tf.ones((2, 6))) == [("first", 1), ("first", 2), ("norm", 1)]
    nested = keras.Sequential([Block(name="a"), Block(name="b")])
    assert seen(nested, tf.ones((2, 6))) == [
        *[("a/first", 1), ("a/first", 2), ("a/norm", 1), ("a", 1)],
        *[("b/first", 1), ("b/first", 2), ("b/norm", 1), ("b", 1)],
    ]


def test_what_is_returned_takes_the_place_of_what_a_layer_gives_out() -> None:
    block = Block()
    block(tf.ones((2, 6)))

    def visit(call: Call, outputs: Any) -> Any:
        return outputs + 1.0 if call.path == ("norm",) else outputs

    expected = block(tf.ones((2, 6))) + 1.0
    with watched(block, visit):
        assert np.array_equal(block(tf.ones((2, 6))), expected)


def test_every_layer_is_as_it_was_afterwards_whatever_happens() -> None:
    block = Block()
    block(tf.ones((2, 6)))
    expected = block(tf.ones((2, 6))).numpy()
    own = block.norm.call
    vars(block.norm)["call"] = own  # as a user may have set it
    before = [dict(vars(layer)) for layer in inner_layers(block)]

    def fails(call: Call, outputs: Any) -> Any:
        raise RuntimeError(call.path)

    with pytest.raises(RuntimeError, match="first"), watched(block, fails):
        block(tf.ones((2, 6)))
    after = [dict(vars(layer)) for layer in inner_layers(block)]
    assert after == before
    assert after[-1]["call"] is own
    assert np.array_equal(block(tf.ones((2, 6))), expected)


def test_a_quantised_layer_is_seen_once_for_each_call() -> None:
    block = Block()
    block(tf.ones((2, 6)))
    block.first.quantize("int8")
    assert seen(block, tf.ones((2, 6))) == [("first", 1), ("first", 2), ("norm", 1)]


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
    known = {info.layer: info.reason for info in Graph(model, (2, 4)).layers}
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


def test_a_step_that_calls_its_layers_in_another_way_each_time_is_an_error() -> None:
    class Moody(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="moody")
            self.dense = layers.Dense(6, name="dense")
            self.calls = True

        def build(self, shape: Any) -> None:
            self.dense.build(shape)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs) if self.calls else inputs

    moody = Moody()
    graph = Graph(functional(moody))
    cut = graph.cut("moody/dense")
    moody.calls = False
    with pytest.raises(EngineError, match="'dense' inside 'moody' made 0 calls where 1"):
        graph.run(cut.prefix, graph.feed(tf.ones((2, 6))))


def test_a_wrapped_layers_second_call_is_the_second_part_of_the_wrappers_output() -> None:
    family = FAMILIES["wrapped"]
    data = family.data(20)
    engine = Engine(family.model(), Dataset(data, np.zeros(20, np.int64)))
    inner = engine.prepare("steps/each#2")
    outer = engine.prepare("steps")
    rows = np.arange(20)
    elements = rows % 6
    found = []
    # elements of the second of three steps
    for injected, first in ((inner, 0), (outer, 6)):
        engine.prepare(injected.layer)
        at = (first + elements).astype(np.int32)
        flips = changes.flipping(np.full(20, 1 << 30, np.uint32))
        hits = Packed(rows.astype(np.int32), (Words(rows.astype(np.int32), at, flips),))
        suffix, block = injected._suffix, injected._block
        values, _ = suffix.values(block, hits, 0, rows, at.astype(np.int64))
        found.append((values.tobytes(), suffix.outputs(block, hits).tobytes()))
    assert found[0] == found[1]
    assert found[0][1] != engine.golden.outputs.tobytes()


def test_no_hook_stays_behind_in_the_engine() -> None:
    family = FAMILIES["transformer"]
    model, data = family.model(), family.data(20)
    expected = model.predict(data, verbose=0)
    before = [sorted(vars(layer)) for layer in inner_layers(model)]
    engine = Engine(model, Dataset(data, np.zeros(20, np.int64)))
    cell = Cell("mha/value", BitFlip(bit=30), Probability(1.0))
    (trial,) = Repetitions(cell, 0, 1).trials(Identity("model", "data", 1))
    assert engine.evaluate([trial]).tallies.injected.tolist() == [20]
    assert [sorted(vars(layer)) for layer in inner_layers(model)] == before
    assert np.array_equal(model.predict(data, verbose=0), expected)
