"""The campaign file: what it means, and what is said about every way to get it wrong."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from injecttf2.errors import CampaignError
from orchestrator.campaign.campaign import Campaign, load_campaign, locate
from orchestrator.campaign.component_spec import ComponentSpec, JudgeSpec
from orchestrator.campaign.grid import RATES, GridSpec, LayerType
from orchestrator.campaign.precision import Precision
from orchestrator.campaign.sources import DatasetSpec, ModelSpec
from results import ResultsError, open_run

HEAD = "model: builtin:digits_cnn\ndataset: digits\n"
GRID = "grid: {bits: 3, probabilities: 0.1}\n"
ORIGINAL = """\
inject_layer:
  layer_name: dense_1
  fault_type: BitFlip
  bit_flip_type: SpecificBit
  bit_number: 31
  probability: 1.0
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "study.yaml"


def load(file: Path, text: str) -> Campaign:
    file.write_text(text)
    return load_campaign(file)


def load_grid(file: Path, text: str) -> GridSpec:
    (grid,) = load(file, f"{HEAD}grid: {{{text}}}\n").grid
    return grid


def problems(file: Path, text: str) -> list[str]:
    """Return what is wrong with a file, each as ``line:column: message``."""
    file.write_text(text)
    with pytest.raises(CampaignError) as caught:
        load_campaign(file)
    error = caught.value
    assert error.hint == "correct the file and run the command again"
    assert "Input should" not in str(error)
    assert "http" not in str(error)
    lines = f"{error.place}: {error.message}".splitlines()
    assert all(line.startswith(f"{file}:") for line in lines)
    return [line.removeprefix(f"{file}:") for line in lines]


def problem(file: Path, text: str) -> str:
    (only,) = problems(file, text)
    return only


def test_a_campaign_is_read_with_its_defaults(file: Path) -> None:
    campaign = load(file, HEAD + GRID)
    assert campaign == load(file, HEAD + GRID)
    assert campaign.name == "study"
    assert campaign.model == ModelSpec(source="builtin:digits_cnn")
    assert campaign.dataset == DatasetSpec(source="digits")
    assert (campaign.seed, campaign.repetitions, campaign.record) == (0, 1, "none")
    assert campaign.grid == (GridSpec(bits=(3,), probabilities=(0.1,)),)
    assert campaign.grid[0].layers == ("all",)
    assert campaign.grid[0].target == "outputs"
    assert campaign.grid[0].fault == (ComponentSpec(type="bit_flip"),)
    assert campaign.judge == JudgeSpec(type="top1")
    assert (campaign.metrics, campaign.criteria) == ((), ())


NO_GRID = {
    "layers": ("all",),
    "layers_together": False,
    "target": "outputs",
    "variables": ("all",),
    "fault": ({"type": "bit_flip", "parameters": {}},),
    "bits": None,
    "probabilities": None,
    "counts": None,
    "bers": None,
    "exhaustive": None,
    "protections": ({"type": "none", "parameters": {}},),
    "sites": None,
}
"""A grid that says nothing."""


def test_every_field_is_read(file: Path) -> None:
    campaign = load(
        file,
        """\
name: mnist-bits
model:
  source: keras.applications:MobileNetV2
  weights: random
  input_shape: [32, 32, 3]
  classes: 10
dataset:
  source: ./photos
  samples: 1e3
  scale: 0.5
  mean: [0, 0.5, 1]
  std: 2
  preprocess: package.module:function
  size: [32, 48]
  interpolation: nearest
  crop_to_aspect_ratio: true
  class_names: [cat, "2"]
seed: 2026
repetitions: 30
paired: true
levels: [difference]
record: injections
judge: {type: topk, k: 3, output: classes, outputs: logits}
metrics: [top5_accuracy, {type: my.module:Metric, scale: 2}]
criteria: confidence_10
grid:
- layers: [conv2d, conv*, {type: Conv2D}]
  target: weights
  variables: [kernel, b*]
  fault: [bit_flip, {type: stuck_at, value: 1}]
  bits: [31, 23-25, random, sign]
  counts: [1, 1e2]
- layers_together: true
  bits: 3
  probabilities: [0.01, 1]
- bits: 3
  bers: 1e-9
- bits: 3
  exhaustive: 1e6
- sites: list.csv
""",
    )
    assert campaign.model_dump() == {
        "extends": None,
        "name": "mnist-bits",
        "model": {
            "source": "keras.applications:MobileNetV2",
            "weights": "random",
            "input_shape": (32, 32, 3),
            "classes": 10,
            "signature": None,
        },
        "dataset": {
            "source": str(file.parent / "photos"),
            "samples": 1000,
            "scale": 0.5,
            "mean": (0.0, 0.5, 1.0),
            "std": (2.0,),
            "preprocess": "package.module:function",
            "size": (32, 48),
            "interpolation": "nearest",
            "crop_to_aspect_ratio": True,
            "class_names": ("cat", "2"),
        },
        "seed": 2026,
        "repetitions": 30,
        "precision": None,
        "exhaustive": None,
        "paired": True,
        "levels": ("difference",),
        "record": "injections",
        "judge": {
            "type": "topk",
            "output": "classes",
            "outputs": "logits",
            "parameters": {"k": 3},
        },
        "metrics": (
            {"type": "top5_accuracy", "parameters": {}},
            {"type": "my.module:Metric", "parameters": {"scale": 2}},
        ),
        "criteria": ({"type": "confidence_10", "parameters": {}},),
        "grid": (
            NO_GRID
            | {
                "layers": ("conv2d", "conv*", {"type": "Conv2D"}),
                "target": "weights",
                "variables": ("kernel", "b*"),
                "fault": (
                    {"type": "bit_flip", "parameters": {}},
                    {"type": "stuck_at", "parameters": {"value": 1}},
                ),
                "bits": (31, 23, 24, 25, "random", "sign"),
                "counts": (1, 100),
            },
            NO_GRID | {"layers_together": True, "bits": (3,), "probabilities": (0.01, 1.0)},
            NO_GRID | {"bits": (3,), "bers": (1e-9,)},
            NO_GRID | {"bits": (3,), "exhaustive": 1_000_000},
            NO_GRID
            | {
                "sites": {
                    "file": str(file.parent / "list.csv"),
                    "format": None,
                    "layers": None,
                    "order": None,
                }
            },
        ),
    }


