"""The scheduler under crowds of simulated workers: what holds after every step, in any order."""

from __future__ import annotations

from collections import deque
from random import Random

import hypothesis
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.scheduling.events import (
    Action,
    Assign,
    ChunkDone,
    Event,
    Finish,
    Range,
    StartWorker,
    WorkerReady,
)
from orchestrator.scheduling.scheduler import Scheduler
from orchestrator.scheduling.settings import Settings
from tests.orchestrator.scheduling.crowd import NEVER, REST, USELESS, Crowd
from tests.orchestrator.scheduling.trouble import Trouble
from tests.orchestrator.scheduling.weights import ranges_of, trials_of

crowds = st.builds(
    Settings,
    workers=st.integers(1, 5),
    in_flight=st.integers(1, 3),
    attempts=st.integers(1, 4),
    hopeless_after=st.just(NEVER),
    patience=st.just(float(NEVER)),
)
impatient_crowds = st.builds(
    Settings,
    workers=st.integers(1, 5),
    in_flight=st.integers(1, 3),
    attempts=st.integers(1, 4),
    hopeless_after=st.integers(1, 4),
    patience=st.sampled_from((1.0, 60.0, 300.0)),
)
ALONE = Settings(workers=1, in_flight=1, attempts=1, hopeless_after=1, patience=1.0)
orders = st.randoms(use_true_random=True)
many = hypothesis.settings(max_examples=300, deadline=None)
some_trials = st.frozensets(st.integers(0, 89), max_size=9)
troubles = st.builds(
    Trouble,
    poison=some_trials,
    killers=some_trials,
    hangs=st.frozensets(st.integers(0, 89), max_size=3),
    accidents=st.integers(0, 9),
    blameless=st.integers(0, 9),
    delays=st.booleans(),
)


@st.composite
def campaigns(draw: st.DrawFn) -> list[list[Range]]:
    """Groups of up to 30 trials each, with holes where earlier runs have done some."""
    sizes = draw(st.lists(st.sampled_from((30, 11, 3, 1, 0)), min_size=3, max_size=3))
    done = draw(st.frozensets(st.integers(0, 89), max_size=9))
    return [
        ranges_of(set(range(30 * index, 30 * index + size)) - done)
        for index, size in enumerate(sizes)
    ]


later = st.lists(st.integers(0, 8), unique=True).map(
    lambda numbers: [
        (number % 3, (90 + 10 * number, 91 + 10 * number + number)) for number in numbers
    ]
)
"""Ranges of up to nine trials of any of three groups, which come in the middle of the run."""


@many
@given(campaigns(), crowds, orders, later)
def test_work_that_comes_later_is_done_too(
    groups: list[list[Range]], settings: Settings, order: Random, more: list[tuple[int, Range]]
) -> None:
    crowd = Crowd(groups, settings, order, later=more)
    crowd.run()
    assert crowd.finish == Finish(None)
    assert crowd.done == crowd.trials
    assert len(crowd.trials) >= sum(len(trials_of(ranges)) for ranges in groups)


@many
@given(campaigns(), impatient_crowds, orders, troubles, later)
@example(
    [[(1, 11)], [], [(60, 90)]], ALONE, Random(203932), Trouble(accidents=5, blameless=3),
    [(1, (100, 102)), (2, (110, 113))],
)  # fmt: skip
@example(
    [[(0, 30)], [], [(60, 90)]], ALONE, Random(199), Trouble(accidents=1, blameless=3),
    [(1, (100, 102))],
)  # fmt: skip
def test_work_that_comes_later_is_settled_whatever_happens(
    groups: list[list[Range]],
    settings: Settings,
    order: Random,
    trouble: Trouble,
    more: list[tuple[int, Range]],
) -> None:
    crowd = Crowd(groups, settings, order, trouble, later=more)
    crowd.run()
    assert crowd.finish is not None
    if crowd.finish.reason is None:
        assert crowd.done | crowd.given_up.keys() == crowd.trials


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
@given(campaigns(), crowds, orders, some_trials, some_trials, some_trials)
def test_exactly_the_trials_that_raise_kill_or_hang_are_given_up(
    groups: list[list[Range]],
    settings: Settings,
    order: Random,
    poison: frozenset[int],
    killers: frozenset[int],
    hangs: frozenset[int],
) -> None:
    crowd = Crowd(groups, settings, order, Trouble(poison, killers, hangs))
    crowd.run()
    assert crowd.finish == Finish(None)
    assert crowd.given_up.keys() == (poison | killers | hangs) & crowd.trials
    for trial, error in crowd.given_up.items():
        if trial in hangs:
            assert error.startswith("the worker was stopped: a chunk of 1 trial was not done after")
        else:
            assert error == f"{'killed' if trial in killers else 'raised'} by {trial}"


