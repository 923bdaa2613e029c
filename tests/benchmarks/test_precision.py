"""The replay of published faults: its record, and who gets the faults."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.precision import ALLOCATIONS, Population, half_widths, play
from orchestrator.campaign.precision import Precision


def test_the_half_widths_are_those_of_the_record() -> None:
    binomial, clustered = half_widths()
    assert round(binomial, 8) == 0.00104855
    assert round(clustered, 6) == 0.000746


def test_where_one_cell_decides_neymans_allocation_takes_fewest_faults() -> None:
    grave = np.array([0, 10_000] * 50)
    population = Population([grave, *[np.zeros(100, int)] * 31], [1.0] * 32)
    assert population.rate == pytest.approx(1 / 64)
    precision = Precision(scope="network", half_width=0.004)
    equal, proportional, neyman = (
        play(population, precision, shares, seed=1) for shares in ALLOCATIONS.values()
    )
    assert equal == proportional  # the cells are of one size
    assert neyman.trials < 0.6 * equal.trials
    assert equal.holds
    assert neyman.holds
