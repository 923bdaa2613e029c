"""Folders of images: what is read, in which order, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from injecttf2 import datasets
from injecttf2.datasets import Images, ModelInput, Preparation, Raw
from injecttf2.errors import DatasetError

RGB = ModelInput("image", (4, 6, 3))
GREY = ModelInput("image", (4, 6, 1))


def write(file: Path, pixels: Any) -> None:
    """Write an image file; the suffix tells the format."""
    file.parent.mkdir(parents=True, exist_ok=True)
    encode = tf.io.encode_jpeg if file.suffix in (".jpg", ".JPEG") else tf.io.encode_png
    file.write_bytes(encode(np.asarray(pixels, np.uint8)).numpy())


def plain(value: int, *, channels: int = 3, size: tuple[int, int] = (4, 6)) -> Any:
    """An image of one colour, whose values say which image it is."""
    return np.full((*size, channels), value, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes, of 2, 1 and 3 images."""
    values = {"cat": [10, 11], "ant": [20], "dog": [30, 31, 32]}
    for name, images in values.items():
        for index, value in enumerate(images):
            write(tmp_path / "images" / name / f"{index}.png", plain(value))
    return tmp_path / "images"


def read(folder: Path, one: ModelInput = RGB, *, samples: int | None = None, **how: Any) -> Raw:
    return datasets.load(str(folder), [one], samples=samples, images=Images(**how))


def first_values(raw: Raw) -> list[float]:
    assert isinstance(raw.inputs, np.ndarray)
    return [float(image.flat[0]) for image in raw.inputs]


def labels(raw: Raw) -> list[int]:
    assert isinstance(raw.labels, np.ndarray)
    return [int(label) for label in raw.labels]


def refusal(folder: Path, one: ModelInput = RGB, **how: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        read(folder, one, **how)
    return str(caught.value)


def test_images_come_by_class_and_file_name_and_classes_by_name(folder: Path) -> None:
    raw = read(folder)
    assert first_values(raw) == [20, 10, 11, 30, 31, 32]
    assert labels(raw) == [0, 1, 1, 2, 2, 2]
    assert isinstance(raw.inputs, np.ndarray)
    assert (raw.inputs.shape, raw.inputs.dtype.name) == ((6, 4, 6, 3), "float32")


def test_names_are_sorted_as_text(tmp_path: Path) -> None:
    for value, name in enumerate(["2", "10", "1"]):
        write(tmp_path / name / "9.png", plain(value))
        write(tmp_path / name / "10.png", plain(100 + value))
    raw = read(tmp_path)
    assert first_values(raw) == [102, 2, 101, 1, 100, 0]
    assert labels(raw) == [0, 0, 1, 1, 2, 2]


def test_class_names_choose_the_classes_and_their_order(folder: Path) -> None:
    raw = read(folder, class_names=("dog", "ant"))
    assert first_values(raw) == [30, 31, 32, 20]
    assert labels(raw) == [0, 0, 0, 1]


def test_other_files_and_hidden_folders_are_passed_over_and_deeper_folders_are_not(
    folder: Path,
) -> None:
    (folder / "labels.csv").write_text("")
    (folder / "cat" / "notes.txt").write_text("")
    write(folder / ".cache" / "0.png", plain(99))
    write(folder / "ant" / "more" / "0.JPEG", plain(200))
    raw = read(folder)
    assert first_values(raw) == [20, 200, 10, 11, 30, 31, 32]
    assert labels(raw) == [0, 0, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("one", [RGB, GREY])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"interpolation": "nearest"},
        {"interpolation": "bicubic", "size": (5, 3)},
        {"crop_to_aspect_ratio": True},
        {"crop_to_aspect_ratio": True, "interpolation": "lanczos3"},
    ],
)
def test_images_of_any_size_and_colour_are_what_keras_makes_of_them(
    one: ModelInput, how: dict[str, Any], tmp_path: Path
) -> None:
    generator = np.random.default_rng(1)
    shapes = {"a/0.png": (9, 7, 3), "a/1.jpg": (8, 16, 3), "b/0.png": (2, 3, 1)}
    for name, shape in shapes.items():
        write(tmp_path / name, generator.integers(256, size=shape))
    options = {key: value for key, value in how.items() if key != "size"}
    expected = keras.utils.image_dataset_from_directory(
        str(tmp_path),
        color_mode="rgb" if one is RGB else "grayscale",
        image_size=how.get("size", (4, 6)),
        batch_size=None,
        shuffle=False,
        verbose=False,
        **options,
    )
    images, classes = zip(*expected.as_numpy_iterator(), strict=True)
    raw = read(tmp_path, one, **how)
    assert isinstance(raw.inputs, np.ndarray)
    assert raw.inputs.tobytes() == np.stack(images).astype(np.float32).tobytes()
    assert labels(raw) == list(classes) == [0, 0, 1]


