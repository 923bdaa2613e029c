"""The rows of a run against the oracle, which is given nothing but what a row says of its trial."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from results import open_run
from results.run_folder.schema import OUTCOMES
from tests.reference import RATES, Reference, ReferenceResult, Row


@dataclass(frozen=True)
class Described:
    """A trial by nothing but what its row says of it.

    Args:
        row: The row.
    """

    row: Mapping[str, Any]

    @property
    def cell(self) -> Described:
        return self

    @property
    def key(self) -> int:
        """The key of its draws: its id, under a protection that of the trial without it."""
        bare = self.row["bare_trial_id"]
        return self.id if bare is None else int(bare)

    @property
    def id(self) -> int:
        return int(self.row["trial_id"])

    @property
    def repetition(self) -> int:
        return int(self.row["repetition"])

    def to_dict(self) -> dict[str, Any]:
        names = ("layer", "target", "variable", "fault", "bit", "bit_field", *RATES)
        said = {name: self.row[name] for name in names if self.row.get(name) is not None}
        parameters = json.loads(self.row["parameters"] or "{}")
        return {**said, "parameters": parameters, "protection": protection_of(self.row)}


def protection_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the column ``protection`` says: type and parameters; empty for none."""
    if row["protection"] is None:
        return {}
    name, *words = row["protection"].split(" ")
    told: dict[str, Any] = {"type": name}
    for key, value in (word.split("=") for word in words):
        told[key] = value.split(",") if key == "layers" else value
    return {key: int(one) if str(one).isdecimal() else one for key, one in told.items()}


def assert_equal_run(folder: Path, reference: Reference, *, recorded: bool = True) -> set[str]:
    """Compare all trials of a run, and its sites if they are recorded; return the outcomes."""
    run = open_run(folder)
    injections = run.injections() if recorded else None
    seen: set[str] = set()
    for trial_id in run.trials(["trial_id"])["trial_id"]:
        row = run.trial(int(trial_id))
        expected = reference.evaluate(Described(row))
        _assert_equal_row(row, expected, len(reference.labels))
        if injections is not None:
            mine = injections[injections["trial_id"] == trial_id]
            columns = [mine[name].astype(object) for name in COLUMNS]
            where = row["layer"].split(" + ")
            theirs = [_of_oracle(one, where) for one in expected.rows]
            assert _sites(zip(*columns, strict=True)) == _sites(theirs), row["layer"]
        seen.update(expected.outcomes)
    return seen


def _assert_equal_row(row: Mapping[str, Any], expected: ReferenceResult, samples: int) -> None:
    where = row["layer"]
    assert row["samples"] == samples
    assert row["sites"] == expected.sites, where
    assert row["injected"] == len(expected.outcomes), where
    counts = {one: expected.count(one) for one in OUTCOMES}
    assert {one: row[one] for one in OUTCOMES} == counts, where
    assert row["sdc_critical"] == expected.sdc_critical, where
    assert row["detected"] == (None if row["protection"] is None else expected.detected), where
    assert row["due_changed"] == expected.due_changed, where
    assert row["accuracy"] == pytest.approx(expected.accuracy, abs=1e-12), where
    assert row["golden_accuracy"] == pytest.approx(expected.golden_accuracy, abs=1e-12)


COLUMNS = [*Row.__dataclass_fields__]

CODES = ("bit", "golden_class", "faulty_class")
"""Columns in which the oracle has -1 for what a table leaves out."""


def _sites(rows: Iterable[Iterable[Any]]) -> Counter[tuple[Any, ...]]:
    """Rows of ``COLUMNS``, None for what is not known."""
    return Counter(tuple(None if pd.isna(one) else one for one in row) for row in rows)


def _of_oracle(row: Row, layers: list[str]) -> list[Any]:
    values = {name: getattr(row, name) for name in COLUMNS} | {"layer": layers[row.layer]}
    return [None if name in CODES and one == -1 else one for name, one in values.items()]
