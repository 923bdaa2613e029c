"""Preprocessing: a user's function, or that of a family of Keras' models."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from injecttf2 import datasets
from injecttf2.datasets import Dataset, ModelInput, Preparation, Raw, preprocessing
from injecttf2.errors import DatasetError

ONE = ModelInput("image", (2, 2, 3))
PIXELS = np.arange(36, dtype=np.uint8).reshape(3, 2, 2, 3)
LABELS = np.asarray([2, 1, 0])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module of functions that make inputs of raw values."""
    (tmp_path / "make_of_mine.py").write_text(
        """
import numpy as np
import tensorflow as tf

def negative(x): return -x.astype("float32")
def in_place(x):
    x += 100
    return x
def tensors(x): return tf.cast(x, tf.float32) + 1
def two(x): return {"image": x * 1.0, "sums": x.sum(axis=(1, 2, 3))}
def wide_tokens(x): return x.astype("int64") + 2**24
def printing(x):
    print("at work")
    return x
def shorter(x): return x[:1]
def nothing(x): pass
def raises(x): raise KeyError("mean")
def leaves(x): raise SystemExit(3)
"""
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("make_of_mine", None)


def prepare(reference: str, folder: Path, *wanted: ModelInput, **how: Any) -> Dataset:
    preprocess = preprocessing(reference, folder)
    raw = Raw(PIXELS, LABELS)
    return datasets.prepare(raw, Preparation(preprocess=preprocess, **how), wanted or [ONE])


def refusal(reference: str, folder: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        prepare(reference, folder)
    return str(caught.value)


def test_a_function_makes_the_inputs_of_the_raw_values_without_a_scale(folder: Path) -> None:
    prepared = prepare("make_of_mine:negative", folder)
    assert prepared.inputs.dtype == np.float32
    assert prepared.inputs.tolist() == (-PIXELS.astype(float)).tolist()


def test_uint8_values_that_a_function_returns_are_not_scaled(folder: Path) -> None:
    assert prepare("make_of_mine:printing", folder).inputs.tolist() == PIXELS.tolist()


def test_scale_mean_and_std_come_after_it(folder: Path) -> None:
    prepared = prepare("make_of_mine:negative", folder, scale=2.0, mean=1.0, std=4.0)
    assert prepared.inputs.tolist() == ((PIXELS * -2.0 - 1) / 4).tolist()


def test_it_gets_the_samples_that_are_kept_at_once(folder: Path) -> None:
    sums = prepare("make_of_mine:two", folder, ONE, ModelInput("sums", ()), samples=2).inputs[1]
    assert sums.tolist() == [66.0, 210.0]


def test_it_may_make_several_inputs_of_one(folder: Path) -> None:
    image, sums = prepare("make_of_mine:two", folder, ONE, ModelInput("sums", (), SHORT)).inputs
    assert image.tolist() == PIXELS.tolist()
    assert (sums.dtype.name, sums.tolist()) == ("int16", [66, 210, 354])


SHORT = np.dtype("int16")


def test_it_may_return_tensors(folder: Path) -> None:
    assert prepare("make_of_mine:tensors", folder).inputs.tolist() == (PIXELS + 1.0).tolist()


def test_it_may_work_in_place_on_what_it_gets(folder: Path) -> None:
    for _ in range(2):
        assert prepare("make_of_mine:in_place", folder).inputs.tolist() == (PIXELS + 100).tolist()
    assert PIXELS[0, 0, 0, 0] == 0


def test_whole_numbers_stay_exact(folder: Path) -> None:
    tokens = ModelInput("image", (2, 2, 3), np.dtype("int32"))
    made = prepare("make_of_mine:wide_tokens", folder, tokens).inputs
    assert made.tolist() == (PIXELS.astype(int) + 2**24).tolist()


def test_what_it_prints_stays_off_the_standard_output(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare("make_of_mine:printing", folder)
    assert capsys.readouterr() == ("", "at work\n")


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("ResNet50", keras.applications.resnet50),
        ("ResNet50V2", keras.applications.resnet_v2),
        ("VGG16", keras.applications.vgg16),
        ("DenseNet121", keras.applications.densenet),
        ("MobileNetV3Small", keras.applications.mobilenet_v3),
        ("EfficientNetB0", keras.applications.efficientnet),
    ],
)
def test_a_keras_model_has_the_preprocessing_of_its_family(
    name: str, family: Any, folder: Path
) -> None:
    expected = family.preprocess_input(PIXELS.astype(np.float32))
    prepared = prepare(f"keras.applications:{name}", folder)
    assert prepared.inputs.dtype == np.float32
    assert prepared.inputs.tobytes() == np.asarray(expected).tobytes()


def test_resnet50_takes_bgr_without_the_mean_colour(folder: Path) -> None:
    (pixel, *_), *_ = prepare("keras.applications:ResNet50", folder).inputs[0].tolist()
    assert pixel == pytest.approx([2 - 103.939, 1 - 116.779, 0 - 123.68])


def test_every_keras_model_has_one() -> None:
    names = [name for name in dir(keras.applications) if name[0].isupper()]
    assert len(names) > 30
    for name in names:
        assert callable(preprocessing(f"keras.applications:{name}"))


def test_keras_preprocesses_one_input(folder: Path) -> None:
    preprocess = preprocessing("keras.applications:ResNet50")
    raw = Raw((PIXELS, PIXELS), LABELS)
    with pytest.raises(DatasetError) as caught:
        datasets.prepare(raw, Preparation(preprocess=preprocess), [ONE, ONE])
    assert str(caught.value) == (
        "keras.applications:ResNet50: there are 2 inputs; keras.applications preprocesses one of "
        "images\n  write a package.module:function that preprocesses what needs it"
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "preprocess returned nothing; expected the inputs"),
        ("raises", "preprocess raised KeyError: 'mean'"),
        ("leaves", "preprocess raised SystemExit: 3"),
        ("missing", "the module 'make_of_mine' has no function 'missing'"),
    ],
)
def test_a_function_that_makes_no_inputs_is_refused(
    function: str, message: str, folder: Path
) -> None:
    reference = f"make_of_mine:{function}"
    assert refusal(reference, folder) == f"{reference}: {message}"


def test_another_number_of_samples_is_refused(folder: Path) -> None:
    assert refusal("make_of_mine:shorter", folder) == (
        "preprocess returned 1 samples; expected 3, as many as it gets\n"
        "  it gets all samples at once, along the first axis, and returns them so"
    )


def test_a_wrong_name_is_refused(folder: Path) -> None:
    assert refusal("keras.applications:ResNet5", folder).startswith(
        "keras.applications:ResNet5: keras.applications has no model 'ResNet5'; did you mean "
        "'ResNet50'"
    )
    assert refusal("resnet50", folder) == (
        "preprocess: received 'resnet50'; "
        "expected package.module:function or keras.applications:NAME"
    )
