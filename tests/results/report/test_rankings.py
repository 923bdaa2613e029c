"""Which of a run's rankings is shown first."""

from __future__ import annotations

from pathlib import Path

from results.report.rankings import rankings, shown_first
from tests.results.report.report_runs import cell_rows, write_run


def test_what_nothing_protects_is_shown_first(tmp_path: Path) -> None:
    under = {"protection": "ecc target=outputs", "detected": 0}
    rows = [
        *cell_rows("conv", 0, bit=31, sdc=5),
        *cell_rows("conv", 0, bit=31, sdc=40, **under),
    ]
    found = rankings(write_run(tmp_path / "run", rows), "layer")
    assert [one.label for one in found] == ["no protection", "ecc target=outputs"]
    assert shown_first(found) == 0
    assert shown_first([]) == 0
