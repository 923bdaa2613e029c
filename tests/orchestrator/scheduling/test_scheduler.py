"""Each rule of the scheduler by example; failures and time have files of their own."""

from __future__ import annotations

from collections import deque

import pytest

from orchestrator.scheduling.events import (
    Assign,
    Chunk,
    ChunkDone,
    ChunkFailed,
    Finish,
    MoreWork,
    Range,
    StartWorker,
    Stop,
    WorkerLost,
    WorkerPlaced,
    WorkerReady,
)
from tests.orchestrator.scheduling.builders import (
    assigned,
    attempts_of_one_worker,
    schedule,
    sizes,
    with_workers,
)
from tests.orchestrator.scheduling.crowd import NEVER


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


def test_more_work_comes_before_the_chunk_that_brought_it_about() -> None:
    scheduler = schedule([(5, 6)], [], workers=1)
    with_workers(scheduler, workers=1)
    assert scheduler.on(MoreWork(1, ((8, 10),))) == [Assign(0, Chunk(2, 1, ((8, 9),)))]
    assert scheduler.remaining == 3
    assert scheduler.on(ChunkDone(0, 1, 0.5)) == [Assign(0, Chunk(3, 1, ((9, 10),)))]
    assert scheduler.on(ChunkDone(0, 2, 0.5)) == []
    assert scheduler.on(ChunkDone(0, 3, 0.5)) == [Finish(None)]


def test_more_work_starts_more_workers() -> None:
    scheduler = schedule([(0, 1)], workers=3)
    assert scheduler.start() == [StartWorker(0)]
    scheduler.on(WorkerReady(0))
    assert scheduler.on(MoreWork(0, ((1, 9),)))[:2] == [StartWorker(1), StartWorker(2)]


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
        Assign(2, second.chunk),
        Assign(1, Chunk(4, 0, first.chunk.ranges, 1, 0)),
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


def test_what_a_worker_says_that_is_gone_changes_nothing() -> None:
    scheduler = schedule([(0, 9)], workers=2, in_flight=1)
    (first,) = with_workers(scheduler, workers=1)
    scheduler.on(WorkerLost(0, "gone"))
    for late in (
        ChunkDone(0, first.chunk.id, 1.0),
        ChunkFailed(0, first.chunk.id, "late", hopeless=True),
        WorkerLost(0, "again"),
        WorkerPlaced(0),
        WorkerReady(0),
        WorkerLost(99, "never heard of"),
    ):
        assert scheduler.on(late) == []
    assert scheduler.remaining == 9


def test_a_chunk_counts_once() -> None:
    scheduler = schedule([(0, 9)], workers=1, in_flight=1)
    with_workers(scheduler, workers=1)
    assert len(scheduler.on(ChunkDone(0, 1, 1.0))) == 1
    assert scheduler.on(ChunkDone(0, 1, 1.0)) == []
    assert scheduler.on(ChunkFailed(0, 1, "late")) == []
    assert scheduler.remaining == 8


@pytest.mark.parametrize(
    ("name", "value"),
    [("workers", 0), ("attempts", 0), ("hopeless_after", 0), ("patience", 0.0), ("backoff", -1.0)],
)
def test_settings_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="expected counts of at least 1 and times above 0"):
        schedule([(0, 1)], **{"workers": 1, name: value})


def test_workers_share_out_the_end_among_the_groups_that_have_work() -> None:
    scheduler = schedule([(0, 1)], [(1, 21)], workers=2, in_flight=1)
    with_workers(scheduler, workers=2)
    assert scheduler.on(ChunkDone(1, 2, 0.0)) == [Assign(1, Chunk(3, 1, ((2, 7),)))]
    assert scheduler.on(ChunkFailed(0, 1, "error")) == [Assign(0, Chunk(5, 1, ((7, 14),)))]
