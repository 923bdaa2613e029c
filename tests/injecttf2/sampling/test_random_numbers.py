"""Whole numbers from the words of Philox, recomputed one word at a time."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from injecttf2.sampling.random_numbers import binomial, distinct


def source(key: int) -> np.random.Philox:
    return np.random.Philox(key=key)


def one_by_one(key: int, count: int, below: int) -> tuple[list[int], int]:
    """Return what ``distinct`` must, and how many words it takes."""
    words, found, taken = source(key), set[int](), 0
    few = min(count, below - count)
    while len(found) < few:
        number = int(words.random_raw()) >> (64 - (below - 1).bit_length())
        taken += 1
        if number < below:
            found.add(number)
    if count > few:
        found = set(range(below)) - found
    return sorted(found), taken


def test_distinct_numbers_never_change() -> None:
    assert distinct(source(1), 6, 1000).tolist() == [31, 53, 159, 310, 869, 921]
    numbers = distinct(source(2**64 - 1), 3, 10**12)
    assert numbers.tolist() == [258321008013, 452094257661, 788691508654]
    assert distinct(source(7), 7, 10).tolist() == [0, 2, 3, 5, 7, 8, 9]


@settings(deadline=None)
@given(key=st.integers(0, 2**64 - 1), below=st.integers(1, 300), data=st.data())
def test_distinct_numbers_are_the_first_that_the_words_name(
    key: int, below: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, below))
    words = source(key)
    numbers = distinct(words, count, below)
    expected, taken = one_by_one(key, count, below)
    assert (numbers.dtype, numbers.tolist()) == (np.int64, expected)
    assert words.random_raw() == source(key).random_raw(taken + 1)[-1]  # no word is lost


@pytest.mark.parametrize(
    ("count", "below"),
    [(1, 1), (0, 1), (10**6 - 3, 10**6), (5 * 10**5, 10**6), (10, 2**63), (10**5, 10**11)],
)
def test_numbers_are_distinct_whatever_share_of_all_they_are(count: int, below: int) -> None:
    numbers = distinct(source(3), count, below)
    assert len(numbers) == len(np.unique(numbers)) == count
    assert not count or (numbers[0] >= 0 and int(numbers[-1]) < below)
    assert np.all(np.diff(numbers) > 0)


@pytest.mark.parametrize("count", [2, 4])  # the second by way of those left out
def test_every_set_of_numbers_is_equally_likely(count: int) -> None:
    sets = dict.fromkeys(combinations(range(6), count), 0)
    for key in range(6000):
        sets[tuple(distinct(source(key), count, 6).tolist())] += 1
    assert len(sets) == 15
    assert stats.chisquare(list(sets.values())).pvalue > 0.01


def test_few_of_very_many_numbers_are_uniform() -> None:
    numbers = distinct(source(5), 100_000, 3 * 10**11)
    counts = np.bincount(numbers // (3 * 10**9), minlength=100)
    assert stats.chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize("chance", [0.0, 1e-3, 0.3, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("trials", [0, 1, 7, 1000])
def test_a_binomial_count_is_the_quantile_of_its_number(trials: int, chance: float) -> None:
    for number in np.random.Generator(source(1)).random(50):
        expected = stats.binom.isf(number, trials, chance)
        assert binomial(number, trials, chance) == max(expected, 0)


@settings(deadline=None)
@given(number=st.floats(0, 1, exclude_max=True), low=st.floats(0, 1), high=st.floats(0, 1))
def test_more_succeed_as_the_chance_grows(number: float, low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    assert binomial(number, 1000, low) <= binomial(number, 1000, high)


def test_one_trial_succeeds_where_the_number_is_below_its_chance() -> None:
    assert binomial(0.25, 1, 0.25) == 0
    assert binomial(np.nextafter(0.25, 0), 1, 0.25) == 1


def test_the_smallest_number_gives_a_count_and_not_the_whole() -> None:
    assert binomial(0.0, 10**12, 1e-12) == 18
    assert binomial(0.0, 10**12, 0.0) == 0


def test_binomial_counts_have_mean_and_spread_of_the_distribution() -> None:
    trials, chance = 3 * 10**11, 1e-7
    numbers = (np.arange(1000) + 0.5) / 1000
    counts = np.asarray([binomial(number, trials, chance) for number in numbers])
    assert counts.mean() == pytest.approx(30_000, abs=0.5)
    assert counts.std() == pytest.approx(30_000**0.5, rel=0.01)
