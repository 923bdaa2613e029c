"""Models and data that a script holds: the same trials as of files, here and in Ray's workers."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from injecttf2 import device
from injecttf2.errors import CampaignError, DatasetError, ModelError
from injecttf2.trial import Identity
from orchestrator import Campaign
from orchestrator import run as run_campaign
from orchestrator.planning.plan import make_plan
from results import RunMismatchError, open_run
from tests import networks
from tests.orchestrator.conftest import Command, assert_equal_rows

X, Y = networks.data((8, 8, 1), 5)
GRID = {"layers": "logits", "bits": [30, "sign"], "probabilities": 1.0}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    device.load()
    yield
    keras.utils.clear_session(free_memory=False)


def made(**given: Any) -> Campaign:
    return Campaign(**{"model": networks.cnn(), "dataset": (X, Y), "grid": GRID, **given})


def identity(**given: Any) -> Identity:
    return make_plan(made(**given)).identity


def test_the_trials_are_those_of_the_files(tmp_path: Path, injecttf2: Command) -> None:
    model = networks.cnn()
    held, filed = tmp_path / "held", tmp_path / "filed"
    dataset = {"source": (X, Y), "samples": 40}
    found = run_campaign(made(model=model, dataset=dataset), held, executor="inline", quiet=True)
    assert found.campaign["model"] == {"source": f"in memory: Sequential {model.name}, 6 layers"}
    shapes = f"inputs {[*X.shape]} float32, labels [{len(Y)}] int64"
    assert found.campaign["dataset"] == {"source": f"in memory: {shapes}", "samples": 40}

    model.save(tmp_path / "m.keras")
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    files = ("--model", tmp_path / "m.keras", "--dataset", tmp_path / "d.npz")
    named = {"source": str(tmp_path / "d.npz"), "samples": 40}
    campaign = made(model=str(tmp_path / "m.keras"), dataset=named)
    assert run_campaign(campaign, filed, executor="inline", quiet=True).identity == found.identity
    assert_equal_rows(held, filed)

    trial = str(found.trials()["trial_id"].iloc[0])
    assert injecttf2("status", held).code == injecttf2("report", held).code == 0
    lacking = injecttf2("replay", held, trial)
    assert lacking.code == 2
    assert (
        "model: the model was in the memory of the process that made the campaign (Sequential "
        in " ".join(lacking.err.split())
    )
    assert "give the file: --model FILE" in " ".join(lacking.err.split())
    lacking = injecttf2("replay", held, trial, *files[:2])
    assert "the data set was in the memory of the process" in " ".join(lacking.err.split())
    again = injecttf2("replay", held, trial, *files, "--json")
    assert (again.code, again.json["equal"]) == (0, True)


def test_another_model_or_other_data_do_not_go_on(tmp_path: Path) -> None:
    run_campaign(made(), tmp_path, executor="inline", quiet=True)
    run_campaign(made(repetitions=2), tmp_path, executor="inline", quiet=True)
    assert len(open_run(tmp_path).trials()) == 4
    other = networks.cnn()
    other.get_layer("logits").bias.assign(np.ones(5))
    for changed in ({"model": other}, {"dataset": (X + 1, Y)}):
        with pytest.raises(RunMismatchError, match="belongs to another campaign"):
            run_campaign(made(**changed), tmp_path, executor="inline", quiet=True)


DATA: dict[str, Callable[[], Any]] = {
    "list": lambda: [X, Y.tolist()],
    "arrays by name": lambda: {"x": X, "y": Y},
    "tf.data.Dataset": lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(16),
    "function": lambda: lambda: (X, Y),
    "function of arrays by name": lambda: lambda: {"x_test": X, "y_test": Y},
    "in a mapping": lambda: {"source": (X, Y), "scale": 1},
}


@pytest.mark.parametrize("form", DATA)
def test_data_have_many_forms(form: str) -> None:
    assert identity(dataset=DATA[form]()) == identity()


def test_a_function_may_return_the_model() -> None:
    assert identity(model=networks.cnn).model == identity(model=lambda: networks.cnn()).model
    assert identity(model=networks.cnn) == identity()


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no layer": (
        {"model": keras.layers.Dense(3, name="one")},
        ModelError,
        "in memory: Dense one: the function raised TypeError",
    ),
    "nothing": ({"model": lambda: None}, ModelError, "the function returned NoneType; expected a"),
    "no labels": (
        {"dataset": {"x": X}},
        DatasetError,
        r"it holds the arrays x; expected inputs and labels named x_test and y_test, or x and y",
    ),
    "a tensor alone": ({"dataset": lambda: X}, DatasetError, "the function returned ndarray; exp"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_model_or_no_data_is_told(case: str) -> None:
    given, kind, said = REFUSED[case]
    with pytest.raises((kind, CampaignError), match=said):
        make_plan(made(**given))


def test_copies_keep_what_is_in_memory() -> None:
    campaign = made()
    copied = campaign.model_copy(update={"seed": 3}).located()
    assert copied.held("model") is campaign.held("model")
    assert copied.model_copy(update={"seed": 0}) == campaign
    other = campaign.model_copy(update={"dataset": (X[:10], Y[:10]), "model": "builtin:digits_cnn"})
    assert (other.held("model"), len(other.held("dataset")[0])) == (None, 10)
    assert campaign != made()
    read = Campaign.model_validate(campaign.resolved())
    with pytest.raises(CampaignError, match="the model was in the memory of the process"):
        read.held("model")


class Locked(keras.Model):
    """A model whose configuration holds what cannot be written down."""

    def __init__(self, lock: Any) -> None:
        super().__init__(name="locked")
        self.logits = keras.layers.Dense(5, name="logits")
        self.lock = lock

    def call(self, inputs: Any) -> Any:
        return self.logits(keras.ops.reshape(inputs, (-1, 64)))


def test_what_cannot_travel_is_told(tmp_path: Path) -> None:
    model = Locked(lambda: None)
    model(X)
    campaign = made(model=model)
    assert len(run_campaign(campaign, tmp_path, executor="inline", quiet=True).trials()) == 2
    with pytest.raises(ModelError) as caught:
        pickle.dumps(make_plan(campaign).model)
    said, hint = str(caught.value).splitlines()
    assert said.startswith(
        "in memory: Locked locked, 1 layers: the model cannot be sent to other processes: "
        "NotImplementedError: Object Locked was created by passing non-serializable argument"
    )
    assert hint == (
        '  choose executor="inline", which works in this process; or write a function that '
        'returns the model into a module: model="package.module:function"'
    )


SCRIPT = """
import sys
from dataclasses import dataclass

