"""Labels as judges take them: classes, flags, a class at each position, or values.

Each function takes the labels of a data set as they were loaded, one row a sample, and returns
them in one form, whatever of the accepted forms they had.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2.bits import LAYOUTS
from injecttf2.config.parameters import shown
from injecttf2.errors import DatasetError

Labels = npt.NDArray[Any]

DATA_HINT = "use the data set that the model was trained for"


def class_labels(labels: Labels) -> npt.NDArray[np.int64]:
    """Return labels as class indices; one-hot rows become the index of their largest entry.

    Args:
        labels: Whole numbers [samples] or [samples, 1], or one-hot [samples, classes].

    Returns:
        int64 [samples].

    Raises:
        DatasetError: They are not classes.
    """
    classes = labels
    if labels.dtype.kind in "biuf" and labels.ndim == 2 and labels.shape[1] > 1:
        classes = _from_one_hot(labels)
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
        label = labels[first].tolist()
        raise DatasetError(
            f"the label of sample {first} is {shown(label) if labels.ndim > 1 else label}; "
            "expected a class, a whole number from 0, or a one-hot row",
            hint="a model of values, such as an autoencoder, is judged by `judge: {type: "
            "regression, absolute: TOLERANCE}`, one of several yes and no by `judge: threshold`",
        )
    return classes.astype(np.int64)


def check_classes(labels: npt.NDArray[np.int64], classes: int) -> None:
    """Check that class labels are among a model's classes.

    Raises:
        DatasetError: One is not.
    """
    if labels.max() >= classes:
        sample = int(labels.argmax())
        raise DatasetError(
            f"the label of sample {sample} is {labels[sample]}; the model has the classes 0 to "
            f"{classes - 1}",
            hint=DATA_HINT,
        )


def flag_labels(labels: Labels, count: int) -> npt.NDArray[np.int64]:
    """Return labels that say of each of some properties whether a sample has it.

    Args:
        labels: 0 and 1 (also False and True) [samples, count]; [samples] where ``count`` is 1.
        count: How many properties there are.

    Returns:
        int64 [samples, count].

    Raises:
        DatasetError: They have another shape, or hold something else.
    """
    one = count == 1 and labels.ndim == 1
    if labels.dtype.kind not in "biuf" or not (one or labels.shape[1:] == (count,)):
        raise DatasetError(
            f"labels of shape {labels.shape} and dtype {labels.dtype} do not fit the model's "
            f"{count} outputs a sample; expected {(len(labels), count)} of 0 and 1",
            hint=DATA_HINT,
        )
    flags = labels.reshape(len(labels), count)
    good = ((flags == 0) | (flags == 1)).all(axis=1)
    if not good.all():
        first = int(good.argmin())
        raise DatasetError(
            f"the label of sample {first} is {labels[first].tolist()}; expected 0 or 1 for each "
            "of the model's outputs"
        )
    return flags.astype(np.int64)


def position_labels(
    labels: Labels, positions: tuple[int, ...], *, channels: int, ignore: int | None = None
) -> npt.NDArray[np.int64]:
    """Return labels that name a class at each position of a sample.

    Args:
        labels: Whole numbers [samples, *positions], with or without a last axis of 1; or one-hot
            [samples, *positions, channels].
        positions: Shape of the positions of one sample.
        channels: The model's channels at each position; one stands for the classes 0 and 1.
        ignore: A label of positions that do not count.

    Returns:
        int64 [samples, *positions].

    Raises:
        DatasetError: They have another shape, or hold something that is no class.
    """
    shape = labels.shape[1:]
    numbers = labels.dtype.kind in "biuf"
    if numbers and channels > 1 and shape == (*positions, channels) and shape != positions:
        classes = _from_one_hot(labels)
    elif numbers and shape in (positions, (*positions, 1)):
        classes = labels.reshape(len(labels), *positions)
    else:
        raise DatasetError(
            f"labels of shape {labels.shape} and dtype {labels.dtype} do not fit the model's "
            f"positions; expected whole numbers of shape {(len(labels), *positions)}, "
            "or one-hot along one more axis",
            hint=DATA_HINT,
        )
    largest = max(channels, 2) - 1
    good = (classes == np.floor(classes)) & (classes >= 0) & (classes <= largest)
    if ignore is not None:
        good |= classes == ignore
    if not good.all():
        sample, *position = (int(place) for place in np.argwhere(~good)[0])
        found = np.atleast_1d(labels[(sample, *position)])
        raise DatasetError(
            f"the label of sample {sample} at position {tuple(position)} is "
            f"{found[0] if found.size == 1 else found.tolist()}; the model has the classes 0 to "
            f"{largest}",
            hint="positions that do not count have a label of their own: ignore: NUMBER",
        )
    return classes.astype(np.int64)


def value_labels(labels: Labels, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return labels that are values to be met.

    Args:
        labels: Numbers [samples, *shape]; also [samples] or [samples, 1] where a sample has one.
        shape: The model's output of one sample.

    Returns:
        float64 [samples, *shape].

    Raises:
        DatasetError: They have another shape, or hold NaN or Inf.
    """
    numbers = labels.dtype.kind in "biuf" or labels.dtype.name in LAYOUTS
    single = math.prod(shape) == 1 and labels.shape[1:] in ((), (1,))
    if not numbers or not (single or labels.shape[1:] == shape):
        raise DatasetError(
            f"labels of shape {labels.shape} and dtype {labels.dtype} do not fit the model's "
            f"output; expected numbers of shape {(len(labels), *shape)}",
            hint="labels are the values to be met; those of an autoencoder are its inputs",
        )
    values: npt.NDArray[np.float64] = labels.astype(np.float64).reshape(len(labels), *shape)
    good = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if not good.all():
        raise DatasetError(
            f"{np.count_nonzero(~good)} of {len(values)} labels hold NaN or Inf, the first of them "
            f"that of sample {int(good.argmin())}",
            hint="leave these samples out",
        )
    return values


def _from_one_hot(labels: Labels) -> npt.NDArray[np.int64]:
    """Return the place of the largest entry along the last axis.

    It is -1 where there is not just one, and where the entries are no shares of one, as they are
    also where labels are smoothed.
    """
    largest = labels == labels.max(axis=-1, keepdims=True)
    shares = (labels.min(axis=-1) >= 0) & (labels.sum(axis=-1, dtype=np.float64) <= 1.001)
    one_hot = (largest.sum(axis=-1) == 1) & shares
    classes: npt.NDArray[np.int64] = np.where(one_hot, largest.argmax(axis=-1), -1)
    return classes
