"""A run that has columns of metrics and criteria, from writing to reading."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results import (
    TRIALS,
    LayerStatus,
    RunCorruptError,
    RunHeader,
    RunMismatchError,
    RunWriter,
    compact,
    open_run,
    trials_schema,
    wilson,
)
from results.writing import compaction

Table = Callable[..., pa.Table]

COLUMNS = ("metric_error", "metric_top5_accuracy", "sdc_confidence_0.5", "sdc_confidence_10")
"""Two of the names are the same up to the point, which Parquet has a meaning for."""


@pytest.fixture
def header(header: RunHeader) -> RunHeader:
    return replace(header, columns=COLUMNS[::-1])


@pytest.fixture
def measured(trials: Table) -> Table:
    """A table of trials with the metrics and criteria given, others as they come."""

    def make(*numbers: int, **changes: object) -> pa.Table:
        values: dict[str, object] = dict(zip(COLUMNS, (0.25, 0.5, 3, 4), strict=True))
        return trials(*numbers, **(values | changes))

    return make


@pytest.fixture
def path(tmp_path: Path, header: RunHeader, measured: Table) -> Path:
    """24 trials in parts of 4, the first two of which are doubled."""
    with RunWriter.open(tmp_path / "run", header, flush_seconds=0) as writer:
        for start in range(0, 24, 4):
            writer.append(measured(*range(start, start + 4), metric_error=float(start)))
        writer.append(measured(0, 1, metric_error=0.0))
    return tmp_path / "run"


def test_header_keeps_columns_in_alphabetical_order(path: Path, header: RunHeader) -> None:
    assert header.columns == COLUMNS
    assert header.schema.equals(trials_schema(COLUMNS))
    assert json.loads((path / "campaign.json").read_text())["columns"] == list(COLUMNS)
    assert open_run(path).header == header


@pytest.mark.parametrize("columns", [["accuracy"], ["sdc_critical"], "metric_a"])
def test_header_refuses_other_names(header: RunHeader, columns: list[str]) -> None:
    with pytest.raises(ValueError, match=r"names no column of a metric|would be there twice"):
        replace(header, columns=columns)


def test_parts_and_frame_end_with_the_columns(path: Path) -> None:
    names = [*TRIALS.names, *COLUMNS]
    for part in (path / "trials").iterdir():
        assert pq.read_schema(part).names == names
    trials = open_run(path).trials()
    assert trials.columns.tolist() == names
    assert trials.dtypes.astype(str).tolist()[-4:] == ["float64"] * 2 + ["int64"] * 2
    assert trials["metric_error"].sum() == 4 * (0 + 4 + 8 + 12 + 16 + 20)
    assert trials["sdc_confidence_10"].tolist() == [4] * 24


def test_columns_can_be_chosen(path: Path) -> None:
    chosen = open_run(path).trials(["sdc_confidence_0.5", "bit"])
    assert chosen.columns.tolist() == ["sdc_confidence_0.5", "bit"]
    assert chosen["sdc_confidence_0.5"].tolist() == [3] * 24
    with pytest.raises(ValueError, match="'metric_eror', expected one of: metric_error"):
        open_run(path).trials(["metric_eror"])


def test_trial_tells_its_metrics(path: Path, trial_id: Callable[[int], int]) -> None:
    row = open_run(path).trial(trial_id(5))
    assert list(row) == [*TRIALS.names, *COLUMNS]
    assert [row[name] for name in COLUMNS] == [4.0, 0.5, 3, 4]


def test_status_counts_the_trials(path: Path) -> None:
    status = open_run(path).status()
    assert (status.done, status.unreadable) == (24, ())
    assert status.layers["dense"] == LayerStatus(planned=16, done=8)


def test_infinite_metric_stays_infinite(tmp_path: Path, header: RunHeader, measured: Table) -> None:
    with RunWriter.open(tmp_path, header) as writer:
        writer.append(measured(0, metric_error=math.inf))
        writer.append(measured(1, 2, metric_error=1.5))
        writer.append(measured(3, metric_error=-math.inf))
    run = open_run(tmp_path)
    assert run.trials()["metric_error"].tolist() == [1.5, -math.inf, math.inf, 1.5]
    assert run.summary("bit")["metric_error"].tolist()[1] == math.inf
    assert run.summary("repetition")["metric_error"].tolist() == [math.inf, -math.inf]
    compact(tmp_path)
    assert run.trials()["metric_error"].tolist() == [1.5, -math.inf, math.inf, 1.5]


def test_summary_has_means_of_metrics_and_rates_of_criteria(
    tmp_path: Path, header: RunHeader, measured: Table
) -> None:
    with RunWriter.open(tmp_path, header) as writer:
        writer.append(measured(0, metric_error=0.5, **{"sdc_confidence_0.5": 1}))
        writer.append(measured(1, metric_error=1.0, **{"sdc_confidence_0.5": 6}))
        writer.append(measured(2, metric_error=-3.0, **{"sdc_confidence_0.5": 0}))
    summary = open_run(tmp_path).summary("bit")
    rated = [f"{name}{end}" for name in COLUMNS[2:] for end in ("", "_rate", "_low", "_high")]
    assert summary.columns.tolist()[-12:] == ["sdc+due_high", *COLUMNS[:2], *rated, "method"]
    assert summary["bit"].tolist() == [30, 31]
    assert summary["metric_error"].tolist() == [-3.0, 0.75]
    assert summary["metric_top5_accuracy"].tolist() == [0.5, 0.5]
    assert summary["sdc_confidence_0.5"].tolist() == [0, 7]
    assert summary["sdc_confidence_0.5_rate"].tolist() == [0.0, 7 / 12]
    for row, met in ((0, 0), (1, 7)):
        bounds = summary.loc[row, ["sdc_confidence_0.5_low", "sdc_confidence_0.5_high"]]
        assert tuple(bounds) == wilson(met, 6 * (1 + row))
    assert summary["sdc"].tolist() == [2, 4]


def test_criteria_without_injections_have_no_rate(
    tmp_path: Path, header: RunHeader, measured: Table
) -> None:
    outcomes = (
        "injected",
        "masked",
        "benign",
        "sdc",
        "sdc_critical",
        "due",
        "due_changed",
        *COLUMNS[2:],
    )
    with RunWriter.open(tmp_path, header) as writer:
        writer.append(measured(0, **dict.fromkeys(outcomes, 0)))
    row = open_run(tmp_path).summary("layer").iloc[0]
    assert row["sdc_confidence_10"] == 0
    assert np.isnan([row[f"sdc_confidence_10_{end}"] for end in ("rate", "low", "high")]).all()
    assert row["metric_error"] == 0.25


@pytest.mark.parametrize("by", COLUMNS)
def test_metrics_and_criteria_are_no_groups(path: Path, by: str) -> None:
    with pytest.raises(ValueError, match=f"by names '{by}'"):
        open_run(path).summary(["layer", by])


def test_merged_parts_have_the_same_rows(
    path: Path, header: RunHeader, measured: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "TRIAL_ROWS", 16)
    before = [open_run(path).trials(), open_run(path).summary()]
    assert compact(path).merged == 2
    for part in (path / "trials").iterdir():
        assert pq.read_schema(part).names == [*TRIALS.names, *COLUMNS]
    after = [open_run(path).trials(), open_run(path).summary()]
    for one, other in zip(after, before, strict=True):
        pd.testing.assert_frame_equal(one, other)
    with RunWriter.open(path, header) as writer:
        assert len(writer.done_ids()) == 24
        writer.append(measured(24))
    assert len(open_run(path).trials()) == 25


def test_writer_merges_many_parts_with_the_columns(
    tmp_path: Path, header: RunHeader, measured: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "MANY_PARTS", 3)
    with RunWriter.open(tmp_path, header, flush_seconds=0) as writer:
        for number in range(6):
            writer.append(measured(number, metric_error=float(number)))
        assert writer.warnings == []
    assert len(list((tmp_path / "trials").iterdir())) < 6
    assert sorted(open_run(tmp_path).trials()["metric_error"]) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("keep", "message"),
    [(COLUMNS[:3], "column sdc_confidence_10 is missing"), ((), "column metric_error is missing")],
)
def test_rows_without_the_columns_are_not_taken(
    path: Path, header: RunHeader, measured: Table, keep: tuple[str, ...], message: str
) -> None:
    with RunWriter.open(path, header) as writer:
        with pytest.raises(ValueError, match=message):
            writer.append(measured(30).select([*TRIALS.names, *keep]))
        assert len(writer.done_ids()) == 24


def test_rows_with_other_columns_are_not_taken(
    tmp_path: Path, header: RunHeader, measured: Table
) -> None:
    with (
        RunWriter.open(tmp_path, replace(header, columns=())) as writer,
        pytest.raises(ValueError, match="column metric_error is unknown"),
    ):
        writer.append(measured(0))


def test_same_metrics_in_another_order_go_on(path: Path, header: RunHeader) -> None:
    with RunWriter.open(path, replace(header, columns=COLUMNS)) as writer:
        assert len(writer.done_ids()) == 24


def test_other_metrics_are_told_as_the_identity_tells_them(path: Path, header: RunHeader) -> None:
    """The identity that the engine makes has lists and mappings in it."""
    metrics = [{"type": "mean_squared_error"}]
    other = replace(
        header, identity={**header.identity, "metrics": metrics}, columns=("metric_other",)
    )
    with pytest.raises(RunMismatchError) as caught:
        RunWriter.open(path, other)
    assert caught.value.differences == {"metrics": ("absent", metrics)}


def test_identity_with_lists_is_recognised_again(
    tmp_path: Path, header: RunHeader, measured: Table
) -> None:
    judged = {"metrics": ({"type": "top5_accuracy", "k": 5},), "judge": {"type": "top1"}}
    header = replace(header, identity={**header.identity, **judged})
    with RunWriter.open(tmp_path, header) as writer:
        writer.append(measured(0))
    compact(tmp_path)
    with RunWriter.open(tmp_path, header) as writer:
        assert len(writer.done_ids()) == 1
    assert len(open_run(tmp_path).trials()) == 1


def test_metric_that_was_renamed_is_told(path: Path, header: RunHeader) -> None:
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(RunMismatchError, match="Choose another --output") as caught:
        RunWriter.open(path, replace(header, columns=("metric_mine", *COLUMNS[1:])))
    assert caught.value.differences == {
        "columns": (list(COLUMNS), ["metric_mine", *COLUMNS[1:]]),
    }
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_torn_manifest_is_written_anew_with_the_columns(
    path: Path, header: RunHeader, measured: Table
) -> None:
    (path / "campaign.json").write_text('{"schema_ver')
    with pytest.raises(RunCorruptError, match="lacks the columns metric_z"):
        RunWriter.open(path, replace(header, columns=(*COLUMNS, "metric_z")))
    with RunWriter.open(path, header) as writer:
        assert len(writer.done_ids()) == 24
    assert open_run(path).header == header
