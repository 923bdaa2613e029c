"""Data sets of tf.data: what is read of them, and when an element is a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from injecttf2.datasets import ModelInput, Raw, tf_data
from injecttf2.errors import DatasetError

IMAGES = np.arange(7 * 4 * 6, dtype=np.float32).reshape(7, 4, 6, 1)
LABELS = np.arange(7)
IMAGE = ModelInput("image", (4, 6, 1))


def slices(inputs: Any = IMAGES, labels: Any = LABELS) -> Any:
    return tf.data.Dataset.from_tensor_slices((inputs, labels))


def read(data: Any, *inputs: ModelInput, samples: int | None = None) -> Raw:
    return tf_data.read(data, inputs or [IMAGE], samples=samples, place="mine:data")


def refusal(data: Any, *inputs: ModelInput) -> str:
    with pytest.raises(DatasetError) as caught:
        read(data, *inputs)
    return str(caught.value)


def values(arrays: Any) -> Any:
    assert isinstance(arrays, np.ndarray)
    return arrays.tolist()


@pytest.mark.parametrize("batch", [None, 1, 3, 7, 100])
def test_samples_and_batches_are_read_in_order_to_the_last(batch: int | None) -> None:
    raw = read(slices() if batch is None else slices().batch(batch))
    assert values(raw.inputs) == IMAGES.tolist()
    assert values(raw.labels) == LABELS.tolist()


@pytest.mark.parametrize("batch", [None, 2, 3])
def test_no_more_is_read_than_is_needed(batch: int | None) -> None:
    seen: list[int] = []

    def endless() -> Iterator[tuple[Any, int]]:
        for index in range(10**9):
            seen.append(index)
            yield IMAGES[index % 7], index

    signature = (tf.TensorSpec((4, 6, 1)), tf.TensorSpec((), tf.int32))
    data = tf.data.Dataset.from_generator(endless, output_signature=signature)
    raw = read(data if batch is None else data.batch(batch), samples=5)
    assert values(raw.labels)[:5] == [0, 1, 2, 3, 4]
    assert len(values(raw.labels)) == {None: 5, 2: 6, 3: 6}[batch]
    assert len(seen) < 20


def test_fewer_samples_are_read_where_it_ends_before() -> None:
    assert values(read(slices(), samples=9).labels) == LABELS.tolist()


@pytest.mark.parametrize("batch", [None, 3])
def test_a_data_set_that_never_ends_needs_a_number_of_samples(batch: int | None) -> None:
    endless = slices().repeat() if batch is None else slices().batch(batch).repeat()
    assert refusal(endless) == (
        "mine:data: the data set never ends\n"
        "  say how many samples to read: `samples: N` in the campaign file's `dataset:` mapping"
    )
    assert values(read(endless, samples=9).labels)[:9] == [0, 1, 2, 3, 4, 5, 6, 0, 1]


@pytest.mark.parametrize(
    ("found", "wanted", "batched"),
    [
        ((28, 28, 1), (28, 28, 1), False),
        ((None, 28, 28, 1), (28, 28, 1), True),
        ((32, 28, 28, 1), (28, 28, 1), True),
        ((28, 28), (28, 28, 1), False),
        ((None, 28, 28), (28, 28, 1), True),
        ((28, 28, 28), (28, 28, 1), True),
        ((32, 28, 28), (28, 28, 1), True),
        ((28, 28, 3), (28, 28, 1), False),
        ((None, None, 3), (None, None, 3), False),
        ((None, None, None, 3), (None, None, 3), True),
        ((8, 64, 64, 3), (None, None, 3), True),
        ((None, 28, 28), (None, None, 1), True),
        ((), (1,), False),
        ((1,), (1,), False),
        ((None,), (1,), True),
        ((None, 1), (1,), True),
        ((32,), (1,), True),
        ((12,), (12,), False),
        ((None, 12), (12,), True),
        ((None,), (None,), False),
        ((None, None), (None,), True),
        ((None,), (), True),
        ((), (), False),
        ((30, 30, 1), (28, 28, 1), False),
        ((None, 30, 30, 1), (28, 28, 1), True),
    ],
)
def test_an_element_is_a_batch_where_it_fits_without_its_first_axis(
    found: tuple[int | None, ...], wanted: tuple[int | None, ...], batched: bool
) -> None:
    assert tf_data.is_batched(tf.TensorSpec(found), [ModelInput("x", wanted)]) is batched


def test_what_fits_neither_way_is_refused() -> None:
    message = refusal(slices(np.zeros((7, 2, 4, 6, 9, 1))))
    assert message == (
        "mine:data: it cannot be told whether its elements are samples or batches: "
        "(2, 4, 6, 9, 1) for image, (4, 6, 1)\n"
        "  give the inputs as the model takes them, by name or in its order, or return arrays"
    )


def test_unknown_shapes_are_refused() -> None:
    data = tf.data.Dataset.from_generator(
        lambda: iter([(IMAGES[0], 1)]), output_types=(tf.float32, tf.int32)
    )
    assert refusal(data) == (
        "mine:data: the shape of its elements for the input 'image' is unknown\n"
        "  give tf.data.Dataset.from_generator an output_signature, or call tf.ensure_shape"
    )


IDS = ModelInput("ids", (5,), np.dtype("int32"))
MASK = ModelInput("mask", (5,))


@pytest.mark.parametrize("batch", [None, 2])
def test_inputs_by_name_in_order_and_labels_of_several_outputs_are_read(batch: int | None) -> None:
    ids, mask = np.arange(35).reshape(7, 5), np.ones((7, 5))
    by_name = slices({"mask": mask, "ids": ids}, {"a": LABELS, "b": -LABELS})
    in_order = slices((ids, mask), (LABELS, -LABELS))
    for data in (by_name, in_order):
        raw = read(data if batch is None else data.batch(batch), IDS, MASK)
        inputs, labels = raw.inputs, raw.labels
        if data is by_name:
            assert isinstance(inputs, dict)
            assert isinstance(labels, dict)
            inputs, labels = (inputs["ids"], inputs["mask"]), (labels["a"], labels["b"])
        assert [values(part) for part in inputs] == [ids.tolist(), mask.tolist()]
        assert [values(part) for part in labels] == [LABELS.tolist(), (-LABELS).tolist()]


def test_inputs_of_other_names_are_refused() -> None:
    data = slices({"tokens": np.zeros((7, 5))})
    assert refusal(data, IDS, MASK).startswith(
        "mine:data: it cannot be told whether its elements are samples or batches: {'tokens': "
    )


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (tf.data.Dataset.from_tensor_slices(IMAGES), "no labels"),
        (tf.data.Dataset.from_tensor_slices((IMAGES, LABELS, LABELS)), "3 parts"),
    ],
)
def test_elements_without_labels_or_with_weights_are_refused(data: Any, what: str) -> None:
    assert refusal(data) == (
        f"mine:data: its elements have {what}; expected (inputs, labels)\n"
        "  tf.data.Dataset.from_tensor_slices((inputs, labels)) makes such a data set"
    )


def test_ragged_elements_are_refused() -> None:
    ragged = tf.ragged.constant([[1.0], [2.0, 3.0]])
    assert "its elements hold RaggedTensorSpec" in refusal(slices(ragged, [0, 1]))


@pytest.mark.parametrize("batch", [None, 2])
def test_what_is_nested_has_its_path_as_its_name(batch: int | None) -> None:
    left, right = IMAGES, IMAGES + 1
    data = slices({"image": {"left": left, "pair": (right, left)}}, (LABELS, {"a": -LABELS}))
    one = ModelInput("input_layer", (4, 6, 1), key="image/left")
    raw = read(data if batch is None else data.batch(batch), one)
    assert isinstance(raw.inputs, dict)
    assert {name: values(part) for name, part in raw.inputs.items()} == {
        "image/left": left.tolist(),
        "image/pair/0": right.tolist(),
        "image/pair/1": left.tolist(),
    }
    assert isinstance(raw.labels, dict)
    assert {name: values(part) for name, part in raw.labels.items()} == {
        "0": LABELS.tolist(),
        "1/a": (-LABELS).tolist(),
    }


def test_an_empty_data_set_is_refused() -> None:
    assert refusal(slices().take(0)) == (
        "mine:data: the data set is empty; expected at least one sample"
    )


@pytest.mark.parametrize("batch", [None, 1])
def test_samples_that_differ_in_shape_are_refused(batch: int | None) -> None:
    signature = (tf.TensorSpec((None, 6, 1)), tf.TensorSpec((), tf.int32))
    data = tf.data.Dataset.from_generator(
        lambda: ((np.zeros((height, 6, 1)), 0) for height in (3, 4)), output_signature=signature
    )
    one = ModelInput("image", (None, 6, 1))
    assert refusal(data if batch is None else data.batch(batch), one) == (
        "mine:data: the samples differ in shape; expected the same shape for all inputs and all "
        "labels\n  resize images; fill sequences up to one length, with the value that the model "
        "masks: keras.utils.pad_sequences, or padded_batch with padded_shapes of a tf.data.Dataset"
    )


def test_what_fails_while_it_is_read_is_the_users_error() -> None:
    def failing() -> Iterator[tuple[Any, int]]:
        yield IMAGES[0], 0
        raise KeyError("the second file")

    signature = (tf.TensorSpec((4, 6, 1)), tf.TensorSpec((), tf.int32))
    data = tf.data.Dataset.from_generator(failing, output_signature=signature)
    message = refusal(data)
    assert message.startswith("mine:data: reading the data set raised ")
    assert "KeyError: 'the second file'" in message
    assert "\n" not in message
