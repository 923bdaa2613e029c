import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results import (
    Compacted,
    ResultsError,
    RunHeader,
    RunLockedError,
    RunNotFoundError,
    RunWriter,
    compact,
    open_run,
)
from results.run_folder import parts as parts_module
from results.storage.opening import open_storage
from results.storage.storage import Storage
from results.writing import compaction
from tests.results.conftest import given_up_of, rounded_otherwise, write_part

Table = Callable[..., pa.Table]

KILL_AT_EVERY_STEP = """
import os, shutil, signal, sys
import pyarrow.dataset  # once, before the forks
from results import compact

source, target = sys.argv[1:]

def dying(function, calls):
    def call(*args, **kwargs):
        calls[0] -= 1
        if calls[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call

step = 0
status = signal.SIGKILL
while status == signal.SIGKILL:
    step += 1
    copy = f"{target}/{step:03d}"
    shutil.copytree(source, copy)
    child = os.fork()
    if child == 0:
        calls = [step]
        for name in ("fsync", "replace", "unlink"):
            setattr(os, name, dying(getattr(os, name), calls))
        compact(copy)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
sys.exit(status)
"""


def parts(path: Path, folder: str = "trials") -> list[str]:
    return sorted(file.name for file in (path / folder).glob("part-*"))


def rows(path: Path, folder: str = "trials") -> list[int]:
    return [pq.read_metadata(path / folder / name).num_rows for name in parts(path, folder)]


def frames(path: Path) -> list[pd.DataFrame]:
    opened = open_run(path)
    return [opened.trials(), opened.injections(), opened.summary(), opened.failures()]


def assert_same(received: list[pd.DataFrame], expected: list[pd.DataFrame]) -> None:
    for one, other in zip(received, expected, strict=True):
        pd.testing.assert_frame_equal(one, other)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "TRIAL_ROWS", 16)
    monkeypatch.setattr(compaction, "INJECTION_ROWS", 32)


@pytest.fixture
def path(tmp_path: Path, header: RunHeader, trials: Table, injections: Table) -> Path:
    """A run of 24 trials in parts of 4, with doubles and a failure."""
    with RunWriter.open(tmp_path / "run", header, flush_seconds=0) as writer:
        order = np.random.default_rng(1).permutation(24).tolist()
        for start in range(0, 24, 4):
            numbers = order[start : start + 4]
            writer.append(trials(*numbers), injections(*numbers))
        writer.append(trials(*order[2:4]), injections(*order[2:4]))
        writer.record_failures([given_up_of(5, layer="dense")], error="e", traceback="t")
    return tmp_path / "run"


def test_small_parts_become_one_of_each_kind(path: Path) -> None:
    before = frames(path)
    done = compact(path)
    assert (done.merged, done.parts_before, done.parts_after) == (2, 14, 2)
    assert done.bytes_after == sum(file.stat().st_size for file in path.glob("*/part-*"))
    assert done.bytes_before > done.bytes_after
    assert rows(path) == [24]
    assert rows(path, "injections") == [48]
    assert_same(frames(path), before)


def test_second_compaction_has_nothing_to_do(path: Path) -> None:
    compact(path)
    files = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    size = sum(file.stat().st_size for file in path.glob("*/part-*"))
    assert compact(path) == Compacted(0, 2, 2, size, size)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == files


def test_injections_of_trials_that_are_not_done_are_not_merged(
    path: Path, header: RunHeader, injections: Table
) -> None:
    before = frames(path)
    for number, token in ((40, "a"), (41, "b")):
        orphan = f"injections/part-000050-0000000{token}.parquet"
        write_part(open_storage(path), orphan, injections(number), header.identity)
    compact(path)
    assert rows(path, "injections") == [48]
    assert_same(frames(path), before)


def test_injections_are_all_merged_while_trials_cannot_be_read(
    path: Path, header: RunHeader
) -> None:
    (path / "trials" / parts(path)[0]).write_bytes(b"PAR1")
    compact(path)
    assert rows(path, "injections") == [48]


@pytest.mark.parametrize("numbers", [[1], [0, 1]])
def test_trial_whose_sites_differ_when_it_is_executed_again_has_each_once(
    path: Path, header: RunHeader, trials: Table, injections: Table, numbers: list[int]
) -> None:
    """A driver is killed after the injections; another kind of machine rounds otherwise."""
    folder = path.parent / "killed"
    with RunWriter.open(folder, header) as writer:
        writer.append(trials(2), injections(2))
    for number in numbers:
        orphan = f"injections/part-00005{number}-0000000a.parquet"
        write_part(open_storage(folder), orphan, injections(number), header.identity)
    compact(folder)
    with RunWriter.open(folder, header) as writer:
        writer.append(trials(*numbers), rounded_otherwise(injections(*numbers)))
    assert len(open_run(folder).injections()) == 2 + 2 * len(numbers)
    compact(folder)
    assert len(open_run(folder).injections()) == 2 + 2 * len(numbers)


