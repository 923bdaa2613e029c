"""Trials under a protection equal the oracle, and have the faults of those without."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.faults.fault_model import Fault
from injecttf2.faults.value_faults import Scale
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.protections import Ecc, Protection, Tmr
from injecttf2.sampling.rates import BitErrorRate, Count, Exhaustive, Probability, Rate
from injecttf2.trial import OUTPUTS, WEIGHTS, Identity, trial_ids
from orchestrator.planning.grid_protections import inside_of
from tests import networks
from tests.builders import cell_of
from tests.comparing import assert_equal, trials_of
from tests.reference import Reference

INPUTS, LABELS = networks.data((8, 8, 1), 5)

CODES: tuple[Protection, ...] = (
    Ecc(OUTPUTS),
    Ecc(OUTPUTS, word=128, corrects=2, detects=5),
    Ecc(OUTPUTS, word=8, layers=("conv",)),
)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(networks.cnn(), Dataset(INPUTS, LABELS))


@pytest.fixture(scope="module")
def reference(engine: Engine) -> Reference:
    return Reference(networks.cnn(), INPUTS, LABELS)


@pytest.mark.parametrize("protection", [*CODES, Tmr(("conv", "logits")), Tmr(("pool",))])
@pytest.mark.parametrize(
    ("layer", "rate"),
    [
        ("conv", Probability(0.8)),
        ("conv", BitErrorRate(0.0005)),
        ("logits", BitErrorRate(0.03)),  # several sites in many words
        ("conv + logits", Count(300)),
    ],
)
def test_flips_in_outputs_equal_the_oracle(
    engine: Engine, reference: Reference, protection: Protection, layer: str, rate: Rate
) -> None:
    for fault in (BitFlip(bit=30), BitFlip(bit_field="any")):
        cell = cell_of(layer, fault, rate, protection=protection)
        assert_equal(engine, reference, trials_of(cell, 2))


@pytest.mark.parametrize("fault", [Scale(-20), StuckAt(value=1, bit_field="exponent")])
def test_any_fault_is_outvoted(engine: Engine, reference: Reference, fault: Fault) -> None:
    for layer in ("conv", "conv + logits"):
        cell = cell_of(layer, fault, Count(150), protection=Tmr(("conv",)))
        assert_equal(engine, reference, trials_of(cell, 2))


@pytest.mark.parametrize(
    "protection",
    [
        Ecc(WEIGHTS),
        Ecc(WEIGHTS, word=64, corrects=2, detects=3, layers=("logits",)),
        Ecc(OUTPUTS),
        Tmr(("conv",)),
    ],
)
@pytest.mark.parametrize("rate", [Count(1), Count(3), BitErrorRate(0.02)])
def test_flips_in_weights_equal_the_oracle(
    engine: Engine, reference: Reference, protection: Protection, rate: Rate
) -> None:
    for layer in ("conv", "conv + logits"):
        cell = cell_of(layer, BitFlip(bit_field="any"), rate, WEIGHTS, protection=protection)
        assert_equal(engine, reference, trials_of(cell, 3))


def test_every_single_flip_is_corrected(engine: Engine) -> None:
    cell = cell_of("logits", BitFlip(bit=30), Exhaustive(), protection=Ecc(OUTPUTS))
    evaluation = engine.evaluate(trials_of(cell, 5))
    assert evaluation.tallies.masked.tolist() == [len(LABELS)] * 5
    assert evaluation.detected.tolist() == [0] * 5


def test_what_is_recorded_changes_no_outcome(engine: Engine) -> None:
    """Without recording, samples of which the sites tell everything are not evaluated."""
    for protection in CODES:
        cell = cell_of("conv", BitFlip(bit_field="any"), Count(300), protection=protection)
        trials = trials_of(cell, 3)
        plain, recorded = engine.evaluate(trials), engine.evaluate(trials, record=True)
        assert plain.detected.tolist() == recorded.detected.tolist()
        for name in ("masked", "benign", "sdc", "due", "correct"):
            found = getattr(plain.tallies, name).tolist()
            assert found == getattr(recorded.tallies, name).tolist()


def test_trials_have_the_faults_of_those_without_a_protection() -> None:
    for paired in (False, True):
        bare = cell_of("conv", BitFlip(bit=30), Count(3), paired=paired)
        under = cell_of("conv", BitFlip(bit=30), Count(3), paired=paired, protection=Ecc(OUTPUTS))
        assert under.unprotected == bare
        one, other = trials_of(bare, 4), trials_of(under, 4)
        assert [trial.key for trial in one] == [trial.key for trial in other]
        assert not {trial.id for trial in one} & {trial.id for trial in other}


def test_ids_without_a_protection_are_what_they_were() -> None:
    """The digest is that of before there were protections."""
    cell = cell_of("conv", BitFlip(bit=30), Probability(0.5))
    identity = Identity(model="m", data="d", seed=7)
    assert "protection" not in cell.to_dict()
    assert trial_ids(identity, cell, [0]).tolist() == [1061699253440785084]


def test_outputs_that_a_protection_stops_are_nan(engine: Engine) -> None:
    cell = cell_of("conv", BitFlip(bit=3), Count(60), protection=Ecc(OUTPUTS, corrects=0))
    (trial,) = trials_of(cell)
    samples, outputs = engine.outputs(trial)
    assert len(samples) > 0
    assert np.isnan(outputs).all()
    code = Ecc(WEIGHTS, corrects=0)
    (trial,) = trials_of(cell_of("conv", BitFlip(bit=3), Count(1), WEIGHTS, protection=code))
    samples, outputs = engine.outputs(trial)
    assert samples.tolist() == list(range(len(LABELS)))
    assert np.isnan(outputs).all()


def test_a_layer_is_prepared_once_for_all_protections(engine: Engine) -> None:
    bare = cell_of("conv", BitFlip(bit=3), Count(1))
    under = cell_of("conv", BitFlip(bit=3), Count(1), protection=Ecc(OUTPUTS))
    assert engine.prepare(bare.scope) is engine.prepare(under.scope)


class Block(keras.layers.Layer):
    """Holds a dense layer, and calls it."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.a = keras.layers.Dense(5, activation="relu", name="a")

    def build(self, shape: Any) -> None:
        self.a.build(shape)

    def call(self, x: Any) -> Any:
        return self.a(x) + 1.0


