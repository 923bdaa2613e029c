"""Poisonous trials are given up on one by one; workers that die on everything end the run."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import pytest

from orchestrator.scheduling.events import (
    Assign,
    Chunk,
    ChunkDone,
    Finish,
    GiveUp,
    StartWorker,
    Tick,
    WorkerLost,
    WorkerReady,
)
from orchestrator.scheduling.scheduler import Scheduler
from tests.orchestrator.scheduling.builders import schedule
from tests.orchestrator.scheduling.weights import trials_of

USELESS = Finish("workers die on whatever they are given: out of memory")


class Work:
    """What became of a run with one worker at a time, which dies on some trials.

    Args:
        scheduler: Of one worker.
        killers: Trials that cost a worker.
        seconds: Time that a trial takes.
        healthy: Trials that are done before workers die on everything.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        killers: Collection[int] = (),
        *,
        seconds: float = 0.01,
        healthy: float = float("inf"),
    ) -> None:
        self.done = 0
        self.lost = 0
        self.given_up: set[int] = set()
        self.finish: Finish | None = None
        self.tried: list[Chunk] = []
        self._scheduler = scheduler
        self._todo: deque[Assign | StartWorker] = deque()
        self._obey([*scheduler.on(Tick(0.0)), *scheduler.start()])
        while self.finish is None:
            if not self._todo:
                self._obey(scheduler.on(Tick(61.0 * self.lost)))
                continue
            match self._todo.popleft():
                case StartWorker(worker):
                    self._obey(scheduler.on(WorkerReady(worker)))
                case Assign(worker, chunk):
                    self._evaluate(worker, chunk, killers, seconds, healthy)

    def _evaluate(
        self, worker: int, chunk: Chunk, killers: Collection[int], seconds: float, healthy: float
    ) -> None:
        self.tried.append(chunk)
        if self.done < healthy and not any(trial in killers for trial in trials_of(chunk.ranges)):
            self.done += len(chunk)
            self._obey(self._scheduler.on(ChunkDone(worker, chunk.id, seconds * len(chunk))))
            return
        self.lost += 1
        self._todo.clear()
        self._obey(self._scheduler.on(WorkerLost(worker, "out of memory")))

    def _obey(self, actions: Collection[object]) -> None:
        for action in actions:
            match action:
                case StartWorker() | Assign():
                    self._todo.append(action)
                case GiveUp(ranges):
                    self.given_up.update(trials_of(ranges))
                case Finish():
                    self.finish = action


def layers(count: int, size: int) -> list[list[tuple[int, int]]]:
    return [[(start, start + size)] for start in range(0, count * size, size)]


def test_workers_that_die_on_all_that_an_earlier_run_has_left_of_a_layer_end_the_run() -> None:
    scheduler = schedule([(5, 1_000_000)], workers=1, begun=[0])
    work = Work(scheduler, range(1_000_000))
    assert work.finish == USELESS
    assert (work.lost, len(work.given_up)) == (88, 8)


@pytest.mark.parametrize("healthy", [1, 5500, 12_500])
def test_workers_that_die_on_everything_after_a_good_start_end_the_run(healthy: int) -> None:
    work = Work(schedule(*layers(20, 1000), workers=1), healthy=healthy)
    assert work.finish == USELESS
    assert healthy <= work.done < healthy + 1000
    assert len(work.given_up) == 8
    assert work.lost < 1000


def test_workers_that_die_on_every_layer_that_an_earlier_run_has_left_cost_none_of_them() -> None:
    scheduler = schedule([], *layers(19, 1000), workers=1, begun=[0])
    work = Work(scheduler, range(19_000))
    assert work.finish == USELESS
    assert len(work.given_up) == 8


def test_few_layers_that_kill_every_worker_and_are_all_that_is_left_are_given_up_on() -> None:
    scheduler = schedule(*[[]] * 12, *layers(3, 1000), workers=1, begun=range(12))
    work = Work(scheduler, range(3000))
    assert work.finish == Finish(None)
    assert len(work.given_up) == 3000
    assert work.lost == 3 * 32


def test_workers_that_die_on_layers_of_few_trials_end_the_run() -> None:
    work = Work(schedule(*layers(50, 4), workers=1), range(200))
    assert work.finish == USELESS
    assert len(work.given_up) == 8


@pytest.mark.parametrize("seconds", [0.01, 5.0])
def test_poisonous_trials_all_over_a_campaign_are_given_up_on_and_no_others(seconds: float) -> None:
    killers = set(range(7, 5000, 97))
    work = Work(schedule(*layers(5, 1000), workers=1), killers, seconds=seconds)
    assert work.finish == Finish(None)
    assert work.given_up == killers
    assert work.done == 5000 - len(killers)


@pytest.mark.parametrize("begun", [[], [0]])
@pytest.mark.parametrize("seconds", [0.01, 5.0])
@pytest.mark.parametrize("first", [0, 700])
def test_poisonous_trials_side_by_side_do_not_keep_those_behind_them_from_being_done(
    first: int, seconds: float, begun: list[int]
) -> None:
    if not begun and not first:
        first = 1  # else nothing was ever done when they come
    killers = set(range(first, first + 200))
    scheduler = schedule([(0, 2000)], workers=1, begun=begun)
    work = Work(scheduler, killers, seconds=seconds)
    assert work.finish == Finish(None)
    assert work.given_up == killers


def test_layers_that_kill_every_worker_are_given_up_on_after_the_others_are_done() -> None:
    killers = {*range(1000), *range(7000, 8000), *range(19_000, 20_000)}
    work = Work(schedule(*layers(20, 1000), workers=1), killers)
    assert work.finish == Finish(None)
    assert work.given_up == killers
    assert work.lost == 3 * 32


def test_poisonous_trials_that_are_all_that_is_left_are_given_up_on() -> None:
    left = range(0, 200, 10)
    scheduler = schedule([(trial, trial + 1) for trial in left], workers=1, begun=[0])
    work = Work(scheduler, left)
    assert work.finish == Finish(None)
    assert work.given_up == set(left)


def test_each_run_that_stops_leaves_fewer_poisonous_trials_to_the_next() -> None:
    left = list(range(0, 1000, 10))
    remaining = []
    while left:
        ranges = [(trial, trial + 1) for trial in left]
        scheduler = schedule(ranges, workers=1, in_flight=1, begun=[0])
        work = Work(scheduler, left)
        left = [trial for trial in left if trial not in work.given_up]
        remaining.append(len(left))
        assert work.finish == (USELESS if left else Finish(None))
    assert remaining == [92, 84, 76, 68, 60, 0]


def test_a_layer_whose_first_trials_kill_is_not_hopeless() -> None:
    work = Work(schedule([(0, 1000)], [(1000, 1010)], workers=1), set(range(20)))
    assert work.finish == Finish(None)
    assert work.given_up == set(range(20))


def test_where_chunks_fail_in_a_row_the_other_end_of_the_group_is_tried_trial_by_trial() -> None:
    """Once there is doubt the trial that failed last shows whether it fails again."""
    scheduler = schedule([(0, 100_000)], workers=1, in_flight=1, chunk_seconds=1.0)
    work = Work(scheduler, seconds=1 / 64, healthy=73)
    failed = [chunk.ranges for chunk in work.tried[3:]]
    last = [((trial, trial + 1),) for trial in range(99_999, 0, -1)]
    assert failed[:2] == [((73, 137),), ((137, 201),)]
    assert failed[2:8] == last[:6]
    assert failed[8:11] == [last[5]] * 3
    assert failed[11] == ((201, 265),)
