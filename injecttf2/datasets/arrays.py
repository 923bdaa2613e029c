"""Raw data: one array, or several by position or by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2.datasets.conversion import as_array

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
        DatasetError: A frame holds missing values, or something else than numbers.
        ValueError: NumPy can make no array of it.
    """
    if isinstance(value, tuple) and not _are_several(value):
        return np.asarray(value)
    return mapped(as_array, flat(value, is_several=_are_several))


def _are_several(parts: tuple[Any, ...]) -> bool:
    return any(isinstance(part, Mapping | tuple) or np.ndim(part) > 0 for part in parts)


def flat(value: Any, *, is_several: Callable[[tuple[Any, ...]], bool] = lambda _: True) -> Any:
    """Return values without nesting: one alone as it is, several as a tuple or a dict by name.

    Args:
        value: One, or several in mappings and tuples, also one in another.
        is_several: Whether a tuple is several values, and not one.

    Returns:
        What is inside others has the path as its name, such as ``images/left``.
    """
    leaves = list(_leaves(value, (), is_several))
    if [path for path, _ in leaves] == [()]:
        return value
    if isinstance(value, tuple) and all(len(path) == 1 for path, _ in leaves):
        return tuple(value)
    return {"/".join(path): leaf for path, leaf in leaves}


def _leaves(
    value: Any, path: tuple[str, ...], is_several: Callable[[tuple[Any, ...]], bool]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        inner = list(value.items())
    elif isinstance(value, tuple) and is_several(value):
        inner = list(enumerate(value))
    else:
        yield path, value
        return
    for name, one in inner:
        yield from _leaves(one, (*path, str(name)), is_several)


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
