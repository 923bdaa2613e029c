"""What those meet who give a published model what it does not take: what to do instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.orchestrator.conftest import Command, Ended
from tests.wild.models import PUBLISHED

CAMPAIGN = """
model: {model}
dataset: {dataset}
grid: {{layers: {layers}, bits: 30, probabilities: 0.1}}
"""

Arrays = Mapping[str, np.ndarray]
Plan = Callable[..., Ended]

RANDOM = np.random.default_rng(0)
NIGHTS = RANDOM.normal(size=(3, 20, 36)).astype(np.float32)
SPECTRA = RANDOM.normal(size=(3, 640)).astype(np.float32)
FACES = np.zeros((3, 64, 64, 3), np.float32)
CLASSES = np.zeros(3, int)


@pytest.fixture
def told(injecttf2: Command, published: Callable[[str], Path], tmp_path: Path) -> Plan:
    """Run a command on a campaign of a model, judged by its top class, with arrays as data."""

    def run(
        name: str, arrays: Arrays, *command: object, layers: str = "all", **dataset: object
    ) -> Ended:
        np.savez(tmp_path / "data.npz", **arrays)
        file = tmp_path / "naive.yaml"
        how = {"source": "data.npz", **dataset}
        path = published(PUBLISHED[name].file)
        file.write_text(CAMPAIGN.format(model=path, dataset=how, layers=layers).replace("'", ""))
        return injecttf2(*(command or ("plan",)), file)

    return run


@pytest.mark.parametrize(
    ("name", "arrays", "hint"),
    [
        ("autoencoder", {"x": SPECTRA}, "the labels of an autoencoder are its inputs"),
        ("autoencoder", {"x": SPECTRA, "y": SPECTRA}, "`judge: {type: regression, absolute: TOLE"),
        ("autoencoder", {"x": SPECTRA.reshape(3, 5, 128), "y": CLASSES}, "x.reshape(-1, 640)"),
        ("bidirectional GRU", {"x": NIGHTS, "y": CLASSES}, "take `judge: per_position`"),
        ("bidirectional GRU", {"x": NIGHTS[0], "y": CLASSES[:1].repeat(20)}, "LENGTH, 36)"),
        ("mini-Xception", {"x": FACES, "y": CLASSES}, "the model takes grey: x.mean(axis=-1"),
        ("mini-Xception", {"x": FACES[:, :48, :48, :1], "y": CLASSES}, "resize(x, (64, 64))"),
        ("MobileNetV1", {"x": FACES[..., :1], "y": CLASSES}, "package.module:function that ret"),
        ("MobileNetV1", {"x": FACES, "y": CLASSES}, "resize(x, (96, 96))"),
        (
            "ResNet-8",
            {"x": FACES[:, :32, :32].swapaxes(1, 3), "y": CLASSES},
            "numpy.moveaxis(x, 1, -1)",
        ),
    ],
)
def test_the_message_says_what_to_do(name: str, arrays: Arrays, hint: str, told: Plan) -> None:
    ended = told(name, arrays)
    assert ended.code == 2
    assert hint in ended.err
    assert len(ended.err) < 400


@pytest.mark.parametrize(
    ("how", "right", "warned"),
    [({}, 0.1, True), ({"scale": "1/127.5", "mean": 1}, 0.1, True), ({"scale": 1}, 0.89, False)],
)
def test_photographs_that_are_scaled_for_a_model_of_0_to_255_are_warned_of(
    how: Mapping[str, object],
    right: float,
    warned: bool,
    told: Plan,
    shared_data: Path,
    tmp_path: Path,
) -> None:
    photographs = dict(np.load(shared_data / "data" / "cifar10_test1000.npz"))
    inline = ("run", "--executor", "inline", "--json", "--output", tmp_path / "run")
    ended = told("ResNet-8", photographs, *inline, layers="dense", samples=200, **how)
    assert ended.code == 0, ended.err
    assert ended.json["golden_accuracy"] == pytest.approx(right, abs=0.01)
    assert any("from 0 to 255 (`scale: 1`)" in one for one in ended.json["warnings"]) is warned
