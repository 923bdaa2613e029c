"""Making raw arrays what the model takes: labels, scale, channels and shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from injecttf2 import bits, datasets
from injecttf2.datasets import Dataset, ModelInput, Preparation, Raw
from injecttf2.errors import DatasetError


def prepare(
    inputs: Any, labels: Any, *, shape: tuple[int | None, ...], dtype: str = "float32", **how: Any
) -> Dataset:
    one = ModelInput("image", shape, bits.numpy_dtype(dtype))
    return datasets.prepare(Raw(inputs, labels), Preparation(**how), [one])


def labels_of(labels: Any) -> list[int]:
    inputs = np.zeros((len(labels), 2), np.float32)
    prepared = prepare(inputs, np.asarray(labels), shape=(2,)).labels
    assert prepared.dtype == np.int64
    return [int(label) for label in prepared]


def refusal(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        call(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_not_finite_are_refused(value: float) -> None:
    inputs = np.zeros((5, 2), np.float32)
    inputs[3, 1] = value
    assert refusal(prepare, inputs, np.zeros(5, int), shape=(2,)).startswith(
        "1 of 5 samples hold NaN or Inf, the first is sample 3"
    )


@pytest.mark.parametrize(
    "labels",
    [
        np.asarray([2, 0, 1], np.uint8),
        np.asarray([2, 0, 1], np.int32),
        np.asarray([2, 0, 1], ">i8"),
        np.asarray([2.0, 0.0, 1.0], np.float32),
        np.asarray([[2], [0], [1]]),
        np.asarray([[[2]], [[0]], [[1]]]),
        np.asarray([[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
        np.asarray([[0, 0, 1], [1, 0, 0], [0, 1, 0]], bool),
        np.asarray([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.0, 0.6, 0.4]]),
    ],
)
def test_labels_are_classes_or_one_hot_rows(labels: Any) -> None:
    assert labels_of(labels) == [2, 0, 1]


def test_boolean_labels_are_the_classes_0_and_1() -> None:
    assert labels_of([True, False]) == [1, 0]


@pytest.mark.parametrize(
    ("labels", "first", "shown"),
    [
        ([0, 3, -1], 2, "-1"),
        ([-1.0, 0.0], 0, "-1.0"),
        ([0.0, 0.5], 1, "0.5"),
        ([0.0, float("nan")], 1, "nan"),
        ([0.0, float("inf")], 1, "inf"),
        ([1e300, 0.0], 0, "1e+300"),
        (np.asarray([1, 2**63 + 5], np.uint64), 1, "9223372036854775813"),
        ([1, 2**31], 1, "2147483648"),
        ([[0], [-2]], 1, "[-2]"),
        ([[0, 1], [0, 0]], 1, "[0, 0]"),
        ([[0, 1, 0], [0, 1, 1]], 1, "[0, 1, 1]"),
        ([[0.0, 1.0], [float("nan"), 1.0]], 1, "[nan, 1.0]"),
        ([[2.5] * 640] * 2, 0, f"[{'2.5, ' * 11}2..."),
    ],
)
def test_a_label_that_is_no_class_is_refused(labels: Any, first: int, shown: str) -> None:
    assert refusal(labels_of, labels) == (
        f"the label of sample {first} is {shown}; "
        "expected a class, a whole number from 0, or a one-hot row\n"
        "  a model of values, such as an autoencoder, is judged by `judge: {type: regression, "
        "absolute: TOLERANCE}`, one of several yes and no by `judge: threshold`"
    )


@pytest.mark.parametrize(
    ("labels", "shape", "dtype"),
    [
        (["cat", "dog"], "(2,)", "<U3"),
        ([["cat", "dog"]] * 2, "(2, 2)", "<U3"),
        ([None, 1], "(2,)", "object"),
        ([1j, 2j], "(2,)", "complex128"),
        (np.zeros((2, 2, 2), int), "(2, 2, 2)", "int64"),
        (np.zeros((2, 0)), "(2, 0)", "float64"),
    ],
)
def test_labels_of_another_kind_are_refused(labels: Any, shape: str, dtype: str) -> None:
    assert refusal(labels_of, labels) == (
        f"labels of shape {shape} and dtype {dtype} are not classes; "
        "expected one whole number a sample, or one-hot rows"
    )


@pytest.mark.parametrize(
    ("inputs", "labels", "sizes"),
    [
        (np.zeros((3, 2)), np.zeros(2), "3 inputs and 2 labels"),
        (np.zeros((3, 2)), np.zeros(0), "3 inputs and 0 labels"),
        (np.zeros((0, 2)), np.zeros(0), "0 inputs and 0 labels"),
        (np.zeros((3, 2)), np.asarray(5), "3 inputs and 1 labels"),
        (np.asarray(5), np.zeros(2), "1 inputs and 2 labels"),
    ],
)
def test_as_many_labels_as_inputs_are_needed(inputs: Any, labels: Any, sizes: str) -> None:
    assert refusal(prepare, inputs, labels, shape=(2,)) == (
        f"there are {sizes}; expected as many labels as inputs, and at least one"
    )


IMAGES = np.asarray([[[0, 255], [51, 102]], [[255, 0], [1, 2]]], np.uint8)


def test_uint8_images_are_scaled_by_1_255() -> None:
    prepared = prepare(IMAGES, [0, 1], shape=(2, 2))
    assert prepared.inputs.dtype == np.float32
    expected = IMAGES.astype(np.float32) * np.float32(1 / 255)
    assert prepared.inputs.tobytes() == expected.tobytes()
    assert prepared.inputs.max() == 1.0


def test_a_given_scale_takes_the_place_of_1_255() -> None:
    assert prepare(IMAGES, [0, 1], shape=(2, 2), scale=1).inputs.tolist() == IMAGES.tolist()
    doubled = prepare(IMAGES, [0, 1], shape=(2, 2), scale=2.0)
    assert doubled.inputs.tolist() == (IMAGES * 2.0).tolist()


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_uint8_images_for_a_model_of_whole_numbers_are_not_scaled(dtype: str) -> None:
    prepared = prepare(IMAGES, [0, 1], shape=(2, 2), dtype=dtype)
    assert prepared.inputs.dtype == np.dtype(dtype)
    assert prepared.inputs.tolist() == IMAGES.tolist()


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.float32, np.float64, bool])
def test_data_of_other_dtypes_are_not_scaled(dtype: type) -> None:
    data: Any = np.asarray([[0, 1], [1, 1]], dtype)
    prepared = prepare(data, [0, 1], shape=(2,))
    assert prepared.inputs.dtype == np.float32
    assert prepared.inputs.tolist() == [[0.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize("dtype", bits.LAYOUTS)
def test_inputs_get_the_models_dtype(dtype: str) -> None:
    prepared = prepare([[0.5, 1.0]], [0], shape=(2,), dtype=dtype)
    assert prepared.inputs.dtype == bits.numpy_dtype(dtype)
    assert prepared.inputs.astype(np.float64).tolist() == [[0.5, 1.0]]


def test_float64_data_keep_their_precision_for_a_float64_model() -> None:
    prepared = prepare([[0.1, 0.2]], [0], shape=(2,), dtype="float64", scale=3.0, mean=0.1)
    assert prepared.inputs.tolist() == [[0.1 * 3.0 - 0.1, 0.2 * 3.0 - 0.1]]


def test_bfloat16_data_are_taken() -> None:
    data = np.asarray([[0.5, 1.0]], bits.numpy_dtype("bfloat16"))
    assert prepare(data, [0], shape=(2,), mean=0.5).inputs.tolist() == [[0.0, 0.5]]


def test_mean_and_std_come_after_the_scale() -> None:
    prepared = prepare([[4.0, 8.0]], [0], shape=(2,), scale=0.5, mean=1.0, std=4.0)
    assert prepared.inputs.tolist() == [[0.25, 0.75]]


def test_mean_and_std_have_one_number_a_channel() -> None:
    pixels = np.full((2, 4, 5, 3), 8.0)
    prepared = prepare(pixels, [0, 1], shape=(4, 5, 3), mean=[0.0, 4.0, 8.0], std=[1.0, 2.0, 4.0])
    assert prepared.inputs.shape == (2, 4, 5, 3)
    assert prepared.inputs.reshape(-1, 3).tolist() == [[8.0, 2.0, 0.0]] * 40


@pytest.mark.parametrize("name", ["mean", "std"])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_another_number_of_channels_is_refused(name: str, channels: int) -> None:
    pixels = np.zeros((2, 4, 5, channels))
    numbers = [1.0, 2.0, 3.0]
    message = refusal(prepare, pixels, [0, 1], shape=(4, 5, channels), **{name: numbers})
    assert message == (
        f"{name} has 3 numbers; the data have {channels} channels\n"
        "  give one number, or one for each channel"
    )


def test_a_channel_axis_is_added_where_the_model_wants_one() -> None:
    prepared = prepare(IMAGES, [0, 1], shape=(2, 2, 1), scale=1, mean=[1.0])
    assert prepared.inputs.shape == (2, 2, 2, 1)
    assert prepared.inputs[..., 0].tolist() == (IMAGES.astype(float) - 1).tolist()
    # One number a column is not one a channel.
    assert refusal(prepare, IMAGES, [0, 1], shape=(2, 2, 1), mean=[1.0, 2.0]).startswith(
        "mean has 2 numbers; the data have 1 channels\n"
    )


def test_no_channel_axis_is_added_for_colour_images() -> None:
    message = refusal(prepare, IMAGES, [0, 1], shape=(2, 2, 3))
    assert message.startswith("a sample has shape (2, 2); the model takes (2, 2, 3)\n")


@pytest.mark.parametrize(
    ("given", "wanted", "hint"),
    [
        ((2, 2, 1), (2, 2), "they have as many values: x.reshape(-1, 2, 2), if these are in that "),
        ((16,), (4, 4, 1), "they have as many values: x.reshape(-1, 4, 4, 1), if these are in "),
        ((5, 8), (40,), "they have as many values: x.reshape(-1, 40), if these are in that order"),
        ((2, 3), (3, 2), "their channels come first, the model's last: numpy.moveaxis(x, 1, -1)"),
        ((3, 2, 2), (2, 2, 3), "their channels come first, the model's last: numpy.moveaxis("),
        ((1, 5, 7), (None, None, 1), "their channels come first, the model's last: numpy."),
        ((5, 7, 3), (5, 7, 1), "they have colours, the model takes grey: x.mean(axis=-1, "),
        ((5, 7, 1), (5, 7, 3), "they are grey, the model takes colours: x.repeat(3, axis=-1)"),
        ((5, 7, 3), (6, 7, 3), "keras.ops.image.resize(x, (6, 7)) makes images of that size, no "),
        ((36,), (20, 36), "a sample of the model's is several of these, in an order: x.reshape(-"),
        ((4,), (5,), "use data of that shape, or a package.module:function that returns it"),
        ((), (2,), "use data of that shape, or a package.module:function that returns it"),
        ((4, 9), (4, 8), "use data of that shape, or a package.module:function that returns it"),
    ],
)
def test_a_sample_of_another_shape_is_refused(
    given: tuple[int, ...], wanted: tuple[int | None, ...], hint: str
) -> None:
    any_size = ", where None is any size" if None in wanted else ""
    said = f"a sample has shape {given}; the model takes {wanted}{any_size}\n  {hint}"
    assert refusal(prepare, np.zeros((2, *given)), [0, 1], shape=wanted).startswith(said)


def test_rows_in_place_of_sequences_of_any_length_are_refused() -> None:
    assert refusal(prepare, np.zeros((40, 36)), np.zeros(40, int), shape=(None, 36)) == (
        "a sample has shape (36,); the model takes (None, 36), where None is any size\n"
        "  a sample of the model's is several of these, in an order: x.reshape(-1, LENGTH, 36)"
    )


def test_a_model_for_any_size_takes_every_size() -> None:
    prepared = prepare(np.zeros((2, 5, 7)), [0, 1], shape=(None, None, 1))
    assert prepared.inputs.shape == (2, 5, 7, 1)


@pytest.mark.parametrize("data", [[["a", "b"]], [[None, 1]], [[1j, 2j]]])
def test_inputs_that_are_no_numbers_are_refused(data: Any) -> None:
    array = np.asarray(data)
    assert refusal(prepare, array, [0], shape=(2,)) == (
        f"the inputs have dtype {array.dtype}; expected numbers"
    )


def test_the_first_samples_are_kept() -> None:
    prepared = prepare(np.arange(10.0).reshape(5, 2), [4, 3, 2, 1, 0], shape=(2,), samples=3)
    assert len(prepared) == 3
    assert prepared.inputs.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert prepared.labels.tolist() == [4, 3, 2]


@pytest.mark.parametrize("samples", [-1, 0, 6])
def test_as_many_samples_must_be_there_as_are_asked_for(samples: int) -> None:
    message = refusal(prepare, np.zeros((5, 2)), np.zeros(5), shape=(2,), samples=samples)
    assert message == f"samples: {samples} asked for; the data set has 5"


def test_raw_data_are_left_alone() -> None:
    data, labels = np.ones((2, 2), np.float32), np.asarray([0, 1])
    prepare(data, labels, shape=(2,), scale=2.0, mean=1.0, std=3.0)
    assert data.tolist() == [[1.0, 1.0]] * 2
    assert labels.tolist() == [0, 1]


@pytest.mark.parametrize("value", [0.5, -0.25, np.nan, np.inf, 3e9])
def test_numbers_that_a_model_of_whole_numbers_would_change_are_refused(value: float) -> None:
    inputs = np.asarray([[1.0, 2.0], [3.0, value]])
    assert refusal(prepare, inputs, np.asarray([0, 1]), shape=(2,), dtype="int32") == (
        f"the model takes whole numbers, int32; received {value} in the data\n"
        "  give inputs of that dtype, for example token ids, and no scale, mean or std"
    )


def test_whole_numbers_that_are_stored_as_floats_are_taken_by_a_model_of_whole_numbers() -> None:
    inputs = np.asarray([[1.0, 2.0], [3.0, 4.0]])
    prepared = prepare(inputs, np.asarray([0, 1]), shape=(2,), dtype="int32").inputs
    assert (prepared.dtype.name, prepared.tolist()) == ("int32", [[1, 2], [3, 4]])
