"""One writer a run directory on object storage, which knows no locks: the writer's claim.

A writer puts an object of its own into ``lock/`` and writes it again every few seconds. Whoever
finds another writer's claim there, written not long ago, withdraws its own and is refused. So of
two that come at the same time both may be refused, but never both admitted. A claim that was not
written for ``stale`` seconds, or whose process is known to be dead, is removed.

The storage's own times of modification are the only clock that writers share: that of the claim
which was just written is the time now.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING

from results import paths
from results.errors import ResultsError
from results.storage.lock import locked, lost, parse_holder, this_process
from results.storage.process import is_dead, this_instance

if TYPE_CHECKING:
    from results.storage.storage import TimedStorage

STALE_SECONDS = 120.0
"""A claim that was not written for this long is dead."""

REFRESH_SECONDS = 20.0
"""A claim is written anew this often."""

_MARGIN = 0.75


class Lease:
    """The claim of the writer in this process; made by ``Lease.acquire``."""

    def __init__(self, storage: TimedStorage, name: str, claim: bytes, stale: float) -> None:
        self._storage = storage
        self._name = name
        self._claim = claim
        self._patience = stale * _MARGIN
        self._owner: int | None = os.getpid()
        self._written = _now()
        self._lost = ""
        self._ended = Event()
        self._thread: Thread | None = None

    @classmethod
    def acquire(
        cls,
        storage: TimedStorage,
        *,
        stale: float = STALE_SECONDS,
        refresh: float = REFRESH_SECONDS,
    ) -> Lease:
        """Claim the run directory, and write the claim anew from a thread until it is released.

        Args:
            storage: The run directory.
            stale: Seconds after which a claim that was not written is dead.
            refresh: Seconds between two writings of this claim, much less than ``stale``.

        Raises:
            RunLockedError: Another writer's claim is alive.
            ResultsError: The service refuses.
        """
        claim = json.dumps({**this_process(), "instance": this_instance()}).encode()
        lock = cls(storage, paths.claim(secrets.token_hex(8)), claim, stale)
        try:
            storage.publish(lock._name, claim)
            lock._turn_out_others(stale)
        except BaseException:
            lock._withdraw()
            raise
        lock._thread = Thread(
            target=lock._keep, args=(refresh,), name="injecttf2-claim", daemon=True
        )
        lock._thread.start()
        return lock

    @property
    def held(self) -> bool:
        """Whether the lock was not released yet."""
        return self._owner == os.getpid()

    def check(self) -> None:
        """Make sure that the claim still keeps others out.

        Raises:
            ResultsError: It could not be written for so long that another writer may have taken
                its place, it was removed, or it was released.
        """
        if not self.held:
            raise lost(self._place, "it was released")
        if not self._lost and _now() - self._written > self._patience:
            self._lost = f"it could not be renewed for {self._patience:.0f} s"
        if self._lost:
            raise lost(self._place, self._lost)

    def release(self) -> None:
        """Let the lock go; releasing twice, or in a forked process, is harmless."""
        if not self.held:
            return
        self._owner = None
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._withdraw()

    @property
    def _place(self) -> str:
        return self._storage.path(self._name)

    def _withdraw(self) -> None:
        with suppress(ResultsError):  # what cannot be removed now is dead before long
            self._storage.remove(self._name)

    def _turn_out_others(self, stale: float) -> None:
        """Remove the claims of the dead; refuse to go on if another writer is alive."""
        times = _claims(self._storage)
        mine = times.pop(self._name, None)
        if mine is None:
            raise lost(self._place, "it was removed at once")
        for name, written in times.items():
            holder = self._holder(name)
            if holder is None:
                continue  # released, or removed by another newcomer
            silent = mine - written
            if silent <= stale and not is_dead(str(holder.get("instance", ""))):
                raise locked(
                    self._storage.path(name),
                    holder,
                    heard=f", last heard of {max(silent, 0):.0f} s ago",
                    hint=f"If it has died, run the same command again in {stale:.0f} s.",
                )
            self._storage.remove(name)

    def _holder(self, name: str) -> dict[str, object] | None:
        """Return who holds a claim; None if it is gone, which a service may tell in many ways."""
        try:
            return parse_holder(self._storage.read(name))
        except FileNotFoundError:
            return None
        except ResultsError:
            if name in _claims(self._storage):
                raise
            return None

    def _keep(self, refresh: float) -> None:
        wait = refresh
        while not self._lost and not self._ended.wait(wait):
            wait = refresh / 4  # if it is refused; check() tells when it is too late
            with suppress(ResultsError):
                self._renew()
                wait = refresh

    def _renew(self) -> None:
        """Write the claim anew, unless others may have removed it: it must not come back then."""
        begin = _now()
        if self._name not in _claims(self._storage):
            self._lost = "its claim was removed"
        elif begin - self._written <= self._patience:
            self._storage.publish(self._name, self._claim)
            if _now() - self._written > self._patience:
                self._lost = f"it could not be renewed for {self._patience:.0f} s"
                self._withdraw()
            self._written = begin


def _claims(storage: TimedStorage) -> dict[str, float]:
    """Return when each claim was written, in seconds since 1970 by the storage's clock."""
    times = storage.times(paths.LOCK)
    return {name: written for name, written in times.items() if paths.is_claim(name)}


def _now() -> float:
    """Return seconds on a clock that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
