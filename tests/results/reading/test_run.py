import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results import (
    PURE_COLUMNS,
    TRIALS,
    ResultsError,
    ResultsWarning,
    RunCorruptError,
    RunHeader,
    RunNotFoundError,
    RunWriter,
    TrialNotFoundError,
    open_run,
)
from tests.results.conftest import given_up_of

Table = Callable[..., pa.Table]
Id = Callable[[int], int]


@pytest.fixture
def path(tmp_path: Path, header: RunHeader) -> Path:
    RunWriter.open(tmp_path / "run", header).close()
    return tmp_path / "run"


def test_missing_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="Give the folder that"):
        open_run(tmp_path)


def test_run_tells_its_header(path: Path, header: RunHeader) -> None:
    run = open_run(str(path))
    assert run.header == header
    assert run.campaign == header.campaign
    assert run.identity == header.identity
    assert run.provenance == header.provenance
    assert run.plan == header.plan
    assert run.golden is None
    assert run.created_at <= run.updated_at <= datetime.now(UTC)


def test_run_without_trials_has_empty_frames(path: Path) -> None:
    run = open_run(path)
    assert run.trials().columns.tolist() == TRIALS.names
    assert len(run.trials()) == len(run.injections()) == len(run.failures()) == 0
    assert run.failures()["trial_id"].dtype == "uint64"
    assert len(run.summary()) == 0
    assert run.summary()["sdc_rate"].dtype == "float64"


def test_run_is_read_while_it_is_written(path: Path, header: RunHeader, trials: Table) -> None:
    run = open_run(path)
    with RunWriter.open(path, header, flush_seconds=0) as writer:
        writer.append(trials(0))
        assert len(run.trials()) == 1
        writer.append(trials(1))
        assert len(run.trials()) == 2
        assert run.status().done == 2


def test_chosen_columns_come_in_the_order_given(
    path: Path, header: RunHeader, trials: Table
) -> None:
    with RunWriter.open(path, header) as writer:
        writer.append(trials(2, 0))
    frame = open_run(path).trials(["sdc", "bit"])
    assert frame.columns.tolist() == ["sdc", "bit"]
    assert frame["bit"].tolist() == [30, 31]


def test_unknown_column_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match=r"columns names 'acuracy', expected one of: accuracy"):
        open_run(path).trials(["acuracy"])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_trials_do_not_depend_on_how_they_were_written(
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
    header: RunHeader,
    trials: Table,
    injections: Table,
) -> None:
    numbers = list(range(48))
    order = data.draw(st.permutations(numbers))
    repeated = data.draw(st.lists(st.sampled_from(numbers), max_size=8))
    cuts = data.draw(st.lists(st.integers(0, len(order) + len(repeated)), max_size=6))
    path = tmp_path_factory.mktemp("run")
    for chunk in np.split(np.array(order + repeated), sorted(cuts)):
        with RunWriter.open(path, header) as writer:
            writer.append(trials(*chunk.tolist()), injections(*chunk.tolist()))
    whole = tmp_path_factory.mktemp("whole")
    with RunWriter.open(whole, header) as writer:
        writer.append(trials(*numbers), injections(*numbers))
    pd.testing.assert_frame_equal(open_run(path).trials(), open_run(whole).trials())
    pd.testing.assert_frame_equal(open_run(path).injections(), open_run(whole).injections())
    pd.testing.assert_frame_equal(open_run(path).summary(), open_run(whole).summary())
    assert open_run(path).status() == open_run(whole).status()


def test_strings_new_in_a_later_part_are_read(path: Path, header: RunHeader, trials: Table) -> None:
    with RunWriter.open(path, header, flush_seconds=0) as writer:
        writer.append(trials(0, worker="w2"))
        writer.append(trials(16, worker="w1"))
    frame = open_run(path).trials()
    assert frame["layer"].tolist() == ["conv2d", "dense"]
    assert frame["worker"].tolist() == ["w2", "w1"]


def test_injections_of_unfinished_trials_are_left_out(
    path: Path, header: RunHeader, trials: Table, injections: Table, trial_id: Id
) -> None:
    with RunWriter.open(path, header) as writer:
        writer.append(trials(0), injections(0, 1))
    assert set(open_run(path).injections()["trial_id"]) == {trial_id(0)}


