"""What `injecttf2 layers` says of models that others published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tf_keras

from tests.orchestrator.conftest import Command
from tests.wild.models import PUBLISHED

LOOP = "it runs inside a loop or function of TensorFlow's, where one call stands for many"
BOOL = "it holds bool values, which have no words to change"

GRU = [
    ("input_layer", "InputLayer", [None, 36], 0, None),
    ("not_equal_{}", "NotEqual", [None, 36], 0, BOOL),
    ("any_{}", "Any", [None], 0, BOOL),
    ("masking", "Masking", [None, 36], 0, None),
    ("batch_normalization", "BatchNormalization", [None, 36], 144, None),
    ("dense", "Dense", [None, 64], 2368, None),
    ("re_lu", "ReLU", [None, 64], 0, None),
    ("bidirectional/forward_gru/gru_cell", "GRUCell", [8], 1776, LOOP),
    ("bidirectional/forward_gru", "GRU", [None, 8], 1776, None),
    ("bidirectional/backward_gru/gru_cell", "GRUCell", [8], 1776, LOOP),
    ("bidirectional/backward_gru", "GRU", [None, 8], 1776, None),
    ("bidirectional", "Bidirectional", [None, 16], 3552, None),
    ("bidirectional_1/forward_gru_1/gru_cell", "GRUCell", [8], 624, LOOP),
    ("bidirectional_1/forward_gru_1", "GRU", [None, 8], 624, None),
    ("bidirectional_1/backward_gru_1/gru_cell", "GRUCell", [8], 624, LOOP),
    ("bidirectional_1/backward_gru_1", "GRU", [None, 8], 624, None),
    ("bidirectional_1", "Bidirectional", [None, 16], 1248, None),
    ("dense_1", "Dense", [None, 4], 68, None),
]
"""Layer, type, shape, parameters, and why it cannot be injected; Keras counts what has no name."""


def rows(listed: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    keys = ("layer", "type", "shape", "parameters", "reason")
    return [tuple(one.get(key) for key in keys) for one in listed]


@pytest.mark.parametrize("name", sorted({*PUBLISHED} - {"bidirectional GRU"}))
def test_the_layers_are_those_that_keras_2_wrote(
    name: str, injecttf2: Command, published: Callable[[str], Path]
) -> None:
    path = published(PUBLISHED[name].file)
    original = tf_keras.models.load_model(path, compile=False)
    expected = [
        (
            one.name,
            type(one).__name__,
            list(original.get_layer(one.name).output.shape[1:]),
            one.count_params(),
            None,
        )
        for one in original.layers
    ]
    ended = injecttf2("layers", path, "--json")
    assert ended.code == 0, ended.err
    assert sorted(rows(ended.json)) == sorted(expected)  # versions differ in the order of branches
    assert sum(one["parameters"] for one in ended.json) == PUBLISHED[name].parameters


def test_the_layers_of_a_model_of_any_length(
    injecttf2: Command, published: Callable[[str], Path]
) -> None:
    ended = injecttf2("layers", published(PUBLISHED["bidirectional GRU"].file), "--json")
    assert ended.code == 0, ended.err
    first = ended.json[1]["layer"].rpartition("_")[2]
    expected = [(one[0].format(first), *one[1:]) for one in GRU]
    assert rows(ended.json) == expected
    outer = [one["parameters"] for one in ended.json if "/" not in one["layer"]]
    assert sum(outer) == PUBLISHED["bidirectional GRU"].parameters
    assert {one["dtype"] for one in ended.json if one.get("reason") != BOOL} == {"float32"}
    for target in ("dense", "bidirectional"):
        (found,) = (one for one in ended.json if one["layer"] == target)
        assert found["elements"] is None  # which depends on the length of the data
