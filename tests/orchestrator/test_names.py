"""Whatever a layer may be called in Keras' `predict`, it can be called here."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from injecttf2 import InjectTF2, device
from injecttf2.errors import ModelError
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.trial import OUTPUTS, WEIGHTS
from orchestrator.campaign.campaign import load_campaign
from orchestrator.campaign.grid import FaultListSpec
from orchestrator.planning.fault_list import FaultList
from orchestrator.planning.plan import make_plan
from results import open_run
from tests.orchestrator.conftest import Command, Run, assert_equal_rows

MODULE = """
import keras
import numpy as np
from keras import layers, ops


class _Scale(layers.Layer):
    def call(self, x):
        return 2 * x


class Half(keras.Operation):
    def call(self, x):
        return x / 2

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, dtype=x.dtype)


class Block(layers.Layer):
    def __init__(self, inner, **options):
        super().__init__(**options)
        self.inner = layers.Dense(4, name=inner)

    def build(self, shape):
        self.inner.build(shape)

    def compute_output_shape(self, shape):
        return (*shape[:-1], 4)

    def call(self, x):
        return self.inner(x)


INPUTS = INPUT_NAMES
LAYERS = LAYER_NAMES


def build(inputs, names):
    keras.utils.set_random_seed(1)
    given = [keras.Input((3,), name=name) for name in inputs]
    names = iter(names)
    x = layers.Add(name=next(names))(given)
    x = _Scale(name=next(names))(x)
    x = layers.Dense(4, activation="tanh", name=next(names))(x)
    inner = keras.Sequential([layers.Dense(3, name=next(names))], name=next(names))
    x = Block(next(names), name=next(names))(inner(x))
    x = Half(name=next(names))(x)
    return keras.Model(given, layers.Dense(3, activation="softmax", name=next(names))(x))


def odd():
    return build(INPUTS, LAYERS)


def plain():
    return build([f"input{i}" for i in range(len(INPUTS))], [f"layer{i}" for i in range(9)])


def automatic():
    keras.utils.clear_session(free_memory=False)
    return keras.Sequential([keras.Input((6,)), _Scale(), layers.Dense(4, name="out")])


class Mine(keras.Model):
    def __init__(self):
        super().__init__(name="mine")
        self.first = layers.Dense(4, name="_first")
        self.last = layers.Dense(3, name="-last")

    def call(self, x):
        return self.last(self.first(x))


def subclassed():
    keras.utils.set_random_seed(1)
    model = Mine()
    model(np.zeros((1, 6), np.float32))
    return model


def data():
    generator = np.random.default_rng(0)
    inputs = tuple(generator.normal(size=(7, 3)).astype(np.float32) for _ in INPUTS)
    return inputs, generator.integers(3, size=7)


def features():
    generator = np.random.default_rng(0)
    return generator.normal(size=(7, 6)).astype(np.float32), np.zeros(7, int)