def test_a_model_of_four_channels_gets_the_transparency_too(tmp_path: Path) -> None:
    pixels = np.arange(96).reshape(4, 6, 4)
    for name in "ab":
        write(tmp_path / name / "0.png", pixels)
    raw = read(tmp_path, ModelInput("image", (4, 6, 4)))
    assert isinstance(raw.inputs, np.ndarray)
    assert raw.inputs.tolist() == [pixels.tolist()] * 2


def test_samples_are_spread_over_the_sorted_files(folder: Path) -> None:
    assert first_values(read(folder, samples=3)) == [20, 11, 31]
    assert labels(read(folder, samples=3)) == [0, 1, 2]
    assert first_values(read(folder, samples=1)) == [20]
    assert first_values(read(folder, samples=6)) == first_values(read(folder))
    assert first_values(read(folder, samples=4, class_names=("dog", "cat"))) == [30, 31, 32, 10]
    assert labels(read(folder, samples=4, class_names=("dog", "cat"))) == [0, 0, 0, 1]


def test_only_the_files_of_the_samples_are_read(folder: Path) -> None:
    (folder / "cat" / "0.png").write_bytes(b"broken")
    assert first_values(read(folder, samples=3)) == [20, 11, 31]


def test_values_from_0_to_255_are_scaled_as_those_of_uint8_images(folder: Path) -> None:
    prepared = datasets.prepare(read(folder), Preparation(), [RGB])
    expected = np.asarray([20, 10, 11, 30, 31, 32], np.float32) * np.float32(1 / 255)
    assert prepared.inputs[:, 0, 0, 0].tolist() == expected.tolist()
    unscaled = datasets.prepare(read(folder), Preparation(scale=1.0), [RGB])
    assert unscaled.inputs[:, 0, 0, 0].tolist() == [20, 10, 11, 30, 31, 32]


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_a_model_of_whole_numbers_gets_whole_numbers(dtype: str, tmp_path: Path) -> None:
    for name in "ab":
        edge = np.repeat([[[0]], [[255]]], 9, axis=1).repeat(4, axis=0)
        write(tmp_path / name / "0.png", edge)
    one = ModelInput("image", (4, 6, 1), np.dtype(dtype))
    raw = read(tmp_path, one, interpolation="lanczos3")
    prepared = datasets.prepare(raw, Preparation(), [one])
    assert prepared.inputs.dtype == np.dtype(dtype)
    assert (prepared.inputs.min(), prepared.inputs.max()) == (0, 255)


def test_a_model_without_a_channel_axis_gets_grey_images(folder: Path) -> None:
    raw = read(folder, ModelInput("image", (4, 6)))
    assert isinstance(raw.inputs, np.ndarray)
    assert raw.inputs.shape == (6, 4, 6)
    assert first_values(raw) == [20, 10, 11, 30, 31, 32]


def test_a_model_of_any_size_needs_a_size(folder: Path) -> None:
    any_size = ModelInput("image", (None, None, 3))
    assert refusal(folder, any_size) == (
        f"{folder}: the model takes images of any size, (None, None, 3); images of a folder need "
        "one\n  add `size: [HEIGHT, WIDTH]` to the campaign file's `dataset:` mapping"
    )
    raw = read(folder, any_size, size=(2, 5))
    assert isinstance(raw.inputs, np.ndarray)
    assert raw.inputs.shape == (6, 2, 5, 3)
    prepared = datasets.prepare(raw, Preparation(scale=1.0), [any_size])
    assert prepared.inputs.shape == (6, 2, 5, 3)


