"""Which values are scaled by 1/255, and what is told of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from injecttf2 import datasets
from injecttf2.datasets import Dataset, ModelInput, Preparation, Raw
from injecttf2.datasets.pixels import SCALE_HINT, Beginning
from injecttf2.errors import DatasetError

NOTHING = Beginning()
ITSELF = Beginning(True, "the model scales them itself")


def values(*shape: int, high: int = 255) -> Any:
    """Four samples whose values go from 0 to ``high``."""
    filled = np.zeros((4, *shape), np.uint8)
    filled[1:] = high
    return filled


def prepare(array: Any, begins: Beginning = NOTHING, pixels: bool = False, **how: Any) -> Dataset:
    one = ModelInput("image", array.shape[1:], begins=lambda _: begins)
    raw = Raw(array, np.zeros(len(array)), pixels=pixels)
    return datasets.prepare(raw, Preparation(**how), [one])


def refusal(array: Any, **how: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        prepare(array, **how)
    return str(caught.value)


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8), (8, 8, 3), (3, 8, 8), (2, 8, 8, 1)])
def test_images_are_scaled(shape: tuple[int, ...]) -> None:
    array = values(*shape)
    prepared = prepare(array)
    assert prepared.inputs.tobytes() == (array.astype("float32") * np.float32(1 / 255)).tobytes()
    assert prepared.told == (
        f"4 samples of {' x '.join(map(str, shape))}, uint8 0 to 255, scaled by 1/255: 0 to 1"
    )


@pytest.mark.parametrize("shape", [(8,), (8, 8, 1), (8, 8)])
@pytest.mark.parametrize("samples", [None, 1])
def test_zeros_and_ones_are_given_as_they_are(shape: tuple[int, ...], samples: Any) -> None:
    array = values(*shape, high=1)
    prepared = prepare(array, samples=samples)
    assert prepared.inputs.tolist() == array[:samples].tolist()
    assert prepared.told.endswith("uint8 0 to 1, as they are: no value is above 1")


@pytest.mark.parametrize("shape", [(8,), (8, 3), (8, 1), (1, 8, 1)])
def test_small_numbers_that_are_no_images_are_given_as_they_are(shape: tuple[int, ...]) -> None:
    array = values(*shape, high=100)
    prepared = prepare(array)
    assert prepared.inputs.tolist() == array.tolist()
    assert prepared.told.endswith("uint8 0 to 100, as they are: they are no images")


def test_images_are_given_as_they_are_to_a_model_that_scales_them() -> None:
    for array in (values(8, 8, 1), values(8, 8, 1, high=16)):
        prepared = prepare(array, ITSELF)
        assert prepared.inputs.tolist() == array.tolist()
        assert prepared.told.endswith(", as they are: the model scales them itself")


def test_what_cannot_be_known_is_asked_for() -> None:
    assert refusal(values(784)) == (
        "the inputs are uint8 0 to 255, 784 a sample: it cannot be told whether they are pixels in "
        f"a row, which models mostly take scaled by 1/255\n  {SCALE_HINT}"
    )
    assert refusal(values(9, 9, high=9)) == (
        "the inputs are uint8 0 to 9, 9 x 9 a sample: it cannot be told whether they are pixels, "
        f"some of which would be brighter, or other numbers, such as levels or classes\n  "
        f"{SCALE_HINT}"
    )
    for array in (values(784), values(9, 9, high=9)):
        assert prepare(array, scale=1.0).inputs.tolist() == array.tolist()
        assert prepare(array, scale=1 / 255).inputs.max() == np.float32(array.max()) * np.float32(
            1 / 255
        )


def test_the_decision_is_that_of_all_samples_however_few_are_used() -> None:
    array = values(8, 8, 1)
    first = prepare(array, samples=1)  # it is black
    assert first.told == "1 of 4 samples of 8 x 8 x 1, uint8 0 to 255, scaled by 1/255: 0 to 0"
    array[0] = 1
    assert prepare(array, samples=1).inputs.max() == np.float32(1 / 255)


def test_values_of_image_files_are_pixels_whatever_they_are() -> None:
    dark = values(8, 8, 1, high=9).astype(np.float32)
    assert prepare(dark, pixels=True).inputs.max() == np.float32(9) * np.float32(1 / 255)
    assert prepare(dark, ITSELF, pixels=True).inputs.max() == 9


@pytest.mark.parametrize("name", ["mean", "std"])
def test_a_mean_or_std_of_unscaled_pixels_needs_a_scale(name: str) -> None:
    array = values(8, 8, 3)
    assert refusal(array, **{name: [103.9, 116.8, 123.7]}) == (
        f"{name} is 123.7, but pixels are scaled by 1/255 before it, to 0 to 1\n"
        "  say `scale: 1` if it is that of pixels from 0 to 255; otherwise say `scale: 1/255`"
    )
    assert prepare(array, scale=1.0, mean=[103.0, 116.0, 123.0]).inputs[0, 0, 0].tolist() == [
        -103.0,
        -116.0,
        -123.0,
    ]


def test_all_that_is_done_is_told() -> None:
    assert prepare(values(8, 8, 1), scale=0.5, mean=0.25, std=2.0).told == (
        "4 samples of 8 x 8 x 1, uint8 0 to 255, scaled by 0.5, less the mean 0.25, over the std "
        "2: -0.125 to 63.62"
    )
    assert prepare(np.linspace(-1, 1, 4).reshape(4, 1)).told == (
        "4 samples of 1, float64 -1 to 1, as they are"
    )
    halved = prepare(values(2, high=8), preprocess=lambda given: given / 2)
    assert halved.told == "4 samples of 2, float64 0 to 4 after preprocess, as they are"


def test_each_of_several_inputs_is_told() -> None:
    inputs = [
        ModelInput("photo", (8, 8, 1)),
        ModelInput("input_layer", (2,), np.dtype("int32"), key="tokens"),
    ]
    raw = Raw({"tokens": values(2, high=200), "photo": values(8, 8, 1)}, np.zeros(4))
    assert datasets.prepare(raw, Preparation(samples=2), inputs).told == (
        "2 of 4 samples; photo: 8 x 8 x 1, uint8 0 to 255, scaled by 1/255: 0 to 1; "
        "tokens: 2, uint8 0 to 200, as they are"
    )
