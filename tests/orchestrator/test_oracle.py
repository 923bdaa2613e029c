"""What a run writes down equals the reference, row for row: from the command line to Parquet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from injecttf2.acceleration import difference
from results import open_run
from results.run_folder.schema import OUTCOMES
from tests import applications
from tests.families import CLASSES, FAMILIES, TOLERANCE
from tests.orchestrator.conftest import Command
from tests.reference import RATES, Judging, Reference, ReferenceResult, Row, per_position

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


@dataclass(frozen=True)
class Described:
    """A trial by nothing but what its row says of it."""

    row: Mapping[str, Any]

    @property
    def cell(self) -> Described:
        return self

    @property
    def key(self) -> int:
        return int(self.row["trial_id"])

    id = key

    @property
    def repetition(self) -> int:
        return int(self.row["repetition"])

    def to_dict(self) -> dict[str, Any]:
        names = ("layer", "target", "variable", "fault", "bit", "bit_field", *RATES)
        said = {name: self.row[name] for name in names if self.row.get(name) is not None}
        return {**said, "parameters": json.loads(self.row["parameters"] or "{}")}


def assert_equal_row(row: Mapping[str, Any], expected: ReferenceResult) -> None:
    assert row["samples"] == SAMPLES
    assert row["sites"] == expected.sites
    assert row["injected"] == len(expected.outcomes)
    assert {one: row[one] for one in OUTCOMES} == {one: expected.count(one) for one in OUTCOMES}
    assert row["sdc_critical"] == expected.sdc_critical
    assert row["due_changed"] == expected.due_changed
    assert row["accuracy"] == pytest.approx(expected.accuracy, abs=1e-12)
    assert row["golden_accuracy"] == pytest.approx(expected.golden_accuracy, abs=1e-12)


COLUMNS = [field for field in Row.__dataclass_fields__ if field != "layer"]

CODES = ("bit", "golden_class", "faulty_class")
"""Columns in which the oracle has -1 for what a table leaves out."""


def sites(rows: Iterable[Iterable[Any]]) -> Counter[tuple[Any, ...]]:
    """Rows of ``COLUMNS``, None for what is not known."""
    return Counter(tuple(None if pd.isna(one) else one for one in row) for row in rows)


def of_oracle(row: Row) -> list[Any]:
    values = {name: getattr(row, name) for name in COLUMNS}
    return [None if name in CODES and one == -1 else one for name, one in values.items()]


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
    run = open_run(tmp_path / "run")
    injections = run.injections() if case.recorded else None
    seen = set()
    for trial_id in run.trials(["trial_id"])["trial_id"]:
        row = run.trial(int(trial_id))
        expected = reference.evaluate(Described(row))
        assert_equal_row(row, expected)
        if injections is not None:
            mine = injections[injections["trial_id"] == trial_id]
            assert {*mine["layer"]} <= {row["layer"]}
            columns = [mine[name].astype(object) for name in COLUMNS]
            assert sites(zip(*columns, strict=True)) == sites(map(of_oracle, expected.rows))
        seen.update(expected.outcomes)
    assert len(seen) >= 3
