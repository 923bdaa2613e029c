from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduling.lazy_priority_queue import LazyPriorityQueue

changes = st.lists(
    st.tuples(st.integers(0, 5), st.none() | st.integers(0, 3), st.integers(0, 5)), max_size=60
)


@given(changes)
def test_the_first_is_the_smallest_key_that_fits(
    changes: list[tuple[int, int | None, int]],
) -> None:
    keys: dict[int, int] = {}
    ranking = LazyPriorityQueue(lambda item: (keys[item],) if item in keys else None)
    for item, key, unfit in changes:
        keys.pop(item, None)
        if key is not None:
            keys[item] = key
        ranking.touch(item)
        expected = min(((key, item) for item, key in keys.items() if item != unfit), default=None)
        found = ranking.first(lambda item, unfit=unfit: item != unfit)
        assert found == (None if expected is None else expected[1])


def test_memory_does_not_grow_with_the_changes() -> None:
    keys = [0.0] * 10
    ranking = LazyPriorityQueue(lambda item: (keys[item],))
    for change in range(10_000):
        keys[change % 10] = -float(change)
        ranking.touch(change % 10)
        assert ranking.first(lambda _: True) == change % 10
    assert len(ranking._heap) <= 2 * 10 + 8
