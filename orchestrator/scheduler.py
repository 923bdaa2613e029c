"""The scheduler: which trials go to which worker, as a pure state machine.

``Scheduler.on(event)`` returns actions. It knows no Ray, no clock and no I/O, so a crowd of
simulated workers can test it exhaustively; executors turn actions into calls and replies into
events.

Rules:

- A chunk holds trials of one group (a layer and target). Its size aims at ``chunk_seconds`` by the
  group's measured pace, starts with a single trial, and shrinks towards the end so that workers
  finish together.
- A worker has at most ``in_flight`` chunks and stays with its group while that group has work;
  then it takes the group with the most work left for each worker on it. A group that has brought
  failures only comes last: if its layer kills every worker, the others are done by then.
- A chunk that failed is tried again, on another worker if there is one, after fresh work; a chunk
  that failed twice is split in two, until the trial that fails is alone. That trial is given up on
  after ``attempts`` failures and the others go on.
- Where no trial of a group can be evaluated, all of them are given up on at once.
- A lost worker is replaced. Of its chunks only the first, which it was at work on, has failed.
- After ``losses`` lost workers in a row, with nothing done or given up on in between, no more are
  started; when the last of them is gone, the run stops.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from orchestrator.messages import (
    Action,
    Assign,
    Chunk,
    ChunkDone,
    ChunkFailed,
    Event,
    Finish,
    GiveUp,
    Range,
    StartWorker,
    Stop,
    WorkerLost,
    WorkerReady,
)


@dataclass(frozen=True)
class Settings:
    """How the scheduler works.

    Args:
        workers: Workers to keep running.
        chunk_seconds: Time that a chunk aims at.
        in_flight: Chunks at a worker at most.
        attempts: Failures after which a trial alone is given up on.
        losses: Lost workers in a row after which no more are started.
    """

    workers: int
    chunk_seconds: float = 2.0
    in_flight: int = 2
    attempts: int = 4
    losses: int = 8

    def __post_init__(self) -> None:
        if min(self.workers, self.in_flight, self.attempts, self.losses) < 1:
            raise ValueError(f"expected at least 1 of everything; received {self}")


GROWTH = 8.0
"""A chunk is full once it weighs this many times as much as the heaviest done in its group."""


@dataclass
class _Group:
    """Work of one layer that is not in flight, and the pace at which it goes.

    Args:
        fresh: Positions never assigned.
        waiting: Trials that are fresh or in ``retries``.
        retries: Failed chunks, to be tried again.
        workers: Workers that stay with the group.
        pace: Weight done per second, of late.
        heaviest: Largest weight of a chunk done.
        seconds: Time of all chunks done.
        done: Trials in them.
    """

    fresh: deque[Range]
    waiting: int
    retries: deque[Chunk] = field(default_factory=deque)
    workers: int = 0
    pace: float | None = None
    heaviest: float = 0.0
    seconds: float = 0.0
    done: int = 0

    def urgency(self) -> float:
        """Return the seconds of work left for each worker, one more counted; inf if not known.

        A group with nothing done and something to be tried again has none.
        """
        if not self.done:
            return 0.0 if self.retries else math.inf
        return self.waiting * self.seconds / self.done / (self.workers + 1)


@dataclass
class _Worker:
    group: int | None = None
    chunks: dict[int, tuple[Chunk, float]] = field(default_factory=dict)


class Scheduler:
    """Assigns every trial of a campaign to workers.

    Args:
        groups: For each group the positions that are to be done, ascending ranges.
        weight: What the trial at a position costs, relative to others of its group; above 0.
        settings: How to work.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[Range]],
        *,
        weight: Callable[[int], float],
        settings: Settings,
    ) -> None:
        self._weight = weight
        self._settings = settings
        self._groups = [
            _Group(deque(ranges), sum(stop - start for start, stop in ranges)) for ranges in groups
        ]
        self._workers: dict[int, _Worker] = {}
        self._starting: set[int] = set()
        self._with_room: set[int] = set()
        self._waiting = sum(group.waiting for group in self._groups)
        self._in_flight = 0
        self._workers_started = 0
        self._chunks_made = 0
        self._losses = 0
        self._finished = False

    @property
    def remaining(self) -> int:
        """Trials that are neither done nor given up on."""
        return self._waiting + self._in_flight

    @property
    def waiting(self) -> list[int]:
        """Trials of each group that are not in flight, done or given up on."""
        return [group.waiting for group in self._groups]

    def start(self) -> list[Action]:
        """Return the first actions: as many workers as are wanted and as there is work for."""
        return self._start_workers() if self.remaining else self._finish(None)

    def on(self, event: Event) -> list[Action]:
        """Take in what happened and return what to do."""
        if self._finished:
            return []
        actions: list[Action] = []
        match event:
            case WorkerReady(worker):
                self._starting.discard(worker)
                self._workers[worker] = _Worker()
                self._with_room.add(worker)
            case ChunkDone(worker, chunk, seconds):
                self._done(worker, chunk, seconds)
            case ChunkFailed(worker, chunk, error, traceback, hopeless):
                taken, _ = self._take(worker, chunk)
                if hopeless:
                    actions += self._give_up_group(taken, error, traceback)
                else:
                    actions += self._retry(taken, worker, error, traceback)
            case WorkerLost(worker, error):
                actions += self._lost(worker, error)
            case Stop():
                return self._finish("it was interrupted")
        if not self.remaining:
            return actions + self._finish(None)
        actions += self._start_workers()
        if not self._workers and not self._starting:
            assert isinstance(event, WorkerLost)  # noqa: S101 - nothing else takes workers away
            return actions + self._finish(f"no worker could be kept running: {event.error}")
        return actions + self._assign()

    def _finish(self, reason: str | None) -> list[Action]:
        self._finished = True
        return [Finish(reason)]

    def _start_workers(self) -> list[Action]:
        running = len(self._workers) + len(self._starting)
        wanted = min(self._settings.workers, self.remaining) - running
        if self._losses >= self._settings.losses:
            return []
        actions: list[Action] = []
        for _ in range(wanted):
            self._starting.add(self._workers_started)
            actions.append(StartWorker(self._workers_started))
            self._workers_started += 1
        return actions

    def _assign(self) -> list[Action]:
        """Give every worker that has room another chunk, the idle ones first."""
        actions: list[Action] = []
        for filled in range(self._settings.in_flight):
            for number in sorted(self._with_room):
                if not self._waiting:
                    return actions
                worker = self._workers[number]
                if len(worker.chunks) == filled:
                    chunk = self._next_chunk(number, worker)
                    if chunk is not None:
                        actions.append(Assign(number, chunk))
        return actions

    def _next_chunk(self, number: int, worker: _Worker) -> Chunk | None:
        """Take the next chunk for a worker out of its group, or out of another."""
        for index in self._groups_for(worker):
            chunk = self._from_group(index, number)
            if chunk is not None:
                self._settle(worker, index)
                weight = sum(self._weight(p) for span in chunk.ranges for p in range(*span))
                worker.chunks[chunk.id] = chunk, weight
                if len(worker.chunks) == self._settings.in_flight:
                    self._with_room.remove(number)
                self._groups[index].waiting -= len(chunk)
                self._waiting -= len(chunk)
                self._in_flight += len(chunk)
                return chunk
        return None

    def _groups_for(self, worker: _Worker) -> Iterator[int]:
        """Yield the groups that have work, the worker's own first, then the most urgent."""
        if worker.group is not None and self._groups[worker.group].waiting:
            yield worker.group
        others = [i for i, g in enumerate(self._groups) if g.waiting and i != worker.group]
        yield from sorted(
            others, key=lambda i: (-self._groups[i].urgency(), self._groups[i].workers)
        )

    def _settle(self, worker: _Worker, index: int | None) -> None:
        """Move a worker to a group."""
        if worker.group is not None:
            self._groups[worker.group].workers -= 1
        if index is not None:
            self._groups[index].workers += 1
        worker.group = index

    def _from_group(self, index: int, number: int) -> Chunk | None:
        group = self._groups[index]
        if group.fresh:
            return self._chunk(index, self._cut(group))
        for chunk in group.retries:
            if chunk.failed_on != number or len(self._workers) == 1:
                group.retries.remove(chunk)
                return chunk
        return None

    def _cut(self, group: _Group) -> tuple[Range, ...]:
        """Take fresh trials for one chunk."""
        share = max(1.0, len(self._workers) / sum(1 for group in self._groups if group.waiting))
        most = math.ceil(group.waiting / (2 * share))
        room = 0.0
        if group.pace is not None:
            room = min(group.pace * self._settings.chunk_seconds, GROWTH * group.heaviest)
        ranges: list[Range] = []
        count = 0
        while group.fresh and count < most and (room > 0 or not count):
            start, stop = group.fresh.popleft()
            end = start
            while end < stop and count < most and (room > 0 or not count):
                room -= self._weight(end)
                end += 1
                count += 1
            ranges.append((start, end))
            if end < stop:
                group.fresh.appendleft((end, stop))
        return tuple(ranges)

    def _chunk(
        self, group: int, ranges: tuple[Range, ...], failures: int = 0, failed_on: int | None = None
    ) -> Chunk:
        self._chunks_made += 1
        return Chunk(self._chunks_made, group, ranges, failures, failed_on)

    def _take(self, worker: int, chunk: int) -> tuple[Chunk, float]:
        """Take a chunk that is in flight back from a worker."""
        taken, weight = self._workers[worker].chunks.pop(chunk)
        self._with_room.add(worker)
        self._in_flight -= len(taken)
        return taken, weight

    def _done(self, worker: int, chunk: int, seconds: float) -> None:
        taken, weight = self._take(worker, chunk)
        group = self._groups[taken.group]
        pace = weight / max(seconds, 1e-6)
        group.pace = pace if group.pace is None else (group.pace + pace) / 2
        group.heaviest = max(group.heaviest, weight)
        group.seconds += seconds
        group.done += len(taken)
        self._losses = 0

    def _retry(self, chunk: Chunk, worker: int, error: str, traceback: str) -> list[Action]:
        """Put a failed chunk back, split it, or give up on the trial that is alone in it."""
        failures = chunk.failures + 1
        if len(chunk) == 1 and failures >= self._settings.attempts:
            self._losses = 0
            return [GiveUp(chunk.ranges[0][0], error, traceback)]
        parts = _halves(chunk.ranges) if failures >= 2 and len(chunk) > 1 else [chunk.ranges]
        for ranges in parts:
            count = failures if len(parts) == 1 else 1
            self._put_back(self._chunk(chunk.group, ranges, count, worker))
        return []

    def _give_up_group(self, chunk: Chunk, error: str, traceback: str) -> list[Action]:
        """Give up on a chunk and on all that waits in its group."""
        group = self._groups[chunk.group]
        spans = [*chunk.ranges, *group.fresh, *(s for one in group.retries for s in one.ranges)]
        self._waiting -= group.waiting
        group.waiting = 0
        group.fresh.clear()
        group.retries.clear()
        return [GiveUp(p, error, traceback) for span in sorted(spans) for p in range(*span)]

    def _put_back(self, chunk: Chunk) -> None:
        group = self._groups[chunk.group]
        group.retries.append(chunk)
        group.waiting += len(chunk)
        self._waiting += len(chunk)

    def _lost(self, worker: int, error: str) -> list[Action]:
        self._losses += 1
        self._starting.discard(worker)
        if worker not in self._workers:
            return []
        lost = self._workers[worker]
        actions: list[Action] = []
        for place, chunk_id in enumerate(tuple(lost.chunks)):
            chunk, _ = self._take(worker, chunk_id)
            if place == 0:
                actions += self._retry(chunk, worker, error, "")
            else:
                self._put_back(chunk)
        self._settle(lost, None)
        self._with_room.discard(worker)
        del self._workers[worker]
        return actions


def _halves(ranges: tuple[Range, ...]) -> list[tuple[Range, ...]]:
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
