"""What a writer does about the small parts of a long run, and what it costs to watch one."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results import ResultsError, RunHeader, RunWriter, open_run
from results.reading.status import StatusReader
from results.storage.local import LocalStorage
from results.storage.opening import open_storage
from results.storage.storage import Storage
from results.writing import compaction

Table = Callable[..., pa.Table]
Id = Callable[[int], int]


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than four parts are many."""
    monkeypatch.setattr(compaction, "MANY_PARTS", 4)


def flipped(contents: bytes) -> bytes:
    """With another bit among the rows."""
    return contents[:30] + bytes([contents[30] ^ 1]) + contents[31:]


def cut(contents: bytes) -> bytes:
    """Without an end."""
    return contents[:-20]


def rows(path: Path, folder: str = "trials") -> list[int]:
    parts = sorted((path / folder).glob("part-*"))
    return [pq.read_metadata(part).num_rows for part in parts]


def write(writer: RunWriter, numbers: range, trials: Table, injections: Table) -> None:
    for number in numbers:
        writer.append(trials(number), injections(number))
        writer.flush()


@pytest.mark.parametrize("storage", ["local", "s3"], indirect=True)
def test_run_that_goes_on_keeps_few_parts(
    storage: Storage, header: RunHeader, trials: Table, injections: Table, trial_id: Id
) -> None:
    run, counts = storage.path(), []
    with RunWriter.open(run, header, flush_seconds=1e9) as writer:
        for number in range(14):
            write(writer, range(number, number + 1), trials, injections)
            counts.append(len(storage.files("trials")))
        assert writer.done_ids().tolist() == sorted(map(trial_id, range(14)))
    assert counts == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2]
    assert len(storage.files("injections")) == 2
    assert len(open_run(run).trials()) == 14
    assert len(open_run(run).injections()) == 28
    events = open_run(run).events()
    assert events[events["event"] == "merged"]["parts"].tolist() == [2, 2, 2]
    with RunWriter.open(run, header) as writer:
        assert len(writer.done_ids()) == 14


