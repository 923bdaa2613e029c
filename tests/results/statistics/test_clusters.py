"""Rates of weight faults: the interval on which a cell stops, and that of groups of cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.linear_model import OLS

from results.statistics.clusters import cluster_wilson, clustered, clustered_sums
from results.statistics.intervals import wilson
from results.statistics.strata import Estimate, Strata, stratified

SAMPLES = 200


def interval(rates: list[float], confidence: float = 0.95) -> tuple[float, float]:
    hits = np.array(rates) * SAMPLES
    low, high = cluster_wilson(
        len(rates), len(rates) * SAMPLES, hits.sum(), (hits**2).sum(), confidence
    )
    return float(low), float(high)


def bounds(estimate: Estimate) -> tuple[float, float]:
    return float(estimate.low[0]), float(estimate.high[0])


def covers(estimate: Estimate, truth: float) -> float:
    return float(np.mean((estimate.low <= truth) & (truth <= estimate.high)))


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


def test_variance_of_clusters_of_one_size_is_that_of_their_rates() -> None:
    counts = np.array([0, 3, 1, 0, 7, 2])
    estimate = clustered(counts, np.full(6, 10), np.zeros(6, int), Strata.of([1.0]))
    assert estimate.rate[0] == 13 / 60
    assert np.sqrt(estimate.variance[0]) == pytest.approx(stats.sem(counts / 10))


def test_variance_of_clusters_of_several_sizes_is_that_of_the_bootstrap() -> None:
    rng = np.random.default_rng(5)
    sizes = rng.integers(10, 100, 400)
    counts = rng.binomial(sizes, rng.beta(1, 4, 400))
    estimate = clustered(counts, sizes, np.zeros(400, int), Strata.of([1.0]))
    expected = stats.bootstrap(
        (counts, sizes),
        lambda k, m, axis: k.sum(axis) / m.sum(axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(6),
    ).standard_error
    assert np.sqrt(estimate.variance[0]) == pytest.approx(expected, rel=0.03)


def test_variance_of_clusters_is_that_of_a_cluster_robust_regression() -> None:
    """Of the mean of single outcomes, each in its cluster, as econometrics has it."""
    rng = np.random.default_rng(8)
    sizes = rng.integers(5, 40, 50)
    counts = rng.binomial(sizes, rng.beta(1, 3, 50))
    outcomes = np.concatenate(
        [np.arange(size) < count for size, count in zip(sizes, counts, strict=True)]
    ).astype(float)
    fitted = OLS(outcomes, np.ones(len(outcomes))).fit(
        cov_type="cluster", cov_kwds={"groups": np.repeat(np.arange(50), sizes)}
    )
    estimate = clustered(counts, sizes, np.zeros(50, int), Strata.of([1.0]))
    assert estimate.rate[0] == pytest.approx(fitted.params[0], rel=1e-12)
    assert estimate.variance[0] == pytest.approx(fitted.cov_params()[0, 0], rel=1e-12)


def test_interval_of_one_cell_is_that_of_the_stopping_rule() -> None:
    """200 cells of 25 clusters, rates of all kinds."""
    rng = np.random.default_rng(9)
    counts = rng.binomial(40, rng.beta(0.3, rng.choice([0.1, 1, 9], (200, 1)), (200, 25)))
    counts[0], counts[1] = 0, 40
    estimate = clustered(
        counts.ravel(),
        np.full(5_000, 40),
        np.arange(200).repeat(25),
        Strata.of(np.ones(200), group=np.arange(200)),
    )
    low, high = cluster_wilson(25, 1_000, counts.sum(1), (counts.astype(float) ** 2).sum(1))
    np.testing.assert_allclose(estimate.low, low, atol=1e-12)
    np.testing.assert_allclose(estimate.high, high, atol=1e-12)


def test_group_has_one_cluster_of_the_other_extreme() -> None:
    """As heavy as the heaviest: one of 20 of a cell that is three quarters of the group."""
    rng = np.random.default_rng(1)
    counts, cells = rng.binomial(10, rng.beta(1, 2, 40)), np.repeat([0, 1], 20)
    estimate = clustered(counts, np.full(40, 10), cells, Strata.of([1, 3]))
    rates = counts.reshape(2, 20) / 10
    rate = (rates[0].mean() + 3 * rates[1].mean()) / 4
    variance = (stats.sem(rates[0]) ** 2 + 9 * stats.sem(rates[1]) ** 2) / 16
    heaviest = 3 / 4 / 20
    wider = variance * 38 / 39 + heaviest**2 / (1 + heaviest) * (1 - rate) ** 2
    size = rate * (1 - rate) / wider
    assert estimate.rate[0] == pytest.approx(rate)
    assert estimate.variance[0] == pytest.approx(variance)
    assert bounds(estimate) == pytest.approx(wilson(rate * size, size))


def test_single_outcomes_are_stratified_ones() -> None:
    counts = np.random.default_rng(2).random(5_000) < 0.2
    cells = np.repeat([0, 1], [1_000, 4_000])
    estimate = clustered(counts, np.ones(5_000), cells, Strata.of([1.0, 1.0]))
    sums = [counts[:1_000].sum(), counts[1_000:].sum()]
    expected = stratified(sums, [1_000, 4_000], Strata.of([1.0, 1.0]))
    assert bounds(estimate) == pytest.approx(bounds(expected))


@pytest.mark.parametrize("count", [0, 10])
def test_clusters_of_one_extreme_count_as_one_outcome_each(count: int) -> None:
    estimate = clustered(np.full(30, count), np.full(30, 10), np.zeros(30, int), Strata.of([1.0]))
    assert bounds(estimate) == pytest.approx(wilson(3 * count, 30))


def test_single_cluster_says_next_to_nothing() -> None:
    estimate = clustered([4], [10], [0], Strata.of([1.0]))
    assert bounds(estimate) == pytest.approx(cluster_wilson(1, 10, 4, 16))
    assert estimate.high[0] - estimate.low[0] > 0.75


def test_cells_of_one_cluster_are_clusters_of_one_cell() -> None:
    counts, sizes = np.array([1, 4, 2, 0]), np.full(4, 10)
    apart = clustered(counts, sizes, np.arange(4), Strata.of(np.ones(4)))
    together = clustered(counts, sizes, np.zeros(4, int), Strata.of([1.0]))
    assert apart.variance[0] == pytest.approx(together.variance[0])
    assert bounds(apart) == pytest.approx(bounds(together))


def test_clusters_that_share_their_sites_vary_together() -> None:
    """Two cells with the same faults and outcomes are no more certain than one of them."""
    counts = np.array([0, 3, 1, 0, 7, 2])
    one = clustered(counts, np.full(6, 10), np.zeros(6, int), Strata.of([1.0]))
    both = clustered(
        np.tile(counts, 2),
        np.full(12, 10),
        np.repeat([0, 1], 6),
        Strata.of([1, 1], shared=[0, 0]),
        unit=np.tile(np.arange(6), 2),
    )
    assert both.variance[0] == pytest.approx(one.variance[0])
    assert bounds(both) == pytest.approx(bounds(one))


def test_larger_part_of_all_sites_is_more_certain() -> None:
    counts, sizes, cell = np.array([0, 3, 1, 0]), np.full(4, 10), np.zeros(4, int)
    some = clustered(counts, sizes, cell, Strata.of([1.0], sampled=0.75))
    free = clustered(counts, sizes, cell, Strata.of([1.0]))
    assert some.variance[0] == pytest.approx(free.variance[0] / 4)
    assert some.high[0] - some.low[0] < free.high[0] - free.low[0]


KINDS = {
    "one of 32 bits destroys": lambda rng, shape: (
        np.where(rng.random(shape) < 1 / 32, 0.9, 0.001),
        0.9 / 32 + 0.001 * 31 / 32,
    ),
    "2 % destroy, others vary": lambda rng, shape: (
        np.where(rng.random(shape) < 0.02, 0.9, rng.beta(1, 200, shape)),
        0.018 + 0.98 / 201,
    ),
    "rare": lambda rng, shape: (
        np.where(rng.random(shape) < 0.05, rng.uniform(0.1, 0.9, shape), 0),
        0.025,
    ),
    "skewed": lambda rng, shape: (rng.beta(0.5, 10, shape), 0.5 / 10.5),
    "both": lambda rng, shape: (
        np.where(rng.random(shape) < 0.4, 0.9, rng.beta(1, 30, shape)),
        0.36 + 0.6 / 31,
    ),
}
"""How the rates of faults in weights may vary: rates of ``shape``, and their mean."""


@pytest.mark.parametrize("clusters", [10, 30, 100, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_clusters_are_covered_as_often_as_asked(kind: str, clusters: int) -> None:
    """1,000 groups of weight faults, each on 100 samples."""
    rng = np.random.default_rng(clusters)
    rates, truth = KINDS[kind](rng, (1_000, clusters))
    counts = rng.binomial(100, rates)
    estimate = clustered(
        counts.ravel(),
        np.full(counts.size, 100),
        np.arange(1_000).repeat(clusters),
        Strata.of(np.ones(1_000), group=np.arange(1_000)),
    )
    assert covers(estimate, truth) >= 0.93


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [[30] * 8, [5] * 32, [10, 10, 100, 200]], ids=str)
def test_groups_of_cells_are_covered_as_often_as_asked(kind: str, sizes: list[int]) -> None:
    """500 groups, whose cells weigh the same and have ``sizes`` faults."""
    rng = np.random.default_rng(len(sizes))
    rates, truth = KINDS[kind](rng, (500, sum(sizes)))
    counts = rng.binomial(100, rates)
    cells = len(sizes)
    cell = np.arange(500)[:, None] * cells + np.repeat(np.arange(cells), sizes)
    strata = Strata.of(np.ones(500 * cells), group=np.arange(500).repeat(cells))
    estimate = clustered(counts.ravel(), np.full(counts.size, 100), cell.ravel(), strata)
    assert covers(estimate, truth) >= 0.93


def test_interval_checks_its_confidence() -> None:
    with pytest.raises(ValueError, match=r"confidence is 1\.5"):
        clustered([4], [10], [0], Strata.of([1.0]), 1.5)


def sums(cells: list[list[int]], size: int) -> tuple[list[int], list[int], list[int], list[int]]:
    """Clusters, injected samples, hits and squares of cells, of which each cluster's hits are."""
    return (
        [len(cell) for cell in cells],
        [len(cell) * size for cell in cells],
        [sum(cell) for cell in cells],
        [sum(one**2 for one in cell) for cell in cells],
    )


