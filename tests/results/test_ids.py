import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from results.ids import ascending, contains, union

ids = st.lists(st.one_of(st.integers(0, 5), st.integers(0, 2**64 - 1)), max_size=30)


def array(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint64)


@given(ids, ids)
def test_sets_of_ids_are_sets(one: list[int], other: list[int]) -> None:
    first, second = ascending(array(one)), ascending(array(other))
    assert first.dtype == np.uint64
    assert first.tolist() == sorted({*one})
    assert union(first, second).tolist() == sorted({*one, *other})
    assert contains(first, array(other)).tolist() == [value in one for value in other]
