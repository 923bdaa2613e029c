"""What a writer does when the disk or the service refuses: nothing is lost that can be kept."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results import ResultsError, RunHeader, RunWriter, open_run, paths
from results.storage.local_files import sync_folder
from results.storage.object_store import ObjectStorage

Table = Callable[..., pa.Table]
Id = Callable[[int], int]


def parts(run: Path, folder: str = "trials") -> list[str]:
    return sorted(path.name for path in (run / folder).glob("*"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "mnist"


def test_failed_opening_lets_the_lock_go(
    run: Path, header: RunHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", _no_space)
        with pytest.raises(ResultsError, match="No space"):
            RunWriter.open(run, header)
    RunWriter.open(run, header).close()


def test_rows_stay_waiting_when_the_disk_is_full(
    run: Path, header: RunHeader, trials: Table, injections: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunWriter.open(run, header, flush_seconds=1e9) as writer:
        writer.append(trials(0), injections(0))
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", _no_space)
            with pytest.raises(ResultsError, match="No space"):
                writer.flush()
        assert writer.done_ids().tolist() == []
    assert len(open_run(run).trials()) == 1
    assert len(open_run(run).injections()) == 2


@pytest.mark.parametrize("folder", ["injections", "trials"])
def test_part_that_is_there_though_refused_is_published_again_under_its_name(
    run: Path,
    header: RunHeader,
    trials: Table,
    injections: Table,
    folder: str,
    trial_id: Id,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RunWriter.open(run, header, flush_seconds=1e9) as writer:
        writer.append(trials(0, 1), injections(0, 1))
        with monkeypatch.context() as patch:
            patch.setattr("results.storage.local.sync_folder", _no_durable_names_in(folder))
            with pytest.raises(ResultsError, match="2 finished trials are not published"):
                writer.flush()
        (refused,) = parts(run, folder)
        before = (run / folder / refused).read_bytes()
        assert writer.done_ids().tolist() == []
        writer.append(trials(2), injections(2))  # what was refused is due at once
        assert (run / folder / refused).read_bytes() == before
        assert writer.done_ids().tolist() == [trial_id(2), trial_id(1), trial_id(0)]
    for kind, rows in (("trials", [2, 1]), ("injections", [4, 2])):
        assert [pq.read_metadata(run / kind / name).num_rows for name in parts(run, kind)] == rows
    flushed = [paths.flushed_with(name) for name in parts(run)]
    assert flushed == [paths.flushed_with(name) for name in parts(run, "injections")]


def test_object_whose_arrival_was_not_told_is_published_again_under_its_name(
    s3: str,
    header: RunHeader,
    trials: Table,
    injections: Table,
    trial_id: Id,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upload = ObjectStorage._upload
    lost = []

    def upload_unheard(storage: ObjectStorage, name: str, contents: bytes) -> None:
        upload(storage, name, contents)
        if name.startswith("trials/") and not lost:
            lost.append(name)
            raise OSError("AWS Error NETWORK_CONNECTION during PutObject operation")

    monkeypatch.setattr(ObjectStorage, "_upload", upload_unheard)
    with pytest.raises(ResultsError, match="2 finished trials"):  # noqa: SIM117, PT012
        with RunWriter.open(s3, header, flush_seconds=1e9, patience_seconds=0) as writer:
            writer.append(trials(0, 1), injections(0, 1))
            writer.flush()
    storage = ObjectStorage.from_uri(s3)
    assert [f"trials/{name}" for name in storage.files("trials")] == lost
    (injections_part,) = storage.files("injections")
    assert paths.flushed_with(injections_part) == paths.flushed_with(lost[0])
    with RunWriter.open(s3, header) as writer:
        assert writer.done_ids().tolist() == [trial_id(1), trial_id(0)]


def _no_durable_names_in(folder: str) -> Callable[[Path], None]:
    """Return a ``sync_folder`` that the disk refuses for one folder."""

    def sync(path: Path) -> None:
        if path.name == folder:
            raise OSError(5, "Input/output error")
        sync_folder(path)

    return sync


def test_rows_that_are_lost_are_told_with_the_first_error(
    run: Path, header: RunHeader, trials: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        with RunWriter.open(run, header, flush_seconds=1e9) as writer:
            writer.append(trials(0, 1, 2))
            writer.flush()
            writer.append(trials(*range(3, 1203)))
            monkeypatch.setattr("os.replace", _no_space)
            writer.flush()

    with pytest.raises(ResultsError) as caught:
        work()
    monkeypatch.undo()
    part, message = str(caught.value).split(": ", 1)
    assert Path(part).parent == run / "trials"
    assert message == (
        "the file could not be written: No space left on device; 1,200 finished trials are not "
        "published\n  Mend the disk (space, permissions), then run the same command to resume. "
        "Trials that were not published are executed again."
    )
    assert not hasattr(caught.value, "__notes__")
    assert len(open_run(run).trials()) == 3
    assert open_run(run).events().iloc[-1][["event", "lost"]].tolist() == ["closed", 1200]
    RunWriter.open(run, header).close()


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_failing_to_close_does_not_hide_the_first_error(
    run: Path,
    header: RunHeader,
    trials: Table,
    kind: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def work() -> None:
        with RunWriter.open(run, header, flush_seconds=1e9) as writer:
            writer.append(trials(0))
            monkeypatch.setattr("os.replace", _no_space)
            raise kind("first")

    with pytest.raises(kind, match="first") as caught:
        work()
    monkeypatch.undo()
    (note,) = caught.value.__notes__
    assert "No space left on device; 1 finished trials are not published" in note
    RunWriter.open(run, header).close()


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_lock_is_let_go_when_the_last_flush_fails(
    run: Path, header: RunHeader, trials: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_writer = RunWriter.open(run, header, flush_seconds=1e9)
    open_writer.append(trials(0))
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", _no_space)
        with pytest.raises(ResultsError, match="No space"):
            open_writer.close()
    open_writer.close()
    RunWriter.open(run, header).close()
