import numpy as np
import pytest
from scipy import stats

from results.intervals import clopper_pearson, korn_graubard, wilson
from results.strata import Strata, clustered, stratified

MEMBERS = np.array([9_100, 1_950, 5_500, 10_850, 2_100, 5_500, 9_000])
ASKED = np.array([636, 451, 481, 611, 493, 575, 588])
SHARE = np.array([0.38, 0.27, 0.18, 0.19, 0.36, 0.13, 0.26])


def covers(bounds: tuple[np.ndarray, np.ndarray], truth: float | np.ndarray) -> float:
    low, high = bounds
    return float(np.mean((low <= truth) & (truth <= high)))


def test_stratified_proportion_is_that_of_a_textbook() -> None:
    """S. L. Lohr, Sampling: Design and Analysis, survey of learned societies: 0.2465, 0.0071."""
    estimate = stratified(SHARE * ASKED, ASKED, Strata.of(MEMBERS, sampled=ASKED / MEMBERS))
    assert round(float(estimate.rate[0]), 4) == 0.2465
    assert round(float(np.sqrt(estimate.variance[0])), 4) == 0.0071


def test_sizes_in_proportion_to_weights_give_wilson_on_the_sums() -> None:
    estimate = stratified([3, 10, 0], [100, 50, 50], Strata.of([2, 1, 1]))
    low, high = wilson(13, 200)
    assert estimate.rate[0] == pytest.approx(13 / 200, abs=1e-15)
    assert (estimate.low[0], estimate.high[0]) == pytest.approx((low, high), abs=1e-15)


def test_stratum_with_more_trials_does_not_count_for_more() -> None:
    estimate = stratified([1, 5_000], [10, 10_000], Strata.of([1, 1]))
    assert estimate.rate[0] == pytest.approx((0.1 + 0.5) / 2)


def test_groups_are_estimated_apart() -> None:
    both = stratified([1, 2, 9], [10, 20, 10], Strata.of([1, 1, 1], group=[0, 1, 1]))
    alone = stratified([2, 9], [20, 10], Strata.of([1, 1]))
    assert both.rate.tolist() == [0.1, alone.rate[0]]
    assert both.high[1] == alone.high[0]
    assert both.low[0] == pytest.approx(wilson(1, 10)[0])


def test_nothing_seen_keeps_a_width_by_kishs_size() -> None:
    estimate = stratified([0, 0], [10, 1_000], Strata.of([1, 1]))
    size = 1 / (0.25 / 10 + 0.25 / 1_000)
    assert (estimate.rate[0], estimate.low[0]) == (0, 0)
    assert estimate.high[0] == pytest.approx(wilson(0, size)[1])


def test_strata_that_share_their_sites_count_as_one() -> None:
    estimate = stratified([5] * 32, [100] * 32, Strata.of([1] * 32, shared=[0] * 32))
    assert (estimate.low[0], estimate.high[0]) == pytest.approx(wilson(5, 100), abs=1e-12)


def test_stratum_without_outcomes_is_left_out() -> None:
    estimate = stratified([0, 3], [0, 10], Strata.of([0, 1]))
    assert estimate.rate[0] == 0.3
    assert np.isnan(stratified([0], [0], Strata.of([0])).rate).all()
    assert np.isnan(stratified([0], [0], Strata.of([0])).high).all()


def test_unequal_strata_are_covered_as_often_as_asked() -> None:
    """1,000 groups of 8 cells with rates from 0 to 0.5 and 20 to 400 trials each."""
    rng = np.random.default_rng(11)
    rates = rng.choice([0, 0.001, 0.01, 0.1, 0.3, 0.5], (1_000, 8))
    sizes = rng.integers(20, 400, (1_000, 8))
    counts = rng.binomial(sizes, rates)
    strata = Strata.of(np.ones(8_000), group=np.arange(1_000).repeat(8))
    estimate = stratified(counts.ravel(), sizes.ravel(), strata)
    assert 0.94 <= covers((estimate.low, estimate.high), rates.mean(axis=1)) <= 1


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


