"""How long to wait before lost workers are replaced."""

from __future__ import annotations

import math


class Backoff:
    """None at first; then ``first`` seconds, doubled with each step up to ``most``.

    Losses during a wait belong to the step that is waited for: a machine that takes sixteen workers
    with it is one accident.

    That ends once new workers are seen to work: one that was started after the first of the losses
    has done a chunk. What older workers do says nothing about those that cannot start.

    Args:
        first: Seconds of the first wait.
        most: Seconds of the longest.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self.reset()

    def reset(self) -> None:
        """Forget all losses and end the wait."""
        self._next = 0.0
        self._until = -math.inf
        self._new = 0

    def done(self, worker: int) -> None:
        """Note that a worker has done a chunk."""
        if worker >= self._new:
            self.reset()

    def lost(self, now: float, new: int) -> None:
        """Note that a worker was lost, and the lowest number of those not yet started."""
        if not self._next:
            self._new = new
        if self.waits(now):
            return
        self._until = now + self._next
        self._next = min(self._most, 2 * self._next or self._first)

    def waits(self, now: float) -> bool:
        """Return whether it is too early to replace workers."""
        return now < self._until
