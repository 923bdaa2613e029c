"""The scheduler, with simulated workers: what holds after every step, and each rule by example."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from orchestrator.scheduler import GROWTH, Scheduler, Settings

NEVER = 10**6


def trials_of(ranges: Iterable[Range]) -> list[int]:
    return [trial for span in ranges for trial in range(*span)]


def ranges_of(trials: Iterable[int]) -> list[Range]:
    ranges: list[Range] = []
    for trial in sorted(trials):
        if ranges and ranges[-1][1] == trial:
            ranges[-1] = ranges[-1][0], trial + 1
        else:
            ranges.append((trial, trial + 1))
    return ranges


def weigh(trial: int) -> float:
    """Weights whose sums are exact."""
    return (1.0, 0.25, 4.0)[trial % 3]


@dataclass(frozen=True)
class Trouble:
    """What goes wrong: trials that raise, trials that end their worker, and plain bad luck."""

    poison: frozenset[int] = frozenset()
    killers: frozenset[int] = frozenset()
    accidents: int = 0


class Crowd:
    """Workers that do what the scheduler says, in an order that ``random`` chooses.

    It keeps its own books of every trial and checks the scheduler against them after every step.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[Range]],
        settings: Settings,
        random: Random,
        trouble: Trouble | None = None,
    ) -> None:
        self.scheduler = Scheduler(groups, weight=weigh, settings=settings)
        self.settings = settings
        self.random = random
        self.trouble = trouble or Trouble()
        self.accidents = self.trouble.accidents
        self.groups = [frozenset(trials_of(ranges)) for ranges in groups]
        self.trials = frozenset(trial for group in self.groups for trial in group)
        self.waiting = set(self.trials)
        self.fresh = set(self.trials)
        self.done: set[int] = set()
        self.given_up: dict[int, str] = {}
        self.started = 0
        self.starting: set[int] = set()
        self.queues: dict[int, deque[Chunk]] = {}
        self.chunk_ids: set[int] = set()
        self.taken_back: set[int] = set()
        self.failed_on: dict[int, int] = {}
        self.failed_together: Counter[tuple[Range, ...]] = Counter()
        self.heaviest = [0.0] * len(groups)
        self.losses = 0
        self.last_loss = ""
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
        for event in [*self._possible_events(), Stop()]:
            assert self.scheduler.on(event) == []

    def _possible_events(self) -> list[Event]:
        ready: list[Event] = [WorkerReady(worker) for worker in sorted(self.starting)]
        return ready + [self._outcome(worker) for worker, queue in self.queues.items() if queue]

    def _outcome(self, worker: int) -> Event:
        """What becomes of the chunk that is first in the worker's queue."""
        chunk = self.queues[worker][0]
        trials = set(trials_of(chunk.ranges))
        if bad := sorted(trials & (self.trouble.killers | self.trouble.poison)):
            if bad[0] in self.trouble.killers:
                return WorkerLost(worker, f"killed by {bad[0]}")
            return ChunkFailed(worker, chunk.id, f"raised by {bad[0]}", "traceback")
        return ChunkDone(worker, chunk.id, 0.0)

    def _next_event(self) -> Event:
        running = sorted(self.starting) + list(self.queues)
        if self.accidents and self.random.random() < 0.1:
            self.accidents -= 1
            return WorkerLost(self.random.choice(running), f"accident {self.accidents}")
        event = self.random.choice(self._possible_events())
        if isinstance(event, ChunkDone):
            seconds = self.random.choice((0.0, 0.125, 2.0, 30.0))
            return ChunkDone(event.worker, event.chunk, seconds)
        return event

    def _deliver(self, event: Event) -> None:
        match event:
            case WorkerReady(worker):
                self.starting.remove(worker)
                self.queues[worker] = deque()
            case ChunkDone(worker):
                chunk = self.queues[worker].popleft()
                self.done.update(trials_of(chunk.ranges))
                weight = sum(map(weigh, trials_of(chunk.ranges)))
                self.heaviest[chunk.group] = max(self.heaviest[chunk.group], weight)
                self.losses = 0
            case ChunkFailed(worker):
                self._has_failed(self.queues[worker].popleft(), worker)
            case WorkerLost(worker, error):
                self.losses += 1
                self.last_loss = error
                self.starting.discard(worker)
                queue = self.queues.pop(worker, deque())
                if queue:
                    self._has_failed(queue.popleft(), worker)
                for chunk in queue:
                    self.waiting.update(trials_of(chunk.ranges))
                    self.taken_back.add(chunk.id)
        self._obey(self.scheduler.on(event))

    def _has_failed(self, chunk: Chunk, worker: int) -> None:
        self.waiting.update(trials_of(chunk.ranges))
        self.failed_on.update(dict.fromkeys(trials_of(chunk.ranges), worker))
        self.failed_together[chunk.ranges] += 1

    def _obey(self, actions: list[Action]) -> None:
        for action in actions:
            assert self.finish is None
            match action:
                case StartWorker(worker):
                    assert worker == self.started
                    assert self.losses < self.settings.losses
                    self.started += 1
                    self.starting.add(worker)
                case Assign(worker, chunk):
                    self._check_chunk(worker, chunk)
                    trials = trials_of(chunk.ranges)
                    self.waiting.difference_update(trials)
                    self.fresh.difference_update(trials)
                    self.chunk_ids.add(chunk.id)
                    self.taken_back.discard(chunk.id)
                    self.queues[worker].append(chunk)
                case GiveUp(trial, error):
                    self.waiting.remove(trial)
                    assert self.failed_together[(trial, trial + 1),] > 0
                    self.given_up[trial] = error
                    self.losses = 0
                case Finish():
                    self.finish = action
        self._check()

    def _check_chunk(self, worker: int, chunk: Chunk) -> None:
        assert worker in self.queues
        assert len(self.queues[worker]) < self.settings.in_flight
        assert chunk.id not in self.chunk_ids or chunk.id in self.taken_back
        trials = trials_of(chunk.ranges)
        assert trials
        assert len(trials) == len(chunk)
        assert trials == sorted(set(trials))
        assert all(start < stop for start, stop in chunk.ranges)
        assert self.waiting.issuperset(trials)
        assert self.groups[chunk.group].issuperset(trials)
        if self.fresh.issuperset(trials):
            assert (chunk.failures, chunk.failed_on) == (0, None)
            full = GROWTH * self.heaviest[chunk.group]
            assert len(trials) == 1 or sum(map(weigh, trials[:-1])) < full
        else:
            assert self.fresh.isdisjoint(self.groups[chunk.group])
            assert chunk.failures == 0 or {self.failed_on[t] for t in trials} == {chunk.failed_on}
            assert len(trials) == 1 or self.failed_together[chunk.ranges] < 2
            assert chunk.failed_on != worker or len(self.queues) == 1

    def _check(self) -> None:
        flying = [
            trial
            for queue in self.queues.values()
            for chunk in queue
            for trial in trials_of(chunk.ranges)
        ]
        everywhere = [*self.waiting, *flying, *self.done, *self.given_up]
        assert Counter(everywhere) == Counter(self.trials)
        assert self.scheduler.remaining == len(self.waiting) + len(flying)
        assert self.scheduler.waiting == [len(group & self.waiting) for group in self.groups]
        running = len(self.starting) + len(self.queues)
        assert running <= self.settings.workers
        if self.finish is None:
            assert running > 0
            if self.losses < self.settings.losses:
                assert running >= min(self.settings.workers, self.scheduler.remaining)
            self._check_that_nobody_idles()
        elif self.finish.reason is None:
            assert self.scheduler.remaining == 0
        elif self.finish.reason != "it was interrupted":
            assert self.finish.reason == f"no worker could be kept running: {self.last_loss}"
            assert self.losses >= self.settings.losses
            assert running == 0

    def _check_that_nobody_idles(self) -> None:
        for worker, queue in self.queues.items():
            if self.waiting and len(queue) < self.settings.in_flight:
                assert len(self.queues) > 1
                assert {self.failed_on.get(trial) for trial in self.waiting} == {worker}


