"""Counting verdicts equals a plain loop; sums are those of the golden run where nothing happens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from injecttf2.judging import Verdict
from injecttf2.judging.outcomes import BENIGN, DUE, MASKED, OUTCOMES, SDC
from injecttf2.judging.tallies import count_outcomes

SAMPLES, TRIALS = 40, 7
INF, NAN = float("inf"), float("nan")


def everywhere(trials: int, samples: int) -> tuple[Any, Any]:
    """Return trial and sample of each hit where every trial hits all samples, as in weights.

    Returns:
        int64 [trials * samples], twice: trials one after another, samples ascending in each.
    """
    return np.repeat(np.arange(trials), samples), np.tile(np.arange(samples), trials)


def verdict(
    outcome: Any,
    score: Any,
    *,
    metrics: Any = None,
    criteria: Any = None,
    classes: Any = None,
    argmax_differs: Any = None,
) -> Verdict:
    size = len(outcome)
    return Verdict(
        np.asarray(outcome, np.uint8),
        np.full(size, -1, np.int32) if classes is None else np.asarray(classes, np.int32),
        np.asarray(score, np.float64),
        np.empty((size, 0)) if metrics is None else np.asarray(metrics, np.float64),
        np.empty((size, 0), np.bool_) if criteria is None else np.asarray(criteria, np.bool_),
        np.zeros(size, np.bool_)
        if argmax_differs is None
        else np.asarray(argmax_differs, np.bool_),
    )


def random_verdict(size: int, random: np.random.Generator) -> Verdict:
    outcome = random.integers(0, 4, size)
    alive = outcome != DUE
    return verdict(
        outcome,
        random.integers(0, 5, size) / 4 * alive,
        metrics=np.where(alive[:, np.newaxis], random.normal(size=(size, 2)), [0.0, INF]),
        criteria=random.random((size, 3)) < 0.5,
        argmax_differs=random.random(size) < 0.5,
    )


@pytest.mark.parametrize("seed", range(5))
def test_tallies_equal_a_loop(seed: int) -> None:
    random = np.random.default_rng(seed)
    hits = random.random((TRIALS, SAMPLES)) < [[0.0], [1.0], *[[0.3]] * (TRIALS - 2)]
    trial, sample = np.nonzero(hits)
    golden = random_verdict(SAMPLES, random)
    golden.metrics[~np.isfinite(golden.metrics)] = 1.0
    given = random_verdict(len(trial), random)
    tallies = count_outcomes(trial, sample, given, golden=golden, trials=TRIALS)
    for index in range(TRIALS):
        rows = np.flatnonzero(trial == index).tolist()
        codes = [OUTCOMES[given.outcome[row]] for row in rows]
        scores, metrics = golden.score.tolist(), golden.metrics.tolist()
        critical = 0
        for row, code in zip(rows, codes, strict=True):
            critical += code == "sdc" and given.score[row] < golden.score[sample[row]]
            if code != "masked":
                scores[sample[row]] = given.score[row]
                metrics[sample[row]] = given.metrics[row].tolist()
        assert tallies.injected[index] == len(rows)
        for code in OUTCOMES:
            assert getattr(tallies, code)[index] == codes.count(code)
        assert tallies.sdc_critical[index] == critical
        due = [row for row, code in zip(rows, codes, strict=True) if code == "due"]
        assert tallies.due_changed[index] == sum(given.argmax_differs[row] for row in due)
        assert tallies.correct[index] == sum(scores)  # quarters: exact in any order
        for column in range(2):
            expected = sum(row[column] for row in metrics) / SAMPLES
            assert tallies.metrics[index, column] == pytest.approx(expected, rel=1e-12)
        for column in range(3):
            alive = [row for row, code in zip(rows, codes, strict=True) if code != "due"]
            assert tallies.criteria[index, column] == sum(
                bool(given.criteria[row, column]) for row in alive
            )
    assert (tallies.correct.dtype, tallies.criteria.dtype) == (np.float64, np.int64)


def test_a_trial_that_masks_all_or_hits_nothing_has_the_golden_sums_bit_for_bit() -> None:
    random = np.random.default_rng(1)
    golden = verdict(np.zeros(SAMPLES), random.random(SAMPLES), metrics=random.random((SAMPLES, 1)))
    near = golden.metrics * (1 + 1e-9)
    given = verdict(np.full(SAMPLES, MASKED), golden.score * (1 - 1e-9), metrics=near)
    trial, sample = everywhere(1, SAMPLES)
    tallies = count_outcomes(trial, sample, given, golden=golden, trials=2)
    assert tallies.correct.tolist() == [golden.score.sum()] * 2
    assert tallies.metrics.tolist() == [[golden.metrics[:, 0].sum() / SAMPLES]] * 2


def test_a_row_is_the_same_in_any_company() -> None:
    random = np.random.default_rng(2)
    golden = random_verdict(SAMPLES, random)
    golden.metrics[~np.isfinite(golden.metrics)] = 1.0
    trial, sample = everywhere(TRIALS, SAMPLES)
    given = random_verdict(TRIALS * SAMPLES, random)
    together = count_outcomes(trial, sample, given, golden=golden, trials=TRIALS)
    for index in range(TRIALS):
        own = slice(index * SAMPLES, (index + 1) * SAMPLES)
        part = Verdict(*(column[own] for column in given))
        alone = count_outcomes(*everywhere(1, SAMPLES), part, golden=golden, trials=1)
        for name, column in vars(alone).items():
            assert column.tobytes() == getattr(together, name)[index : index + 1].tobytes(), name


def test_everywhere_is_every_sample_of_every_trial() -> None:
    trial, sample = everywhere(2, 3)
    assert (trial.tolist(), sample.tolist()) == ([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(("given", "counted"), [(NAN, 0.0), (-3.0, 0.0), (2.0, 1.0), (0.5, 0.5)])
def test_scores_stay_within_bounds(given: float, counted: float) -> None:
    golden = verdict([0], [0.25])
    zero = np.zeros(1, np.int64)
    tallies = count_outcomes(zero, zero, verdict([BENIGN], [given]), golden=golden, trials=1)
    assert tallies.correct.tolist() == [counted]


def test_an_sdc_that_scores_no_worse_is_not_critical() -> None:
    golden = verdict([0] * 4, [0.5] * 4)
    trial, sample = everywhere(1, 4)
    given = verdict([SDC, SDC, SDC, DUE], [0.25, 0.5, 0.75, 0.0])
    assert count_outcomes(trial, sample, given, golden=golden, trials=1).sdc_critical.tolist() == [
        1
    ]


def test_verdicts_on_batches_are_joined_without_their_filling() -> None:
    random = np.random.default_rng(3)
    parts = [random_verdict(4, random), random_verdict(4, random)]
    joined = Verdict.joined(parts).first(6)
    for column, one, other in zip(joined, *parts, strict=True):
        assert column.tolist() == [*one.tolist(), *other.tolist()[:2]]
