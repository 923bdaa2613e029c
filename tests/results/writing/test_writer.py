import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results import (
    ResultsError,
    RunHeader,
    RunLockedError,
    RunMismatchError,
    RunWriter,
    open_run,
    paths,
)
from results.writing import write_buffer
from tests.results.conftest import given_up_of

Table = Callable[..., pa.Table]
Id = Callable[[int], int]

CONFTEST = Path(__file__).parents[1] / "conftest.py"
CHILD = """
import importlib.util, os, signal, sys
from results import RunHeader, RunWriter, injections_table, trials_table
spec = importlib.util.spec_from_file_location("rows", sys.argv[2])
rows = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rows)
header = RunHeader({}, {"version": 1}, {}, {"trials": 48, "layers": {}})
"""
DIE_BEFORE_TRIALS_PART = """
replace = os.replace
def dying(source, target):
    if "trials" in str(target):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = dying
with RunWriter.open(sys.argv[1], header) as writer:
    writer.append(
        trials_table([rows.trial_row(0)]), injections_table(rows.injection_rows(0))
    )
"""
WRITE_UNTIL_INTERRUPTED = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
with RunWriter.open(sys.argv[1], header, flush_seconds=1e9) as writer:
    writer.append(trials_table([rows.trial_row(0)]))
    print("waiting", flush=True)
    signal.pause()