crowds = st.builds(
    Settings,
    workers=st.integers(1, 5),
    in_flight=st.integers(1, 3),
    attempts=st.integers(1, 4),
    losses=st.just(NEVER),
)
mortal_crowds = st.builds(
    Settings,
    workers=st.integers(1, 5),
    in_flight=st.integers(1, 3),
    attempts=st.integers(1, 4),
    losses=st.integers(1, 8),
)
orders = st.randoms(use_true_random=True)
many = hypothesis.settings(max_examples=400, deadline=None)
some_trials = st.frozensets(st.integers(0, 89), min_size=1, max_size=9)


@st.composite
def campaigns(draw: st.DrawFn) -> list[list[Range]]:
    """Groups of up to 30 trials each, with holes where earlier runs have done some."""
    sizes = draw(st.lists(st.sampled_from((30, 11, 3, 1, 0)), min_size=3, max_size=3))
    done = draw(st.frozensets(st.integers(0, 89), max_size=9))
    return [
        ranges_of(set(range(30 * index, 30 * index + size)) - done)
        for index, size in enumerate(sizes)
    ]


@many
@given(campaigns(), crowds, orders)
def test_without_failures_every_trial_is_done_and_none_given_up(
    groups: list[list[Range]], settings: Settings, order: Random
) -> None:
    crowd = Crowd(groups, settings, order)
    crowd.run()
    assert crowd.finish == Finish(None)
    assert crowd.done == crowd.trials


