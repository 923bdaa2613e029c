import numpy as np
import pytest
from scipy.stats import bootstrap

from results.statistics.bootstrap import cluster_bootstrap
from results.statistics.clusters import clustered
from results.statistics.intervals import clopper_pearson
from results.statistics.strata import Strata


def faults(count: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Faults of which most do nothing, each on 50 to 149 samples."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(50, 150, count)
    rates = np.where(rng.random(count) < 0.3, rng.beta(2, 3, count), 0.01)
    return rng.binomial(sizes, rates), sizes


def test_interval_is_scipys_for_clusters_of_one_size() -> None:
    counts, _ = faults(40)
    expected = bootstrap(
        (counts / 200,), np.mean, n_resamples=9999, rng=np.random.default_rng(0)
    ).confidence_interval
    low, high = cluster_bootstrap(counts, np.full(40, 200), resamples=9999)
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=0.02)


def test_many_clusters_agree_with_linearisation() -> None:
    counts, sizes = faults(2_000)
    estimate = clustered(counts, sizes, np.zeros(2_000, int), Strata.of([1.0]))
    low, high = cluster_bootstrap(counts, sizes)
    width = estimate.high[0] - estimate.low[0]
    assert (low, high) == pytest.approx((estimate.low[0], estimate.high[0]), abs=0.08 * width)


def test_outcomes_of_a_cluster_are_not_taken_as_independent() -> None:
    counts, sizes = faults(60)
    low, high = cluster_bootstrap(counts, sizes)
    naive = clopper_pearson(counts.sum(), sizes.sum())
    assert high - low > 3 * (naive[1] - naive[0])


def test_same_data_have_the_same_interval() -> None:
    assert cluster_bootstrap(*faults(30)) == cluster_bootstrap(*faults(30))


def test_nothing_seen_is_the_rule_of_three_over_clusters() -> None:
    low, high = cluster_bootstrap(np.zeros(100), np.full(100, 10_000))
    assert low == 0
    assert high == clopper_pearson(0, 100)[1] == pytest.approx(0.0362, abs=1e-4)


def test_clusters_that_all_fail_keep_a_width() -> None:
    low, high = cluster_bootstrap(np.full(20, 8), np.full(20, 8))
    assert (low, high) == (clopper_pearson(20, 20)[0], 1.0)


def test_no_clusters_have_no_interval() -> None:
    assert np.isnan(cluster_bootstrap([], [])).all()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="expected two of one length"):
        cluster_bootstrap([1, 2], [3])
    with pytest.raises(ValueError, match="between 0 and sizes"):
        cluster_bootstrap([4], [3])
    with pytest.raises(ValueError, match="confidence is 2"):
        cluster_bootstrap([1, 2], [3, 3], 2)
