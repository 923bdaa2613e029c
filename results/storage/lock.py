"""One writer a run directory: an advisory lock that its holder's death sets free.

``RunLock`` is the lock of a folder; ``results.storage.lease`` has the one of object storage.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from results.errors import ResultsError, RunLockedError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Lock(Protocol):
    """What keeps a second writer out; ``Storage.lock`` takes it."""

    @property
    def held(self) -> bool:
        """Whether the lock was not released yet."""

    def check(self) -> None:
        """Make sure that the lock still keeps others out. For the holder, before it publishes.

        Raises:
            ResultsError: It was lost, or released.
        """

    def release(self) -> None:
        """Let the lock go; releasing twice is harmless."""


class RunLock:
    """The system's exclusive lock on a file that says who holds it.

    The file stays when the lock is released (removing it would let two processes lock two
    different files of that name); it is then empty.

    Whoever can open a file can lock it, and so keep every writer out. So nobody may open this one
    who may not write into its folder.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, path: str) -> RunLock:
        """Lock the file ``path``, which is created if absent.

        Raises:
            RunLockedError: Another process, or another writer of this one, holds it.
            ResultsError: The file system has no locks.
            OSError: The file cannot be created or opened.
        """
        from filelock import lock_descriptor  # readers need none

        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if hasattr(os, "geteuid"):  # else there are no such modes
                _open_to_writers_only(descriptor, path)
            if not lock_descriptor(descriptor, blocking=False):
                raise locked(path, read_holder(path))
            _write(descriptor, json.dumps(this_process()))
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError) and error.errno in _NO_LOCKS:
                raise _no_locks(path, error) from error
            raise
        return cls(path, descriptor)

    @property
    def held(self) -> bool:
        """Whether the lock was not released yet."""
        return self._descriptor is not None

    def check(self) -> None:
        """Make sure that the locked file is still the one that others would lock.

        Raises:
            ResultsError: It was removed or replaced, or the lock was released.
        """
        if self._descriptor is None:
            raise lost(self._path, "it was released")
        try:
            same = os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))  # noqa: PTH116
        except OSError:
            same = False
        if not same:
            raise lost(self._path, "the file was removed or replaced")

    def release(self) -> None:
        """Let the lock go; releasing twice is harmless."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            _write(descriptor, "")
        finally:
            os.close(descriptor)


_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


def read_holder(path: str) -> dict[str, object]:
    """Return ``host``, ``pid`` and ``since`` as the lock file gives them, {} if it does not."""
    try:
        return parse_holder(Path(path).read_bytes())
    except OSError:
        return {}


def parse_holder(text: bytes) -> dict[str, object]:
    """Return what ``text``, made from ``this_process``, says; {} if it says nothing."""
    try:
        holder = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return holder if isinstance(holder, dict) else {}


def this_process() -> dict[str, object]:
    """Return who takes a lock: ``host``, ``pid`` and ``since``, the time now in UTC."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": since}


def locked(
    path: str, holder: Mapping[str, object], *, heard: str = "", hint: str = ""
) -> RunLockedError:
    """Return the error of one who finds the lock taken.

    Args:
        path: The lock.
        holder: What ``this_process`` returned to the one who holds it.
        heard: What to say after that, such as when it was last heard of.
        hint: What to do next, besides waiting for it.
    """
    host, pid, since = (holder.get(key, "unknown") for key in ("host", "pid", "since"))
    return RunLockedError(
        "another process writes into this run directory: "
        f"host {host}, pid {pid}, since {since}{heard}",
        place=path,
        hint=f"Wait for it or stop it, or choose another --output. {hint}".strip(),
        holder=holder,
    )


def lost(path: str, why: str) -> ResultsError:
    """Return the error of a holder who no longer keeps others out."""
    return ResultsError(
        f"the lock on the run directory was lost: {why}, so another process may write there",
        place=path,
        hint="What was published is safe. See that no other run writes there, then run the same "
        "command to resume.",
    )


def _open_to_writers_only(descriptor: int, path: str) -> None:
    """Let those read and write the file who may write into its folder, and nobody else.

    The file of another user stays as it is: that user has seen to it, or an earlier version has.
    """
    file, folder = os.fstat(descriptor), Path(path).parent.stat()
    if file.st_uid != os.geteuid():
        return
    if file.st_gid != folder.st_gid:
        with suppress(OSError):  # the folder's group is not one of this user's
            os.fchown(descriptor, -1, folder.st_gid)
    mode = 0o600
    if folder.st_mode & stat.S_IWGRP and os.fstat(descriptor).st_gid == folder.st_gid:
        mode |= 0o060
    if folder.st_mode & stat.S_IWOTH:
        mode |= 0o006
    if stat.S_IMODE(file.st_mode) != mode:
        with suppress(OSError):  # a file system without such modes
            os.fchmod(descriptor, mode)


def _write(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, text.encode())


def _no_locks(path: str, error: OSError) -> ResultsError:
    return ResultsError(
        f"the file system has no file locks ({error.strerror}), which keep a second writer out",
        place=path,
        hint="Choose an --output on a local disk or on object storage, or have the mount offer "
        "locks (NFS: the lock service of version 3, or version 4).",
    )
