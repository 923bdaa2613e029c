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
dataset: data.npz
grid: {{layers: all, bits: 30, probabilities: 0.1}}
"""

Arrays = Mapping[str, np.ndarray]
Plan = Callable[[str, Arrays], Ended]

RANDOM = np.random.default_rng(0)
NIGHTS = RANDOM.normal(size=(3, 20, 36)).astype(np.float32)
SPECTRA = RANDOM.normal(size=(3, 640)).astype(np.float32)
FACES = np.zeros((3, 64, 64, 3), np.float32)
CLASSES = np.zeros(3, int)


@pytest.fixture
def told(injecttf2: Command, published: Callable[[str], Path], tmp_path: Path) -> Plan:
    """Plan a campaign of a model, judged by its top class, with arrays as data."""

    def plan(name: str, arrays: Arrays) -> Ended:
        np.savez(tmp_path / "data.npz", **arrays)
        file = tmp_path / "naive.yaml"
        file.write_text(CAMPAIGN.format(model=published(PUBLISHED[name].file)))
        return injecttf2("plan", file)

    return plan


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
