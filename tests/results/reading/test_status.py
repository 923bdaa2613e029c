import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from results import FailedTrial, LayerStatus, RunHeader, RunWriter, open_run
from tests.results.conftest import given_up_of

Table = Callable[..., pa.Table]


@pytest.fixture
def path(tmp_path: Path, header: RunHeader, trials: Table) -> Path:
    with RunWriter.open(tmp_path / "run", header, flush_seconds=0) as writer:
        writer.append(trials(*range(20)))
        writer.append(trials(19))
    return tmp_path / "run"


def test_status_counts_trials_and_layers(path: Path) -> None:
    status = open_run(path).status()
    assert (status.planned, status.done, status.failures) == (48, 20, 0)
    assert dict(status.layers) == {
        "conv2d": LayerStatus(planned=16, done=16),
        "dense": LayerStatus(planned=16, done=4),
        "activation": LayerStatus(planned=16, done=0),
    }
    assert status.unreadable == ()


def test_run_without_trials_has_no_rate(tmp_path: Path, header: RunHeader) -> None:
    RunWriter.open(tmp_path, header).close()
    status = open_run(tmp_path).status()
    assert (status.planned, status.done) == (48, 0)
    assert status.trials_per_second is None
    assert status.last_finished_at is None
    assert status.layers["dense"] == LayerStatus(planned=16, done=0)


def test_rate_is_that_of_the_last_minutes(
    path: Path, header: RunHeader, trials: Table, row: Callable[[int], dict[str, object]]
) -> None:
    assert open_run(path).status().trials_per_second == 1.0
    later = row(0)["finished_at"] + timedelta(days=1)  # type: ignore[operator]
    with RunWriter.open(path, header) as writer:
        writer.append(trials(20, 21, 22, finished_at=later))
        writer.append(trials(23, 24, finished_at=later + timedelta(seconds=4)))
    status = open_run(path).status()
    assert status.trials_per_second == 0.5
    assert status.last_finished_at == later + timedelta(seconds=4)


def test_one_instant_has_no_rate(tmp_path: Path, header: RunHeader, trials: Table) -> None:
    with RunWriter.open(tmp_path, header) as writer:
        writer.append(trials(0))
    assert open_run(tmp_path).status().trials_per_second is None


def test_failure_that_succeeded_since_is_none(
    path: Path, header: RunHeader, trial_id: Callable[[int], int]
) -> None:
    with RunWriter.open(path, header) as writer:
        given_up = [given_up_of(trial_id(number)) for number in (0, 40)]
        writer.record_failures(given_up, error="e", traceback="t")
    assert open_run(path).status().failures == 1


def test_failures_are_counted_by_layer_and_the_oldest_are_told(
    path: Path, header: RunHeader, trial_id: Callable[[int], int]
) -> None:
    with RunWriter.open(path, header) as writer:
        for number in range(24, 48):
            layer = "dense" if number < 32 else "activation"
            trial = {"layer": layer, "bit": number, "bit_field": None, "probability": 0.5}
            error = f"ValueError: {number}\nin a worker"
            writer.record_failures(
                [given_up_of(trial_id(number), **trial)], error=error, traceback="t"
            )
        writer.record_failures([given_up_of(trial_id(0), layer="conv2d")], error="e", traceback="t")
    status = open_run(path).status()
    assert status.failures == 24
    assert {name: layer.failed for name, layer in status.layers.items()} == {
        "conv2d": 0,
        "dense": 8,
        "activation": 16,
    }
    assert len(status.failed) == 20
    assert status.failed[0] == FailedTrial(
        trial_id(24), "layer dense, bit 24, probability 0.5", "ValueError: 24\nin a worker"
    )
    assert [failed.trial_id for failed in status.failed] == [trial_id(n) for n in range(24, 44)]


def test_status_of_many_failures_is_quick(tmp_path: Path, header: RunHeader) -> None:
    count = 50_000
    given_up = [given_up_of(number, layer="dense", bit=number % 32) for number in range(count)]
    with RunWriter.open(tmp_path, header) as writer:
        writer.record_failures(given_up, error="e", traceback="t")
    begin = time.process_time()
    status = open_run(tmp_path).status()
    assert time.process_time() - begin < 2
    assert (status.failures, status.layers["dense"].failed) == (count, count)
    assert [failed.trial_id for failed in status.failed] == list(range(20))


def test_damaged_record_is_named(
    path: Path, header: RunHeader, trial_id: Callable[[int], int]
) -> None:
    with RunWriter.open(path, header) as writer:
        for number in (40, 41):
            writer.record_failures([given_up_of(trial_id(number))], error="e", traceback="t")
    damaged = min((path / "failures").iterdir())
    damaged.write_text("{")
    status = open_run(path).status()
    assert [failed.trial_id for failed in status.failed] == [trial_id(41)]
    assert (status.failures, status.unreadable) == (1, (f"failures/{damaged.name}",))


