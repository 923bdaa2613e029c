"""Raw data: one array, or several by position or by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

Arrays = Array | tuple[Array, ...] | dict[str, Array]
"""One array, several in the order of the model's inputs or outputs, or several by their names."""


@dataclass(frozen=True, eq=False)
class Raw:
    """Data as they were found.

    Args:
        inputs: Each [samples, ...].
        labels: Each [samples, ...].
        pixels: The inputs are values of image files, 0 to 255, whatever their dtype.
    """

    inputs: Arrays
    labels: Arrays
    pixels: bool = False


def as_arrays(value: object) -> Arrays:
    """Return what a user's function gave as arrays.

    A mapping is several arrays by name and a tuple several in order; a list, or a tuple of single
    numbers, is one array.

    Raises:
        ValueError: NumPy can make no array of it.
    """
    if isinstance(value, Mapping):
        return {str(name): np.asarray(array) for name, array in value.items()}
    if isinstance(value, tuple) and any(np.ndim(part) for part in value):
        return tuple(np.asarray(part) for part in value)
    return np.asarray(value)


def parts(arrays: Arrays) -> tuple[Array, ...]:
    """Return the arrays one by one."""
    if isinstance(arrays, dict):
        return tuple(arrays.values())
    return arrays if isinstance(arrays, tuple) else (arrays,)


def rebuilt(like: Arrays, values: Iterable[Array]) -> Arrays:
    """Return the ``values``, in the order of :func:`parts`, in the form of ``like``."""
    values = tuple(values)
    if isinstance(like, dict):
        return dict(zip(like, values, strict=True))
    return values if isinstance(like, tuple) else values[0]


def mapped(function: Callable[[Array], Array], arrays: Arrays) -> Arrays:
    """Return what ``function`` makes of each array."""
    return rebuilt(arrays, map(function, parts(arrays)))
