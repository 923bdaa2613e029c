"""Who gets the next trials of a layer or the network, and what is known of its rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.campaign.precision import CellTally, Precision
from orchestrator.planning.allocation import PooledTally, allot
from results.statistics import Strata, clustered_sums

COUNTS = st.lists(st.integers(0, 50), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("total", "counts", "shares", "expected"),
    [
        (10, [1, 1], [1, 1], [5, 5]),
        (10, [1, 1], [4, 1], [8, 2]),
        (10, [8, 1], [1, 1], [8, 2]),
        (12, [8, 1, 1], [1, 1, 2], [8, 1, 3]),
        (10, [0, 0, 0], [1, 1, 1], [4, 3, 3]),
        (2, [1, 1], [9, 1], [1, 1]),
        (7, [3], [0.1], [7]),
    ],
)
def test_trials_are_given_to_those_that_have_fewest_for_their_share(
    total: int, counts: list[int], shares: list[float], expected: list[int]
) -> None:
    assert allot(total, np.array(counts), np.array(shares, float)).tolist() == expected


@given(COUNTS, st.integers(0, 500), st.data())
def test_all_trials_are_given_and_none_is_taken_away(
    counts: list[int], more: int, data: st.DataObject
) -> None:
    size = len(counts)
    shares = data.draw(st.lists(st.floats(1e-4, 1e4), min_size=size, max_size=size))
    found = allot(sum(counts) + more, np.array(counts), np.array(shares))
    assert found.sum() == sum(counts) + more
    assert (found >= counts).all()


def faults(trials: int, grave: int) -> CellTally:
    """Faults in weights, of which some change all of ten samples and the others none."""
    return CellTally(trials, 10 * trials, 10 * grave, 100.0 * grave, clustered=True)


def test_neyman_gives_in_proportion_to_weight_and_deviation() -> None:
    """Many trials, so that one success and one failure more count for little."""
    cells = [faults(10**6, 5 * 10**5), faults(10**6, 10**4)]
    shares = PooledTally(cells, [2, 1]).shares(["30", "29"])
    expected = 2 * 0.5 / math.sqrt(0.01 * 0.99)
    assert shares[0] / shares[1] == pytest.approx(expected, rel=1e-3)


def test_cells_of_a_bit_have_one_deviation_whatever_they_have_shown() -> None:
    """Of 200 trials each, 50 and none: with one more of both kinds 51 of 202 and 1 of 202."""
    cells = [faults(100, 50), faults(100, 0), faults(100, 0), faults(100, 0)]
    shares = PooledTally(cells, [1, 1, 1, 3]).shares([30, 30, 29, 29])
    assert shares[0] == shares[1]
    assert shares[3] == 3 * shares[2]
    grave, quiet = math.sqrt(51 * 151) / 202, math.sqrt(1 * 201) / 202
    mean = (2 * grave + 4 * quiet) / 6
    by_chance, spread = 0.125 * 0.875, 2 * 25**2 / 200  # each bit is 25 off the 25 expected
    trust = 1 - by_chance / spread
    expected = np.array([trust * one / mean + 1 - trust for one in (grave, quiet)])
    assert shares[[0, 2]] == pytest.approx(expected)


@pytest.mark.parametrize("grave", [(0, 0, 0), (0, 1, 1), (3, 4, 5), (30, 30, 30)])
def test_where_bits_differ_no_more_than_by_chance_it_is_proportional(
    grave: tuple[int, ...],
) -> None:
    pooled = PooledTally([faults(30, one) for one in grave], [3, 1, 2])
    assert pooled.shares([0, 1, 2]).tolist() == [3, 1, 2]


def test_without_any_trial_it_is_proportional() -> None:
    assert PooledTally([CellTally(), CellTally()], [3, 1]).shares([0, 1]).tolist() == [3, 1]


def test_the_rate_is_that_of_the_sites_and_the_interval_the_summarys() -> None:
    weights, outputs = CellTally(4, 40, 12, 50.0, clustered=True), CellTally(9, 30, 3, 7.0)
    pooled = PooledTally([weights, outputs], [3, 1])
    assert pooled.rate == pytest.approx(0.75 * 0.3 + 0.25 * 0.1)
    found = clustered_sums([4, 30], [40, 30], [12, 3], [50, 3], Strata.of([3, 1]), 0.9)
    assert pooled.interval(0.9) == (float(found.low[0]), float(found.high[0]))


def test_a_relative_precision_is_a_share_of_the_rate_of_all() -> None:
    pooled = PooledTally([CellTally(1, 10_000, 400), CellTally(1, 10_000, 100)], [1, 3])
    _, high = pooled.interval(0.95)
    share = (high - 0.0175) / 0.0175  # the upper bound is the farther one
    assert Precision(scope="layer", relative=share * 1.0001).is_met(pooled)
    assert not Precision(scope="layer", relative=share * 0.9999).is_met(pooled)


def test_a_rate_is_not_known_while_one_of_its_cells_was_not_hit() -> None:
    pooled = PooledTally([CellTally(10**6, 10**6, 0), CellTally(5, 0, 0)], [1, 1])
    assert math.isnan(pooled.rate)
    assert not Precision(scope="layer", half_width=0.5).is_met(pooled)
    assert (pooled.shares([0, 1]) > 0).all()
