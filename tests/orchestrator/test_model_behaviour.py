"""Campaigns on models that check themselves, heed their company or take a fixed batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from injecttf2.evaluation.dependence import AGAIN, BESIDE_OTHERS
from results import open_run
from tests.orchestrator.conftest import Command, Run

MODULE = """
import keras
import numpy as np
import tensorflow as tf
from keras import layers

inputs = np.random.default_rng(0).normal(size=(60, 6)).astype("float32")


class Own(layers.Layer):
    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, x):
        return tf.ensure_shape(self.function(x), x.shape)


def network(function, batch=None):
    keras.utils.set_random_seed(2)
    taken = keras.Input(batch_shape=(batch, 6), name="features")
    x = layers.Dense(12, activation="relu", name="hidden")(taken)
    x = Own(function, name="own")(x)
    return keras.Model(taken, layers.Dense(4, activation="softmax", name="scores")(x))


def finite():
    return network(lambda x: tf.debugging.check_numerics(x * 1e30, "too large") * 1e-30)


def raising():
    return network(lambda x: tf.debugging.check_numerics(x / 0.0, "never"))


def full():
    def store(values):
        if (values > 1e3).any():
            raise MemoryError("no room for them")
        return values

    return network(lambda x: tf.numpy_function(store, [x], x.dtype))


def centred():
    return network(lambda x: x - tf.reduce_mean(x, axis=0))


def noisy():
    return network(lambda x: x + tf.random.normal(tf.shape(x)))


def one():
    return network(tf.identity, batch=1)


def many():
    return network(tf.identity, batch=32)


def stateful():
    taken = keras.Input(batch_shape=(4, 6), name="features")
    x = layers.LSTM(5, stateful=True, name="memory")(layers.Reshape((2, 3), name="split")(taken))
    return keras.Model(taken, layers.Dense(4, name="scores")(x))


def data():
    return inputs, np.zeros(60, int)
"""


def written(folder: Path, model: str, grid: str) -> Path:
    (folder / "models_of_mine.py").write_text(MODULE)
    file = folder / f"{model}.yaml"
    file.write_text(
        f"model: models_of_mine:{model}\ndataset: models_of_mine:data\nseed: 3\nrepetitions: 4\n"
        f"grid: {grid}\n"
    )
    return file


ON_HIDDEN = "{layers: hidden, bits: 30, probabilities: 1.0}"


@pytest.mark.parametrize(
    ("model", "layer", "why"),
    [
        ("noisy", "'own' (Own)", AGAIN),
        ("centred", "'own' (Own)", BESIDE_OTHERS),
        ("stateful", "'memory' (LSTM)", AGAIN),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_model_whose_samples_are_not_their_own_is_refused(
    model: str, layer: str, why: str, command: str, injecttf2: Command, tmp_path: Path
) -> None:
    file = written(tmp_path, model, "{layers: all, bits: 30, counts: 1}")
    output = () if command == "plan" else ("--output", tmp_path / "run")
    ended = injecttf2(command, file, *output)
    assert ended.code == 2
    assert ended.error.startswith(
        f"error: {file}:1:8: what the model gives out for a sample is not its own: the layer "
        f"{layer} gives out other values {why}\n  let it "
    )
    assert not (tmp_path / "run").exists()


def test_what_a_check_of_the_model_finds_is_due_and_nothing_is_given_up_on(
    injecttf2: Command, run: Run, tmp_path: Path
) -> None:
    file = written(tmp_path, "finite", ON_HIDDEN)
    file.write_text(file.read_text() + "record: injections\n")
    ended = injecttf2("run", file, "--executor", "inline", "--output", tmp_path / "run")
    assert ended.code == 0
    found = open_run(tmp_path / "run")
    assert found.status().failures == 0
    sites = found.injections()
    with np.errstate(over="ignore"):
        large = sites["corrupted"].to_numpy(np.float32) * np.float32(1e30)
    raises = ~np.isfinite(large)
    assert 0 < raises.sum() < len(raises) == 240
    np.testing.assert_array_equal(sites["outcome"] == "due", raises)
    assert found.trials()["due"].sum() == raises.sum()


def test_a_model_that_raises_without_faults_is_told_by_plan_as_by_run(
    injecttf2: Command, tmp_path: Path
) -> None:
    file = written(tmp_path, "raising", ON_HIDDEN)
    output = tmp_path / "run"
    for command in (["plan", file], ["run", file, "--executor", "inline", "--output", output]):
        ended = injecttf2(*command)
        assert ended.code == 2
        assert "the model cannot be run on the data: InvalidArgumentError: never" in ended.err


def test_what_the_machine_is_short_of_is_told_in_full(
    injecttf2: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    file = written(tmp_path, "full", ON_HIDDEN)
    ended = injecttf2("run", file, "--executor", "inline", "--output", tmp_path / "run")
    assert ended.code == 1
    error = "ResourceExhaustedError: MemoryError: no room for them"
    status = open_run(tmp_path / "run").status()
    assert [failed.error for failed in status.failed] == 4 * [error]
    assert f"gave up on trials of hidden: {error}\n" in ended.err
    assert error in injecttf2("status", tmp_path / "run").out
    assert open_run(tmp_path / "run").failures()["traceback"].str.contains("in store").all()


@pytest.mark.parametrize("model", ["one", "many"])
def test_a_model_of_a_fixed_batch_is_planned_and_run(
    model: str, injecttf2: Command, tmp_path: Path
) -> None:
    grid = "[{layers: all, bits: exponent, counts: 20}, "
    grid += "{layers: all, target: weights, bits: 30, counts: 1}]"
    file = written(tmp_path, model, grid)
    assert injecttf2("plan", file, "--json").json["trials"] == 4 * (3 + 2)
    ended = injecttf2("run", file, "--executor", "inline", "--output", tmp_path / "run")
    assert ended.code == 0
    trials = open_run(tmp_path / "run").trials()
    assert trials.groupby("layer")["sites"].sum().to_dict() == {
        "hidden": 4 * 20 + 4,
        "own": 4 * 20,
        "scores": 4 * 20 + 4,
    }
    assert (trials["samples"] == 60).all()
