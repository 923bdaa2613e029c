"""Mistakes that files tell: refused at once, without TensorFlow, and in planning's words."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from injecttf2.bits import DTYPES
from injecttf2.errors import CampaignError
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.models import model_files
from injecttf2.models.file_layers import WEIGHTLESS, layers_in
from injecttf2.models.keras2_files import config_of
from orchestrator.campaign.campaign import load_campaign
from orchestrator.planning.first_look import look
from orchestrator.session import launch as launching
from tests.families import FAMILIES
from tests.orchestrator.conftest import CAMPAIGN, Command, Run

MISTAKES = {
    "a layer": ("pool,", "poll,", "small.yaml:8:18: the model has no layer 'poll'; did you mean"),
    "a pattern": ("pool,", "poll*,", "small.yaml:8:18: the model has no layer 'poll*'"),
    "a type": ("pool,", "{type: Conv3D},", "no layer of type 'Conv3D'; did you mean 'Conv2D'"),
    "a bit": ("[0, 22", "[33, 22", "'conv': float32 has bits 0 to 31; received bit 33"),
    "weights": (
        CAMPAIGN.partition("grid:")[2],
        " {layers: [conv, pool], target: weights, bits: 3, counts: 1}\n",
        "small.yaml:7:23: the layer 'pool' cannot be injected: it has no weights",
    ),
    "a fault": (
        "  bits",
        "  fault: bit_flop\n  bits",
        "small.yaml:9:10: there is no fault model 'bit_flop'; did you mean 'bit_flip'?",
    ),
    "a fault of a mixture": (
        "  bits",
        "  fault: {type: mixture, faults: [{weight: 1, fault: drift}]}\n  bits",
        "small.yaml:9:10: there is no fault model 'drift'",
    ),
    "a judge": ("seed:", "judge: tpo1\nseed:", "unknown judge 'tpo1'; did you mean 'top1'"),
    "a metric": (
        "seed:",
        "metrics: [confidense]\nseed:",
        "small.yaml:5:11: unknown metric 'confidense'; did you mean 'confidence'?\n"
        "  expected top<k>_accuracy, confidence, mean_absolute_error, mean_squared_error, or "
        "package.module:Class\n",
    ),
    "a criterion": ("seed:", "criteria: tpo5\nseed:", "5:11: unknown criterion 'tpo5'"),
    "a fault's parameter": ("  bits", "  fault: {type: stuck_at, value: 3}\n  bits", "stuck_at"),
    "no model": ("model.keras", "nosuch.keras", "nosuch.keras: the model file cannot be read"),
    "an unknown model": ("model.keras", "nosuch", "unknown model"),
    "a builtin model": (
        "model.keras",
        "builtin:digits_cn",
        "small.yaml:3:8: there is no builtin model 'digits_cn'; did you mean 'digits_cnn'?\n"
        "  expected builtin: and one of digits_cnn\n",
    ),
    "a model of Keras": (
        "model.keras",
        "keras.applications:MobileNetV9",
        "small.yaml:3:8: keras.applications:MobileNetV9: keras.applications has no model "
        "'MobileNetV9'; did you mean 'MobileNetV2'",
    ),
    "a module": (
        "model.keras",
        "nomod.foo:bar",
        "small.yaml:3:8: nomod.foo:bar: the module 'nomod.foo' cannot be imported: "
        "ModuleNotFoundError: No module named 'nomod'\n"
        "  it is looked up beside the campaign file, then on the Python path\n",
    ),
    "a module of data": ("data.npz", "nomod:data", "4:10: nomod:data: the module 'nomod' cannot"),
    "a module of a judge": ("seed:", "judge: nomod:J\nseed:", "5:8: nomod:J: the module 'nomod'"),
    "a module of a fault": ("  bits", "  fault: nomod:F\n  bits", "9:10: nomod:F: the module 'no"),
    "preprocess": (
        "data.npz",
        "{source: data.npz, preprocess: keras.applications:ResNet5}",
        "keras.applications:ResNet5: keras.applications has no model 'ResNet5'; did you mean",
    ),
    "a model that is none": ("model.keras", "junk.keras", "junk.keras: it is not a .keras file"),
    "no data": ("data.npz", "nosuch.npz", "nosuch.npz: there is no such data file"),
    "an unknown data set": ("data.npz", "mnits", "unknown data set 'mnits'; did you mean 'mnist'"),
    "a folder of data": ("data.npz", "nosuch/data", "there is no such file or folder"),
    "another shape": ("data.npz", "wide.npz", "a sample has shape (9, 8, 1); the model takes"),
    "other arrays": ("data.npz", "named.npz", "it holds the arrays images, labels; expected"),
    "other labels": ("data.npz", "short.npz", "there are 70 inputs and 69 labels"),
    "too few samples": ("data.npz", "{source: data.npz, samples: 71}", "samples: 71 asked for"),
    "NaN": (
        "data.npz",
        "{source: nan.npz, samples: 60}",
        "small.yaml:4:10: 2 of 60 samples hold NaN or Inf, the first is sample 3\n"
        "  leave these samples out, or mend them with `preprocess`\n",
    ),
    "pickles": ("data.npz", "pickled.npz", "pickled.npz: it cannot be read as .npz: Object arrays"),
    "no archive": ("data.npz", "junk.npz", "junk.npz: it cannot be read as .npz: "),
    "texts": ("data.npz", "texts.npz", "the inputs have dtype <U1; expected numbers"),
}


@pytest.fixture
def mistaken(campaign: Path) -> dict[str, Path]:
    """A campaign file for each mistake."""
    folder = campaign.parent
    for name in ("junk.keras", "junk.npz"):
        (folder / name).write_text("junk")
    images, labels = np.zeros((70, 8, 8, 1), np.float32), np.zeros(70, np.int64)
    np.savez(folder / "wide.npz", x=np.zeros((70, 9, 8, 1), np.float32), y=labels)
    np.savez_compressed(folder / "named.npz", images=images, labels=labels)
    np.savez(folder / "short.npz", x=images, y=labels[:-1])
    broken = images.copy()
    broken[3, 1, 1], broken[5, 0, 0], broken[65] = np.nan, np.inf, np.nan
    np.savez(folder / "nan.npz", x=broken, y=labels)
    np.savez(folder / "pickled.npz", x=images, y=np.array([object()] * 70))
    np.savez(folder / "texts.npz", x=np.full((70, 8, 8, 1), "a"), y=labels)
    files = {}
    text = campaign.read_text()
    for name, (old, new, _) in MISTAKES.items():
        assert old in text
        (folder / name).mkdir()
        files[name] = folder / name / "small.yaml"
        changed = text.replace(old, new, 1)
        for file in ("model.keras", "data.npz", *(one.name for one in folder.iterdir())):
            if file.endswith((".keras", ".npz")):
                changed = changed.replace(f" {file}", f" ../{file}")
        files[name].write_text(changed)
    return files


def test_none_of_them_loads_tensorflow(mistaken: dict[str, Path]) -> None:
    code = """
