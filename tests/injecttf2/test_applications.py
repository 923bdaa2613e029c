"""Models of ``keras.applications``: every layer listed, and outcomes like the reference's."""

from __future__ import annotations

import numpy as np
import pytest

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.evaluation import batching
from injecttf2.faults import BitFlip
from injecttf2.rates import Count, Probability
from injecttf2.trials import WEIGHTS, Cell
from tests import applications
from tests.comparing import assert_equal, trials_of
from tests.reference import Reference
from tests.tables import MODELS, check_row, layers_of, names

SAMPLES = 24

IN_SHORT = "MobileNetV2"
"""The one that is compared without ``--full`` too."""

FAULTS = (BitFlip(bit_field="any"), BitFlip(bit_field="exponent"))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.full] * (n != IN_SHORT)) for n in applications.CHOSEN],
)
def test_outcomes_equal_the_reference(
    name: str, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    monkeypatch.setattr(batching, "LARGEST_BATCH", 24)
    model, images = applications.build(name), applications.images(SAMPLES)
    labels = np.arange(SAMPLES) % applications.CLASSES
    engine = Engine(model, Dataset(images, labels), levels=())
    chosen, weights = applications.CHOSEN[name], applications.IN_WEIGHTS[name]
    row = (name, *layers_of(engine.graph), names(chosen), names([weights]))
    check_row(MODELS, "applications", row, write=pytestconfig.getoption("write_tables"))
    reference = Reference(model, images, labels)
    seen = set()
    for layer in chosen if pytestconfig.getoption("full") else chosen[1:3]:
        for fault in FAULTS:
            trials = trials_of(Cell(layer, fault, Probability(0.9)))
            seen |= assert_equal(engine, reference, trials)
    for fault in FAULTS:
        trials = trials_of(Cell(weights, fault, Count(1), WEIGHTS), 3)
        seen |= assert_equal(engine, reference, trials)
    assert len(seen) >= 3