import keras
import numpy as np
import tf_keras

from injecttf2 import Campaign, fault, run

FACTOR = 2.0


@fault("halved")
@dataclass(frozen=True)
class Halved:
    by: float

    def corrupt(self, values, draws):
        return (values / self.by).astype(values.dtype)


class Scaled(keras.layers.Layer):
    def call(self, inputs):
        return inputs * FACTOR


def network(api):
    api.utils.set_random_seed(3)
    own = [Scaled(name="scaled"), api.layers.Lambda(lambda x: x + FACTOR)] if api is keras else []
    inputs = api.layers.InputLayer((4,)) if api is tf_keras else api.Input((4,))
    return api.Sequential([inputs, api.layers.Dense(3, name="dense"), *own])


if __name__ == "__main__":
    x = np.random.default_rng(1).normal(size=(20, 4)).astype("float32")
    for api in (keras, tf_keras):
        campaign = Campaign(
            model=network(api),
            dataset=lambda: (x, x.argmax(axis=1) % 3),
            grid={"fault": {"type": "halved", "by": 4}, "probabilities": 1.0},
        )
        for executor in ("inline", "ray"):
            run(campaign, f"{api.__name__}-{executor}", executor=executor, quiet=True)
"""


@pytest.mark.ray
def test_what_a_script_defines_travels(tmp_path: Path) -> None:
    """Classes, functions and values of the main module, which workers do not have."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for api, layers in (("keras", 3), ("tf_keras", 1)):
        runs = [tmp_path / f"{api}-{executor}" for executor in ("inline", "ray")]
        assert len(open_run(runs[0]).trials()) == layers
        assert_equal_rows(*runs)
