"""Labels in the forms that judges take; classes are tested with the data sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from injecttf2.datasets import label_forms as labels
from injecttf2.errors import DatasetError

NAN, INF = float("nan"), float("inf")


def refusal(function: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(DatasetError) as error:
        function(*arguments, **options)
    return error.value.message


def test_a_class_beyond_the_models_is_refused_with_its_sample() -> None:
    labels.check_classes(np.asarray([0, 2, 1]), 3)
    assert refusal(labels.check_classes, np.asarray([0, 2, 3, 4, 4]), 4) == (
        "the label of sample 3 is 4; the model has the classes 0 to 3"
    )


@pytest.mark.parametrize("given", [[1, 0], [1.0, 0.0], [True, False], [[1], [0]]])
def test_flags_of_one_property_may_have_an_axis_for_it(given: Any) -> None:
    flags = labels.flag_labels(np.asarray(given), 1)
    assert (flags.dtype, flags.tolist()) == (np.int64, [[1], [0]])


def test_flags_of_several_properties_are_rows() -> None:
    given = [[1, 0, 1], [0, 0, 0]]
    assert labels.flag_labels(np.asarray(given, np.float32), 3).tolist() == given


@pytest.mark.parametrize("given", [[1, 0], [[1], [0]], [[1, 0], [0, 0]], [["1"] * 3] * 2])
def test_flags_of_another_shape_or_kind_are_refused(given: Any) -> None:
    array = np.asarray(given)
    assert refusal(labels.flag_labels, array, 3) == (
        f"labels of shape {array.shape} and dtype {array.dtype} do not fit the model's 3 outputs a "
        "sample; expected (2, 3) of 0 and 1"
    )


@pytest.mark.parametrize("wrong", [2.0, -1.0, 0.5, NAN])
def test_what_is_neither_0_nor_1_is_no_flag(wrong: float) -> None:
    given = np.asarray([[0.0, 1.0], [1.0, wrong]])
    assert refusal(labels.flag_labels, given, 2) == (
        f"the label of sample 1 is [1.0, {wrong}]; expected 0 or 1 for each of the model's outputs"
    )


CLASSES = [[[0, 2], [1, 0]], [[2, 2], [0, 1]]]


@pytest.mark.parametrize(
    "given",
    [
        np.asarray(CLASSES, np.uint8),
        np.asarray(CLASSES, np.float64),
        np.asarray(CLASSES)[..., np.newaxis],
        np.eye(3)[np.asarray(CLASSES)],
    ],
)
def test_classes_at_positions_come_in_four_forms(given: Any) -> None:
    found = labels.position_labels(given, (2, 2), channels=3)
    assert (found.dtype, found.tolist()) == (np.int64, CLASSES)


def test_a_single_channel_has_the_classes_0_and_1() -> None:
    given = np.asarray([[0, 1, 1]])
    assert labels.position_labels(given, (3,), channels=1).tolist() == [[0, 1, 1]]
    assert refusal(labels.position_labels, given + 1, (3,), channels=1) == (
        "the label of sample 0 at position (1,) is 2; the model has the classes 0 to 1"
    )


def test_as_many_positions_as_channels_are_classes_not_one_hot() -> None:
    given = np.asarray([[[0, 2], [1, 2]]])
    assert labels.position_labels(given, (2, 2), channels=3).tolist() == given.tolist()
    square = np.asarray([[0, 1, 0]])
    assert labels.position_labels(square, (3,), channels=3).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("ignore", [255, -1])
def test_an_ignored_label_need_not_be_a_class(ignore: int) -> None:
    given = np.asarray([[0, ignore], [1, 2]])
    found = labels.position_labels(given, (2,), channels=3, ignore=ignore)
    assert found.tolist() == given.tolist()
    assert refusal(labels.position_labels, given, (2,), channels=3) == (
        f"the label of sample 0 at position (1,) is {ignore}; the model has the classes 0 to 2"
    )


@pytest.mark.parametrize(
    "row", [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [-0.5, 1.0, 0.0], [0.75, 1.0, 0.5]]
)
def test_a_row_that_is_no_share_of_one_or_has_two_largest_entries_is_not_one_hot(
    row: list[float],
) -> None:
    given = np.asarray([[[1.0, 0.0, 0.0], row]])
    assert refusal(labels.position_labels, given, (2,), channels=3) == (
        f"the label of sample 0 at position (1,) is {row}; the model has the classes 0 to 2"
    )


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 2, 2), (4, 2, 3, 1)])
def test_classes_at_other_positions_are_refused(shape: tuple[int, ...]) -> None:
    assert refusal(labels.position_labels, np.zeros(shape, int), (2,), channels=3).startswith(
        f"labels of shape {shape} and dtype int64 do not fit the model's positions; expected whole "
        "numbers of shape (4, 2)"
    )


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("given", [[1, 2], [[1.0], [2.0]]])
def test_one_value_a_sample_needs_no_axis(given: Any, shape: tuple[int, ...]) -> None:
    values = labels.value_labels(np.asarray(given), shape)
    assert (values.dtype, values.shape) == (np.float64, (2, *shape))
    assert values.reshape(-1).tolist() == [1.0, 2.0]


def test_values_have_the_shape_of_the_output() -> None:
    given = np.arange(12, dtype=np.float16).reshape(2, 3, 2)
    assert labels.value_labels(given, (3, 2)).tolist() == given.tolist()
    assert refusal(labels.value_labels, given, (2, 3)) == (
        "labels of shape (2, 3, 2) and dtype float16 do not fit the model's output; "
        "expected numbers of shape (2, 2, 3)"
    )


@pytest.mark.parametrize("broken", [NAN, INF, -INF])
def test_values_that_are_not_finite_are_refused(broken: float) -> None:
    assert refusal(labels.value_labels, np.asarray([[1.0, 2.0], [1.0, broken]]), (2,)) == (
        "1 of 2 labels hold NaN or Inf, the first of them that of sample 1"
    )