def test_sums_tell_what_clusters_tell_one_by_one() -> None:
    cells = [[0, 3, 10, 2, 0, 1], [5, 5, 4, 7], [9], [0, 0, 1]]
    strata = Strata.of([5, 3, 1, 2])
    alone = clustered(
        [one for cell in cells for one in cell],
        [10] * 14,
        np.repeat(np.arange(4), [6, 4, 1, 3]),
        strata,
    )
    together = clustered_sums(*sums(cells, 10), strata)
    for name in ("rate", "variance", "low", "high"):
        assert getattr(together, name) == pytest.approx(getattr(alone, name), rel=1e-12)


@given(st.lists(st.integers(0, 10), min_size=1, max_size=30))
def test_sums_of_one_cell_give_the_interval_on_which_it_stops(cell: list[int]) -> None:
    numbers = sums([cell], 10)
    found = clustered_sums(*numbers, Strata.of([1.0]))
    low, high = cluster_wilson(*numbers)
    assert bounds(found) == pytest.approx((float(low[0]), float(high[0])), abs=1e-9)


@given(st.integers(0, 50), st.integers(1, 50))
def test_independent_outcomes_of_one_cell_get_wilsons_interval(k: int, n: int) -> None:
    k = min(k, n)
    found = clustered_sums([n], [n], [k], [k], Strata.of([1.0]))
    assert bounds(found) == pytest.approx([float(one) for one in wilson(k, n)], abs=1e-12)


