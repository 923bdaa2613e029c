"""Models with several inputs and outputs: which array goes where."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from injecttf2 import datasets
from injecttf2.datasets import Dataset, ModelInput, Preparation, Raw, class_labels
from injecttf2.errors import DatasetError, ModelError

IDS = ModelInput("ids", (3,), np.dtype("int32"))
PHOTO = ModelInput("photo", (2, 2, 1))
DEPTH = ModelInput("depth", (2, 2), np.dtype("float16"))

TOKENS = np.asarray([[1, 2, 3], [4, 5, 2**24 + 1]])
PIXELS = np.asarray([[[0, 255], [51, 102]], [[255, 0], [1, 2]]], np.uint8)
METRES = np.asarray([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
LABELS = np.asarray([1, 0])


def prepare(inputs: Any, *wanted: ModelInput, labels: Any = LABELS, **how: Any) -> Dataset:
    return datasets.prepare(Raw(inputs, labels), Preparation(**how), wanted)


def refusal(*arguments: Any, **how: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        prepare(*arguments, **how)
    return str(caught.value)


@pytest.mark.parametrize(
    "inputs",
    [
        {"photo": PIXELS, "unused": np.asarray(["a", "b"]), "ids": TOKENS},
        (TOKENS, PIXELS),
    ],
)
def test_inputs_are_in_the_models_order_each_in_its_dtype(inputs: Any) -> None:
    prepared = prepare(inputs, IDS, PHOTO)
    assert isinstance(prepared.inputs, tuple)
    ids, photo = prepared.inputs
    assert (ids.dtype.name, ids.tolist()) == ("int32", TOKENS.tolist())
    assert (photo.dtype.name, photo.shape) == ("float32", (2, 2, 2, 1))
    assert photo.tobytes() == (PIXELS.astype(np.float32) * np.float32(1 / 255)).tobytes()
    assert (len(prepared), prepared.labels.tolist()) == (2, [1, 0])


def test_scale_mean_and_std_apply_to_inputs_of_floating_point_values() -> None:
    prepared = prepare((TOKENS, PIXELS, METRES), IDS, PHOTO, DEPTH, scale=2.0, mean=1.0, std=4.0)
    ids, photo, depth = prepared.inputs
    assert ids.tolist() == TOKENS.tolist()
    assert photo[..., 0].tolist() == ((PIXELS * 2.0 - 1) / 4).tolist()
    assert depth.tolist() == ((METRES * 2.0 - 1) / 4).tolist()
    assert depth.dtype == np.float16


def test_the_first_samples_of_every_input_and_output_are_kept() -> None:
    (ids, photo), labels = prepare((TOKENS, PIXELS), IDS, PHOTO, samples=1).inputs, {}
    assert (ids.tolist(), photo.shape) == ([[1, 2, 3]], (1, 2, 2, 1))

    def judge(raw: Any) -> Any:
        labels.update(raw)
        return raw["a"]

    raw = Raw(TOKENS, {"a": LABELS, "b": METRES})
    prepared = datasets.prepare(raw, Preparation(samples=1), [IDS], labels=judge)
    assert prepared.labels.tolist() == [1]
    assert {name: array.tolist() for name, array in labels.items()} == {
        "a": [1],
        "b": METRES[:1].tolist(),
    }


def test_a_dict_or_tuple_of_one_serves_a_model_with_one_input() -> None:
    for inputs in ({"ids": TOKENS, "more": PIXELS}, (TOKENS,)):
        assert prepare(inputs, IDS).inputs.tolist() == TOKENS.tolist()
    assert prepare(TOKENS, IDS, labels=(LABELS,)).labels.tolist() == [1, 0]
    assert prepare(TOKENS, IDS, labels={"a": LABELS}).labels.tolist() == [1, 0]


def test_an_input_that_is_missing_names_the_nearest() -> None:
    assert refusal({"id": TOKENS, "photo": PIXELS}, IDS, PHOTO) == (
        "the model takes 2 inputs, ids, photo; the data have no 'ids'; did you mean 'id'?\n"
        "  received the inputs id, photo"
    )


@pytest.mark.parametrize(
    ("inputs", "wanted", "said"),
    [
        (TOKENS, (IDS, PHOTO), "the model takes 2 inputs, ids, photo; the data have 1\n"),
        ((TOKENS, PIXELS), (IDS,), "the model takes one input, ids; the data have 2\n"),
        (
            (TOKENS, PIXELS, METRES),
            (IDS, PHOTO),
            "the model takes 2 inputs, ids, photo; the data have 3\n",
        ),
    ],
)
def test_another_number_of_inputs_is_refused(
    inputs: Any, wanted: tuple[ModelInput, ...], said: str
) -> None:
    message = refusal(inputs, *wanted)
    assert message.startswith(said)
    assert message.endswith(
        "\n  give a dict of arrays by these names, or a tuple of arrays in this order; "
        "a single array or a list is one input"
    )


def test_what_is_wrong_with_one_of_several_inputs_names_it() -> None:
    assert refusal((TOKENS, METRES[:, :1]), IDS, PHOTO).startswith(
        "input 'photo': a sample has shape (1, 2, 1); the model takes (2, 2, 1)\n"
    )
    assert refusal((TOKENS + 0.5, PIXELS), IDS, PHOTO).startswith(
        "input 'ids': the model takes whole numbers, int32; received 1.5 in the data\n"
    )


@pytest.mark.parametrize(
    ("inputs", "labels", "sizes"),
    [
        ((TOKENS, PIXELS[:1]), LABELS, "2 and 1 inputs and 2 labels"),
        ((TOKENS, PIXELS), {"a": LABELS, "b": LABELS[:1]}, "2 and 2 inputs and 2 and 1 labels"),
        ({}, LABELS, "no inputs and 2 labels"),
    ],
)
def test_all_arrays_need_the_same_number_of_samples(inputs: Any, labels: Any, sizes: str) -> None:
    message = refusal(inputs, IDS, PHOTO, labels=labels)
    assert message.startswith(f"there are {sizes}; expected as many labels as inputs")


def test_classes_need_the_labels_of_one_output() -> None:
    with pytest.raises(DatasetError) as caught:
        class_labels({"a": LABELS, "b": LABELS})
    assert str(caught.value) == (
        "there are labels for 2 outputs, a, b; expected one class a sample"
    )


def write(path: Path, **arrays: Any) -> str:
    np.savez(path / "data.npz", **arrays)
    return str(path / "data.npz")


@pytest.mark.parametrize(("x", "y"), [("x", "y"), ("x_test", "y_test")])
def test_a_file_names_several_inputs_and_outputs(x: str, y: str, tmp_path: Path) -> None:
    arrays = {f"{x}_ids": TOKENS, f"{x}_photo": PIXELS, f"{y}_a": LABELS, f"{y}_b": METRES}
    train = {"x_train_ids": TOKENS[:1], "x_train_photo": PIXELS[:1], "y_train_a": LABELS[:1]}
    raw = datasets.load(write(tmp_path, **arrays, **train, y_train=LABELS[:1]), [IDS, PHOTO])
    assert isinstance(raw.inputs, dict)
    assert isinstance(raw.labels, dict)
    assert {key: value.tolist() for key, value in raw.inputs.items()} == {
        "ids": TOKENS.tolist(),
        "photo": PIXELS.tolist(),
    }
    assert {key: value.tolist() for key, value in raw.labels.items()} == {
        "a": LABELS.tolist(),
        "b": METRES.tolist(),
    }


def test_a_file_that_lacks_an_input_says_what_is_expected(tmp_path: Path) -> None:
    path = write(tmp_path, x_ids=TOKENS, x_phot=PIXELS, y=LABELS)
    with pytest.raises(DatasetError) as caught:
        datasets.load(path, [IDS, PHOTO])
    assert str(caught.value) == (
        f"{path}: it holds the arrays x_ids, x_phot, y; expected inputs and labels named x_test "
        "and y_test, or x and y; for each of the model's inputs one, x_ids, x_photo"
    )


def test_the_digest_of_one_input_is_that_of_its_array() -> None:
    one = prepare((TOKENS,), IDS)
    assert one.digest == Dataset(TOKENS.astype(np.int32), LABELS).digest


def test_the_digest_follows_every_input_and_their_order() -> None:
    first, second = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    digests = {
        Dataset((first, second), LABELS).digest,
        Dataset((second, first), LABELS).digest,
        Dataset((first, first), LABELS).digest,
        Dataset(first, LABELS).digest,
        Dataset(first, (second, LABELS)).digest,
    }
    # Those of two inputs and one label array, and one input and two, hold the same arrays.
    assert len(digests) == 4
    assert Dataset((first, second), LABELS).digest == Dataset(first, (second, LABELS)).digest


def test_arrays_leave_for_workers_without_being_copied() -> None:
    prepared = prepare((TOKENS, PIXELS), IDS, PHOTO)
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(prepared, protocol=5, buffer_callback=buffers.append)
    assert sum(buffer.raw().nbytes for buffer in buffers) == sum(
        array.nbytes for array in (*prepared.inputs, prepared.labels)
    )
    again = pickle.loads(stream, buffers=buffers)  # noqa: S301
    assert again.digest == prepared.digest
    assert all(map(np.shares_memory, again.inputs, prepared.inputs))


def test_what_a_model_takes_is_read_from_its_tensors() -> None:
    keras.utils.clear_session(free_memory=False)
    ids = keras.Input((3,), name="ids", dtype="int32")
    photo = keras.Input((None, None, 1), name="photo", dtype="bfloat16")
    taken = [ModelInput.of(tensor) for tensor in keras.Model([photo, ids], [ids]).inputs]
    assert [(one.name, one.shape, one.dtype.name) for one in taken] == [
        ("photo", (None, None, 1), "bfloat16"),
        ("ids", (3,), "int32"),
    ]
    unnamed = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    assert ModelInput.of(unnamed.inputs[0]).name == "input_layer"


def test_a_model_that_takes_text_is_refused() -> None:
    keras.utils.clear_session(free_memory=False)
    with pytest.raises(ModelError, match="the input 'text' takes string values; expected numbers"):
        ModelInput.of(keras.Input((1,), name="text", dtype="string"))