@pytest.mark.usefixtures("limits")
def test_parts_hold_no_more_than_their_limit_and_at_most_one_is_small(path: Path) -> None:
    before = frames(path)
    assert compact(path).merged == 4
    assert rows(path) == [16, 8]
    assert rows(path, "injections") == [32, 16]
    assert compact(path).merged == 0
    assert_same(frames(path), before)


@pytest.mark.usefixtures("limits")
def test_large_parts_are_left_alone(path: Path, header: RunHeader, trials: Table) -> None:
    compact(path)
    before = parts(path)
    with RunWriter.open(path, header, flush_seconds=0) as writer:
        for number in range(24, 27):
            writer.append(trials(number))
    assert compact(path).merged == 1
    assert parts(path)[:2] == before
    assert rows(path) == [16, 8, 3]


def test_merged_part_is_one_of_the_run(path: Path) -> None:
    footers = [pq.read_metadata(path / "trials" / name).metadata for name in parts(path)]
    compact(path)
    (name,) = parts(path)
    footer = pq.read_metadata(path / "trials" / name)
    keys = (b"injecttf2.identity", b"injecttf2.schema_version")
    assert [footer.metadata[key] for key in keys] == [footers[0][key] for key in keys]
    assert int(name[5:11]) == 8
    layers = pd.read_parquet(path / "trials", columns=["layer_index", "bit"])
    assert list(layers.itertuples(index=False)) == sorted(layers.itertuples(index=False))


def test_run_goes_on_after_a_compaction(path: Path, header: RunHeader, trials: Table) -> None:
    compact(path)
    with RunWriter.open(path, header) as writer:
        assert len(writer.done_ids()) == 24
        writer.append(trials(24))
    assert [name[:11] for name in parts(path)] == ["part-000008", "part-000010"]
    assert len(open_run(path).trials()) == 25


def test_compaction_is_told_in_the_event_log(path: Path) -> None:
    compact(path)
    event = open_run(path).events().iloc[-1]
    assert (event["event"], event["merged"], event["parts_before"]) == ("compacted", 2, 14)


def test_run_that_is_written_is_not_compacted(path: Path, header: RunHeader) -> None:
    before = parts(path)
    with RunWriter.open(path, header), pytest.raises(RunLockedError):
        compact(path)
    assert parts(path) == before
    compact(path)
    RunWriter.open(path, header).close()


def test_missing_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError):
        compact(tmp_path)
    assert list(tmp_path.iterdir()) == []


def damaged_inside(contents: bytes) -> bytes:
    return contents[:4] + b"\xff" * 100 + contents[104:]


def torn(contents: bytes) -> bytes:
    return contents[:-20]


@pytest.mark.parametrize("folder", ["trials", "injections"])
@pytest.mark.parametrize("damage", [damaged_inside, torn])
def test_damaged_part_is_set_aside_and_the_others_are_merged(
    path: Path, header: RunHeader, folder: str, damage: Callable[[bytes], bytes]
) -> None:
    part = path / folder / parts(path, folder)[1]
    part.write_bytes(damage(part.read_bytes()))
    done = compact(path)
    assert (done.merged, done.parts_before, done.parts_after) == (2, 14, 2)
    (warning,) = done.warnings
    assert warning.startswith(f"{part} cannot be read and was renamed to {folder}/.{part.name}")
    assert (part.parent / f".{part.name}.torn").exists()
    assert open_run(path).events().iloc[-1]["warnings"] == [warning]
    with RunWriter.open(path, header) as writer:
        assert len(writer.done_ids()) == (20 if folder == "trials" else 24)
    assert rows(path, "injections") == [48 if folder == "trials" else 40]


def test_full_disk_ends_the_compaction_and_nothing_is_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = frames(path)

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", no_space)
        with pytest.raises(ResultsError, match="No space"):
            compact(path)
    assert_same(frames(path), before)
    assert compact(path).parts_after == 2
    assert_same(frames(path), before)


@pytest.mark.parametrize(
    "journal",
    ["{", "[]", "{}", '{"merged": 1, "replaces": ["../campaign.json", "trials"]}'],
)
def test_journal_that_tells_nothing_is_removed(path: Path, header: RunHeader, journal: str) -> None:
    (path / "compacting.json").write_text(journal)
    before = frames(path)
    RunWriter.open(path, header).close()
    assert not (path / "compacting.json").exists()
    assert_same(frames(path), before)


