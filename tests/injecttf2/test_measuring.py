"""Measuring routes: what may be trusted, and how much it leaves open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from injecttf2 import measuring
from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.measuring import ENOUGH_NEAR, SAFETY, SMALLEST_BOUND, UNMEASURED_BOUND, Measuring
from injecttf2.outcomes import BENIGN, MASKED, MASKED_TOLERANCE, SDC
from injecttf2.path import NOT_FINITE
from tests import networks

SAMPLES = 100


class Fixed:
    """A shortcut that finds what level dense finds, but for what a test changes."""

    bound = 0.0

    def __init__(self, code: Any, classes: Any, distance: Any) -> None:
        self.code, self.classes, self.distance = code.copy(), classes.copy(), distance.copy()
        self.sensitivity = np.ones(SAMPLES)
        self.floor = np.zeros(SAMPLES)

    def examine(self, *_: object) -> tuple[Any, ...]:
        return self.code, self.classes, self.distance, self.sensitivity, self.floor


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> tuple[Measuring, Fixed]:
    """Half of the samples near the tolerance, the others far from it."""
    monkeypatch.setattr(measuring, "ENOUGH_SECONDS", 1e-9)
    engine = Engine(networks.cnn(), Dataset(*networks.data((8, 8, 1), 5)), levels=())
    layer = engine.prepare("conv")
    assert layer._outputs is not None
    found = Measuring(layer._suffix, None, layer._block, layer._outputs)  # type: ignore[arg-type]
    distance = np.where(np.arange(SAMPLES) < 50, 2 * MASKED_TOLERANCE, 1.0)
    code, classes = np.full(SAMPLES, BENIGN, np.uint8), np.zeros(SAMPLES, np.int32)
    found._judged = code, classes, distance
    return found, Fixed(code, classes, distance)


def share_left(judged: tuple[Measuring, Fixed]) -> float | None:
    found, shortcut = judged
    return found.share_left(shortcut)  # type: ignore[arg-type]


def test_what_agrees_is_trusted(judged: tuple[Measuring, Fixed]) -> None:
    assert share_left(judged) == 0
    assert judged[1].bound == SMALLEST_BOUND


def test_the_bound_is_the_largest_effect_times_a_margin(judged: tuple[Measuring, Fixed]) -> None:
    judged[1].distance[3] += 2.0**-20
    judged[1].distance[60] += 1.0  # far from the tolerance, where rounding decides nothing
    assert share_left(judged) == 0
    assert judged[1].bound == SAFETY * 2.0**-20


def test_what_a_softmax_rounds_is_no_effect(judged: tuple[Measuring, Fixed]) -> None:
    judged[1].distance[3] += 2.0**-20
    judged[1].floor[:] = 2.0**-20
    assert share_left(judged) == 0
    assert judged[1].bound == SMALLEST_BOUND


def test_few_samples_near_the_tolerance_measure_no_bound(judged: tuple[Measuring, Fixed]) -> None:
    _, _, distance = judged[0]._judged
    distance[ENOUGH_NEAR - 1 : 50] = 1.0
    assert share_left(judged) == 0
    assert judged[1].bound == UNMEASURED_BOUND


def test_what_is_close_or_not_finite_is_left(judged: tuple[Measuring, Fixed]) -> None:
    judged[1].code[:3] = NOT_FINITE
    for values in (judged[0]._judged[2], judged[1].distance):
        values[10:12] = MASKED_TOLERANCE
    assert share_left(judged) == 0.05


@pytest.mark.parametrize(
    ("place", "code", "faulty_class", "trusted"),
    [
        (60, SDC, 0, False),  # another outcome
        (10, MASKED, 0, True),  # near the tolerance, which the bound takes care of
        (10, BENIGN, 1, False),  # another class, near the tolerance or not
        (60, NOT_FINITE, 1, True),  # left to level dense
        (60, BENIGN, -1, True),  # dropped, so it has no class
    ],
)
def test_what_is_decided_otherwise_is_not_trusted(
    judged: tuple[Measuring, Fixed], place: int, code: int, faulty_class: int, trusted: bool
) -> None:
    judged[1].code[place], judged[1].classes[place] = code, faulty_class
    assert (share_left(judged) is not None) == trusted


def test_what_rounds_too_much_is_not_trusted(judged: tuple[Measuring, Fixed]) -> None:
    judged[1].distance[3] += 2.0**-18
    assert share_left(judged) is None
