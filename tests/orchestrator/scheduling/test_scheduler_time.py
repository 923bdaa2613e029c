"""What the scheduler makes of time: deadlines, back-off, patience."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.scheduling.events import (
    Action,
    Assign,
    Chunk,
    ChunkDone,
    ChunkFailed,
    Event,
    Finish,
    GiveUp,
    StartWorker,
    StopWorker,
    Tick,
    WorkerLost,
    WorkerPlaced,
    WorkerReady,
)
from orchestrator.scheduling.scheduler import Scheduler
from tests.orchestrator.scheduling.builders import assigned, schedule, with_workers
from tests.orchestrator.scheduling.crowd import NEVER

NOBODY = (
    "no worker could be had for 300 s: none was given a place; "
    "see that a machine has the CPUs, GPUs and memory that a worker needs"
)


def at(scheduler: Scheduler, now: float) -> list[Action]:
    """Return what the scheduler does about all that is late at a time, ticks before it included."""
    return [*scheduler.on(Tick(now)), *scheduler.on(Tick(now))]


def stopped(actions: list[Action]) -> list[StopWorker]:
    return [action for action in actions if isinstance(action, StopWorker)]


def test_the_first_chunk_of_a_layer_has_half_an_hour() -> None:
    scheduler = schedule([(0, 9)], workers=1, in_flight=1)
    with_workers(scheduler, workers=1)
    assert at(scheduler, 1800.0) == []
    error = (
        "the worker was stopped: a chunk of 1 trial was not done after 1801 s, "
        "at a layer whose pace is not known yet"
    )
    assert at(scheduler, 1801.0) == [StopWorker(0, error), StartWorker(1)]
    assert scheduler.on(WorkerReady(1)) == [Assign(1, Chunk(3, 0, ((1, 2),)))]


def test_what_a_worker_says_after_it_was_stopped_changes_nothing() -> None:
    scheduler = schedule([(0, 9)], workers=1, in_flight=1)
    with_workers(scheduler, workers=1)
    at(scheduler, 1801.0)
    assert scheduler.on(ChunkDone(0, 1, 1801.0)) == []
    assert scheduler.on(WorkerLost(0, "killed")) == []
    assert scheduler.remaining == 9


def test_a_chunk_has_two_minutes_once_the_pace_is_known() -> None:
    scheduler = schedule([(0, 99)], workers=1, in_flight=1)
    with_workers(scheduler, workers=1)
    assert scheduler.on(Tick(10.0)) == []
    assert scheduler.on(ChunkDone(0, 1, 1.0)) == [Assign(0, Chunk(2, 0, ((1, 3),)))]
    assert at(scheduler, 130.0) == []
    (stop,) = stopped(at(scheduler, 131.0))
    assert stop.error == (
        "the worker was stopped: a chunk of 2 trials was not done after 121 s, expected about 2 s"
    )


def test_a_chunk_has_twenty_times_what_is_expected() -> None:
    scheduler = schedule([(0, 9)], workers=1, in_flight=1)
    with_workers(scheduler, workers=1)
    assert scheduler.on(ChunkDone(0, 1, 50.0)) == [Assign(0, Chunk(2, 0, ((1, 2),)))]
    assert at(scheduler, 1000.0) == []
    (stop,) = stopped(at(scheduler, 1001.0))
    assert stop.error == (
        "the worker was stopped: a chunk of 1 trial was not done after 1001 s, expected about 50 s"
    )


def test_heavy_chunks_have_longer() -> None:
    scheduler = schedule([(0, 9)], workers=1, in_flight=1, weight=lambda t: 1.0 + 9.0 * (t > 0))
    with_workers(scheduler, workers=1)
    scheduler.on(ChunkDone(0, 1, 7.0))
    assert at(scheduler, 1400.0) == []
    assert len(stopped(at(scheduler, 1401.0))) == 1


def test_a_worker_that_is_new_to_a_layer_has_time_to_prepare_it() -> None:
    scheduler = schedule([(0, 99)], workers=2, in_flight=1)
    first, _ = with_workers(scheduler, workers=2)
    scheduler.on(ChunkDone(0, first.chunk.id, 1.0))
    scheduler.on(WorkerLost(1, "gone"))
    assert scheduler.on(WorkerReady(2)) == [Assign(2, Chunk(5, 0, ((4, 6),)))]
    assert [stop.worker for stop in stopped(at(scheduler, 1000.0))] == [0]
    assert stopped(at(scheduler, 1800.0)) == []
    assert [stop.worker for stop in stopped(at(scheduler, 1801.0))] == [2]


def test_a_worker_that_comes_back_to_a_layer_has_time_to_prepare_it_again() -> None:
    scheduler = schedule([(0, 2)], [(2, 4)], workers=3, in_flight=1)
    here, _, also_here = with_workers(scheduler, workers=3)
    (there,) = assigned(scheduler.on(ChunkDone(0, here.chunk.id, 1.0)))
    assert (here.chunk.group, also_here.chunk.group, there.chunk.group) == (0, 0, 1)
    assert scheduler.on(ChunkDone(0, there.chunk.id, 1.0)) == []
    back = scheduler.on(WorkerLost(2, "gone", blameless=True))
    assert back == [Assign(0, replace(also_here.chunk, machines_lost=1))]
    assert at(scheduler, 1800.0) == []
    assert [stop.worker for stop in stopped(at(scheduler, 1801.0))] == [0, 1]


def test_chunks_and_deadlines_follow_the_pace_of_workers_of_the_same_kind() -> None:
    scheduler = schedule([(0, 99_999)], workers=2, in_flight=1)
    scheduler.start()
    (fast,) = assigned(scheduler.on(WorkerReady(0, "GPU")))
    for _ in range(4):
        (fast,) = assigned(scheduler.on(ChunkDone(0, fast.chunk.id, len(fast.chunk) / 256)))
    assert len(fast.chunk) == 512
    (slow,) = assigned(scheduler.on(WorkerReady(1, "CPU")))
    assert len(slow.chunk) == 1
    (slow,) = assigned(scheduler.on(ChunkDone(1, slow.chunk.id, 10.0)))
    assert len(slow.chunk) == 1
    assert [stop.worker for stop in stopped(at(scheduler, 121.0))] == [0]
    assert stopped(at(scheduler, 200.0)) == []
    (stop,) = stopped(at(scheduler, 201.0))
    assert stop.error == (
        "the worker was stopped: a chunk of 1 trial was not done after 201 s, expected about 10 s"
    )


def test_the_first_chunk_of_a_kind_of_worker_has_half_an_hour() -> None:
    scheduler = schedule([(0, 99_999)], workers=2, in_flight=1)
    scheduler.start()
    (fast,) = assigned(scheduler.on(WorkerReady(0, "GPU")))
    scheduler.on(ChunkDone(0, fast.chunk.id, 1.0))
    scheduler.on(WorkerReady(1, "CPU"))
    assert [stop.worker for stop in stopped(at(scheduler, 1800.0))] == [0]
    (stop,) = stopped(at(scheduler, 1801.0))
    assert stop.error == (
        "the worker was stopped: a chunk of 1 trial was not done after 1801 s, "
        "at a layer whose pace is not known yet"
    )


def test_a_chunk_that_waits_behind_another_has_its_time_from_when_it_is_first() -> None:
    scheduler = schedule([(0, 9)], workers=1, in_flight=2)
    with_workers(scheduler, workers=1)
    scheduler.on(Tick(1000.0))
    scheduler.on(ChunkDone(0, 1, 60.0))
    assert at(scheduler, 2200.0) == []
    (stop,) = stopped(at(scheduler, 2201.0))
    assert "was not done after 1201 s, expected about 60 s" in stop.error


def test_a_chunk_behind_a_late_one_is_not_to_blame() -> None:
    scheduler = schedule([(0, 2)], workers=1, in_flight=2, attempts=1)
    _, second = with_workers(scheduler, workers=1)
    actions = at(scheduler, 1801.0)
    assert actions == [
        StopWorker(0, actions[0].error),  # type: ignore[union-attr]
        GiveUp(((0, 1),), actions[0].error, ""),  # type: ignore[union-attr]
        StartWorker(1),
    ]
    assert scheduler.on(WorkerReady(1)) == [Assign(1, second.chunk)]


def test_a_worker_without_work_is_never_late() -> None:
    scheduler = schedule([(0, 2)], workers=2, in_flight=1)
    first, _ = with_workers(scheduler, workers=2)
    scheduler.on(ChunkDone(0, first.chunk.id, 1.0))
    assert [stop.worker for stop in stopped(at(scheduler, 5000.0))] == [1]


def test_nobody_is_blamed_for_a_time_in_which_nothing_was_heard() -> None:
    scheduler = schedule([(0, 9)], workers=1, in_flight=1)
    with_workers(scheduler, workers=1)
    assert scheduler.on(Tick(1.0)) == []
    assert scheduler.on(Tick(90_000.0)) == []
    assert len(scheduler.on(ChunkDone(0, 1, 60.0))) == 1
    assert scheduler.on(Tick(90_000.2)) == []


def test_a_worker_with_a_place_has_a_quarter_of_an_hour_to_be_ready() -> None:
    scheduler = schedule([(0, 9)], workers=2)
    with_workers(scheduler, workers=1)
    scheduler.on(Tick(50.0))
    scheduler.on(WorkerPlaced(1))
    scheduler.on(Tick(100.0))
    scheduler.on(WorkerPlaced(1))
    assert at(scheduler, 950.0) == []
    error = "the worker was stopped: not ready 900 s after it was given a place"
    assert at(scheduler, 951.0) == [StopWorker(1, error), StartWorker(2)]


def test_a_worker_that_is_ready_has_met_its_deadline() -> None:
    scheduler = schedule([(0, 1)], workers=2)
    scheduler.start()
    scheduler.on(WorkerPlaced(0))
    (first,) = assigned(scheduler.on(WorkerReady(0)))
    assert at(scheduler, 1800.0) == []
    assert scheduler.on(ChunkDone(0, first.chunk.id, 1.0)) == [Finish(None)]


def test_a_worker_waits_for_a_place_as_long_as_it_takes() -> None:
    scheduler = schedule([(0, 9)], workers=2)
    (first, _) = with_workers(scheduler, workers=1)
    assert at(scheduler, 1000.0) == []
    scheduler.on(ChunkDone(0, first.chunk.id, 100.0))
    assert at(scheduler, 2000.0) == []


def test_lost_workers_are_replaced_at_once_then_after_waits_that_double() -> None:
    scheduler = schedule([(0, 99)], workers=1, patience=NEVER)
    scheduler.start()
    now = 0.0
    scheduler.on(Tick(now))
    assert scheduler.on(WorkerLost(0, "no")) == [StartWorker(1)]
    for number, wait in enumerate((1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0), start=1):
        assert scheduler.on(WorkerLost(number, "no")) == []
        assert scheduler.on(Tick(now + wait - 0.125)) == []
        now += wait
        assert scheduler.on(Tick(now)) == [StartWorker(number + 1)]


def test_workers_that_are_refused_are_not_replaced_but_for_the_last() -> None:
    scheduler = schedule([(0, 99)], workers=3, patience=NEVER)
    scheduler.start()
    scheduler.on(Tick(0.0))
    assert scheduler.on(WorkerLost(7, "unknown", refused=True)) == []
    assert scheduler.on(WorkerLost(0, "of another class", refused=True)) == []
    assert scheduler.on(WorkerLost(1, "of another class", refused=True)) == []
    assert scheduler.on(Tick(1000.0)) == []
    assert scheduler.on(WorkerLost(2, "of another class", refused=True)) == []
    (action,) = scheduler.on(Tick(2000.0))
    assert action == StartWorker(3)


def test_workers_lost_together_are_one_step() -> None:
    scheduler = schedule([(0, 99)], workers=16, patience=NEVER)
    scheduler.start()
    assert scheduler.on(WorkerLost(0, "no")) == [StartWorker(16)]
    assert [scheduler.on(WorkerLost(worker, "no")) for worker in range(1, 16)] == [[]] * 15
    assert scheduler.on(Tick(1.0)) == [StartWorker(worker) for worker in range(17, 32)]
    assert scheduler.on(WorkerLost(17, "no")) == []
    assert scheduler.on(Tick(2.875)) == []
    assert scheduler.on(Tick(3.0)) == [StartWorker(32)]


def losing(scheduler: Scheduler, *workers: int) -> list[Action]:
    return [action for worker in workers for action in scheduler.on(WorkerLost(worker, "no"))]


def test_a_chunk_that_a_new_worker_has_done_ends_the_wait() -> None:
    scheduler = schedule([(0, 99)], workers=4, in_flight=1, patience=NEVER)
    with_workers(scheduler, workers=1)
    assert losing(scheduler, 1, 2, 3) == [StartWorker(4)]
    (new,) = assigned(scheduler.on(WorkerReady(4)))
    done = scheduler.on(ChunkDone(4, new.chunk.id, 1.0))
    assert done[:2] == [StartWorker(5), StartWorker(6)]
    assert losing(scheduler, 5) == [StartWorker(7)]


def test_what_an_older_worker_does_leaves_the_wait_for_one_that_cannot_start_as_it_is() -> None:
    scheduler = schedule([(0, 9999)], workers=2, in_flight=1)
    (assign,) = with_workers(scheduler, workers=1)
    starting, starts = [1], []
    for now in range(300):
        actions = scheduler.on(Tick(float(now)))
        actions += scheduler.on(ChunkDone(0, assign.chunk.id, 1.0 * len(assign.chunk)))
        (assign,) = assigned(actions)
        actions += losing(scheduler, *starting)
        starting = [action.worker for action in actions if isinstance(action, StartWorker)]
        starts += [now] * len(starting)
    assert starts == [0, 2, 5, 10, 19, 36, 69, 130, 191, 252]


def test_a_trial_that_is_given_up_on_ends_the_wait() -> None:
    scheduler = schedule([(0, 99)], workers=1, in_flight=1, attempts=1, hopeless_after=NEVER)
    with_workers(scheduler, workers=1)
    for worker, trial in enumerate((0, 1, 98, 97, 96, 95, 94, 93)):
        assert losing(scheduler, worker) == [
            GiveUp(((trial, trial + 1),), "no", ""),
            StartWorker(worker + 1),
        ]
        scheduler.on(WorkerReady(worker + 1))


def test_a_chunk_that_fails_does_not_end_the_wait() -> None:
    scheduler = schedule([(0, 99)], workers=3, in_flight=1, patience=NEVER)
    (first,) = with_workers(scheduler, workers=1)
    assert losing(scheduler, 1, 2) == [StartWorker(3)]
    failed = scheduler.on(ChunkFailed(0, first.chunk.id, "error"))
    assert failed == [Assign(0, Chunk(3, 0, ((1, 2),)))]


def test_a_run_without_workers_ends_when_patience_does() -> None:
    scheduler = schedule([(0, 9)], workers=2)
    scheduler.start()
    assert scheduler.on(Tick(5000.0)) == []
    assert scheduler.on(Tick(5299.0)) == []
    assert scheduler.on(Tick(5300.0)) == []
    assert scheduler.on(Tick(5300.2)) == [Finish(NOBODY)]


def test_the_last_error_says_why_there_are_no_workers() -> None:
    scheduler = schedule([(0, 9)], workers=1, patience=10.0)
    scheduler.start()
    scheduler.on(Tick(0.0))
    scheduler.on(WorkerLost(0, "first"))
    scheduler.on(WorkerLost(1, "cannot load libcuda"))
    assert at(scheduler, 10.0)[-1] == Finish("no worker could be had for 10 s: cannot load libcuda")


def test_patience_starts_anew_when_a_worker_was_ready() -> None:
    scheduler = schedule([(0, 9)], workers=1)
    scheduler.start()
    scheduler.on(Tick(0.0))
    scheduler.on(Tick(299.0))
    scheduler.on(WorkerReady(0))
    scheduler.on(WorkerLost(0, "gone"))
    scheduler.on(Tick(300.0))
    assert at(scheduler, 599.0) == []
    assert at(scheduler, 600.0) == [Finish("no worker could be had for 300 s: gone")]


def loading(scheduler: Scheduler) -> None:
    """Have worker 0 placed at the time 200."""
    scheduler.start()
    scheduler.on(Tick(0.0))
    scheduler.on(Tick(200.0))
    scheduler.on(WorkerPlaced(0))


def test_a_worker_that_loads_the_model_is_waited_for() -> None:
    scheduler = schedule([(0, 9)], workers=2)
    loading(scheduler)
    assert at(scheduler, 1099.0) == []
    assert assigned(scheduler.on(WorkerReady(0)))
    assert at(scheduler, 2000.0) == []


def test_patience_is_at_an_end_with_the_loss_of_the_last_that_loads() -> None:
    scheduler = schedule([(0, 9)], workers=2)
    loading(scheduler)
    assert at(scheduler, 1000.0) == []
    assert losing(scheduler, 0) == [Finish("no worker could be had for 300 s: no")]


def test_workers_that_take_turns_in_loading_are_not_waited_for_for_ever() -> None:
    scheduler = schedule([(0, 9)], workers=2)
    loading(scheduler)
    scheduler.on(Tick(900.0))
    scheduler.on(WorkerPlaced(1))
    assert losing(scheduler, 0) == [StartWorker(2)]
    scheduler.on(WorkerPlaced(2))
    assert at(scheduler, 1199.0) == []
    assert at(scheduler, 1200.0) == [Finish("no worker could be had for 1200 s: no")]


@pytest.mark.parametrize("event", [WorkerPlaced(0), WorkerReady(0), Tick(1.0)])
def test_a_run_that_is_over_stays_so(event: Event) -> None:
    scheduler = schedule([(0, 9)], workers=1)
    scheduler.start()
    scheduler.on(Tick(0.0))
    at(scheduler, 300.0)
    assert scheduler.on(event) == []
