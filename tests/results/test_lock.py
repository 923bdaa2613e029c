import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from results.errors import ResultsError, RunLockedError
from results.lock import RunLock, read_holder

HOLD = """
import sys
from results.lock import RunLock
lock = RunLock.acquire(sys.argv[1])
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock ``tmp_path / "lock"``."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        yield process
        process.kill()


def test_second_process_is_refused_and_told_who_holds_the_lock(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(RunLockedError, match=f"pid {holder.pid}, since 20") as caught:
        RunLock.acquire(str(tmp_path / "lock"))
    assert caught.value.holder["pid"] == holder.pid
    assert caught.value.holder["host"] == os.uname().nodename


def test_lock_of_a_killed_holder_is_free(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lock = RunLock.acquire(str(tmp_path / "lock"))
    assert read_holder(str(tmp_path / "lock"))["pid"] == os.getpid()
    lock.release()


def test_second_writer_in_the_same_process_is_refused(tmp_path: Path) -> None:
    lock = RunLock.acquire(str(tmp_path / "lock"))
    with pytest.raises(RunLockedError):
        RunLock.acquire(str(tmp_path / "lock"))
    lock.release()


def test_released_lock_is_free_and_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = RunLock.acquire(str(path))
    held = [lock.held]
    lock.release()
    lock.release()
    held.append(lock.held)
    assert held == [True, False]
    assert path.read_bytes() == b""
    RunLock.acquire(str(path)).release()


def test_holder_of_an_empty_or_absent_lock_file_is_unknown(tmp_path: Path) -> None:
    assert read_holder(str(tmp_path / "lock")) == {}
    (tmp_path / "lock").touch()
    assert read_holder(str(tmp_path / "lock")) == {}


@pytest.mark.parametrize("replaced", [True, False])
def test_lock_whose_file_was_removed_is_lost(tmp_path: Path, replaced: bool) -> None:
    path = tmp_path / "lock"
    lock = RunLock.acquire(str(path))
    lock.check()
    path.unlink()
    if replaced:
        path.touch()
    with pytest.raises(ResultsError, match="the file was removed or replaced") as caught:
        lock.check()
    assert caught.value.place == str(path)
    lock.release()


def test_released_lock_keeps_nobody_out(tmp_path: Path) -> None:
    lock = RunLock.acquire(str(tmp_path / "lock"))
    lock.release()
    with pytest.raises(ResultsError, match="it was released"):
        lock.check()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ResultsError, match="the file system has no file locks") as caught:
        RunLock.acquire(str(tmp_path / "lock"))
    assert "local disk or on object storage" in str(caught.value.hint)