def test_unreadable_part_is_left_out_with_a_warning(
    path: Path, header: RunHeader, trials: Table
) -> None:
    with RunWriter.open(path, header) as writer:
        writer.append(trials(0))
    (path / "trials" / "part-000002-0a1b2c3d.parquet").write_bytes(b"PAR1")
    with pytest.warns(ResultsWarning, match="part-000002-0a1b2c3d.parquet cannot be read") as seen:
        assert len(open_run(path).trials()) == 1
    assert seen[0].filename == __file__


def test_hidden_files_are_passed_over_in_silence(
    path: Path, header: RunHeader, trials: Table
) -> None:
    with RunWriter.open(path, header) as writer:
        writer.append(trials(0))
    for name in (".part-000002-0a1b2c3d.parquet.torn", ".part-000003-0a1b2c3d.parquet.ab.tmp"):
        (path / "trials" / name).write_bytes(b"PAR1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(open_run(path).trials()) == 1
    assert len(pd.read_parquet(path / "trials")) == 1


def test_part_of_another_campaign_is_refused(
    path: Path, tmp_path: Path, header: RunHeader, trials: Table
) -> None:
    other = replace(header, identity={**header.identity, "seed": 8})
    with RunWriter.open(tmp_path / "other", other) as writer:
        writer.append(trials(0))
    (tmp_path / "other" / "trials").rename(path / "trials")
    with pytest.raises(RunCorruptError, match="another campaign"):
        open_run(path).trials()


def test_parts_of_the_same_campaign_can_be_put_together(
    path: Path, tmp_path: Path, header: RunHeader, trials: Table
) -> None:
    for name, number in ((path, 0), (tmp_path / "other", 1)):
        with RunWriter.open(name, header) as writer:
            writer.append(trials(number))
    for part in (tmp_path / "other" / "trials").iterdir():
        part.rename(path / "trials" / part.name)
    assert open_run(path).trials()["repetition"].tolist() == [0, 1]


def test_trial_is_one_row_with_python_values(
    path: Path, header: RunHeader, trials: Table, trial_id: Id, row: Callable[[int], object]
) -> None:
    with RunWriter.open(path, header) as writer:
        writer.append(trials(*range(8)))
    assert open_run(path).trial(trial_id(5)) == row(5)
    assert open_run(path).trial(np.uint64(trial_id(5))) == row(5)  # type: ignore[arg-type]
    assert list(open_run(path).trial(trial_id(5)))[: len(PURE_COLUMNS)] == list(PURE_COLUMNS)


def test_a_trial_is_found_by_the_text_of_its_id(
    path: Path, header: RunHeader, trials: Table, trial_id: Id, row: Callable[[int], object]
) -> None:
    with RunWriter.open(path, header) as writer:
        writer.append(trials(*range(8)))
    assert open_run(path).trial(f" {trial_id(5)}\n") == row(5)


A, B, C = 2**63 + 1, 2**63 + 1000, 2**63 + 5000


@pytest.mark.parametrize(
    ("asked", "may_be"),
    [
        (2**63, f"{A} or {B}"),
        (float(A), f"{A} or {B}"),
        ("9223372036854776000", f"{A} or {B}"),  # as JavaScript and jq write that double
        ("9.223372036854776e+18", f"{A} or {B}"),
        (float(C), f"{C}, given up on"),
        (str(int(float(C))), f"{C}, given up on"),
        (2**63 + 2048, None),
        (9007199254740992, None),
    ],
)
def test_an_id_that_was_rounded_is_told_with_what_it_was(
    asked: Any, may_be: str | None, path: Path, header: RunHeader, trials: Table
) -> None:
    with RunWriter.open(path, header) as writer:
        writer.append(trials(0, trial_id=A))
        writer.append(trials(1, trial_id=B))
        writer.append(trials(2, trial_id=2**53 - 1))
        writer.record_failures([given_up_of(C), given_up_of(A)], error="e", traceback="t")
    with pytest.raises(TrialNotFoundError) as caught:
        open_run(path).trial(asked)
    told = f"; it was rounded to 53 bits and may be {may_be}" if may_be else ""
    assert caught.value.message == f"the run holds no finished trial {asked}{told}"
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("asked", ["first", "", "nan", "1e400", "inf", float("nan"), None])
def test_what_is_no_id_is_told(asked: Any, path: Path) -> None:
    with pytest.raises(TrialNotFoundError, match=f"received {asked!r} for a trial; expec"):
        open_run(path).trial(asked)


@pytest.mark.parametrize("number", [1, -1, 2**64])
def test_unknown_trial_is_told(path: Path, number: int) -> None:
    with pytest.raises(TrialNotFoundError, match=f"no finished trial {number}") as caught:
        open_run(path).trial(number)
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, ResultsError)
