"""What a terminal or a notebook shows of runs and frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from results import Run, brief
from tests.results.report.report_runs import usual_rows, write_run

Table = Callable[..., pa.Table]
Make = Callable[..., Run]


def test_a_run_tells_its_state_and_the_answer(made: Make, trials: Table) -> None:
    plan = {"trials": 4, "layers": {"conv2d": 2, "dense": 2}}
    opened = made(trials(0, 16), plan=plan)
    said, *told = repr(opened).splitlines()
    assert said == f"Run({opened.path!r})"
    assert told[0] == "  2 of 4 trials done, 2 layers"
    assert told[1].startswith("  No layer is") or "`" in told[1]


def test_a_notebook_shows_layers_and_nothing_that_is_html(made: Make, trials: Table) -> None:
    plan = {"trials": 1, "layers": {"<i>": 1}}
    shown = made(trials(0, layer="<i>"), plan=plan)._repr_html_()
    assert "1 of 1 trials done, 1 layer" in shown
    assert "<th>layer</th><th>injected</th><th>sdc or due</th>" in shown
    assert "<code>&lt;i&gt;</code>" in shown
    assert "`" not in shown
    assert "<i>" not in shown


def test_a_notebook_shows_ten_layers_of_the_rate_that_the_report_begins_with(
    tmp_path: Path,
) -> None:
    opened = write_run(tmp_path / "run", usual_rows([f"layer_{at}" for at in range(12)]))
    shown = opened._repr_html_()
    assert shown.count("<table>") == 1
    assert "<caption>p = 0.5, 2 more layers</caption>" in shown
    assert shown.count("<tr>") == 1 + 10


def test_a_run_without_trials_is_told_too(made: Make, trials: Table) -> None:
    opened = made(trials(), plan={"trials": 4, "layers": {"dense": 4}})
    assert repr(opened).splitlines()[1:] == [
        "  0 of 4 trials done, 1 layer",
        "  No trial is finished yet.",
    ]
    assert "<table>" not in opened._repr_html_()


def test_frames_are_told_within_80_characters(made: Make, trials: Table) -> None:
    opened = made(trials(*range(8)), trials(16, 18))
    for frame in (
        opened.summary(),
        opened.criticality(),
        opened.differences(),
        opened.summary(["layer", "fault", "bit", "probability"]),
    ):
        assert max(map(len, brief(frame).to_string().splitlines())) <= 80
    columns = ["layer", "bit", "sdc rate", "sdc+due rate", "rank"]
    assert brief(opened.criticality()).columns.tolist() == columns
    assert brief(opened.criticality()).index.tolist() == opened.criticality().index.tolist()
    row = opened.summary("layer").iloc[0]
    first = brief(opened.summary("layer"))["sdc+due rate"][0]
    assert first.startswith(f"{100 * row['sdc+due_rate']:.2f}% (")


def test_an_empty_frame_stays_empty(made: Make, trials: Table) -> None:
    assert len(brief(made(trials()).summary())) == 0
