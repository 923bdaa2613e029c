from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduling.events import Chunk
from orchestrator.scheduling.work_queue import GROWTH, WorkQueue, halves
from tests.orchestrator.scheduling.weights import ranges_of, trials_of, weigh, weight

some_trials = st.frozensets(st.integers(0, 60), min_size=1)


@given(some_trials, st.integers(1, 9), st.floats(0.0, 8.0))
def test_a_chunk_is_filled_as_trial_by_trial(
    trials: frozenset[int], most: int, seconds: float
) -> None:
    workload = WorkQueue(ranges_of(trials), weigh, begun=False, hopeless_after=8)
    workload.learn("GPU", 1, 1.0, 0.5)
    ranges, total = workload.cut("GPU", most=most, seconds=seconds)
    room = min(2.0 * seconds, GROWTH)
    expected: list[int] = []
    for trial in sorted(trials):
        if expected and (len(expected) == most or sum(map(weight, expected)) >= room):
            break
        expected.append(trial)
    assert list(ranges) == ranges_of(expected)
    assert total == sum(map(weight, expected))
    assert workload.waiting == len(trials) - len(expected)
    assert workload.take_all() == ranges_of(trials - set(expected))


def test_a_chunk_looks_at_no_more_runs_than_it_needs() -> None:
    seen: list[int] = []

    def each(start: int, stop: int) -> Iterator[tuple[int, float]]:
        for trial in range(start, stop):
            seen.append(trial)
            yield 1, 1.0

    workload = WorkQueue([(0, 10**9)], each, begun=False, hopeless_after=8)
    workload.learn("GPU", 1, 1.0, 0.5)
    assert workload.cut("GPU", most=10**9, seconds=2.0) == (((0, 4),), 4.0)
    assert seen == [0, 1, 2, 3]


@given(some_trials.filter(lambda trials: len(trials) > 1))
def test_halves_hold_every_trial_in_order(trials: frozenset[int]) -> None:
    first, second = halves(tuple(ranges_of(trials)))
    assert trials_of(first) + trials_of(second) == sorted(trials)
    assert len(trials_of(first)) == len(trials) // 2


def test_a_worker_gets_the_first_chunk_that_did_not_fail_on_it() -> None:
    workload = WorkQueue([], weigh, begun=False, hopeless_after=8)
    chunks = [Chunk(1, 0, ((0, 1),), 1, 7), Chunk(2, 0, ((1, 3),), 1, 8), Chunk(3, 0, ((3, 4),))]
    for chunk in chunks:
        workload.put_back(chunk)
    assert workload.waiting == 4
    assert workload.retry(7) == (chunks[1], 1.25)
    assert workload.retry(7) == (chunks[2], 4.0)
    assert not workload.offers(7)
    with pytest.raises(LookupError):
        workload.retry(7)
    assert workload.retry(None) == (chunks[0], 1.0)
    assert workload.waiting == 0


def test_in_doubt_a_worker_gets_the_chunk_that_failed_last() -> None:
    workload = WorkQueue([(0, 9)], weigh, begun=True, hopeless_after=2)
    first, second, third = (Chunk(n, 0, ((n, n + 1),), 1, n // 12) for n in (10, 11, 12))
    for chunk in (first, second, third):
        workload.failed(given_up=False)
        workload.put_back(chunk)
    assert workload.is_doubtful
    assert not workload.next_is_fresh(None)
    assert workload.retry(1)[0] == second
    assert workload.retry(None)[0] == third
    workload.failed(given_up=True)
    assert workload.next_is_fresh(None)
    assert workload.retry(None)[0] == first


@pytest.mark.parametrize("begun", [True, False])
def test_fresh_work_shows_more_after_a_trial_was_given_up_on_only_where_others_were_done(
    begun: bool,
) -> None:
    workload = WorkQueue([(0, 9)], weigh, begun=begun, hopeless_after=1)
    workload.failed(given_up=True)
    assert workload.is_doubtful != begun
    assert workload.is_hopeless != begun
