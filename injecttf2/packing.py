"""Packing the samples that still differ from golden into batches of a fixed shape."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.windows import Differences, Window

HOST_BYTES = 64
"""Up to this size of a row in memory, NumPy packs rows faster than an operation starts."""


class Packing:
    """Survivors of several batches, packed together at a fixed shape.

    Args:
        size: Samples in a batch.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._pieces: list[tuple[npt.NDArray[np.int64], list[Any]]] = []
        self._waiting = 0

    def add(self, index: npt.NDArray[np.int64], state: list[Any], alive: Any) -> None:
        """Take in the samples at the places ``alive`` of a batch."""
        if len(index):
            if len(index) < state[0].shape[0]:
                state = [_taken(part, alive) for part in state]
            self._pieces.append((index, state))
            self._waiting += len(index)

    def full(self) -> Iterator[tuple[npt.NDArray[np.int64], list[Any]]]:
        """Yield the batches that are full."""
        while self._waiting >= self._size:
            yield self._take(self._size)

    def rest(self) -> Iterator[tuple[npt.NDArray[np.int64], list[Any]]]:
        """Yield what is left, filled up with copies of its first sample."""
        if self._waiting:
            index, state = self._take(self._waiting)
            places = np.concatenate([np.arange(len(index)), np.zeros(self._size - len(index), int)])
            yield index, [_taken(part, places) for part in state]

    def _take(self, count: int) -> tuple[npt.NDArray[np.int64], list[Any]]:
        self._waiting -= count
        taken = []
        while count:
            index, state = self._pieces.pop(0)
            if len(index) > count:
                self._pieces.insert(0, (index[count:], [part[count:] for part in state]))
                index, state = index[:count], [part[:count] for part in state]
            taken.append((index, state))
            count -= len(index)
        if len(taken) == 1:
            return taken[0]
        indices, states = zip(*taken, strict=True)
        return np.concatenate(indices), [_joined(parts) for parts in zip(*states, strict=True)]


def _taken(part: Any, places: npt.NDArray[np.int64]) -> Any:
    """Return some rows: by NumPy where they are small and in memory, else on the device."""
    if isinstance(part, np.ndarray):
        return part[places]
    small = math.prod(part.shape[1:]) * part.dtype.size <= HOST_BYTES
    if small and tf.DeviceSpec.from_string(part.device).device_type == "CPU":
        return part.numpy()[places]
    return tf.gather(part, places)


def _joined(parts: Sequence[Any]) -> Any:
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else tf.concat(parts, 0)


@dataclass(frozen=True)
class Layout:
    """What is fixed of a window while its tensors travel from one function to the next.

    Args:
        key: The tensor that it belongs to.
        offsets: The offsets that are equal for all rows; None for those that are not.
        with_golden: Whether its golden values travel along.
        shape: The window's.
    """

    key: int
    offsets: tuple[int | None, ...]
    with_golden: bool
    shape: tuple[int, ...] | None


def packed(differences: Differences) -> tuple[list[Layout], list[Any]]:
    """Return what is fixed of the windows, and tensors: the rows, then what is not fixed."""
    layouts, tensors = [], [differences.rows]
    for key, window in differences.windows.items():
        fixed = tuple(one if isinstance(one, int) else None for one in window.offsets)
        layouts.append(Layout(key, fixed, window.golden is not None, window.shape))
        if None in fixed:
            moving = [one for one in window.offsets if not isinstance(one, int)]
            tensors.append(tf.stack(moving, axis=1))
        tensors += [window.values] if window.golden is None else [window.values, window.golden]
    return layouts, tensors


def unpacked(layouts: Sequence[Layout], tensors: Sequence[Any]) -> dict[int, Window]:
    """Return the windows that :func:`packed` took apart, the rows left out."""
    windows, parts = {}, iter(tensors)
    for layout in layouts:
        moving = iter(tf.unstack(next(parts), axis=1) if None in layout.offsets else ())
        offsets = tuple(next(moving) if one is None else one for one in layout.offsets)
        values = next(parts)
        golden = next(parts) if layout.with_golden else None
        windows[layout.key] = Window(offsets, values, golden, layout.shape)
    return windows
