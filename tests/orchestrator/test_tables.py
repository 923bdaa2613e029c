"""What the commands print: rates, and a dash where nothing was hit."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from orchestrator.tables import outcome_table
from tests.results.report_runs import cell_rows, write_run


def test_where_nothing_was_hit_there_is_a_dash(tmp_path: Path) -> None:
    unhit = [
        {**row, "injected": 0, "masked": 0, "sites": 0}
        for row in cell_rows("conv", 0, bit=31, sdc=0, probability=0.0)
    ]
    write_run(tmp_path / "run", [*unhit, *cell_rows("dense", 1, bit=30, sdc=3)])
    console = Console(file=io.StringIO(), width=120)
    console.print(outcome_table(str(tmp_path / "run")))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    conv, dense = (line.split() for line in lines if line.split()[:1] in (["conv"], ["dense"]))
    # layer, bits, trials, injected, accuracy, sdc, sdc %, due, due %
    assert conv == ["conv", "sign", "2", "0", "90.00%", "0", "-", "0", "-"]
    assert dense == ["dense", "exponent", "2", "100", "87.00%", "6", "6.00%", "2", "2.00%"]