@many
@given(campaigns(), crowds, orders, some_trials)
def test_exactly_the_trials_that_always_raise_are_given_up(
    groups: list[list[Range]], settings: Settings, order: Random, poison: frozenset[int]
) -> None:
    crowd = Crowd(groups, settings, order, Trouble(poison=poison))
    crowd.run()
    assert crowd.finish == Finish(None)
    assert crowd.given_up == {trial: f"raised by {trial}" for trial in poison & crowd.trials}


@many
@given(campaigns(), crowds, orders, some_trials, some_trials)
def test_exactly_the_trials_that_raise_or_kill_are_given_up(
    groups: list[list[Range]],
    settings: Settings,
    order: Random,
    poison: frozenset[int],
    killers: frozenset[int],
) -> None:
    crowd = Crowd(groups, settings, order, Trouble(poison, killers))
    crowd.run()
    assert crowd.finish == Finish(None)
    assert crowd.given_up.keys() == (poison | killers) & crowd.trials


@many
@given(campaigns(), mortal_crowds, orders, some_trials, some_trials)
def test_whatever_happens_the_books_agree_and_the_run_ends(
    groups: list[list[Range]],
    settings: Settings,
    order: Random,
    poison: frozenset[int],
    killers: frozenset[int],
) -> None:
    crowd = Crowd(groups, settings, order, Trouble(poison, killers, accidents=12))
    crowd.run()
    assert crowd.done.isdisjoint(poison | killers)


@many
@given(campaigns(), st.integers(1, 5), st.integers(1, 3), orders)
def test_fewer_accidents_than_attempts_cost_no_trial(
    groups: list[list[Range]], workers: int, in_flight: int, order: Random
) -> None:
    settings = Settings(workers, in_flight=in_flight, attempts=4, losses=4)
    crowd = Crowd(groups, settings, order, Trouble(accidents=3))
    crowd.run()
    assert crowd.finish == Finish(None)
    assert crowd.done == crowd.trials


@many
@given(campaigns(), crowds, orders, some_trials, st.integers(0, 40))
def test_a_run_can_be_stopped_at_any_time(
    groups: list[list[Range]], settings: Settings, order: Random, poison: frozenset[int], after: int
) -> None:
    crowd = Crowd(groups, settings, order, Trouble(poison, accidents=2))
    crowd.run(stop_after=after)
    assert crowd.finish in (Finish("it was interrupted"), Finish(None))


@given(st.integers(1, 5), st.sampled_from((0, 50, 100)), orders)
def test_a_layer_that_kills_every_worker_leaves_the_other_layers_done(
    workers: int, layer: int, order: Random
) -> None:
    killers = frozenset(range(layer, layer + 50))
    groups = [[(0, 50)], [(50, 100)], [(100, 150)]]
    crowd = Crowd(groups, Settings(workers), order, Trouble(killers=killers))
    crowd.run()
    assert crowd.finish is not None
    assert str(crowd.finish.reason).startswith("no worker could be kept running: killed by")
    assert crowd.done == crowd.trials - killers


def test_ten_thousand_workers_do_a_hundred_thousand_trials() -> None:
    scheduler = Scheduler(
        [[(start, start + 1000)] for start in range(0, 100_000, 1000)],
        weight=lambda _: 1.0,
        settings=Settings(10_000),
    )
    waiting: deque[Event] = deque()
    done: list[Range] = []
    finish: Finish | None = None

    def obey(actions: list[Action]) -> None:
        nonlocal finish
        for action in actions:
            match action:
                case StartWorker(worker):
                    waiting.append(WorkerReady(worker))
                case Assign(worker, chunk):
                    waiting.append(ChunkDone(worker, chunk.id, 0.5 * len(chunk)))
                    done.extend(chunk.ranges)
                case Finish():
                    finish = action

    obey(scheduler.start())
    assert len(waiting) == 10_000
    while waiting:
        obey(scheduler.on(waiting.popleft()))
    assert finish == Finish(None)
    assert sorted(trials_of(done)) == list(range(100_000))


