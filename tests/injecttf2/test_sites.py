"""Sites depend on the trial's id and on nothing else, and are uniform."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from injecttf2 import sites
from injecttf2.faults import BitFlip
from injecttf2.sites import Sites
from injecttf2.trials import Cell, Identity, trial_ids

ids = st.integers(0, 2**64 - 1)


def draw(trial_id: int = 1, **arguments: Any) -> Sites:
    defaults: dict[str, Any] = {
        "samples": 100,
        "elements": 50,
        "candidates": range(32),
        "probability": 1.0,
    }
    return sites.draw(trial_id, **{**defaults, **arguments})


def rows(drawn: Sites) -> list[list[int]]:
    return [drawn.sample.tolist(), drawn.element.tolist(), drawn.bit.tolist()]


def p_value(counts: np.ndarray) -> float:
    return float(stats.chisquare(counts).pvalue)


def test_draws_never_change() -> None:
    drawn = draw(
        0x0123456789ABCDEF, samples=12, elements=1000, candidates=range(32), probability=0.5
    )
    assert rows(drawn) == [
        [1, 2, 3, 6, 11],
        [451, 424, 570, 737, 437],
        [22, 13, 20, 23, 31],
    ]
    drawn = draw(2**64 - 1, samples=4, elements=10**6, candidates=range(23, 31), probability=1.0)
    assert rows(drawn) == [[0, 1, 2, 3], [350162, 762890, 520385, 306170], [23, 23, 24, 24]]


def test_a_site_can_be_recomputed_from_the_raw_words_of_the_generator() -> None:
    raw = np.random.Philox(key=77).random_raw(3 * 200).reshape(3, 200)
    numbers = [[int(word) >> 11 for word in row] for row in raw]  # of 2^53
    expected = [
        (sample, element * 50 >> 53, 23 + (bit * 8 >> 53))
        for sample, (hit, element, bit) in enumerate(zip(*numbers, strict=True))
        if hit < 0.25 * 2**53
    ]
    drawn = draw(77, samples=200, candidates=range(23, 31), probability=0.25)
    assert list(zip(*rows(drawn), strict=True)) == expected
    assert len(expected) == 57


def test_draws_neither_use_nor_change_the_global_state() -> None:
    np.random.seed(0)  # noqa: NPY002 - the state that must not matter
    untouched = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    first = rows(draw(5))
    assert np.random.random() == untouched  # noqa: NPY002
    assert rows(draw(5)) == first


def test_a_key_from_a_results_row_draws_the_same() -> None:
    assert rows(draw(2**64 - 5)) == rows(draw(int(np.uint64(2**64 - 5))))
    assert rows(draw(np.uint64(2**64 - 5))) == rows(draw(2**64 - 5))  # type: ignore[arg-type]


@settings(deadline=None)
@given(trial_id=ids)
def test_probability_zero_hits_nothing(trial_id: int) -> None:
    drawn = draw(trial_id, probability=0.0)
    assert len(drawn) == 0
    assert rows(drawn) == [[], [], []]


@settings(deadline=None)
@given(trial_id=ids)
def test_probability_one_hits_every_sample_once(trial_id: int) -> None:
    drawn = draw(trial_id, probability=1.0)
    assert len(drawn) == 100
    assert drawn.sample.tolist() == list(range(100))


@settings(deadline=None)
@given(
    trial_id=ids,
    samples=st.integers(1, 50),
    elements=st.integers(1, 2**53) | st.sampled_from([1, 2, 2**31 + 1, 2**53]),
    start=st.integers(0, 60),
    width=st.integers(1, 64),
    probability=st.floats(0, 1),
)
def test_sites_lie_in_range_at_most_one_a_sample_ascending(
    trial_id: int, samples: int, elements: int, start: int, width: int, probability: float
) -> None:
    candidates = range(start, start + width)
    drawn = draw(
        trial_id,
        samples=samples,
        elements=elements,
        candidates=candidates,
        probability=probability,
    )
    assert all(column.dtype == np.int64 for column in (drawn.sample, drawn.element, drawn.bit))
    sample, element, bit = rows(drawn)
    assert sample == sorted(set(sample))
    assert set(sample) <= set(range(samples))
    assert all(0 <= one < elements for one in element)
    assert set(bit) <= set(candidates)


def test_candidates_may_leave_gaps() -> None:
    drawn = draw(candidates=range(1, 32, 10), samples=1000)
    assert set(drawn.bit.tolist()) == {1, 11, 21, 31}


@settings(deadline=None)
@given(trial_id=ids, low=st.floats(0, 1), high=st.floats(0, 1))
def test_hits_are_nested_for_growing_probability(trial_id: int, low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    few, many = draw(trial_id, probability=low), draw(trial_id, probability=high)
    of_many = dict(zip(many.sample.tolist(), zip(*rows(many)[1:], strict=True), strict=True))
    for sample, element, bit in zip(*rows(few), strict=True):
        assert of_many[sample] == (element, bit)


def test_a_sample_is_hit_when_its_number_is_below_the_probability() -> None:
    (number,) = np.random.Generator(np.random.Philox(key=5)).random((3, 1))[0]
    assert draw(5, samples=1, probability=number).sample.tolist() == []
    assert draw(5, samples=1, probability=np.nextafter(number, 1)).sample.tolist() == [0]


def test_elements_and_bits_of_one_trial_are_uniform() -> None:
    drawn = draw(2026, samples=200_000, elements=50, candidates=range(32))
    assert p_value(np.bincount(drawn.element, minlength=50)) > 0.01
    assert p_value(np.bincount(drawn.bit, minlength=32)) > 0.01
    pairs = np.bincount(drawn.element * 32 + drawn.bit, minlength=50 * 32)
    assert p_value(pairs) > 0.01


def test_the_share_of_hits_is_the_probability() -> None:
    hits = len(draw(2026, samples=200_000, probability=0.03))
    assert hits == 6008
    assert stats.binomtest(hits, 200_000, 0.03).pvalue > 0.01


@pytest.mark.parametrize("keys", ["ids", "consecutive"])
def test_the_same_sample_of_many_trials_is_uniform(keys: str) -> None:
    identity, cell = Identity("m", "d", 1), Cell("conv", BitFlip(bit=30), 0.5)
    chosen = trial_ids(identity, cell, range(10_000)).tolist() if keys == "ids" else range(10_000)
    drawn = [draw(key, samples=3, elements=40, probability=0.5) for key in chosen]
    hit = np.asarray([np.isin(np.arange(3), one.sample) for one in drawn])
    patterns = np.bincount(hit @ [1, 2, 4], minlength=8)
    assert p_value(patterns) > 0.01
    first = [one for one in drawn if 0 in one.sample]
    assert p_value(np.bincount([one.element[0] for one in first], minlength=40)) > 0.01
    assert p_value(np.bincount([one.bit[0] for one in first], minlength=32)) > 0.01


def test_an_element_and_its_bit_are_drawn_independently_of_the_hit() -> None:
    drawn = draw(9, samples=200_000, elements=50, probability=0.01)
    assert p_value(np.bincount(drawn.element, minlength=50)) > 0.01
    assert p_value(np.bincount(drawn.bit, minlength=32)) > 0.01
