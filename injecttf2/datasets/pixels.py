"""Whether the values of an input are pixels that the model takes scaled by 1/255."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from injecttf2.datasets.arrays import Array
from injecttf2.errors import DatasetError

COLOURS = (1, 3, 4)
"""Sizes of a last axis that is no axis of an image's plane: grey, RGB, RGBA."""

DARKEST = 127
"""Pixels of 8 bits have larger values than this one, or there is none in all of the data."""

SCALE_HINT = (
    "say it in the campaign file's `dataset:` mapping: `scale: 1` gives the values as they are, "
    "`scale: 1/255` as pixels from 0 to 1"
)


@dataclass(frozen=True)
class Beginning:
    """What a model does to values from 0 to 255 before its first weights.

    Args:
        rescales: Whether it brings them to a small range; None where that cannot be seen.
        how: It in words, for the user.
    """

    rescales: bool | None = False
    how: str = ""


def range_of(array: Array) -> tuple[float, float]:
    """Return the least and the largest value, whole numbers as such."""
    low, high = array.min(), array.max()
    return (int(low), int(high)) if array.dtype.kind in "biu" else (float(low), float(high))


def are_scaled(whole: Array, begins: Callable[[], Beginning], *, pixels: bool) -> tuple[bool, str]:
    """Return whether the values of an input are to be scaled by 1/255, and why not.

    Args:
        whole: All samples of the data set, however many are used: uint8, or what came from image
            files.
        begins: Returns what the model does to pixels.
        pixels: Whether they came from image files.

    Raises:
        DatasetError: It cannot be known.
    """
    low, high = range_of(whole)
    if not pixels and high <= 1:
        return False, "no value is above 1"
    plane = _plane(whole.shape[1:])
    if not pixels and plane < 2 and high <= DARKEST:
        return False, "they are no images"
    said = f"the inputs are {whole.dtype} {low:g} to {high:g}, {sizes(whole.shape[1:])} a sample"
    if not pixels and plane < 2:
        raise DatasetError(
            f"{said}: it cannot be told whether they are pixels in a row, which models mostly "
            "take scaled by 1/255",
            hint=SCALE_HINT,
        )
    beginning = begins()
    if beginning.rescales:
        return False, beginning.how
    if not pixels and high <= DARKEST:
        raise DatasetError(
            f"{said}: it cannot be told whether they are pixels, some of which would be brighter, "
            "or other numbers, such as levels or classes",
            hint=SCALE_HINT,
        )
    if beginning.rescales is None:
        raise DatasetError(
            f"{said}: it cannot be seen whether the model scales pixels by itself; {beginning.how}",
            hint=SCALE_HINT,
        )
    return True, ""


def sizes(shape: Sequence[int]) -> str:
    """Return a shape in words."""
    return " x ".join(map(str, shape)) or "one number"


def _plane(shape: Sequence[int]) -> int:
    """Return how many axes of a sample are those of an image's plane, or space."""
    axes = shape[:-1] if shape and shape[-1] in COLOURS else shape
    return sum(size > 1 for size in axes)