def schedule(
    *groups: Sequence[Range], weight: Callable[[int], float] = lambda _: 1.0, **settings: Any
) -> Scheduler:
    return Scheduler(groups, weight=weight, settings=Settings(**settings))


def with_workers(scheduler: Scheduler, *, workers: int) -> list[Assign]:
    """Start a scheduler and report ``workers`` ready, in order; return what they are assigned."""
    scheduler.start()
    return [a for worker in range(workers) for a in assigned(scheduler.on(WorkerReady(worker)))]


def assigned(actions: list[Action]) -> list[Assign]:
    return [action for action in actions if isinstance(action, Assign)]


def attempts_of_one_worker(
    scheduler: Scheduler,
    *,
    seconds: Callable[[list[int]], float] = lambda trials: 1.0 * len(trials),
    poison: frozenset[int] = frozenset(),
) -> list[Chunk]:
    """Let one worker do all there is, in order; return the chunks that it was given."""
    todo = deque(with_workers(scheduler, workers=1))
    chunks = []
    while todo:
        chunk = todo.popleft().chunk
        chunks.append(chunk)
        trials = trials_of(chunk.ranges)
        event: Event = ChunkDone(0, chunk.id, seconds(trials))
        if poison.intersection(trials):
            event = ChunkFailed(0, chunk.id, "error")
        todo.extend(assigned(scheduler.on(event)))
    return chunks


def sizes(chunks: Iterable[Chunk]) -> list[int]:
    return [len(chunk) for chunk in chunks]


def test_an_empty_campaign_finishes_at_once() -> None:
    assert schedule(workers=4).start() == [Finish(None)]
    assert schedule([], [], workers=4).start() == [Finish(None)]


def test_no_more_workers_are_started_than_there_are_trials() -> None:
    assert schedule([(0, 2)], [(7, 8)], workers=100).start() == [
        StartWorker(0),
        StartWorker(1),
        StartWorker(2),
    ]


def test_the_last_done_trial_finishes_the_run() -> None:
    scheduler = schedule([(5, 6)], workers=1)
    assert scheduler.start() == [StartWorker(0)]
    assert scheduler.on(WorkerReady(0)) == [Assign(0, Chunk(1, 0, ((5, 6),)))]
    assert scheduler.remaining == 1
    assert scheduler.on(ChunkDone(0, 1, 0.5)) == [Finish(None)]
    assert scheduler.remaining == 0


def test_stop_finishes_with_a_reason() -> None:
    scheduler = schedule([(0, 9)], workers=2)
    with_workers(scheduler, workers=2)
    assert scheduler.on(Stop()) == [Finish("it was interrupted")]


def test_events_after_the_finish_give_no_actions() -> None:
    scheduler = schedule([(0, 9)], workers=2)
    (first, *_) = with_workers(scheduler, workers=1)
    scheduler.on(Stop())
    assert scheduler.on(ChunkDone(0, first.chunk.id, 1.0)) == []
    assert scheduler.on(ChunkFailed(0, first.chunk.id, "error")) == []
    assert scheduler.on(WorkerReady(1)) == []
    assert scheduler.on(WorkerLost(0, "error")) == []
    assert scheduler.on(Stop()) == []


def test_a_worker_holds_as_many_chunks_as_may_be_in_flight() -> None:
    scheduler = schedule([(0, 9)], workers=1, in_flight=3)
    assert with_workers(scheduler, workers=1) == [
        Assign(0, Chunk(1, 0, ((0, 1),))),
        Assign(0, Chunk(2, 0, ((1, 2),))),
        Assign(0, Chunk(3, 0, ((2, 3),))),
    ]


def test_idle_workers_are_served_first() -> None:
    scheduler = schedule([(0, 1)], [(1, 2)], [(2, 3)], workers=3, in_flight=2)
    first, second = with_workers(scheduler, workers=1)
    assert scheduler.on(WorkerReady(1)) == [Assign(1, Chunk(3, 2, ((2, 3),)))]
    assert scheduler.on(WorkerReady(2)) == []
    third = StartWorker(3)
    assert scheduler.on(WorkerLost(0, "gone")) == [
        third,
        Assign(2, Chunk(4, 0, first.chunk.ranges, 1, 0)),
        Assign(1, second.chunk),
    ]


