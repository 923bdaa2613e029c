"""Campaigns on data of every source, from the file to the rows."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from injecttf2 import device
from orchestrator.campaign.campaign import load_campaign
from orchestrator.planning.plan import Plan, make_plan
from results import open_run
from tests import networks
from tests.orchestrator.conftest import Command, Run, pure_rows

GRID = "grid: {layers: conv, bits: [30, random], probabilities: 0.5}\n"

IMAGES = np.random.default_rng(6).integers(256, size=(10, 8, 8, 1)).astype(np.uint8)
"""Two of each of the classes 0 to 4, in order."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A campaign file beside its model and the same images as a folder and as files of arrays."""
    device.load()
    networks.cnn().save(tmp_path / "model.keras")
    labels = np.arange(10) // 2
    for index, image in enumerate(IMAGES):
        folder = tmp_path / "photos" / f"class{index // 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index}.png").write_bytes(tf.io.encode_png(image).numpy())
    np.savez(tmp_path / "data.npz", x=IMAGES, y=labels)
    np.savez(tmp_path / "negative.npz", x=255.0 - IMAGES, y=labels)
    (tmp_path / "sources_of_mine.py").write_text(
        """
import numpy as np
import tensorflow as tf

def batches():
    file = np.load(__file__.replace("sources_of_mine.py", "data.npz"))
    return tf.data.Dataset.from_tensor_slices((file["x"], file["y"])).batch(4)

def endless(): return batches().repeat()
def negative(images): return 255.0 - images
"""
    )
    return tmp_path / "campaign.yaml"


def write(file: Path, dataset: str) -> Path:
    file.write_text(f"model: model.keras\ndataset: {dataset}\n{GRID}")
    return file


def planned(file: Path, dataset: str) -> Plan:
    return make_plan(load_campaign(write(file, dataset)))


@pytest.mark.parametrize(
    ("dataset", "same"),
    [
        ("photos", "data.npz"),
        ("sources_of_mine:batches", "data.npz"),
        ("{source: sources_of_mine:endless, samples: 10}", "data.npz"),
        ("{source: photos, samples: 10, scale: 1}", "{source: data.npz, scale: 1}"),
        ("{source: data.npz, preprocess: sources_of_mine:negative}", "negative.npz"),
        ("{source: photos, preprocess: sources_of_mine:negative}", "negative.npz"),
    ],
)
def test_the_same_data_from_another_source_make_the_same_trials(
    dataset: str, same: str, file: Path
) -> None:
    assert planned(file, dataset).identity == planned(file, same).identity


def test_a_folder_of_images_is_run_and_goes_on(file: Path, run: Run, tmp_path: Path) -> None:
    first = run(write(file, "photos"), tmp_path / "run")
    again = run(file, tmp_path / "run")
    assert (first.done, first.failed, again.done) == (2, 0, 2)
    run(write(file, "data.npz"), tmp_path / "other")
    assert pure_rows(tmp_path / "run").equals(pure_rows(tmp_path / "other"))
    assert pure_rows(tmp_path / "run")["samples"].tolist() == [10, 10]


def test_a_model_of_any_size_takes_the_size_of_the_data(file: Path) -> None:
    keras.utils.clear_session(free_memory=False)
    keras.Sequential(
        [
            keras.Input((None, None, 1), name="image"),
            keras.layers.Conv2D(2, 3, padding="same", name="conv"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(5, name="logits"),
        ]
    ).save(file.parent / "model.keras")
    assert planned(file, "data.npz").graph.shapes  # of any one size
    plan = planned(file, "{source: photos, size: [6, 4]}")
    assert plan.graph.info("conv").shape == (6, 4, 2)


def test_a_plan_of_a_folder_prints_its_stages_alone(file: Path, injecttf2: Command) -> None:
    ended = injecttf2("plan", write(file, "photos"), "--json")
    assert (ended.code, ended.err.splitlines()) == (
        0,
        [
            *("loading TensorFlow", "loading the model", "loading the data", "tracing the model"),
            "timing the model",
        ],
    )
    assert {key: ended.json[key] for key in ("trials", "injections")} == {
        "trials": 2,
        "injections": 10,
    }


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("./none", "{folder}/none: there is no such file or folder"),
        ("none", "unknown data set 'none'"),
        ("photos/class0", "{folder}/photos/class0: the subfolders are none; expected a subfolder"),
        ("sources_of_mine:endless", "sources_of_mine:endless: the data set never ends"),
        (
            "{{source: photos, preprocess: sources_of_mine:positive}}",
            "sources_of_mine:positive: the module 'sources_of_mine' has no function 'positive'",
        ),
        (
            "{{source: photos, preprocess: 'keras.applications:ResNet5'}}",
            "keras.applications:ResNet5: keras.applications has no model 'ResNet5'; did you mean",
        ),
        ("{{source: photos, samples: 11}}", "samples: 11 asked for; the data set has 10"),
        (
            "{{source: photos, size: [4, 4]}}",
            "a sample has shape (4, 4, 1); the model takes (8, 8, 1)",
        ),
    ],
)
def test_wrong_data_end_a_plan_with_one_message(
    dataset: str, said: str, file: Path, injecttf2: Command
) -> None:
    folder: Any = file.parent
    ended = injecttf2("plan", write(file, dataset.replace("{{", "{").replace("}}", "}")))
    assert ended.code == 2
    assert ended.error.startswith(f"error: {file}:2:10: {said.format(folder=folder)}")
    assert "Traceback" not in ended.err


