"""Until when each worker may take: cheap to set with every chunk and to look at in every tick.

A worker has a deadline with every chunk, and nearly every chunk is done long before. So a deadline
that moves to a later time leaves the heap alone: the worker rings at its old time, and only then is
the new one put in. The heap stays about as large as the crowd.
"""

from __future__ import annotations

import heapq
import math


class Deadlines:
    """One deadline for each of many workers, in seconds of any clock that never goes back."""

    def __init__(self) -> None:
        self._due: dict[int, float] = {}
        self._rings: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    def set(self, worker: int, when: float) -> None:
        """Give a worker until ``when``; what it had before no longer counts."""
        self._due[worker] = when
        if when < self._rings.get(worker, math.inf):
            self._rings[worker] = when
            heapq.heappush(self._heap, (when, worker))

    def clear(self, worker: int) -> None:
        """Give a worker all the time it wants."""
        self._due.pop(worker, None)

    def passed(self, now: float) -> list[int]:
        """Return the workers whose deadline lies before ``now``, earliest first, and clear it."""
        late: list[int] = []
        while self._heap and self._heap[0][0] < now:
            when, worker = heapq.heappop(self._heap)
            if self._rings.get(worker) != when:
                continue  # it rang at an earlier time, which was set later
            del self._rings[worker]
            due = self._due.get(worker, math.inf)
            if due == when:
                del self._due[worker]
                late.append(worker)
            elif due < math.inf:
                self.set(worker, due)  # in its place among the others, even if that has passed too
        return late
