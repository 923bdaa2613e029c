"""Simulated workers under a scheduler, with books of their own that it is checked against."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random

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
    StartWorker,
    Stop,
    StopWorker,
    Tick,
    WorkerLost,
    WorkerPlaced,
    WorkerReady,
)
from orchestrator.scheduling.scheduler import Scheduler
from orchestrator.scheduling.settings import Settings
from orchestrator.scheduling.work_queue import GROWTH
from orchestrator.scheduling.worker_pool import NOT_PLACED
from tests.orchestrator.scheduling.queues import Queue, ready
from tests.orchestrator.scheduling.trouble import Trouble
from tests.orchestrator.scheduling.weights import trials_of, weigh, weight

NEVER = 10**6
A_MOMENT = (0.0, 2.0**-10)
ANY_TIME = (0.0, 0.25, 1.0, 30.0, 130.0, 1000.0)
REST = "nothing of this layer could be evaluated; the last error: "
USELESS = "workers die on whatever they are given: "


class Crowd:
    """Workers that do what the scheduler says, in an order that ``random`` chooses.

    It keeps its own books of every trial, worker and deadline and checks the scheduler against them
    after every step.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[Range]],
        settings: Settings,
        random: Random,
        trouble: Trouble | None = None,
        begun: frozenset[int] = frozenset(),
        later: Sequence[tuple[int, Range]] = (),
    ) -> None:
        self.scheduler = Scheduler(groups, weigh=weigh, settings=settings, begun=begun)
        self.begun = begun
        self.later = list(later)
        self.has_more = bool(later)
        self.settings = settings
        self.random = random
        self.trouble = trouble or Trouble()
        self.accidents = [False] * self.trouble.accidents + [True] * self.trouble.blameless
        random.shuffle(self.accidents)
        self.groups = [frozenset(trials_of(ranges)) for ranges in groups]
        self.trials = frozenset(trial for group in self.groups for trial in group)
        self.waiting = set(self.trials)
        self.fresh = set(self.trials)
        self.failing: Counter[int] = Counter()
        self.killed: Counter[int] = Counter()
        self.bad: set[int] = set()
        self.lately: set[int] = set()
        self.are_useless = False
        self.done: set[int] = set()
        self.given_up: dict[int, str] = {}
        self.started = 0
        self.unplaced: set[int] = set()
        self.loading: dict[int, float] = {}
        self.queues: dict[int, Queue] = {}
        self.late: list[Event] = []
        self.chunk_ids: set[int] = set()
        self.taken_back: set[int] = set()
        self.failed_on: dict[int, int] = {}
        self.failed_together: Counter[tuple[Range, ...]] = Counter()
        self.heaviest: dict[tuple[int, str], float] = {}
        self.paces: dict[tuple[int, str], float] = {}
        self.lost_on: set[int] = set()
        self.now = 0.0
        self.heard = 0.0
        self.none_ready_since = math.inf
        self.steps = 0
        self.new = 0
        self.wait_until = -math.inf
        self.last_loss = NOT_PLACED
        self.to_stop: set[int] = set()
        self.finish: Finish | None = None

    def run(self, stop_after: int = NEVER) -> None:
        self._obey(self.scheduler.start())
        for _ in range(stop_after):
            if self.finish is not None:
                break
            self._deliver(self._next_event())
        else:
            self._deliver(Stop())
        assert self.finish is not None
        for event in [*self._possible_events(), *self.late, Tick(self.now + NEVER), Stop()]:
            assert self.scheduler.on(event) == []

    def _possible_events(self) -> list[Event]:
        events: list[Event] = [WorkerPlaced(worker) for worker in sorted(self.unplaced)]
        events += [ready(worker) for worker in sorted(self.unplaced)]
        events += [ready(worker) for worker in sorted(self.loading)]
        for worker, queue in self.queues.items():
            if queue.chunks and (event := self._outcome(worker, queue.chunks[0])):
                events.append(event)
        return events

    def _outcome(self, worker: int, chunk: Chunk) -> Event | None:
        """What becomes of the chunk that is first in the worker's queue; None if it hangs."""
        for trial in trials_of(chunk.ranges):
            if trial in self.trouble.hangs:
                return None
            if trial in self.trouble.killers:
                return WorkerLost(worker, f"killed by {trial}")
            if trial in self.trouble.poison:
                return ChunkFailed(worker, chunk.id, f"raised by {trial}", "traceback")
        seconds = self.random.choice((0.0, 0.125, 2.0, 30.0))
        return ChunkDone(worker, chunk.id, seconds)

    def _next_event(self) -> Event:
        running = [*sorted(self.unplaced), *self.loading, *self.queues]
        if self.accidents and running and self.random.random() < 0.1:
            blameless = self.accidents.pop()
            error = f"accident {len(self.accidents)}"
            return WorkerLost(self.random.choice(running), error, blameless)
        if self.late and self.random.random() < 0.2:
            return self.late.pop(self.random.randrange(len(self.late)))
        possible = self._possible_events()
        if not possible or self.random.random() < 0.2:
            punctual = possible and not self.trouble.delays
            steps = A_MOMENT if punctual else ANY_TIME
            return Tick(self.now + self.random.choice(steps))
        return self.random.choice(possible)

    def _deliver(self, event: Event) -> None:
        self.lost_on.clear()
        match event:
            case Tick(now):
                self._pass_time(now)
            case WorkerPlaced(worker) if worker in self.unplaced:
                self.unplaced.remove(worker)
                self.loading[worker] = self.now + self.settings.start_deadline
            case WorkerReady(worker, kind) if worker in self.unplaced or worker in self.loading:
                self.unplaced.discard(worker)
                self.loading.pop(worker, None)
                self.queues[worker] = Queue(kind)
                self.none_ready_since = math.inf
            case ChunkDone(worker, _, seconds) if worker in self.queues:
                while self.later and self.random.random() < 0.7:
                    self._add(*self.later.pop())
                self._has_done(worker, seconds)
            case ChunkFailed(worker) if worker in self.queues:
                self._has_failed(self.queues[worker].chunks.popleft(), worker)
                self._begin(worker)
            case WorkerLost(worker, error, blameless) if self._is_running(worker):
                self._lose(worker, error, blameless=blameless)
            case Stop():
                pass
            case _:
                assert self.scheduler.on(event) == [], "it is about a worker that is gone"
                return
        self._obey(self.scheduler.on(event))

    def _add(self, index: int, span: Range) -> None:
        """Let the trials that are about to be reported bring about more."""
        new = frozenset(trials_of([span]))
        self.groups[index] |= new
        self.trials |= new
        self.waiting |= new
        self.fresh |= new
        self._obey(self.scheduler.on(MoreWork(index, (span,))))

    def _is_running(self, worker: int) -> bool:
        return worker in self.unplaced or worker in self.loading or worker in self.queues

    def _pass_time(self, now: float) -> None:
        self.heard, self.now = self.now, now
        due = {**self.loading, **{worker: queue.due for worker, queue in self.queues.items()}}
        self.to_stop = {worker for worker, when in due.items() if when < self.heard}
        if not self.queues:
            self.none_ready_since = min(self.none_ready_since, now)

    def _has_done(self, worker: int, seconds: float) -> None:
        queue = self.queues[worker]
        chunk = queue.chunks.popleft()
        self.done.update(trials_of(chunk.ranges))
        self.failing[chunk.group] = 0
        self.killed.clear()
        self.bad |= self.lately
        self.lately.clear()
        self.are_useless = False
        total = sum(map(weight, trials_of(chunk.ranges)))
        key = chunk.group, queue.kind
        self.heaviest[key] = max(self.heaviest.get(key, 0.0), total)
        before, pace = self.paces.get(key), total / max(seconds, 1e-6)
        self.paces[key] = pace if before is None else (before + pace) / 2
        queue.prepared = chunk.group
        self._begin(worker)
        if worker >= self.new:
            self._forget_losses()

    def _begin(self, worker: int) -> None:
        """Reckon until when the first chunk of a worker may take."""
        queue = self.queues[worker]
        if not queue.chunks:
            queue.due = math.inf
            return
        chunk, settings = queue.chunks[0], self.settings
        pace = self.paces.get((chunk.group, queue.kind))
        allowed = [settings.least_deadline]
        if pace is not None:
            total = sum(map(weight, trials_of(chunk.ranges)))
            allowed.append(settings.deadline_factor * (total / pace))
        if pace is None or queue.prepared != chunk.group:
            allowed.append(settings.first_deadline)
        queue.due = self.now + max(allowed)

    def _lose(self, worker: int, error: str, *, blameless: bool) -> None:
        self.last_loss = error
        if not self.steps:
            self.new = self.started
        if self.now >= self.wait_until:
            wait = min(self.settings.backoff * 2 ** (self.steps - 1), self.settings.most_backoff)
            self.wait_until = self.now + (wait if self.steps else 0.0)
            self.steps += 1
        self.unplaced.discard(worker)
        self.loading.pop(worker, None)
        chunks = self.queues.pop(worker, Queue()).chunks
        self.late += [WorkerPlaced(worker), ready(worker), WorkerLost(worker, "again")]
        for chunk in chunks:
            done, failed = ChunkDone(worker, chunk.id, 1.0), ChunkFailed(worker, chunk.id, "late")
            self.late.append(self.random.choice((done, failed)))
        if chunks and blameless:
            chunks[0] = replace(chunks[0], machines_lost=chunks[0].machines_lost + 1)
            blameless = chunks[0].machines_lost < self.settings.machines
        if chunks and not blameless:
            self.lost_on.add(chunks[0].group)
            self._has_failed(chunks.popleft(), worker)
        for chunk in chunks:
            self.waiting.update(trials_of(chunk.ranges))
            self.taken_back.add(chunk.id)

    def _has_failed(self, chunk: Chunk, worker: int) -> None:
        self.waiting.update(trials_of(chunk.ranges))
        self.failed_on.update(dict.fromkeys(trials_of(chunk.ranges), worker))
        self.failed_together[chunk.ranges] += 1
        self.failing[chunk.group] += 1
        self.lately.add(chunk.group)

    def _forget_losses(self) -> None:
        self.steps = 0
        self.new = 0
        self.wait_until = -math.inf

    def _obey(self, actions: list[Action]) -> None:
        for action in actions:
            assert self.finish is None
            match action:
                case StartWorker(worker):
                    assert worker == self.started
                    assert self.now >= self.wait_until
                    self.started += 1
                    self.unplaced.add(worker)
                case StopWorker(worker, error):
                    self.to_stop.remove(worker)
                    assert error.startswith("the worker was stopped: ")
                    self._lose(worker, error, blameless=False)
                case Assign(worker, chunk):
                    self._send(worker, chunk)
                case GiveUp(ranges, error):
                    self._give_up(ranges, error)
                case Finish():
                    self.finish = action
        self._check()

    def _send(self, worker: int, chunk: Chunk) -> None:
        self._check_chunk(worker, chunk)
        trials = trials_of(chunk.ranges)
        self.waiting.difference_update(trials)
        self.fresh.difference_update(trials)
        self.chunk_ids.add(chunk.id)
        self.taken_back.discard(chunk.id)
        self.queues[worker].chunks.append(chunk)
        if len(self.queues[worker].chunks) == 1:
            self._begin(worker)

    def _give_up(self, ranges: tuple[Range, ...], error: str) -> None:
        trials = trials_of(ranges)
        assert self.waiting.issuperset(trials)
        (index,) = (i for i, group in enumerate(self.groups) if group.issuperset(trials))
        if error.startswith(REST):
            assert self._has_no_hope(index)
            assert not self.are_useless
            assert self.groups[index] & self.waiting == set(trials)
        else:
            assert len(trials) == 1
            assert self._has_had_its_attempts(trials[0])
            self._forget_losses()
            if self._any_done(index):
                self.failing[index] = 0
            self.killed[index] += index in self.lost_on
            self.given_up[trials[0]] = error
            self.are_useless |= index in self.lost_on and self._must_be_the_workers(index)
        self.waiting.difference_update(trials)
        self.fresh.difference_update(trials)
        self.given_up.update(dict.fromkeys(trials, error))

    def _any_done(self, index: int) -> bool:
        return index in self.begun or not self.done.isdisjoint(self.groups[index])

    def _has_no_hope(self, index: int) -> bool:
        """Whether none of a group was done and enough of its trials were given up on."""
        errors = [self.given_up[trial] for trial in self.groups[index] & self.given_up.keys()]
        alone = sum(not error.startswith(REST) for error in errors)
        return not self._any_done(index) and alone >= self.settings.hopeless_after

    def _must_be_the_workers(self, index: int) -> bool:
        """Whether the workers are to blame for the last trial of a group that was given up on."""
        enough = self.settings.hopeless_after
        known = {index for index in range(len(self.groups)) if self._any_done(index)}
        new = {i for i, group in enumerate(self.groups) if group} - known - self.bad
        layers = not known or len(new) > max(1, len(known) // 4)
        fresh = not self.fresh.isdisjoint(self.groups[index])
        alone = self.killed[index] >= enough and self._any_done(index) and fresh
        return self.killed.total() >= enough and (layers or alone)

    def _has_had_its_attempts(self, trial: int) -> bool:
        """Whether a trial has failed as often as is asked for: alone, or once with its chunk."""
        return self.failed_together[(trial, trial + 1),] >= self.settings.attempts - 1

    def _check_chunk(self, worker: int, chunk: Chunk) -> None:
        trials = trials_of(chunk.ranges)
        assert trials
        assert len(self.queues[worker].chunks) < self.settings.in_flight
        assert chunk.id not in self.chunk_ids or chunk.id in self.taken_back
        assert len(trials) == len(chunk)
        assert trials == sorted(set(trials))
        assert all(start < stop for start, stop in chunk.ranges)
        assert self.waiting.issuperset(trials)
        assert self.groups[chunk.group].issuperset(trials)
        if self.fresh.issuperset(trials):
            assert not self._tries_again_first(worker, chunk.group)
            assert (chunk.failures, chunk.failed_on) == (0, None)
            full = GROWTH * self.heaviest.get((chunk.group, self.queues[worker].kind), 0.0)
            weights = [weight(trial) for trial in trials]
            last = max(weights) if self.has_more else weights[-1]  # what came later may be any
            assert len(trials) == 1 or sum(weights) - last < full
        else:
            fresh = not self.fresh.isdisjoint(self.groups[chunk.group])
            assert not fresh or self._tries_again_first(worker, chunk.group)
            assert chunk.failures == 0 or {self.failed_on[t] for t in trials} == {chunk.failed_on}
            assert len(trials) == 1 or self.failed_together[chunk.ranges] < 2
            assert chunk.failed_on != worker or len(self.queues) == 1

    def _tries_again_first(self, worker: int, group: int) -> bool:
        """Whether a worker tries what has failed again before what is fresh."""
        if self.failing[group] < self.settings.hopeless_after:
            return False
        waiting = (self.groups[group] & self.waiting) - self.fresh
        alone = len(self.queues) == 1
        return any(alone or self.failed_on.get(trial) != worker for trial in waiting)

    def _check(self) -> None:
        flying = [
            trial
            for queue in self.queues.values()
            for chunk in queue.chunks
            for trial in trials_of(chunk.ranges)
        ]
        everywhere = [*self.waiting, *flying, *self.done, *self.given_up]
        assert Counter(everywhere) == Counter(self.trials)
        assert self.scheduler.remaining == len(self.waiting) + len(flying)
        assert self.scheduler.waiting == [len(group & self.waiting) for group in self.groups]
        assert not self.to_stop
        running = len(self.unplaced) + len(self.loading) + len(self.queues)
        assert running <= self.settings.workers
        if self.finish is None:
            if self.now >= self.wait_until:
                assert running >= min(self.settings.workers, self.scheduler.remaining)
            assert not self._is_out_of_patience()
            assert not (self.are_useless and self.waiting)
            self._check_that_nobody_idles()
        elif self.finish.reason is None:
            assert self.scheduler.remaining == 0
        elif self.finish.reason.startswith(USELESS):
            assert self.are_useless and self.waiting  # noqa: PT018
        elif self.finish.reason != "it was interrupted":
            assert self._is_out_of_patience()
            assert self.finish.reason.startswith("no worker could be had for ")
            assert self.finish.reason.endswith(f" s: {self.last_loss}")

    def _is_out_of_patience(self) -> bool:
        grace = self.settings.start_deadline if self.loading else 0.0
        silence = self.heard - self.none_ready_since
        return not self.queues and silence >= self.settings.patience + grace

    def _check_that_nobody_idles(self) -> None:
        for worker, queue in self.queues.items():
            if self.waiting and len(queue.chunks) < self.settings.in_flight:
                assert len(self.queues) > 1
                assert {self.failed_on.get(trial) for trial in self.waiting} == {worker}