KEYED = """
import keras
import numpy as np

FIRST, SECOND = np.random.default_rng(4).normal(size=(2, 40, 5)).astype("float32")
BY_KEY = {"before": FIRST, "after": SECOND}


def model():
    keras.utils.set_random_seed(1)
    a, b = keras.Input((5,), name="before"), keras.Input((5,), name="after")
    both = keras.layers.Concatenate()([a, keras.layers.Dense(5)(b)])
    head = keras.layers.Dense(3, "softmax", name="head")(both)
    return keras.Model({"before": a, "after": b}, {"species": head})


def labels():
    return model().predict(BY_KEY, verbose=0)["species"].argmax(-1)


def by_key(): return BY_KEY, {"species": labels()}
def plain(): return BY_KEY, labels()
def in_order(): return (FIRST, SECOND), labels()
"""


def test_a_model_made_from_dicts_takes_data_by_key_alone(
    tmp_path: Path, injecttf2: Command
) -> None:
    (tmp_path / "keyed_of_mine.py").write_text(KEYED)
    file = tmp_path / "campaign.yaml"
    rest = "judge: {type: top1, output: species}\ngrid: {bits: 30, counts: 1}\n"
    file.write_text(f"model: keyed_of_mine:model\ndataset: keyed_of_mine:by_key\n{rest}")
    output = ("--executor", "inline", "--no-report", "--output", tmp_path / "run")
    assert injecttf2("run", file, *output).code == 0
    assert (open_run(tmp_path / "run").golden or {})["accuracy"] == 1.0
    ended = injecttf2("plan", file, "--dataset", "keyed_of_mine:in_order")
    assert ended.code == 2
    assert ended.error.startswith(
        "error: --dataset: the model takes 2 inputs, after, before, by key; the data have 2 in an "
        "order\n"
    )


def test_a_run_is_judged_by_one_output(tmp_path: Path, injecttf2: Command) -> None:
    two = '{"species": head, "size": keras.layers.Dense(3)(both)})'
    (tmp_path / "keyed_of_mine.py").write_text(KEYED.replace('{"species": head})', two))
    file = tmp_path / "campaign.yaml"
    options = ("--executor", "inline", "--no-report", "--output", tmp_path / "run")
    codes = []
    for output in ("species", "head", "size"):  # of the same labels, so that ids are the same
        file.write_text(
            "model: keyed_of_mine:model\ndataset: keyed_of_mine:plain\n"
            f"judge: {{type: top1, output: {output}}}\ngrid: {{bits: 30, counts: 1}}\n"
        )
        ended = injecttf2("run", file, *options)
        codes.append(ended.code)
    assert codes == [0, 0, 2]
    assert ended.err.endswith(
        f"error: {file}:3:8: the output 'size' is to be judged; the trials of {tmp_path / 'run'} "
        "were judged by 'head'\n  choose another --output\n"
    )


PIXELS = """
import keras
import numpy as np

IMAGES = np.random.default_rng(5).integers(0, 256, (60, 8, 8, 1)).astype("uint8")
FLAGS = IMAGES[:, :, 0, 0] // 128


def rescaling():
    keras.utils.set_random_seed(1)
    first = [keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    return keras.Sequential([*first, keras.layers.Dense(2, "softmax")])


def plain():
    return keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    )


def flags():
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, "softmax")])


def labels(model, inputs):
    return model.predict(inputs.astype("float32"), verbose=0).argmax(-1)


def images(): return IMAGES, labels(rescaling(), IMAGES)
def zeros_and_ones(): return FLAGS, labels(flags(), FLAGS)
def mixed_up(): return FLAGS, np.arange(60) % 2
def levels(): return IMAGES // 16, labels(rescaling(), IMAGES)
"""


@pytest.fixture
def pixels(tmp_path: Path) -> Path:
    (tmp_path / "pixels_of_mine.py").write_text(PIXELS)
    return tmp_path / "campaign.yaml"


def of_pixels(file: Path, model: str, data: str) -> Path:
    source = f"model: pixels_of_mine:{model}\ndataset: pixels_of_mine:{data}\n"
    file.write_text(f"{source}grid: {{layers: all, bits: 30, counts: 1}}\n")
    return file


