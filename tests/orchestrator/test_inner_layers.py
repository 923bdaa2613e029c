"""Layers inside others on the command line: what is listed, what `all` takes, and a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from results import open_run
from tests.orchestrator.conftest import Command, Run

MODULE = """
import keras
import numpy as np
from keras import layers


class Block(keras.layers.Layer):
    def __init__(self):
        super().__init__(name="block")
        self.attention = layers.MultiHeadAttention(2, 3, name="attention")
        self.norm = layers.LayerNormalization(name="norm")

    def build(self, shape):
        self.attention.build(shape, shape)
        self.norm.build(shape)

    def call(self, x):
        return self.norm(self.attention(x, x) + x)


class Mine(keras.Model):
    def __init__(self):
        super().__init__(name="mine")
        self.block = Block()
        self.pool = layers.GlobalAveragePooling1D(name="pool")
        self.classes = layers.Dense(3, name="classes")

    def call(self, x):
        return self.classes(self.pool(self.block(x)))


def unbuilt():
    return Mine()


def build():
    model = Mine()
    model(np.zeros((1, 5, 4), np.float32))
    return model
"""

CAMPAIGN = """
model: models_of_mine:build
dataset: data.npz
repetitions: 2
grid:
  layers: LAYERS
  bits: [30]
  probabilities: [1.0]
"""

INSIDE = ["block/norm", "block", "pool", "classes"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("COLUMNS", "200")
    keras.utils.set_random_seed(1)
    generator = np.random.default_rng(1)
    x = generator.normal(size=(30, 5, 4)).astype(np.float32)
    np.savez("data.npz", x=x, y=generator.integers(3, size=30))
    Path("models_of_mine.py").write_text(MODULE)
    yield tmp_path
    sys.modules.pop("models_of_mine", None)
    keras.utils.clear_session(free_memory=False)


def test_layers_says_what_all_leaves_out(folder: Path, injecttf2: Command) -> None:
    listed = injecttf2("layers", "models_of_mine:build", "--json").json
    found = {entry["layer"]: entry for entry in listed}
    assert list(found) == [
        *("inputs", "block/attention/query", "block/attention/key", "block/attention/value"),
        *("block/attention/attention_output", "block/attention", "block/norm", "block", "pool"),
        *("classes", "block/attention/softmax", "block/attention/dropout", "mine"),
    ]
    assert found["block/norm"] == {
        "layer": "block/norm",
        "type": "LayerNormalization",
        "shape": [5, 4],
        "dtype": "float32",
        "elements": 20,
        "parameters": 8,
        "weights": [
            {
                "variable": name,
                "dtype": "float32",
                "elements": 4,
                "counted_at": {"layer": "block/norm", "variable": name},
            }
            for name in ("gamma", "beta")
        ],
    }
    assert found["block/attention/query"]["in_all"] is False
    assert found["block/attention/softmax"]["reason"] == (
        "it is not called by itself when the model runs, or only in a compiled function"
    )
    left_out = [layer for layer, entry in found.items() if entry.get("in_all") is False]
    kerass_own = [layer for layer in found if layer.startswith("block/attention/")]
    assert left_out == [*kerass_own, "mine"]
    (kernel, _) = found["block/attention/query"]["weights"]
    assert kernel["counted_at"] == {"layer": "block/attention", "variable": "query/kernel"}
    table = " ".join(injecttf2("layers", "models_of_mine:build").out.split())
    assert "EinsumDense (not among `all`)" in table
    assert "LayerNormalization (" not in table


def test_all_takes_the_layers_of_a_subclassed_model_and_a_pattern_those_of_kerass_own(
    folder: Path, injecttf2: Command
) -> None:
    file = folder / "all.yaml"
    file.write_text(CAMPAIGN.replace("LAYERS", "all"))
    assert injecttf2("plan", file, "--json").json["cells"] == len(INSIDE) + 1  # and the attention
    file.write_text(CAMPAIGN.replace("LAYERS", "block/attention/*"))
    assert injecttf2("plan", file, "--json").json["cells"] == 4
    file.write_text(CAMPAIGN.replace("LAYERS", "{type: EinsumDense}"))
    assert "no layer of type 'EinsumDense'" in injecttf2("plan", file).err


def test_a_subclassed_model_is_run_by_a_worker_that_builds_it_anew(folder: Path, run: Run) -> None:
    file = folder / "some.yaml"
    file.write_text(CAMPAIGN.replace("LAYERS", "[block/attention/value, block/norm, classes]"))
    run(file, folder / "run")
    rows = open_run(str(folder / "run")).trials()
    assert rows.groupby("layer", observed=True)["injected"].sum().to_dict() == {
        "block/attention/value": 60,
        "block/norm": 60,
        "classes": 60,
    }
    assert (rows["sdc"] + rows["due"]).sum() > 0


def test_a_subclassed_model_without_weights_is_refused(folder: Path, injecttf2: Command) -> None:
    ended = injecttf2("layers", "models_of_mine:unbuilt")
    assert ended.code == 2
    assert "a subclassed model, Mine, that has not been called" in ended.err
