"""The sentence that the report and the command line begin with."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from results import Run, RunWriter, open_run, trials_table
from results.report.answer import answer
from results.statistics.intervals import wilson
from tests.results.conftest import Row, run_header
from tests.results.report.report_runs import cell_rows, usual_rows, write_run

LOST = "of injected samples are lost (sdc or due)"


@pytest.fixture
def told(tmp_path: Path) -> Any:
    """Says what is answered of a run with the rows given."""

    folders = (tmp_path / f"run-{number}" for number in count())

    def tell(*rows: list[Row], by: str = "layer", **asked: Any) -> list[str]:
        run = write_run(next(folders), [row for cell in rows for row in cell])
        return answer(run, by, **asked).split("\n")  # type: ignore[arg-type]

    return tell


def cells(*sdc: int, **changes: Any) -> list[Row]:
    """A layer for each number of sdc samples, of 50 in each of two trials: ``a``, ``b``, ..."""
    rows = [cell_rows("abcdef"[at], at, bit=31, sdc=n, **changes) for at, n in enumerate(sdc)]
    return [row for cell in rows for row in cell]


def test_the_most_critical_layer_is_told_with_its_interval(told: Any) -> None:
    assert told(cells(0, 20, 0, 1)) == [
        f"`b` is the most critical layer: 40.00% (30.94 to 49.80) {LOST}, certain against all 3 "
        "others."
    ]
    assert wilson(40, 100) == pytest.approx((0.3094, 0.4980), abs=5e-5)


@pytest.mark.parametrize(
    ("sdc", "sure"),
    [
        ((0, 20), "certain against `a`."),
        ((0, 20, 0), "certain against both others."),
        ((18, 20, 0), "not certain against `a`."),
        ((20, 20, 0), "not certain against `b`."),
        ((20, 18, 0, 17), "not certain against `b` and `d`."),
        ((20, 18, 19, 0, 17), "not certain against `c` and 2 others."),
    ],
)
def test_against_whom_it_is_certain_is_told(told: Any, sdc: tuple[int, ...], sure: str) -> None:
    (line,) = told(cells(*sdc))
    assert line.endswith(f" {LOST}, {sure}")


def test_a_lone_layer_is_not_compared(told: Any) -> None:
    assert told(cells(4)) == [f"`a`: 8.00% (4.11 to 15.00) {LOST}; no other layer was injected."]


def test_due_samples_are_lost_too_unless_sdc_is_asked_for(told: Any) -> None:
    rows = [cell_rows("a", 0, bit=30, sdc=4), cell_rows("b", 1, bit=31, sdc=4)]
    assert told(*rows)[0].startswith("`a` is the most critical layer: 10.00% (5.52 to 17.44) ")
    (line,) = told(*rows, metric="sdc")
    assert line == (
        "`a` is the most critical layer: 8.00% (4.11 to 15.00) of injected samples are sdc, not "
        "certain against `b`."
    )


def test_accuracy_that_is_lost_can_be_told(told: Any) -> None:
    assert told(cells(0, 20), metric="accuracy_lost") == [
        "`b` is the most critical layer: 20.00% of accuracy is lost, certain against `a`."
    ]
    assert told(cells(0), metric="accuracy_lost") == ["No layer loses accuracy."]


def test_bits_are_told_over_all_layers(told: Any) -> None:
    assert told(usual_rows(["a"])[:6], by="bit") == [
        f"Bit 30 is the most critical bit: 42.00% (32.80 to 51.79) {LOST}, certain against both "
        "others."
    ]


def test_fields_are_told_where_bits_were_drawn_from_them(told: Any) -> None:
    drawn = [
        cell_rows("a", 0, bit=None, bit_field=field, sdc=n)
        for field, n in (("exponent", 20), ("mantissa", 0))
    ]
    assert told(*drawn, by="bit") == [
        f"`exponent` is the most critical bit field: 40.00% (30.94 to 49.80) {LOST}, certain "
        "against `mantissa`."
    ]


@pytest.mark.parametrize("field", ["any", None])
def test_without_bits_of_their_own_there_is_no_answer_for_bits(
    told: Any, field: str | None
) -> None:
    assert told(cell_rows("a", 0, bit=None, bit_field=field, sdc=3), by="bit") == [""]


def test_each_of_few_rates_has_its_sentence_and_rates_are_not_pooled(told: Any) -> None:
    low, high = cells(10, 0, probability=0.1), cells(0, 20, probability=0.5)
    assert told(low, high) == [
        f"p = 0.1: `a` is the most critical layer: 20.00% (13.34 to 28.88) {LOST}, certain against "
        "`b`.",
        f"p = 0.5: `b` is the most critical layer: 40.00% (30.94 to 49.80) {LOST}, certain against "
        "`a`.",
    ]


def test_the_same_rate_drawn_in_two_ways_is_told_apart(told: Any) -> None:
    lines = told(cells(10, 0), cells(20, 0, sampling="paired"))
    assert [line.partition(":")[0] for line in lines] == ["p = 0.5 paired", "p = 0.5 random"]


def test_of_many_rates_the_highest_is_told(told: Any) -> None:
    rates = {"probability": None, "ber": 0.0}
    rows = [cells(n, 0, **{**rates, "ber": 10.0**-n}) for n in (6, 5, 4, 2)]
    assert told(*rows) == [
        f"BER 0.01 (the highest of 4 rates): `a` is the most critical layer: 4.00% (1.57 to 9.84) "
        f"{LOST}, not certain against `b`."
    ]


def test_kinds_of_faults_have_a_sentence_each(told: Any) -> None:
    stuck = {"fault": "stuck_at", "parameters": '{"value":1}'}
    weights = {"target": "weights", "variable": "kernel", "probability": None, "count": 1}
    lines = told(cells(20, 0), cells(0, 20, **stuck), cells(20, 20, **weights))
    assert [line.partition(" is the")[0] for line in lines] == [
        "outputs bit_flip, p = 0.5: `a`",
        "outputs stuck_at value=1, p = 0.5: `b`",
        "weights bit_flip, 1 site: `a`",
    ]


def test_of_many_kinds_of_faults_those_that_lose_most_are_told(told: Any) -> None:
    kinds = [
        cells(2 * n, 0, fault="scale", parameters=f'{{"factor":{n}}}', bit_field=None)
        for n in range(1, 7)
    ]
    lines = told(*kinds)
    assert [line.partition(":")[0] for line in lines[:4]] == [
        f"scale factor={n}" for n in (6, 5, 4, 3)
    ]
    assert lines[4:] == ["2 more kinds of faults are not told here."]


def test_variables_are_told_where_there_are_several(told: Any) -> None:
    weights = {"target": "weights", "probability": None, "count": 1}
    rows = [cells(n, **weights, variable=name) for name, n in (("kernel", 20), ("bias", 0))]
    assert told(*rows)[0].startswith("`a kernel` is the most critical layer: 40.00% ")


def test_layers_that_are_hit_together_are_no_layer(told: Any) -> None:
    together = cell_rows("a + b", 2, bit=31, sdc=30)
    assert told(cells(0, 20), together)[0].endswith(", certain against `a`.")
    assert told(together)[0].startswith("`a + b`: 60.00% ")


def test_where_nothing_is_lost_the_upper_bound_is_told(told: Any) -> None:
    assert told(cells(0, 0)) == ["No sdc or due in 200 injected samples: at most 1.88%."]
    assert told(cells(0, 0), by="bit") == [""]
    many = cells(0, injected=500_000, masked=500_000, samples=500_000)
    assert told(many) == ["No sdc or due in 1,000,000 injected samples: at most 3.8 per million."]


def test_each_rate_at_which_nothing_is_lost_says_so(told: Any) -> None:
    assert told(cells(0, 0, probability=0.1), cells(0, 20))[0] == (
        "p = 0.1: no sdc or due in 200 injected samples: at most 1.88%."
    )


def test_nothing_injected_and_nothing_finished_are_told(told: Any) -> None:
    nothing = cells(0, injected=0, masked=0)
    hit = "Nothing was hit: the rates of these trials are 0, or too low for so few samples."
    assert told(nothing) == [hit]
    assert told(nothing, by="bit") == [""]


def test_a_run_without_trials_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [], planned=4)
    assert (answer(run), answer(run, "bit")) == ("No trial is finished yet.", "")


def exhaustive(folder: Path, *sdc: int) -> Run:
    """A run in which every site of the layers is hit once, by ``len(sdc)`` layers of two trials."""
    rows = cells(*sdc, sampling="exhaustive", probability=None)
    sites = {str(row["cell_id"]): 2 for row in rows}
    plan = {"trials": len(rows), "layers": {row["layer"]: 2 for row in rows}, "exhaustive": sites}
    header = replace(run_header(), plan=plan)
    with RunWriter.open(folder, header) as writer:
        writer.append(trials_table(rows), None)
    return open_run(folder)


def test_rates_over_all_sites_are_exact(tmp_path: Path) -> None:
    assert answer(exhaustive(tmp_path / "run", 0, 4)) == (
        f"`b` is the most critical layer: 8.00% (exact) {LOST}, certain against `a`."
    )
    assert answer(exhaustive(tmp_path / "level", 4, 4)) == (
        f"`a` is the most critical layer: 8.00% (exact) {LOST}, level with `b`."
    )
    assert answer(exhaustive(tmp_path / "none", 0, 0)) == (
        "No sdc or due in 200 injected samples: exactly none."
    )


def test_the_only_bit_is_no_answer(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", cell_rows("conv", 0, bit=31, sdc=3))
    assert answer(run, "bit") == ""
    assert answer(run).startswith("`conv`: 6.00% ")
