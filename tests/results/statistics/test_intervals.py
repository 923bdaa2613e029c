from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_rel
from statsmodels.stats.proportion import confint_proportions_2indep

from results import wilson
from results.statistics.intervals import normal_quantile, paired_t, square_and_add


@given(data=st.data(), n=st.integers(1, 10**6), confidence=st.floats(0.5, 0.9999))
def test_interval_is_scipys(data: st.DataObject, n: int, confidence: float) -> None:
    k = data.draw(st.integers(0, n))
    expected = binomtest(k, n).proportion_ci(confidence, method="wilson")
    low, high = wilson(k, n, confidence)
    assert low == pytest.approx(expected.low, rel=1e-9, abs=1e-12)
    assert high == pytest.approx(expected.high, rel=1e-9, abs=1e-12)


@given(n=st.integers(1, 10**12))
def test_ends_are_exact(n: int) -> None:
    assert wilson(0, n)[0] == 0.0
    assert wilson(n, n)[1] == 1.0


@given(data=st.data(), n=st.integers(1, 10**9))
def test_interval_holds_the_proportion(data: st.DataObject, n: int) -> None:
    k = data.draw(st.integers(0, n))
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1


def test_known_value() -> None:
    low, high = wilson(8, 10)
    assert (round(float(low), 4), round(float(high), 4)) == (0.4902, 0.9433)


def test_no_trials_have_no_interval() -> None:
    low, high = wilson(np.array([0, 0]), np.array([0, 4]))
    np.testing.assert_array_equal(np.isnan(low), [True, False])
    np.testing.assert_array_equal(np.isnan(high), [True, False])


def test_arrays_broadcast() -> None:
    low, high = wilson(np.arange(3)[:, None], np.array([5, 10]))
    assert low.shape == high.shape == (3, 2)
    assert low[2, 1] == wilson(2, 10)[0]


@pytest.mark.parametrize("confidence", [0, 1, 95, float("nan")])
def test_confidence_out_of_range_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="expected a number between 0 and 1"):
        wilson(1, 2, confidence)


@pytest.mark.parametrize("successes", [-1, 3])
def test_impossible_successes_are_refused(successes: int) -> None:
    with pytest.raises(ValueError, match="between 0 and trials"):
        wilson(successes, 2)


@pytest.mark.parametrize(
    ("a", "b", "bounds"),
    [
        ((48, 80), (56, 70), (0.0524, 0.3339)),
        ((3, 10), (9, 10), (0.1705, 0.8090)),
        ((2, 7), (6, 7), (0.0582, 0.8062)),
        ((0, 29), (5, 56), (-0.0381, 0.1926)),
        ((0, 20), (0, 10), (-0.1611, 0.2775)),
        ((0, 10), (0, 10), (-0.2775, 0.2775)),
        ((0, 20), (10, 10), (0.6791, 1.0000)),
        ((0, 10), (10, 10), (0.6075, 1.0000)),
    ],
)
def test_difference_is_that_of_newcombes_table(
    a: tuple[int, int], b: tuple[int, int], bounds: tuple[float, float]
) -> None:
    """Statistics in Medicine 17 (1998), table II, method 10."""
    low, high = square_and_add(a[0] / a[1], wilson(*a), b[0] / b[1], wilson(*b))
    assert (round(float(low), 4), round(float(high), 4)) == bounds


@given(data=st.data(), n=st.tuples(st.integers(1, 10**5), st.integers(1, 10**5)))
def test_difference_is_statsmodels(data: st.DataObject, n: tuple[int, int]) -> None:
    a, b = (data.draw(st.integers(0, size)) for size in n)
    expected = confint_proportions_2indep(b, n[1], a, n[0], method="newcomb")
    low, high = square_and_add(a / n[0], wilson(a, n[0]), b / n[1], wilson(b, n[1]))
    assert (low, high) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_paired_differences_are_scipys() -> None:
    a, b = np.random.default_rng(1).random((2, 4, 12))
    expected = ttest_rel(b, a, axis=1).confidence_interval(0.9)
    low, high = paired_t(b - a, 0.9)
    np.testing.assert_allclose(low, expected.low, rtol=1e-12)
    np.testing.assert_allclose(high, expected.high, rtol=1e-12)


def test_missing_pairs_are_left_out() -> None:
    pairs = np.array([[0.1, np.nan, 0.4, 0.2], [0.1, 0.4, 0.2, np.nan]])
    low, high = paired_t(pairs)
    assert low[0] == pytest.approx(low[1])
    assert (low[0], high[0]) == pytest.approx(paired_t([0.1, 0.4, 0.2]))


def test_single_pair_has_no_interval() -> None:
    assert np.isnan(paired_t([0.5])).all()


def test_normal_quantile_is_the_familiar_one() -> None:
    assert round(normal_quantile(0.95), 6) == 1.959964


@pytest.mark.parametrize("interval", [lambda c: wilson(1, 2, c), lambda c: paired_t([0.1, 0.2], c)])
def test_every_interval_checks_its_confidence(interval: Callable[[float], object]) -> None:
    with pytest.raises(ValueError, match="confidence is 1, expected a number between 0 and 1"):
        interval(1)
