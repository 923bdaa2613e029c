"""Boxes of tensors, one for each sample of a batch: where a tensor differs, what is computed of it.

Extents are fixed when a function is traced; where a box begins is computed for each sample, as a
multiple of a base and a shift. So boxes of one base can be compared, joined and cut while tracing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf


class NoRegion(Exception):  # noqa: N818 - it ends the part that is taken on boxes, it is no error
    """An operation changes more than a box, or is not known to change no more."""


@dataclass(frozen=True, eq=False)
class Span:
    """A box on one axis.

    Args:
        extent: Its size.
        shift: Where it begins, from ``scale`` times the base.
        base: int32 [rows]; None for a box that begins at the same place in all samples.
        scale: Steps on this axis for one of the base's.
    """

    extent: int
    shift: int = 0
    base: Any = None
    scale: int = 1

    @cached_property
    def begin(self) -> Any:
        """Where it begins: int32 [rows], or a whole number."""
        if self.base is None:
            return self.shift
        scaled = self.base if self.scale == 1 else self.base * np.int32(self.scale)
        return scaled + np.int32(self.shift) if self.shift else scaled

    def is_whole(self, size: int) -> bool:
        """Return whether it is all of an axis."""
        return self.base is None and self.shift == 0 and self.extent == size

    def moved(self, by: int, extent: int | None = None, scale: int = 1) -> Span:
        """Return the span that begins ``scale`` times as far as this one, and ``by`` further."""
        extent = self.extent if extent is None else extent
        return Span(extent, scale * self.shift + by, self.base, scale * self.scale)

    def joined(self, other: Span) -> Span:
        """Return the smallest span that holds this one and another.

        Raises:
            NoRegion: They do not move alike.
        """
        if self.base is not other.base or (self.base is not None and self.scale != other.scale):
            raise NoRegion("boxes that do not move alike")
        begin = min(self.shift, other.shift)
        end = max(self.shift + self.extent, other.shift + other.extent)
        return Span(end - begin, begin, self.base, self.scale)

    @cached_property
    def positions(self) -> Any:
        """Its places on the axis, int32 [rows or 1, extent]."""
        steps = np.arange(self.extent, dtype=np.int32)[np.newaxis]
        if self.base is None:
            return steps + np.int32(self.shift)
        return tf.expand_dims(self.begin, 1) + steps


Box = tuple[Span, ...]
"""One span for each axis of a sample."""


def whole(shape: Sequence[int]) -> Box:
    """Return the box of all of a sample."""
    return tuple(Span(size) for size in shape)


def extents(box: Box) -> tuple[int, ...]:
    """Return the sizes of a box."""
    return tuple(span.extent for span in box)


def joined(one: Box | None, other: Box) -> Box:
    """Return the smallest box that holds both."""
    if one is None:
        return other
    return tuple(a.joined(b) for a, b in zip(one, other, strict=True))


def cropped(values: Any, held: Box, wanted: Box) -> Any:
    """Return part of a box's values, [rows, *extents].

    Args:
        values: [rows, *extents] of ``held``.
        held: A box.
        wanted: A box within it, of the same bases.
    """
    first, sizes = [0], [-1]
    for has, wants in zip(held, wanted, strict=True):
        first.append(wants.shift - has.shift)
        sizes.append(wants.extent)
    if not any(first) and sizes[1:] == list(extents(held)):
        return values
    return tf.slice(values, first, sizes)


def on_axis(values: Any, axis: int, rank: int) -> Any:
    """Return [rows, extent] as [rows, 1, ..., extent, ..., 1], to be broadcast over a sample."""
    shape = [1] * rank
    shape[axis] = values.shape[1]
    return tf.reshape(values, (-1, *shape))


def inside(box: Box, shape: Sequence[int]) -> Any:
    """Return where a box lies within a tensor, bool [rows or 1, ...]; None where it all does."""
    found: Any = None
    for axis, (span, size) in enumerate(zip(box, shape, strict=True)):
        if span.base is None and span.shift >= 0 and span.shift + span.extent <= size:
            continue
        places = span.positions
        within = on_axis((places >= 0) & (places < size), axis, len(shape))
        found = within if found is None else found & within
    return found


def gathered(tensor: Any, rows: Any, box: Box) -> Any:
    """Return boxes of some rows of a tensor, [rows, *extents].

    Where a box lies outside, it holds the nearest values of the tensor.

    Args:
        tensor: [samples, ...].
        rows: int32 [rows].
        box: The box.
    """
    shape = tuple(tensor.shape[1:])
    lead = len(shape)
    while lead and box[lead - 1].is_whole(shape[lead - 1]):
        lead -= 1
    index: Any = tf.cast(rows, tf.int64)
    for axis in range(lead):
        places = tf.clip_by_value(box[axis].positions, 0, shape[axis] - 1)
        places = tf.reshape(places, (-1, *[1] * axis, box[axis].extent))
        index = index[..., tf.newaxis] * shape[axis] + tf.cast(places, tf.int64)
    return tf.gather(tf.reshape(tensor, (-1, *shape[lead:])), index)


def laid_over(values: Any, held: Box, patch: Any, at: Box) -> Any:
    """Return a box's values with those of another box in their place.

    Args:
        values: [rows, *extents] of ``held``.
        held: A box.
        patch: [rows, *extents] of ``at``.
        at: Another box of the same tensor, whatever its bases.
    """
    rank = len(held)
    lead = rank
    while lead and all(
        span.is_whole(span.extent) and span.extent == held[lead - 1].extent
        for span in (held[lead - 1], at[lead - 1])
    ):
        lead -= 1
    index: Any = tf.range(tf.shape(values)[0], dtype=tf.int32)
    within: Any = True
    for axis in range(lead):
        relative = held[axis].positions - _column(at[axis].begin)
        size = at[axis].extent
        within = within & on_axis((relative >= 0) & (relative < size), axis, rank)
        places = tf.clip_by_value(relative, 0, size - 1)
        index = index[..., tf.newaxis] * size
        index += tf.reshape(places, (-1, *[1] * axis, held[axis].extent))
    rest = extents(at)[lead:]
    if all(span.extent == 1 for span in at[:lead]):
        there = tf.reshape(patch, (-1, *[1] * lead, *rest))
    else:
        there = tf.gather(tf.reshape(patch, (-1, *rest)), index)
    return tf.where(within, there, values)


def _column(begin: Any) -> Any:
    return np.int32(begin) if isinstance(begin, int) else tf.expand_dims(begin, 1)


def is_same(one: Box, other: Box) -> bool:
    """Return whether two boxes are known to be the same."""
    return all(
        (a.base is b.base, a.extent, a.shift, a.scale) == (True, b.extent, b.shift, b.scale)
        for a, b in zip(one, other, strict=True)
    )
