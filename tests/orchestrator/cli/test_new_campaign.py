"""What ``init`` writes for a model and data: a campaign that can be planned as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.campaign.campaign import load_campaign
from tests.families import FAMILIES
from tests.orchestrator.conftest import Command


def given(folder: Path, name: str, samples: int, labels: Any) -> tuple[Path, Path]:
    """Files of a family's model and data."""
    family = FAMILIES[name]
    family.model().save(folder / "model.keras")
    data = family.data(samples)
    inputs = {"x": data}
    if isinstance(data, tuple):
        names = ("image", "features")
        inputs = {f"x_{one}": array for one, array in zip(names, data, strict=True)}
    np.savez(folder / "data.npz", **inputs, **labels)
    return folder / "model.keras", folder / "data.npz"


@pytest.mark.parametrize(
    ("name", "samples", "bits", "repetitions"),
    [
        ("mixed_bfloat16", 300, ("random",), 5),
        ("convolutions", 4, tuple(range(32)), 8),
        ("convolutions", 100, tuple(range(32)), 5),
    ],
)
def test_bits_and_repetitions_fit_the_model_and_the_data(
    name: str,
    samples: int,
    bits: tuple[int | str, ...],
    repetitions: int,
    injecttf2: Command,
    tmp_path: Path,
) -> None:
    """Words of several widths get drawn bits; 8 repetitions of 4 samples hit 32."""
    model, data = given(tmp_path, name, samples, {"y": np.zeros(samples, int)})
    file = tmp_path / "new.yaml"
    assert injecttf2("init", file, "--model", model, "--dataset", data).code == 0
    text = file.read_text()
    assert "\nmodel: model.keras\n" in text
    assert "\ndataset: data.npz\n" in text
    campaign = load_campaign(file)
    (grid,) = campaign.grid
    assert (grid.bits, campaign.repetitions) == (bits, repetitions)
    ended = injecttf2("plan", file)
    assert ended.code == 0
    assert ended.err.splitlines()[-1] == "timing the model"  # no warning


def test_what_stands_beside_values_stays(injecttf2: Command, tmp_path: Path) -> None:
    model, data = given(tmp_path, "convolutions", 100, {"y": np.zeros(100, int)})
    injecttf2("init", tmp_path / "usual.yaml")
    injecttf2("init", tmp_path / "new.yaml", "--model", model, "--dataset", data)
    usual, new = ((tmp_path / f"{one}.yaml").read_text() for one in ("usual", "new"))
    changed = usual.replace("\nmodel: builtin:digits_cnn\n", "\nmodel: model.keras\n")
    assert new == changed.replace("\ndataset: digits\n", "\ndataset: data.npz\n")


def test_of_several_outputs_the_first_is_judged(injecttf2: Command, tmp_path: Path) -> None:
    labels = {"y_box": np.zeros(70, int), "y_classes": np.zeros(70, int)}
    model, data = given(tmp_path, "two_by_two", 70, labels)
    file = tmp_path / "new.yaml"
    assert injecttf2("init", file, "--model", model, "--dataset", data).code == 0
    judge = load_campaign(file).judge
    assert (judge.type, judge.output) == ("top1", "box")
    assert injecttf2("plan", file).code == 0


@pytest.mark.parametrize(
    ("name", "labels", "judge"),
    [
        ("u_net", np.zeros((40, 8, 8), int), "per_position"),
        ("convolutions", np.full((40, 4), 0.3), "regression"),
        ("convolutions", np.ones((40, 4), int), "threshold"),
    ],
)
def test_labels_say_what_is_judged(
    name: str, labels: Any, judge: str, injecttf2: Command, tmp_path: Path
) -> None:
    model, data = given(tmp_path, name, 40, {"y": labels})
    file = tmp_path / "new.yaml"
    assert injecttf2("init", file, "--model", model, "--dataset", data).code == 0
    assert load_campaign(file).judge.type == judge
    assert injecttf2("plan", file).code == 0


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("nosuch.keras", "data.npz", "error: --model: {}/nosuch.keras: the model file cannot be"),
        ("model.keras", "nosuch.npz", "error: --dataset: {}/nosuch.npz: there is no such data"),
        ("model.keras", "wide.npz", "error: --dataset: a sample has shape (9, 8, 2); the model"),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_written(
    model: str, data: str, message: str, injecttf2: Command, tmp_path: Path
) -> None:
    given(tmp_path, "convolutions", 20, {"y": np.zeros(20, int)})
    np.savez(tmp_path / "wide.npz", x=np.zeros((20, 9, 8, 2), "f4"), y=np.zeros(20, int))
    file = tmp_path / "new.yaml"
    options = ("--model", tmp_path / model, "--dataset", tmp_path / data)
    ended = injecttf2("init", file, *options)
    assert ended.code == 2
    assert ended.error.startswith(message.format(tmp_path))
    assert not file.exists()


def test_paths_elsewhere_are_written_whole(injecttf2: Command, tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    model, data = given(tmp_path / "a b", "convolutions", 70, {"y": np.zeros(70, int)})
    (tmp_path / "campaigns").mkdir()
    file = tmp_path / "campaigns" / "new.yaml"
    assert injecttf2("init", file, "--model", model, "--dataset", data).code == 0
    campaign = load_campaign(file)
    assert campaign.model is not None
    assert campaign.model.source == str(model)
    assert f'model: "{model}"' in file.read_text()