def test_a_chunk_starts_with_a_trial_and_grows_eightfold_up_to_the_time_aimed_at() -> None:
    scheduler = schedule([(0, 10_000)], workers=1, in_flight=1, chunk_seconds=2.0)
    chunks = attempts_of_one_worker(scheduler, seconds=lambda trials: len(trials) / 128)
    assert sizes(chunks[:6]) == [1, 8, 64, 256, 256, 256]


def test_each_group_starts_with_a_trial() -> None:
    scheduler = schedule([(0, 20)], [(20, 40)], workers=1, in_flight=1)
    chunks = attempts_of_one_worker(scheduler, seconds=lambda _: 0.0)
    assert [sizes(c for c in chunks if c.group == group)[:2] for group in (0, 1)] == [
        [1, 8],
        [1, 8],
    ]


def test_the_pace_is_the_mean_of_the_last_and_what_was_known() -> None:
    seconds = iter([1 / 128, 8 / 128, 64 / 128, 256 / 64, 1.0])
    scheduler = schedule([(0, 2000)], workers=1, in_flight=1, chunk_seconds=2.0)
    chunks = attempts_of_one_worker(scheduler, seconds=lambda _: next(seconds, 1.0))
    assert sizes(chunks[:5]) == [1, 8, 64, 256, (128 + 64) // 2 * 2]


def test_a_trial_that_takes_longer_than_aimed_at_travels_alone() -> None:
    scheduler = schedule([(0, 20)], workers=1, in_flight=1, chunk_seconds=2.0)
    assert sizes(attempts_of_one_worker(scheduler, seconds=lambda _: 60.0)) == [1] * 20


def test_heavy_trials_travel_in_smaller_chunks() -> None:
    def weight(trial: int) -> float:
        return 1.0 if trial < 1000 else 16.0

    def seconds(trials: list[int]) -> float:
        return sum(map(weight, trials)) / 32

    scheduler = schedule([(0, 2000)], weight=weight, workers=1, in_flight=1, chunk_seconds=2.0)
    chunks = attempts_of_one_worker(scheduler, seconds=seconds)
    light = [len(c) for c in chunks if c.ranges[0][1] <= 1000]
    heavy = [len(c) for c in chunks if c.ranges[0][0] >= 1000]
    assert light[:4] == [1, 8, 64, 64]
    assert heavy[:4] == [4, 4, 4, 4]


def test_a_chunk_is_full_at_eight_times_the_heaviest_done() -> None:
    scheduler = schedule([(0, 100)], weight=lambda t: 1.0 + 4.0 * (t > 0), workers=1, in_flight=1)
    chunks = attempts_of_one_worker(scheduler, seconds=lambda _: 0.0)
    assert sizes(chunks[:3]) == [1, 2, 16]


def test_chunks_shrink_at_the_end_so_that_two_workers_share_the_last_group() -> None:
    scheduler = schedule([(0, 20)], workers=2, in_flight=1)
    todo = deque(with_workers(scheduler, workers=2))
    shares: dict[int, list[int]] = {0: [], 1: []}
    while todo:
        worker, chunk = todo[0].worker, todo.popleft().chunk
        shares[worker].append(len(chunk))
        todo.extend(assigned(scheduler.on(ChunkDone(worker, chunk.id, 0.01 * len(chunk)))))
    assert shares == {0: [1, 5, 3, 1, 1], 1: [1, 4, 2, 1, 1]}


def test_a_group_that_had_slowed_down_grows_from_the_heaviest_that_it_ever_did() -> None:
    paces = iter([128, 128, 128, 8, 8, 8, 8])
    scheduler = schedule([(0, 10_000)], workers=1, in_flight=1, chunk_seconds=2.0)
    chunks = attempts_of_one_worker(
        scheduler, seconds=lambda trials: len(trials) / next(paces, 1e6)
    )
    assert sizes(chunks[:9]) == [1, 8, 64, 256, 136, 76, 46, 31, 8 * 256]


def test_workers_begin_in_different_groups() -> None:
    scheduler = schedule([(0, 9)], [(9, 18)], [(18, 27)], workers=3, in_flight=1)
    assert [a.chunk.group for a in with_workers(scheduler, workers=3)] == [0, 1, 2]


def test_a_worker_stays_with_its_group_while_that_has_work() -> None:
    scheduler = schedule([(0, 40)], [(40, 80)], [(80, 120)], workers=2, in_flight=2)
    todo = deque(with_workers(scheduler, workers=2))
    visits: dict[int, list[int]] = {0: [], 1: []}
    while todo:
        worker, chunk = todo[0].worker, todo.popleft().chunk
        if visits[worker][-1:] != [chunk.group]:
            visits[worker].append(chunk.group)
        todo.extend(assigned(scheduler.on(ChunkDone(worker, chunk.id, 1.0 * len(chunk)))))
    assert visits == {0: [0, 2], 1: [1, 2]}


def after_its_group(*others: tuple[int, float, int], lost: int | None = None) -> int:
    """Let worker 0 run out of work and return the group that it takes next.

    Each of the others is a group: its trials left, the seconds that one takes, its workers; they
    are numbered from 1 in turns, a worker of each group first. One of them may be lost.
    """
    groups: list[list[Range]] = [[(0, 1)]]
    for trials, _, workers in others:
        begin = groups[-1][-1][1]
        groups.append([(begin, begin + trials + 2 * workers)])
    scheduler = schedule(*groups, workers=NEVER, in_flight=1)
    (mine,) = with_workers(scheduler, workers=1)
    number = 0
    for round_ in range(max(workers for _, _, workers in others)):
        for group, (_, seconds, workers) in enumerate(others, start=1):
            if round_ < workers:
                number += 1
                (first,) = assigned(scheduler.on(WorkerReady(number)))
                assert first.chunk.group == group
                (second,) = assigned(scheduler.on(ChunkDone(number, first.chunk.id, seconds)))
                assert second.chunk.group == group
    if lost is not None:
        scheduler.on(WorkerLost(lost, "gone"))
    (next_,) = assigned(scheduler.on(ChunkDone(0, mine.chunk.id, 1.0)))
    return next_.chunk.group


def test_next_comes_the_group_with_the_most_time_left() -> None:
    assert after_its_group((10, 3.0, 1), (20, 3.0, 1)) == 2
    assert after_its_group((10, 9.0, 1), (20, 3.0, 1)) == 1


def test_time_left_is_shared_among_the_workers_of_a_group() -> None:
    assert after_its_group((20, 60.0, 1), (28, 60.0, 1)) == 2
    assert after_its_group((20, 60.0, 1), (28, 60.0, 2)) == 1


def test_a_lost_worker_no_longer_counts_for_its_group() -> None:
    assert after_its_group((20, 60.0, 1), (28, 60.0, 2), lost=3) == 2


def test_a_group_that_nobody_has_begun_comes_before_all_others() -> None:
    scheduler = schedule([(0, 1)], [(1, 99)], [(99, 101)], workers=2, in_flight=1)
    mine, other = with_workers(scheduler, workers=2)
    scheduler.on(ChunkDone(1, other.chunk.id, 1000.0))
    (next_,) = assigned(scheduler.on(ChunkDone(0, mine.chunk.id, 1.0)))
    assert next_.chunk.group == 2


def test_a_group_that_has_brought_failures_only_comes_last() -> None:
    scheduler = schedule([(0, 9)], [(9, 10)], [(10, 11)], workers=1, in_flight=1)
    with_workers(scheduler, workers=1)
    assert scheduler.on(WorkerLost(0, "out of memory")) == [StartWorker(1)]
    assert scheduler.on(WorkerReady(1)) == [Assign(1, Chunk(3, 1, ((9, 10),)))]
    assert scheduler.on(ChunkDone(1, 3, 1.0)) == [Assign(1, Chunk(4, 2, ((10, 11),)))]
    assert scheduler.on(ChunkDone(1, 4, 1.0)) == [Assign(1, Chunk(5, 0, ((1, 2),)))]


def test_a_failed_chunk_waits_for_another_worker() -> None:
    scheduler = schedule([(0, 2)], workers=2, in_flight=1)
    with_workers(scheduler, workers=2)
    assert scheduler.on(ChunkFailed(0, 1, "error")) == []
    assert scheduler.on(ChunkDone(1, 2, 1.0)) == [Assign(1, Chunk(3, 0, ((0, 1),), 1, 0))]


def test_a_worker_that_is_alone_tries_its_failed_chunk_again() -> None:
    scheduler = schedule([(0, 1)], workers=1)
    with_workers(scheduler, workers=1)
    assert scheduler.on(ChunkFailed(0, 1, "error")) == [Assign(0, Chunk(2, 0, ((0, 1),), 1, 0))]


def test_a_failed_chunk_goes_to_the_worker_that_failed_on_it_once_the_others_are_gone() -> None:
    scheduler = schedule([(0, 2)], workers=2, in_flight=1, losses=1)
    with_workers(scheduler, workers=2)
    assert scheduler.on(ChunkFailed(0, 1, "error")) == []
    assert scheduler.on(WorkerLost(1, "gone")) == [Assign(0, Chunk(3, 0, ((0, 1),), 1, 0))]


def test_failed_chunks_come_after_fresh_work() -> None:
    scheduler = schedule([(0, 3)], workers=1, in_flight=1)
    chunks = attempts_of_one_worker(scheduler, poison=frozenset({0}))
    assert [chunk.ranges for chunk in chunks] == [((t, t + 1),) for t in (0, 1, 2, 0, 0, 0)]


def test_a_chunk_that_failed_twice_is_halved_until_the_trial_that_fails_is_alone() -> None:
    scheduler = schedule([(0, 17)], workers=1, in_flight=1, attempts=3)
    chunks = attempts_of_one_worker(scheduler, seconds=lambda _: 0.0, poison=frozenset({6}))
    assert [(*chunk.ranges, chunk.failures) for chunk in chunks] == [
        ((0, 1), 0),
        ((1, 9), 0),
        ((9, 17), 0),
        ((1, 9), 1),
        ((1, 5), 1),
        ((5, 9), 1),
        ((5, 7), 1),
        ((7, 9), 1),
        ((5, 6), 1),
        ((6, 7), 1),
        ((6, 7), 2),
    ]
    assert scheduler.remaining == 0


def test_a_halved_chunk_keeps_its_holes() -> None:
    scheduler = schedule([(0, 2), (5, 6), (9, 12), (20, 30)], workers=1, in_flight=1, attempts=9)
    chunks = attempts_of_one_worker(scheduler, seconds=lambda _: 0.0, poison=frozenset({10}))
    assert [chunk.ranges for chunk in chunks if chunk.ranges[0][0] < 20][:6] == [
        ((0, 1),),
        ((1, 2), (5, 6), (9, 12), (20, 23)),
        ((1, 2), (5, 6), (9, 12), (20, 23)),
        ((1, 2), (5, 6), (9, 11)),
        ((11, 12), (20, 23)),
        ((1, 2), (5, 6)),
    ]


@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_a_trial_alone_is_given_up_on_after_so_many_attempts(attempts: int) -> None:
    scheduler = schedule([(3, 4)], workers=1, attempts=attempts)
    with_workers(scheduler, workers=1)
    for number in range(1, attempts):
        retry = Chunk(number + 1, 0, ((3, 4),), number, 0)
        assert scheduler.on(ChunkFailed(0, number, "error")) == [Assign(0, retry)]
    assert scheduler.on(ChunkFailed(0, attempts, "the last error", "its traceback")) == [
        GiveUp(3, "the last error", "its traceback"),
        Finish(None),
    ]


def test_only_the_first_chunk_of_a_lost_worker_has_failed() -> None:
    scheduler = schedule([(0, 9)], workers=1, in_flight=3, attempts=4)
    first, second, third = with_workers(scheduler, workers=1)
    assert scheduler.on(WorkerLost(0, "killed")) == [StartWorker(1)]
    fresh = [((start, start + 1),) for start in range(3, 9)]
    todo = deque(assigned(scheduler.on(WorkerReady(1))))
    chunks = []
    while todo:
        chunks.append(todo.popleft().chunk)
        todo.extend(assigned(scheduler.on(ChunkDone(1, chunks[-1].id, 60.0))))
    assert [chunk.ranges for chunk in chunks[:6]] == fresh
    assert chunks[6:] == [
        Chunk(4, 0, first.chunk.ranges, 1, 0),
        second.chunk,
        third.chunk,
    ]


def test_a_trial_that_kills_its_worker_is_given_up_on_with_the_error_of_the_loss() -> None:
    scheduler = schedule([(0, 1)], workers=1, attempts=2)
    with_workers(scheduler, workers=1)
    assert scheduler.on(WorkerLost(0, "killed")) == [StartWorker(1)]
    assert scheduler.on(WorkerReady(1)) == [Assign(1, Chunk(2, 0, ((0, 1),), 1, 0))]
    assert scheduler.on(WorkerLost(1, "killed again")) == [
        GiveUp(0, "killed again", ""),
        Finish(None),
    ]


def test_lost_workers_are_replaced_starting_idle_or_busy() -> None:
    scheduler = schedule([(0, 3)], workers=3, in_flight=3)
    with_workers(scheduler, workers=2)
    assert scheduler.on(WorkerLost(2, "could not start")) == [StartWorker(3)]
    assert scheduler.on(WorkerLost(1, "idle"))[:1] == [StartWorker(4)]
    assert scheduler.on(WorkerLost(0, "busy"))[:1] == [StartWorker(5)]


def test_a_lost_worker_is_not_replaced_when_the_others_are_enough_for_what_is_left() -> None:
    scheduler = schedule([(0, 2)], workers=2, in_flight=1)
    with_workers(scheduler, workers=2)
    assert scheduler.on(ChunkDone(0, 1, 1.0)) == []
    assert scheduler.on(WorkerLost(1, "gone")) == [Assign(0, Chunk(3, 0, ((1, 2),), 1, 1))]


def test_workers_that_cannot_start_stop_the_run_with_their_error() -> None:
    scheduler = schedule([(0, 9)], workers=1, losses=3)
    assert scheduler.start() == [StartWorker(0)]
    assert scheduler.on(WorkerLost(0, "first")) == [StartWorker(1)]
    assert scheduler.on(WorkerLost(1, "second")) == [StartWorker(2)]
    assert scheduler.on(WorkerLost(2, "out of memory")) == [
        Finish("no worker could be kept running: out of memory")
    ]


def test_the_run_goes_on_with_the_workers_that_are_left() -> None:
    scheduler = schedule([(0, 9)], workers=3, in_flight=1, losses=2)
    (first,) = with_workers(scheduler, workers=1)
    assert scheduler.on(WorkerLost(1, "error")) == [StartWorker(3)]
    assert scheduler.on(WorkerLost(2, "error")) == []
    assert scheduler.on(WorkerLost(3, "error")) == []
    replaced = scheduler.on(ChunkDone(0, first.chunk.id, 1.0))
    assert replaced[:2] == [StartWorker(4), StartWorker(5)]


def test_a_chunk_that_is_done_forgives_the_losses_before_it() -> None:
    scheduler = schedule([(0, 9)], workers=1, in_flight=1, losses=2)
    with_workers(scheduler, workers=1)
    assert scheduler.on(WorkerLost(0, "error")) == [StartWorker(1)]
    (next_,) = assigned(scheduler.on(WorkerReady(1)))
    scheduler.on(ChunkDone(1, next_.chunk.id, 1.0))
    assert scheduler.on(WorkerLost(1, "error")) == [StartWorker(2)]


def test_a_trial_that_is_given_up_on_forgives_the_losses_before_it() -> None:
    scheduler = schedule([(0, 9)], workers=1, in_flight=1, attempts=1, losses=2)
    with_workers(scheduler, workers=1)
    for worker in range(8):
        lost = scheduler.on(WorkerLost(worker, "error"))
        assert lost == [GiveUp(worker, "error", ""), StartWorker(worker + 1)]
        scheduler.on(WorkerReady(worker + 1))


def test_what_earlier_runs_left_open_is_covered_holes_and_all() -> None:
    holes = [(3, 5), (9, 10), (20, 27)]
    scheduler = schedule(holes, workers=1, in_flight=1)
    chunks = attempts_of_one_worker(scheduler, seconds=lambda _: 0.0)
    assert [chunk.ranges for chunk in chunks] == [
        ((3, 4),),
        ((4, 5), (9, 10), (20, 23)),
        ((23, 25),),
        ((25, 26),),
        ((26, 27),),
    ]


def test_a_group_without_hope_is_given_up_on_at_once_and_others_go_on() -> None:
    scheduler = Scheduler(
        [[(0, 10)], [(10, 12)]], weight=lambda _: 1.0, settings=Settings(workers=1)
    )
    scheduler.start()
    first, second = (a.chunk for a in scheduler.on(WorkerReady(0)) if isinstance(a, Assign))
    assert (first.group, second.group) == (0, 0)
    actions = scheduler.on(ChunkFailed(0, first.id, "cut", hopeless=True))
    given_up = [action.position for action in actions if isinstance(action, GiveUp)]
    assert given_up == [p for p in range(10) if p not in range(*second.ranges[0])]
    actions = scheduler.on(ChunkFailed(0, second.id, "cut", hopeless=True))
    assert [a.position for a in actions if isinstance(a, GiveUp)] == [1]
    assert scheduler.remaining == 2
