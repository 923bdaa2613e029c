"""Golden classes that agree with the labels hardly more often than by chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.evaluation.chance import chance_of
from injecttf2.judging import Assessment
from injecttf2.judging.regression import Regression
from injecttf2.judging.threshold import Threshold
from injecttf2.judging.top_k import TopK
from tests import networks

RANDOM = np.random.default_rng(2)
LABELS = RANDOM.integers(0, 4, 400)


def test_the_chance_of_agreement_follows_from_the_frequencies() -> None:
    classes, labels = np.repeat([0, 1], [30, 10]), np.repeat([0, 1, 0], [10, 20, 10])
    # 30 of 40 and 20 of 40 are 0: 3/4 x 1/2 + 1/4 x 1/2
    assert chance_of(classes, labels, 2)[0] == 0.5


@pytest.mark.parametrize(
    ("classes", "at_chance"),
    [
        (np.zeros(400, int), True),
        (RANDOM.permutation(LABELS), True),
        (LABELS, False),
        (np.where(np.arange(400) % 2 == 0, LABELS, 0), False),
        (np.where(np.arange(400) % 20 == 0, LABELS, RANDOM.permutation(LABELS)), True),
    ],
)
def test_classes_that_have_nothing_to_do_with_the_labels(classes: Any, at_chance: bool) -> None:
    assert chance_of(classes, LABELS, 4)[1] is at_chance


def test_a_rare_class_that_is_found_is_no_chance_though_the_other_would_be_right_as_often() -> None:
    labels = np.repeat([0, 1], [190, 10])
    found = np.where(np.arange(200) < 5, 1, labels)
    assert np.mean(found == labels) < np.mean(labels == 0) + 0.03
    assert chance_of(found, labels, 2) == (0.925 * 0.95 + 0.075 * 0.05, False)
    assert chance_of(np.zeros(200, int), labels, 2) == (0.95, True)


def test_labels_of_one_class_are_compared_with_all_classes() -> None:
    labels = np.full(50, 3)
    assert chance_of(np.where(np.arange(50) < 40, 3, 1), labels, 10) == (0.1, False)
    assert chance_of(np.where(np.arange(50) < 5, 3, 1), labels, 10) == (0.1, True)


def test_few_samples_tell_nothing() -> None:
    assert chance_of(np.zeros(19, int), np.arange(19) % 2, 2)[1] is False
    assert chance_of(np.zeros(20, int), np.arange(20) % 2, 2)[1] is True


def test_the_golden_run_says_it_for_judges_of_one_class_a_sample() -> None:
    model, (inputs, labels) = networks.cnn(), networks.data((8, 8, 1), 5)
    right = model.predict(inputs, verbose=0).argmax(-1)
    for judge in (Assessment(), Assessment(TopK(2))):
        good = Engine(model, Dataset(inputs, right), assessment=judge).golden
        bad = Engine(model, Dataset(inputs, (right + 1) % 5), assessment=judge).golden
        assert (good.at_chance, bad.at_chance) == (False, True)
        shares = np.bincount(right, minlength=5) / len(right)
        assert good.chance == pytest.approx(float(shares @ shares))
    flags = Dataset(inputs, np.eye(5, dtype=np.int64)[labels])
    assert Engine(model, flags, assessment=Assessment(Threshold())).golden.chance is None
    near = Dataset(inputs, np.zeros((len(inputs), 5)))
    regression = Assessment(Regression(absolute=0.1))
    assert Engine(model, near, assessment=regression).golden.chance is None