def nested() -> keras.Model:
    """A layer inside another, and one that is called twice."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(4)
    inputs = keras.Input((5,), name="x")
    shared = keras.layers.Dense(5, activation="tanh", name="shared")
    x = Block("block")(shared(shared(inputs)))
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))


NESTED = np.random.default_rng(5).standard_normal((40, 5)).astype(np.float32)
ITS_LABELS = np.arange(40) % 3


@pytest.mark.parametrize(
    ("layers", "protected"),
    [
        (("block", "block/a"), {"block", "block/a"}),
        (("block/a",), {"block", "block/a"}),  # as it is its only weight
        (("block",), set()),
        (("shared",), set()),  # the other call is not
        (("shared#2",), set()),
        (("shared", "shared#2"), {"shared", "shared#2"}),
    ],
)
def test_a_weight_is_protected_where_all_that_compute_with_it_are(
    layers: tuple[str, ...], protected: set[str]
) -> None:
    engine = Engine(nested(), Dataset(NESTED, ITS_LABELS))
    reference = Reference(nested(), NESTED, ITS_LABELS)
    for layer in ("block", "block/a", "shared", "shared#2"):
        for count in (1, 6):
            fault = BitFlip(bit_field="exponent")
            cell = cell_of(layer, fault, Count(count), WEIGHTS, protection=Tmr(layers))
            trials = trials_of(cell, 4)
            assert_equal(engine, reference, trials)
            if count == 1:
                masked = engine.evaluate(trials).tallies.masked.tolist()
                assert (masked == [len(NESTED)] * 4) == (layer in protected)


def test_outputs_are_protected_by_their_address() -> None:
    engine = Engine(nested(), Dataset(NESTED, ITS_LABELS))
    reference = Reference(nested(), NESTED, ITS_LABELS)
    for layer in ("block", "block/a", "shared", "shared#2"):
        cell = cell_of(layer, BitFlip(bit=30), Probability(1), protection=Tmr(("block/a", layer)))
        assert assert_equal(engine, reference, trials_of(cell)) == {"masked"}
        cell = cell_of(layer, BitFlip(bit=30), Probability(1), protection=Tmr(("logits",)))
        assert assert_equal(engine, reference, trials_of(cell)) != {"masked"}


def test_with_a_layer_stands_what_is_inside_all_of_its_calls() -> None:
    graph = ModelGraph.of(nested(), NESTED)
    assert inside_of({"block"}, graph) == {"block/a"}
    assert inside_of({"shared", "shared#2", "block/a"}, graph) == set()
    assert graph.is_inside("block/a", "block")
    assert not graph.is_inside("block", "block/a")


def test_trials_of_two_protections_are_not_evaluated_at_once(engine: Engine) -> None:
    bare = trials_of(cell_of("conv", BitFlip(bit=3), Count(1)))
    under = trials_of(cell_of("conv", BitFlip(bit=3), Count(1), protection=Ecc(OUTPUTS)))
    with pytest.raises(ValueError, match="one protection"):
        engine.prepare("conv").evaluate([*bare, *under], record=False)