def test_a_campaign_has_a_precision_or_every_site(file: Path) -> None:
    campaign = load(file, f"{HEAD}precision: {{half_width: 1e-2}}\n{GRID}")
    assert campaign.precision == Precision(half_width=0.01, metric="sdc", confidence=0.95)
    text = "grid:\n- {bits: 1}\n- {bits: 2, counts: 1}\n- sites: f.csv\n"
    for said, every in (("true", True), ("1e6", 1_000_000), ("false", None)):
        if every is None:
            assert "expected one rate" in problem(file, f"{HEAD}exhaustive: {said}\n{text}")
            continue
        grid = load(file, f"{HEAD}exhaustive: {said}\n{text}").grid
        assert [one.exhaustive for one in grid] == [every, None, None]


def test_a_campaign_made_in_python_is_that_of_the_file(file: Path) -> None:
    made = Campaign(
        name="study",
        model="builtin:digits_cnn",
        dataset="digits",
        precision={"relative": 0.1},
        grid={"bits": ["0-3", "sign"], "probabilities": 0.5},
    )
    text = f"{HEAD}precision: {{relative: 0.1}}\ngrid: {{bits: [0-3, sign], probabilities: 0.5}}\n"
    assert made == load(file, text)


def test_levels_are_some_all_or_none(file: Path) -> None:
    assert load(file, f"{HEAD}{GRID}").levels == ("drop", "difference")
    for text, levels in (("drop", ("drop",)), ("dense", ()), ("[]", ())):
        assert load(file, f"{HEAD}levels: {text}\n{GRID}").levels == levels
    assert "received 'dens', expected 'drop' or 'difference'" in problem(
        file, f"{HEAD}levels: dens\n{GRID}"
    )


def test_grid_is_a_mapping_or_a_list_of_mappings(file: Path) -> None:
    one = load(file, f"{HEAD}grid:\n  bits: 1\n  probabilities: 1\n").grid
    assert load(file, f"{HEAD}grid:\n- bits: 1\n  probabilities: 1\n").grid == one
    two = "grid:\n- {bits: 1, probabilities: 1}\n- {bits: 2, probabilities: 0}\n"
    assert [grid.bits for grid in load(file, HEAD + two).grid] == [(1,), (2,)]


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("3", (3,)),
        ("[0, 63]", (0, 63)),
        ("0-3", (0, 1, 2, 3)),
        ("[5, 4 - 6, 5, sign, sign]", (5, 4, 6, "sign")),
        ("7-7", (7,)),
        ("'8'", (8,)),
        ("[random, exponent, mantissa]", ("random", "exponent", "mantissa")),
    ],
)
def test_bits_become_one_list_in_order_and_without_duplicates(
    file: Path, text: str, bits: tuple[int | str, ...]
) -> None:
    assert load_grid(file, f"bits: {text}, probabilities: 1").bits == bits


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("1e-3", (0.001,)),
        ("[1e-3, 0.001, 1E-2]", (0.001, 0.01)),
        ("[1, 0, 1.0]", (1.0, 0.0)),
        ("'0.5'", (0.5,)),
        ("-0.0", (0.0,)),
    ],
)
def test_probabilities_become_one_list_of_floats(
    file: Path, text: str, rates: tuple[float, ...]
) -> None:
    probabilities = load_grid(file, f"bits: 1, probabilities: {text}").probabilities
    assert probabilities == rates
    assert [str(rate) for rate in probabilities] == [str(rate) for rate in rates]


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("conv2d", ("conv2d",)),
        ("{type: Conv2D}", (LayerType(type="Conv2D"),)),
        ("['*/conv?', all]", ("*/conv?", "all")),
    ],
)
def test_layers_are_one_selector_or_a_list(
    file: Path, text: str, layers: tuple[str | LayerType, ...]
) -> None:
    assert load_grid(file, f"layers: {text}, bits: 1, probabilities: 1").layers == layers


