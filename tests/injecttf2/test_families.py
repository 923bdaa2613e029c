"""Models of all families of layers: cut at every address, and injected like the reference."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.errors import ModelError
from injecttf2.evaluation import batching
from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.faults.value_faults import Constant, RandomBits, RandomValue, Scale
from injecttf2.graph import segments
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.levels import Level
from injecttf2.sampling.rates import BitErrorRate, Count, Probability
from injecttf2.trial import TOGETHER, WEIGHTS, CellTrials, Identity, Scope
from tests import kinds_of_faults
from tests.builders import cell_of
from tests.comparing import assert_equal, assert_same, trials_of
from tests.families import FAMILIES, WHOLE
from tests.reference import Reference
from tests.reference_calls import given
from tests.tables import MODELS, check_row, layers_of, names

pytestmark = pytest.mark.filterwarnings(
    "ignore:Layer 'inner' .of type Functional. was passed an input with a mask:UserWarning"
)

SAMPLES = 40

ADDRESSES = {
    "nested_twice": ["block/inner/dense", "block/inner/dense#2"],
    "by_name": ["b", "pair/subtract"],
    "two_by_two": ["image", "dense"],
    "shared": ["shared", "shared#2"],
    "convolutions": ["separable", "depthwise", "conv1"],
    "recurrent": ["embedding", "both/backward_gru"],
    "states": ["masking", "lstm:1"],
    "transformer": ["embedding", "mha/key", "mha", "norm"],
    "subclassed": ["block1/first#2", "head/hidden"],
    "wrapped": ["steps/each#2", "block/first", "block"],
    "mixed_float16": ["conv", "inner/dense"],
    "mixed_bfloat16": ["conv", "inner/dense"],
    "quantised": ["einsum", "dense"],
    "whole_numbers": list(WHOLE),
    "checked": ["features", "first", "second", "third"],
    "cross_attention": ["memory", "decoder", "cross/key", "cross", "last"],
    "u_net": ["down1_relu", "bottom_conv", "up2_up", "up1_skip", "pixels"],
}


@pytest.fixture(params=FAMILIES)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param
    keras.utils.clear_session(free_memory=False)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "LARGEST_BATCH", 48)


@cache
def traced(name: str) -> tuple[keras.Model, ModelGraph]:
    """A model and its graph, traced once for all tests."""
    family = FAMILIES[name]
    model = family.model()
    return model, ModelGraph.of(model, family.data(SAMPLES), output=family.output)


@pytest.fixture
def cut_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many segments as there are places to cut at."""
    monkeypatch.setattr(segments, "HANDING", 0.0)  # small models are cut too
    monkeypatch.setattr(segments, "ELEMENT", 0.0)
    monkeypatch.setattr(segments, "SEGMENTS", 10**6)


@pytest.mark.usefixtures("cut_everywhere")
def test_the_chain_gives_the_models_own_outputs_bit_for_bit_from_every_layer_on(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "LARGEST_BATCH", 24)
    data = FAMILIES[name].data(24)
    model, graph = traced(name)
    tensors = tuple(tf.constant(one) for one in (data if isinstance(data, tuple) else (data,)))
    whole = tf.function(lambda: model(given(model, tensors), training=False), autograph=False)
    expected = keras.tree.flatten(whole())[-1].numpy()
    engine = engine_of(name, dataset(name, 24))
    assert engine.golden.outputs.tobytes() == expected.tobytes()
    layers = [info.layer for info in graph.layers if info.reason is None]
    assert set(ADDRESSES[name]) <= set(layers)
    for layer in layers:
        samples, outputs = engine.outputs(*trials_of(cell_of(layer, Scale(1.0), Probability(1.0))))
        assert samples.tolist() == list(range(24))
        assert outputs.tobytes() == expected.tobytes(), layer


FAULTS = {
    "flip": (BitFlip(bit_field="any"), Probability(0.9)),
    "flips": (BitFlip(bit_field="any"), Count(45)),
    "scale": (Scale(-20.0), Count(40)),
}
"""No batch has more words that change than samples: so each layer is compiled once."""

WEIGHT_FAULTS = {
    "flip": (BitFlip(bit_field="any"), Count(1)),
    "flips": (BitFlip(bit_field="any"), BitErrorRate(0.01)),
    "stuck": (StuckAt(bit_field="sign", value=1), Count(3)),
}

IN_WEIGHTS = {
    "nested_twice": "block/inner/dense",
    "by_name": "classes",
    "two_by_two": "conv",
    "shared": "shared#2",
    "convolutions": "separable",
    "recurrent": "both",
    "states": "second",
    "transformer": "mha",
    "subclassed": "block1",
    "wrapped": "steps",
    "mixed_float16": "conv",
    "mixed_bfloat16": "inner/dense",
    "quantised": "einsum",
    "whole_numbers": "dense",
    "checked": "second",
    "cross_attention": "cross",
    "u_net": "up2_up",
}


def dataset(name: str, samples: int = SAMPLES) -> Dataset:
    family = FAMILIES[name]
    return Dataset(family.data(samples), family.labels(samples, np.random.default_rng(3)))


def engine_of(name: str, data: Dataset, *levels: Level) -> Engine:
    """An engine that uses some levels; without any level dense."""
    return Engine(traced(name)[1], data, levels=levels, assessment=FAMILIES[name].assessment)


@cache
def engine_and_reference(name: str) -> tuple[Engine, Reference]:
    model, graph = traced(name)
    data = dataset(name)
    reference = Reference(
        model,
        data.inputs,
        data.labels,
        output=len(graph.outputs) - 1,
        judging=FAMILIES[name].judging,
        watched=[info.layer for info in graph.layers if info.reason is None],
    )
    return engine_of(name, data), reference


