"""One writer a run directory: an advisory lock that its holder's death sets free."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from results.errors import RunLockedError

if TYPE_CHECKING:
    from collections.abc import Mapping


class RunLock:
    """An exclusive ``flock`` on a file that says who holds it.

    The file stays when the lock is released (removing it would let two processes lock two
    different files of that name); it is then empty.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, path: str) -> RunLock:
        """Lock the file ``path``, which is created if absent.

        Raises:
            RunLockedError: Another process, or another writer of this one, holds it.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(descriptor, json.dumps(_this_process()))
        except BlockingIOError:
            os.close(descriptor)
            raise _locked(path, read_holder(path)) from None
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    @property
    def held(self) -> bool:
        """Whether the lock is still held."""
        return self._descriptor is not None

    def release(self) -> None:
        """Let the lock go; releasing twice is harmless."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            _write(descriptor, "")
        finally:
            os.close(descriptor)


def read_holder(path: str) -> dict[str, object]:
    """Return ``host``, ``pid`` and ``since`` as the lock file gives them, {} if it does not."""
    try:
        holder = json.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _this_process() -> dict[str, object]:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": since}


def _write(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _locked(path: str, holder: Mapping[str, object]) -> RunLockedError:
    host, pid, since = (holder.get(key, "unknown") for key in ("host", "pid", "since"))
    return RunLockedError(
        f"another process writes into this run directory: host {host}, pid {pid}, since {since}",
        place=path,
        hint="Wait for it or stop it, or choose another --output.",
        holder=holder,
    )
