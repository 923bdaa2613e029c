"""Two runs, or paired cells, compared in the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from results import NothingToShowError, ResultsError, Run
from results.reading.snapshot import Snapshot
from results.report.against import against, paired_cells
from results.report.content import content
from results.report.difference_figures import cell_differences
from tests.results.conftest import Row
from tests.results.report.report_runs import cell_rows, write_run


def rows_of(*sdc: int, repetitions: int = 12, **changes: Any) -> list[Row]:
    """A layer ``a``, ``b``, ... for each number of sdc samples, of 50 in each trial."""
    cells = [
        cell_rows("abcd"[at], at, bit=31, sdc=n, repetitions=repetitions, **changes)
        for at, n in enumerate(sdc)
    ]
    return [row for cell in cells for row in cell]


@pytest.fixture
def two(tmp_path: Path) -> Any:
    """Writes two runs."""

    def write(here: list[Row], there: list[Row]) -> tuple[Snapshot, Snapshot]:
        a = write_run(tmp_path / "here", here)
        return Snapshot(a), Snapshot(write_run(tmp_path / "there", there))

    return write


def test_what_two_runs_lose_is_told_with_the_difference(two: Any) -> None:
    found = against(*two(rows_of(20, 1), rows_of(5, 1)))
    ((ranking, sentence, rows),) = found.layers
    assert sentence == (
        "`here` loses 21.00% (18.79 to 23.40) of injected samples, `there` 6.00% (4.79 to 7.49): "
        "15.00 points less (12.33 to 17.68)."
    )
    assert found.left_out == 0
    assert ranking.rows["place"].tolist() == ["a", "b"]
    assert rows["difference"].tolist() == pytest.approx([-0.3, 0])
    assert found.cells["place"].tolist() == ["a", "b"]
    assert found.cells["certain"].tolist() == [True, False]


def test_runs_that_lose_the_same_are_not_told_apart(two: Any) -> None:
    ((_, sentence, _),) = against(*two(rows_of(20), rows_of(19))).layers
    assert sentence.endswith(": which of them loses more is not certain.")


def test_only_common_cells_are_compared_and_rates_are_apart(two: Any) -> None:
    here = [*rows_of(20, 20, probability=0.1), *rows_of(10, 10)]
    there = [*rows_of(10, probability=0.1), *rows_of(10, 10)]
    found = against(*two(here, there))
    assert found.left_out == 1
    assert [sentence.partition(" (")[0] for _, sentence, _ in found.layers] == [
        "p = 0.1: `here` loses 40.00%",
        "p = 0.5: `here` loses 20.00%",
    ]
    assert [rows["place"].tolist() for _, _, rows in found.layers] == [["a"], ["a", "b"]]
    assert found.cells["place"].tolist()[0] == "a p = 0.1"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"fault": "zero"}, "fault is zero here and bit_flip there"),
        ({"probability": 0.25}, "probability is 0.25 here and 0.5 there"),
        ({"layer": "other"}, "layer is other here and a, b, c and 1 more there"),
    ],
)
def test_runs_without_a_common_cell_are_refused(
    two: Any, change: dict[str, Any], told: str
) -> None:
    here, there = two(rows_of(1, 1, 1, 1), [{**row, **change} for row in rows_of(1)])
    with pytest.raises(ResultsError) as error:
        against(here, there)
    assert error.value.message == f"no cell is in both this run and {here.path}: {told}"
    assert error.value.place == there.path


def test_a_run_without_trials_cannot_be_compared(two: Any) -> None:
    here, there = two(rows_of(1), [])
    with pytest.raises(ResultsError, match="no cell is in both"):
        against(here, there)


def test_the_report_has_a_section_for_the_other_run(two: Any) -> None:
    here, there = two(rows_of(20, 1), rows_of(5, 1))
    page = content(here, there)
    section = page["against"]
    assert section.title == "Against there"
    assert page["sentences"][0][1].startswith("`here` loses 21.00% ")
    assert [plot.name for plot in section.plots] == ["two-runs", "changes"]
    assert section.plots[1].note == "1 of 2 differ certainly, all at once: filled."
    assert section.note == f"The other run is {there.path}. 2 cells are in both."


def test_cells_that_do_not_differ_have_no_figure_but_a_sentence(two: Any) -> None:
    section = content(*two(rows_of(20, 1), rows_of(20, 1)))["against"]
    assert [plot.name for plot in section.plots] == ["two-runs"]
    assert section.note.endswith("2 cells are in both. No cell by itself differs certainly.")


def test_the_surest_cells_are_drawn_in_percentage_points_and_few_others() -> None:
    rows = pd.DataFrame(
        {
            "place": [f"cell {at}" for at in range(50)],
            **dict.fromkeys(("rate_a", "rate_b"), 0.5),
            "difference": -0.25,
            "low": -0.5,
            "high": -0.125,
            "pairs": 0,
            "method": "newcombe",
            "certain": [*[True] * 35, *[False] * 15],
        }
    )
    figure = cell_differences(rows, a="here", b="there")
    (points,) = figure.data
    assert list(points.y) == [f"cell {at}" for at in (*range(30), *range(35, 40))]
    assert set(points.x) == {-25}
    assert (points.error_x.array[0], points.error_x.arrayminus[0]) == (12.5, 25)
    assert figure.layout.xaxis.title.text == "difference of what is lost, in percentage points"
    few = cell_differences(rows[30:], a="here", b="there")
    assert list(few.data[0].marker.symbol) == ["circle"] * 5 + ["circle-open"] * 5


def paired(folder: Path) -> Run:
    """Two faults at the same sites, in two layers."""
    same = {"sampling": "paired", "repetitions": 12}
    return write_run(
        folder / "run",
        [
            *cell_rows("a", 0, bit=31, sdc=20, **same),
            *cell_rows("a", 0, bit=31, sdc=5, fault="zero", **same),
            *cell_rows("b", 1, bit=31, sdc=5, **same),
            *cell_rows("b", 1, bit=31, sdc=5, fault="zero", **same),
        ],
    )


def test_paired_cells_are_compared_trial_by_trial(tmp_path: Path) -> None:
    of, rows = paired_cells(Snapshot(paired(tmp_path)))
    assert of == "fault"
    assert rows["place"].tolist() == ["a bit_flip → zero", "b bit_flip → zero"]
    assert rows["difference"].tolist() == pytest.approx([-0.3, 0])
    assert rows["pairs"].tolist() == [12, 12]
    assert rows["certain"].tolist() == [True, False]


def test_many_bits_are_compared_with_the_one_that_loses_most(tmp_path: Path) -> None:
    rows = [
        row
        for bit, sdc in ((31, 2), (30, 20), (29, 3), (28, 4), (27, 5))
        for row in cell_rows("a", 0, bit=bit, sdc=sdc, sampling="paired", repetitions=12)
    ]
    of, found = paired_cells(Snapshot(write_run(tmp_path / "run", rows)))
    assert (of, set(found["place"])) == (
        "bit",
        {f"a bit 30 → {bit}" for bit in (31, 29, 28, 27)},
    )


def test_cells_that_share_no_sites_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(NothingToShowError, match="No cells share their sites"):
        paired_cells(Snapshot(write_run(tmp_path / "run", rows_of(20, 5))))


def test_the_report_has_a_section_for_paired_cells(tmp_path: Path) -> None:
    sections = content(Snapshot(paired(tmp_path)))["sections"]
    assert [section.name for section in sections] == ["accuracy", "paired"]


def test_paired_cells_that_do_not_differ_have_a_sentence_alone(tmp_path: Path) -> None:
    same = {"sampling": "paired", "bit": 31, "sdc": 5}
    rows = [*cell_rows("a", 0, **same), *cell_rows("a", 0, fault="zero", **same)]
    section = content(Snapshot(write_run(tmp_path / "run", rows)))["sections"][-1]
    assert (section.name, section.plots) == ("paired", ())
    assert section.note.endswith("with 95% intervals. None of the 1 differs certainly.")
