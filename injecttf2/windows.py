"""Tensors that differ from golden inside a window only: what level ``difference`` computes on.

A fault in one element changes a small box of the tensors behind it. Of a batch of injected samples,
:class:`Differences` knows for every tensor the box that may differ, the **window**, and reads any
box as golden with the window laid over it. That one operation is all that the layers' rules need.

All is traced into a compiled function: extents are fixed then, offsets computed for each sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

from injecttf2.bits import LAYOUTS
from injecttf2.graph import Graph

Offset = Any
"""Where a box begins on one axis: int32 [rows], or the same whole number for all rows."""


@dataclass(frozen=True)
class Sums:
    """Golden key of what a layer with a kernel gives out before its activation.

    Args:
        layer: Address of the layer.
    """

    layer: str


GoldenKey = int | Sums
"""A golden tensor: the key of one of the model's, or the sums of a layer."""


def tensor_of(graph: Graph, key: GoldenKey) -> int:
    """Return the key of the model's tensor that has the shape and dtype of a golden one."""
    return key if isinstance(key, int) else graph.step(key.layer).outputs[0]


@dataclass(frozen=True, eq=False)
class Window:
    """The box outside of which a tensor is golden, one for each sample.

    Args:
        offsets: Where the box begins, one for each axis of a sample.
        values: [rows, *extents], what the tensor holds there.
        golden: What it holds there without the fault, where that is at hand; None elsewhere.
        shape: The shape in which the box is one, where that is not the tensor's own: the one that
            it had before it was flattened.
    """

    offsets: tuple[Offset, ...]
    values: Any
    golden: Any = None
    shape: tuple[int, ...] | None = None

    @property
    def extents(self) -> tuple[int, ...]:
        """Size of the box on each axis."""
        return tuple(self.values.shape[1:])


