"""After how many trials a cell is looked at, and when it has enough."""

from __future__ import annotations

import math

import pytest
from scipy.stats import binomtest

from injecttf2.errors import CampaignError
from orchestrator.campaign.precision import CellTally, Precision


@pytest.mark.parametrize(
    ("precision", "hits", "expected"),
    [
        # 189 injections for a half width of 0.01 at no sdc, half as many again each time, 9,604.
        (
            Precision(half_width=0.01),
            1,
            (189, 283, 424, 636, 953, 1430, 2145, 3217, 4825, 7237, 9604, 9898),
        ),
        (Precision(half_width=0.01), 500, (1, 2, 3, 5, 7, 10, 15, 20)),
        (Precision(half_width=0.01), 10_000, (1,)),
        (Precision(half_width=0.01, minimum=4), 500, (4, 5, 7, 10, 15, 20)),
        (Precision(half_width=0.01, maximum=8), 500, (1, 2, 3, 5, 7, 8)),
        (Precision(half_width=0.01, minimum=30), 500, (30,)),
        (Precision(half_width=0.2), 10, (10,)),
        (Precision(half_width=0.01), 0, (1,)),
        (Precision(half_width=0.01, scope="layer", maximum=8), 500, (1, 2, 3, 4, 6, 8)),
        (Precision(half_width=0.01, minimum=3), 0, (3,)),
        (Precision(relative=0.5, maximum=40), 10, (10, 15, 23, 34, 40)),
    ],
)
def test_looks(precision: Precision, hits: float, expected: tuple[int, ...]) -> None:
    assert precision.looks(hits) == expected


def test_cells_that_are_looked_at_together_have_their_minimum_each() -> None:
    precision = Precision(half_width=0.05, scope="network", minimum=2)
    assert precision.looks(1, 10) == (100, 150, 225, 338, 405, 464)
    assert precision.looks(1, 100) == (200, 300, 450, 585, 644)
    assert precision.looks(1, 300) == (600, 900, 985, 1044)
    assert precision.looks(0, 300) == (600,)


def test_the_last_look_of_a_relative_precision_knows_a_rate_of_a_thousandth() -> None:
    *_, last, beyond = Precision(relative=0.1).looks(1)
    assert beyond == math.ceil(last * (1 + 3 * 0.1 / 1.959964))
    assert last == math.ceil((1.959964 / 0.1) ** 2 * 999)
    tally = CellTally(last, last, round(last / 1000))
    assert Precision(relative=0.101).is_met(tally)
    assert not Precision(relative=0.099).is_met(tally)


@pytest.mark.parametrize(("hits", "injected"), [(0, 188), (0, 189), (10, 1200), (480, 9604)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_a_half_width_is_that_of_wilsons_interval(
    hits: int, injected: int, confidence: float
) -> None:
    interval = binomtest(hits, injected).proportion_ci(confidence, method="wilson")
    half = (interval.high - interval.low) / 2
    tally = CellTally(7, injected, hits)
    assert Precision(half_width=half * 1.0001, confidence=confidence).is_met(tally)
    assert not Precision(half_width=half * 0.9999, confidence=confidence).is_met(tally)


def test_a_relative_precision_is_a_share_of_the_rate() -> None:
    tally = CellTally(1, 10_000, 400)
    interval = binomtest(400, 10_000).proportion_ci(0.95, method="wilson")
    share = (interval.high - interval.low) / 2 / 0.04
    assert Precision(relative=share * 1.0001).is_met(tally)
    assert not Precision(relative=share * 0.9999).is_met(tally)
    assert not Precision(relative=0.9).is_met(CellTally(1, 10_000, 0))


def test_of_a_layer_the_farther_bound_is_as_near_as_asked() -> None:
    tally = CellTally(1, 1000, 10)
    interval = binomtest(10, 1000).proportion_ci(0.95, method="wilson")
    farther = interval.high - 0.01
    assert farther > (interval.high - interval.low) / 2
    assert Precision(scope="layer", half_width=farther * 1.0001).is_met(tally)
    assert not Precision(scope="layer", half_width=farther * 0.9999).is_met(tally)


def test_without_injected_samples_nothing_is_known() -> None:
    assert not Precision(half_width=0.5).is_met(CellTally(9, 0, 0))
    assert not Precision(half_width=0.5).is_met(CellTally(9, 0, 0, clustered=True))


def test_the_trial_is_the_unit_where_samples_share_a_fault() -> None:
    """Twenty faults in 1,000 samples, half of them with sdc in all: as twenty samples."""
    tally = CellTally(20, 20_000, 10_000, 10 * 1000.0**2, clustered=True)
    low, high = tally.interval(0.95)
    interval = binomtest(10, 20).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    low, high = CellTally(20, 20_000, 10_000).interval(0.95)
    assert high - low < 0.015


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "either half_width or relative"),
        ({"half_width": 0.1, "relative": 0.1}, "either half_width or relative"),
        ({"half_width": 0}, "a number above 0 and below 1"),
        ({"relative": 1}, "a number above 0 and below 1"),
        (
            {"half_width": 0.1, "allocation": "neyman"},
            "no allocation with the scope cell, or the scope layer or network",
        ),
        ({"half_width": 0.1, "scope": "model"}, "'cell', 'layer' or 'network'"),
        ({"half_width": 0.1, "confidence": 95}, "a number above 0 and below 1"),
        ({"half_width": 0.1, "minimum": 0}, "minimum: received 0, expected 1 or more"),
        (
            {"half_width": 0.1, "minimum": 5, "maximum": 4},
            "a maximum that is not below the minimum",
        ),
    ],
)
def test_a_precision_that_makes_no_sense_is_refused(keys: dict[str, float], said: str) -> None:
    with pytest.raises(CampaignError, match=said):
        Precision(**keys)


@pytest.mark.parametrize(("population", "trials"), [(10_000, 4900), (10**12, 9604), (1, 1)])
def test_the_fixed_plan_is_leveugles(population: int, trials: int) -> None:
    assert Precision(half_width=0.01).fixed(1, population) == trials
    assert Precision(half_width=0.01).fixed(0, population) == 1
