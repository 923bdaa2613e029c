from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.statistics.sample_size import sample_size


@pytest.mark.parametrize(
    ("margin", "population", "expected"),
    [(0.05, None, 385), (0.01, None, 9_604), (0.01, 10_000, 4_900), (0.05, 10**12, 385)],
)
def test_sizes_are_those_of_leveugles_formula(
    margin: float, population: int | None, expected: int
) -> None:
    assert sample_size(margin, 0.95, population) == expected


def test_sizes_are_those_of_the_literature() -> None:
    """The faults of ResNet-20's weights, to 1 % with t = 2.58.

    Source: A. Ruospo et al., "Assessing convolutional neural networks reliability through
    statistical fault injections", DATE 2023: 16,625 of 17,173,504. Their 99 % are those of the
    quantile 2.58; that of 99 % itself is 2.5758.
    """
    population = 268_336 * 64
    confidence = 2 * NormalDist().cdf(2.58) - 1
    assert sample_size(0.01, confidence, population) == 16_625
    assert sample_size(0.01, 0.99, population) == 16_572
    assert sample_size(0.01, 0.99) == 16_588


def test_rarer_events_take_fewer_faults_for_the_same_margin() -> None:
    assert sample_size(0.01, rate=[0.5, 0.1, 0.01]).tolist() == [9_604, 3_458, 381]


def test_arrays_broadcast() -> None:
    sizes = sample_size(np.array([[0.05], [0.01]]), population=np.array([100, 10_000]))
    assert sizes.tolist() == [[80, 370], [99, 4_900]]
    assert sizes.dtype == np.int64


@given(
    margin=st.floats(1e-6, 0.5),
    population=st.integers(1, 10**9),
    rate=st.floats(0, 1),
)
def test_sample_is_never_larger_than_its_population(
    margin: float, population: int, rate: float
) -> None:
    assert 1 <= sample_size(margin, 0.99, population, rate) <= population


@given(population=st.integers(2, 10**9), margin=st.floats(1e-4, 0.4))
def test_sample_is_as_precise_as_asked_for(population: int, margin: float) -> None:
    """The half width that its variance gives, without rounding up, is the margin.

    A sample without replacement is as precise as n (N - 1) / (N - n) of a population without limit
    (W. G. Cochran, Sampling Techniques, 3rd ed., Wiley 1977, section 2.6).
    """

    def unlimited(n: float) -> float:
        return np.inf if n == population else n * (population - 1) / (population - n)

    n = float(sample_size(margin, 0.95, population))
    wanted = 0.25 * (1.959963984540054 / margin) ** 2
    assert unlimited(n) >= wanted * (1 - 1e-9)
    assert n <= 1 or unlimited(n - 1) < wanted * (1 + 1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_size(0), "margin is 0, expected numbers above 0"),
        (lambda: sample_size(0.1, 95), "confidence is 95"),
        (lambda: sample_size(0.1, population=0), "population is 0"),
        (lambda: sample_size(0.1, rate=1.5), "rate is 1.5, expected numbers from 0 to 1"),
    ],
)
def test_arguments_out_of_range_are_named(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()
