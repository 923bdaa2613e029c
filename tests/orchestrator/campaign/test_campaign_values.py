"""Campaigns from a script: values as it has them mean what plain ones mean, and errors are ours."""

from __future__ import annotations

import itertools
import subprocess
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import pytest

from injecttf2.config.plain_values import MOST, plain_values
from injecttf2.errors import CampaignError
from orchestrator.campaign.campaign import Campaign, load_campaign
from orchestrator.campaign.grid import GridSpec, LayerType
from orchestrator.campaign.precision import Precision
from orchestrator.campaign.sources import DatasetSpec, ModelSpec

BASE: dict[str, Any] = {"model": "m.h5", "dataset": "digits"}
GRID: dict[str, Any] = {"bits": 3, "counts": 1}


class Recorded(StrEnum):
    sites = "injections"


class Bit(Enum):
    sign = 31


def numbered(*values: int) -> Iterator[int]:
    yield from values


SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "paths": (
        {"model": Path("m.h5"), "dataset": Path("data") / "x"},
        {"model": "m.h5", "dataset": "data/x"},
    ),
    "path in a mapping": ({"model": {"source": Path("m.h5")}}, {"model": {"source": "m.h5"}}),
    "whole numbers": (
        {"seed": np.uint64(2**63 - 1), "repetitions": np.int64(3)},
        {"seed": 2**63 - 1, "repetitions": 3},
    ),
    "whole floats": ({"repetitions": np.float32(3)}, {"repetitions": 3.0}),
    "booleans": ({"paired": np.True_}, {"paired": True}),
    "no dimension": ({"seed": np.array(7)}, {"seed": 7}),
    "enumerations": (
        {"record": Recorded.sites, "grid": {"bits": Bit.sign, "counts": 1}},
        {"record": "injections", "grid": {"bits": 31, "counts": 1}},
    ),
    "range": ({"grid": {"bits": range(23, 31), "counts": 1}}, {"grid": {**GRID, "bits": "23-30"}}),
    "arrays": (
        {"grid": {"layers": np.array(["a", "b"]), "bits": 3, "bers": np.linspace(0, 1, 5)}},
        {"grid": {"layers": ["a", "b"], "bits": 3, "bers": [0, 0.25, 0.5, 0.75, 1]}},
    ),
    "pandas": (
        {"grid": {"bits": pd.Series([1, 2], [7, 8]), "counts": pd.Index([3, 4])}},
        {"grid": {"bits": [1, 2], "counts": [3, 4]}},
    ),
    "nullable": (
        {"grid": {**GRID, "bits": pd.array([1, 2])}},
        {"grid": {**GRID, "bits": [1, 2]}},
    ),
    "sets": (
        {"grid": {"bits": {9, "sign", 1}, "counts": frozenset([5, 4])}},
        {"grid": {"bits": [1, 9, "sign"], "counts": [4, 5]}},
    ),
    "iterators": (
        {"grid": {"bits": numbered(4, 2), "counts": map(int, "13")}},
        {"grid": {"bits": [4, 2], "counts": [1, 3]}},
    ),
    "views and queues": (
        {"grid": {"bits": {5: 0, 2: 1}.keys(), "counts": deque([3])}},
        {"grid": {"bits": [5, 2], "counts": [3]}},
    ),
    "values of a mapping": (
        {"grid": {**GRID, "bits": {0: 5}.values()}},
        {"grid": {**GRID, "bits": 5}},
    ),
    "several grids": ({"grid": (dict(one) for one in [GRID, GRID])}, {"grid": [GRID, GRID]}),
    "mapping of another class": ({"grid": types.MappingProxyType(GRID)}, {"grid": GRID}),
    "parameters": (
        {"grid": {"fault": {"type": "constant", "value": np.float32(0.5)}, "counts": np.int8(1)}},
        {"grid": {"fault": {"type": "constant", "value": 0.5}, "counts": 1}},
    ),
    "one value a channel": (
        {"dataset": {"source": "digits", "mean": np.array([0.5, 0.25], np.float32)}},
        {"dataset": {"source": "digits", "mean": [0.5, 0.25]}},
    ),
    "types of others": (
        {"grid": {"bits": 3, "probabilities": np.array([0.5, 1], ml_dtypes.bfloat16)}},
        {"grid": {"bits": 3, "probabilities": [0.5, 1]}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SAME)
def test_a_value_as_a_script_has_it_means_what_the_plain_one_means(case: str) -> None:
    given, plain = SAME[case]
    one, other = (Campaign(**{**BASE, "grid": GRID, **values}) for values in (given, plain))
    assert one == other
    assert repr(one.resolved()) == repr(other.resolved())


def test_only_a_path_may_be_a_folder_that_is_called_like_a_data_set(tmp_path: Path) -> None:
    for source, located in ((Path("digits"), str(tmp_path / "digits")), ("digits", "digits")):
        assert DatasetSpec(source=source).located(lambda _: tmp_path).source == located


def test_the_order_of_a_set_is_that_of_every_process() -> None:
    code = (
        "from injecttf2.config.plain_values import plain_values;"
        "print(plain_values({'layers': {'conv', 'dense', 'logits', 3}}))"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert done.stdout == "{'layers': [3, 'conv', 'dense', 'logits']}\n"


def batches() -> Iterator[tuple[Any, Any]]:
    while True:
        yield np.zeros((2, 8, 8, 1)), np.zeros(2)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((2, 2)), np.zeros(MOST + 1), range(MOST + 1), itertools.count(), batches(),
        (np.zeros((1, 2)) for _ in itertools.count()), pd.DataFrame({"a": [1]}), b"x",
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_list_of_plain_values_is_left_as_it_is(value: Any) -> None:
    assert plain_values(value) is value


ENDLESS: dict[str, Any] = {}
ENDLESS["layers"] = [ENDLESS]

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "bit": (
        {"grid": {"bits": 64, "counts": 1}},
        "grid.bits: received 64, expected a bit from 0 to 63, a range such as 23-30 with the lower "
        "bit first, or one of random, sign, exponent, mantissa",
    ),
    "one of several": ({"grid": {**GRID, "bits": range(63, 66)}}, "grid.bits[1]: received 64,"),
    "second grid": ({"grid": [GRID, {**GRID, "counts": -1}]}, "grid[1].counts: received -1, exp"),
    "key": (
        {"grid": {"bit": 3, "counts": 1}},
        "grid.bit: unknown key 'bit'; did you mean 'bits'? (valid keys: layers, ",
    ),
    "no text": ({"grid": {**GRID, 3: 4}}, "grid: received 3, expected a key that is text"),
    "in itself": ({"grid": ENDLESS}, "received a list or a mapping that contains itself, expected"),
    "key at the top": ({"repetition": 3}, "repetition: unknown key 'repetition'; did you mean"),
    "no source": ({"model": {"weights": "random"}}, "model.source: the key 'source' is missing: "),
    "rate": ({"grid": {"bits": 3}}, "grid: received {'bits': 3}, expected one rate: "),
    "selector": ({"grid": {**GRID, "layers": [3]}}, "grid.layers[0]: received 3, expected all, "),
    "type": ({"grid": {**GRID, "layers": {"typ": "x"}}}, "grid.layers.typ: unknown key 'typ'; did"),
    "boolean": ({"repetitions": np.True_}, "repetitions: received true, expected a whole number"),
    "nan": ({"repetitions": np.nan}, "repetitions: received .nan, expected a whole number"),
    "inf": ({"grid": {**GRID, "counts": np.inf}}, "grid.counts: received .inf, expected a whole"),
    "no bit": ({"grid": {**GRID, "bits": np.array([1.0])}}, "grid.bits[0]: received 1.0, "),
    "missing": ({"grid": {**GRID, "bits": pd.array([1, None])}}, "grid.bits[1]: received <NA>"),
    "endless": ({"grid": {**GRID, "bits": itertools.count()}}, "grid.bits: received count(10000"),
    "table": (
        {"grid": {**GRID, "counts": np.ones((2, 2))}},
        "grid.counts: received array([[1., 1.], [1., 1.]]), expected a whole number",
    ),
    "data": (
        {"dataset": np.zeros((1, 2))},
        "dataset: received array([[0., 0.]]), expected text, or a mapping with the key 'source'; "
        "or (inputs, labels), a dict of arrays x and y, a tf.data.Dataset, or a function without",
    ),
    "model": (
        {"model": np.zeros((1, 2))},
        "model: received array([[0., 0.]]), expected text, or a mapping with the key 'source'; or "
        "a model of Keras or TensorFlow, or a function without arguments that returns one",
    ),
    "names": (
        {"dataset": ("x.npy", "y.npy")},
        "dataset: received ('x.npy', 'y.npy'), expected text, or a mapping with the key "
        "'source'; or (inputs, labels), ",
    ),
    "batches": ({"dataset": batches()}, "dataset: received <generator object batches at 0x"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_its_path(case: str) -> None:
    given, said = WRONG[case]
    with pytest.raises(CampaignError) as caught:
        Campaign(**{**BASE, "grid": GRID, **given})
    assert str(caught.value).startswith(said)
    assert (
        caught.value.hint == "keys and values are those of a campaign file: see `injecttf2 schema`"
    )


def test_all_that_is_wrong_is_told() -> None:
    with pytest.raises(CampaignError) as caught:
        Campaign(**BASE, seed=-1, grid=[GRID, {"bits": 3, "counts": "x"}], record=3)
    assert str(caught.value).splitlines()[:-1] == [
        "seed: received -1, expected 0 or more",
        "grid[1].counts: received 'x', expected a whole number",
        "record: received 3, expected 'none' or 'injections'",
    ]


CAMPAIGN = Campaign(**BASE, grid=GRID)
WAYS: dict[str, tuple[Callable[[], Any], str]] = {
    "grid": (lambda: GridSpec(bits=3), "GridSpec: received {'bits': 3}, expected one rate"),
    "its value": (lambda: GridSpec(bits=3, counts="x"), "counts: received 'x', expected a whole"),
    "layer type": (lambda: LayerType(), "type: the key 'type' is missing: Name of a Keras layer"),  # type: ignore[call-arg]
    "model": (lambda: ModelSpec(source=""), "source: received '', expected text that is not empty"),
    "precision": (lambda: Precision(), "Precision: received {}, expected either half_width or"),
    "validation": (lambda: Campaign.model_validate({**BASE}), "grid: the key 'grid' is missing: "),
    "validation of nothing": (lambda: Campaign.model_validate(3), "Campaign: received 3, exp"),
    "copy": (lambda: CAMPAIGN.model_copy(update={"seed": -1}), "seed: received -1, expected 0 or"),
    "copy of a key": (lambda: CAMPAIGN.model_copy(update={"sed": 1}), "sed: unknown key 'sed'; "),
    "change": (
        lambda: setattr(CAMPAIGN, "seed", 3),
        "received seed for something that is fixed once it is made\n  make another: .model_copy(",
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_make_or_copy_one_has_our_errors(way: str) -> None:
    make, said = WAYS[way]
    with pytest.raises(CampaignError) as caught:
        make()
    assert str(caught.value).startswith(said)


def test_a_copy_has_checked_values_and_the_place_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("model: m.h5\ndataset: digits\ngrid: {bits: 3, counts: 1}\n")
    copy = load_campaign(file).model_copy(update={"seed": np.int16(5), "model": Path("x.h5")})
    assert (copy.seed, type(copy.seed), copy.model) == (5, int, ModelSpec(source="x.h5"))
    assert copy.folder == tmp_path
    assert copy.place("grid", "bits") == f"{file}:3:14"
