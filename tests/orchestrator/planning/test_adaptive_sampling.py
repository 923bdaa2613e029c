"""Which trials are released: a function of a cell's own rows, in whatever order they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from injecttf2.faults.bit_faults import BitFlip
from injecttf2.sampling.rates import Count, Exhaustive, Probability
from injecttf2.trial import Identity, Scope, cell_id
from orchestrator.campaign.precision import CellTally, Precision
from orchestrator.planning.adaptive_sampling import AdaptiveSampling, without
from orchestrator.planning.pools import pools_of
from orchestrator.planning.trial_grid import Grid, Product
from orchestrator.scheduling.events import Range
from tests.builders import cell_of

IDENTITY = Identity(model="m", data="d", seed=1)
PRECISION = Precision(half_width=0.05)
HITS = 20
LOOKS = PRECISION.looks(HITS)
CELLS = 3


def grid() -> Grid:
    flips = tuple(BitFlip(bit=bit) for bit in range(CELLS))
    product = Product(flips, (Probability(0.5),), repetitions=LOOKS[-1])
    every = Product((BitFlip(bit=9),), (Exhaustive(),), repetitions=4)
    return Grid([(Scope(("a",)), [product, every])])


def looks() -> AdaptiveSampling:
    return AdaptiveSampling(
        pools_of(grid(), PRECISION), IDENTITY, PRECISION, lambda _: LOOKS, lambda _: 1
    )


def sdc(position: int) -> int:
    """The sdc of the trial at a position: rates of about 0, 0.1 and 0.5."""
    cell, repetition = divmod(position, LOOKS[-1])
    rate = (0.0, 0.1, 0.5, 0.0)[cell]
    return int(np.random.Generator(np.random.Philox(key=(cell, repetition))).binomial(HITS, rate))


def rows(positions: Sequence[int]) -> pa.Table:
    cells = [grid()[position] for position in positions]
    return pa.table(
        {
            "cell_id": pa.array([cell_id(IDENTITY, cell) for cell, _ in cells], pa.uint64()),
            "repetition": pa.array([repetition for _, repetition in cells], pa.int32()),
            "injected": pa.array([HITS] * len(cells), pa.int64()),
            "sdc": pa.array(map(sdc, positions), pa.int64()),
        }
    )


def expected(cell: int) -> int:
    """How many trials a cell gets, by the rule, one look after another."""
    for look in LOOKS:
        first = cell * LOOKS[-1]
        hits = sum(map(sdc, range(first, first + look)))
        if PRECISION.is_met(CellTally(look, look * HITS, hits)):
            return look
    return LOOKS[-1]


def positions(ranges: Sequence[Range]) -> list[int]:
    return [position for start, stop in ranges for position in range(start, stop)]


def due(of: AdaptiveSampling, done: Sequence[int]) -> list[int]:
    """What a run would begin with: what is not done and not withheld."""
    missing = [(position, position + 1) for position in range(len(grid())) if position not in done]
    return positions(list(without(missing, of.withheld())))


def test_the_cells_of_this_test_get_different_numbers_of_trials() -> None:
    assert LOOKS == (5, 8, 12, 17, 20, 23)
    assert [expected(cell) for cell in range(CELLS)] == [5, 8, 20]


def test_the_first_look_is_released_at_once_and_what_is_exhaustive_all() -> None:
    first = [cell * LOOKS[-1] + trial for cell in range(CELLS) for trial in range(LOOKS[0])]
    every = [CELLS * LOOKS[-1] + trial for trial in range(4)]
    assert due(looks(), []) == [*first, *every]


def in_any_order(
    start: Callable[[], AdaptiveSampling], random: object, data: st.DataObject
) -> tuple[AdaptiveSampling, list[int]]:
    """Do chunks of any size in any order, and now and then go on in a new run."""
    done: list[int] = []
    state = start()
    todo = due(state, done)
    while todo:
        random.shuffle(todo)  # type: ignore[attr-defined]
        chunk = [todo.pop() for _ in range(data.draw(st.integers(1, len(todo))))]
        done += chunk
        todo += positions([span for _, span in state.done(rows(chunk))])
        if data.draw(st.booleans()):
            state = start()
            state.resume(rows(done))
            todo = due(state, done)
    return state, done


@given(st.randoms(use_true_random=False), st.data())
def test_the_trials_do_not_depend_on_the_order_or_on_interruptions(
    random: object, data: st.DataObject
) -> None:
    _, done = in_any_order(looks, random, data)
    every = [cell * LOOKS[-1] + trial for cell in range(CELLS) for trial in range(expected(cell))]
    assert sorted(done) == [*every, *range(CELLS * LOOKS[-1], len(grid()))]


@given(st.sets(st.integers(0, CELLS * LOOKS[-1] - 1)))
def test_trials_of_another_plan_are_counted_when_their_look_comes(done: set[int]) -> None:
    """What is done already is not released, and changes no look."""
    state = looks()
    state.resume(rows(sorted(done)))
    todo = due(state, sorted(done))
    ran = []
    while todo:
        ran.append(todo.pop())
        todo += positions([span for _, span in state.done(rows(ran[-1:]))])
    assert not done.intersection(ran)
    for cell in range(CELLS):
        first = cell * LOOKS[-1]
        wanted = {first + trial for trial in range(expected(cell))}
        assert {one for one in ran if first <= one < first + LOOKS[-1]} == wanted - done


NETWORK = Precision(scope="network", half_width=0.04)
TOGETHER = NETWORK.looks(HITS, CELLS)


def network() -> AdaptiveSampling:
    return AdaptiveSampling(
        pools_of(grid(), NETWORK),
        IDENTITY,
        NETWORK,
        lambda _: TOGETHER,
        lambda cell: 1 + (cell.fault.bit or 0),
    )


@given(st.randoms(use_true_random=False), st.data())
def test_cells_that_are_asked_for_together_get_the_same_trials_in_any_order(
    random: object, data: st.DataObject
) -> None:
    state, done = in_any_order(network, random, data)
    counts = [sum(one // LOOKS[-1] == cell for one in done) for cell in range(CELLS)]
    assert counts == TRIALS_TOGETHER
    assert len({*done}) == len(done)
    (known,) = state.reached(ended=True)
    assert (known["state"], known["trials"]) == ("reached", sum(counts))


TRIALS_TOGETHER = [2, 3, 12]
"""Of rates of 0, 0.1 and 0.5 which weigh 1, 2 and 3, at one of the looks."""


def test_what_misses_a_trial_when_nothing_is_left_to_do_waits_for_it() -> None:
    state = network()
    first, *others = due(state, [])
    later = state.done(rows([one for one in others if one < CELLS * LOOKS[-1]]))
    assert later == []
    assert [one["state"] for one in state.reached(ended=False)] == ["open"]
    assert [one["state"] for one in state.reached(ended=True)] == ["waiting"]
    assert state.unmet == 0
    assert state.done(rows([first])) != []  # what --retry-failed does


def test_weights_have_one_fault_a_trial() -> None:
    cell = cell_of("a", BitFlip(bit=1), Count(1), "weights")
    product = Product((cell.fault,), (cell.rate,), repetitions=20)
    pools = pools_of(Grid([(Scope(("a",), "weights"), [product])]), PRECISION)
    state = AdaptiveSampling(pools, IDENTITY, PRECISION, lambda _: (10, 20), lambda _: 1)
    table = pa.table(
        {
            "cell_id": pa.array([cell_id(IDENTITY, cell)] * 10, pa.uint64()),
            "repetition": pa.array(range(10), pa.int32()),
            "injected": pa.array([1000] * 10, pa.int64()),
            "sdc": pa.array([0] * 10, pa.int64()),
        }
    )
    assert state.done(table) == [(0, (10, 20))]  # 10 faults without sdc say little


@pytest.mark.parametrize(
    ("ranges", "withheld", "left"),
    [
        ([(0, 10)], [], [(0, 10)]),
        ([(0, 10)], [(3, 5)], [(0, 3), (5, 10)]),
        ([(0, 10)], [(0, 5), (5, 10)], []),
        ([(0, 4), (6, 9)], [(2, 7)], [(0, 2), (7, 9)]),
        ([(0, 4), (6, 9)], [(1, 2), (3, 8), (8, 9)], [(0, 1), (2, 3)]),
        ([(5, 6)], [(0, 1), (7, 8)], [(5, 6)]),
        ([], [(0, 3)], []),
    ],
)
def test_what_is_withheld_is_taken_out(
    ranges: list[Range], withheld: list[Range], left: list[Range]
) -> None:
    assert list(without(ranges, withheld)) == left