"""


def child(code: str, run: Path) -> list[str]:
    return [sys.executable, "-c", CHILD + code, str(run), str(CONFTEST)]


def parts(run: Path, folder: str = "trials") -> list[str]:
    return sorted(path.name for path in (run / folder).glob("*"))


def contents(run: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "mnist"


def test_fresh_directory_says_what_was_asked_for(run: Path, header: RunHeader) -> None:
    with RunWriter.open(run, header) as writer:
        assert writer.done_ids().tolist() == []
        assert writer.warnings == []
    contents = json.loads((run / "campaign.json").read_text())
    asked = {**vars(header), "columns": []}
    assert {name: contents[name] for name in asked} == asked
    assert sorted(path.name for path in run.iterdir()) == ["campaign.json", "events", "lock"]


def test_rows_wait_until_flushed(run: Path, header: RunHeader, trials: Table, trial_id: Id) -> None:
    with RunWriter.open(run, header, flush_seconds=1e9) as writer:
        writer.append(trials(0, 1))
        assert not (run / "trials").exists()
        assert writer.done_ids().tolist() == []
        writer.flush()
        assert len(parts(run)) == 1
        assert writer.done_ids().tolist() == [trial_id(1), trial_id(0)]
        writer.flush()
        assert len(parts(run)) == 1


def test_enough_rows_are_published_at_once(run: Path, header: RunHeader, trials: Table) -> None:
    with RunWriter.open(run, header, flush_rows=3, flush_seconds=1e9) as writer:
        writer.append(trials(0, 1))
        assert not (run / "trials").exists()
        writer.append(trials(2))
        assert pq.read_metadata(run / "trials" / parts(run)[0]).num_rows == 3


def test_many_injections_are_published_at_once(
    run: Path,
    header: RunHeader,
    trials: Table,
    injections: Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(write_buffer, "INJECTION_ROWS", 4)
    with RunWriter.open(run, header, flush_seconds=1e9) as open_writer:
        open_writer.append(trials(0), injections(0))
        assert not (run / "trials").exists()
        open_writer.append(trials(1), injections(1))
        assert len(parts(run)) == 1


def test_rows_that_waited_long_enough_are_published(
    run: Path, header: RunHeader, trials: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("results.writing.write_buffer.time.monotonic", lambda: now)
    with RunWriter.open(run, header, flush_seconds=5.0) as open_writer:
        open_writer.append(trials(0))
        now = 104.0
        open_writer.append(trials(1))
        open_writer.maybe_flush()
        assert not (run / "trials").exists()
        now = 105.0
        open_writer.maybe_flush()
        assert len(parts(run)) == 1
        now = 200.0
        open_writer.maybe_flush()
        open_writer.append(trials(2))
        assert len(parts(run)) == 1


def test_object_storage_gets_fewer_and_larger_objects(
    s3: str, header: RunHeader, trials: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("results.writing.write_buffer.time.monotonic", lambda: now)
    with RunWriter.open(s3, header) as open_writer:
        open_writer.append(trials(0))
        now = 129.9
        open_writer.maybe_flush()
        assert open_run(s3).status().done == 0
        now = 130.0
        open_writer.maybe_flush()
        assert open_run(s3).status().done == 1


def test_parts_flushed_together_share_their_name(
    run: Path, header: RunHeader, trials: Table, injections: Table
) -> None:
    with RunWriter.open(run, header, flush_seconds=0) as writer:
        writer.append(trials(0), injections(0))
        writer.append(trials(1), injections(1))
    flushed = [paths.flushed_with(name) for name in parts(run)]
    assert flushed == [paths.flushed_with(name) for name in parts(run, "injections")]
    assert [name[:12] for name in flushed] == ["part-000001-", "part-000002-"]


def test_table_that_is_wrong_is_refused_whole(
    run: Path, header: RunHeader, trials: Table, injections: Table
) -> None:
    with RunWriter.open(run, header) as writer:
        with pytest.raises(ValueError, match="column bit is missing"):
            writer.append(trials(0), injections(0).drop_columns("bit"))
        with pytest.raises(ValueError, match="column due is missing"):
            writer.append(trials(0).drop_columns("due"), injections(0))
        with pytest.raises(ValueError, match="has the tallies"):
            writer.append(trials(0, injected=7), injections(0))
    assert sorted(path.name for path in run.iterdir()) == ["campaign.json", "events", "lock"]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_rows_are_published_when_an_exception_passes(
    run: Path, header: RunHeader, trials: Table, kind: type[BaseException]
) -> None:
    def work() -> None:
        with RunWriter.open(run, header) as writer:
            writer.append(trials(0, 1))
            raise kind

    with pytest.raises(kind):
        work()
    assert len(open_run(run).trials()) == 2


def test_resume_sees_what_was_done_and_goes_on(
    run: Path, header: RunHeader, trials: Table, trial_id: Id
) -> None:
    with RunWriter.open(run, header) as writer:
        writer.append(trials(0, 1))
    with RunWriter.open(run, header) as writer:
        assert writer.done_ids().tolist() == [trial_id(1), trial_id(0)]
        writer.append(trials(2))
    assert [name[:12] for name in parts(run)] == ["part-000001-", "part-000002-"]
    assert len(open_run(run).trials()) == 3


def test_resume_after_an_edit_updates_the_header_and_keeps_the_beginning(
    run: Path, header: RunHeader
) -> None:
    with RunWriter.open(run, header) as writer:
        writer.set_golden({"accuracy": 0.9, "decisions": "ff"})
    first = open_run(run)
    wider = replace(header, campaign={"name": "wider"}, plan={"trials": 96, "layers": {}})
    RunWriter.open(run, wider).close()
    second = open_run(run)
    assert second.header == wider
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    assert second.golden == {"accuracy": 0.9, "decisions": "ff"}


@pytest.mark.parametrize("stale_lock", [True, False])
def test_mismatch_leaves_the_directory_byte_for_byte(
    run: Path, header: RunHeader, trials: Table, stale_lock: bool
) -> None:
    with RunWriter.open(run, header) as writer:
        writer.append(trials(0))
    (run / "trials" / "part-000009-0a1b2c3d.parquet").write_bytes(b"torn")
    (run / "lock").write_text('{"pid": 1}') if stale_lock else (run / "lock").unlink()
    before = contents(run)
    with pytest.raises(RunMismatchError, match="seed: 7 -> 8"):
        RunWriter.open(run, replace(header, identity={**header.identity, "seed": 8}))
    assert contents(run) == before


def test_foreign_directory_is_left_alone(tmp_path: Path, header: RunHeader) -> None:
    (tmp_path / "thesis.tex").write_text("text")
    with pytest.raises(RunMismatchError, match=r"it holds thesis\.tex"):
        RunWriter.open(tmp_path, header)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_newer_run_is_left_alone(run: Path, header: RunHeader) -> None:
    RunWriter.open(run, header).close()
    manifest = json.loads((run / "campaign.json").read_text())
    del manifest["digest"]
    (run / "campaign.json").write_text(json.dumps({**manifest, "schema_version": 6}))
    before = contents(run)
    with pytest.raises(RunMismatchError, match="schema version 6"):
        RunWriter.open(run, header)
    assert contents(run) == before


def test_header_that_json_cannot_hold_changes_nothing(run: Path, header: RunHeader) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        RunWriter.open(run, replace(header, provenance={"device": object()}))
    assert not run.exists()


def test_second_writer_is_refused_and_changes_nothing(
    run: Path, header: RunHeader, trials: Table
) -> None:
    with RunWriter.open(run, header) as writer:
        writer.append(trials(0))
        before = contents(run)
        with pytest.raises(RunLockedError, match="another process writes"):
            RunWriter.open(run, replace(header, provenance={}))
        assert contents(run) == before
    RunWriter.open(run, header).close()


def test_nothing_is_published_once_the_lock_is_lost(
    run: Path, header: RunHeader, trials: Table
) -> None:
    writer = RunWriter.open(run, header, flush_seconds=1e9)
    writer.append(trials(0))
    (run / "lock").unlink()
    before = contents(run)
    for change in (
        writer.flush,
        lambda: writer.record_failures([given_up_of(1)], error="e", traceback="t"),
        lambda: writer.set_golden({"decisions": "ff"}),
        writer.close,
    ):
        with pytest.raises(ResultsError, match="lock on the run directory was lost"):
            change()
    assert contents(run) == before
    writer.close()


def test_closed_writer_takes_nothing(run: Path, header: RunHeader, trials: Table) -> None:
    writer = RunWriter.open(run, header)
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.append(trials(0))
    with pytest.raises(ValueError, match="closed"):
        writer.set_golden({})
    with pytest.raises(ValueError, match="closed"):
        writer.record_failures([given_up_of(1)], error="", traceback="")


def test_killed_between_injections_and_trials_leaves_the_trial_undone(
    run: Path, trials: Table, injections: Table
) -> None:
    killed = subprocess.run(child(DIE_BEFORE_TRIALS_PART, run), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(parts(run, "injections")) == 1
    assert len(open_run(run).injections()) == 0
    header = RunHeader({}, {"version": 1}, {}, {"trials": 48, "layers": {}})
    with RunWriter.open(run, header) as writer:
        assert writer.done_ids().tolist() == []
        assert writer.warnings == []
        writer.append(trials(0), injections(0))
    assert len(open_run(run).trials()) == 1
    assert open_run(run).injections()["sample"].tolist() == [0, 1]
    assert [name for name in parts(run) if name.startswith(".")] == []


def test_interrupted_process_publishes_what_waits(run: Path) -> None:
    with subprocess.Popen(
        child(WRITE_UNTIL_INTERRUPTED, run), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        header = RunHeader({}, {"version": 1}, {}, {"trials": 48, "layers": {}})
        with pytest.raises(RunLockedError, match=f"pid {process.pid}"):
            RunWriter.open(run, header)
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert len(open_run(run).trials()) == 1
    RunWriter.open(run, header).close()


def test_torn_part_is_told_and_its_trials_are_undone(
    run: Path, header: RunHeader, trials: Table, trial_id: Id
) -> None:
    with RunWriter.open(run, header, flush_seconds=0) as writer:
        writer.append(trials(0))
        writer.append(trials(1))
    torn = run / "trials" / parts(run)[1]
    torn.write_bytes(torn.read_bytes()[:-1])
    with RunWriter.open(run, header) as writer:
        assert len(writer.warnings) == 1
        assert torn.name in writer.warnings[0]
        assert writer.done_ids().tolist() == [trial_id(0)]
    assert parts(run) == sorted([f".{torn.name}.torn", parts(run)[1]])


def test_golden_run_is_recorded_once_and_then_compared(run: Path, header: RunHeader) -> None:
    with RunWriter.open(run, header) as writer:
        writer.set_golden({"accuracy": 0.9, "decisions": "ff"})
        writer.set_golden({"accuracy": 0.9, "decisions": "ff", "seconds": 3})
    with (
        RunWriter.open(run, header) as writer,
        pytest.raises(ResultsError, match=r"golden run differs[^$]*decisions: ff -> ee"),
    ):
        writer.set_golden({"accuracy": 0.9, "decisions": "ee"})
    assert open_run(run).golden == {"accuracy": 0.9, "decisions": "ff"}


def test_trials_outside_the_plan_are_recorded(tmp_path: Path, header: RunHeader) -> None:
    folder = tmp_path / "run"
    with RunWriter.open(folder, header) as writer:
        cells = [given_up_of(7, 3, layer="dense"), given_up_of(5, layer="of an earlier grid")]
        writer.record_failures(cells, error="e", traceback="t")
        for outside, failed, named in (
            ({"conv": 3}, [3, 5], ["3"]),
            ({"conv": 3}, [3, 5, 7], ["3", "7"]),
            ({}, [], []),
        ):
            writer.set_outside(outside, np.array(failed, np.uint64))
            assert open_run(folder).plan["outside"] == outside
            assert open_run(folder).plan["failed_outside"] == named
