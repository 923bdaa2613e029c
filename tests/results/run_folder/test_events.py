import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from results import ResultsError, RunHeader, RunWriter, open_run
from results.run_folder import events
from results.run_folder.events import EventLog, read_events
from results.storage.local import LocalStorage

Table = Callable[..., pa.Table]


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


def logs(path: Path) -> list[Path]:
    return sorted((path / "events").iterdir())


def told(path: Path) -> list[tuple[str, object]]:
    return [(event["event"], event.get("n")) for event in read_events(LocalStorage(path))]


def test_events_wait_until_they_are_flushed(storage: LocalStorage, tmp_path: Path) -> None:
    log = EventLog(storage)
    log.log("one", n=1, name="Łódź", number=np.float64(2.5))
    assert not (tmp_path / "events").exists()
    log.flush()
    log.log("two", n=2)
    log.flush()
    log.flush()
    (file,) = logs(tmp_path)
    first, second = (json.loads(line) for line in file.read_text().splitlines())
    assert datetime.fromisoformat(first.pop("at")).utcoffset() == datetime.now(UTC).utcoffset()
    assert first == {"event": "one", "n": 1, "name": "Łódź", "number": 2.5}
    assert (second["event"], second["n"]) == ("two", 2)


def test_field_that_every_event_has_is_refused(storage: LocalStorage) -> None:
    with pytest.raises(ValueError, match=r"'lost' has a field 'at': every event has its own"):
        EventLog(storage).log("lost", at=3)


def test_many_events_are_written_unasked(
    storage: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "FLUSH_LINES", 3)
    log = EventLog(storage)
    for n in range(5):
        log.log("e", n=n)
    assert told(tmp_path) == [("e", 0), ("e", 1), ("e", 2)]


def test_refused_events_wait_and_the_oldest_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_WAITING", 3)
    (tmp_path / "events").write_text("a file where the folder should be")
    log = EventLog(LocalStorage(tmp_path))
    for n in range(5):
        log.log("e", n=n)
        log.flush()
    (tmp_path / "events").unlink()
    log.flush()
    assert told(tmp_path) == [("events_dropped", None), ("e", 2), ("e", 3), ("e", 4)]
    log.log("e", n=5)
    log.flush()
    assert told(tmp_path)[-2:] == [("e", 4), ("e", 5)]
    assert read_events(LocalStorage(tmp_path))[0]["number"] == 2


def test_piece_of_a_refused_line_spoils_no_other(storage: LocalStorage, tmp_path: Path) -> None:
    class FullDisk(LocalStorage):
        full = True

        def append(self, name: str, contents: bytes) -> None:
            super().append(name, contents[:-5] if self.full else contents)
            if self.full:
                raise ResultsError("No space left on device")

    disk = FullDisk(tmp_path)
    log = EventLog(disk)
    log.log("e", n=1)
    log.flush()
    disk.full = False
    log.log("e", n=2)
    log.flush()
    assert told(tmp_path) == [("e", 1), ("e", 2)]


@pytest.mark.parametrize(
    "line", ["", '{"at": "2026-11-23T06:30:00+00:00", "ev', "[1]", "7", '{"event": "e"}', "\udcff"]
)
def test_torn_line_is_left_out(storage: LocalStorage, tmp_path: Path, line: str) -> None:
    log = EventLog(storage)
    log.log("e", n=1)
    log.flush()
    with logs(tmp_path)[0].open("ab") as file:
        file.write(line.encode("utf-8", "surrogateescape"))
    assert told(tmp_path) == [("e", 1)]


def test_writer_tells_what_it_does(
    tmp_path: Path, header: RunHeader, trials: Table, injections: Table
) -> None:
    with RunWriter.open(tmp_path / "run", header) as writer:
        writer.append(trials(0, 1), injections(0, 1))
        writer.log("worker lost", worker=3, error="killed")
    (tmp_path / "run" / "trials" / "part-000009-0a1b2c3d.parquet").write_bytes(b"torn")
    RunWriter.open(tmp_path / "run", header).close()
    assert len(logs(tmp_path / "run")) == 2
    frame = open_run(tmp_path / "run").events()
    assert frame.columns[:2].tolist() == ["at", "event"]
    assert str(frame["at"].dtype) == "datetime64[us, UTC]"
    assert frame["at"].is_monotonic_increasing
    assert frame["event"].tolist() == [
        "opened",
        "worker lost",
        "published",
        "published",
        "closed",
        "opened",
        "closed",
    ]
    size = (tmp_path / "run" / frame["part"][3]).stat().st_size
    assert frame.loc[3, ["rows", "bytes"]].tolist() == [2, size]
    assert frame["part"][2].startswith("injections/part-000001-")
    assert frame.loc[1, ["worker", "error"]].tolist() == [3, "killed"]
    assert frame["done"].dropna().tolist() == [0, 2]
    assert "part-000009" in frame["warnings"][5][0]


def test_run_without_events_has_an_empty_frame(tmp_path: Path, header: RunHeader) -> None:
    RunWriter.open(tmp_path, header).close()
    for log in logs(tmp_path):
        log.unlink()
    pd.testing.assert_frame_equal(
        open_run(tmp_path).events().astype(str), pd.DataFrame({"at": [], "event": []}, dtype=str)
    )


def test_events_are_on_disk_with_the_next_heartbeat(tmp_path: Path, header: RunHeader) -> None:
    with RunWriter.open(tmp_path, header) as writer:
        writer.log("e", n=1)
        assert told(tmp_path) == [("opened", None)]
        writer.heartbeat({"state": "running"})
        assert told(tmp_path) == [("opened", None), ("e", 1)]