import sys
from orchestrator.cli.main import main
for file in sys.argv[1:]:
    sys.argv = ["injecttf2", "run", file, "--executor", "inline"]
    try:
        main()
    except SystemExit as ended:
        print(ended.code, [one for one in ("tensorflow", "keras", "ray") if one in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *mistaken.values()], capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["2 []"] * len(mistaken)
    told = done.stderr.split("error: ")[1:]
    for text, (name, (_, _, message)) in zip(told, MISTAKES.items(), strict=True):
        assert message in text, name


def test_planning_says_the_same(
    mistaken: dict[str, Path], injecttf2: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in mistaken.values():
        command = ("run", file, "--executor", "inline", "--output", file.parent / "run")
        soon = injecttf2(*command)
        with monkeypatch.context() as late:
            late.setattr(launching, "look", lambda _: None)
            then = injecttf2(*command)
        assert (then.code, then.out, then.error) == (soon.code, soon.out, soon.error)


def test_an_unknown_trial_is_told_without_tensorflow(
    campaign: Path, run: Run, tmp_path: Path
) -> None:
    run(campaign, tmp_path / "run")
    code = """
import sys
from orchestrator.cli.main import main
sys.argv[0] = "injecttf2"
try:
    main()
except SystemExit as ended:
    print(ended.code, [one for one in ("tensorflow", "keras", "ray") if one in sys.modules])
"""
    command = [sys.executable, "-c", code, "replay", tmp_path / "run", "123"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "2 []\n"
    assert "the run holds no finished trial 123" in done.stderr


@pytest.mark.parametrize("name", ["nested_twice", "recurrent", "wrapped", "states", "shared"])
@pytest.mark.filterwarnings("ignore:Layer 'inner' .of type Functional. was passed an input")
def test_no_name_of_a_layer_that_there_is_is_refused(name: str, campaign: Path) -> None:
    """Nor a pattern: each address, its beginnings and ends, with and without something missing."""
    family = FAMILIES[name]
    model = family.model()
    model.save(campaign.with_name("model.keras"))
    assert layers_in(config_of(campaign.with_name("model.keras").read_bytes())) is not None
    names = [info.layer for info in ModelGraph.of(model, family.data(3)).layers]
    (data,) = [family.data(3)]
    np.savez(campaign.with_name("data.npz"), x=data, y=np.zeros(3, int))
    head = campaign.read_text().partition("grid:")[0]
    refused = []
    for layer in names:
        cut = len(layer) // 2
        for given in (layer, f"{layer[:cut]}*", f"*{layer[cut:]}", layer[1:], f"{layer[1:cut]}*"):
            campaign.write_text(f"{head}grid: {{layers: '{given}', bits: 3, probabilities: 1}}\n")
            try:
                look(load_campaign(campaign))
            except CampaignError:
                refused.append(given)
    assert refused
    assert [one for one in refused if fnmatch.filter(names, one)] == []


def test_the_builtin_model_is_known_once_it_was_trained(
    campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = campaign.read_text().replace("model.keras", "builtin:digits_cnn")
    campaign.write_text(text.replace("data.npz", "digits"))
    monkeypatch.setattr("orchestrator.planning.first_look.kept_files", list)
    look(load_campaign(campaign))
    monkeypatch.setattr(
        "orchestrator.planning.first_look.kept_files", lambda: [campaign.with_name("model.keras")]
    )
    campaign.write_text(campaign.read_text().replace("pool", "poll"))
    with pytest.raises(CampaignError, match="no layer 'poll'; did you mean 'pool'"):
        look(load_campaign(campaign))


def test_code_of_the_users_own_is_left_to_planning(campaign: Path) -> None:
    campaign.with_name("mine.py").write_text("raise ValueError")
    text = campaign.read_text().replace("model.keras", "mine:model")
    campaign.write_text(text.replace("  bits", "  fault: {type: of_its_own, bit: 1}\n  bits"))
    look(load_campaign(campaign))


def test_layers_without_weights_have_none() -> None:
    shapes = {"1D": (8, 2), "2D": (8, 8, 2), "3D": (8, 8, 8, 2)}
    arguments = {
        "Activation": ["relu"],
        **{name: [2] for name in WEIGHTLESS if re.match("(Average|Max)Pooling", name)},
        "Dot": [1],
        "Permute": [(1,)],
        "RepeatVector": [2],
        "Reshape": [(2, 1)],
        "Rescaling": [2.0],
        "Dropout": [0.5],
        "SpatialDropout1D": [0.5],
        "SpatialDropout2D": [0.5],
        "SpatialDropout3D": [0.5],
        "GaussianNoise": [0.5],
        "GaussianDropout": [0.5],
    }
    two = {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"}
    for name in sorted(WEIGHTLESS):
        layer = getattr(keras.layers, name)(*arguments.get(name, []))
        value = keras.Input(shapes.get(name[-2:], (2,)))
        layer([value, value] if name in two else value)
        assert [one for one in layer.weights if one.dtype in DTYPES] == [], name


def test_a_saved_model_is_left_to_planning(campaign: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    campaign.write_text(campaign.read_text().replace("model.keras", "./folder"))
    look(load_campaign(campaign))
    assert set(model_files.SUFFIXES) == {".keras", ".h5", ".hdf5"}
