"""Whether samples have the shape that a model takes, and what to do where they have another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from injecttf2.datasets.arrays import Array
from injecttf2.errors import DatasetError

Shape = tuple[int | None, ...]

SEVERAL_SIZES = (
    "resize images; fill sequences up to one length, with the value that the model masks: "
    "keras.utils.pad_sequences, or padded_batch with padded_shapes of a tf.data.Dataset"
)


def fitted(inputs: Array, shape: Sequence[int | None]) -> Array:
    """Return inputs of the shape that a model takes, with a channel axis where it wants one.

    Args:
        inputs: [samples, ...].
        shape: Shape of one sample; None stands for any size.

    Raises:
        DatasetError: They have another shape; the message says what gives them the model's.
    """
    if inputs.ndim == len(shape) and shape[-1] == 1:
        inputs = inputs[..., np.newaxis]
    found, wanted = inputs.shape[1:], tuple(shape)
    if not _fits(found, wanted):
        takes = f"{wanted}, where None is any size" if None in wanted else f"{wanted}"
        raise DatasetError(
            f"a sample has shape {found}; the model takes {takes}", hint=_what_to_do(found, wanted)
        )
    return inputs


def _fits(found: Shape, wanted: Shape) -> bool:
    return len(found) == len(wanted) and all(
        size in (None, one) for one, size in zip(found, wanted, strict=True)
    )


def _what_to_do(found: tuple[int, ...], wanted: Shape) -> str:
    """Return what makes the shape of a sample the model's, in NumPy's words where that is known."""
    if len(found) == len(wanted) > 1 and _fits((*found[1:], found[0]), wanted):
        return "their channels come first, the model's last: numpy.moveaxis(x, 1, -1)"
    if len(found) > 2 and _fits(found[:-1], wanted[:-1]):
        if (found[-1], wanted[-1]) == (3, 1):
            grey = "x.mean(axis=-1, keepdims=True).astype(x.dtype)"
            return f"they have colours, the model takes grey: {grey}"
        if (found[-1], wanted[-1]) == (1, 3):
            return "they are grey, the model takes colours: x.repeat(3, axis=-1)"
    if 0 < len(found) == len(wanted) - 1 and _fits(found, wanted[1:]):
        several = _reshaped(("LENGTH" if wanted[0] is None else wanted[0], *found))
        return f"a sample of the model's is several of these, in an order: {several}"
    if None not in wanted and math.prod(found) == math.prod(size or 0 for size in wanted):
        return f"they have as many values: {_reshaped(wanted)}, if these are in that order"
    if len(found) == len(wanted) == 3 and found[-1] == wanted[-1]:
        return (
            f"keras.ops.image.resize(x, {wanted[:2]}) makes images of that size, no longer of "
            "whole numbers: say `scale` for them; those in a folder are resized by themselves"
        )
    return "use data of that shape, or a package.module:function that returns it"


def _reshaped(shape: Sequence[object]) -> str:
    return f"x.reshape(-1, {', '.join(map(str, shape))})"