A_BIT = (
    "expected a bit from 0 to 63, a range such as 23-30 with the lower bit first, or one of "
    "random, sign, exponent, mantissa"
)


@pytest.mark.parametrize(
    ("text", "received"),
    [
        ("64", "64"),
        ("-1", "-1"),
        ("30-23", "'30-23'"),
        ("0-64", "'0-64'"),
        ("010", "'010'"),
        ("1:30", "'1:30'"),
        ("3.0", "3.0"),
        ("true", "true"),
        ("any", "'any'"),
        ("~", "nothing"),
    ],
)
def test_a_wrong_bit_is_refused(file: Path, text: str, received: str) -> None:
    alone = f"{HEAD}grid:\n  bits: {text}\n  probabilities: 1\n"
    assert problem(file, alone) == f"4:9: bits: received {received}, {A_BIT}"
    listed = f"{HEAD}grid:\n  bits: [0, {text}]\n  probabilities: 1\n"
    assert problem(file, listed) == f"4:13: bits: received {received}, {A_BIT}"


@pytest.mark.parametrize(
    ("text", "received"),
    [
        ("1.5", "1.5"),
        ("-0.1", "-0.1"),
        (".nan", ".nan"),
        (".inf", ".inf"),
        ("half", "'half'"),
        ("'nan'", "'nan'"),
        ("true", "true"),
        ("~", "nothing"),
        ("[1]", "[1]"),
    ],
)
def test_a_wrong_probability_is_refused(file: Path, text: str, received: str) -> None:
    said = f"probabilities: received {received}, expected a probability from 0 to 1"
    listed = f"{HEAD}grid:\n  bits: 1\n  probabilities: [0.5, {text}]\n"
    assert problem(file, listed) == f"5:24: {said}"
    if text != "[1]":
        alone = f"{HEAD}grid:\n  bits: 1\n  probabilities: {text}\n"
        assert problem(file, alone) == f"5:18: {said}"


def test_an_unknown_key_names_the_nearest_valid_one(file: Path) -> None:
    text = f"{HEAD}grid:\n  bits: 1\n  probabilites: 1\n"
    assert problem(file, text) == (
        f"5:3: unknown key 'probabilites'; did you mean 'probabilities'? (valid keys: {GRID_KEYS})"
    )
    assert problem(file, f"sede: 1\n{HEAD}{GRID}") == (
        "1:1: unknown key 'sede'; did you mean 'seed'? "
        "(valid keys: extends, name, model, dataset, seed, repetitions, precision, exhaustive, "
        "paired, grid, judge, metrics, criteria, levels, record)"
    )
    assert problem(
        file, f"{HEAD}grid: {{layers: {{typ: Conv2D}}, bits: 1, probabilities: 1}}\n"
    ) == ("3:17: unknown key 'typ'; did you mean 'type'? (valid keys: type)")


GRID_KEYS = (
    "layers, layers_together, target, variables, fault, bits, probabilities, counts, bers, "
    "exhaustive, protections, sites"
)

ONE_RATE = "expected one rate: probabilities, counts, bers or exhaustive"


@pytest.mark.parametrize(
    "rates",
    ["", ", probabilities: 1, counts: 3", ", counts: 1, bers: 1e-9", ", bers: 1, counts: 0"],
)
def test_a_grid_has_one_rate(file: Path, rates: str) -> None:
    text = f"{HEAD}grid: {{bits: 1{rates}}}\n"
    assert problem(file, text).startswith("3:7: grid: received {'bits': 1")
    given = [key for key in RATES if f"{key}:" in rates]
    told = f", not {' and '.join(given)}" if given else ""
    assert problem(file, text).endswith(ONE_RATE.replace("rate:", f"rate{told}:"))


def test_a_missing_key_is_explained(file: Path) -> None:
    assert problem(file, f"{HEAD}grid:\n  probabilities: 1\n") == (
        "4:3: grid: received {'probabilities': 1}, expected bits: numbers, ranges such as 23-30, "
        "random, sign, exponent, mantissa"
    )
    assert problem(file, f"{HEAD}grid:\n- bits: 1\n").startswith("4:3: grid: received {'bits': 1}")
    assert problem(file, HEAD).startswith("1:1: the key 'grid' is missing: What to inject")
    assert problem(file, "dataset: {samples: 3}\n" + GRID).startswith(
        "1:10: the key 'source' is missing: Name of a builtin data set"
    )


