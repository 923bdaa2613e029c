import numpy as np
import pytest

from results.statistics.intervals import wilson
from results.statistics.strata import Strata, stratified

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
    assert 0.94 <= covers((estimate.low, estimate.high), rates.mean(axis=1)) <= 0.995


def test_interval_checks_its_confidence() -> None:
    with pytest.raises(ValueError, match=r"confidence is 1\.5"):
        stratified([1], [2], Strata.of([1]), 1.5)


def test_families_are_the_cells_of_a_group_with_the_same_number() -> None:
    strata = Strata.of([1.0] * 7, group=[1, 0, 1, 0, 2, 1, 0], shared=[5, 5, 9, 2, 9, 5, 5])
    group, family = strata.families
    assert group.tolist() == [0, 0, 1, 1, 2]
    assert family.tolist() == [2, 1, 3, 0, 4, 2, 1]
