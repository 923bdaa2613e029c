import os
from collections.abc import Callable
from pathlib import Path

import pytest

from results import RunHeader, RunWriter, open_run
from results.errors import ResultsError
from results.storage.local import LocalStorage


def test_published_file_holds_its_contents_and_nothing_else_is_left(tmp_path: Path) -> None:
    LocalStorage(tmp_path).publish("trials/a", b"one")
    assert (tmp_path / "trials/a").read_bytes() == b"one"
    assert [path.name for path in (tmp_path / "trials").iterdir()] == ["a"]


def test_name_does_not_exist_before_its_contents_are_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(LocalStorage(tmp_path).files()))
    LocalStorage(tmp_path).publish("a", b"one")
    assert [name.startswith(".a.") for name in seen[0]] == [True]
    assert seen[1] == ["a"]


@pytest.mark.parametrize("before", [["a"], []])
def test_interrupted_writing_keeps_the_old_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: list[str]
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    storage = LocalStorage(tmp_path)
    for name in before:
        storage.publish(name, b"old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        storage.publish("a", b"new")
    assert storage.files() == before
    assert [storage.read(name) for name in before] == [b"old"] * len(before)


def test_refusing_file_system_is_told_with_place_and_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ResultsError, match="No space left on device") as caught:
        LocalStorage(tmp_path).publish("a", b"new")
    assert caught.value.place == str(tmp_path / "a")
    assert "resume" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_contents_and_name_are_synced_in_that_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    sync, replace = os.fsync, os.replace

    def record_sync(descriptor: int) -> None:
        kind = "folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file"
        events.append(kind)
        sync(descriptor)

    def record_replace(source: Path, target: Path) -> None:
        events.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "replace", record_replace)
    LocalStorage(tmp_path).publish("a", b"new")
    assert events == ["file", "rename", "folder"]


def test_missing_folder_has_no_files(tmp_path: Path) -> None:
    assert LocalStorage(tmp_path / "none").files("trials") == []


def test_sweep_removes_only_what_writers_left(tmp_path: Path) -> None:
    folder = tmp_path / "trials"
    folder.mkdir()
    keep = ["part-000001-0a1b2c3d.parquet", ".part-000002-0a1b2c3d.parquet.torn", ".nfs123"]
    for name in [*keep, ".part-000003-0a1b2c3d.parquet.ffffffff.tmp"]:
        (folder / name).touch()
    LocalStorage(tmp_path).sweep()
    assert LocalStorage(tmp_path).files("trials") == sorted(keep)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(ResultsError) as caught:
        call()
    return str(caught.value)


def test_a_run_directory_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    storage = LocalStorage(tmp_path / "file" / "sub")
    reason = f"{tmp_path / 'file'} is a file, expected a folder\n  Choose another --output."
    place = f"{tmp_path}/file/sub"
    assert refusal(storage.create) == f"{place}: the run directory cannot be created: {reason}"
    assert refusal(storage.files) == f"{place}: the folder cannot be read: {reason}"
    assert "could not be written: Not a directory" in refusal(lambda: storage.publish("a", b""))
    with pytest.raises(FileNotFoundError):
        storage.read("a")


def test_a_folder_where_a_file_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert refusal(lambda: LocalStorage(tmp_path).read("a")) == (
        f"{tmp_path}/a: the file cannot be read: it is a folder, expected a file\n"
        "  Move it out of the run directory."
    )


def test_missing_permissions_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    storage = LocalStorage(tmp_path)
    (tmp_path / ".a.ffffffff.tmp").touch()
    for name in ("unlink", "mkdir", "read_bytes", "rename", "is_file"):
        monkeypatch.setattr(Path, name, denied)
    calls: list[Callable[[], object]] = [
        LocalStorage(tmp_path / "run").create,
        storage.sweep,
        storage.is_file,
        lambda: storage.read(".a.ffffffff.tmp"),
        lambda: storage.rename("a", "b"),
    ]
    for call in calls:
        assert ": Permission denied\n  Mend its permissions" in refusal(call)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("campaign.json", "status"),
        ("campaign.json", "run"),
        ("heartbeat.json", "status"),
        ("compacting.json", "run"),
    ],
)
def test_pipe_in_the_place_of_a_file_is_told_and_not_waited_for(
    tmp_path: Path, header: RunHeader, name: str, call: str
) -> None:
    RunWriter.open(tmp_path, header).close()
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    calls = {
        "status": lambda: open_run(tmp_path).status(),
        "run": lambda: RunWriter.open(tmp_path, header).close(),
    }
    assert refusal(calls[call]) == (
        f"{tmp_path / name}: the file cannot be read: it is a named pipe, expected a file\n"
        "  Move it out of the run directory."
    )


def test_pipes_among_failures_and_parts_are_named_by_the_status_and_set_aside_by_a_run(
    tmp_path: Path, header: RunHeader
) -> None:
    RunWriter.open(tmp_path, header).close()
    names = {
        "trials/part-000001-0a1b2c3d.parquet",
        "injections/part-000001-0a1b2c3d.parquet",
        "failures/20261123T063000.001234Z-0a1b2c3d.json",
    }
    for name in names:
        (tmp_path / name).parent.mkdir()
        os.mkfifo(tmp_path / name)
    unreadable = open_run(tmp_path).status().unreadable
    assert {*unreadable} == {name for name in names if not name.startswith("injections")}
    with RunWriter.open(tmp_path, header) as writer:
        assert len(writer.warnings) == 3
    for name in names:
        folder, file = name.split("/")
        assert [path.name for path in (tmp_path / folder).iterdir()] == [f".{file}.torn"]