def test_a_duplicate_key_names_both_lines(file: Path) -> None:
    file.write_text(f"{HEAD}{GRID}model: x.h5\n")
    with pytest.raises(CampaignError) as caught:
        load_campaign(file)
    assert caught.value.place == f"{file}:4:1"
    assert caught.value.message == "the key 'model' is given twice, on line 1 and on line 4"


@pytest.mark.parametrize("key", ["layers", "bits", "probabilities"])
def test_an_empty_list_makes_an_empty_grid(file: Path, key: str) -> None:
    values = {"layers": "all", "bits": "1", "probabilities": "1", key: "[]"}
    text = HEAD + "grid:\n" + "".join(f"  {name}: {value}\n" for name, value in values.items())
    line = 4 + list(values).index(key)
    assert problem(file, text) == (
        f"{line}:{len(key) + 5}: {key}: received [], expected at least one entry: the grid is empty"
    )


def test_an_empty_grid_is_refused(file: Path) -> None:
    assert problem(file, f"{HEAD}grid: []\n") == (
        "3:7: grid: received [], expected at least one entry: the grid is empty"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("name: ../up", "4:7: name: received '../up', expected a folder's name of letters"),
        ("name: .hidden", "4:7: name: received '.hidden', expected a folder's name"),
        ("name: 3", "4:7: name: received 3, expected text (a number or true needs quotes"),
        ("seed: -1", "4:7: seed: received -1, expected 0 or more"),
        ("seed: 9223372036854775808", "4:7: seed: received 9223372036854775808, expected less"),
        ("seed: 0123", "4:7: seed: received '0123', expected a whole number"),
        ("repetitions: 0", "4:14: repetitions: received 0, expected 1 or more"),
        ("repetitions: 1.5", "4:14: repetitions: received 1.5, expected a whole number"),
        ("repetitions: true", "4:14: repetitions: received true, expected a whole number"),
        ("record: on", "4:9: record: received 'on', expected 'none' or 'injections'"),
    ],
)
def test_a_wrong_value_says_what_was_received_and_expected(
    file: Path, line: str, said: str
) -> None:
    assert problem(file, f"{HEAD}{GRID}{line}\n").startswith(said)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("target: biases", "target: received 'biases', expected 'outputs' or 'weights'"),
        (
            "target: weights",
            "probabilities: received 1, expected counts or bers: a fault in a weight holds for "
            "all samples, it has no probability",
        ),
        (
            "variables: kernel",
            "variables: received 'kernel', expected nothing: only `target: weights` takes this key",
        ),
        ("fault: 3", "fault: received 3, expected a fault model's name, or a mapping {type: NAME"),
        ("fault: {value: 1}", "expected a fault model's name, or a mapping {type: NAME, ...}"),
        ("sites: f.csv", "expected no bits, probabilities beside sites, which says all of that"),
        ("sites: f.csv, fault: zero", "expected no fault, bits, probabilities beside sites"),
        ("layers: 3", "layers: received 3, expected all, a layer's name, a pattern such as"),
        ("layers: ''", "layers: received '', expected all, a layer's name"),
        ("layers: {type: 3}", "type: received 3, expected text"),
    ],
)
def test_what_is_not_supported_lists_what_is(file: Path, entry: str, said: str) -> None:
    assert said in problem(file, f"{HEAD}grid: {{{entry}, bits: 1, probabilities: 1}}\n")


@pytest.mark.parametrize("text", ["3", "conv2d", "~", "[3]"])
def test_a_grid_that_is_no_mapping_is_refused(file: Path, text: str) -> None:
    assert "expected a mapping" in problem(file, f"{HEAD}grid: {text}\n")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("model: 3", "2:8: model: received 3, expected text, or a mapping with the key 'source'"),
        ("model: ''", "2:8: source: received '', expected text that is not empty"),
        (
            "model: {source: m.h5, weights: imagenet}",
            "2:32: weights: received 'imagenet', expected nothing: only a source "
            "keras.applications:NAME takes this key",
        ),
        (
            "model: {source: model.keras, signature: scores}",
            "2:41: signature: received 'scores', expected nothing: only a SavedModel folder takes "
            "this key",
        ),
        (
            "model: {source: 'keras.applications:VGG16', input_shape: [32, 32]}",
            "2:58: input_shape: received [32, 32], expected a list of three whole numbers above 0: "
            "height, width, channels",
        ),
        (
            "model: {source: 'keras.applications:VGG16', classes: 0}",
            "2:54: classes: received 0, expected 1 or more",
        ),
        (
            "dataset: {source: digits, samples: 0}",
            "2:36: samples: received 0, expected 1 or more",
        ),
        (
            "dataset: {source: digits, scale: 0}",
            "2:34: scale: received 0, expected a number above 0",
        ),
        *(
            (
                f"dataset: {{source: digits, scale: {text}}}",
                f"2:34: scale: received '{text}', expected a number above 0",
            )
            for text in ("1/0", "1/x")
        ),
        (
            "dataset: {source: digits, mean: [0, x]}",
            "2:37: mean: received 'x', expected a finite number",
        ),
        (
            "dataset: {source: digits, std: [1, 0]}",
            "2:36: std: received 0, expected a number above 0",
        ),
        (
            "dataset: {source: digits, mean: []}",
            "2:33: mean: received [], expected one number, or one a channel",
        ),
        (
            "dataset: {source: photos, size: [32]}",
            "2:33: size: received [32], expected a list of two whole numbers above 0: height, "
            "width",
        ),
        (
            "dataset: {source: photos, interpolation: linear}",
            "2:42: interpolation: received 'linear', expected 'bilinear', 'nearest', 'bicubic',",
        ),
        (
            "dataset: {source: photos, crop_to_aspect_ratio: yes}",
            "2:49: crop_to_aspect_ratio: received 'yes', expected true or false",
        ),
        (
            "dataset: {source: photos, class_names: [cat, 1]}",
            "2:46: class_names: received 1, expected text (a number or true needs quotes",
        ),
        (
            "dataset: {source: photos, class_names: []}",
            "2:40: class_names: received [], expected the names of two subfolders at least",
        ),
        (
            "dataset: {source: digits, preprocess: resnet50}",
            "2:39: preprocess: received 'resnet50', expected package.module:function, or "
            "keras.applications:NAME",
        ),
        ("dataset: [digits]", "2:10: dataset: received ['digits'], expected text, or a mapping"),
    ],
)
def test_a_wrong_model_or_data_set_is_refused(file: Path, line: str, said: str) -> None:
    assert problem(file, f"{GRID}{line}\n").startswith(said)


