"""The scheduler: which trials go to which worker, as a pure state machine.

``Scheduler.on(event)`` returns actions. It knows no Ray, no clock and no I/O, so a crowd of
simulated workers can test it exhaustively; executors turn actions into calls and answers into
events. An event costs O(log n) or O(chunk), whatever the number of workers and trials.

Rules:

- A chunk holds trials of one group (a layer and target). Its size aims at ``chunk_seconds`` by the
  pace that workers of the same kind have shown in the group, starts with a single trial for each
  kind, and shrinks towards the end so that workers finish together. Where two or more chunks of the
  group have failed in a row it is one trial from the group's other end: a look at whether others
  can be done.
- A worker has at most ``in_flight`` chunks and stays with its group while that group has work;
  then it takes the group with the most work left for each worker on it. A group that has brought
  failures only, or many of late, comes last: if it kills every worker, the others are done by then.
- A chunk that failed is tried again, on another worker if there is one, after fresh work; before it
  where ``hopeless_after`` chunks of a group have failed and none was done in between. A chunk that
  failed twice is split in two, until the trial that fails is alone. That trial is given up on after
  ``attempts`` failures and the others go on.
- Where no trial of a group can be evaluated, all of them are given up on at once: a worker says so,
  or ``hopeless_after`` of them were given up on and none was ever done.
- Where workers die on whatever they are given, they are to blame rather than the trials: the run
  stops, and the rest stays to be done. ``circuit_breaker.py`` says when that is.
- Of a lost worker's chunks only the first, which it was at work on, has failed; none has if the
  loss is blameless, until ``machines`` of them have gone away under that chunk.
- Time is the latest ``Tick``, which comes before the events of its time; before the first it is 0.
  A worker that passes a deadline is stopped and counts as lost. A chunk's deadline runs from when
  it is first in its worker's queue and follows from its weight and the pace of its kind of worker
  in the group; the first of a group on a worker, which has to prepare the layer, and those of a
  group and kind whose pace is not known have longer. A worker that has a place has a deadline to be
  ready; one that waits for a place has none.
- Something is late only if the time was up at the tick before the latest: whatever was heard until
  then has been taken in by now. So nobody is blamed for a time in which the caller heard nothing.
- Lost workers are replaced: the first at once, the next after waits that double, until a trial is
  given up on or a chunk is done by a worker that was started after the first of these losses.
- A worker that is refused is not replaced, as long as others are wanted: what comes in its place is
  likely of its kind.
- The run stops when no worker has been ready for ``patience`` seconds. Workers that have a place
  and load the model are waited for, for ``start_deadline`` seconds more.
- Events of workers and chunks that are not known, any longer or at all, change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import replace

from orchestrator.scheduling.circuit_breaker import CircuitBreaker
from orchestrator.scheduling.events import (
    Action,
    Assign,
    Chunk,
    ChunkDone,
    ChunkFailed,
    Event,
    Finish,
    GiveUp,
    MoreWork,
    Range,
    Stop,
    StopWorker,
    Tick,
    WorkerLost,
    WorkerPlaced,
    WorkerReady,
)
from orchestrator.scheduling.lazy_priority_queue import LazyPriorityQueue
from orchestrator.scheduling.settings import Settings
from orchestrator.scheduling.work_queue import Ranges, Weigh, WorkQueue, halves
from orchestrator.scheduling.worker_pool import InFlight, PooledWorker, WorkerPool

__all__ = ["Scheduler", "Settings"]


class Scheduler:
    """Assigns every trial of a campaign to workers.

    Args:
        groups: For each group the positions that are to be done, ascending ranges.
        weigh: What trials cost, as runs of equal weight.
        settings: How to work.
        begun: Groups of which earlier runs have done trials: these are not hopeless.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[Range]],
        *,
        weigh: Weigh,
        settings: Settings,
        begun: Container[int] = (),
    ) -> None:
        self._settings = settings
        self._pool = WorkerPool(settings)
        self._groups = [
            WorkQueue(ranges, weigh, begun=index in begun, hopeless_after=settings.hopeless_after)
            for index, ranges in enumerate(groups)
        ]
        self._urgent = LazyPriorityQueue(lambda index: self._groups[index].rank())
        for index in range(len(self._groups)):
            self._urgent.touch(index)
        self._waiting = sum(group.waiting for group in self._groups)
        self._open_groups = sum(group.waiting > 0 for group in self._groups)
        self._in_flight = 0
        self._chunks_made = 0
        self._breaker = CircuitBreaker(self._groups, settings.hopeless_after)
        self._useless: str | None = None
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
        return [*self._pool.start(self.remaining)] if self.remaining else self._finish(None)

    def on(self, event: Event) -> list[Action]:
        """Take in what happened and return what to do."""
        if self._finished:
            return []
        if isinstance(event, Stop):
            return self._finish("it was interrupted")
        actions = self._take_in(event)
        if not self.remaining:
            return actions + self._finish(None)
        reason = self._useless if self._waiting else None
        reason = reason or self._pool.out_of_patience()
        if reason is not None:
            return actions + self._finish(reason)
        actions += self._pool.start(self.remaining)
        actions += self._assign()
        return actions

    def _finish(self, reason: str | None) -> list[Action]:
        self._finished = True
        return [Finish(reason)]

    def _take_in(self, event: Event) -> list[Action]:
        match event:
            case ChunkDone():
                self._done(event)
            case ChunkFailed():
                return self._failed(event)
            case Tick(now):
                return self._tick(now)
            case MoreWork(group, ranges):
                self._add(group, ranges)
            case WorkerPlaced(worker):
                self._pool.placed(worker)
            case WorkerReady(worker, kind):
                self._pool.ready(worker, kind)
            case WorkerLost(worker, error, blameless, refused):
                return self._lost(worker, error, blameless=blameless, refused=refused)
        return []

    def _add(self, index: int, ranges: Ranges) -> None:
        group = self._groups[index]
        before = group.waiting
        group.add(ranges)
        self._waiting += group.waiting - before
        self._open_groups += not before and group.waiting > 0
        self._breaker.opened(index)
        self._urgent.touch(index)

    def _tick(self, now: float) -> list[Action]:
        actions: list[Action] = []
        for worker, error in self._pool.tick(now):
            actions.append(StopWorker(worker, error))
            actions += self._lost(worker, error, blameless=False)
        return actions

    def _lost(
        self, worker: int, error: str, *, blameless: bool, refused: bool = False
    ) -> list[Action]:
        member = self._pool.lost(worker, error, refused=refused)
        if member is None:
            return []
        self._settle(member, None)
        chunks = [flight.chunk for flight in member.flights.values()]
        self._in_flight -= sum(map(len, chunks))
        if blameless and chunks:
            chunks[0] = replace(chunks[0], machines_lost=chunks[0].machines_lost + 1)
            blameless = chunks[0].machines_lost < self._settings.machines
        blamed = 0 if blameless else 1
        for chunk in chunks[blamed:]:
            self._put_back(chunk)
        actions: list[Action] = []
        for chunk in chunks[:blamed]:
            actions += self._retry(chunk, worker, error, "", lost=True)
        return actions

    def _assign(self) -> list[Action]:
        """Give workers that have room another chunk, the idle ones first.

        At most one of them finds nothing to take: what is left has then failed on that one only.
        """
        actions: list[Action] = []
        without: int | None = None
        while self._waiting and (worker := self._pool.first_with_room(without)) is not None:
            flight = self._next(worker)
            if flight is None:
                without = worker
                continue
            trials = len(flight.chunk)
            self._waiting -= trials
            self._in_flight += trials
            self._settle(self._pool.members[worker], flight.chunk.group)
            self._pool.give(worker, flight)
            self._pool.begin(worker, self._pace)
            actions.append(Assign(worker, flight.chunk))
        return actions

    def _next(self, worker: int) -> InFlight | None:
        """Take the next chunk for a worker out of its group, or out of the most urgent other."""
        taker = worker if len(self._pool.members) > 1 else None
        member = self._pool.members[worker]
        index = member.group
        if index is None or not self._groups[index].offers(taker):
            index = self._urgent.first(lambda index: self._groups[index].offers(taker))
        if index is None:
            return None
        group = self._groups[index]
        if group.next_is_fresh(taker):
            share = max(1.0, len(self._pool.members) / self._open_groups)
            most = math.ceil(group.waiting / (2 * share))
            ranges, weight = group.cut(member.kind, most=most, seconds=self._settings.chunk_seconds)
            flight = InFlight(Chunk(self._number(), index, ranges), weight)
        else:
            flight = InFlight(*group.retry(taker))
        self._open_groups -= not group.waiting
        return flight

    def _settle(self, member: PooledWorker, index: int | None) -> None:
        """Move a worker to a group."""
        for group, change in ((member.group, -1), (index, 1)):
            if group is not None:
                self._groups[group].workers += change
                self._urgent.touch(group)
        member.group = index

    def _pace(self, index: int, kind: str) -> float | None:
        return self._groups[index].pace(kind)

    def _number(self) -> int:
        self._chunks_made += 1
        return self._chunks_made

    def _again(self, failed: Chunk, ranges: Ranges, failures: int, worker: int) -> Chunk:
        """Return trials of a failed chunk as a chunk of their own."""
        return replace(
            failed, id=self._number(), ranges=ranges, failures=failures, failed_on=worker
        )

    def _done(self, event: ChunkDone) -> None:
        flight = self._pool.take(event.worker, event.chunk)
        if flight is None:
            return
        index, trials = flight.chunk.group, len(flight.chunk)
        self._in_flight -= trials
        member = self._pool.members[event.worker]
        self._groups[index].learn(member.kind, trials, flight.weight, event.seconds)
        self._breaker.done()
        self._useless = None
        self._urgent.touch(index)
        self._pool.done(event.worker)
        member.prepared = index
        self._pool.begin(event.worker, self._pace)

    def _failed(self, event: ChunkFailed) -> list[Action]:
        flight = self._pool.take(event.worker, event.chunk)
        if flight is None:
            return []
        chunk = flight.chunk
        self._in_flight -= len(chunk)
        self._pool.begin(event.worker, self._pace)
        if not event.hopeless:
            return self._retry(chunk, event.worker, event.error, event.traceback, lost=False)
        self._put_back(chunk)
        return self._give_up_group(chunk.group, event.error, event.traceback)

    def _retry(
        self, chunk: Chunk, worker: int, error: str, traceback: str, *, lost: bool
    ) -> list[Action]:
        """Put a failed chunk back, split it, or give up on the trial that is alone in it."""
        group = self._groups[chunk.group]
        failures = chunk.failures + 1
        given_up = len(chunk) == 1 and failures >= self._settings.attempts
        group.failed(given_up=given_up)
        self._breaker.failed(chunk.group)
        actions: list[Action] = []
        if given_up:
            if lost and self._breaker.killed(chunk.group):
                self._useless = f"workers die on whatever they are given: {error}"
            self._urgent.touch(chunk.group)
            self._pool.given_up()
            actions.append(GiveUp(chunk.ranges, error, traceback))
        elif len(chunk) > 1 and failures >= 2:
            for ranges in halves(chunk.ranges):
                self._put_back(self._again(chunk, ranges, 1, worker))
        else:
            self._put_back(self._again(chunk, chunk.ranges, failures, worker))
        if self._useless is None and group.waiting and group.is_hopeless:
            error = f"nothing of this layer could be evaluated; the last error: {error}"
            actions += self._give_up_group(chunk.group, error, traceback)
        return actions

    def _put_back(self, chunk: Chunk) -> None:
        group = self._groups[chunk.group]
        self._open_groups += not group.waiting
        group.put_back(chunk)
        self._waiting += len(chunk)
        self._urgent.touch(chunk.group)

    def _give_up_group(self, index: int, error: str, traceback: str) -> list[Action]:
        """Give up on all that waits in a group."""
        group = self._groups[index]
        self._waiting -= group.waiting
        self._open_groups -= 1
        self._urgent.touch(index)
        return [GiveUp(tuple(group.take_all()), error, traceback)]