def test_reading_prints_nothing_and_leaves_numpys_generator_alone(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    read(folder)
    assert np.random.random() == expected  # noqa: NPY002
    assert capfd.readouterr().out == ""


def test_files_may_be_links_and_the_folder_relative(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "elsewhere.png", plain(77))
    (folder / "ant" / "1.png").symlink_to(tmp_path / "elsewhere.png")
    monkeypatch.chdir(tmp_path)
    assert first_values(read(Path("images"))) == [20, 77, 10, 11, 30, 31, 32]


def whole_png() -> bytes:
    return bytes(tf.io.encode_png(plain(1)).numpy())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Input is empty."),
        (b"this is text", "Unknown image file format."),
        (whole_png()[:-20], "Invalid PNG data, size"),
    ],
)
@pytest.mark.parametrize("samples", [None, 2])
def test_a_file_that_is_no_image_is_named(
    content: bytes, reason: str, samples: int | None, folder: Path
) -> None:
    broken = folder / "dog" / "0.png"
    broken.write_bytes(content)
    message = refusal(folder, samples=samples)
    assert message.startswith(f"{broken}: it cannot be read as an image: {reason}")
    assert message.endswith("\n  remove the file, or repair it")


def test_a_link_to_nowhere_is_named(folder: Path) -> None:
    broken = folder / "cat" / "1.png"
    broken.unlink()
    broken.symlink_to(folder / "nowhere")
    assert refusal(folder) == (
        f"{broken}: it cannot be read as an image: No such file or directory\n"
        "  remove the file, or repair it"
    )


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == (
        f"{tmp_path / 'none'}: there is no such file or folder\n"
        "  expected an .npz file, a folder of images, or package.module:function"
    )


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("")
    assert refusal(tmp_path / "data.csv").startswith(
        f"{tmp_path / 'data.csv'}: this is no data set\n"
    )


def test_images_without_subfolders_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "0.png", plain(1))
    assert refusal(tmp_path) == (
        f"{tmp_path}: the subfolders are none; expected a subfolder of images for each class, two "
        "at least\n  give the folder right above those of the classes"
    )


def test_one_class_is_refused_and_a_level_further_down_suggested(folder: Path) -> None:
    assert refusal(folder.parent) == (
        f"{folder.parent}: the subfolders are 'images'; expected a subfolder of images for each "
        "class, two at least\n"
        f"  give the folder right above those of the classes, for example {folder}"
    )


def test_nothing_is_suggested_where_no_level_is_further_down(folder: Path) -> None:
    assert refusal(folder, class_names=("cat",)) == (
        f"{folder}: received 'cat'; expected a subfolder of images for each class, two at least\n"
        "  give the folder right above those of the classes"
    )


def test_classes_without_images_are_refused_unless_they_are_named(folder: Path) -> None:
    (folder / "bee").mkdir()
    (folder / "emu").mkdir()
    (folder / "emu" / "0.tiff").write_bytes(b"")
    assert refusal(folder) == (
        f"{folder}: there are no images in 'bee', 'emu'; expected files ending in bmp, gif, jpeg, "
        "jpg or png\n  remove the subfolders that are no classes, or name all classes in "
        "`class_names`"
    )
    assert labels(read(folder, class_names=("bee", "ant", "cat"))) == [1, 2, 2]


def test_a_folder_without_any_image_is_refused(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    said = f"{tmp_path}: Keras cannot read the folder: No images found in directory {tmp_path}. "
    assert refusal(tmp_path).startswith(said)
    assert refusal(tmp_path, class_names=("a", "b")).startswith(said)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("cat", "dgo"), "class_names: there is no subfolder 'dgo'; did you mean 'dog'?"),
        (("cat", ".cache"), "class_names: there is no subfolder '.cache'"),
        (("cat", "cat"), "received 'cat', 'cat'; expected a subfolder of images for each"),
        (("cat",), "received 'cat'; expected a subfolder of images for each class, two at"),
    ],
)
def test_wrong_class_names_are_refused(names: tuple[str, ...], said: str, folder: Path) -> None:
    assert refusal(folder, class_names=names).startswith(f"{folder}: {said}")


@pytest.mark.parametrize("shape", [(12,), (4, 6, 2), (4, 6, None), (2, 4, 6, 3), ()])
def test_a_model_that_takes_no_images_is_refused(
    shape: tuple[int | None, ...], folder: Path
) -> None:
    assert refusal(folder, ModelInput("x", shape)) == (
        f"{folder}: a folder of images was given, but the model takes {shape} a sample; "
        "expected height, width and 1, 3 or 4 channels"
    )


def test_a_model_with_several_inputs_is_refused(folder: Path) -> None:
    with pytest.raises(DatasetError, match="a folder of images is one input; the model takes 2"):
        datasets.load(str(folder), [RGB, GREY])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_refused(folder: Path) -> None:
    folder.chmod(0)
    try:
        assert "the folder cannot be read: Permission denied" in refusal(folder)
    finally:
        folder.chmod(0o700)