@pytest.mark.parametrize(
    ("key", "value", "received"),
    [
        ("size", "[2, 2]", "[2, 2]"),
        ("interpolation", "area", "'area'"),
        ("crop_to_aspect_ratio", "false", "false"),
        ("class_names", "[a, b]", "['a', 'b']"),
    ],
)
@pytest.mark.parametrize("source", ["digits", "data.npz", "package.module:function"])
def test_only_a_folder_takes_the_keys_of_images(
    file: Path, source: str, key: str, value: str, received: str
) -> None:
    text = f"{GRID}model: builtin:digits_cnn\ndataset:\n  source: {source}\n  {key}: {value}\n"
    assert problem(file, text) == (
        f"5:{len(key) + 5}: {key}: received {received}, expected nothing: only a folder of "
        "images takes this key"
    )


def test_of_very_many_problems_the_first_are_listed(file: Path) -> None:
    file.write_text(f"{HEAD}{GRID}" + "".join(f"key{number:02}: 1\n" for number in range(30)))
    with pytest.raises(CampaignError) as caught:
        load_campaign(file)
    listed = caught.value.message.splitlines()
    assert "unknown key 'key19'" in listed[19]
    assert listed[20:] == ["and 10 problems more"]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (r'model: "a\0.keras"', "1:8"),
        (r'dataset: "a\0/b"', "1:10"),
        (r'"a\0": 1', "1:1"),
        (r'grid: {sites: "a\0.csv"}', "1:15"),
    ],
)
def test_the_character_that_ends_names_is_refused_with_its_place(
    file: Path, text: str, at: str
) -> None:
    file.write_text(f"{text}\n")
    with pytest.raises(CampaignError, match=r"can hold the character U\+0000") as caught:
        load_campaign(file)
    assert caught.value.place == f"{file}:{at}"


def test_the_character_that_ends_names_is_refused_from_python(file: Path) -> None:
    file.write_text(HEAD + GRID)
    for calls in (
        lambda: load_campaign(file, model="a\0.keras"),
        lambda: load_campaign(file, dataset="a\0/b"),
        lambda: locate("a\0.keras"),
        lambda: open_run("a\0b"),
    ):
        with pytest.raises((CampaignError, ResultsError), match=r"hold the character U\+0000"):
            calls()


def test_all_problems_are_listed_in_the_order_of_the_file(file: Path) -> None:
    text = f"{HEAD}seed: -1\ngrid:\n- bits: 64\n  probabilities: 2\n- bit: 3\n  probabilities: 1\n"
    assert problems(file, text) == [
        "3:7: seed: received -1, expected 0 or more",
        f"5:9: bits: received 64, {A_BIT}",
        "6:18: probabilities: received 2, expected a probability from 0 to 1",
        f"7:3: unknown key 'bit'; did you mean 'bits'? (valid keys: {GRID_KEYS})",
    ]


def test_broken_yaml_and_tags_are_refused_with_their_place(file: Path) -> None:
    for text, place in (("grid: [1\n", "2:1"), ("model: !!python/name:os.system\n", "1:8")):
        file.write_text(text)
        with pytest.raises(CampaignError) as caught:
            load_campaign(file)
        assert caught.value.place == f"{file}:{place}"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="there is no such file"):
        load_campaign(tmp_path / "none.yaml", model="m.h5", dataset="digits")


