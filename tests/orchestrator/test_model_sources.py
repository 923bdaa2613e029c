"""Models of every source on the command line: layers, plan, run and replay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from results import open_run
from tests.builders import in_short
from tests.keras_2 import KINDS
from tests.orchestrator.conftest import Command, assert_equal_rows
from tests.tensorflow_models import Decorated, data, signatures

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model:UserWarning")

FUNCTIONS = """
import tensorflow as tf

from tests.keras_2 import KINDS
from tests.tensorflow_models import SIGNATURE, Plain

def module():
    return Plain(seed=int(tf.random.uniform((), 0, 1000)))  # another every time

def concrete():
    module = module_of_mine()
    function = tf.function(module.__call__).get_concrete_function(*SIGNATURE)
    function.module = module
    return function

module_of_mine = module

def keras_2():
    return KINDS["convolutions"].model()
"""


def h5(folder: Path) -> str:
    KINDS["convolutions"].model().save(folder / "model.h5")
    return "model.h5"


def keras_file(folder: Path) -> str:
    KINDS["convolutions"].model().save(folder / "model.keras")
    return "model.keras"


def saved_model(folder: Path) -> str:
    KINDS["convolutions"].model().save(folder / "exported", save_format="tf")
    return "exported"


def signature(folder: Path) -> str:
    module = Decorated()
    tf.saved_model.save(module, str(folder / "exported"), signatures=signatures(module))
    return "{source: exported, signature: scores}"


def function(name: str) -> Callable[[Path], str]:
    def written(folder: Path) -> str:
        (folder / "functions_here.py").write_text(FUNCTIONS)
        return f"functions_here:{name}"

    return written


SOURCES: dict[str, tuple[Callable[[Path], str], str]] = {
    "h5": (h5, "depthwise"),
    "keras": (keras_file, "depthwise"),
    "SavedModel": (saved_model, "depthwise"),
    "signature": (signature, "first"),
    "module": (function("module"), "first"),
    "concrete": (function("concrete"), "second"),
    "tf_keras": (function("keras_2"), "conv"),
}

CAMPAIGN = """
name: sources
model: {model}
dataset: data.npz
seed: 4
repetitions: 2
grid:
  - {{layers: [{layer}], bits: [30, random], probabilities: [0.5]}}
  - {{layers: all, target: weights, bits: exponent, counts: [2]}}
"""


def written(name: str, folder: Path) -> Path:
    tf_keras.backend.clear_session()
    make, layer = SOURCES[name]
    inputs = KINDS["convolutions"].data() if layer in ("depthwise", "conv") else data()
    labels = np.random.default_rng(2).integers(0, 3, len(inputs[0]))
    np.savez(folder / "data.npz", x=inputs[0], y=labels)
    file = folder / "sources.yaml"
    file.write_text(CAMPAIGN.format(model=make(folder), layer=layer))
    return file


@pytest.mark.parametrize("name", SOURCES)
def test_plan_run_and_replay(name: str, injecttf2: Command, tmp_path: Path) -> None:
    file, folder = written(name, tmp_path), tmp_path / "run"
    planned = injecttf2("plan", file, "--json")
    assert planned.code == 0, planned.err
    ended = injecttf2("run", file, "--executor", "inline", "--output", folder, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["done"] == ended.json["trials"] == planned.json["trials"]
    trials = open_run(folder).trials()
    assert set(trials["target"]) == {"outputs", "weights"}
    assert trials["sdc"].sum() > 0
    if name in ("module", "concrete"):  # whose weights are by chance
        return
    for target in ("outputs", "weights"):
        trial = trials[trials["target"] == target]["trial_id"].iloc[0]
        again = injecttf2("replay", folder, str(trial), "--json")
        assert again.code == 0, again.err
        assert again.json["equal"]


@pytest.mark.ray
@pytest.mark.parametrize(
    "name", in_short("SavedModel", of=("h5", "SavedModel", "module", "tf_keras"))
)
def test_workers_have_the_same_model(name: str, injecttf2: Command, tmp_path: Path) -> None:
    file = written(name, tmp_path)
    for executor in ("inline", "ray"):
        options = ("--executor", executor, "--output", tmp_path / executor)
        ended = injecttf2("run", file, *options, *(("--workers", "2") if executor == "ray" else ()))
        assert ended.code == 0, ended.err
    if name != "module":  # whose weights are other ones in each run
        assert_equal_rows(tmp_path / "inline", tmp_path / "ray")


@pytest.mark.parametrize("name", ["h5", "SavedModel", "tf_keras"])
def test_layers_says_what_can_be_injected(
    name: str, injecttf2: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tf_keras.backend.clear_session()
    ended = injecttf2("layers", SOURCES[name][0](tmp_path), "--json")
    assert ended.code == 0, ended.err
    layers = {entry["layer"]: entry for entry in ended.json}
    kind = "DepthwiseConv2D" if name != "SavedModel" else "BiasAdd"
    assert layers["depthwise"]["type"] == kind
    assert layers["depthwise"]["shape"] == [6, 6, 4]
    assert layers["image"]["type"] == "InputLayer"


def test_layers_of_a_signature(
    injecttf2: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    signature(tmp_path)
    ended = injecttf2("layers", "exported", "--signature", "hidden", "--json")
    assert [one["type"] for one in ended.json] == ["InputLayer", "Tanh"]
    refused = injecttf2("layers", "exported")
    assert refused.code == 2
    assert "it has no signature 'serving_default'; it has hidden, scores" in refused.err


def test_a_module_that_does_not_say_what_it_takes_says_what_to_do(
    injecttf2: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = injecttf2("layers", function("module")(tmp_path))
    assert ended.code == 2
    assert "it is not known which shape the model 'functions_here:module' takes" in ended.err
