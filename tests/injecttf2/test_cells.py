"""Every target, fault and rate equals the reference, outcome for outcome and site for site."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pytest

from injecttf2.bits import numpy_dtype
from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.errors import ModelError
from injecttf2.evaluation import batching
from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.faults.custom import wrapped
from injecttf2.faults.fault_model import Fault
from injecttf2.faults.mixture import Mixture
from injecttf2.faults.value_faults import Constant, RandomBits, RandomValue, Scale, Zero
from injecttf2.graph import segments
from injecttf2.sampling.rates import BitErrorRate, Count, Exhaustive, Probability, Rate
from injecttf2.trial import TOGETHER, WEIGHTS, Trial
from tests import networks
from tests.builders import cell_of
from tests.comparing import assert_equal, assert_same, trials_of
from tests.reference import Reference


@dataclass(frozen=True)
class Drift:
    """A user's fault model."""

    draws: ClassVar[int] = 1
    width: float

    def corrupt(self, values: Any, draws: Any) -> Any:
        wide = values.astype(np.float64)
        return (wide + self.width * (draws[:, 0] - 0.5)).astype(values.dtype)


BITS = {
    "bit": BitFlip(bit=30),
    "field": BitFlip(bit_field="exponent"),
    "any": BitFlip(bit_field="any"),
    "stuck_at_0": StuckAt(bit_field="exponent", value=0),
    "stuck_at_1": StuckAt(bit_field="any", value=1),
    "mixed_bits": Mixture(((1, BitFlip(bit_field="any")), (2, StuckAt(bit_field="any", value=1)))),
}
"""Faults whose sites are single bits, which take every rate."""

WORDS = {
    "flips": BitFlip(bit_field="any", flips=3),
    "burst": BitFlip(bit_field="exponent", burst=4),
    "stuck_burst": StuckAt(bit=22, burst=8, value=1),
    "random_bits": RandomBits(),
    "zero": Zero(),
    "constant": Constant(1e4),
    "nan": Constant(math.nan),
    "uniform": RandomValue("uniform", low=-40, high=90),
    "normal": RandomValue("normal", mean=1.0, std=30.0),
    "scale": Scale(-70.0),
    "mixed_words": Mixture(
        ((1, BitFlip(bit_field="exponent")), (1, Scale(9.0)), (0.5, BitFlip(bit=3, burst=12)))
    ),
    "user": wrapped(Drift(50.0), "drift"),
}

OUTPUT_RATES = {
    "probability": Probability(0.6),
    "one": Count(1),
    "count": Count(90),
    "ber": BitErrorRate(2e-4),
    "rare": BitErrorRate(1e-6),
}

WEIGHT_RATES = {"one": Count(1), "count": Count(5), "ber": BitErrorRate(3e-3)}

TARGETS: dict[str, dict[str, Any]] = {
    "first": {"layer": "conv"},
    "late": {"layer": "logits"},
    "together": {"layer": TOGETHER.join(("image", "conv", "logits"))},
    "kernel": {"layer": "conv", "target": WEIGHTS, "variable": "kernel"},
    "all_weights": {"layer": "logits", "target": WEIGHTS},
    "weights_together": {"layer": TOGETHER.join(("conv", "logits")), "target": WEIGHTS},
}


def cells() -> Iterator[tuple[str, str, str]]:
    """Target, fault and rate that go together."""
    for target, options in TARGETS.items():
        rates: dict[str, Rate] = WEIGHT_RATES if "target" in options else dict(OUTPUT_RATES)
        for fault in (*BITS, *WORDS):
            for rate in rates:
                if fault in BITS or rate not in ("ber", "rare"):
                    yield target, fault, rate


SAMPLES = 70


@cache
def _both(levels: tuple[Any, ...]) -> tuple[Engine, Reference]:
    model = networks.cnn()
    inputs, labels = networks.data((8, 8, 1), 5, samples=SAMPLES)
    engine = Engine(model, Dataset(inputs, labels), levels=levels)
    return engine, Reference(model, inputs, labels)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "LARGEST_BATCH", 48)


