"""Models of all families of layers: cut at every address, and injected like the reference."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf

from injecttf2 import batches
from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.errors import ModelError
from injecttf2.faults import BitFlip, StuckAt
from injecttf2.graph import Graph, Values
from injecttf2.rates import BitErrorRate, Count, Probability
from injecttf2.trials import TOGETHER, WEIGHTS, Cell, Identity, Repetitions, Scope
from injecttf2.value_faults import Constant, RandomBits, RandomValue, Scale
from tests.comparing import assert_equal, trials_of
from tests.families import CLASSES, FAMILIES, WHOLE
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
    "wrapped": ["block/first", "block"],
    "mixed_float16": ["conv", "inner/dense"],
    "mixed_bfloat16": ["conv", "inner/dense"],
    "quantised": ["einsum", "dense"],
    "whole_numbers": list(WHOLE),
    "checked": ["features", "first", "second", "third"],
}


@pytest.fixture(params=FAMILIES)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param
    keras.utils.clear_session(free_memory=False)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "LARGEST_BATCH", 48)


def without_masks(values: Values) -> Values:
    """Copies of tensors, beside which nothing travels."""
    return {key: tf.identity(value) for key, value in values.items()}


def test_prefix_then_suffix_equals_the_whole_model_bit_for_bit_at_every_cut(name: str) -> None:
    family = FAMILIES[name]
    model, data = family.model(), family.data(5)
    graph = Graph.of(model, data, output=family.output)
    tensors = [tf.constant(array) for array in (data if isinstance(data, tuple) else (data,))]
    whole = model(given(model, tuple(tensors)), training=False)
    expected = keras.tree.flatten(whole)[-1].numpy().tobytes()
    fed = graph.feed(tensors)
    assert graph.run(graph.steps, fed)[id(graph.output)].numpy().tobytes() == expected
    cuts = [info.layer for info in graph.layers if info.reason is None]
    assert set(ADDRESSES[name]) <= set(cuts)
    for layer in cuts:
        cut = graph.cut(layer)
        made = graph.run(cut.prefix, fed)
        frontier = without_masks({key: made[key] for key in cut.frontier})
        outputs = graph.run(cut.suffix, frontier)[id(graph.output)]
        assert outputs.numpy().tobytes() == expected, layer


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
}


def engine_and_reference(name: str) -> tuple[Engine, Reference]:
    family = FAMILIES[name]
    model, data = family.model(), family.data(SAMPLES)
    labels = np.random.default_rng(3).integers(CLASSES, size=SAMPLES)
    engine = Engine(model, Dataset(data, labels), output=family.output, levels=())
    return engine, Reference(model, data, labels, output=len(engine.graph.outputs) - 1)


def test_outcomes_equal_the_reference(name: str, pytestconfig: pytest.Config) -> None:
    engine, reference = engine_and_reference(name)
    cells = [Cell(layer, *both) for layer in ADDRESSES[name] for both in FAULTS.values()]
    order = [info.layer for info in engine.graph.layers]
    together = TOGETHER.join(sorted(ADDRESSES[name], key=order.index))
    cells += [Cell(together, *both) for both in FAULTS.values()]
    cells += [Cell(IN_WEIGHTS[name], *both, WEIGHTS) for both in WEIGHT_FAULTS.values()]
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
        cell = Cell("dense", fault, Count(8), WEIGHTS, "kernel")
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
                engine.evaluate(trials_of(Cell(layer, fault, Count(30))))
            continue
        assert_equal(engine, reference, trials_of(Cell(layer, fault, Count(30))))


NOT_FASTER = {
    "recurrent": "drop",  # a mask travels behind it
    "states": "lstm:1",
    "subclassed": "head/hidden",
    "two_by_two": "dense",
    "quantised": "dense",
    "whole_numbers": "int32",
    "checked": "third",
}


@pytest.mark.parametrize("name", NOT_FASTER, indirect=True)
def test_where_faster_levels_do_not_hold_level_dense_is_used(name: str) -> None:
    family = FAMILIES[name]
    labels = np.zeros(SAMPLES, np.int64)
    engine = Engine(family.model(), Dataset(family.data(SAMPLES), labels), output=family.output)
    injected = engine.prepare(NOT_FASTER[name], tune=True)
    assert (injected.tuned, injected.routes) == (True, [])


def test_a_fault_that_does_not_lead_to_the_output_is_masked() -> None:
    family = FAMILIES["two_by_two"]
    labels = np.zeros(SAMPLES, np.int64)
    engine = Engine(family.model(), Dataset(family.data(SAMPLES), labels), output="classes")
    (trial,) = Repetitions(Cell("box", BitFlip(bit=30), Probability(1.0)), 0, 1).trials(
        Identity("m", "d", 1)
    )
    tallies = engine.evaluate([trial]).tallies
    assert (tallies.injected[0], tallies.masked[0]) == (SAMPLES, SAMPLES)