class Differences:
    """A batch of injected samples: which tensors differ from golden, and where.

    Args:
        rows: int32 [rows], of each sample the row of the golden block.
        golden: Returns the golden tensor under a key, [rows of the block, ...].
        shape: Returns the shape of one sample of a tensor of the model.
        xla: Whether XLA compiles this, which cannot write in place.

    Attributes:
        channel: int32 [], the channel that the windows of all samples lie in, as those of one
            wrong weight do; None where each is in a place of its own.
    """

    def __init__(
        self,
        rows: Any,
        golden: Callable[[GoldenKey], Any],
        shape: Callable[[int], tuple[int, ...]],
        *,
        xla: bool,
    ) -> None:
        self.rows = rows
        self.windows: dict[int, Window] = {}
        self.doubtful = tf.zeros(rows.shape, tf.bool)
        self._golden = golden
        self.shape = shape
        self.xla = xla
        self.channel: Any = None
        self._whole: dict[int, Any] = {}

    def whole(self, key: int) -> Any:
        """Return all of a tensor, [rows, ...]."""
        if key not in self._whole:
            window, shape = self.windows.get(key), self.shape(key)
            if window is None:
                self._whole[key] = self.golden(key, (0,) * len(shape), shape)
            elif window.extents == shape:
                self._whole[key] = window.values
            elif window.shape is not None:
                golden = self._golden(key)
                golden = tf.reshape(golden, (golden.shape[0], *window.shape))
                values = self._laid_over(golden, replace(window, shape=None))
                self._whole[key] = tf.reshape(values, (-1, *shape))
            else:
                self._whole[key] = self._laid_over(self._golden(key), window)
        return self._whole[key]

    def _laid_over(self, golden: Any, window: Window) -> Any:
        """Return the rows of a golden tensor with a window laid over them."""
        if not self.xla:
            return _written(golden, self.rows, window)
        return _laid_over(tf.gather(golden, self.rows), (0,) * len(window.offsets), window)

    def read(
        self,
        key: int,
        offsets: Sequence[Offset],
        extents: Sequence[int],
        *,
        outside: float | None = None,
    ) -> Any:
        """Return a box of a tensor, [rows, *extents]: golden, with the window laid over it.

        Args:
            key: The tensor.
            offsets: Where the box begins on each axis.
            extents: Size of the box on each axis.
            outside: What is read where the box reaches out of the tensor; None if it never does.
        """
        window = self.windows.get(key)
        if window is None:
            return self.golden(key, offsets, extents, outside=outside)
        box = self._box_of(window.values, key, offsets, extents, outside=outside)
        if box is not None:
            return box
        if tuple(extents) == self.shape(key) and all(map(_is_zero, offsets)):
            return self.whole(key)
        box = self.golden(key, offsets, extents, outside=outside)
        return _laid_over(box, offsets, window)

    def golden_under(
        self,
        key: int,
        offsets: Sequence[Offset],
        extents: Sequence[int],
        *,
        outside: float | None = None,
    ) -> Any:
        """Return what :meth:`read` returns without the fault, of a tensor that has a window."""
        golden = self.windows[key].golden
        if golden is not None:
            golden = self._box_of(golden, key, offsets, extents, outside=outside)
        return self.golden(key, offsets, extents, outside=outside) if golden is None else golden

    def _box_of(
        self,
        values: Any,
        key: int,
        offsets: Sequence[Offset],
        extents: Sequence[int],
        *,
        outside: float | None,
    ) -> Any:
        """Return a box that has no place outside of a tensor's window, or None if it has.

        Args:
            values: What the window holds, with the fault or without.
            key: The tensor.
            offsets: Where the box begins on each axis.
            extents: Size of the box on each axis.
            outside: What is read where the box reaches out of the tensor; None if it never does.
        """
        window, shape = self.windows[key], self.shape(key)
        first, sizes, padding = [0], [-1], [(0, 0)]
        for axis, (offset, extent) in enumerate(zip(offsets, extents, strict=True)):
            begin, size = window.offsets[axis], window.extents[axis]
            if _same([begin], [offset]) and size == extent:
                first.append(0)
                sizes.append(extent)
                padding.append((0, 0))
            elif _is_zero(begin) and size == shape[axis] and isinstance(offset, int):
                front, back = max(0, -offset), max(0, offset + extent - size)
                first.append(max(0, offset))
                sizes.append(extent - front - back)
                padding.append((front, back))
            else:
                return None
        if sizes[1:] != list(window.extents):
            values = tf.slice(values, first, sizes)
        if any(map(any, padding)):
            values = tf.pad(values, padding, constant_values=outside)
        return values

    def golden(
        self,
        key: GoldenKey,
        offsets: Sequence[Offset],
        extents: Sequence[int],
        *,
        outside: float | None = None,
    ) -> Any:
        """Return a box of a golden tensor, [rows, *extents]; see :meth:`read`."""
        tensor = self._golden(key)
        shape = tuple(tensor.shape[1:])
        whole_axes = _trailing(
            _is_zero(offset) and extent == size
            for offset, extent, size in zip(offsets, extents, shape, strict=True)
        )
        lead = len(shape) - whole_axes
        index_type = tf.int32 if tensor.shape.num_elements() < 2**31 else tf.int64
        index, inside = tf.cast(self.rows, index_type), None
        for axis in range(lead):
            places = positions(offsets[axis], extents[axis])
            index = index[..., tf.newaxis]
            if outside is not None:
                within = (places >= 0) & (places < shape[axis])
                places = tf.clip_by_value(places, 0, shape[axis] - 1)
                within = _on_axis(within, axis)
                inside = within if inside is None else inside[..., tf.newaxis] & within
            index = index * shape[axis] + tf.cast(_on_axis(places, axis), index_type)
        box = tf.gather(tf.reshape(tensor, (-1, *shape[lead:])), index)
        if inside is None:
            return box
        for _ in range(whole_axes):
            inside = inside[..., tf.newaxis]
        return tf.where(inside, box, tf.constant(outside, box.dtype))

    def settle(self, key: int) -> None:
        """Have a window computed once; XLA would compute it anew for each element that needs it."""
        if not self.xla:
            return
        window = self.windows[key]
        moving = [one for one in window.offsets if not isinstance(one, int)]
        golden = [] if window.golden is None else [window.golden]
        settled = xla.optimization_barrier(*moving, window.values, *golden)
        parts = iter(settled)
        offsets = tuple(one if isinstance(one, int) else next(parts) for one in window.offsets)
        values = next(parts)
        was = next(parts) if golden else None
        self.windows[key] = replace(window, offsets=offsets, values=values, golden=was)

    def doubt(self, values: Any, *, gain: float = 1.0) -> None:
        """Mark the samples whose values [rows, ...], times ``gain``, are not all finite."""
        within = tf.abs(values) <= tf.constant(values.dtype.max / gain, values.dtype)
        axes = list(range(1, len(values.shape)))
        self.doubtful |= ~tf.reduce_all(within, axis=axes)  # NaN is not within

    def doubt_sums(self, values: Any, *, gain: float = 1.0) -> None:
        """Mark the samples in which a sum might not be finite in some order of summation.

        Args:
            values: [rows, ...], the sums; or what is summed, where magnitudes cancel.
            gain: Most that the magnitudes in a sum add up to, over the largest of ``values``.
        """
        self.doubt(values, gain=gain * (4.0 if self.xla else 2.0))  # XLA has an order of its own

    def same_as_golden(self) -> Any:
        """Return for each sample whether every window holds golden bits; NaN never does."""
        same = tf.ones(self.rows.shape, tf.bool)
        for key, window in self.windows.items():
            same &= equal_bits(window.values, self.golden_of(key))
        return same

    def golden_of(self, key: int) -> Any:
        """Return what the window of a tensor holds without the fault."""
        window = self.windows[key]
        if window.golden is not None:
            return window.golden
        return self.golden(key, window.offsets, window.extents)


