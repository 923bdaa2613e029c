"""What a run writes down equals the reference, row for row: from the command line to Parquet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from injecttf2.acceleration import difference
from tests import applications
from tests.described import assert_equal_run
from tests.families import CLASSES, FAMILIES, TOLERANCE
from tests.orchestrator.conftest import Command
from tests.reference import Judging, Reference, per_position

SAMPLES = 24

CAMPAIGN = """
model: model.keras
dataset: data.npz
seed: 4
repetitions: 1
grid:
  - {{layers: [{outputs}], bits: [random, exponent], probabilities: [0.9]}}
  - {{layers: [{outputs}], fault: {{type: scale, factor: -20}}, counts: [30]}}
  - {{layers: [{weights}], target: weights, bits: [30, random], counts: [3]}}
record: {record}
judge: {judge}
"""


@dataclass(frozen=True)
class Case:
    """A model, what it is given, and what of it is hit.

    Args:
        build: Returns the model.
        inputs: Returns one array or several, for a number of samples.
        outputs: Addresses of layers whose outputs are hit.
        weights: Address of one whose weights are hit.
        positions: Sizes of what is given classes position by position; none for one class.
        recorded: Whether sites are recorded, for which no boxes are taken.
    """

    build: Callable[[], keras.Model]
    inputs: Callable[[int], Any]
    outputs: tuple[str, ...]
    weights: str
    positions: tuple[int, ...] = ()
    recorded: bool = True

    @property
    def judge(self) -> str:
        """What is asked of outputs, as a campaign says it."""
        return f"{{type: per_position, tolerance: {TOLERANCE}}}" if self.positions else "top1"

    def written(self, folder: Path) -> Reference:
        """Write the model and its data into a folder, and return their oracle."""
        model, inputs = self.build(), self.inputs(SAMPLES)
        labels = np.random.default_rng(3).integers(CLASSES, size=(SAMPLES, *self.positions))
        named: dict[str, Any] = {"x": inputs}
        if isinstance(inputs, tuple):
            named = {f"x_{one.name}": each for one, each in zip(model.inputs, inputs, strict=True)}
        np.savez(folder / "data.npz", y=labels, **named)
        model.save(folder / "model.keras")
        judging = per_position(tolerance=TOLERANCE) if self.positions else Judging()
        how = {"batch": SAMPLES, "judging": judging, "watched": self.outputs}
        return Reference(model, inputs, labels, **how)


CASES = {
    "MobileNetV2": Case(
        lambda: applications.build("MobileNetV2"),
        applications.images,
        ("expanded_conv_depthwise", "block_4_add"),
        "Conv1",
        recorded=False,
    ),
    "cross_attention": Case(
        FAMILIES["cross_attention"].model,
        FAMILIES["cross_attention"].data,
        ("memory", "cross"),
        "cross",
    ),
    "u_net": Case(
        FAMILIES["u_net"].model,
        FAMILIES["u_net"].data,
        ("down1_relu", "up1_skip"),
        "up2_up",
        positions=(8, 8),
    ),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.full] * (n == "MobileNetV2")) for n in CASES],
)
def test_rows_of_a_run_equal_the_reference(
    name: str, injecttf2: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(difference, "COMPILING", 1e-9)  # take boxes for few samples
    case, file = CASES[name], tmp_path / "campaign.yaml"
    reference = case.written(tmp_path)
    told = {
        "outputs": ", ".join(case.outputs),
        "weights": case.weights,
        "record": "injections" if case.recorded else "none",
        "judge": case.judge,
    }
    file.write_text(CAMPAIGN.format(**told))
    ended = injecttf2(
        "run", file, "--executor", "inline", "--no-report", "--output", tmp_path / "run"
    )
    assert ended.code == 0, ended.err
    assert len(assert_equal_run(tmp_path / "run", reference, recorded=case.recorded)) >= 3