def test_interval_of_clusters_is_korn_and_graubards() -> None:
    counts, cells = np.array([0, 3, 1, 0, 7, 2]), np.array([0, 0, 0, 1, 1, 1])
    estimate = clustered(counts, np.full(6, 10), cells, Strata.of([1, 3]))
    rate = (4 / 30 + 3 * 9 / 30) / 4
    variance = sum(
        (w / 4) ** 2 * stats.sem(k / 10) ** 2 for w, k in ((1, counts[:3]), (3, counts[3:]))
    )
    size = rate * (1 - rate) / variance * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 4)) ** 2
    k = rate * size
    expected = stats.beta.ppf(0.025, k, size - k + 1), stats.beta.ppf(0.975, k + 1, size - k)
    assert estimate.rate[0] == pytest.approx(rate)
    assert (estimate.low[0], estimate.high[0]) == pytest.approx(expected)


def test_independent_outcomes_lose_nothing_as_clusters() -> None:
    counts = np.random.default_rng(2).random(5_000) < 0.2
    estimate = clustered(counts, np.ones(5_000), np.zeros(5_000, int), Strata.of([1.0]))
    exact = clopper_pearson(counts.sum(), 5_000)
    assert (estimate.low[0], estimate.high[0]) == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("count", [0, 10])
def test_clusters_that_are_all_alike_count_as_one_outcome_each(count: int) -> None:
    estimate = clustered(np.full(30, count), np.full(30, 10), np.zeros(30, int), Strata.of([1.0]))
    assert (estimate.low[0], estimate.high[0]) == pytest.approx(clopper_pearson(3 * count, 30))


def test_single_cluster_says_next_to_nothing() -> None:
    estimate = clustered([4], [10], [0], Strata.of([1.0]))
    assert (estimate.low[0], estimate.high[0]) == pytest.approx(clopper_pearson(0.4, 1))


def test_cells_of_one_cluster_are_clusters_of_one_cell() -> None:
    counts, sizes = np.array([1, 4, 2, 0]), np.full(4, 10)
    apart = clustered(counts, sizes, np.arange(4), Strata.of(np.ones(4)))
    together = clustered(counts, sizes, np.zeros(4, int), Strata.of([1.0]))
    assert apart.variance[0] == pytest.approx(together.variance[0])
    assert apart.high[0] == pytest.approx(together.high[0])


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
    assert (both.low[0], both.high[0]) == pytest.approx((one.low[0], one.high[0]))


def test_larger_part_of_all_sites_is_more_certain() -> None:
    counts, sizes, cell = np.array([0, 3, 1, 0]), np.full(4, 10), np.zeros(4, int)
    some = clustered(counts, sizes, cell, Strata.of([1.0], sampled=0.75))
    free = clustered(counts, sizes, cell, Strata.of([1.0]))
    assert some.variance[0] == pytest.approx(free.variance[0] / 4)


@pytest.mark.parametrize("clusters", [10, 30, 200])
@pytest.mark.parametrize("kind", ["rare", "skewed", "both"])
def test_clusters_are_covered_as_often_as_asked(kind: str, clusters: int) -> None:
    """1,000 groups of weight faults, each on 100 samples."""
    rng = np.random.default_rng(clusters)
    shape = (1_000, clusters)
    rates, truth = {
        "rare": (np.where(rng.random(shape) < 0.05, rng.uniform(0.1, 0.9, shape), 0), 0.025),
        "skewed": (rng.beta(0.5, 10, shape), 0.5 / 10.5),
        "both": (np.where(rng.random(shape) < 0.4, 0.9, rng.beta(1, 30, shape)), 0.36 + 0.6 / 31),
    }[kind]
    counts = rng.binomial(100, rates)
    estimate = clustered(
        counts.ravel(),
        np.full(counts.size, 100),
        np.arange(1_000).repeat(clusters),
        Strata.of(np.ones(1_000), group=np.arange(1_000)),
    )
    assert covers((estimate.low, estimate.high), truth) >= 0.925


def test_interval_checks_its_confidence() -> None:
    with pytest.raises(ValueError, match=r"confidence is 1\.5"):
        korn_graubard(0.1, 0.001, 10, outcomes=100, alike=11, confidence=1.5)
    with pytest.raises(ValueError, match=r"confidence is 1\.5"):
        stratified([1], [2], Strata.of([1]), 1.5)