def test_many_parts_are_merged_when_a_run_is_gone_on_with(
    tmp_path: Path,
    header: RunHeader,
    trials: Table,
    injections: Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(compaction, "MANY_PARTS", 1000)
        with RunWriter.open(tmp_path, header) as writer:
            write(writer, range(6), trials, injections)
    before = open_run(tmp_path)
    assert rows(tmp_path) == [1] * 6
    with RunWriter.open(tmp_path, header) as writer:
        assert (rows(tmp_path), rows(tmp_path, "injections")) == ([6], [12])
        assert writer.warnings == []
        write(writer, range(6, 8), trials, injections)
    assert rows(tmp_path) == [6, 1, 1]
    pd.testing.assert_frame_equal(open_run(tmp_path).trials(), before.trials())


def test_large_parts_are_not_read_again_at_each_merge(
    tmp_path: Path,
    header: RunHeader,
    trials: Table,
    injections: Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compaction, "TRIAL_ROWS", 6)
    monkeypatch.setattr(compaction, "INJECTION_ROWS", 12)
    read = Counter[str]()
    original = LocalStorage.read

    def counting(storage: LocalStorage, name: str) -> bytes:
        read[name] += 1
        return original(storage, name)

    monkeypatch.setattr(LocalStorage, "read", counting)
    with RunWriter.open(tmp_path, header, flush_seconds=1e9) as writer:
        write(writer, range(30), trials, injections)
    assert {count for name, count in read.items() if "part-" in name} == {1}
    large = {f"injections/{part.name}" for part in (tmp_path / "injections").iterdir()}
    large = {name for name in large if pq.read_metadata(tmp_path / name).num_rows >= 6}
    assert len(large) >= 3
    assert not large & read.keys()
    with RunWriter.open(tmp_path, header, flush_seconds=1e9) as writer:
        write(writer, range(30, 44), trials, injections)
    assert not large & read.keys()
    assert len(open_run(tmp_path).injections()) == 88


def test_ids_that_a_large_part_tells_falsely_drop_no_row(
    tmp_path: Path,
    header: RunHeader,
    trials: Table,
    injections: Table,
    trial_id: Id,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compaction, "TRIAL_ROWS", 6)
    monkeypatch.setattr(compaction, "INJECTION_ROWS", 12)
    with RunWriter.open(tmp_path, header, flush_seconds=1e9) as writer:
        write(writer, range(10), trials, injections)
    every = np.sort(np.array([*map(trial_id, range(20))], np.uint64))
    asked: list[str] = []
    monkeypatch.setattr(
        "results.writing.replacing.told_ids", lambda _, name: (asked.append(name), every)[1]
    )
    with RunWriter.open(tmp_path, header, flush_seconds=1e9) as writer:
        write(writer, range(10, 20), trials, injections)
    assert asked
    assert sorted(open_run(tmp_path).trials()["trial_id"]) == every.tolist()
    assert len(open_run(tmp_path).injections()) == 40


def test_merge_ends_when_no_more_than_enough_are_left(
    tmp_path: Path,
    header: RunHeader,
    trials: Table,
    injections: Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parts that are not so small are merged a few at a time, so that nobody waits for long."""
    monkeypatch.setattr(compaction, "TRIAL_ROWS", 6)
    monkeypatch.setattr(compaction, "INJECTION_ROWS", 12)
    with RunWriter.open(tmp_path, header, flush_seconds=1e9) as writer:
        for number in range(0, 18, 2):
            writer.append(trials(number, number + 1), injections(number, number + 1))
            writer.flush()
            if number == 8:
                assert rows(tmp_path) == [2, 2, 6]
                assert rows(tmp_path, "injections") == [4, 4, 12]
    assert rows(tmp_path) == [6, 2, 2, 6, 2]


def test_merge_that_is_refused_ends_no_run(
    tmp_path: Path,
    header: RunHeader,
    trials: Table,
    injections: Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise ResultsError("No space left on device")

    with RunWriter.open(tmp_path, header) as writer:
        with monkeypatch.context() as patch:
            patch.setattr("results.writing.replacing.named_part", refuse)
            write(writer, range(5), trials, injections)
        assert rows(tmp_path) == [1] * 5
        write(writer, range(5, 9), trials, injections)
        assert rows(tmp_path) == [1] * 9
        write(writer, range(9, 10), trials, injections)
        assert rows(tmp_path) == [10]
    assert not (tmp_path / "compacting.json").exists()
    events = open_run(tmp_path).events()
    assert events[events["event"] == "not_merged"]["reason"].tolist() == ["No space left on device"]


def test_damaged_injections_do_not_keep_a_run_from_going_on(
    tmp_path: Path, header: RunHeader, trials: Table, injections: Table
) -> None:
    with RunWriter.open(tmp_path, header) as writer:
        write(writer, range(4), trials, injections)
    damaged = min((tmp_path / "injections").iterdir())
    contents = damaged.read_bytes()
    damaged.write_bytes(contents[:4] + b"\xff" * 100 + contents[104:])
    with RunWriter.open(tmp_path, header) as writer:
        write(writer, range(4, 5), trials, injections)
        assert (rows(tmp_path), rows(tmp_path, "injections")) == ([5], [8])
        (warning,) = writer.warnings
    assert warning.startswith(f"{damaged} cannot be read and was renamed to injections/.part-")
    assert "its injections are lost" in warning
    with RunWriter.open(tmp_path, header) as writer:
        assert len(writer.done_ids()) == 5


def test_part_is_read_once_by_who_watches(
    tmp_path: Path,
    header: RunHeader,
    trials: Table,
    injections: Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    read = LocalStorage.read

    def tell(storage: LocalStorage, name: str) -> bytes:
        opened.extend([name] if name.startswith("trials/") else [])
        return read(storage, name)

    reader = StatusReader(open_storage(tmp_path))
    with RunWriter.open(tmp_path, header) as writer:
        write(writer, range(2), trials, injections)
        monkeypatch.setattr(LocalStorage, "read", tell)
        assert reader.read().done == 2
        assert len(opened) == len({*opened}) == 2
        assert reader.read().done == 2
        assert len(opened) == 2
        monkeypatch.undo()
        write(writer, range(2, 3), trials, injections)
        monkeypatch.setattr(LocalStorage, "read", tell)
        assert reader.read().done == 3
        assert len(opened) == len({*opened}) == 3


def test_who_watches_sees_what_a_merge_replaced_once_and_the_plan_as_it_is_now(
    tmp_path: Path, header: RunHeader, trials: Table, injections: Table
) -> None:
    reader = StatusReader(open_storage(tmp_path))
    with RunWriter.open(tmp_path, header) as writer:
        write(writer, range(4), trials, injections)
        assert reader.read() == open_run(tmp_path).status()
        write(writer, range(4, 5), trials, injections)
        writer.set_outside({"conv2d": 2}, writer.failed_ids())
        assert (reader.read().done, reader.read().outside) == (3, {"conv2d": 2})


def test_damaged_part_is_named_by_the_status(
    tmp_path: Path, header: RunHeader, trials: Table, injections: Table
) -> None:
    with RunWriter.open(tmp_path, header) as writer:
        write(writer, range(2), trials, injections)
    damaged = min((tmp_path / "trials").iterdir())
    contents = damaged.read_bytes()
    damaged.write_bytes(contents[:4] + b"\xff" * 100 + contents[104:])
    status = open_run(tmp_path).status()
    assert (status.done, status.unreadable) == (1, (f"trials/{damaged.name}",))


@pytest.mark.parametrize("damage", [flipped, cut])
def test_trials_damaged_while_a_run_is_at_work_are_left_to_the_next_open(
    tmp_path: Path,
    header: RunHeader,
    trials: Table,
    injections: Table,
    trial_id: Id,
    damage: Callable[[bytes], bytes],
) -> None:
    with RunWriter.open(tmp_path, header) as writer:
        write(writer, range(3), trials, injections)
        assert len(writer.lost_ids()) == 0
        part = min((tmp_path / "trials").iterdir())
        part.write_bytes(damage(part.read_bytes()))
        write(writer, range(3, 14), trials, injections)
        (warning,) = writer.warnings
        assert warning.startswith(f"{part} was damaged while this run was at work: the same ")
        assert writer.lost_ids().tolist() == [trial_id(0)]
    assert part.exists()
    with RunWriter.open(tmp_path, header) as writer:
        assert f"{part} cannot be read and was renamed to" in writer.warnings[0]
        assert writer.done_ids().tolist() == sorted(map(trial_id, range(1, 14)))
