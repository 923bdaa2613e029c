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


def test_neyman_gives_in_proportion_to_weight_and_deviation() -> None:
    """Many trials, so that the one more counts for little: 0.5 x 2 and 0.1 x 1."""
    cells = [
        CellTally(10**6, 10**7, 5 * 10**6, 5 * 10**5 * 100.0, clustered=True),  # 0 or all of 10
        CellTally(10**6, 10**7, 10**5, 10**4 * 100.0, clustered=True),  # 1 % of the trials all
    ]
    shares = PooledTally(cells, [2, 1]).shares("neyman")
    expected = 2 * 0.5 / math.sqrt(0.01 * 0.99)
    assert shares[0] / shares[1] == pytest.approx(expected, rel=1e-3)
    assert PooledTally(cells, [2, 1]).shares("proportional").tolist() == [2, 1]


def test_a_cell_that_showed_nothing_yet_counts_one_trial_as_all_cells_have_them() -> None:
    quiet, loud = CellTally(9, 9, 0), CellTally(9, 9, 9)
    shares = PooledTally([quiet, loud, CellTally(9, 9, 0)], [1, 1, 2]).shares("neyman")
    overall = 0.25 * 0.75  # of the rates 0, 1 and 0, weighing 1, 1 and 2
    assert shares == pytest.approx(np.array([1, 1, 2]) * math.sqrt(overall / 10))


def test_without_any_difference_it_is_proportional() -> None:
    quiet = CellTally(9, 90, 0, clustered=True)
    assert PooledTally([quiet, quiet], [3, 1]).shares("neyman").tolist() == [3, 1]
    assert PooledTally([CellTally(), CellTally()], [3, 1]).shares("neyman").tolist() == [3, 1]


def test_the_rate_is_that_of_the_sites_and_the_interval_the_summarys() -> None:
    weights, outputs = CellTally(4, 40, 12, 50.0, clustered=True), CellTally(9, 30, 3, 7.0)
    pooled = PooledTally([weights, outputs], [3, 1])
    assert pooled.rate == pytest.approx(0.75 * 0.3 + 0.25 * 0.1)
    found = clustered_sums([4, 30], [40, 30], [12, 3], [50, 3], Strata.of([3, 1]), 0.9)
    assert pooled.interval(0.9) == (float(found.low[0]), float(found.high[0]))


def test_a_relative_precision_is_a_share_of_the_rate_of_all() -> None:
    pooled = PooledTally([CellTally(1, 10_000, 400), CellTally(1, 10_000, 100)], [1, 3])
    low, high = pooled.interval(0.95)
    share = (high - low) / 2 / 0.0175
    assert Precision(scope="layer", relative=share * 1.0001).is_met(pooled)
    assert not Precision(scope="layer", relative=share * 0.9999).is_met(pooled)


def test_a_rate_is_not_known_while_one_of_its_cells_was_not_hit() -> None:
    pooled = PooledTally([CellTally(10**6, 10**6, 0), CellTally(5, 0, 0)], [1, 1])
    assert math.isnan(pooled.rate)
    assert not Precision(scope="layer", half_width=0.5).is_met(pooled)
    assert (pooled.shares("neyman") > 0).all()
