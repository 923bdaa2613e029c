import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from results import LayerStatus, RunHeader, RunWriter, open_run

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
        for number in (0, 40):
            writer.record_failure(trial_id(number), error="e", traceback="t", trial={})
    assert open_run(path).status().failures == 1


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
