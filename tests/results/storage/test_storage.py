"""The contract of ``Storage``, which both kinds keep."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results.errors import ResultsError, RunLockedError
from results.storage.storage import Storage


def test_published_file_holds_its_contents_and_nothing_else_is_left(storage: Storage) -> None:
    storage.publish("trials/a", b"one")
    assert storage.read("trials/a") == b"one"
    assert storage.files("trials") == ["a"]
    assert storage.files() == ["trials"]
    assert storage.size("trials/a") == 3


def test_publishing_again_replaces(storage: Storage) -> None:
    for contents in (b"longer", b"one", b""):
        storage.publish("a", contents)
        assert (storage.read("a"), storage.size("a")) == (contents, len(contents))


def test_file_is_opened_for_random_access(storage: Storage) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2, 3]}), file)
    storage.publish("trials/a", file.getvalue())
    assert pq.ParquetFile(storage.open("trials/a")).read().column("a").to_pylist() == [1, 2, 3]


def test_large_file_is_whole(storage: Storage) -> None:
    contents = bytes(range(256)) * 100_000
    storage.publish("a", contents)
    assert storage.read("a") == contents


def test_what_is_missing_is_not_found(storage: Storage) -> None:
    for call in (storage.read, storage.size, storage.open):
        with pytest.raises(FileNotFoundError):
            call("trials/a")
    assert storage.files() == []
    assert storage.files("trials") == []
    storage.remove("trials/a")


def test_renamed_file_has_the_other_name_only(storage: Storage) -> None:
    storage.publish("trials/a", b"one")
    storage.publish("trials/b", b"two")
    storage.rename("trials/a", "trials/.a.torn")
    assert storage.files("trials") == [".a.torn", "b"]
    assert storage.read("trials/.a.torn") == b"one"


def test_removed_file_is_gone(storage: Storage) -> None:
    storage.publish("trials/a", b"one")
    storage.remove("trials/a")
    storage.remove("trials/a")
    assert storage.files("trials") == []


def test_appended_text_is_added_at_the_end(storage: Storage) -> None:
    storage.append("events/a.jsonl", b"one\n")
    assert storage.read("events/a.jsonl") == b"one\n"
    storage.append("events/a.jsonl", b"two\n")
    storage.append("events/b.jsonl", b"three\n")
    assert storage.read("events/a.jsonl") == b"one\ntwo\n"
    assert storage.read("events/b.jsonl") == b"three\n"


def test_file_in_place_of_the_run_directory_is_seen(storage: Storage) -> None:
    assert not storage.is_file()
    storage.publish("a", b"one")
    assert not storage.is_file()


def test_paths_are_below_the_root(storage: Storage) -> None:
    assert storage.path("trials/a") == f"{storage.path()}/trials/a"


def test_sweep_keeps_what_is_published(storage: Storage) -> None:
    storage.create()
    names = [".part-000002-0a1b2c3d.parquet.torn", "part-000001-0a1b2c3d.parquet"]
    for name in names:
        storage.publish(f"trials/{name}", b"one")
    storage.sweep()
    assert storage.files("trials") == names


def test_second_writer_is_refused_until_the_first_lets_go(storage: Storage) -> None:
    storage.create()
    lock = storage.lock()
    lock.check()
    assert lock.held
    with pytest.raises(RunLockedError, match="another process writes into this run") as caught:
        storage.lock()
    assert caught.value.place is not None
    assert caught.value.place.startswith(storage.path("lock"))
    lock.check()
    lock.release()
    lock.release()
    assert not lock.held
    with pytest.raises(ResultsError, match="it was released"):
        lock.check()
    storage.lock().release()
