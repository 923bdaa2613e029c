"""What a writer does while a service refuses: it waits, and loses nothing, up to a point."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from results import ResultsError, RunHeader, RunWriter, open_run
from results.storage.object_store import ObjectStorage
from results.writing import retry as outage
from tests.results.conftest import given_up_of
from tests.results.storage.test_object_store import Relay, through

Table = Callable[..., pa.Table]
Id = Callable[[int], int]
NETWORK = "AWS Error NETWORK_CONNECTION during PutObject operation"


class Service:
    """The uploads of a service that a test can refuse."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refusals = 0
        self.uploads: list[str] = []
        upload = ObjectStorage._upload

        def refused(storage: ObjectStorage, name: str, contents: bytes) -> None:
            if name.startswith(("trials/", "injections/", "failures/")):
                self.uploads.append(name)
                if self.refusals > 0:
                    self.refusals -= 1
                    raise OSError(NETWORK)
            upload(storage, name, contents)

        monkeypatch.setattr(ObjectStorage, "_upload", refused)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr(outage, "RETRY_SECONDS", 0.0)
    return Service(monkeypatch)


@pytest.fixture
def relay(s3_url: str) -> Iterator[Relay]:
    relay = Relay(s3_url)
    yield relay
    relay.close()


def test_service_that_is_away_for_three_seconds_ends_no_run(
    relay: Relay, s3: str, header: RunHeader, trials: Table, injections: Table
) -> None:
    with RunWriter.open(through(relay, s3), header, flush_seconds=0) as writer:
        writer.append(trials(0), injections(0))
        relay.budget = 0
        threading.Timer(3.0, setattr, (relay, "budget", 10**12)).start()
        writer.append(trials(1), injections(1))
        assert open_run(s3).status().done == 1
        writer.append(trials(2), injections(2))
        writer.flush()
        assert open_run(s3).status().done == 3
    assert relay.cuts > 0
    assert len(open_run(s3).injections()) == 6
    events = open_run(s3).events()
    (reason,) = events[events["event"] == "put_off"]["reason"]
    assert "NETWORK_CONNECTION" in reason


def test_rows_that_were_refused_are_published_by_a_later_call(
    service: Service, s3: str, header: RunHeader, trials: Table, trial_id: Id
) -> None:
    with RunWriter.open(s3, header, flush_seconds=0) as writer:
        service.refusals = 2
        writer.append(trials(0))
        writer.append(trials(1))
        assert (service.refusals, writer.done_ids().tolist()) == (0, [])
        writer.maybe_flush()
        assert writer.done_ids().tolist() == [trial_id(1), trial_id(0)]
    first, *others = service.uploads
    assert others[:2] == [first, first]
    assert len({*service.uploads}) == len(ObjectStorage.from_uri(s3).files("trials")) == 2


def test_service_that_refused_is_left_alone_for_a_while(
    service: Service,
    s3: str,
    header: RunHeader,
    trials: Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(outage, "RETRY_SECONDS", 5.0)
    with RunWriter.open(s3, header, flush_seconds=0) as writer, monkeypatch.context() as patch:
        patch.setattr("results.writing.retry.time.monotonic", lambda: now)
        service.refusals = 1
        writer.append(trials(0))
        now = 104.9
        writer.append(trials(1))
        assert len(service.uploads) == 1
        now = 105.0
        writer.maybe_flush()
        assert len(service.uploads) == 3
    assert open_run(s3).status().done == 2


def test_failures_that_were_refused_are_recorded_later(
    service: Service, s3: str, header: RunHeader
) -> None:
    with RunWriter.open(s3, header) as writer:
        service.refusals = 1
        writer.record_failures([given_up_of(7)], error="e", traceback="t")
        assert writer.failed_ids().tolist() == [7]
        assert open_run(s3).status().failures == 0
        writer.maybe_flush()
        assert open_run(s3).status().failures == 1


def test_what_waits_at_the_end_is_published_once_the_service_is_back(
    service: Service, s3: str, header: RunHeader, trials: Table
) -> None:
    with RunWriter.open(s3, header, flush_seconds=1e9) as writer:
        writer.append(trials(0))
        service.refusals = 3
    assert open_run(s3).status().done == 1


def test_patience_ends(service: Service, s3: str, header: RunHeader, trials: Table) -> None:
    with pytest.raises(ResultsError) as caught:  # noqa: SIM117, PT012
        with RunWriter.open(s3, header, flush_seconds=1e9, patience_seconds=0.05) as writer:
            service.refusals = 10**6
            writer.append(trials(0, 1))
            writer.flush()
    assert len(service.uploads) > 2
    assert caught.value.message == (
        f"the object could not be written: {NETWORK}; 2 finished trials are not published"
    )
    assert open_run(s3).status().done == 0


def test_lost_lock_ends_a_run_at_once_and_says_what_was_refused_before(
    service: Service, s3: str, header: RunHeader, trials: Table
) -> None:
    writer = RunWriter.open(s3, header, flush_seconds=0)
    service.refusals = 10**6
    writer.append(trials(0))
    writer._lock._lost = "it could not be renewed for 90 s"  # type: ignore[attr-defined]
    with pytest.raises(ResultsError) as caught:
        writer.flush()
    assert len(service.uploads) == 1
    lost, before, unpublished = caught.value.message.split("; ")
    assert lost.startswith("the lock on the run directory was lost: it could not be renewed")
    assert before == f"before that, the object could not be written: {NETWORK}"
    assert unpublished == "1 finished trials are not published"
    with suppress(ResultsError):
        writer.close()


def test_interrupted_run_asks_once_more_and_ends(
    service: Service, s3: str, header: RunHeader, trials: Table
) -> None:
    def work() -> None:
        with RunWriter.open(s3, header, flush_seconds=0) as writer:
            service.refusals = 10**6
            writer.append(trials(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert len(service.uploads) == 2
    assert "1 finished trials are not published" in caught.value.__notes__[0]


def test_full_disk_is_not_waited_for(
    tmp_path: Path, header: RunHeader, trials: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    writer = RunWriter.open(tmp_path, header, flush_seconds=0)
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", no_space)
        with pytest.raises(ResultsError, match="1 finished trials are not published"):
            writer.append(trials(0))
    writer.close()
    assert open_run(tmp_path).status().done == 1