def test_cells_without_clusters_are_left_out_of_the_sums() -> None:
    with_one = clustered_sums([0, 20], [0, 20], [0, 4], [0, 4], Strata.of([0, 1]))
    alone = clustered_sums([20], [20], [4], [4], Strata.of([1]))
    assert bounds(with_one) == bounds(alone)
    nothing = clustered_sums([0], [0], [0], [0], Strata.of([0]))
    assert np.isnan([nothing.rate, nothing.low, nothing.high]).all()


@pytest.mark.parametrize("grave", [0.0, 0.1, 0.5])
def test_sums_of_an_allotted_sample_cover_as_often_as_they_say(grave: float) -> None:
    """One cell of 32 whose faults are grave, which has as many trials as all others together."""
    random = np.random.Generator(np.random.Philox(7))
    trials = np.array([310, *[10] * 31])
    rates = np.array([grave, *[0.002] * 31])
    strata = Strata.of(np.ones(32 * 500), group=np.repeat(np.arange(500), 32))
    n = np.tile(trials, 500)
    hits = random.binomial(n, np.tile(rates, 500))  # a fault hits all samples or none
    found = clustered_sums(n, n * 100, hits * 100, hits * 100.0**2, strata)
    assert covers(found, float(rates.mean())) >= 0.94
