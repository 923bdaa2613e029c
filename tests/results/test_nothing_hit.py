"""Where no sample was hit there is no rate: a dash, and the reason that it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from results import NothingToShowError, ResultsError, Run, RunWriter, open_run
from results.reading.snapshot import Snapshot
from results.report import figures
from results.report import plot_data as views
from results.report.content import content
from results.report.rankings import rankings
from tests.results.conftest import Row
from tests.results.report.report_runs import cell_rows, write_run

REASON = "Nothing was hit: the rates of these trials are 0, or too low for so few samples."


def unhit(layer: str = "conv", index: int = 0, *, bit: int | None = 31) -> list[Row]:
    rows = cell_rows(layer, index, bit=bit, sdc=0, probability=0.0)
    return [{**row, "injected": 0, "masked": 0, "due": 0, "sites": 0} for row in rows]


@pytest.mark.parametrize("make", [figures.bit_heatmap, figures.accuracy, figures.criticality])
def test_the_reason_is_that_nothing_was_hit(make: Callable[[Run], object], tmp_path: Path) -> None:
    with pytest.raises(NothingToShowError) as error:
        make(write_run(tmp_path / "run", unhit()))
    assert error.value.message == REASON


def test_layers_that_nothing_hit_have_no_rank_beside_others_that_have(tmp_path: Path) -> None:
    rows = [*unhit(), *cell_rows("dense", 1, bit=None, sdc=3)]
    (one,) = rankings(write_run(tmp_path / "run", rows), "layer")
    assert one.rows["place"].tolist() == ["dense"]


def test_nothing_that_was_recorded_is_not_a_record_that_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write_run(folder, unhit())
    header = open_run(folder).header
    recorded = replace(header, campaign={**header.campaign, "record": "injections"})
    RunWriter.open(folder, recorded).close()
    run = open_run(folder)
    for make in (views.drift, views.worst_layer):
        with pytest.raises(NothingToShowError) as error:
            make(run)
        assert error.value.message == REASON
    with pytest.raises(ResultsError, match="no finished trial has hit anything"):
        run.class_drift()
    with pytest.raises(ResultsError, match="no finished trial has hit anything"):
        run.vulnerability_map("conv")


def test_the_report_says_so_and_has_a_dash(tmp_path: Path) -> None:
    page = content(Snapshot(write_run(tmp_path / "run", unhit())))
    assert page["sentences"] == [(0, REASON)]
    assert (page["first"], page["sections"]) == ([], [])
    columns = {column["name"]: column for column in page["tables"]["cells"]["columns"]}
    assert columns["injected"]["values"] == [0]
    assert columns["sdc+due_rate"]["values"] == [None]