def test_the_default_name_is_the_files_made_fit_for_a_folder(tmp_path: Path) -> None:
    assert load(tmp_path / "my study (2).v1.yaml", HEAD + GRID).name == "my-study-2-.v1"
    assert load(tmp_path / "größe.yaml", HEAD + GRID).name == "größe"
    assert load(tmp_path / "---.yaml", HEAD + GRID).name == "campaign"


def test_model_and_data_set_may_come_from_the_command_line_alone(file: Path) -> None:
    file.write_text(GRID)
    campaign = load_campaign(file, model="builtin:digits_cnn", dataset="digits")
    assert campaign.model == ModelSpec(source="builtin:digits_cnn")
    assert campaign.dataset == DatasetSpec(source="digits")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            GRID,
            "received no model and no dataset, expected a model and a dataset",
            "add `model:` to the file, or pass --model; "
            "add `dataset:` to the file, or pass --dataset",
        ),
        (
            f"model: m.h5\ndataset:\n{GRID}",
            "received no dataset, expected a model and a dataset",
            "add `dataset:` to the file, or pass --dataset",
        ),
    ],
)
def test_a_campaign_without_model_or_data_set_is_refused(
    file: Path, text: str, message: str, hint: str
) -> None:
    file.write_text(text)
    with pytest.raises(CampaignError) as caught:
        load_campaign(file)
    error = caught.value
    assert (error.place, error.message, error.hint) == (str(file), message, hint)


def test_the_command_line_replaces_the_whole_model_and_data_set(file: Path) -> None:
    file.write_text(
        "model: {source: 'keras.applications:VGG16', classes: 10}\n"
        f"dataset: {{source: digits, samples: 10}}\n{GRID}"
    )
    campaign = load_campaign(file, model="builtin:digits_cnn", dataset="mnist")
    assert campaign.model == ModelSpec(source="builtin:digits_cnn")
    assert campaign.dataset == DatasetSpec(source="mnist")


def test_an_empty_option_is_refused(file: Path) -> None:
    file.write_text(HEAD + GRID)
    with pytest.raises(CampaignError) as caught:
        load_campaign(file, model="")
    assert caught.value.place == "--model"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder of its own the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


FILES = ["m.h5", "m.keras", "net.weights.h5", "data.npz", "models/m", "../m.hdf5", "images"]
"""Names that mean a file or folder; ``images`` only because it exists in both places."""


@pytest.mark.parametrize("name", FILES)
def test_paths_are_relative_to_the_file_or_to_the_current_folder(
    tmp_path: Path, here: Path, name: str
) -> None:
    beside = tmp_path / "campaigns"
    for folder in (beside, here):
        (folder / "images").mkdir(parents=True)
    file = beside / "c.yaml"
    file.write_text(f"model: {name}\ndataset: {name}\n{GRID}")

    def sources(campaign: Campaign) -> set[str]:
        assert campaign.model is not None
        assert campaign.dataset is not None
        return {campaign.model.source, campaign.dataset.source}

    def absolute(folder: Path) -> str:
        return str((folder / name).resolve())

    assert sources(load_campaign(file)) == {absolute(beside)}
    assert sources(load_campaign(file, model=name, dataset=name)) == {absolute(here)}
    assert sources(load_campaign(Path("../campaigns/c.yaml"))) == {absolute(beside)}


@pytest.mark.parametrize(
    "name",
    ["mnist", "builtin:m.h5", "pkg.module:function", "keras.applications:VGG16"],
)
def test_names_that_are_no_files_stay_as_they_are(file: Path, here: Path, name: str) -> None:
    in_file = load(file, f"model: {name}\ndataset: {name}\n{GRID}")
    given_ = load_campaign(file, model=name, dataset=name)
    for campaign in (in_file, given_):
        assert campaign.model == ModelSpec(source=name)
        assert campaign.dataset == DatasetSpec(source=name)


@pytest.mark.parametrize("source", ["s3://bucket/m.keras", "gs://bucket/data.npz"])
def test_sources_on_another_machine_are_refused(file: Path, source: str) -> None:
    local = "expected a file on this machine: only local files are supported"
    for key, other in (("model", "dataset"), ("dataset", "model")):
        found = problem(file, f"{other}: digits\n{key}: {source}\n{GRID}")
        assert found == f"2:{len(key) + 3}: source: received '{source}', {local}"
        load(file, HEAD + GRID)
        with pytest.raises(CampaignError) as caught:
            load_campaign(file, model=source) if key == "model" else load_campaign(
                file, dataset=source
            )
        assert str(caught.value) == (
            f"--{key}: received '{source}'; only local files are supported\n"
            "  download it and give the path of the file"
        )
    with pytest.raises(CampaignError, match="only local files are supported"):
        locate(source)


def test_weights_files_are_relative_to_the_campaign_file(file: Path, tmp_path: Path) -> None:
    def weights(value: str) -> str | None:
        text = f"model: {{source: 'keras.applications:VGG16', weights: {value}}}\ndataset: digits\n"
        model = load(file, text + GRID).model
        assert model is not None
        return model.weights

    assert weights("w.weights.h5") == str(tmp_path / "w.weights.h5")
    assert weights("imagenet") == "imagenet"
    assert weights("random") == "random"


