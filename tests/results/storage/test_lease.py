import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from results import paths
from results.errors import ResultsError, RunLockedError
from results.storage.lease import Lease
from results.storage.object_store import ObjectStorage

HOLD = """
import sys
from results.storage.opening import open_storage
lock = open_storage(sys.argv[1]).lock()
print("locked", flush=True)
sys.stdin.read()
"""
FOREIGN = "lock/00112233445566ff.json"


@pytest.fixture
def storage(s3: str) -> ObjectStorage:
    return ObjectStorage.from_uri(s3)


@pytest.fixture
def holder(s3: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, s3], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        yield process
        process.kill()


def claim_from_elsewhere(storage: ObjectStorage) -> None:
    claim = {"host": "far", "pid": 7, "since": "2026-11-23T06:30:00+00:00", "instance": "a b 7 1"}
    storage.publish(FOREIGN, json.dumps(claim).encode())


def test_second_process_is_refused_and_told_who_holds_the_lock(
    storage: ObjectStorage, holder: subprocess.Popen[bytes]
) -> None:
    before = storage.files("lock")
    with pytest.raises(RunLockedError) as caught:
        storage.lock()
    assert caught.value.holder["pid"] == holder.pid
    assert caught.value.holder["host"] == os.uname().nodename
    assert f"pid {holder.pid}, since 20" in caught.value.message
    assert "last heard of" in caught.value.message
    assert "If it has died, run the same command again in 120 s." in str(caught.value.hint)
    assert storage.files("lock") == before  # its own claim is withdrawn


def test_lock_of_a_process_that_was_killed_here_is_free_at_once(
    storage: ObjectStorage, holder: subprocess.Popen[bytes]
) -> None:
    (left,) = storage.files("lock")
    holder.kill()
    holder.wait()
    lock = storage.lock()
    (mine,) = storage.files("lock")
    assert mine != left
    assert json.loads(storage.read(f"lock/{mine}"))["pid"] == os.getpid()
    lock.release()
    assert storage.files("lock") == []


def test_claim_of_another_machine_counts_until_it_was_silent_for_long(
    storage: ObjectStorage,
) -> None:
    claim_from_elsewhere(storage)
    with pytest.raises(RunLockedError, match="host far, pid 7, since 2026-11-23T06:30"):
        storage.lock()
    lock = Lease.acquire(storage, stale=-1)
    assert FOREIGN not in {f"lock/{file}" for file in storage.files("lock")}
    lock.release()


def test_claim_that_makes_no_sense_counts_too(storage: ObjectStorage) -> None:
    storage.publish(FOREIGN, b"{")
    with pytest.raises(RunLockedError, match="host unknown, pid unknown, since unknown"):
        storage.lock()


def test_what_is_no_claim_is_left_alone(storage: ObjectStorage) -> None:
    storage.publish("lock/notes.txt", b"")
    storage.lock().release()
    assert storage.files("lock") == ["notes.txt"]


def test_of_many_at_the_same_time_at_most_one_is_admitted(s3: str) -> None:
    begin = threading.Barrier(6)
    admitted, refused = [], []

    def come() -> None:
        storage = ObjectStorage.from_uri(s3)
        begin.wait()
        try:
            admitted.append(storage.lock())
        except RunLockedError:
            refused.append(1)

    threads = [threading.Thread(target=come) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) <= 1
    assert len(admitted) + len(refused) == 6
    for lock in admitted:
        lock.release()
    ObjectStorage.from_uri(s3).lock().release()


def test_claim_is_written_again_and_again(
    storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = threading.Semaphore(0)
    publish = storage.publish

    def tell(name: str, contents: bytes) -> None:
        publish(name, contents)
        assert paths.is_claim(name)
        written.release()

    monkeypatch.setattr(storage, "publish", tell)
    lock = Lease.acquire(storage, refresh=0.01)
    for _ in range(5):
        assert written.acquire(timeout=20)
    lock.check()
    lock.release()
    assert storage.files("lock") == []
    assert "injecttf2-claim" not in {thread.name for thread in threading.enumerate()}


def test_claim_that_was_removed_is_lost_and_does_not_come_back(
    storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Lease.acquire(storage, refresh=0.01)
    monkeypatch.setattr(storage, "times", lambda _: {})
    (keeper,) = [thread for thread in threading.enumerate() if thread.name == "injecttf2-claim"]
    keeper.join(20)
    assert not keeper.is_alive()
    (mine,) = storage.files("lock")
    storage.remove(f"lock/{mine}")
    with pytest.raises(ResultsError, match="was lost: its claim was removed") as caught:
        lock.check()
    assert caught.value.place == storage.path(f"lock/{mine}")
    assert storage.files("lock") == []
    assert lock.held
    lock.release()


def test_claim_that_cannot_be_renewed_is_lost_before_others_take_it_for_dead(
    storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Lease.acquire(storage, stale=120, refresh=3600)
    now = [lock._written]
    monkeypatch.setattr("results.storage.lease._now", lambda: now[0])
    now[0] += 90
    lock.check()
    now[0] += 1
    with pytest.raises(ResultsError, match="it could not be renewed for 90 s"):
        lock.check()
    lock.release()


def test_claim_whose_renewal_took_too_long_is_withdrawn(
    storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Lease.acquire(storage, stale=120, refresh=3600)
    times = iter([lock._written + 1, lock._written + 121])
    monkeypatch.setattr("results.storage.lease._now", lambda: next(times))
    lock._renew()
    assert storage.files("lock") == []
    with pytest.raises(ResultsError, match="it could not be renewed for 90 s"):
        lock.check()
    lock.release()


def test_refusal_while_renewing_is_passed_over(
    storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = threading.Semaphore(0)

    def refuse(folder: str) -> dict[str, float]:
        tried.release()
        raise ResultsError("no network")

    lock = Lease.acquire(storage, refresh=0.01)
    monkeypatch.setattr(storage, "times", refuse)
    for _ in range(3):
        assert tried.acquire(timeout=20)
    lock.check()
    lock.release()


def test_forked_process_does_not_hold_the_lock_and_cannot_release_it(
    storage: ObjectStorage,
) -> None:
    lock = storage.lock()
    before = storage.files("lock")
    child = os.fork()
    if child == 0:
        held = lock.held
        lock.release()
        os._exit(1 if held else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert storage.files("lock") == before
    lock.check()
    lock.release()
