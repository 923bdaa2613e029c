"""What the commands print of a run: whether it is at work, and what contradicts itself."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.cli.tables import status_table, summary_lines
from orchestrator.planning.adaptive_sampling import CellsReached
from orchestrator.session.session import Summary
from results import open_run
from tests.results.report.report_runs import cell_rows, write_run


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (1, "running with 2 workers: process 7 on h, heartbeat 60 s ago"),
        (
            60,
            "not running: process 7 on h has been silent, heartbeat 60 min ago; the same command ",
        ),
        (-1, "running with 2 workers: process 7 on h, heartbeat 60 s ahead of the clock here"),
        (-60, "running or not: process 7 on h said so, heartbeat 60 min ahead of the clock here; "),
    ],
)
def test_status_says_what_the_heartbeat_shows_of_a_run_at_work(
    tmp_path: Path, minutes: int, said: str
) -> None:
    run = write_run(tmp_path / "run", cell_rows("conv", 0, bit=31, sdc=0), planned=4)
    heartbeat = {"host": "h", "pid": 7, "state": "running", "workers": 2}
    heartbeat["at"] = run.created_at.isoformat()
    (tmp_path / "run" / "heartbeat.json").write_text(json.dumps(heartbeat))
    status = open_run(tmp_path / "run").status(run.created_at + timedelta(minutes=minutes))
    console = Console(file=io.StringIO(), width=160)
    console.print(status_table("run", status))
    assert said in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_trial_with_two_results_is_told_by_the_status(tmp_path: Path) -> None:
    write_run(tmp_path / "run", cell_rows("dense", 1, bit=30, sdc=3))
    status = open_run(tmp_path / "run").status()
    assert status.contradiction is None
    console = Console(file=io.StringIO(), width=120)
    console.print(status_table("run", replace(status, contradiction="trial 7 is there\n  Move")))
    assert "trial 7 is there\n  Move\n" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "8 cells: 40 trials, 4 to 6 each; sdc: widest half width 0.980%, asked 1.000%"),
        ({"fewest": 5, "most": 5}, "8 cells: 40 trials, 5 each; sdc: widest half width 0.980%, "),
        ({"margin": None, "asked": None}, "8 cells: 40 trials, 4 to 6 each"),
    ],
)
def test_a_run_says_how_well_cells_are_known_and_what_that_took(
    changes: Mapping[str, Any], said: str
) -> None:
    reached = CellsReached("sdc", 8, 40, 4, 6, 0.0098, 0.01)._replace(**changes)
    console = Console(file=io.StringIO(), width=200)
    console.print(summary_lines("run", Summary(40, 40, 0, cells_reached=reached)))
    assert console.file.getvalue().splitlines()[1].startswith(said)  # type: ignore[attr-defined]