def test_a_linked_model_keeps_the_name_of_the_link(file: Path, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"")
    (tmp_path / "m.keras").symlink_to(tmp_path / "blob")
    model = load(file, f"model: m.keras\ndataset: digits\n{GRID}").model
    assert model == ModelSpec(source=str(tmp_path / "m.keras"))


def test_a_path_may_start_at_home(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    model = load(file, f"model: ~/m.h5\ndataset: digits\n{GRID}").model
    assert model == ModelSpec(source=str(tmp_path / "home" / "m.h5"))


def test_every_value_has_a_place(file: Path) -> None:
    campaign = load(file, f"{HEAD}grid:\n- bits: 1\n  layers: [a, b]\n  probabilities: 1\n")
    assert campaign.place("grid", 0, "layers", 1) == f"{file}:5:15"
    assert campaign.place("grid", 0, "bits", 0) == f"{file}:4:9"
    assert campaign.place("seed") == f"{file}:1:1"
    assert Campaign(grid=campaign.grid).place("grid") is None


def test_the_original_configuration_has_the_places_of_its_own_keys(file: Path) -> None:
    def read(text: str) -> Campaign:
        file.write_text(text)
        return load_campaign(file, model="builtin:digits_cnn", dataset="digits")

    campaign = read(ORIGINAL)
    assert campaign.place("grid", 0, "layers", 0) == f"{file}:2:15"
    assert campaign.place("grid", 0, "bits") == f"{file}:5:15"
    assert campaign.place("grid", 0, "probabilities") == f"{file}:6:16"
    assert campaign.place("grid") == f"{file}:2:3"
    random = ORIGINAL.replace("SpecificBit", "RandomBit").replace("  bit_number: 31\n", "")
    assert read(random).place("grid", 0, "bits") == f"{file}:4:18"


@pytest.mark.parametrize("repetitions", [2**31, 10**12])
def test_more_repetitions_than_a_row_can_number_are_refused(file: Path, repetitions: int) -> None:
    assert problem(file, f"{HEAD}{GRID}repetitions: {repetitions}\n") == (
        f"4:14: repetitions: received {repetitions}, expected less than 2147483648"
    )
    assert load(file, f"{HEAD}{GRID}repetitions: {2**31 - 1}\n").repetitions == 2**31 - 1


def test_equal_campaigns_may_lie_in_different_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    one, other = (
        load(tmp_path / "c.yaml", HEAD + GRID),
        load(tmp_path / "a" / "c.yaml", HEAD + GRID),
    )
    assert one == other
    assert hash(one) == hash(other)
    assert one != load(tmp_path / "c.yaml", f"seed: 1\n{HEAD}{GRID}")


def test_the_folder_is_known_but_never_dumped(file: Path, tmp_path: Path) -> None:
    campaign = load(file, HEAD + GRID)
    assert campaign.folder == tmp_path
    assert pickle.loads(pickle.dumps(campaign)) == campaign  # noqa: S301
    assert "folder" not in json.dumps(campaign.resolved())


def test_the_originals_specific_bit_becomes_one_cell(file: Path) -> None:
    file.write_text(ORIGINAL)
    campaign = load_campaign(file, model="m.h5", dataset="mnist")
    assert campaign.grid == (GridSpec(layers=("dense_1",), bits=(31,), probabilities=(1.0,)),)
    assert (campaign.name, campaign.seed, campaign.repetitions) == ("study", 0, 1)


@pytest.mark.parametrize("bit_number", ["", "  bit_number: 31\n"])
def test_the_originals_random_bit_ignores_a_bit_number(file: Path, bit_number: str) -> None:
    text = ORIGINAL.replace("SpecificBit", "RandomBit").replace("  bit_number: 31\n", bit_number)
    file.write_text(text)
    campaign = load_campaign(file, model="m.h5", dataset="mnist")
    assert campaign.grid[0].bits == ("random",)


@pytest.mark.parametrize(
    ("name", "selector"), [("dense_1", "dense_1"), ("a[0]*", "a[[]0][*]"), ("all", "[a]ll")]
)
def test_the_originals_layer_name_is_no_pattern(file: Path, name: str, selector: str) -> None:
    file.write_text(ORIGINAL.replace("dense_1", f"'{name}'"))
    assert load_campaign(file, model="m.h5", dataset="mnist").grid[0].layers == (selector,)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "  bit_number: 31\n",
            "",
            "2:3: bit_number: received nothing, "
            "expected a bit from 0 to 63, which SpecificBit needs",
        ),
        (
            "bit_number: 31",
            "bit_number: 64",
            "5:15: bit_number: received 64, expected a bit from 0 to 63, which SpecificBit needs",
        ),
        (
            "SpecificBit\n  bit_number: 31",
            "RandomBit\n  bit_number: x",
            "5:15: bit_number: received 'x', expected a whole number",
        ),
        (
            "BitFlip",
            "StuckAt",
            "3:15: fault_type: received 'StuckAt', expected 'BitFlip'",
        ),
        (
            "SpecificBit",
            "AnyBit",
            "4:18: bit_flip_type: received 'AnyBit', expected 'RandomBit' or 'SpecificBit'",
        ),
        (
            "1.0",
            "2",
            "6:16: probability: received 2, expected a probability from 0 to 1",
        ),
        (
            "layer_name",
            "layer",
            "2:3: unknown key 'layer'; did you mean 'layer_name'? (valid keys: layer_name, "
            "fault_type, bit_flip_type, bit_number, probability)",
        ),
        (
            "inject_layer",
            "seed: 3\ninject_layer",
            "1:1: unknown key 'seed' (valid keys: inject_layer)",
        ),
    ],
)
def test_a_wrong_original_file_is_refused(file: Path, old: str, new: str, said: str) -> None:
    assert problem(file, ORIGINAL.replace(old, new)) == said


