"""The heartbeat: what the writer of a run directory is doing now, in ``heartbeat.json``.

It says nothing about results and nothing depends on it: a heartbeat that cannot be written ends no
run, and one that cannot be read is as good as none.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from results import paths
from results.errors import ResultsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from results.storage.storage import Storage

RUNNING = "running"
"""The state of a writer whose workers are at work."""

STALE_SECONDS = 120.0
"""A writer that has been silent for this long is taken for dead; it is several heartbeats. Of one
whose clock is ahead of ours by more than this, it is not known whether it lives.
"""


@dataclass(frozen=True)
class Heartbeat:
    """What a writer said last.

    Args:
        at: When, in UTC.
        age: How long ago, in seconds; below 0 where the writer's clock is ahead of the reader's.
        host: Where it runs.
        pid: Its process there.
        state: ``running``, or how it ended: ``finished``, ``stopped`` or what else was said.
        workers: How many workers it had; None if it did not say.
        details: Everything else that it said.
    """

    at: datetime
    age: float
    host: str
    pid: int
    state: str
    workers: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether the writer said that it is running, about now by the reader's clock."""
        return self.state == RUNNING and abs(self.age) <= STALE_SECONDS


class HeartbeatWriter:
    """Publishes the heartbeat now and then.

    Args:
        storage: The run directory.
        seconds: Time between two heartbeats that tell the same state.
    """

    def __init__(self, storage: Storage, seconds: float) -> None:
        self._storage = storage
        self._seconds = seconds
        self._next = float("-inf")
        self._said: dict[str, Any] = {}
        self._is_told = False

    @property
    def state(self) -> object:
        """The state that was told last; None if none was."""
        return self._said.get("state")

    def is_due(self, state: Mapping[str, Any]) -> bool:
        """Tell whether it is time, or ``state`` tells another state than before."""
        return state.get("state", RUNNING) != self.state or time.monotonic() >= self._next

    def beat(self, state: Mapping[str, Any]) -> None:
        """Publish ``state``.

        A refusal of the file system is passed over: it ends no run, and if it lasts the rows,
        which must be written, meet it too.

        Args:
            state: What to say. Without ``state`` it is ``running``; what JSON cannot hold is
                written as text.
        """
        self._said = {"state": RUNNING, **state}
        self._next = time.monotonic() + self._seconds
        self._publish()

    def end(self, state: str) -> None:
        """Say that the writer ends, unless it has said so: the rest stays as it was told last.

        Where the disk is full, what was said before makes room for it, and is gone in any case: it
        would tell of a writer at work.
        """
        if not self._said or (self.state != RUNNING and self._is_told):
            return
        self._said["state"] = state if self.state == RUNNING else self.state
        self._publish()
        if not self._is_told:
            with suppress(ResultsError):
                self._storage.remove(paths.HEARTBEAT)
            self._publish()

    def _publish(self) -> None:
        heartbeat = {
            "at": datetime.now(UTC).isoformat(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            **self._said,
        }
        text = f"{json.dumps(heartbeat, default=str)}\n"
        self._is_told = False
        with suppress(ResultsError):
            self._storage.publish(paths.HEARTBEAT, text.encode())
            self._is_told = True


def read_heartbeat(storage: Storage, now: datetime | None = None) -> Heartbeat | None:
    """Return the latest heartbeat; None if there is none or it cannot be understood.

    Args:
        storage: The run directory.
        now: What its age is counted to, in UTC; the present by default.

    Raises:
        ResultsError: The file system refuses to read it.
    """
    try:
        said = json.loads(storage.read(paths.HEARTBEAT))
        at = datetime.fromisoformat(said.pop("at")).astimezone(UTC)
        workers = said.pop("workers", None)
        return Heartbeat(
            at=at,
            age=((now or datetime.now(UTC)) - at).total_seconds(),
            host=str(said.pop("host")),
            pid=int(said.pop("pid")),
            state=str(said.pop("state")),
            workers=None if workers is None else int(workers),
            details=said,
        )
    except (
        FileNotFoundError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        OverflowError,  # a number or a time that is too large
        RecursionError,
    ):
        return None
