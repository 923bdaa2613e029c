"""The replay of faults: its record, and whether the intervals hold the rate where it stops."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.precision import SIMULATED, Population, half_widths, play
from orchestrator.campaign.precision import Allocation, Precision


def test_the_half_widths_are_those_of_the_record() -> None:
    binomial, clustered = half_widths()
    assert round(binomial, 8) == 0.00104855
    assert round(clustered, 6) == 0.000746


def test_where_one_bit_decides_neymans_allocation_takes_fewer_faults() -> None:
    population = Population.of([0.5, *[0.0] * 31], layers=4)
    assert population.rate == pytest.approx(1 / 64)
    ends = {
        allocation: play(population, asked(allocation, half_width=0.004), 20)
        for allocation in ("neyman", "proportional")
    }
    neyman, proportional = (np.median(one.trials) for one in ends.values())
    assert neyman < 0.7 * proportional
    assert all(one.holds.mean() >= 0.9 for one in ends.values())


@pytest.mark.parametrize("allocation", ["neyman", "proportional"])
@pytest.mark.parametrize(
    "name", ["20 bits of 1 %", "10 bits of 1 %", "a bit of 40 %, 8 of 3 %, 23 of 0.2 %"]
)
def test_intervals_hold_the_rate_and_it_is_told_right(name: str, allocation: Allocation) -> None:
    """Of 200 orders; an allocation that follows each cell's own hits held 8 to 52 % of them."""
    population, width = SIMULATED[name]
    ends = play(population, asked(allocation, **width), 200)
    assert ends.holds.mean() >= 0.92
    told = width.get("half_width", 0.3 * population.rate)
    assert abs(ends.rate.mean() - population.rate) < 0.12 * told


def asked(allocation: Allocation, **width: float) -> Precision:
    return Precision(scope="network", allocation=allocation, **width)
