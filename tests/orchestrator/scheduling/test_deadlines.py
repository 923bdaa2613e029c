from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduling.deadlines import Deadlines

steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 3), st.integers(0, 9)),
        st.tuples(st.just("clear"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("wait"), st.just(0), st.integers(0, 3)),
    ),
    max_size=40,
)


@given(steps)
def test_a_deadline_passes_once_and_only_the_one_set_last(
    steps: list[tuple[str, int, int]],
) -> None:
    deadlines, due, now = Deadlines(), dict[int, float](), 0
    for what, worker, seconds in steps:
        if what == "set":
            deadlines.set(worker, now + seconds)
            due[worker] = now + seconds
        elif what == "clear":
            deadlines.clear(worker)
            due.pop(worker, None)
        else:
            now += seconds
            late = {worker: due.pop(worker) for worker, when in tuple(due.items()) if when < now}
            passed = deadlines.passed(now)
            assert sorted(passed) == sorted(late)
            assert [late[worker] for worker in passed] == sorted(late.values())


def test_a_deadline_that_was_moved_has_its_place_among_those_that_passed() -> None:
    deadlines = Deadlines()
    deadlines.set(0, 2)
    deadlines.set(1, 2)
    deadlines.set(0, 3)
    assert deadlines.passed(4) == [1, 0]


def test_memory_does_not_grow_with_the_deadlines_set() -> None:
    deadlines = Deadlines()
    for now in range(10_000):
        deadlines.set(now % 10, now + 120.0)
        assert deadlines.passed(now) == []
    assert len(deadlines._heap) <= 20