def test_outcomes_equal_the_reference(name: str, pytestconfig: pytest.Config) -> None:
    engine, reference = engine_and_reference(name)
    cells = [cell_of(layer, *both) for layer in ADDRESSES[name] for both in FAULTS.values()]
    order = [info.layer for info in engine.graph.layers]
    together = TOGETHER.join(sorted(ADDRESSES[name], key=order.index))
    cells += [cell_of(together, *both) for both in FAULTS.values()]
    every = [info.layer for info in engine.graph.layers if info.reason is None]
    cells += [cell_of(TOGETHER.join(every), BitFlip(bit_field="any"), Count(1))]
    cells += [cell_of(IN_WEIGHTS[name], *both, WEIGHTS) for both in WEIGHT_FAULTS.values()]
    seen = set()
    for cell in cells:
        seen |= assert_equal(engine, reference, trials_of(cell))
    assert len(seen) >= 3
    what = (FAMILIES[name].build.__doc__ or "").strip().rstrip(".")
    row = (
        name.replace("_", " "),
        what,
        *layers_of(engine.graph),
        names(ADDRESSES[name]),
        names([IN_WEIGHTS[name]]),
    )
    check_row(MODELS, "families", row, write=pytestconfig.getoption("write_tables"))


def test_faults_of_all_kinds_equal_the_reference_in_every_target(name: str) -> None:
    engine, reference = engine_and_reference(name)
    for fault in kinds_of_faults.FAULTS:
        in_outputs = cell_of(ADDRESSES[name][0], fault, Count(45))
        for cell in (in_outputs, cell_of(IN_WEIGHTS[name], fault, Count(2), WEIGHTS)):
            dtypes = engine.prepare(cell.scope).dtypes
            if any(fault in kinds_of_faults.REFUSED.get(dtype, ()) for dtype in dtypes):
                with pytest.raises((ModelError, ValueError), match=r"int8|float16"):
                    engine.evaluate(trials_of(cell))
            else:
                assert_equal(engine, reference, trials_of(cell))


IN_WHOLE_NUMBERS = (
    BitFlip(bit_field="any"),
    BitFlip(bit_field="any", burst=3),
    StuckAt(bit_field="sign", value=1),
    RandomBits(),
    Constant(-128),
    RandomValue("uniform", low=-128, high=128),
    RandomValue("normal", mean=0.0, std=90.0),
    Scale(-1.5),
)


NEEDS_A_SIGN = (StuckAt(bit_field="sign", value=1), Constant(-128))


def test_faults_in_int8_weights_equal_the_reference() -> None:
    engine, reference = engine_and_reference("quantised")
    for fault in IN_WHOLE_NUMBERS:
        cell = cell_of("dense", fault, Count(8), WEIGHTS, "kernel")
        assert_equal(engine, reference, trials_of(cell))
        found = engine.evaluate(trials_of(cell), record=True).injections
        assert found is not None
        assert found.bit.max() < 8
        for values in (found.original, found.corrupted):
            np.testing.assert_array_equal(values, values.astype(np.int8))
    assert set(engine.prepare(Scope(("dense",), WEIGHTS)).dtypes) == {"float32", "int8"}


@pytest.mark.parametrize("layer", WHOLE)
def test_faults_in_outputs_of_whole_numbers_equal_the_reference(layer: str) -> None:
    engine, reference = engine_and_reference("whole_numbers")
    for fault in IN_WHOLE_NUMBERS:
        if layer.startswith("u") and fault in NEEDS_A_SIGN:
            with pytest.raises(
                (ModelError, ValueError), match=f"{layer} has the fields any|fit {layer}"
            ):
                engine.evaluate(trials_of(cell_of(layer, fault, Count(30))))
            continue
        assert_equal(engine, reference, trials_of(cell_of(layer, fault, Count(30))))


def test_level_drop_gives_the_rows_of_level_dense(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "HANDING", 0.0)  # small models are cut too
    monkeypatch.setattr(segments, "ELEMENT", 0.0)
    data = dataset(name)
    dense, drop = engine_of(name, data), engine_of(name, data, "drop")
    dropped = 0
    for layer in ADDRESSES[name]:
        trials = trials_of(cell_of(layer, BitFlip(bit_field="any"), Probability(0.9)), 5)
        assert_same(drop.evaluate(trials, record=True), dense.evaluate(trials, record=True))
        dropped += drop.prepare(layer).dropped
        assert dense.prepare(layer).dropped == 0
    trials = trials_of(cell_of(IN_WEIGHTS[name], BitFlip(bit_field="any"), Count(1), WEIGHTS), 5)
    assert_same(drop.evaluate(trials, record=True), dense.evaluate(trials, record=True))
    assert (dropped > 0) == (name != "whole_numbers")  # in which nothing is rounded away


def test_a_fault_that_does_not_lead_to_the_output_is_masked() -> None:
    family = FAMILIES["two_by_two"]
    labels = np.zeros(SAMPLES, np.int64)
    engine = Engine(family.model(), Dataset(family.data(SAMPLES), labels), output="classes")
    (trial,) = CellTrials(cell_of("box", BitFlip(bit=30), Probability(1.0)), 0, 1).trials(
        Identity("m", "d", 1)
    )
    tallies = engine.evaluate([trial]).tallies
    assert (tallies.injected[0], tallies.masked[0]) == (SAMPLES, SAMPLES)
