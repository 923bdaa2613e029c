import errno
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from results.errors import ResultsError, RunLockedError
from results.storage.lock import RunLock, read_holder

HOLD = """
import sys
from results.storage.lock import RunLock
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

    monkeypatch.setattr(fcntl, "flock", refuse)  # what filelock calls
    with pytest.raises(ResultsError, match="the file system has no file locks") as caught:
        RunLock.acquire(str(tmp_path / "lock"))
    assert "local disk or on object storage" in str(caught.value.hint)


OTHER_USER = 65534
SHARED_GROUP = 4242
TAKE = {"reading": "exec 9<lock && flock -xn 9", "writing": "exec 9<>lock && flock -xn 9"}


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that another user can reach."""
    if os.geteuid() != 0 or shutil.which("flock") is None:
        pytest.skip("needs root, to be another user, and the command flock")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def taken_by_another(folder: Path, how: str, groups: tuple[int, ...] = ()) -> bool:
    """Tell whether a process of another user could lock the file ``lock`` in ``folder``."""
    options = {"user": OTHER_USER, "group": OTHER_USER, "extra_groups": groups}
    command = ["sh", "-c", TAKE[how]]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert ended.returncode == 0 or "ermission denied" in ended.stderr
    return bool(ended.returncode == 0)


@pytest.mark.parametrize("before", [None, 0o644, 0o666])
@pytest.mark.parametrize("how", TAKE)
def test_who_may_only_read_the_folder_cannot_take_its_lock(
    shared: Path, how: str, before: int | None
) -> None:
    """``before``: the mode of a lock file that an earlier version has left."""
    if before is not None:
        (shared / "lock").touch()
        (shared / "lock").chmod(before)
        assert taken_by_another(shared, "reading")
    RunLock.acquire(str(shared / "lock")).release()
    assert stat.S_IMODE((shared / "lock").stat().st_mode) == 0o600
    assert not taken_by_another(shared, how)
    RunLock.acquire(str(shared / "lock")).release()


@pytest.mark.parametrize("mode", [0o775, 0o2775])
def test_members_of_the_group_that_writes_into_the_folder_take_the_lock_in_turn(
    shared: Path, mode: int
) -> None:
    os.chown(shared, 0, SHARED_GROUP)
    shared.chmod(mode)
    RunLock.acquire(str(shared / "lock")).release()
    assert stat.S_IMODE((shared / "lock").stat().st_mode) == 0o660
    assert taken_by_another(shared, "writing", (SHARED_GROUP,))
    assert not taken_by_another(shared, "reading")
    RunLock.acquire(str(shared / "lock")).release()


def test_lock_file_of_another_user_of_the_group_is_locked_as_it_is(shared: Path) -> None:
    (shared / "lock").touch()
    os.chown(shared / "lock", OTHER_USER, SHARED_GROUP)
    (shared / "lock").chmod(0o660)
    RunLock.acquire(str(shared / "lock")).release()
    status = (shared / "lock").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (OTHER_USER, 0o660)