def test_journal_of_an_unreadable_merge_removes_nothing(path: Path, header: RunHeader) -> None:
    names = [f"trials/{name}" for name in parts(path)]
    merged = "trials/part-000099-0a1b2c3d.parquet"
    (path / merged).write_bytes(b"PAR1")
    (path / "compacting.json").write_text(json.dumps({"merged": merged, "replaces": names}))
    with RunWriter.open(path, header) as writer:
        assert len(writer.done_ids()) == 24
        assert merged in writer.warnings[0]


@pytest.mark.parametrize("method", ["trials", "injections", "summary", "status", "failures"])
def test_readers_start_anew_when_parts_are_replaced_under_them(
    path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    opened = open_run(path)
    expected = getattr(opened, method)()
    find = parts_module.part_names
    calls = []

    def find_and_compact(storage: Storage, folder: str) -> list[str]:
        found = find(storage, folder)
        calls.append(found)
        if len(calls) == 1:
            compact(path)
        return found

    monkeypatch.setattr(parts_module, "part_names", find_and_compact)
    received = getattr(opened, method)()
    assert len(calls) > 1
    if method == "status":
        assert received == expected
    else:
        pd.testing.assert_frame_equal(received, expected)


def test_run_on_object_storage_is_written_watched_compacted_and_resumed(
    s3: str, header: RunHeader, trials: Table, injections: Table, trial_id: Callable[[int], int]
) -> None:
    with RunWriter.open(s3, header, flush_seconds=0) as writer:
        for number in range(3):
            writer.append(trials(number), injections(number))
        writer.record_failures([given_up_of(trial_id(40), layer="dense")], error="e", traceback="t")
        writer.heartbeat({"state": "running", "workers": 2})
    before = [open_run(s3).trials(), open_run(s3).injections()]
    done = compact(s3)
    assert (done.merged, done.parts_before, done.parts_after) == (2, 6, 2)
    assert compact(s3) == Compacted(0, 2, 2, done.bytes_after, done.bytes_after)
    assert_same([open_run(s3).trials(), open_run(s3).injections()], before)
    with RunWriter.open(s3, header) as writer:
        assert len(writer.done_ids()) == 3
        assert writer.failed_ids().tolist() == [trial_id(40)]
        with pytest.raises(RunLockedError):
            compact(s3)
    status = open_run(s3).status()
    assert (status.done, status.failures) == (3, 1)
    assert status.heartbeat is not None
    assert (status.heartbeat.state, status.heartbeat.workers) == ("stopped", 2)
    assert open_run(s3).events()["event"].tolist() == [
        "opened",
        *["published"] * 6,
        "closed",
        "compacted",
        "opened",
        "closed",
    ]


def test_killed_at_any_step_no_row_is_lost_and_none_is_doubled(
    tmp_path: Path, header: RunHeader, trials: Table, injections: Table
) -> None:
    with RunWriter.open(tmp_path / "run", header, flush_seconds=0) as writer:
        for numbers in ((0, 20, 40), (21, 1), (1, 2)):
            writer.append(trials(*numbers), injections(*numbers))
    expected = rows_read(tmp_path / "run")
    (tmp_path / "killed").mkdir()
    command = [sys.executable, "-c", KILL_AT_EVERY_STEP, tmp_path / "run", tmp_path / "killed"]
    assert subprocess.run(command, check=False).returncode == 0
    *killed, whole = sorted((tmp_path / "killed").iterdir())
    assert rows(whole) == [6]
    left = set()
    for number, copy in enumerate(killed):
        left.add((len(parts(copy)), len(parts(copy, "injections")), journal(copy)))
        assert rows_read(copy) == expected
        if number % 2:
            with RunWriter.open(copy, header) as writer:
                assert writer.done_ids().tolist() == sorted(expected[0])
            assert not journal(copy)
        compact(copy)
        assert rows(copy) == [6]
        assert rows(copy, "injections") == [12]
        assert list(copy.rglob("*.tmp")) == list(copy.rglob("compacting.json")) == []
        assert rows_read(copy) == expected
    trials_merge = {(count, 3, True) for count in (3, 4, 3, 2, 1)}
    injections_merge = {(1, count, True) for count in (3, 4, 3, 2, 1)}
    assert left == {(3, 3, False), *trials_merge, (1, 3, False), *injections_merge}


def journal(path: Path) -> bool:
    return (path / "compacting.json").exists()


def rows_read(path: Path) -> tuple[list[int], list[tuple[int, int]], int]:
    """What readers see: ids of trials, trial and sample of injections, trials that are done."""
    opened = open_run(path)
    injections = opened.injections()
    sites = zip(injections["trial_id"].tolist(), injections["sample"].tolist(), strict=True)
    return opened.trials()["trial_id"].tolist(), list(sites), opened.status().done
