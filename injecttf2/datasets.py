"""Loading labelled images and other arrays by reference, without pickle.

A reference is the name of a builtin data set, an ``.npz`` file, or ``package.module:function``,
a function that returns ``(inputs, labels)``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2.bits import LAYOUTS
from injecttf2.errors import DatasetError, UserError
from injecttf2.references import import_function, is_function
from injecttf2.suggest import nearest

Arrays = tuple[npt.NDArray[Any], npt.NDArray[Any]]

MNIST_HINT = (
    "give the path of a copy of mnist.npz in place of the name, "
    "or use the bundled data set `digits`, which needs no download"
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs and labels as the model takes them.

    Args:
        inputs: [samples, ...], in the model's input dtype.
        labels: int64 [samples], classes.
    """

    inputs: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def digest(self) -> str:
        """128-bit blake2b digest of dtypes, shapes and contents, hexadecimal."""
        digest = hashlib.blake2b(digest_size=16)
        for array in (self.inputs, self.labels):
            digest.update(f"{array.dtype.name}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Preparation:
    """How raw arrays become the model's inputs: ``(x * scale - mean) / std``.

    Args:
        samples: How many samples to keep, from the first; None keeps all.
        scale: Factor; None is 1/255 for uint8 data that the model takes as floating-point values,
            and 1 for any other.
        mean: Subtracted after scaling, one number or one a channel.
        std: Divided by after that, one number or one a channel.
    """

    samples: int | None = None
    scale: float | None = None
    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None


def load(reference: str, folder: Path | None = None) -> Arrays:
    """Return the raw inputs and labels that ``reference`` names.

    Args:
        reference: Builtin name, ``.npz`` file or ``package.module:function``.
        folder: Where a module is looked up before the Python path.

    Raises:
        DatasetError: It cannot be found, read or downloaded.
    """
    if reference in BUILTIN:
        return BUILTIN[reference]()
    if is_function(reference):
        return _from_function(reference, folder)
    path = Path(reference)
    if path.suffix == ".npz":
        return _from_npz(path)
    raise DatasetError(
        f"unknown data set {reference!r}{nearest(reference, BUILTIN)}",
        hint=f"expected one of {', '.join(BUILTIN)}, an .npz file, or package.module:function",
    )


def prepare(
    arrays: Arrays, how: Preparation, *, shape: Sequence[int | None], dtype: npt.DTypeLike
) -> Dataset:
    """Return the arrays as the model takes them.

    Args:
        arrays: Raw inputs and labels, as returned by :func:`load`.
        how: Scaling and selection.
        shape: The model's input shape for one sample; None stands for any size.
        dtype: The model's input dtype.

    Raises:
        DatasetError: The inputs do not fit the shape, or labels are missing or do not fit.
    """
    inputs, labels = (np.atleast_1d(array) for array in arrays)
    if len(inputs) != len(labels) or len(inputs) == 0:
        raise DatasetError(
            f"there are {len(inputs)} inputs and {len(labels)} labels; "
            "expected as many labels as inputs, and at least one"
        )
    if how.samples is not None and not 1 <= how.samples <= len(inputs):
        raise DatasetError(f"samples: {how.samples} asked for; the data set has {len(inputs)}")
    if inputs.dtype.kind not in "biuf" and inputs.dtype.name not in LAYOUTS:
        raise DatasetError(f"the inputs have dtype {inputs.dtype}; expected numbers")
    classes = _class_labels(labels)[: how.samples]
    inputs = _fit(inputs[: how.samples], shape)
    if how.scale is None and inputs.dtype == np.uint8 and np.dtype(dtype).kind not in "biu":
        how = replace(how, scale=1 / 255)
    inputs = _cast(_scaled(inputs, how), np.dtype(dtype))
    return Dataset(np.ascontiguousarray(inputs), classes)


def _cast(inputs: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the inputs in the model's dtype; whole numbers must stay what they are."""
    with np.errstate(invalid="ignore"):  # NaN and Inf are no whole numbers; refused below
        cast = inputs.astype(dtype, copy=False)
    if dtype.kind in "biu" and not (same := cast == inputs).all():
        first = inputs[~same][0]
        raise DatasetError(
            f"the model takes whole numbers, {dtype.name}; received {first} in the data",
            hint="give inputs of that dtype, for example token ids, and no scale, mean or std",
        )
    return cast


def _scaled(inputs: npt.NDArray[Any], how: Preparation) -> npt.NDArray[Any]:
    """Apply scale, mean and std in float32, or in float64 for float64 data."""
    scale = how.scale
    if scale is None and how.mean is None and how.std is None:
        return inputs
    work = np.float64 if inputs.dtype == np.float64 else np.float32
    scaled: npt.NDArray[Any] = inputs.astype(work)
    if scale is not None:
        scaled = scaled * work(scale)
    if how.mean is not None:
        scaled = scaled - _per_channel("mean", how.mean, scaled)
    if how.std is not None:
        scaled = scaled / _per_channel("std", how.std, scaled)
    return scaled


def _per_channel(
    name: str, numbers: float | Sequence[float], inputs: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Return one number, or one for each channel, in the dtype of the inputs."""
    array = np.asarray(numbers, inputs.dtype)
    if array.shape not in ((), (1,), inputs.shape[1:][-1:]):
        raise DatasetError(
            f"{name} has {array.size} numbers; the data have {inputs.shape[-1]} channels",
            hint="give one number, or one for each channel",
        )
    return array


def _fit(inputs: npt.NDArray[Any], shape: Sequence[int | None]) -> npt.NDArray[Any]:
    """Add a channel axis where the model wants one, then check the shape."""
    if inputs.ndim == len(shape) and shape[-1] == 1:
        inputs = inputs[..., np.newaxis]
    fits = inputs.ndim == len(shape) + 1 and all(
        wanted in (None, size) for size, wanted in zip(inputs.shape[1:], shape, strict=True)
    )
    if not fits:
        raise DatasetError(
            f"a sample has shape {inputs.shape[1:]}; the model takes {tuple(shape)}",
            hint="use data of that shape, or a package.module:function that returns it",
        )
    return inputs


def _class_labels(labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return labels as class indices; one-hot rows become the index of their largest entry."""
    classes = labels
    if labels.dtype.kind in "biuf" and labels.ndim == 2 and labels.shape[1] > 1:
        largest = labels == labels.max(axis=1, keepdims=True)
        classes = np.where(largest.sum(axis=1) == 1, largest.argmax(axis=1), -1)
    classes = classes.reshape(len(classes), -1)
    if classes.dtype.kind not in "biuf" or classes.shape[1] != 1:
        raise DatasetError(
            f"labels of shape {labels.shape} and dtype {labels.dtype} are not classes; "
            "expected one whole number a sample, or one-hot rows"
        )
    classes = classes[:, 0]
    good = (classes == np.floor(classes)) & (classes >= 0) & (classes < 2**31)
    if not good.all():
        first = int(good.argmin())
        raise DatasetError(
            f"the label of sample {first} is {labels[first].tolist()}; "
            "expected a class, a whole number from 0, or a one-hot row"
        )
    return classes.astype(np.int64)


def _from_npz(path: Path) -> Arrays:
    try:
        # numpy.load would take other formats too, and leaves a broken file open.
        with path.open("rb") as stream, np.lib.npyio.NpzFile(stream, allow_pickle=False) as file:
            for names in (("x_test", "y_test"), ("x", "y")):
                if set(names) <= set(file.files):
                    return file[names[0]], file[names[1]]
            raise DatasetError(
                f"it holds the arrays {', '.join(file.files) or '(none)'}; "
                "expected inputs and labels named x_test and y_test, or x and y",
                place=str(path),
            )
    except FileNotFoundError:
        raise DatasetError("there is no such data file", place=str(path)) from None
    except DatasetError:
        raise
    except Exception as error:
        raise DatasetError(
            f"it cannot be read as .npz: {error}",
            place=str(path),
            hint="write it with numpy.savez(path, x=inputs, y=labels); pickled objects are refused",
        ) from error


def _from_function(reference: str, folder: Path | None) -> Arrays:
    function = import_function(reference, folder, DatasetError)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to the command
            result = function()
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise DatasetError(
            f"the function raised {type(error).__name__}: {error}", place=reference
        ) from error
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise DatasetError(
            f"the function returned {type(result).__name__}; expected (inputs, labels)",
            place=reference,
        )
    try:
        return np.asarray(result[0]), np.asarray(result[1])
    except ValueError as error:
        raise DatasetError(
            f"the function returned something else than two arrays, (inputs, labels): {error}",
            place=reference,
        ) from error


def load_keras(name: str) -> tuple[Arrays, Arrays]:
    """Return the training and the test part of one of Keras' data sets, downloaded once.

    Raises:
        DatasetError: It is not in Keras' cache and cannot be downloaded.
    """
    import keras

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # Keras draws a progress bar there
            train, test = getattr(keras.datasets, name).load_data()
    except Exception as error:
        hint = MNIST_HINT if name == "mnist" else "give an .npz file with x_test and y_test instead"
        raise DatasetError(
            f"the data set {name!r} is not in Keras' cache and cannot be downloaded", hint=hint
        ) from error
    return train, test


def _digits() -> Arrays:
    from injecttf2.digits import test_data

    return test_data()


BUILTIN: dict[str, Callable[[], Arrays]] = {
    "digits": _digits,
    "mnist": lambda: load_keras("mnist")[1],
    "fashion_mnist": lambda: load_keras("fashion_mnist")[1],
    "cifar10": lambda: load_keras("cifar10")[1],
    "cifar100": lambda: load_keras("cifar100")[1],
}
"""Data sets by name; all but ``digits`` are Keras' own and are downloaded once."""
