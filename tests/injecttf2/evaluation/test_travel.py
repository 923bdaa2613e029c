"""Samples on their way through the chain: batches that raise, places, and packing."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from injecttf2.datasets import Dataset
from injecttf2.engine import Engine
from injecttf2.evaluation import batching
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.faults.listed import FromFaultList, SetValue
from injecttf2.faults.value_faults import Scale
from injecttf2.graph import segments
from injecttf2.sampling.rates import Probability
from injecttf2.sampling.sites import Sites
from injecttf2.trial import Trial
from tests.builders import cell_of
from tests.comparing import assert_same, chain_of, trials_of
from tests.families import Checked

LIMIT = 1e3


class Recorder:
    """A function of the user's own that sees each batch, and may raise where a value is large."""

    def __init__(self, *, raises: bool = False) -> None:
        self.batches: list[np.ndarray] = []
        self.raises = raises

    def __call__(self, values: np.ndarray) -> np.ndarray:
        self.batches.append(values.copy())
        if self.raises and (values > LIMIT).any():
            raise ValueError("too large")
        return values

    def layer(self) -> keras.Layer:
        """A layer that hands on what goes in."""
        return Checked(lambda t: tf.numpy_function(self, [t], t.dtype), name="recorder")


def engine_of(recorder: Recorder, *, batch: int | None = None, samples: int = 24) -> Engine:
    """Features, a layer to hit, the recorder and scores."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    inputs = keras.Input(batch_shape=(batch, 6), name="features")
    x = layers.Activation("linear", name="hit")(inputs)
    x = recorder.layer()(x)
    model = keras.Model(inputs, layers.Dense(4, name="scores")(x))
    data = np.random.default_rng(2).normal(size=(samples, 6)).astype(np.float32)
    engine = Engine(model, Dataset(data, np.zeros(samples, np.int64)), levels=())
    engine.prepare("hit")
    recorder.batches.clear()
    return engine


def setting(samples: list[int], value: float) -> Trial:
    """A trial that sets the first feature of some samples."""
    count = len(samples)
    sites = Sites(
        np.array(samples, np.int64),
        np.zeros(count, np.int64),
        np.full(count, -1, np.int64),
        np.full((count, 1), value),
    )
    rate = FromFaultList(f"{samples} {value}", outputs=(sites,))
    (trial,) = trials_of(cell_of("hit", SetValue(), rate))
    return trial


def large(batch: np.ndarray) -> int:
    return int((batch > LIMIT).any(axis=1).sum())


def test_a_batch_that_raises_is_halved_until_what_raises_is_alone() -> None:
    recorder = Recorder(raises=True)
    engine = engine_of(recorder)
    hit = list(range(24))
    trial = setting(hit, 5.0)
    assert trial.cell.rate.outputs[0].draws.max() == 5.0  # type: ignore[union-attr]
    trial.cell.rate.outputs[0].draws[17] = 2 * LIMIT  # type: ignore[union-attr]
    found = engine.evaluate([trial], record=True)
    assert found.tallies.due.tolist() == [1]
    assert found.injections is not None
    assert found.injections.sample[found.injections.outcome == 3].tolist() == [17]
    in_batches = [int((batch[:, 0] >= 5.0).sum()) for batch in recorder.batches]
    # The whole, a golden batch, halves of what raises, and what was hit, for the record.
    assert in_batches == [24, 0, *(12, 12), *(6, 6), *(3, 3), *(2, 1), 0]
    assert list(map(large, recorder.batches)) == [1, 0, *(0, 1), *(1, 0), *(0, 1), *(0, 1), 0]
    assert {batch.shape for batch in recorder.batches} == {(24, 6)}


def test_where_all_raise_they_are_run_one_by_one() -> None:
    recorder = Recorder(raises=True)
    engine = engine_of(recorder)
    found = engine.evaluate([setting(list(range(24)), 2 * LIMIT)], record=True)
    assert found.tallies.due.tolist() == [24]
    # The whole, a golden batch, two halves, one by one.
    assert [large(batch) for batch in recorder.batches[:4]] == [24, 0, 12, 12]
    assert [large(batch) for batch in recorder.batches[4:28]] == [1] * 24


@pytest.mark.parametrize("batch", [5, 7])
def test_a_sample_keeps_its_place_where_the_place_may_matter(batch: int) -> None:
    recorder = Recorder()
    engine = engine_of(recorder, batch=batch, samples=19)
    hit = [0, 3, 4, 5, 9, 10, 14, 18]
    engine.evaluate([setting(hit, 50.0), setting([3, 8], 50.0)])
    data = engine.dataset.input_arrays[0]
    seen = []
    for values in recorder.batches:
        for place in np.flatnonzero(values[:, 0] == 50.0):
            (sample,) = np.flatnonzero((data[:, 1:] == values[place, 1:]).all(axis=1))
            assert sample % batch == place
            seen.append(int(sample))
    assert sorted(seen) == sorted([*hit, 3, 8])


def test_samples_that_are_left_are_packed_into_fewer_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segments, "HANDING", 0.0)  # small models are cut too
    monkeypatch.setattr(segments, "ELEMENT", 0.0)
    monkeypatch.setattr(batching, "LARGEST_BATCH", 24)
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    recorder = Recorder()
    inputs = keras.Input((6,), name="features")
    x = layers.ReLU(name="relu")(layers.Dense(16, name="hidden")(inputs))
    x = layers.Dense(16, activation="tanh", name="second")(x)
    x = layers.Dense(16, activation="tanh", name="third")(x)
    x = recorder.layer()(x)
    model = keras.Model(inputs, layers.Dense(4, name="scores")(x))
    data = np.random.default_rng(2).normal(size=(96, 6)).astype(np.float32)
    dataset = Dataset(data, np.zeros(96, np.int64))
    dense, drop = (Engine(model, dataset, levels=levels) for levels in ((), ("drop",)))
    assert len(chain_of(drop)) > 2
    trials = trials_of(cell_of("hidden", Scale(2.0), Probability(1.0)))
    batches = []
    found: list[Any] = []
    for engine in (dense, drop):
        engine.prepare("hidden")
        recorder.batches.clear()
        found.append(engine.evaluate(trials, record=True))
        batches.append(len(recorder.batches))
    assert_same(found[1], found[0])
    left = 96 - drop.prepare("hidden").dropped  # those that a ReLU has not made golden again
    assert 24 < left < 72
    assert batches == [4, -(-left // 24)]


def test_a_sample_that_is_golden_again_leaves_and_one_that_is_not_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segments, "HANDING", 0.0)  # small models are cut too
    monkeypatch.setattr(segments, "ELEMENT", 0.0)
    keras.utils.clear_session(free_memory=False)
    inputs = keras.Input((6,), name="features")
    x = layers.Activation("linear", name="hit")(inputs)
    x = layers.Dense(6, use_bias=False, kernel_initializer="identity", name="same")(x)
    x = layers.Rescaling(1.0, name="scale")(layers.ReLU(name="relu")(x))
    model = keras.Model(inputs, layers.Dense(4, name="scores")(x))
    data = np.linspace(-2, 2, 144).reshape(24, 6).astype(np.float32)
    engine = Engine(model, Dataset(data, np.zeros(24, np.int64)), levels=("drop",))
    found = engine.evaluate(
        trials_of(cell_of("hit", BitFlip(bit=20), Probability(1.0))), record=True
    ).injections
    assert found is not None
    assert engine.prepare("hit").dropped == np.count_nonzero(found.original < 0)
