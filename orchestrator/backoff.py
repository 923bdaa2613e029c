"""How long to wait before lost workers are replaced."""

from __future__ import annotations

import math


class Backoff:
    """None at first; then ``first`` seconds, doubled with each step up to ``most``.

    Losses during a wait belong to the step that is waited for: a machine that takes sixteen workers
    with it is one accident.

    Args:
        first: Seconds of the first wait.
        most: Seconds of the longest.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self.reset()

    def reset(self) -> None:
        """Forget all losses and end the wait: something was achieved."""
        self._next = 0.0
        self._until = -math.inf

    def lost(self, now: float) -> None:
        """Note that a worker was lost."""
        if self.waits(now):
            return
        self._until = now + self._next
        self._next = min(self._most, 2 * self._next or self._first)

    def waits(self, now: float) -> bool:
        """Return whether it is too early to replace workers."""
        return now < self._until
