"""Judging outputs: the four outcomes, their order and their edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from injecttf2 import bits
from injecttf2.judging import outcomes
from injecttf2.judging.outcomes import BENIGN, DUE, MASKED, OUTCOMES, SDC

NAN, INF = float("nan"), float("inf")
LIMIT = 2.0**-16


def judge(outputs: Any, golden: Any, dtype: str = "float32") -> tuple[list[str], list[int]]:
    """Outcomes by name and the faulty classes, run as the engine runs it: compiled."""
    arrays = [np.asarray(rows, bits.numpy_dtype(dtype)) for rows in (outputs, golden)]
    outcome, classes, _ = tf.function(outcomes.judge, autograph=False)(*map(tf.constant, arrays))
    assert (outcome.dtype, classes.dtype) == (tf.uint8, tf.int32)
    return [OUTCOMES[code] for code in outcome.numpy()], classes.numpy().tolist()


def after(value: float, dtype: str = "float32") -> float:
    """The next larger number that the dtype holds."""
    kind = bits.numpy_dtype(dtype)
    word = np.asarray([value], kind).view(bits.LAYOUTS[dtype].word) + 1
    return float(word.view(kind).astype(np.float64)[0])


def test_the_codes_are_places_in_the_list_of_names() -> None:
    assert OUTCOMES == ("masked", "benign", "sdc", "due")
    assert (MASKED, BENIGN, SDC, DUE) == (0, 1, 2, 3)
    assert outcomes.MASKED_TOLERANCE == 2.0**-16


def test_each_outcome_on_a_hand_made_output() -> None:
    golden = [[1.0, 3.0, 2.0]] * 5
    faulty = [
        [1.0, 3.0, 2.0],  # nothing changed
        [1.0, 3.0, 2.5],  # changed, but class 1 is still the largest
        [1.0, 3.0, 3.5],  # class 2
        [1.0, 3.0, NAN],
        [1.0, 3.0, -INF],
    ]
    assert judge(faulty, golden) == (
        ["masked", "benign", "sdc", "due", "due"],
        [1, 1, 2, -1, -1],
    )


@pytest.mark.parametrize("dtype", bits.LAYOUTS)
@pytest.mark.parametrize("broken", [NAN, INF, -INF])
def test_an_output_that_is_not_finite_is_due_whatever_its_argmax(broken: float, dtype: str) -> None:
    golden = [[3.0, 1.0, 2.0]] * 3
    faulty = [[broken, 1.0, 2.0], [3.0, broken, 2.0], [3.0, 1.0, broken]]
    assert judge(faulty, golden, dtype) == (["due"] * 3, [-1] * 3)


@pytest.mark.parametrize("dtype", bits.LAYOUTS)
def test_all_nan_is_due_and_not_class_0(dtype: str) -> None:
    golden = [[3.0, 1.0, 2.0], [1.0, 2.0, 3.0]]  # class 0 and class 2
    assert judge([[NAN] * 3] * 2, golden, dtype) == (["due", "due"], [-1, -1])


def test_a_broken_sample_leaves_its_neighbours_alone() -> None:
    golden = [[1.0, 2.0]] * 3
    assert judge([[1.0, 2.0], [NAN, NAN], [2.0, 1.0]], golden) == (
        ["masked", "due", "sdc"],
        [1, -1, 0],
    )


def test_a_nan_with_a_payload_is_due() -> None:
    payload = np.asarray([[0xFFC12345, 0x3F800000]], np.uint32).view(np.float32)
    assert judge(payload, [[2.0, 1.0]]) == (["due"], [-1])


def test_of_equal_outputs_the_lowest_index_is_the_class() -> None:
    tied = tf.constant(
        [[1.0, 5.0, 5.0, 5.0], [7.0, 7.0, 0.0, 7.0], [2.0] * 4, [-0.0, 0.0, 0.0, -1]]
    )
    classes = outcomes.top1(tied)
    assert classes.dtype == tf.int32
    assert classes.numpy().tolist() == [1, 0, 0, 0]


@settings(deadline=None)
@given(
    rows=st.lists(
        st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0]), min_size=7, max_size=7), min_size=1
    )
)
def test_top1_is_numpys_argmax_ties_included(rows: list[list[float]]) -> None:
    expected = np.argmax(np.asarray(rows, np.float32), axis=1).tolist()
    assert outcomes.top1(tf.constant(rows, tf.float32)).numpy().tolist() == expected


def test_a_new_tie_changes_the_class_only_when_it_comes_first() -> None:
    golden = [[1.0, 3.0, 2.0]] * 2
    assert judge([[3.0, 3.0, 2.0], [1.0, 3.0, 3.0]], golden) == (["sdc", "benign"], [0, 1])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("dtype", bits.LAYOUTS)
def test_a_difference_of_the_tolerance_is_masked_and_the_next_larger_one_is_not(
    dtype: str, sign: float
) -> None:
    golden = [[1.0, 0.0, 0.0]] * 3
    below, above = LIMIT / 2, after(LIMIT, dtype)
    faulty = [[1.0, 0.0, sign * difference] for difference in (below, LIMIT, above)]
    assert judge(faulty, golden, dtype) == (["masked", "masked", "benign"], [0, 0, 0])


def test_float64_outputs_are_compared_in_float64() -> None:
    above = after(LIMIT, "float64")
    assert np.float32(above) == LIMIT  # float32 cannot tell them apart
    assert judge([[1.0, above]], [[1.0, 0.0]], "float64") == (["benign"], [0])
    assert judge([[1e300, 2e300]], [[2e300, 1e300]], "float64") == (["sdc"], [1])
    assert judge([[2e300, -1e300]], [[2e300, 1e300]], "float64") == (["benign"], [0])


@pytest.mark.parametrize("largest", [-4.0, 4.0])
def test_the_tolerance_follows_the_largest_golden_magnitude(largest: float) -> None:
    golden = [[largest, 0.0, 0.5]] * 2
    faulty = [[largest, 4 * LIMIT, 0.5], [largest, after(4 * LIMIT), 0.5]]
    assert judge(faulty, golden)[0] == ["masked", "benign"]


def test_each_sample_has_a_tolerance_of_its_own() -> None:
    golden = [[1.0, 0.0], [1024.0, 0.0]]
    faulty = [[1.0, 64 * LIMIT], [1024.0, 64 * LIMIT]]
    assert judge(faulty, golden)[0] == ["benign", "masked"]


def test_beside_an_all_zero_golden_output_only_zero_is_masked() -> None:
    golden = [[0.0, 0.0, 0.0]] * 4
    faulty = [[0.0, -0.0, 0.0], [0.0, -1e-30, 0.0], [0.0, 1e-30, 0.0], [1e-30, 0.0, 0.0]]
    assert judge(faulty, golden) == (["masked", "benign", "sdc", "benign"], [0, 0, 1, 0])


def test_a_difference_that_overflows_is_never_masked() -> None:
    golden = [[3e38, 3e38, 0.0], [3e38, -3e38, 0.0]]
    faulty = [[3e38, -3e38, 0.0], [-3e38, 3e38, 0.0]]
    assert judge(faulty, golden) == (["benign", "sdc"], [0, 1])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_compared_without_overflow(dtype: str) -> None:
    largest = 65504.0 if dtype == "float16" else 3.3895313892515355e38
    golden, faulty = [[largest, largest, 0.0]], [[largest, -largest, 0.0]]
    assert judge(faulty, golden, dtype) == (["benign"], [0])
    assert judge(golden, golden, dtype) == (["masked"], [0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_differences_of_half_precision_are_not_rounded_to_half_precision(dtype: str) -> None:
    half = 1024 * LIMIT / 2
    golden, faulty = [[1024.0, half]], [[1024.0, -after(half, dtype)]]
    assert judge([[1024.0, -half]], golden, dtype) == (["masked"], [0])
    assert judge(faulty, golden, dtype) == (["benign"], [0])


VALUES = st.sampled_from([-np.inf, -1.0, 0.0, 2.0, np.inf, np.nan])


@pytest.mark.parametrize("shape", [(6, 4), (6, 1), (6, 2, 3), (6,)])
@given(data=st.data())
def test_argmax_differs_where_numpys_does(shape: tuple[int, ...], data: st.DataObject) -> None:
    faulty = data.draw(arrays(np.float32, shape, elements=VALUES))
    golden = data.draw(arrays(np.float32, shape, elements=st.sampled_from([-1.0, 0.0, 2.0])))
    found = outcomes.argmax_differs(tf.constant(faulty), tf.constant(golden)).numpy()
    rows = zip(faulty, golden, strict=True)
    assert found.dtype == np.bool_
    assert found.tolist() == [bool(np.any(a.argmax(-1) != b.argmax(-1))) for a, b in rows]
