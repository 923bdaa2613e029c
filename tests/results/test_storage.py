import os
from pathlib import Path
from typing import BinaryIO

import pytest

from results.errors import ResultsError
from results.storage import LocalStorage


def test_published_file_holds_its_contents_and_nothing_else_is_left(tmp_path: Path) -> None:
    LocalStorage(tmp_path).publish("trials/a", b"one")
    assert (tmp_path / "trials/a").read_bytes() == b"one"
    assert [path.name for path in (tmp_path / "trials").iterdir()] == ["a"]


def test_contents_may_be_written_by_a_function(tmp_path: Path) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"one")
        file.write(b"two")

    LocalStorage(tmp_path).publish("a", write)
    assert (tmp_path / "a").read_bytes() == b"onetwo"


def test_name_does_not_exist_before_its_contents_are_complete(tmp_path: Path) -> None:
    seen: list[str] = []

    def write(file: BinaryIO) -> None:
        file.write(b"half")
        file.flush()
        seen.extend(path.name for path in tmp_path.iterdir())

    LocalStorage(tmp_path).publish("a", write)
    assert len(seen) == 1
    assert seen[0].startswith(".a.")


def test_interrupted_writing_keeps_the_old_contents(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.publish("a", b"old")

    def write(file: BinaryIO) -> None:
        file.write(b"new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.publish("a", write)
    assert storage.read("a") == b"old"
    assert storage.files() == ["a"]


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


def test_uri_is_refused() -> None:
    with pytest.raises(ResultsError, match="'s3://bucket/run', expected a local path"):
        LocalStorage("s3://bucket/run")