@many
@given(campaigns(), impatient_crowds, orders, troubles, st.frozensets(st.integers(0, 2)))
def test_whatever_happens_the_books_agree_and_the_run_ends(
    groups: list[list[Range]],
    settings: Settings,
    order: Random,
    trouble: Trouble,
    begun: frozenset[int],
) -> None:
    crowd = Crowd(groups, settings, order, trouble, begun)
    crowd.run()
    assert crowd.done.isdisjoint(trouble.bad)


@many
@given(campaigns(), st.integers(1, 5), st.integers(1, 3), orders)
def test_fewer_accidents_than_attempts_cost_no_trial(
    groups: list[list[Range]], workers: int, in_flight: int, order: Random
) -> None:
    settings = Settings(workers, in_flight=in_flight, attempts=4, patience=NEVER)
    crowd = Crowd(groups, settings, order, Trouble(accidents=3))
    crowd.run()
    assert crowd.finish == Finish(None)
    assert crowd.done == crowd.trials


@many
@given(campaigns(), st.integers(1, 5), st.integers(1, 3), orders)
def test_machines_that_go_away_cost_no_trial(
    groups: list[list[Range]], workers: int, in_flight: int, order: Random
) -> None:
    settings = Settings(workers, in_flight=in_flight, attempts=1, machines=21, patience=NEVER)
    crowd = Crowd(groups, settings, order, Trouble(blameless=20))
    crowd.run()
    assert crowd.finish == Finish(None)
    assert crowd.done == crowd.trials


@many
@given(campaigns(), impatient_crowds, orders, troubles, st.integers(0, 40))
def test_a_run_can_be_stopped_at_any_time(
    groups: list[list[Range]], settings: Settings, order: Random, trouble: Trouble, after: int
) -> None:
    crowd = Crowd(groups, settings, order, trouble)
    crowd.run(stop_after=after)
    assert crowd.finish is not None


@pytest.mark.parametrize("layer", [0, 50, 100])
@hypothesis.settings(max_examples=10, deadline=None)
@given(workers=st.integers(1, 5), order=orders)
def test_a_layer_that_kills_every_worker_is_given_up_on_and_the_others_are_done(
    layer: int, workers: int, order: Random
) -> None:
    killers = frozenset(range(layer, layer + 50))
    groups = [[(0, 50)], [(50, 100)], [(100, 150)]]
    crowd = Crowd(groups, Settings(workers, patience=NEVER), order, Trouble(killers=killers))
    crowd.run()
    assert crowd.finish == Finish(None)
    assert crowd.done == crowd.trials - killers
    alone = {trial for trial, error in crowd.given_up.items() if error == f"killed by {trial}"}
    rest = {trial for trial, error in crowd.given_up.items() if error.startswith(REST)}
    assert alone | rest == killers
    assert 8 <= len(alone) <= 8 + 2 * workers


@hypothesis.settings(max_examples=30, deadline=None)
@given(workers=st.integers(1, 5), accidents=st.integers(0, 3), order=orders)
def test_workers_that_die_on_everything_end_the_run_with_nearly_all_of_it_left(
    workers: int, accidents: int, order: Random
) -> None:
    groups = [[(0, 50)], [(50, 100)], [(100, 150)]]
    trouble = Trouble(killers=frozenset(range(150)), accidents=accidents)
    crowd = Crowd(groups, Settings(workers, patience=NEVER), order, trouble)
    crowd.run()
    assert crowd.finish is not None
    assert crowd.finish.reason is not None
    assert crowd.finish.reason.startswith(USELESS)
    assert 8 <= len(crowd.given_up) <= 22


def test_ten_thousand_workers_do_a_hundred_thousand_trials() -> None:
    scheduler = Scheduler(
        [[(start, start + 1000)] for start in range(0, 100_000, 1000)],
        weigh=lambda start, stop: [(stop - start, 1.0)],
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