def trial_of(target: str, fault: str, rate: str, repetitions: int = 1) -> list[Trial]:
    chosen: Fault = {**BITS, **WORDS}[fault]
    rates: dict[str, Rate] = {**WEIGHT_RATES, **OUTPUT_RATES}
    if "target" in TARGETS[target]:
        rates = dict(WEIGHT_RATES)
    return trials_of(cell_of(fault=chosen, rate=rates[rate], **TARGETS[target]), repetitions)


@pytest.mark.parametrize(("target", "fault", "rate"), list(cells()))
def test_a_cell_equals_the_reference(target: str, fault: str, rate: str) -> None:
    assert_equal(*_both(()), trial_of(target, fault, rate))


EVERY_PLACE = {
    "a bit": (cell_of("conv", BitFlip(bit=30), Exhaustive()), 256),
    "every bit": (cell_of("logits", BitFlip(bit_field="any"), Exhaustive()), 5 * 32),
    "a burst": (cell_of("logits", BitFlip(bit_field="exponent", burst=4), Exhaustive()), 5 * 5),
    "stuck": (cell_of("logits", StuckAt(bit_field="sign", value=1), Exhaustive()), 5),
    "words": (cell_of("logits", Zero(), Exhaustive()), 5),
    "bias": (cell_of("conv", BitFlip(bit=30), Exhaustive(), WEIGHTS, "bias"), 4),
    "all weights": (
        cell_of("logits", BitFlip(bit_field="exponent"), Exhaustive(), WEIGHTS),
        325 * 8,
    ),
}
"""Exhaustive cells, and their places in a model whose conv has 256 elements and logits 5."""


