import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from results import wilson


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
