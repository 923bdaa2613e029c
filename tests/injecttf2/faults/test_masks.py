"""Changes of words, against plain arithmetic on Python's whole numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from injecttf2 import bits
from injecttf2.faults import masks
from injecttf2.faults.masks import WordMasks

bytes_ = st.integers(0, 255)


def of(*pairs: tuple[int, int]) -> WordMasks:
    """Return changes of 8-bit words from pairs of keep and flip."""
    keep, flip = zip(*pairs, strict=True) if pairs else ((), ())
    return WordMasks(np.asarray(keep, np.uint8), np.asarray(flip, np.uint8))


def words(*values: int) -> np.ndarray:
    return np.asarray(values, np.uint8)


def test_a_flip_inverts_the_bits_of_its_mask() -> None:
    change = masks.flip(words(0b0000_0011, 0b1000_0000))
    assert change.apply(words(0b0101_0101, 0b1111_1111)).tolist() == [0b0101_0110, 0b0111_1111]


@pytest.mark.parametrize(
    ("value", "expected"), [(0, [0b0101_0100, 0b0111_1111]), (1, [0b0101_0111, 0b1111_1111])]
)
def test_stuck_bits_have_one_value_whatever_was_written(value: int, expected: list[int]) -> None:
    change = masks.stick(words(0b0000_0011, 0b1000_0000), value)
    assert change.apply(words(0b0101_0101, 0b1111_1111)).tolist() == expected
    assert change.apply(words(*expected)).tolist() == expected


def test_a_new_value_keeps_nothing_of_the_old_one() -> None:
    new = np.asarray([-0.0, np.inf, 1.5], np.float32)
    change = masks.replace(new)
    assert change.apply(np.asarray([1.0, np.nan, 1.5], np.float32)).tobytes() == new.tobytes()


@pytest.mark.parametrize("dtype", bits.DTYPES)
def test_no_change_leaves_every_word_alone(dtype: str) -> None:
    raw = np.random.Philox(key=1).random_raw(10)
    values = raw.astype(bits.layout(dtype).word).view(bits.numpy_dtype(dtype))
    result = masks.nothing(10, dtype).apply(values)
    assert (result.dtype, result.tobytes()) == (values.dtype, values.tobytes())


@settings(deadline=None)
@given(word=bytes_, first=st.tuples(bytes_, bytes_), second=st.tuples(bytes_, bytes_))
def test_two_changes_compose_to_one(
    word: int, first: tuple[int, int], second: tuple[int, int]
) -> None:
    together = of(first).then(of(second))
    after_first = (word & first[0]) ^ first[1]
    expected = (after_first & second[0]) ^ second[1]
    assert together.apply(words(word)).tolist() == [expected]


@settings(deadline=None)
@given(
    runs=st.lists(st.lists(st.tuples(bytes_, bytes_), min_size=1, max_size=5), max_size=6),
    data=st.data(),
)
def test_merged_changes_do_what_their_parts_do_in_order(
    runs: list[list[tuple[int, int]]], data: st.DataObject
) -> None:
    olds = data.draw(st.lists(bytes_, min_size=len(runs), max_size=len(runs)))
    starts = np.cumsum([0, *map(len, runs)])[:-1]
    merged = masks.merged(of(*(pair for run in runs for pair in run)), starts)
    expected = []
    for old, run in zip(olds, runs, strict=True):
        word = old
        for keep, flip in run:
            word = (word & keep) ^ flip
        expected.append(word)
    assert merged.apply(words(*olds)).tolist() == expected


def test_merging_leaves_its_input_alone() -> None:
    parts = of((255, 1), (255, 2), (255, 4))
    assert masks.merged(parts, np.asarray([0, 2])).flip.tolist() == [3, 4]
    assert (parts.keep.tolist(), parts.flip.tolist()) == ([255] * 3, [1, 2, 4])


def test_the_same_flip_twice_on_one_word_is_no_fault() -> None:
    merged = masks.merged(masks.flip(words(8, 8)), np.asarray([0]))
    assert (merged.keep.tolist(), merged.flip.tolist()) == ([255], [0])


def test_changes_are_joined_and_chosen_like_arrays() -> None:
    both = masks.joined([of((1, 2), (3, 4)), of((5, 6))])
    assert (len(both), both.keep.tolist(), both.flip.tolist()) == (3, [1, 3, 5], [2, 4, 6])
    chosen = both[np.asarray([2, 0])]
    assert (chosen.keep.tolist(), chosen.flip.tolist()) == ([5, 1], [6, 2])
