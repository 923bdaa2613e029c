"""Models of ``keras.applications``: every layer listed, and outcomes like the reference's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest

from injecttf2.acceleration import difference
from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.sampling.rates import Count, Probability
from injecttf2.trial import TOGETHER, WEIGHTS
from tests import applications
from tests.builders import cell_of
from tests.comparing import assert_equal, assert_equal_unrecorded, trials_of
from tests.reference import Reference
from tests.tables import MODELS, check_row, layers_of, names

SAMPLES = 24


def subjects(*in_short: str) -> Any:
    """Have a test run for all models with ``--full``, and without it for some."""
    every = [
        pytest.param(n, marks=[pytest.mark.full] * (n not in in_short)) for n in applications.CHOSEN
    ]
    return pytest.mark.parametrize("subject", every, indirect=True)


FAULTS = (BitFlip(bit_field="any"), BitFlip(bit_field="exponent"))


@dataclass(frozen=True)
class Subject:
    """A model with its graph, its data, and the oracle."""

    name: str
    model: keras.Model
    graph: ModelGraph
    data: Dataset
    reference: Reference


@pytest.fixture(scope="module")
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    model, images = applications.build(request.param), applications.images(SAMPLES)
    labels = np.arange(SAMPLES) % applications.CLASSES
    graph = ModelGraph.of(model, images)
    watched = [info.layer for info in graph.layers]
    reference = Reference(model, images, labels, batch=SAMPLES, watched=watched)
    yield Subject(request.param, model, graph, Dataset(images, labels), reference)
    keras.utils.clear_session(free_memory=False)


def addresses(model: keras.Model, path: str = "") -> Iterator[str]:
    """All that Keras' own record of a model calls, models inside it left out."""
    for one in (getattr(model, "_functional", None) or model).operations:
        if isinstance(one, keras.Model):
            yield from addresses(one, f"{path}{one.name}/")
        elif not path or not isinstance(one, keras.layers.InputLayer):
            yield f"{path}{one.name}"


@subjects("MobileNetV2")
def test_all_that_keras_calls_can_be_injected(
    subject: Subject, pytestconfig: pytest.Config
) -> None:
    graph, name = subject.graph, subject.name
    assert sorted(info.layer for info in graph.layers) == sorted(addresses(subject.model))
    assert {info.reason for info in graph.layers} == {None}
    where = names(applications.CHOSEN[name]), names(applications.IN_WEIGHTS[name])
    write = pytestconfig.getoption("write_tables")
    check_row(MODELS, "applications", (name, *layers_of(graph), *where), write=write)


@subjects("DenseNet121")
def test_faults_in_all_layers_together_equal_the_reference(subject: Subject) -> None:
    engine = Engine(subject.graph, subject.data, levels=())
    np.testing.assert_array_equal(engine.golden.outputs, subject.reference.golden)
    every = TOGETHER.join(info.layer for info in subject.graph.layers)
    (trial,) = trials_of(cell_of(every, BitFlip(bit_field="mantissa"), Count(1)))
    assert_equal(engine, subject.reference, [trial])
    assert subject.reference.evaluate(trial).sites == len(subject.graph.layers)


@subjects("MobileNetV2")
def test_outcomes_equal_the_reference_at_the_faster_levels(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(difference, "COMPILING", 1e-9)  # take boxes for few samples
    engine = Engine(subject.graph, subject.data)
    seen = set()
    for layer in applications.CHOSEN[subject.name]:
        for fault in FAULTS:
            (trial,) = trials_of(cell_of(layer, fault, Probability(0.9)))
            seen |= assert_equal(engine, subject.reference, [trial])
            assert_equal_unrecorded(engine, subject.reference, trial)
        assert engine.prepare(layer).reevaluated < SAMPLES / 2, layer  # of about 43
    for layer in applications.IN_WEIGHTS[subject.name]:
        for fault in FAULTS:
            trials = trials_of(cell_of(layer, fault, Count(1), WEIGHTS))
            seen |= assert_equal(engine, subject.reference, trials)
    assert {"masked", "benign", "sdc"} <= seen
