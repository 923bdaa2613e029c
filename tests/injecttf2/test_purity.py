"""A trial's row depends on the trial alone, and nothing of the model is left changed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.evaluation import batching
from injecttf2.evaluation.chain import Chain
from injecttf2.evaluation.records import Evaluation
from injecttf2.faults.bit_faults import BitFlip, StuckAt
from injecttf2.faults.mixture import Mixture
from injecttf2.faults.value_faults import Scale, Zero
from injecttf2.graph import segments
from injecttf2.sampling.rates import BitErrorRate, Count, Probability
from injecttf2.trial import WEIGHTS, Trial
from tests import networks
from tests.builders import cell_of
from tests.comparing import assert_same, trials_of

ANY = BitFlip(bit_field="any")
MIXED = Mixture(((1, ANY), (1, Scale(9.0))))

OUTPUTS = [
    (ANY, Probability(0.4)),
    (Scale(-3.0), Count(90)),
    (StuckAt(bit_field="exponent", value=1), BitErrorRate(3e-4)),
    (MIXED, Count(1)),
    (BitFlip(bit=30), Count(0)),
]

IN_WEIGHTS = [(ANY, Count(1)), (Zero(), Count(4)), (ANY, BitErrorRate(2e-3)), (MIXED, Count(0))]

SCOPES = {
    "outputs": [cell_of("conv", *both) for both in OUTPUTS],
    "together": [cell_of("image + pool + logits", *both) for both in OUTPUTS],
    "weights": [cell_of("conv", *both, WEIGHTS) for both in IN_WEIGHTS]
    + [cell_of("conv", ANY, Count(2), WEIGHTS, "bias")],
    "weights_together": [cell_of("conv + logits", *both, WEIGHTS) for both in IN_WEIGHTS],
}


@pytest.fixture(params=SCOPES)
def trials(request: pytest.FixtureRequest) -> list[Trial]:
    """Trials of one scope: cells with several faults and rates, two of each."""
    return [trial for cell in SCOPES[request.param] for trial in trials_of(cell, 2)]


def engine_of(model: keras.Model | None = None, **options: Any) -> Engine:
    data = networks.data((8, 8, 1), 5)
    return Engine(model or networks.cnn(), Dataset(*data), levels=(), **options)


def recorded(engine: Engine, trials: list[Trial]) -> Evaluation:
    return engine.evaluate(trials, record=True)


def test_rows_do_not_depend_on_which_trials_are_evaluated_together(
    trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "LARGEST_BATCH", 48)
    whole = recorded(engine_of(), trials)
    engine = engine_of()
    for place in reversed(range(len(trials))):
        assert_same(recorded(engine, [trials[place]]), whole, [place])
    order = np.random.default_rng(1).permutation(len(trials))
    for part in np.array_split(order, 3):
        assert_same(recorded(engine, [trials[place] for place in part]), whole, part.tolist())


def test_rows_do_not_depend_on_how_many_hits_are_drawn_at_a_time(
    trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "LARGEST_BATCH", 48)
    whole = recorded(engine_of(), trials)
    monkeypatch.setattr("injecttf2.evaluation.output_evaluator.HITS_AT_A_TIME", 1)
    assert_same(recorded(engine_of(), trials), whole)


def test_rows_do_not_depend_on_the_memory_of_golden_data(
    trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "LARGEST_BATCH", 24)
    whole = recorded(engine_of(), trials)
    engine = engine_of(memory=1)
    for _ in range(2):  # begins with the block that was last then
        assert_same(recorded(engine, trials), whole)
    assert engine.golden_use.computed == 5  # blocks of 24 of 70 samples
    assert_same(recorded(engine, trials[3:5]), whole, [3, 4])


def test_rows_do_not_depend_on_the_layers_that_were_evaluated_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Blocks are larger where less is held: of 48 samples from the conv on, not of 24."""
    monkeypatch.setattr(batching, "LARGEST_BATCH", 24)
    monkeypatch.setattr(segments, "HANDING", 0.0)  # small models are cut too
    monkeypatch.setattr(segments, "ELEMENT", 0.0)
    chosen = [
        trials_of(cell_of(layer, ANY, rate, target), 2)
        for layer, rate, target in (
            ("logits", Probability(0.9), "outputs"),
            ("conv", Probability(0.9), "outputs"),
            ("logits", Count(2), WEIGHTS),
            ("image", Probability(0.9), "outputs"),
            ("conv", Count(2), WEIGHTS),
        )
    ]
    whole = [recorded(engine_of(), trials) for trials in chosen]
    engine = engine_of(memory=60_000)  # a sample has 1,300 bytes, 1,044 of them from the conv on
    engine.prepare("image")  # the first block, of 24 samples
    for place in (1, 0, 2, 3, 0, 4, 3):
        assert_same(recorded(engine, chosen[place]), whole[place])


def test_the_outputs_of_a_trial_are_those_that_are_judged(
    trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "LARGEST_BATCH", 24)
    engine = engine_of(memory=1)
    for place, trial in enumerate(trials):
        samples, faulty = engine.outputs(trial)
        found = recorded(engine, trials).injections
        assert found is not None
        mine = found.trial == place
        classes = dict(zip(found.sample[mine], found.faulty_class[mine], strict=True))
        expected = np.where(np.isfinite(faulty).all(axis=1), faulty.argmax(axis=1), -1)
        if trial.cell.target == WEIGHTS and not mine.any():
            np.testing.assert_array_equal(faulty.argmax(axis=1), engine.golden.classes)
            continue
        assert dict(zip(samples, expected, strict=True)) == classes


def test_no_variable_has_changed_after_trials_in_weights() -> None:
    model = networks.cnn()
    before = [np.array(variable.numpy()) for variable in model.variables]
    expected = model.predict(networks.data((8, 8, 1), 5)[0], verbose=0)
    engine = engine_of(model)
    trials = trials_of(cell_of("logits", BitFlip(bit=30), Count(3), WEIGHTS), 5)
    assert engine.evaluate(trials).tallies.due.sum() + engine.evaluate(trials).tallies.sdc.sum() > 0
    assert [np.array(one.numpy()).tobytes() for one in model.variables] == [
        one.tobytes() for one in before
    ]
    assert np.array_equal(model.predict(networks.data((8, 8, 1), 5)[0], verbose=0), expected)


def test_no_variable_has_changed_after_an_exception_in_the_middle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = networks.cnn()
    before = [variable.numpy().tobytes() for variable in model.variables]
    inputs, _ = networks.data((8, 8, 1), 5)
    expected = model.predict(inputs, verbose=0)
    engine = engine_of(model)
    run, seen = Chain.run, []

    def broken(chain: Chain, index: int, given: Any, **options: Any) -> Any:
        if options.get("reads"):  # corrupted weights
            seen.append(index)
            raise RuntimeError("in the middle")
        return run(chain, index, given, **options)

    monkeypatch.setattr(Chain, "run", broken)
    trials = trials_of(cell_of("logits", BitFlip(bit=30), Count(3), WEIGHTS), 2)
    with pytest.raises(RuntimeError, match="in the middle"):
        engine.evaluate(trials)
    monkeypatch.undo()
    assert seen
    assert [variable.numpy().tobytes() for variable in model.variables] == before
    assert np.array_equal(model.predict(inputs, verbose=0), expected)
    assert_same(engine.evaluate(trials), engine_of().evaluate(trials))
