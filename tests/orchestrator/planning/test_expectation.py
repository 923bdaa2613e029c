"""How well the rates of a plan's cells will be known."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from injecttf2.sampling.rates import Count, Probability
from orchestrator.campaign.campaign import load_campaign
from orchestrator.planning.expectation import (
    FEWEST,
    Expectation,
    expectations,
    half_width,
    warnings_of,
)
from orchestrator.planning.plan import make_plan
from tests.orchestrator.conftest import Command


def expected(campaign: Path, *overrides: str) -> list[Expectation]:
    return expectations(make_plan(load_campaign(campaign, overrides=overrides)))


def test_the_number_that_is_warned_below_is_what_its_reasons_say() -> None:
    assert 0.9**FEWEST < 0.05 < 0.9 ** (FEWEST - 2)
    assert round(half_width(0.5, FEWEST), 3) == 0.168


def test_half_of_the_interval_is_that_of_wilson() -> None:
    z = 1.959963984540054
    assert half_width(0.5, 100) == pytest.approx(z / (2 * math.sqrt(100 + z**2)), abs=1e-15)


def test_cells_have_as_many_injections_as_their_trials_are_expected_to_hit(campaign: Path) -> None:
    """70 samples, 3 repetitions, probabilities 0, 0.2 and 1; nothing is known of the first."""
    cells = 3 * 13
    assert expected(campaign) == [
        Expectation("outputs", Probability(0.2), 42.0, 42.0, cells, few=0, repetitions=3),
        Expectation("outputs", Probability(1), 210.0, 210.0, cells, few=0, repetitions=1),
    ]
    few, enough = expected(campaign, "repetitions=2")
    assert (few.least, few.most, few.few, few.repetitions) == (28.0, 28.0, cells, 3)
    assert (enough.least, enough.few) == (140.0, 0)


def test_in_weights_a_trial_is_one_fault_whatever_the_samples(campaign: Path) -> None:
    changes = ("grid.layers=conv", "grid.target=weights", "grid.probabilities=", "grid.counts=4")
    (one,) = expected(campaign, *changes)
    assert one == Expectation("weights", Count(4), 3.0, 3.0, 13, few=13, repetitions=30)
    assert one.unit == "faults"


def test_of_cells_that_go_on_until_they_are_known_nothing_is_told(campaign: Path) -> None:
    assert expected(campaign, "repetitions=", "precision.half_width=0.1") == []


def test_few_injections_are_warned_of_with_what_to_do(campaign: Path, injecttf2: Command) -> None:
    ended = injecttf2("plan", campaign, "-o", "repetitions=2")
    assert ended.code == 0
    stages = "loading TensorFlow\nloading the model\nloading the data\n"
    stages += "tracing the model\ntiming the model\n"
    assert ended.err == (
        f"{stages}39 of 78 cells in outputs will have fewer than 30 injections, of which "
        "a rate of 10 % may show none: `repetitions: 3` gives 30 to each, "
        "`precision: {half_width: 0.05}` as many as it takes\n"
    )
    told = " ".join(ended.out.split())
    assert (
        "a cell in outputs at p = 0.2 has 28 injections: at 95 % they tell a rate of 50% to ±17.4% "
        "and a rate of 1% to ±6.8% a cell in outputs at p = 1 has 140 injections: at 95 % they "
        "tell a rate of 50% to ±8.2% and a rate of 1% to ±2.1%"
    ) in told
    assert injecttf2("plan", campaign).err == stages


def test_what_init_writes_is_not_warned_of(injecttf2: Command, tmp_path: Path) -> None:
    assert injecttf2("init", tmp_path / "new.yaml").code == 0
    small = expected(tmp_path / "new.yaml", "dataset.samples=100")
    assert [one.few for one in small] == [0]
    assert list(warnings_of(small)) == []
