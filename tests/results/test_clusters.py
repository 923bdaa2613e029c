"""The interval on which a cell of weight faults stops."""

from __future__ import annotations

import numpy as np
import pytest

from results.clusters import cluster_wilson
from results.intervals import wilson

SAMPLES = 200


def interval(rates: list[float], confidence: float = 0.95) -> tuple[float, float]:
    hits = np.array(rates) * SAMPLES
    low, high = cluster_wilson(
        len(rates), len(rates) * SAMPLES, hits.sum(), (hits**2).sum(), confidence
    )
    return float(low), float(high)


def test_faults_that_hit_all_samples_or_none_are_as_many_single_samples() -> None:
    rates = [1.0] * 15 + [0.0] * 15
    assert interval(rates) == pytest.approx([float(one) for one in wilson(15, 30)], abs=1e-12)


def test_faults_of_one_rate_are_not_taken_for_certainty() -> None:
    """One more of the other extreme: variance (1 - 0.1)^2 / 31 of 31 rates, as of 3.1 samples."""
    low, high = interval([0.1] * 30)
    effective = 0.1 * 0.9 * 30 / (0.9**2 / 31)
    expected = [float(one) for one in wilson(0.1 * effective, effective)]
    assert (low, high) == pytest.approx(expected, abs=1e-12)
    assert high - low > 0.1


def test_without_any_hit_each_fault_is_one_sample() -> None:
    assert interval([0.0] * 40) == pytest.approx([float(one) for one in wilson(0, 40)])
    assert interval([1.0] * 40) == pytest.approx([float(one) for one in wilson(40, 40)])


def test_it_broadcasts_and_is_nan_without_samples() -> None:
    low, high = cluster_wilson([10, 0], [1000, 0], [100, 0], [1000, 0])
    assert low.shape == high.shape == (2,)
    assert 0 < low[0] < 0.1 < high[0] < 1
    assert np.isnan([low[1], high[1]]).all()


@pytest.mark.parametrize("mean", [0.02, 0.2, 0.5])
def test_it_covers_as_often_as_it_says(mean: float) -> None:
    """Rates of faults that are mostly near 0 or 1, 60 faults a cell, 2,000 cells."""
    random = np.random.Generator(np.random.Philox(7))
    rates = random.beta(0.3 * mean, 0.3 * (1 - mean), (2000, 60))
    hits = random.binomial(SAMPLES, rates)
    low, high = cluster_wilson(60, 60 * SAMPLES, hits.sum(1), (hits.astype(float) ** 2).sum(1))
    assert 0.93 <= ((low <= mean) & (mean <= high)).mean() <= 0.995
