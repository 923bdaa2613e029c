"""Trials whose outputs are judged in all ways equal the reference, metrics and criteria too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.evaluation import batching
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.faults.value_faults import Scale
from injecttf2.judging import Assessment
from injecttf2.judging.criteria import ByCriterion, ConfidenceMoved
from injecttf2.judging.metrics import (
    Confidence,
    MeanAbsoluteError,
    MeanSquaredError,
    TopKAccuracy,
)
from injecttf2.judging.per_position import PerPosition
from injecttf2.judging.regression import Regression
from injecttf2.judging.threshold import Threshold
from injecttf2.judging.top_k import Top1, TopK
from injecttf2.sampling.rates import Count, Probability
from injecttf2.trial import WEIGHTS
from tests import judging
from tests.builders import cell_of
from tests.comparing import assert_equal, assert_same, trials_of
from tests.reference import Judging, Reference, per_position

SAMPLES, CLASSES = 50, 4

MOVED = ConfidenceMoved(10.0)


def moved(one: Any, golden: Any) -> bool:
    return judging.moved(one, golden, percent=10.0, logits=False)


def confidence(one: Any, golden: Any, label: Any) -> float:
    return judging.flat(one)[judging.ranked(judging.flat(golden))[0]]


@dataclass(frozen=True)
class Case:
    """A judge with its oracle, the activation of the model's output, and its labels.

    Args:
        assessment: What is asked of outputs.
        judging: The same, of the oracle.
        activation: Of the last layer.
        labels: ``class``, ``flags``, ``map`` or ``values``.
    """

    assessment: Assessment
    judging: Judging
    activation: str
    labels: str


CASES = {
    "topk": Case(
        Assessment(TopK(2), (TopKAccuracy(1), Confidence()), (MOVED,)),
        Judging(
            differs=lambda one, golden: judging.topk_differs(one, golden, 2),
            score=lambda one, label: judging.topk_score(one, label, 2),
            metrics=(
                (0.0, lambda one, _, label: judging.topk_score(one, label, 1)),
                (0.0, confidence),
            ),
            criteria=(moved,),
        ),
        "softmax",
        "class",
    ),
    "top1_with_a_metric": Case(
        Assessment(Top1(), (Confidence(),)),
        Judging(metrics=((0.0, confidence),)),
        "softmax",
        "class",
    ),
    "by_criterion": Case(
        Assessment(ByCriterion(MOVED)), Judging(differs=moved), "softmax", "class"
    ),
    "threshold": Case(
        Assessment(Threshold()),
        Judging(
            differs=lambda one, golden: judging.answers(one, 0.5) != judging.answers(golden, 0.5),
            score=lambda one, label: judging.threshold_score(one, label, 0.5),
            classes=lambda _: -1,
        ),
        "sigmoid",
        "flags",
    ),
    "per_position": Case(
        Assessment(PerPosition(ignore=3, tolerance=0.05)),
        per_position(tolerance=0.05, ignore=3),
        "softmax",
        "map",
    ),
    "regression": Case(
        Assessment(
            Regression(absolute=0.1, relative=0.2), (MeanAbsoluteError(), MeanSquaredError())
        ),
        Judging(
            differs=lambda one, golden: judging.beyond(one, golden, 0.1, 0.2),
            score=lambda one, label: 1.0 - judging.beyond(one, label, 0.1, 0.2),
            classes=lambda _: -1,
            metrics=(
                (np.inf, lambda one, _, label: judging.mean_error(one, label, 1)),
                (np.inf, lambda one, _, label: judging.mean_error(one, label, 2)),
            ),
        ),
        "linear",
        "values",
    ),
}


def model_of(case: Case) -> keras.Model:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(4)
    inputs = keras.Input((5, 5, 2), name="image")
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(inputs)
    if case.labels != "map":
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation=case.activation, name="last")(x))


@pytest.mark.parametrize("name", CASES)
def test_a_judge_equals_the_reference_in_every_target(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "LARGEST_BATCH", 48)
    case, model = CASES[name], model_of(CASES[name])
    generator = np.random.default_rng(5)
    inputs = generator.normal(size=(SAMPLES, 5, 5, 2)).astype(np.float32)
    golden = model.predict(inputs, verbose=0)
    right, wrong = {
        "class": (golden.argmax(axis=-1), golden.argmin(axis=-1)),
        "map": (golden.argmax(axis=-1), golden.argmin(axis=-1)),
        "flags": (golden > 0.5, golden <= 0.5),
        "values": (golden, golden + 1),
    }[case.labels]
    labels = right.copy() if case.labels == "values" else right.astype(np.int64)
    labels[::4] = wrong[::4]
    engine = Engine(model, Dataset(inputs, labels), assessment=case.assessment)
    reference = Reference(model, inputs, labels, judging=case.judging)
    seen = set()
    chosen = [
        *(cell_of("conv", fault, Probability(0.8)) for fault in (BitFlip(bit=30), Scale(40.0))),
        cell_of("conv", BitFlip(bit_field="any"), Count(80)),
        cell_of("image + last", BitFlip(bit_field="exponent"), Count(30)),
        cell_of("conv", BitFlip(bit_field="exponent"), Count(3), WEIGHTS, "kernel"),
        cell_of("last", Scale(3.0), Count(2), WEIGHTS),
    ]
    for cell in chosen:
        trials = trials_of(cell, 2)
        seen |= assert_equal(engine, reference, trials)
        alone = engine.evaluate(trials[1:], record=True)
        assert_same(alone, engine.evaluate(trials, record=True), [1])
    assert seen == {"masked", "benign", "sdc", "due"}
    assert 0 < engine.golden.accuracy < 1
