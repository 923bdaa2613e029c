"""Defects that were found in other injectors, and are not to be found in this one.

Those that other modules hold: an argmax of NaN counted as class 0 (``test_outcomes``), the width of
another dtype, the last batch left out, rates that are not golden at 0 (``test_engine``), positions
drawn twice (``test_sites``), a cut that skip connections by-pass (``test_graph``), weights never
restored (``test_purity``), a flip that does not undo itself (``test_bits``), ``1e-3`` as a text
(``test_rates``).
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.evaluation import batching
from injecttf2.evaluation.records import Injections
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.faults.value_faults import Constant, Zero
from injecttf2.graph import segments
from injecttf2.judging.outcomes import DUE
from injecttf2.sampling.rates import BitErrorRate, Count, Probability
from injecttf2.trial import WEIGHTS, Cell
from tests import networks
from tests.builders import cell_of
from tests.comparing import trials_of

ANY = BitFlip(bit_field="any")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "LARGEST_BATCH", 24)


def engine_of(model: keras.Model | None = None, **options: Any) -> Engine:
    return Engine(model or networks.cnn(), Dataset(*networks.data((8, 8, 1), 5)), **options)


def recorded(engine: Engine, cell: Cell, repetitions: int = 1) -> Injections:
    found = engine.evaluate(trials_of(cell, repetitions), record=True).injections
    assert found is not None
    return found


def test_faults_are_not_frozen_when_a_function_is_traced() -> None:
    found = recorded(engine_of(levels=()), cell_of("conv", ANY, Probability(1.0)), 2)
    places = list(zip(found.element.tolist(), found.bit.tolist(), strict=True))
    of_batches = [places[start : start + 24] for start in (0, 24, 70, 94)]  # of both trials
    assert len({tuple(one) for one in of_batches}) == 4
    assert len(set(places)) > 130


def test_a_nan_is_no_sample_that_is_golden_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "HANDING", 0.0)  # small models are cut too
    monkeypatch.setattr(segments, "ELEMENT", 0.0)
    dropping = engine_of(levels=("drop",))
    recorded(dropping, cell_of("image", BitFlip(bit=0), Probability(1.0)))
    assert dropping.prepare("image").dropped > 0
    for engine in (engine_of(levels=()), dropping):
        cell = cell_of("pool", Constant(math.nan), Probability(1.0))
        assert recorded(engine, cell).outcome.tolist() == [DUE] * 70
    assert dropping.prepare("pool").dropped == 0


def test_a_low_bit_error_rate_injects_and_what_was_realised_is_told() -> None:
    bits = 70 * 5 * 32
    trials = trials_of(cell_of("logits", ANY, BitErrorRate(0.3 / bits)), 400)  # int(0.3) would be 0
    evaluation = engine_of().evaluate(trials)
    assert set(evaluation.sites.tolist()) >= {0, 1, 2}
    assert evaluation.sites.mean() == pytest.approx(0.3, abs=0.1)
    assert (evaluation.tallies.injected <= evaluation.sites).all()


def test_a_layer_is_the_one_of_that_name_whatever_layers_have_no_weights() -> None:
    model = networks.cnn()
    bias = np.array([0.1, 0.5, -1.0, 2.0, 0.0], np.float32)
    model.get_layer("logits").bias.assign(bias)
    engine = engine_of(model)
    kernel = cell_of("logits", Zero(), Count(64 * 5), WEIGHTS, "kernel")
    _, outputs = engine.outputs(trials_of(kernel)[0])
    expected = np.exp(bias) / np.exp(bias).sum()
    np.testing.assert_allclose(outputs, np.broadcast_to(expected, (70, 5)), rtol=1e-6)
    _, outputs = engine.outputs(trials_of(cell_of("logits", Zero(), Count(70 * 5)))[0])
    np.testing.assert_allclose(outputs, np.full((70, 5), 0.2), rtol=1e-6)


def test_values_out_of_range_are_not_clamped() -> None:
    found = recorded(engine_of(), cell_of("logits", BitFlip(bit=30), Probability(1.0)), 5)
    finite = found.corrupted[np.isfinite(found.corrupted)]
    assert np.abs(finite).max() > 1e37
    words = found.original.astype(np.float32).view(np.uint32) ^ np.uint32(1 << 30)
    np.testing.assert_array_equal(found.corrupted.astype(np.float32), words.view(np.float32))


def test_a_trials_sites_do_not_repeat_each_other() -> None:
    found = recorded(engine_of(), cell_of("conv", ANY, Probability(1.0)), 20)
    assert len(np.unique(found.element)) > 250  # of 256, in 1,400 draws
    assert len(np.unique(found.bit)) == 32
    firsts = found.element[found.sample == 0]
    assert len(np.unique(firsts)) > 15
    assert abs(np.corrcoef(found.element[:-1], found.element[1:])[0, 1]) < 0.1
