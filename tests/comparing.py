"""The engine against the oracle: outcome for outcome, site for site."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from unittest import mock

import numpy as np
import pytest

from injecttf2.engine import Engine
from injecttf2.evaluation.chain import Chain
from injecttf2.evaluation.evaluator import Judged
from injecttf2.evaluation.faults import Faults
from injecttf2.evaluation.output_evaluator import OutputEvaluator
from injecttf2.evaluation.records import Evaluation
from injecttf2.faults.fault_model import Fault
from injecttf2.judging.outcomes import OUTCOMES
from injecttf2.sampling.rates import Rate
from injecttf2.trial import Cell, CellTrials, Identity, Trial
from tests.builders import cell_of
from tests.reference import Reference

IDENTITY = Identity(model="m", data="d", seed=7)

COUNTS = ("injected", "masked", "benign", "sdc", "sdc_critical", "due", "due_changed")


def trials_of(cell: Cell, repetitions: int = 1) -> list[Trial]:
    return list(CellTrials(cell, 0, repetitions).trials(IDENTITY))


def chain_of(engine: Engine) -> Chain:
    """The segments that an engine runs."""
    return engine._evaluator.chain


def cells(layer: str, faults: Iterable[Fault], rates: Iterable[Rate], **options: Any) -> list[Cell]:
    """Each fault at each rate."""
    rates = list(rates)
    return [cell_of(layer, fault, rate, **options) for fault in faults for rate in rates]


def assert_equal(engine: Engine, reference: Reference, trials: Sequence[Trial]) -> set[str]:
    """Compare all that is known of trials; return the outcomes that there were."""
    evaluation = engine.evaluate(trials, record=True)
    found = evaluation.injections
    assert found is not None
    seen: set[str] = set()
    for index, trial in enumerate(trials):
        expected = reference.evaluate(trial)
        rows, where = expected.rows, f"{trial.cell.to_dict()}"
        mine = found.trial == index
        for name in ("layer", "sample", "element", "bit", "golden_class", "faulty_class"):
            column = [getattr(row, name) for row in rows]
            assert getattr(found, name)[mine].tolist() == column, f"{name}: {where}"
        if found.variable is not None:
            assert found.variable[mine].tolist() == [row.variable for row in rows], where
        for name in ("original", "corrupted"):
            column = np.array([getattr(row, name) for row in rows], np.float64)
            np.testing.assert_array_equal(getattr(found, name)[mine], column, f"{name}: {where}")
        outcomes = [OUTCOMES[code] for code in found.outcome[mine]]
        assert outcomes == [row.outcome for row in rows], where
        tallies = evaluation.tallies
        assert evaluation.sites[index] == expected.sites, where
        assert tallies.injected[index] == len(expected.outcomes), where
        for outcome in OUTCOMES:
            assert getattr(tallies, outcome)[index] == expected.count(outcome), where
        assert evaluation.detected[index] == expected.detected, where
        assert tallies.sdc_critical[index] == expected.sdc_critical, where
        assert tallies.due_changed[index] == expected.due_changed, where
        accuracy = tallies.correct[index] / len(engine.dataset)
        assert accuracy == pytest.approx(expected.accuracy, abs=1e-12), where
        assert engine.golden.accuracy == pytest.approx(expected.golden_accuracy, abs=1e-12)
        assert tallies.metrics[index].tolist() == pytest.approx(expected.metrics, rel=1e-5), where
        assert tallies.criteria[index].tolist() == expected.criteria, where
        seen.update(expected.outcomes)
    return seen


def assert_equal_unrecorded(engine: Engine, reference: Reference, trial: Trial) -> None:
    """Compare what becomes of each sample that a trial of outputs hits.

    Nothing is recorded, so that the fastest level is taken.
    """
    prepared = engine.prepare(trial.cell.scope)
    assert isinstance(prepared, OutputEvaluator)
    judge = prepared.judge
    found: list[str] = []

    def noted(faults: Sequence[Faults]) -> Judged:
        judged = judge(faults)
        found.extend(OUTCOMES[code] for code in judged.verdict.outcome)
        return judged

    with mock.patch.object(prepared, "judge", noted):
        tallies = engine.evaluate([trial]).tallies
    expected = reference.evaluate(trial)
    assert found == expected.outcomes, f"{trial.cell.to_dict()}"
    assert tallies.sdc_critical[0] == expected.sdc_critical
    assert tallies.due_changed[0] == expected.due_changed
    assert tallies.correct[0] / len(engine.dataset) == pytest.approx(expected.accuracy, abs=1e-12)


def assert_same(one: Evaluation, other: Evaluation, chosen: Sequence[int] | None = None) -> None:
    """Compare an evaluation bit for bit with another, of which some trials are chosen."""
    places = range(len(other.sites)) if chosen is None else chosen
    for name in (*COUNTS, "correct", "metrics", "criteria"):
        mine, theirs = (getattr(part.tallies, name) for part in (one, other))
        np.testing.assert_array_equal(mine, theirs[list(places)], name)
    assert one.sites.tolist() == other.sites[list(places)].tolist()
    if one.injections is None or other.injections is None:
        assert one.injections is other.injections
        return
    rows = np.concatenate([np.flatnonzero(other.injections.trial == place) for place in places])
    for name, column in vars(one.injections).items():
        theirs = getattr(other.injections, name)
        if name != "trial" and column is not None:
            np.testing.assert_array_equal(column, theirs[rows], name)