"""

INPUTS = ["x*", "all", "größe", "[a]", "my input", "😀", "-dash#2", "a,b", 'say "no"', "a+b"]
"""Names of inputs: Keras takes any but those with a slash, as no operation is named after them."""

LAYERS = [
    *("_sum", "__scale", "-dash", "a>b.c", "_nested", "_inner", "_" + "y" * 300),
    *("Half (of [x]*)", "__out"),
]
"""Names of layers, of a nested model, of a layer in a block, and of an operation."""

ADDRESSES = [
    *(*INPUTS, "_sum", "__scale", "-dash", "_nested/a>b.c"),
    *(f"{LAYERS[6]}/_inner", LAYERS[6], LAYERS[7], "__out"),
]
HAVE_WEIGHTS = ["-dash", "_nested/a>b.c", f"{LAYERS[6]}/_inner", "__out"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    device.load()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = MODULE.replace("INPUT_NAMES", repr(INPUTS)).replace("LAYER_NAMES", repr(LAYERS))
    Path("odd_names.py").write_text(module)
    yield tmp_path
    sys.modules.pop("odd_names", None)
    keras.utils.clear_session(free_memory=False)


def campaign(model: str, grid: Any, data: str = "data") -> Path:
    file = Path(f"{model}.yaml")
    content = {"model": f"odd_names:{model}", "dataset": f"odd_names:{data}", "grid": grid}
    file.write_text(json.dumps(content, ensure_ascii=False))
    return file


def by_position(run: str) -> pd.DataFrame:
    """What became of each place, without the names of layers."""
    rows = open_run(run).trials()
    columns = ["layer_index", "target", "variable", "bit", "repetition"]
    found = ["sites", "injected", "masked", "benign", "sdc", "due"]
    return rows[[*columns, *found]].sort_values(columns, ignore_index=True)


def test_a_model_does_the_same_whatever_its_layers_are_called(run: Run) -> None:
    module = __import__("odd_names")
    inputs, _ = module.data()
    assert module.odd().predict(list(inputs), verbose=0).shape == (7, 3)
    escaped = ["[a]ll" if one == "all" else one for one in ADDRESSES]
    plain = [info.layer for info in ModelGraph.of(module.plain()).layers]
    for model, outputs, weights in (
        ("odd", escaped, HAVE_WEIGHTS),
        ("plain", plain, [plain[ADDRESSES.index(one)] for one in HAVE_WEIGHTS]),
    ):
        grids = [
            {"layers": layers, "target": target, "bits": [30], "exhaustive": True}
            for layers, target in ((outputs, OUTPUTS), (weights, WEIGHTS))
        ]
        run(campaign(model, grids), Path(model))
    found = by_position("odd")
    assert len(found) == len(INPUTS) * 3 + 3 + 3 + 4 + 3 + 4 + 4 + 4 + 3 + (16 + 15 + 16 + 15)
    assert found["sdc"].sum() > 0
    pd.testing.assert_frame_equal(found, by_position("plain"))
    assert set(open_run("odd").trials()["layer"]) == {*ADDRESSES}


def test_workers_take_the_names_too(run: Run, pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("--full"):
        pytest.skip("with --full: a worker builds the model as this process does")
    grids = [
        {"layers": ["_*", "-dash", "😀"], "bits": [30], "probabilities": 1},
        {"layers": "all", "target": "weights", "bits": [30], "counts": 1},
    ]
    file = campaign("odd", grids)
    assert run(file, Path("inline")).failed == 0
    assert run(file, Path("ray"), "ray", workers=1).failed == 0
    assert_equal_rows("inline", "ray")


def test_every_layer_is_listed_and_found_by_its_name(injecttf2: Command) -> None:
    listed = injecttf2("layers", "odd_names:odd", "--json").json
    assert [entry["layer"] for entry in listed] == ADDRESSES
    assert injecttf2("layers", "odd_names:odd").code == 0
    for layer in (one for one in ADDRESSES if one != "all"):
        planned = make_plan(
            load_campaign(campaign("odd", {"layers": layer, "bits": 1, "counts": 1}))
        )
        assert [group.layer for group in planned.grid.groups] == [layer]
    everything = make_plan(
        load_campaign(campaign("odd", {"layers": "all", "bits": 1, "counts": 1}))
    )
    assert [group.layer for group in everything.grid.groups] == ADDRESSES[len(INPUTS) :]


def test_fault_lists_take_the_names(folder: Path) -> None:
    graph = ModelGraph.of(__import__("odd_names").odd())
    with Path("sites.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["layer", "variable", "sample", "element", "bit"])
        writer.writerows([layer, "", 0, 0, 30] for layer in ADDRESSES)
        writer.writerows([layer, "kernel", "", 0, 30] for layer in HAVE_WEIGHTS)
    found = FaultList(FaultListSpec(file=str(folder / "sites.csv")), graph, 7).trials()
    assert [scope.label for scope in found if scope.target == OUTPUTS] == ADDRESSES
    assert [scope.label for scope in found if scope.target == WEIGHTS] == HAVE_WEIGHTS


@pytest.mark.parametrize("model", ["automatic", "subclassed"])
def test_a_layers_class_and_layers_in_a_model_may_begin_with_an_underscore(
    model: str, run: Run
) -> None:
    first = {"automatic": "__scale", "subclassed": "_first"}[model]
    grids = [
        {"layers": first, "bits": 30, "counts": 1},
        {"layers": "all", "target": "weights", "bits": 30, "counts": 1},
    ]
    summary = run(campaign(model, grids, "features"), Path("run"))
    assert (summary.done, summary.failed) == (summary.trials, 0)
    assert first in set(open_run("run").trials()["layer"])


def test_the_configuration_of_the_original_takes_the_names() -> None:
    module = __import__("odd_names")
    section = "layer_name: __scale, fault_type: BitFlip, bit_flip_type: SpecificBit"
    Path("config.yml").write_text(
        f"inject_layer: {{{section}, bit_number: 30, probability: 1.0}}\n"
    )
    inputs, _ = module.features()
    data = tf.data.Dataset.from_tensor_slices((inputs, np.zeros(7, int)))
    itf2 = InjectTF2(module.automatic(), "config.yml", data, 32, "ERROR")
    assert 0 <= itf2.evaluate_layer_with_injections() <= 1


def test_a_name_like_that_of_two_layers_together_is_refused() -> None:
    inputs = [keras.Input((3,), name=name) for name in ("a", "b", "a + b")]
    model = keras.Model(inputs, keras.layers.Add(name="sum")(inputs))
    infos = {info.layer: info.reason for info in ModelGraph.of(model).layers}
    reason = "its name holds ' + ', which stands between layers that are hit together"
    assert infos == {"a": None, "b": None, "a + b": reason, "sum": None}


def test_two_tensors_of_one_name_are_refused() -> None:
    inputs = keras.Input((4, 3), name="lstm:0")
    outputs = keras.layers.LSTM(2, return_state=True, name="lstm")(inputs)
    with pytest.raises(ModelError, match="two tensors of the model have the address 'lstm:0'"):
        _ = ModelGraph.of(keras.Model(inputs, outputs)).layers


@pytest.mark.parametrize(
    "name", ["my dense", "größe", "conv(1)", "a:b", "a#2", "a + b", "x*", "😀"]
)
def test_a_name_that_predict_does_not_take_is_told_before_anything_runs(name: str) -> None:
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name=name)])
    with pytest.raises(ValueError, match="is not a valid scope name"):
        model.predict(np.zeros((2, 6), "f4"), verbose=0)
    model.save("model.keras")
    np.savez("data.npz", x=np.zeros((4, 6), "f4"), y=np.zeros(4, int))
    Path("c.yaml").write_text(
        "model: model.keras\ndataset: data.npz\ngrid: {layers: all, bits: 1, counts: 1}\n"
    )
    with pytest.raises(ModelError, match=r"is not a valid scope name.*\n  give the layer another"):
        make_plan(load_campaign(Path("c.yaml")))
