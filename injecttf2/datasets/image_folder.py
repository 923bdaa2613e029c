"""Data in a folder of images, one subfolder a class, by the conventions of Keras."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from injecttf2.config.paths import on_disk
from injecttf2.config.spelling import nearest
from injecttf2.datasets.arrays import Raw
from injecttf2.datasets.model_input import ModelInput
from injecttf2.errors import DatasetError

Interpolation = Literal[
    "bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic"
]
INTERPOLATIONS: tuple[str, ...] = get_args(Interpolation)

COLOR_MODES = {1: "grayscale", 3: "rgb", 4: "rgba"}
"""Keras' name for images of so many channels."""

ENDINGS = "bmp, gif, jpeg, jpg or png"


@dataclass(frozen=True)
class Images:
    """How images of a folder are read; called as in ``keras.utils.image_dataset_from_directory``.

    Args:
        size: Height and width; None takes the model's.
        interpolation: How they are resized.
        crop_to_aspect_ratio: Whether to cut off what would otherwise be distorted.
        class_names: Subfolders in the order of the model's classes; None takes all of them in
            alphanumeric order.
    """

    size: tuple[int, int] | None = None
    interpolation: Interpolation = "bilinear"
    crop_to_aspect_ratio: bool = False
    class_names: tuple[str, ...] | None = None


def read(
    folder: Path, inputs: Sequence[ModelInput], images: Images, *, samples: int | None = None
) -> Raw:
    """Return the images of a folder, sorted by class and file name, and their classes.

    Args:
        folder: It has one subfolder for each class.
        inputs: What the model takes; one input of images.
        images: How they are read.
        samples: How many to read, evenly spread over all; None or more than there are reads all.

    Returns:
        Inputs float32 [samples, height, width, channels], or uint8 for a model of whole numbers,
        with values from 0 to 255; labels int64 [samples].

    Raises:
        DatasetError: The model takes no images, or the folder has no classes, a class without
            images, or a file that is no image.
    """
    if len(inputs) != 1:
        raise DatasetError(
            f"a folder of images is one input; the model takes {len(inputs)}",
            place=str(folder),
            hint="use a package.module:function that returns arrays for all of them",
        )
    (one,) = inputs
    options = _options(folder, one.shape, images)
    names = _class_names(folder, images.class_names)
    files = _files(folder, names, options)
    if images.class_names is None:
        _check_classes(folder, names, files)
    if samples is not None and 1 <= samples < len(files):
        files = [files[index * len(files) // samples] for index in range(samples)]
    values, labels = _read_files(folder, names, files, options)
    if len(one.shape) == 2:
        values = values[..., 0]
    if one.takes_whole_numbers:  # resizing gives values in between, and beyond at some edges
        values = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return Raw(values, labels, pixels=True)


def _options(folder: Path, shape: tuple[int | None, ...], images: Images) -> dict[str, Any]:
    """Return the arguments of Keras' function for a model that takes samples of ``shape``."""
    channels = 1 if len(shape) == 2 else shape[-1] if len(shape) == 3 else 0
    if channels not in COLOR_MODES:
        raise DatasetError(
            f"a folder of images was given, but the model takes {shape} a sample; "
            "expected height, width and 1, 3 or 4 channels",
            place=str(folder),
        )
    size = images.size or shape[:2]
    if None in size:
        raise DatasetError(
            f"the model takes images of any size, {shape}; images of a folder need one",
            place=str(folder),
            hint="add `size: [HEIGHT, WIDTH]` to the campaign file's `dataset:` mapping",
        )
    return {
        "image_size": size,
        "color_mode": COLOR_MODES[channels],
        "interpolation": images.interpolation,
        "crop_to_aspect_ratio": images.crop_to_aspect_ratio,
    }


def _class_names(folder: Path, given: tuple[str, ...] | None) -> list[str]:
    """Return the names of the classes, in order."""
    try:
        entries = sorted(path.name for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise DatasetError(
            f"the folder cannot be read: {error.strerror}", place=str(folder)
        ) from error
    subfolders = [name for name in entries if not name.startswith(".")]
    names = subfolders if given is None else [on_disk(folder / name).name for name in given]
    for name in names:
        if name not in subfolders:
            raise DatasetError(
                f"class_names: there is no subfolder {name!r}{nearest(name, subfolders)}",
                place=str(folder),
            )
    if len(set(names)) < len(names) or len(names) < 2:
        shown = ", ".join(repr(name) for name in names)
        received = f"received {shown}" if given else f"the subfolders are {shown or 'none'}"
        deeper = [
            name for name in names if any(path.is_dir() for path in (folder / name).iterdir())
        ]
        below = f", for example {folder / deeper[0]}" if deeper else ""
        raise DatasetError(
            f"{received}; expected a subfolder of images for each class, two at least",
            place=str(folder),
            hint=f"give the folder right above those of the classes{below}",
        )
    return names


def _files(folder: Path, names: Sequence[str], options: dict[str, Any]) -> list[str]:
    """Return the image files of the classes, in Keras' order."""
    try:
        return list(_dataset(folder, names, options).file_paths)
    except ValueError as error:
        raise DatasetError(f"Keras cannot read the folder: {error}", place=str(folder)) from error


def _check_classes(folder: Path, names: Sequence[str], files: Sequence[str]) -> None:
    """Refuse classes without images: each would count as one."""
    classes = {_class_of(file, folder) for file in files}
    if empty := [name for name in names if name not in classes]:
        raise DatasetError(
            f"there are no images in {', '.join(repr(name) for name in empty)}; "
            f"expected files ending in {ENDINGS}",
            place=str(folder),
            hint="remove the subfolders that are no classes, or name all classes in `class_names`",
        )


def _class_of(file: str, folder: Path) -> str:
    return Path(file).relative_to(folder).parts[0]


def _dataset(folder: Path, names: Sequence[str], options: dict[str, Any]) -> Any:
    """Return Keras' data set of the files, in order, nothing of which has been read yet."""
    import keras

    return keras.utils.image_dataset_from_directory(
        str(folder),
        class_names=list(names),
        batch_size=None,
        shuffle=False,
        seed=0,  # otherwise Keras draws one from NumPy's global generator
        data_format="channels_last",
        verbose=False,
        **options,
    )


def _read_files(
    folder: Path, names: Sequence[str], files: Sequence[str], options: dict[str, Any]
) -> tuple[Any, Any]:
    """Return the pixels and the classes of some files of a folder, in their order."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as links:
        # Keras reads whole folders; one of links holds the chosen files only.
        for name in names:
            (Path(links) / name).mkdir()
        for index, file in enumerate(files):
            link = Path(links) / _class_of(file, folder) / f"{index:09}{Path(file).suffix}"
            link.symlink_to(Path(file).absolute())
        dataset = _dataset(Path(links), names, options)
        values = np.empty((len(files), *dataset.element_spec[0].shape), np.float32)
        classes = np.empty(len(files), np.int64)
        count = 0
        try:
            for image, label in dataset.as_numpy_iterator():
                values[count], classes[count] = image, label
                count += 1
        except tf.errors.OpError as error:
            raise DatasetError(
                f"it cannot be read as an image: {_reason(error)}",
                place=files[count],
                hint="remove the file, or repair it",
            ) from error
    return values, classes


def _reason(error: Any) -> str:
    """Return what TensorFlow says of a file, without where in its pipeline it said so."""
    reason = re.split(r"iterator: \S+: ", str(error.message))[-1].splitlines()[0]
    return reason.rpartition("; ")[2]