names = st.from_regex(r"[a-z]{2}[a-z0-9_/*?]{0,8}", fullmatch=True)
grids = st.builds(
    GridSpec,
    layers=st.lists(names | st.builds(LayerType, type=names), min_size=1, max_size=3),
    bits=st.lists(
        st.integers(0, 63) | st.sampled_from(["random", "sign", "exponent", "mantissa"]),
        min_size=1,
        max_size=5,
    ),
    probabilities=st.lists(st.floats(0, 1), min_size=1, max_size=3),
)
whole = st.integers(1, 2**40)
models = st.builds(ModelSpec, source=names.map("builtin:{}".format)) | st.builds(
    ModelSpec,
    source=names.map("keras.applications:{}".format),
    weights=st.sampled_from([None, "imagenet", "random"]),
    input_shape=st.none() | st.tuples(whole, whole, whole),
    classes=st.none() | whole,
)
positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
datasets = st.builds(
    DatasetSpec,
    source=names.map("builtin:{}".format),
    samples=st.none() | whole,
    scale=st.none() | positive,
    mean=st.none() | st.lists(st.floats(-9, 9), min_size=1, max_size=3),
    std=st.none() | positive | st.lists(positive, min_size=1, max_size=3),
    preprocess=st.sampled_from([None, "package.module:function", "keras.applications:VGG16"]),
) | st.builds(
    DatasetSpec,
    source=st.just("/no/such/folder"),
    size=st.none() | st.tuples(whole, whole),
    interpolation=st.sampled_from([None, "bilinear", "lanczos5"]),
    crop_to_aspect_ratio=st.none() | st.booleans(),
    class_names=st.none() | st.lists(names, min_size=1, max_size=3),
)
campaigns = st.builds(
    Campaign,
    name=st.from_regex(r"[a-zA-Z_][\w.-]{0,20}", fullmatch=True),
    model=models,
    dataset=datasets,
    seed=st.integers(0, 2**63 - 1),
    repetitions=st.integers(1, 2**31 - 1),
    grid=st.lists(grids, min_size=1, max_size=3),
    record=st.sampled_from(["none", "injections"]),
)


@given(campaigns)
def test_a_resolved_campaign_written_as_yaml_loads_to_an_equal_one(campaign: Campaign) -> None:
    resolved = campaign.resolved()
    assert json.loads(json.dumps(resolved)) == resolved
    assert Campaign.model_validate(resolved) == campaign
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "again.yaml"
        file.write_text(yaml.safe_dump(resolved), encoding="utf-8")
        assert load_campaign(file) == campaign


def test_numbers_that_json_does_not_know_are_resolved_to_texts(file: Path) -> None:
    grid = "grid: {fault: {type: constant, value: .nan}, counts: 1}\n"
    file.write_text(f"model: builtin:digits_cnn\ndataset: digits\n{grid}")
    (resolved,) = load_campaign(file).resolved()["grid"]
    assert resolved["fault"] == [{"type": "constant", "parameters": {"value": "nan"}}]


def test_the_schema_describes_every_field_and_takes_single_values() -> None:
    schema = Campaign.model_json_schema()
    tables = [schema, *schema["$defs"].values()]
    assert all("description" in entry for table in tables for entry in table["properties"].values())
    assert {"minimum": 0, "maximum": 1, "type": "number"} in (
        schema["$defs"]["GridSpec"]["properties"]["probabilities"]["anyOf"]
    )
    assert {"type": "string"} in schema["properties"]["model"]["anyOf"]


def test_loading_needs_no_heavy_package(file: Path) -> None:
    file.write_text(HEAD + GRID)
    code = (
        "import sys, pathlib; from orchestrator.campaign.campaign import load_campaign;"
        "load_campaign(pathlib.Path(sys.argv[1]));"
        "print({'tensorflow', 'keras', 'ray', 'pandas', 'pyarrow'} & set(sys.modules))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"
