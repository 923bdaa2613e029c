"""Commands that ask a run: rankings, trials to replay, and differences between runs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from results import compare
from tests.orchestrator.conftest import Command
from tests.results.report.report_runs import cell_rows, usual_rows, write_run

SINGLE = ("seconds", "cell_id", "repetition", "worker", "finished_at", "trial_id")
"""Columns that tell trials apart: no groups."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", usual_rows())
    return tmp_path / "run"


def test_summary_ranks_what_it_is_asked_for(injecttf2: Command, folder: Path) -> None:
    ended = injecttf2("summary", folder, "--by", "layer, bit", "--sort", "due", "--limit", 2)
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0].rstrip() == "layers and bits, most critical first by due; 95% intervals"
    assert next(line.split()[:5] for line in lines if line.startswith((" conv", " dense"))) == [
        *("conv", "30", "p", "=", "0.1")
    ]
    assert lines[-1] == "4 of 12 rows; `injecttf2 summary RUN --by layer,bit` has all"


def test_summary_json_has_all_columns(injecttf2: Command, folder: Path) -> None:
    ended = injecttf2("summary", folder, "--json")
    assert [(row["probability"], row["layer"], row["rank"]) for row in ended.json] == [
        (0.1, "dense", 1),
        (0.1, "conv", 2),
        (0.5, "dense", 1),
        (0.5, "conv", 2),
    ]
    assert ended.json[0]["sdc"] == 46


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--by", "layr"),
            "error: by names 'layr', expected one of: layer, layer_index, layer_type, target, "
            "variable, fault, bit, bit_field, parameters, probability, count, ber, sampling, "
            "protection, sites, listed_as.\n",
        ),
        *((("--by", f"layer,{name}"), f"by names '{name}', expected one of: ") for name in SINGLE),
        (("--by", ""), "by names ''"),
        (("--sort", "sdx"), "Invalid value for '--sort': received 'sdx'; expected sdc, due, "),
        (("--sort", "sdc_top5"), "metric names 'sdc_top5', expected one of: sdc"),
    ],
)
def test_what_a_run_cannot_be_asked_is_refused(
    injecttf2: Command, folder: Path, options: tuple[str, ...], message: str
) -> None:
    ended = injecttf2("summary", folder, *options)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_trials_with_most_of_an_outcome_come_first(injecttf2: Command, folder: Path) -> None:
    ended = injecttf2("trials", folder, "--outcome", "sdc", "--layer", "conv", "--json")
    assert [row["sdc"] for row in ended.json] == [20, 20, 20, 20, 2, 2, 2, 2]
    assert {row["layer"] for row in ended.json} == {"conv"}
    ids = [str(row["trial_id"]) for row in cell_rows("conv", 0, bit=30, sdc=20, probability=0.1)]
    assert [row["trial_id"] for row in ended.json][:2] == ids  # texts: numbers would be rounded
    ended = injecttf2("trials", folder, "--bit", 30, "--limit", 3)
    assert ended.out.count("p = 0.") == 3
    assert ended.out.splitlines()[-1].startswith("3 of 8 trials; `injecttf2 replay RUN TRIAL_ID`")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--layer", "dens"), "the run has no trial with the layer 'dens'; did you mean 'dense'"),
        (("--bit", 29), "the run has no trial with the bit 29"),
        (
            ("--outcome", "sdcs"),
            "error: outcome names 'sdcs', expected one of: sdc, masked, benign, due.\n",
        ),
    ],
)
def test_trials_that_a_run_has_not_are_refused(
    injecttf2: Command, folder: Path, options: tuple[str, ...], message: str
) -> None:
    ended = injecttf2("trials", folder, *options)
    assert ended.code == 2
    assert message in ended.err


def test_two_runs_are_compared_cell_by_cell(injecttf2: Command, folder: Path) -> None:
    worse = [
        row
        for layer, sdc in (("conv", 45), ("dense", 21))
        for probability in (0.1, 0.5)
        for row in cell_rows(layer, 0, bit=30, sdc=sdc, probability=probability)
    ]
    other = folder.parent / "other"
    b = write_run(other, worse)
    ended = injecttf2("compare", folder, other)
    lines = [line.rstrip() for line in ended.out.splitlines()]
    assert lines[:2] == [
        "of 4 cells in both runs 2 certainly have a higher rate of sdc+due in the second, 0 a "
        "lower one",
        "8 cells are only in the first run",
    ]
    first = next(line.split() for line in lines if line.startswith(" conv"))
    assert first[:7] == ["conv", "p", "=", "0.1", "42.00%", "92.00%", "+50.00"]
    from results import open_run

    expected = compare(open_run(folder), b)
    rows = pd.DataFrame(injecttf2("compare", folder, other, "--json").json)
    assert rows["difference"].tolist()[:1] == expected["difference"].tolist()[:1]
    ended = injecttf2("compare", folder, other, "--metric", "sdcs")
    assert (ended.code, "metric names 'sdcs'" in ended.err) == (2, True)


def test_runs_without_common_cells_are_refused_as_a_report_refuses_them(
    injecttf2: Command, folder: Path
) -> None:
    other = folder.parent / "other"
    write_run(other, cell_rows("head", 0, bit=30, sdc=5, probability=0.1))
    ended = injecttf2("compare", folder, other)
    assert (ended.code, ended.out, ended.err) == (
        2,
        "",
        f"error: {other}: no cell is in both this run and {folder}: layer is head here and conv, "
        "dense there\n"
        "  Compare runs of the same campaign: layers, faults, bits and rates have to be the "
        "same.\n",
    )
    assert injecttf2("compare", folder, other, "--json") == ended
    assert injecttf2("report", folder, "--against", other) == ended


def test_a_run_is_compared_with_published_outcomes(injecttf2: Command, tmp_path: Path) -> None:
    weights = {"target": "weights", "variable": "kernel", "probability": None}
    write_run(
        tmp_path / "run",
        cell_rows("dense", 0, bit=31, sdc=5, repetitions=1, listed_as="0", **weights),
    )
    file = tmp_path / "published.csv"
    file.write_text("trial,layer,bit,n_injections,critical\n0,dense,31,1000,90\n")
    ended = injecttf2("compare", tmp_path / "run", file)
    assert "31       1 10.0000" in ended.out
    assert injecttf2("compare", tmp_path / "run", file, "--json").json[0]["published"] == 0.09
    ended = injecttf2("compare", tmp_path / "run", tmp_path / "gone.csv")
    assert (ended.code, "cannot be read" in ended.err) == (2, True)