@pytest.mark.parametrize(
    ("state", "age", "left"),
    [
        (None, 0, 27.0),
        ("running", 0, 27.0),
        ("running", 1000, None),
        ("stopped", 0, None),
    ],
)
def test_time_left_is_that_of_a_run_at_work(
    path: Path,
    header: RunHeader,
    trial_id: Callable[[int], int],
    state: str | None,
    age: int,
    left: float | None,
) -> None:
    with RunWriter.open(path, header) as writer:
        writer.record_failures([given_up_of(trial_id(40))], error="e", traceback="t")
        if state:
            writer.heartbeat({"state": state, "workers": 2})
        # 48 planned, 20 done, 1 given up on, 1 trial a second
        now = datetime.now(UTC) + timedelta(seconds=age)
        status = open_run(path).status(now)
    assert status.trials_per_second == 1.0
    assert status.seconds_left == left
    assert (status.heartbeat is None) == (state is None)
    if status.heartbeat:
        assert (status.heartbeat.state, status.heartbeat.workers) == (state, 2)
        assert age <= status.heartbeat.age < age + 60


def test_finished_run_has_no_time_left(path: Path, header: RunHeader, trials: Table) -> None:
    with RunWriter.open(path, header) as writer:
        writer.append(trials(*range(20, 48)))
    status = open_run(path).status()
    assert (status.done, status.trials_per_second, status.seconds_left) == (48, 1.0, None)


def test_what_the_plan_says_is_outside_does_not_count_as_done(
    path: Path, header: RunHeader
) -> None:
    plan = {"trials": 40, "layers": {"dense": 16, "activation": 24}}
    plan["outside"] = {"conv2d": 16, "dense": 1}
    RunWriter.open(path, replace(header, plan=plan)).close()
    status = open_run(path).status()
    assert (status.planned, status.done) == (40, 3)
    assert status.outside == {"conv2d": 16, "dense": 1}
    assert dict(status.layers) == {
        "dense": LayerStatus(planned=16, done=3),
        "activation": LayerStatus(planned=24, done=0),
    }
    assert status.seconds_left == 37.0


@pytest.mark.parametrize("written", [str, int])
def test_failures_outside_the_plan_are_neither_counted_nor_shown(
    path: Path, header: RunHeader, trial_id: Callable[[int], int], written: type
) -> None:
    with RunWriter.open(path, header) as writer:
        for number, layer in ((40, "dense"), (41, "dense"), (42, "conv2d"), (43, None)):
            cell = given_up_of(trial_id(number), **({"layer": layer} if layer else {}))
            writer.record_failures([cell], error="e", traceback="t")
    plan = {"trials": 32, "layers": {"dense": 16, "activation": 16}}
    plan |= {"outside": {"conv2d": 16}, "failed_outside": [written(trial_id(40))]}
    RunWriter.open(path, replace(header, plan=plan)).close()
    status = open_run(path).status()
    assert [failed.trial_id for failed in status.failed] == [trial_id(41), trial_id(43)]
    assert status.failures == 2
    assert dict(status.layers) == {
        "dense": LayerStatus(planned=16, done=4, failed=1),
        "activation": LayerStatus(planned=16, done=0),
    }
    assert status.seconds_left == 32 - 4 - 2
    assert len(open_run(path).failures()) == 4


def test_layers_outside_the_plan_are_listed_last(path: Path, header: RunHeader) -> None:
    narrow = replace(header, plan={"trials": 16, "layers": {"dense": 16}})
    RunWriter.open(path, narrow).close()
    status = open_run(path).status()
    assert (status.planned, status.done) == (16, 20)
    assert list(status.layers.items()) == [
        ("dense", LayerStatus(planned=16, done=4)),
        ("conv2d", LayerStatus(planned=0, done=16)),
    ]


def test_unreadable_part_is_named(path: Path) -> None:
    (path / "trials" / "part-000009-0a1b2c3d.parquet").write_bytes(b"PAR1")
    status = open_run(path).status()
    assert status.unreadable == ("trials/part-000009-0a1b2c3d.parquet",)
    assert status.done == 20


def test_status_needs_no_pandas(path: Path) -> None:
    code = (
        "import sys, results; done = results.open_run(sys.argv[1]).status().done;"
        "print(done, 'pandas' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(path)]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"20 False\n"


def test_reading_leaves_no_thread_that_holds_bytes_when_python_ends(path: Path) -> None:
    code = (
        "import os, sys, pyarrow.dataset, pyarrow.parquet, results\n"
        "run, before = results.open_run(sys.argv[1]), os.listdir('/proc/self/task')\n"
        "print(run.status().done, os.listdir('/proc/self/task') == before)"
    )
    command = [sys.executable, "-c", code, str(path)]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"20 True\n"
