"""The work of one group: what of it waits, cut into chunks, and the paces at which it goes."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from orchestrator.scheduling.events import Chunk, Range
from orchestrator.scheduling.lazy_priority_queue import Key

Weigh = Callable[[int, int], Iterable[tuple[int, float]]]
"""What trials cost, relative to others of their group.

Called with a first position and one past the last, all of one group; yields in order runs of trials
that weigh the same: how many there are and what each of them weighs, above 0. The caller may stop
early, so runs are best made one by one.
"""

GROWTH = 8.0
"""A chunk is full once it weighs this many times as much as the heaviest done in its group, by
workers of the same kind."""

Ranges = tuple[Range, ...]


@dataclass(slots=True)
class _Learnt:
    """What a kind of worker has shown: its weight per second, of late, and its heaviest chunk."""

    pace: float
    heaviest: float


class WorkQueue:
    """The trials of one group that are not in flight, and what was learnt from those that were.

    Args:
        ranges: Positions of the trials, ascending.
        weigh: What they cost.
        begun: Whether earlier runs have done trials of the group.
        hopeless_after: Chunks that fail, and trials that are given up on, after which there is
            doubt and no hope.

    Attributes:
        waiting: Trials that are not in flight, done or given up on.
        workers: Workers that stay with the group.
    """

    def __init__(
        self, ranges: Sequence[Range], weigh: Weigh, *, begun: bool, hopeless_after: int
    ) -> None:
        self._fresh = deque(ranges)
        self._weigh = weigh
        # By the worker that they failed on, so that another worker finds its first at once.
        self._retries: OrderedDict[int | None, deque[Chunk]] = OrderedDict()
        self.waiting = sum(stop - start for start, stop in ranges)
        self.workers = 0
        self._learnt: dict[str, _Learnt] = {}
        self._seconds = 0.0
        self._done = 0
        self._failing = 0
        self._given_up = 0
        self._begun = begun
        self._hopeless_after = hopeless_after

    @property
    def any_done(self) -> bool:
        """Whether trials of the group were done, by earlier runs too."""
        return self._begun or self._done > 0

    @property
    def has_fresh(self) -> bool:
        """Whether there are trials that were never assigned."""
        return bool(self._fresh)

    @property
    def is_doubtful(self) -> bool:
        """Whether as many chunks as leave doubt have failed since the last that was done.

        A trial that is given up on begins the count anew where others were done: fresh work then
        shows whether it was that trial or all of them.
        """
        return self._failing >= self._hopeless_after

    @property
    def is_hopeless(self) -> bool:
        """Whether nothing was ever done and enough trials were given up on."""
        return self._given_up >= self._hopeless_after and not self.any_done

    def rank(self) -> Key | None:
        """Return what groups are ranked by: most seconds of work for each worker, one more counted.

        First come groups that nothing is known of, last those that have brought failures only and
        those that are doubtful; None is a group without work.
        """
        if not self.waiting:
            return None
        if self.is_doubtful or (self._failing and not self._done):
            return (0.0 if self.any_done else 1.0), self.workers
        if not self._done:
            return -math.inf, self.workers
        left = self.waiting * self._seconds / self._done
        return -left / (self.workers + 1), self.workers

    def offers(self, worker: int | None) -> bool:
        """Return whether there is work for a worker, which takes no chunk that failed on it.

        None is a worker that takes any.
        """
        return bool(self._fresh) or self._retry_for(worker) is not None

    def next_is_fresh(self, worker: int | None) -> bool:
        """Return whether a worker's next chunk is one that was never assigned, as in ``offers``.

        They come first, unless the group is doubtful: then what failed is tried again, so that it
        shows soon whether there is any hope.
        """
        return bool(self._fresh) and not (self.is_doubtful and self._retry_for(worker))

    def pace(self, kind: str) -> float | None:
        """Return what weight a worker of a kind does per second, of late; None if it is unknown."""
        learnt = self._learnt.get(kind)
        return None if learnt is None else learnt.pace

    def cut(self, kind: str, *, most: int, seconds: float) -> tuple[Ranges, float]:
        """Take fresh trials for one chunk and return them with their weight.

        A kind of worker that has done nothing of the group yet gets a single trial. Where chunks
        fail in a row everybody does, and it is the last: trials that fail often lie side by side.

        Args:
            kind: The kind of worker that the chunk is for.
            most: Trials at most; above 0.
            seconds: Time that they should take.
        """
        if self._failing > 1:
            return self._cut_last()
        room = 0.0
        if (learnt := self._learnt.get(kind)) is not None:
            room = min(learnt.pace * seconds, GROWTH * learnt.heaviest)
        ranges: list[Range] = []
        count, weight = 0, 0.0
        while self._fresh and (not count or (count < most and weight < room)):
            start, stop = self._fresh.popleft()
            taken, added = _filling(self._weigh(start, stop), most - count, room - weight)
            ranges.append((start, start + taken))
            count += taken
            weight += added
            if start + taken < stop:
                self._fresh.appendleft((start + taken, stop))
                break
        self.waiting -= count
        return tuple(sorted(ranges)), weight

    def _cut_last(self) -> tuple[Ranges, float]:
        start, stop = self._fresh.pop()
        if stop - start > 1:
            self._fresh.append((start, stop - 1))
        self.waiting -= 1
        ((_, weight),) = self._weigh(stop - 1, stop)
        return ((stop - 1, stop),), weight

    def retry(self, worker: int | None) -> tuple[Chunk, float]:
        """Take a chunk to be tried again by a worker, as in ``offers``, and return its weight too.

        It is the one that waits longest. In a doubtful group it is the one that failed last, so
        that a single chunk is split down to a trial before others are: a few workers then tell as
        much as many.

        Raises:
            LookupError: There is none.
        """
        found = self._retry_for(worker)
        if found is None:
            raise LookupError(worker)
        chunk = found.pop() if self.is_doubtful else found.popleft()
        if not found:
            del self._retries[chunk.failed_on]
        self.waiting -= len(chunk)
        return chunk, sum(
            length * each for span in chunk.ranges for length, each in self._weigh(*span)
        )

    def _retry_for(self, worker: int | None) -> deque[Chunk] | None:
        workers = reversed(self._retries) if self.is_doubtful else iter(self._retries)
        for failed_on in workers:
            if worker is None or failed_on != worker:
                return self._retries[failed_on]
        return None

    def put_back(self, chunk: Chunk) -> None:
        """Have a chunk tried again after all that is there."""
        self._retries.setdefault(chunk.failed_on, deque()).append(chunk)
        self.waiting += len(chunk)

    def add(self, ranges: Sequence[Range]) -> None:
        """Add fresh trials at the end."""
        self._fresh.extend(ranges)
        self.waiting += sum(stop - start for start, stop in ranges)

    def take_all(self) -> list[Range]:
        """Take all that waits, ascending."""
        retries = (span for chunks in self._retries.values() for c in chunks for span in c.ranges)
        ranges = sorted([*self._fresh, *retries])
        self._fresh.clear()
        self._retries.clear()
        self.waiting = 0
        return ranges

    def learn(self, kind: str, trials: int, weight: float, seconds: float) -> None:
        """Note that a worker of a kind has done a chunk."""
        pace = weight / max(seconds, 1e-6)
        learnt = self._learnt.setdefault(kind, _Learnt(pace, weight))
        learnt.pace = (learnt.pace + pace) / 2
        learnt.heaviest = max(learnt.heaviest, weight)
        self._seconds += seconds
        self._done += trials
        self._failing = 0

    def failed(self, *, given_up: bool) -> None:
        """Note that a chunk failed, and whether its one trial is given up on."""
        self._given_up += given_up
        self._failing = 0 if given_up and self.any_done else self._failing + 1


def _filling(runs: Iterable[tuple[int, float]], most: int, room: float) -> tuple[int, float]:
    """Return how many trials fill the room, one at least, and what they weigh."""
    count, weight = 0, 0.0
    for length, each in runs:
        taken = min(length, most - count, max(1, math.ceil((room - weight) / each)))
        count += taken
        weight += taken * each
        if taken < length or count == most or weight >= room:
            break
    return count, weight


def halves(ranges: Ranges) -> list[Ranges]:
    """Split positions into a first and a second half."""
    left = sum(stop - start for start, stop in ranges) // 2
    first: list[Range] = []
    second: list[Range] = []
    for start, stop in ranges:
        middle = min(stop, start + left)
        left -= middle - start
        first.extend([(start, middle)] if middle > start else [])
        second.extend([(middle, stop)] if stop > middle else [])
    return [tuple(first), tuple(second)]