@pytest.mark.parametrize("name", EVERY_PLACE)
def test_exhaustive_trials_equal_the_reference(name: str) -> None:
    cell, places = EVERY_PLACE[name]
    some = {0, 1, places // 2, places - 2, places - 1}
    trials = [trial for trial in trials_of(cell, places) if trial.repetition in some]
    assert_equal(*_both(()), trials)
    (beyond,) = trials_of(cell, places + 1)[places:]
    with pytest.raises(ModelError, match=f"there is no place {places}; there are {places}"):
        _both(())[0].evaluate([beyond])


def test_exhaustive_trials_hit_every_site_once() -> None:
    cell, places = EVERY_PLACE["every bit"]
    found = _both(())[0].evaluate(trials_of(cell, places), record=True)
    assert found.injections is not None
    columns = (found.injections.sample, found.injections.element, found.injections.bit)
    sites = list(zip(*(column.tolist() for column in columns), strict=True))
    every = itertools.product(range(SAMPLES), range(5), range(32))
    assert sorted(sites) == list(every)


@pytest.mark.parametrize("fault", [RandomBits(), BitFlip(bit_field="any", flips=2)])
def test_a_fault_of_chance_has_no_places(fault: Fault) -> None:
    with pytest.raises(ModelError, match="a fault that is drawn by chance has no places"):
        _both(())[0].evaluate(trials_of(cell_of("logits", fault, Exhaustive())))


@pytest.mark.parametrize("options", [{"layer": "conv"}, {"layer": "conv", "target": WEIGHTS}])
def test_paired_cells_have_the_same_sites_whatever_the_fault(options: dict[str, Any]) -> None:
    faults = (BitFlip(bit=30), BitFlip(bit=3), StuckAt(bit=31, value=1), Zero())
    places = set()
    for fault in faults:
        trials = trials_of(cell_of(fault=fault, rate=Count(9), paired=True, **options), 4)
        assert_equal(*_both(()), trials)
        found = _both(())[0].evaluate(trials, record=True).injections
        assert found is not None
        names = ("trial", "sample", "element")
        places.add(tuple(tuple(getattr(found, name).tolist()) for name in names))
    assert len(places) == 1


def test_paired_probabilities_are_nested() -> None:
    hits = []
    for probability in (0.1, 0.4, 1.0):
        cell = cell_of("conv", BitFlip(bit=30), Probability(probability), paired=True)
        found = _both(())[0].evaluate(trials_of(cell, 3), record=True).injections
        assert found is not None
        columns = (found.trial, found.sample, found.element)
        hits.append(set(zip(*(column.tolist() for column in columns), strict=True)))
    assert hits[0] < hits[1] < hits[2]
    assert len(hits[2]) == 3 * SAMPLES


FLOATS = ("float16", "bfloat16", "float64")

IN_OTHER_DTYPES = {
    "flip": (BitFlip(bit_field="any"), Probability(0.8)),
    "flips": (BitFlip(bit_field="exponent"), Count(45)),
    "random_bits": (RandomBits(), Count(30)),
    "uniform": (RandomValue("uniform", low=-40, high=90), Count(30)),
    "constant": (Constant(1e4), Count(10)),
    "mixture": (WORDS["mixed_words"], Count(30)),
    "user": (WORDS["user"], Count(30)),
}


@pytest.mark.parametrize("dtype", FLOATS)
def test_faults_equal_the_reference_in_every_dtype(dtype: str) -> None:
    model = networks.cnn(dtype)
    inputs, labels = networks.data((8, 8, 1), 5, samples=SAMPLES)
    inputs = inputs.astype(numpy_dtype(dtype))
    engine = Engine(model, Dataset(inputs, labels), levels=())
    reference = Reference(model, inputs, labels)
    for fault, rate in IN_OTHER_DTYPES.values():
        assert_equal(engine, reference, trials_of(cell_of("conv", fault, rate)))
        if isinstance(rate, Count):
            weights = cell_of("logits", fault, Count(4), WEIGHTS)
            assert_equal(engine, reference, trials_of(weights))


def test_levels_change_no_outcome_of_any_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "HANDING", 0.0)  # small models are cut too
    monkeypatch.setattr(segments, "ELEMENT", 0.0)
    dense, _ = _both(())
    faster = Engine(networks.cnn(), dense.dataset, levels=("drop",))
    for fault in (*BITS, *WORDS):
        for rate in ("probability", "one", "count"):
            trials = trial_of("first", fault, rate, 3)
            assert_same(faster.evaluate(trials, record=True), dense.evaluate(trials, record=True))
    assert faster.prepare("conv").dropped > 0


WRONG = {
    "count": (
        cell_of("logits", Zero(), Count(351)),
        "the layer 'logits': there are 350 sites; received a count of 351",
    ),
    "words_at_a_ber": (
        cell_of("conv", Zero(), BitErrorRate(0.1)),
        "takes a fault that hits single",
    ),
    "bit": (
        cell_of("conv", BitFlip(bit=32), Count(1)),
        "float32 has bits 0 to 31; received bit 32",
    ),
    "variable": (
        cell_of("conv", Zero(), Count(1), WEIGHTS, "kernal"),
        "the weights of 'conv': there is no weight 'kernal'; did you mean 'kernel'.*kernel, bias",
    ),
    "probability_of_weights": (
        cell_of("conv", BitFlip(bit=1), Probability(0.5), WEIGHTS),
        "weights take a count or a bit error rate; received a probability",
    ),
    "no_weights": (cell_of("pool", Zero(), Count(1), WEIGHTS), "the layer 'pool' has no weights"),
    "weights_that_are_too_few": (
        cell_of("conv", Zero(), Count(5), WEIGHTS, "bias"),
        "there are 4 sites; received a count of 5",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_a_layer_is_refused(name: str) -> None:
    cell, message = WRONG[name]
    with pytest.raises(ModelError, match=message):
        _both(())[0].evaluate(trials_of(cell))
