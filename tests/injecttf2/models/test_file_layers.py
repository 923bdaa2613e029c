"""The layers that a file tells are those that the engine finds."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers

from injecttf2.datasets import ModelInput
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.models.file_layers import SEPARATORS, FileModelLayers, layers_in
from injecttf2.models.keras2_files import config_of
from injecttf2.models.loading import resolve
from tests.families import FAMILIES

TOLD = {
    "nested_twice": 10,
    "by_name": 5,
    "two_by_two": 8,
    "shared": 6,
    "convolutions": 19,
    "recurrent": 4,
    "states": 5,
    "transformer": 7,
    "wrapped": 3,
    "mixed_float16": 5,
    "mixed_bfloat16": 5,
    "cross_attention": 13,
    "u_net": 23,
}
"""Addresses that a file tells of families of models."""

NOT_TOLD = ("subclassed", "quantised")


def told(path: Path) -> FileModelLayers | None:
    return layers_in(config_of(path.read_bytes()))


def saved(model: keras.Model, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the format .h5
        model.save(path)
    return path


def assert_as_found(found: FileModelLayers, graph: ModelGraph) -> None:
    """Whole addresses are the engine's, which finds no others but behind those that are open."""
    late = {info.layer: info for info in graph.layers}
    whole = {one.layer: one for one in found.layers if one.is_whole}
    opened = [one.layer + mark for one in found.layers if not one.is_whole for mark in SEPARATORS]
    assert set(whole) <= set(late)
    for layer, info in late.items():
        if layer not in whole:
            assert f"{layer}/".startswith(tuple(opened))
            continue
        one = whole[layer]
        assert (one.type, one.in_all, one.is_input) == (info.type, info.in_all, info.is_input)
        assert dict(one.dtypes).get("outputs", info.dtype) == info.dtype


@pytest.mark.parametrize("name", TOLD)
@pytest.mark.filterwarnings("ignore:Layer 'inner' .of type Functional. was passed an input")
def test_the_addresses_of_a_file_are_those_of_the_engine(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    path = saved(family.model(), tmp_path / "model.keras")
    found = told(path)
    assert found is not None
    assert sum(one.is_whole for one in found.layers) == TOLD[name]
    model = resolve(str(path))[1]
    assert_as_found(found, ModelGraph.of(model, family.data(3), output=family.output))


@pytest.mark.parametrize("name", NOT_TOLD)
def test_what_a_file_does_not_tell_is_left_open(name: str, tmp_path: Path) -> None:
    assert told(saved(FAMILIES[name].model(), tmp_path / "model.keras")) is None


@pytest.mark.parametrize("name", ["two_by_two", "convolutions", "mixed_bfloat16", "u_net"])
def test_h5_files_tell_the_same_as_keras_files(name: str, tmp_path: Path) -> None:
    model = FAMILIES[name].model()
    one, other = (told(saved(model, tmp_path / f"model{end}")) for end in (".keras", ".h5"))
    assert one == other


def test_every_model_of_keras_2_is_told(shared_data: Path) -> None:
    counts = {"autoencoder": 29, "mobilenetv1": 85, "resnet8": 30}
    for name, count in counts.items():
        path = shared_data / "models" / "wild" / f"mlperf_tiny_{name}_keras2.h5"
        found = told(path)
        assert found is not None
        assert len(found.layers) == count
        assert_as_found(found, ModelGraph.of(resolve(str(path))[1]))


def _embedding() -> list[Any]:
    return [keras.Input((3,)), layers.Embedding(4, 2, mask_zero=True), layers.LSTM(2)]


def _masking() -> list[Any]:
    return [keras.Input((3, 2)), layers.Masking(), layers.GlobalAveragePooling1D()]


def _recurrent() -> list[Any]:
    return [keras.Input((3, 2)), layers.LSTM(2), layers.Dense(2)]


@pytest.mark.parametrize("parts", [_embedding, _masking, _recurrent])
def test_names_that_keras_makes_when_it_loads_a_sequential_are_not_guessed(
    parts: Any, tmp_path: Path
) -> None:
    model = keras.Sequential(parts())
    assert told(saved(model, tmp_path / "model.keras")) is None


def test_a_layer_with_a_layer_as_its_activation_is_open(tmp_path: Path) -> None:
    x = keras.Input((3,), name="features")
    outputs = layers.Dense(2, activation=layers.LeakyReLU(), name="dense")(x)
    found = told(saved(keras.Model(x, outputs), tmp_path / "model.keras"))
    assert found is not None
    assert [(one.layer, one.is_whole) for one in found.layers] == [
        ("features", True),
        ("dense", False),
    ]
    graph = ModelGraph.of(resolve(str(tmp_path / "model.keras"))[1])
    assert_as_found(found, graph)


def test_inputs_are_in_the_order_of_the_model(tmp_path: Path) -> None:
    found = told(saved(FAMILIES["two_by_two"].model(), tmp_path / "model.keras"))
    assert found is not None
    assert found.inputs == (ModelInput("image", (4, 4, 1)), ModelInput("features", (3,)))


def test_the_order_of_inputs_by_name_is_not_told(tmp_path: Path) -> None:
    found = told(saved(FAMILIES["by_name"].model(), tmp_path / "model.keras"))
    assert found is not None
    assert found.inputs is None


BROKEN = [
    None,
    [],
    {},
    {"class_name": "Functional"},
    {"class_name": "Sequential", "config": []},
    {"class_name": "Sequential", "config": {"layers": []}},
    {
        "class_name": "Sequential",
        "config": {"layers": [{"class_name": "Dense", "config": {"name": "dense"}}]},
    },
]
"""The last is that of a model whose input Keras names when it loads it."""


@pytest.mark.parametrize("config", BROKEN)
def test_a_broken_configuration_tells_nothing(config: Any) -> None:
    assert layers_in(config) is None