@pytest.mark.parametrize(
    ("model", "data", "told"),
    [
        ("flags", "zeros_and_ones", "60 samples of 8, uint8 0 to 1, as they are: no value is "),
        (
            "rescaling",
            "images",
            "60 samples of 8 x 8 x 1, uint8 0 to 255, as they are: the model scales them itself, ",
        ),
    ],
)
def test_what_the_model_was_made_for_is_given_as_it_is_and_told_everywhere(
    model: str, data: str, told: str, pixels: Path, injecttf2: Command
) -> None:
    file, output = of_pixels(pixels, model, data), pixels.parent / "run"
    line = injecttf2("plan", file, "--json").json["data"]
    assert line.startswith(told)
    assert f"data: {line}" in " ".join(injecttf2("plan", file).out.split())
    inline = ("--executor", "inline", "--no-report", "--output", output)
    ended = injecttf2("run", file, *inline, "--json")
    assert f"data: {line}\n" in ended.err
    assert {name: ended.json[name] for name in ("data", "golden_accuracy", "warnings")} == {
        "data": line,
        "golden_accuracy": 1.0,
        "warnings": [],
    }
    opened = open_run(output)
    assert opened.plan["data"] == line
    assert (opened.golden or {})["at_chance"] is False


def test_a_golden_run_at_chance_is_warned_of(pixels: Path, injecttf2: Command) -> None:
    file, output = of_pixels(pixels, "flags", "mixed_up"), pixels.parent / "run"
    inline = ("--executor", "inline", "--output", output)
    ended = injecttf2("run", file, *inline)
    chance = (open_run(output).golden or {})["chance"]
    warning = (
        "without faults the classes agree with the labels hardly more often than by chance "
        f"({chance:.2%}), so outcomes mean little: check the order of the classes, and what was "
        "done to the data. Models take pixels from 0 to 1 (`scale: 1/255`), from 0 to 255 "
        "(`scale: 1`), from -1 to 1 (`scale: 1/127.5`, `mean: 1`) or otherwise, as they were "
        "trained; one that gives out values, as an autoencoder does, is judged by "
        "`judge: {type: regression, ...}`"
    )
    assert f"{warning}\n" in ended.err
    assert warning in " ".join(ended.out.split())
    assert "hardly better than chance" in (output / "report.html").read_text()
    assert injecttf2("run", file, *inline, "--json").json["warnings"] == [warning]  # all is done


def test_whether_values_are_pixels_is_asked_for(pixels: Path, injecttf2: Command) -> None:
    file = of_pixels(pixels, "plain", "levels")
    ended = injecttf2("plan", file)
    assert ended.code == 2
    assert ended.error.startswith(
        f"error: {file}:2:10: the inputs are uint8 0 to 15, 8 x 8 x 1 a sample: it cannot be told "
    )
    source = "{source: 'pixels_of_mine:levels', scale: 1/15}"
    file.write_text(file.read_text().replace("pixels_of_mine:levels", source))
    assert injecttf2("plan", file, "--json").json["data"] == (
        "60 samples of 8 x 8 x 1, uint8 0 to 15, scaled by 0.0666667: 0 to 1"
    )


def test_names_in_the_other_form_of_unicode_are_found(
    file: Path, injecttf2: Command, tmp_path: Path
) -> None:
    there, given = (unicodedata.normalize(one, "größe") for one in ("NFD", "NFC"))
    for name in ("data.npz", "model.keras", "photos"):
        path = file.with_name(name)
        path.rename(path.with_name(f"{there}{path.suffix}"))
    for source in (f"{given}.npz", given):  # the folder of images
        file.write_text(f"model: {given}.keras\ndataset: {source}\n{GRID}")
        campaign = file.rename(file.with_name(f"{there}.yaml"))
        assert injecttf2("plan", campaign.with_name(f"{given}.yaml"), "--json").code == 0
        campaign.rename(file)
    run = tmp_path / "runs" / there
    options = ("--executor", "inline", "--no-report", "--output")
    assert injecttf2("run", file, *options, run).code == 0
    again = injecttf2("run", file, *options, run.with_name(given), "--json")
    assert (again.json["run"], again.json["injections"]) == (str(run), 0)
    assert injecttf2("status", run.with_name(given), "--json").json["done"] == 2


def test_the_name_of_a_campaign_is_the_same_in_both_forms(file: Path) -> None:
    names = set()
    for form in ("NFC", "NFD"):
        path = write(file, "data.npz").rename(
            file.with_name(f"{unicodedata.normalize(form, 'größe')}.yaml")  # type: ignore[arg-type]
        )
        names.add(load_campaign(path).name)
    assert names == {unicodedata.normalize("NFC", "größe")}


def test_a_wrong_model_file_ends_a_plan_with_what_it_is(file: Path, injecttf2: Command) -> None:
    file.with_name("exported").mkdir()
    file.with_name("exported").joinpath("saved_model.pb").touch()
    file.write_text(f"model: exported\ndataset: data.npz\n{GRID}")
    ended = injecttf2("plan", file)
    assert ended.code == 2
    assert ended.error.startswith(
        f"error: {file}:1:8: {file.parent}/exported: TensorFlow cannot load it: "
    )
    file.with_name("model.keras").rename(file.with_name("M.H5"))
    file.write_text(f"model: M.H5\ndataset: data.npz\n{GRID}")
    assert injecttf2("plan", file).code == 0
