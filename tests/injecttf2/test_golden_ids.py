"""Ids of trials of all kinds stay: a run of an earlier version can be gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from injecttf2.judging import Assessment
from injecttf2.trial import Cell, CellTrials, Identity
from tests.golden_set import NETWORKS, cells
from tests.injecttf2.judging.test_judged_cells import CASES

RECORDED = Path(__file__).with_name("golden_ids.json")


def test_ids_are_those_that_were_recorded(pytestconfig: pytest.Config) -> None:
    _, _, layer, in_weights = NETWORKS["cnn"]
    kinds = [*cells([layer, "pool", "logits"], in_weights)]
    found = {json.dumps(cell.to_dict(), sort_keys=True): id_of(cell) for cell in kinds}
    for name, case in CASES.items():
        found[f"judge {name}"] = id_of(kinds[0], case.assessment)
    if pytestconfig.getoption("write_tables"):
        RECORDED.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(RECORDED.read_text())


def id_of(cell: Cell, assessment: Assessment | None = None) -> str:
    judge = assessment.identity() if assessment else {}
    (trial,) = CellTrials(cell, 4, 5).trials(Identity("m" * 32, "d" * 32, seed=7, judge=judge))
    return str(trial.id)
