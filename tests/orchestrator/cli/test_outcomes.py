"""What the terminal shows of a run: the most critical first, never over several rates."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from orchestrator.cli.outcomes import outcome_tables, ranked_table
from results import Run
from tests.results.report.report_runs import cell_rows, usual_rows, write_run

FEW: dict[str, Any] = {"probability": 0.5}


def printed(what: RenderableType, width: int = 160) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(what)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def rows(lines: list[str], *names: str) -> list[list[str]]:
    return [line.split() for line in lines if line.split()[:1] and line.split()[0] in names]


def test_where_nothing_was_hit_there_is_a_dash(tmp_path: Path) -> None:
    unhit = [
        {**row, "injected": 0, "masked": 0, "sites": 0}
        for row in cell_rows("conv", 0, bit=31, sdc=0)
    ]
    run = write_run(tmp_path / "run", [*unhit, *cell_rows("dense", 1, bit=30, sdc=3)])
    dense, conv = rows(printed(outcome_tables(run)), "conv", "dense")
    # layer, sdc+due with interval, accuracy, sdc, due, injected, trials
    assert conv == ["conv", "-", "90.00%", "-", "-", "0", "2"]
    told = ["8.00%", "(4.11", "to", "15.00)", "87.00%", "6.00%", "2.00%", "100", "2"]
    assert dense == ["dense", *told]


def test_each_rate_has_rows_of_its_own(tmp_path: Path) -> None:
    lines = printed(outcome_tables(write_run(tmp_path / "run", usual_rows())))
    assert "layers, most critical first by sdc+due; 95% intervals" in lines
    assert [row[:4] for row in rows(lines, "conv", "dense")] == [
        ["dense", "p", "=", "0.1"],
        ["conv", "p", "=", "0.1"],
        ["dense", "p", "=", "0.5"],
        ["conv", "p", "=", "0.5"],
    ]
    assert [row[:4] for row in rows(lines, "0", "30", "31")][:3] == [
        ["30", "p", "=", "0.1"],
        ["31", "p", "=", "0.1"],
        ["0", "p", "=", "0.1"],
    ]


def test_the_answer_stands_first(tmp_path: Path) -> None:
    lines = printed(outcome_tables(write_run(tmp_path / "run", usual_rows())))
    assert lines[0].startswith("p = 0.1: `dense` is the most critical layer: ")
    assert lines[2].startswith("p = 0.1: bit 30 is the most critical bit: ")


def test_the_only_rate_is_told_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", cell_rows("dense", 1, bit=30, sdc=3, probability=0.5))
    lines = printed(outcome_tables(run))
    assert "layers, most critical first by sdc+due; p = 0.5; 95% intervals" in lines
    assert not any(line.startswith("bits") for line in lines)  # there is one
    assert lines[-1] == "golden accuracy 90.00%"


def test_exact_rates_are_called_exact(tmp_path: Path) -> None:
    rates = {"probability": None, "sampling": "exhaustive"}
    cell = cell_rows("dense", 1, bit=31, sdc=5, **rates)
    run = write_run(tmp_path / "run", cell, exhaustive={str(cell[0]["cell_id"]): len(cell)})
    lines = printed(outcome_tables(run))
    assert any(line.endswith("exhaustive sites; exact: every site was hit") for line in lines)
    assert rows(lines, "dense")[0][:3] == ["dense", "10.00%", "85.00%"]


def test_of_many_layers_the_worst_are_shown(tmp_path: Path) -> None:
    layers = [row for n in range(25) for row in cell_rows(f"layer{n}", n, bit=31, sdc=n, **FEW)]
    lines = printed(outcome_tables(write_run(tmp_path / "run", layers)))
    shown = [line.split()[0] for line in lines if line.startswith(" layer") and "%" in line]
    assert shown == [f"layer{n}" for n in range(24, 4, -1)]
    assert "20 of 25 rows; `injecttf2 summary RUN --by layer` has all" in lines


def test_each_of_many_rates_keeps_its_worst_layers(tmp_path: Path) -> None:
    many = [
        row
        for probability in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
        for n in range(10)
        for row in cell_rows(f"layer{n}", n, bit=31, sdc=n, probability=probability)
    ]
    run = write_run(tmp_path / "run", many)
    lines = printed(ranked_table(run, ["layer"], shown_rows=20))
    assert sum(line.startswith(" layer9") for line in lines) == 7
    assert "21 of 70 rows; `injecttf2 summary RUN --by layer` has all" in lines


def test_targets_and_faults_are_told_where_they_are_not_the_usual(tmp_path: Path) -> None:
    weights = {"target": "weights", "variable": "kernel", "probability": None, "count": 1}
    stuck = {"fault": "stuck_at", "parameters": '{"value":0}', "bit": None}
    run = write_run(
        tmp_path / "run",
        [
            *cell_rows("dense", 1, bit=31, sdc=3, **weights),
            *cell_rows("dense", 1, sdc=9, **{**weights, **stuck}),
        ],
    )
    lines = printed(outcome_tables(run))
    assert "layers, most critical first by sdc+due; weights; 1 site; 95% intervals" in lines
    assert [row[:4] for row in rows(lines, "dense")] == [
        ["dense", "6.00%", "(0.18", "to"],
        ["dense", "stuck_at", "value=0", "18.00%"],
    ]


def test_rows_can_be_ranked_by_another_metric(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run",
        [*cell_rows("conv", 0, bit=30, sdc=0, **FEW), *cell_rows("dense", 1, bit=31, sdc=9, **FEW)],
    )
    for metric, first in (("due", "conv"), ("sdc", "dense"), ("accuracy_lost", "dense")):
        assert rows(printed(outcome_tables(run, metric=metric)), "conv", "dense")[0][0] == first


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_terminal_has_the_names_and_the_rate(tmp_path: Path, width: int) -> None:
    name = "block_13/expand/depthwise_convolution_with_a_long_name"
    lines = printed(outcome_tables(write_run(tmp_path / "run", usual_rows([name, "dense"]))), width)
    assert max(map(len, lines)) <= width
    names = [line.split()[0] for line in lines if line.startswith(" block_13/")]
    assert [name[-4:] for name in names] == ["name", "name"]


def test_a_run_without_trials_has_none(tmp_path: Path) -> None:
    run: Run = write_run(tmp_path / "run", [])
    assert printed(outcome_tables(run)) == ["No trial is finished yet."]


def test_protections_stand_first_with_how_much_less_is_lost(tmp_path: Path) -> None:
    under = {"protection": "tmr layers=conv", "detected": 0}
    places = (("conv", 0), ("dense", 1))
    bare = [row for place in places for row in cell_rows(*place, bit=31, sdc=20)]
    tmr = [row for place in places for row in cell_rows(*place, bit=31, sdc=5, **under)]
    for row, same in zip(tmr, bare, strict=True):
        row["bare_trial_id"] = same["trial_id"]
    lines = printed(outcome_tables(write_run(tmp_path / "run", [*bare, *tmr])))
    first = lines.index("protections, against the same faults without them; 95% intervals")
    layers = "layers, most critical first by sdc+due; p = 0.5; 95% intervals"
    assert first < lines.index(layers)
    found = rows(lines[first:], "none", "tmr")[:2]
    assert [row[0] for row in found] == ["none", "tmr"]
    assert found[0][1] == "40.00%"
    assert (found[1][2], found[1][6]) == ("10.00%", "75%")


def test_faults_that_only_the_bare_model_has_are_not_what_a_protection_is_against(
    tmp_path: Path,
) -> None:
    bare = [*cell_rows("conv", 0, bit=31, sdc=20), *cell_rows("dense", 1, bit=31, sdc=40)]
    under = {"protection": "tmr layers=conv", "detected": 0}
    tmr = cell_rows("conv", 0, bit=31, sdc=5, **under)
    for row, same in zip(tmr, bare, strict=False):
        row["bare_trial_id"] = same["trial_id"]
    lines = printed(outcome_tables(write_run(tmp_path / "run", [*bare, *tmr])))
    found = [row for row in rows(lines, "none", "tmr") if "%" in "".join(row[:3])][:2]
    assert found[0][1] == "60.00%"
    assert [found[1][at] for at in (2, 6, 7)] == ["10.00%", "40.00%", "75%"]
