import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from results import Heartbeat, ResultsError, RunHeader, RunWriter, open_run
from results.run_folder.heartbeat import STALE_SECONDS

NOW = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)


def said(path: Path) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads((path / "heartbeat.json").read_text())
    return contents


def test_heartbeat_tells_state_process_and_what_is_passed(
    tmp_path: Path, header: RunHeader
) -> None:
    before = datetime.now(UTC)
    with RunWriter.open(tmp_path, header) as writer:
        writer.heartbeat({"state": "running", "workers": 3, "trials_per_second": 12.5})
        received = open_run(tmp_path).heartbeat()
        assert received is not None
        assert before <= received.at <= datetime.now(UTC)
        assert 0 <= received.age < 60
        assert (received.host, received.pid) == (socket.gethostname(), os.getpid())
        assert (received.state, received.workers) == ("running", 3)
        assert received.details == {"trials_per_second": 12.5}
        assert received.alive


def test_age_is_counted_to_the_time_given(tmp_path: Path, header: RunHeader) -> None:
    with RunWriter.open(tmp_path, header) as writer:
        writer.heartbeat({})
        run = open_run(tmp_path)
        at = datetime.fromisoformat(said(tmp_path)["at"])
        for seconds in (0, STALE_SECONDS, STALE_SECONDS + 1, -STALE_SECONDS, -STALE_SECONDS - 1):
            alive = abs(seconds) <= STALE_SECONDS
            received = run.heartbeat(at + timedelta(seconds=seconds))
            assert received is not None
            assert (received.age, received.alive) == (seconds, alive)


def test_same_state_is_told_again_after_a_while(
    tmp_path: Path, header: RunHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("results.run_folder.heartbeat.time.monotonic", lambda: now)
    with RunWriter.open(tmp_path, header) as writer:
        for time, done, told in ((100.0, 0, 0), (109.9, 1, 0), (110.0, 2, 2), (111.0, 3, 2)):
            now = time
            writer.heartbeat({"done": done})
            assert said(tmp_path)["done"] == told
        writer.heartbeat({"state": "finished", "done": 4})
        assert (said(tmp_path)["state"], said(tmp_path)["done"]) == ("finished", 4)


def test_pace_can_be_chosen(tmp_path: Path, header: RunHeader) -> None:
    with RunWriter.open(tmp_path, header, heartbeat_seconds=0) as writer:
        for number in range(3):
            writer.heartbeat({"done": number})
            assert said(tmp_path)["done"] == number


@pytest.mark.parametrize(("last", "left"), [("running", "stopped"), ("finished", "finished")])
def test_writer_that_ends_is_not_running(
    tmp_path: Path, header: RunHeader, last: str, left: str
) -> None:
    with RunWriter.open(tmp_path, header) as writer:
        writer.heartbeat({"state": last, "workers": 2})
    assert (said(tmp_path)["state"], said(tmp_path)["workers"]) == (left, 2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs root, to mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> None:
    """Leave no byte."""
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(512)):
            pass


@pytest.mark.parametrize(("last", "left"), [("running", "stopped"), ("finished", "finished")])
def test_writer_that_a_full_disk_ended_is_not_running(
    small_disk: Path, header: RunHeader, trials: Callable[..., pa.Table], last: str, left: str
) -> None:
    run = small_disk / "run"
    with pytest.raises(ResultsError, match="No space left"):  # noqa: PT012, SIM117
        with RunWriter.open(run, header, flush_seconds=1e9) as writer:
            writer.heartbeat({"state": "running", "workers": 0})
            writer.append(trials(0))
            fill(small_disk)
            writer.heartbeat({"state": last, "workers": 0})
            assert said(run)["state"] == "running"
            writer.flush()
    heartbeat = open_run(run).status().heartbeat
    assert heartbeat is not None
    assert (heartbeat.state, heartbeat.alive) == (left, False)


def test_heartbeat_that_cannot_tell_the_end_is_removed(
    tmp_path: Path, header: RunHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with RunWriter.open(tmp_path, header) as writer:
        writer.heartbeat({"workers": 0})
        monkeypatch.setattr("os.replace", no_space)
    assert open_run(tmp_path).heartbeat() is None


def test_writer_that_said_nothing_leaves_no_heartbeat(tmp_path: Path, header: RunHeader) -> None:
    RunWriter.open(tmp_path, header).close()
    assert not (tmp_path / "heartbeat.json").exists()
    assert open_run(tmp_path).heartbeat() is None


def test_refused_heartbeat_ends_no_run(
    tmp_path: Path, header: RunHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with RunWriter.open(tmp_path, header, heartbeat_seconds=0) as writer:
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", no_space)
            writer.heartbeat({"done": 1})
        assert not (tmp_path / "heartbeat.json").exists()
        writer.heartbeat({"done": 2})
        assert said(tmp_path)["done"] == 2


def test_writer_whose_lock_was_lost_is_silent(tmp_path: Path, header: RunHeader) -> None:
    writer = RunWriter.open(tmp_path, header, heartbeat_seconds=0)
    (tmp_path / "lock").unlink()
    with RunWriter.open(tmp_path, header) as other:
        other.heartbeat({"mine": True})
        writer.heartbeat({"mine": False})
        writer.close()
        assert said(tmp_path)["mine"]
        assert said(tmp_path)["state"] == "running"


@pytest.mark.parametrize(
    "contents",
    [
        "",
        "{",
        "[]",
        "7",
        '{"at": 7, "host": "h", "pid": 1, "state": "running"}',
        '{"at": "2026-11-23T06:29:00+00:00", "host": "h", "state": "running"}',
        '{"at": "2026-11-23T06:29:00+00:00", "host": "h", "pid": 1, "state": "s", "workers": []}',
        '{"at": "2026-11-23T06:29:00+00:00", "host": "h", "pid": Infinity, "state": "s"}',
        '{"at": "0001-01-01T00:00:00+23:00", "host": "h", "pid": 1, "state": "s"}',
        "[" * 100_000,
    ],
    ids=lambda contents: contents[:80],
)
def test_heartbeat_that_makes_no_sense_is_none(
    tmp_path: Path, header: RunHeader, contents: str
) -> None:
    RunWriter.open(tmp_path, header).close()
    (tmp_path / "heartbeat.json").write_text(contents)
    assert open_run(tmp_path).heartbeat() is None
    assert open_run(tmp_path).status().heartbeat is None


def test_heartbeat_from_a_clock_ahead_is_of_the_future(tmp_path: Path, header: RunHeader) -> None:
    RunWriter.open(tmp_path, header).close()
    (tmp_path / "heartbeat.json").write_text(
        '{"at": "2026-11-23T08:31:00+02:00", "host": "h", "pid": 1, "state": "running"}'
    )
    assert open_run(tmp_path).heartbeat(NOW) == Heartbeat(
        at=NOW + timedelta(minutes=1), age=-60.0, host="h", pid=1, state="running"
    )


def test_folder_in_its_place_is_told(tmp_path: Path, header: RunHeader) -> None:
    RunWriter.open(tmp_path, header).close()
    (tmp_path / "heartbeat.json").mkdir()
    with pytest.raises(ResultsError, match="cannot be read"):
        open_run(tmp_path).heartbeat()
