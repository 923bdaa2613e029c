"""What the scheduler does about chunks that fail and workers that are lost, by example."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest

from orchestrator.scheduling.events import (
    Action,
    Assign,
    Chunk,
    ChunkDone,
    ChunkFailed,
    Finish,
    GiveUp,
    StartWorker,
    Tick,
    WorkerLost,
    WorkerReady,
)
from orchestrator.scheduling.scheduler import Scheduler
from tests.orchestrator.scheduling.builders import (
    assigned,
    attempts_of_one_worker,
    schedule,
    with_workers,
)


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
    scheduler = schedule([(0, 2)], workers=2, in_flight=1)
    with_workers(scheduler, workers=2)
    assert scheduler.on(ChunkFailed(0, 1, "error")) == []
    assert scheduler.on(WorkerLost(1, "gone")) == [
        StartWorker(2),
        Assign(0, Chunk(3, 0, ((0, 1),), 1, 0)),
    ]


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
        GiveUp(((3, 4),), "the last error", "its traceback"),
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
        second.chunk,
        third.chunk,
        Chunk(4, 0, first.chunk.ranges, 1, 0),
    ]


def test_a_trial_that_kills_its_worker_is_given_up_on_with_the_error_of_the_loss() -> None:
    scheduler = schedule([(0, 1)], workers=1, attempts=2)
    with_workers(scheduler, workers=1)
    assert scheduler.on(WorkerLost(0, "killed")) == [StartWorker(1)]
    assert scheduler.on(WorkerReady(1)) == [Assign(1, Chunk(2, 0, ((0, 1),), 1, 0))]
    assert scheduler.on(WorkerLost(1, "killed again")) == [
        GiveUp(((0, 1),), "killed again", ""),
        Finish(None),
    ]


def test_lost_workers_are_replaced_starting_idle_or_busy() -> None:
    scheduler = schedule([(0, 3)], workers=3, in_flight=3)
    with_workers(scheduler, workers=2)
    assert scheduler.on(WorkerLost(2, "could not start")) == [StartWorker(3)]
    assert scheduler.on(WorkerLost(1, "idle")) == []
    assert scheduler.on(Tick(1.0)) == [StartWorker(4)]
    assert scheduler.on(WorkerLost(0, "busy")) == []
    assert scheduler.on(Tick(3.0)) == [StartWorker(5)]


def test_a_lost_worker_is_not_replaced_when_the_others_are_enough_for_what_is_left() -> None:
    scheduler = schedule([(0, 2)], workers=2, in_flight=1)
    with_workers(scheduler, workers=2)
    assert scheduler.on(ChunkDone(0, 1, 1.0)) == []
    assert scheduler.on(WorkerLost(1, "gone")) == [Assign(0, Chunk(3, 0, ((1, 2),), 1, 1))]


def test_what_a_machine_had_in_hand_when_it_went_away_has_not_failed() -> None:
    scheduler = schedule([(0, 2)], workers=1, in_flight=2, attempts=1)
    first, second = with_workers(scheduler, workers=1)
    assert scheduler.on(WorkerLost(0, "the node is gone", blameless=True)) == [StartWorker(1)]
    assert scheduler.on(WorkerReady(1)) == [
        Assign(1, replace(first.chunk, machines_lost=1)),
        Assign(1, second.chunk),
    ]


def test_a_chunk_under_which_machine_after_machine_goes_away_is_to_blame() -> None:
    scheduler = schedule([(0, 1)], workers=1, attempts=1, machines=3)
    with_workers(scheduler, workers=1)
    for worker in (0, 1):
        scheduler.on(WorkerLost(worker, "gone", blameless=True))
        scheduler.on(Tick(10.0 * (worker + 1)))  # the replacement does not wait any longer
        (again,) = assigned(scheduler.on(WorkerReady(worker + 1)))
        assert (again.chunk.failures, again.chunk.machines_lost) == (0, worker + 1)
    assert scheduler.on(WorkerLost(2, "gone", blameless=True)) == [
        GiveUp(((0, 1),), "gone", ""),
        Finish(None),
    ]


def test_a_group_without_hope_is_given_up_on_at_once_and_others_go_on() -> None:
    scheduler = schedule([(0, 10)], [(10, 12)], workers=1)
    first, second = (assign.chunk for assign in with_workers(scheduler, workers=1))
    assert (first.ranges, second.ranges) == (((0, 1),), ((1, 2),))
    assert scheduler.on(ChunkFailed(0, first.id, "cut", "where", hopeless=True)) == [
        GiveUp(((0, 1), (2, 10)), "cut", "where"),
        Assign(0, Chunk(3, 1, ((10, 11),))),
    ]
    assert scheduler.on(ChunkFailed(0, second.id, "cut", hopeless=True)) == [
        GiveUp(((1, 2),), "cut", ""),
        Assign(0, Chunk(4, 1, ((11, 12),))),
    ]
    assert scheduler.remaining == 2


def test_a_group_with_nothing_done_is_given_up_on_after_so_many_of_its_trials() -> None:
    scheduler = schedule([(0, 10)], workers=1, in_flight=2, attempts=1, hopeless_after=2)
    first, second = with_workers(scheduler, workers=1)
    assert scheduler.on(ChunkFailed(0, first.chunk.id, "no", "here")) == [
        GiveUp(((0, 1),), "no", "here"),
        Assign(0, Chunk(3, 0, ((2, 3),))),
    ]
    rest = "nothing of this layer could be evaluated; the last error: no"
    assert scheduler.on(ChunkFailed(0, second.chunk.id, "no", "here")) == [
        GiveUp(((1, 2),), "no", "here"),
        GiveUp(((3, 10),), rest, "here"),
    ]
    assert scheduler.on(ChunkFailed(0, 3, "no", "here")) == [
        GiveUp(((2, 3),), "no", "here"),
        Finish(None),
    ]


def test_what_was_in_flight_when_its_group_was_given_up_on_may_still_be_done() -> None:
    scheduler = schedule([(0, 10)], workers=2, in_flight=1, attempts=1, hopeless_after=1)
    first, second = with_workers(scheduler, workers=2)
    rest = "nothing of this layer could be evaluated; the last error: no"
    assert scheduler.on(ChunkFailed(0, first.chunk.id, "no")) == [
        GiveUp(((0, 1),), "no", ""),
        GiveUp(((2, 10),), rest, ""),
    ]
    assert scheduler.on(ChunkDone(1, second.chunk.id, 1.0)) == [Finish(None)]


@pytest.mark.parametrize("begun", [True, False])
def test_a_group_of_which_something_was_done_is_tried_to_the_last_trial(begun: bool) -> None:
    scheduler = schedule(
        [(0, 4)], workers=1, in_flight=1, attempts=1, hopeless_after=1, begun=[0] if begun else []
    )
    with_workers(scheduler, workers=1)
    if not begun:
        scheduler.on(ChunkDone(0, 1, 60.0))
    for trial in range(0 if begun else 1, 3):
        assert scheduler.on(ChunkFailed(0, trial + 1, "no")) == [
            GiveUp(((trial, trial + 1),), "no", ""),
            Assign(0, Chunk(trial + 2, 0, ((trial + 1, trial + 2),))),
        ]
    assert scheduler.on(ChunkFailed(0, 4, "no")) == [GiveUp(((3, 4),), "no", ""), Finish(None)]


def losses_until_the_finish(scheduler: Scheduler) -> list[Action]:
    """Lose worker after worker at its first chunk; return what is given up on and the finish."""
    scheduler.start()
    said: list[Action] = []
    worker = 0
    while not any(isinstance(action, Finish) for action in said):
        scheduler.on(Tick(100.0 * worker))  # the replacement does not wait any longer
        scheduler.on(WorkerReady(worker))
        actions = scheduler.on(WorkerLost(worker, "out of memory"))
        said += [action for action in actions if isinstance(action, GiveUp | Finish)]
        worker += 1
    return said


def test_workers_that_die_on_every_chunk_end_the_run_before_a_layer_is_given_up_on() -> None:
    groups = [[(start, start + 1000)] for start in range(0, 20_000, 1000)]
    scheduler = schedule(*groups, workers=1, in_flight=1)
    assert losses_until_the_finish(scheduler) == [
        *(GiveUp(((trial, trial + 1),), "out of memory", "") for trial in range(994, 1000)),
        GiveUp(((1, 2),), "out of memory", ""),
        GiveUp(((0, 1),), "out of memory", ""),
        Finish("workers die on whatever they are given: out of memory"),
    ]
    assert scheduler.remaining == 20_000 - 8


def test_a_layer_that_kills_workers_is_given_up_on_if_earlier_runs_have_done_any_other() -> None:
    scheduler = schedule(
        [(0, 9)], [], workers=1, in_flight=1, attempts=1, hopeless_after=1, begun=[1]
    )
    rest = "nothing of this layer could be evaluated; the last error: out of memory"
    assert losses_until_the_finish(scheduler) == [
        GiveUp(((0, 1),), "out of memory", ""),
        GiveUp(((1, 9),), rest, ""),
        Finish(None),
    ]


def test_a_layer_without_hope_is_told_by_few_trials_however_many_it_has() -> None:
    scheduler = schedule([(0, 10_000)], workers=1, in_flight=1, attempts=4, hopeless_after=8)
    (assign,) = with_workers(scheduler, workers=1)
    tried = [assign.chunk.ranges]
    while len(actions := scheduler.on(ChunkFailed(0, assign.chunk.id, "error"))) != 3:
        (assign,) = assigned(actions)
        tried.append(assign.chunk.ranges)
    few = [0, 1, *range(9994, 10_000)]
    assert sorted(tried) == [((trial, trial + 1),) for trial in few for _ in range(4)]
    assert actions == [
        GiveUp(((0, 1),), "error", ""),
        GiveUp(((2, 9994),), "nothing of this layer could be evaluated; the last error: error", ""),
        Finish(None),
    ]