def equal_bits(values: Any, others: Any) -> Any:
    """Return for each row of two tensors [rows, ...] whether they hold the same bits."""
    word = tf.as_dtype(LAYOUTS[values.dtype.name].word)
    same = tf.bitcast(values, word) == tf.bitcast(others, word)
    return tf.reduce_all(same, axis=list(range(1, len(same.shape))))


def contains(window: Window, other: Window, *, without: int | None = None) -> Any:
    """Return for each sample whether a window contains another, or True where all do.

    Args:
        window: The outer one.
        other: The inner one.
        without: An axis that does not matter.
    """
    inside: Any = True
    for axis, (outer, inner) in enumerate(zip(window.offsets, other.offsets, strict=True)):
        if axis == without or (inner is outer and other.extents[axis] <= window.extents[axis]):
            continue
        last = inner + other.extents[axis] <= outer + window.extents[axis]
        within = (inner >= outer) & last
        inside = within if inside is True else inside & within
    return inside


def unravelled(element: Any, shape: Sequence[int]) -> tuple[Offset, ...]:
    """Return the place on each axis of an element of a tensor flattened in row-major order."""
    offsets: list[Offset] = []
    for size in reversed(shape):
        offsets.append(element % size)
        element = element // size
    return tuple(reversed(offsets))


def positions(offset: Offset, extent: int) -> Any:
    """Return the places of a box on one axis, int32 [rows or 1, extent]."""
    steps = tf.range(extent, dtype=tf.int32)[tf.newaxis]
    return steps + (offset if isinstance(offset, int) else offset[:, tf.newaxis])


def _same(one: Sequence[Offset], other: Sequence[Offset]) -> bool:
    return all(
        a is b or (isinstance(a, int) and isinstance(b, int) and a == b)
        for a, b in zip(one, other, strict=True)
    )


def _is_zero(offset: Offset) -> bool:
    return isinstance(offset, int) and offset == 0


def _trailing(flags: Any) -> int:
    """Return how many flags at the end are true."""
    count = 0
    for flag in reversed(list(flags)):
        if not flag:
            break
        count += 1
    return count


def _on_axis(values: Any, axis: int) -> Any:
    """Return [rows, extent] with axes of size 1 in between: [rows, 1, ..., 1, extent]."""
    return tf.reshape(values, (values.shape[0], *[1] * axis, values.shape[1]))


def _laid_over(box: Any, offsets: Sequence[Offset], window: Window) -> Any:
    """Return a box with the part of the window that lies in it, by gathering."""
    extents = tuple(box.shape[1:])
    alike = _trailing(
        _is_zero(offset) and _is_zero(other) and extent == size
        for offset, other, extent, size in zip(
            offsets, window.offsets, extents, window.extents, strict=True
        )
    )
    lead = len(offsets) - alike
    index: Any = tf.range(box.shape[0], dtype=tf.int32)
    inside = tf.ones((box.shape[0],), tf.bool)
    for axis in range(lead):
        size = window.extents[axis]
        index, inside = index[..., tf.newaxis], inside[..., tf.newaxis]
        relative = positions(offsets[axis], extents[axis]) - _column(window.offsets[axis])
        inside &= _on_axis((relative >= 0) & (relative < size), axis)
        if size > 1:
            clipped = tf.clip_by_value(relative, 0, size - 1)
            index = index * size + _on_axis(clipped, axis)
    if math.prod(window.extents[:lead]) == 1:
        values = tf.reshape(window.values, (-1, *[1] * lead, *extents[lead:]))
    else:
        values = tf.gather(tf.reshape(window.values, (-1, *extents[lead:])), index)
    return tf.where(tf.reshape(inside, (*inside.shape, *[1] * alike)), values, box)


def _column(offset: Offset) -> Any:
    return offset if isinstance(offset, int) else offset[:, tf.newaxis]


def _written(golden: Any, rows: Any, window: Window) -> Any:
    """Return rows of a golden tensor with the windows written into them in place."""
    shape = tuple(golden.shape[1:])
    whole_axes = _trailing(
        _is_zero(offset) and extent == size
        for offset, extent, size in zip(window.offsets, window.extents, shape, strict=True)
    )
    lead = len(shape) - whole_axes
    index: Any = tf.range(rows.shape[0], dtype=tf.int32)
    for axis in range(lead):
        places = positions(window.offsets[axis], window.extents[axis])
        index = index[..., tf.newaxis] * shape[axis] + _on_axis(places, axis)
    slices = math.prod(shape[lead:])
    # Equal gathers become one when a graph is optimised. What is written in place is gathered in a
    # shape of its own, so that it is nobody else's; scattering would copy the batch.
    own = tf.gather(tf.reshape(golden, (golden.shape[0], 1, 1, -1, 1, 1)), rows)
    result = tf.raw_ops.InplaceUpdate(
        x=tf.reshape(own, (-1, slices)),
        i=tf.reshape(index, (-1,)),
        v=tf.reshape(window.values, (-1, slices)),
    )
    return tf.reshape(result, (rows.shape[0], *shape))
