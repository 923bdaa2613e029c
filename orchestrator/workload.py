"""The work of one group: what of it waits, cut into chunks, and the paces at which it goes."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from orchestrator.messages import Chunk, Range
from orchestrator.ranking import Key

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


class Workload:
    """The trials of one group that are not in flight, and what was learnt from those that were.

    Args:
        ranges: Positions of the trials, ascending.
        weigh: What they cost.
        begun: Whether earlier runs have done trials of the group.

    Attributes:
        waiting: Trials that are not in flight, done or given up on.
        workers: Workers that stay with the group.
    """

    def __init__(self, ranges: Sequence[Range], weigh: Weigh, *, begun: bool) -> None:
        self._fresh = deque(ranges)
        self._weigh = weigh
        # By the worker that they failed on, so that another worker finds its first at once.
        self._retries: OrderedDict[int | None, deque[Chunk]] = OrderedDict()
        self.waiting = sum(stop - start for start, stop in ranges)
        self.workers = 0
        self._learnt: dict[str, _Learnt] = {}
        self._seconds = 0.0
        self._done = 0
        self._failures = 0
        self._given_up = 0
        self._begun = begun

    def rank(self) -> Key | None:
        """Return what groups are ranked by: most seconds of work for each worker, one more counted.

        First come groups that nothing is known of, last those that have brought failures only; None
        is a group without work.
        """
        if not self.waiting:
            return None
        if not self._done:
            return (0.0 if self._failures else -math.inf), self.workers
        left = self.waiting * self._seconds / self._done
        return -left / (self.workers + 1), self.workers

    def offers(self, worker: int | None) -> bool:
        """Return whether there is work for a worker, which takes no chunk that failed on it.

        None is a worker that takes any.
        """
        return bool(self._fresh) or self._retry_for(worker) is not None

    def next_is_fresh(self, worker: int | None, hopeless_after: int) -> bool:
        """Return whether a worker's next chunk is one that was never assigned, as in ``offers``.

        They come first, unless nothing was ever done and ``hopeless_after`` chunks have failed:
        then what failed is tried again, so that it shows soon whether there is any hope.
        """
        doubtful = not self._done and not self._begun and self._failures >= hopeless_after
        return bool(self._fresh) and not (doubtful and self._retry_for(worker))

    def pace(self, kind: str) -> float | None:
        """Return what weight a worker of a kind does per second, of late; None if it is unknown."""
        learnt = self._learnt.get(kind)
        return None if learnt is None else learnt.pace

    def cut(self, kind: str, *, most: int, seconds: float) -> tuple[Ranges, float]:
        """Take fresh trials for one chunk and return them with their weight.

        A kind of worker that has done nothing of the group yet gets a single trial.

        Args:
            kind: The kind of worker that the chunk is for.
            most: Trials at most; above 0.
            seconds: Time that they should take.
        """
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
        return tuple(ranges), weight

    def retry(self, worker: int | None) -> tuple[Chunk, float]:
        """Take the first chunk to be tried again by a worker, as in ``offers``, with its weight.

        Raises:
            LookupError: There is none.
        """
        found = self._retry_for(worker)
        if found is None:
            raise LookupError(worker)
        chunk = found.popleft()
        if not found:
            del self._retries[chunk.failed_on]
        self.waiting -= len(chunk)
        return chunk, sum(
            length * each for span in chunk.ranges for length, each in self._weigh(*span)
        )

    def _retry_for(self, worker: int | None) -> deque[Chunk] | None:
        for failed_on, chunks in self._retries.items():
            if worker is None or failed_on != worker:
                return chunks
        return None

    def put_back(self, chunk: Chunk) -> None:
        """Have a chunk tried again after all that is there."""
        self._retries.setdefault(chunk.failed_on, deque()).append(chunk)
        self.waiting += len(chunk)

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

    def failed(self, *, given_up: bool) -> None:
        """Note that a chunk failed, and whether its one trial is given up on."""
        self._failures += 1
        self._given_up += given_up

    def is_hopeless(self, after: int) -> bool:
        """Return whether nothing was ever done and ``after`` trials were given up on."""
        return self._given_up >= after and not self._done and not self._begun


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
