"""Samples to evaluate, with what changes in each: on the host, and as batches for the device."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2 import bits
from injecttf2.batches import batches
from injecttf2.changes import WordChanges, flipping, nothing
from injecttf2.graph import Graph

Index = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Words:
    """Words of one layer's outputs that change, each once.

    Args:
        slot: int32 [words], which of the packed samples each belongs to, ascending.
        element: int32 [words], into the flattened output of that sample.
        changes: [words].
    """

    slot: Index
    element: Index
    changes: WordChanges

    def __len__(self) -> int:
        return len(self.slot)

    @classmethod
    def none(cls, dtype: str) -> Words:
        """Return no words of a dtype."""
        index = np.empty(0, np.int32)
        return cls(index, index, nothing(0, dtype))


class FaultySamples(Protocol):
    """Samples to evaluate, and what is wrong in each."""

    @property
    def rows(self) -> Index:
        """int32 [samples], their rows in the golden block."""

    @property
    def is_single(self) -> bool:
        """Whether so little is wrong in each that a faster level than ``dense`` can take them."""

    @property
    def shared(self) -> tuple[Any, ...]:
        """What is wrong in all of them, as a faster level takes it."""

    def __len__(self) -> int:
        """Return how many they are."""

    def take(self, index: npt.NDArray[np.int64]) -> Self:
        """Return the samples at ``index``, ascending."""

    def singles(self, size: int) -> Iterator[list[Any]]:
        """Yield batches as a faster level takes them, filled up with golden samples.

        Each is the rows, int32 [size], and what is wrong in each of them, all [size, ...].
        """


@dataclass(frozen=True, eq=False)
class Packed:
    """Samples to evaluate.

    Args:
        rows: int32 [samples], their rows in the golden block.
        words: What changes in them, one for each layer that is hit.
    """

    rows: Index
    words: tuple[Words, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def is_single(self) -> bool:
        """Whether one word changes in each sample, of one layer."""
        slot = self.words[0].slot
        return (
            len(self.words) == 1
            and len(slot) == len(self.rows)
            and bool((slot[1:] > slot[:-1]).all())
        )

    @property
    def shared(self) -> tuple[Any, ...]:
        """Nothing: each has a word of its own."""
        return ()

    def singles(self, size: int) -> Iterator[list[Any]]:
        """Yield batches of samples with one word each: rows, elements, keep and flip, [size]."""
        for rows, ((_, elements, keep, flip),) in batched(self, size):
            yield [rows, elements, keep, flip]

    def take(self, index: npt.NDArray[np.int64] | slice) -> Packed:
        """Return the samples at ``index``, ascending."""
        rows = self.rows[index]
        if self.is_single:
            (words,) = self.words
            slot = np.arange(len(rows), dtype=np.int32)
            return Packed(rows, (Words(slot, words.element[index], words.changes[index]),))
        place = np.full(len(self.rows), -1, np.int32)
        place[index] = np.arange(len(rows), dtype=np.int32)
        parts = []
        for words in self.words:
            slot = place[words.slot]
            chosen = np.flatnonzero(slot >= 0)
            parts.append(Words(slot[chosen], words.element[chosen], words.changes[chosen]))
        return Packed(rows, tuple(parts))


def random_sites(graph: Graph, key: int, count: int, samples: int = 1) -> Packed:
    """Return sites at random elements and bits of a tensor, the same every time.

    Args:
        graph: The model.
        key: The tensor.
        count: Number of sites.
        samples: Rows that they are spread over.
    """
    generator = np.random.Generator(np.random.Philox(0))
    dtype = graph.dtypes[key]
    rows = generator.integers(samples, size=count).astype(np.int32)
    elements = generator.integers(math.prod(graph.shape(key)), size=count).astype(np.int32)
    bit = generator.integers(bits.layout(dtype).width, size=count)
    words = Words(np.arange(count, dtype=np.int32), elements, flipping(bits.masks(bit, dtype)))
    return Packed(rows, (words,))


Batch = tuple[Any, tuple[tuple[Any, Any, Any, Any], ...]]
"""On the device: rows int32 [size]; for each layer that is hit slot, element int32 and keep, flip
[capacity], words of the layer's dtype."""


def batched(packed: Packed, size: int) -> Iterator[Batch]:
    """Yield samples in batches of a fixed shape; what fills the last is golden."""
    for start, stop in batches(len(packed), size):
        part = packed if stop - start == len(packed) else packed.take(slice(start, stop))
        yield placed(part, np.arange(stop - start), size)


def placed(packed: Packed, place: npt.NDArray[np.int64], size: int) -> Batch:
    """Return a batch with samples at some places; what fills it is golden.

    The capacity of words is ``size``, or where there are more the next power of two.

    Args:
        packed: At most ``size`` samples.
        place: int64 [samples].
        size: Samples in the batch.
    """
    rows = np.zeros(size, np.int32)
    rows[place] = packed.rows
    single = packed.is_single
    words = tuple(_on_device(one, place, size, single=single) for one in packed.words)
    return tf.constant(rows), words


def capacities(batch: Batch) -> tuple[int, ...]:
    """Return for each layer that is hit the words that a batch has room for."""
    return tuple(int(slot.shape[0]) for slot, *_ in batch[1])


def changed(values: Any, keep: Any, flip: Any) -> Any:
    """Return values after changes of their words, on the device.

    Args:
        values: Any shape, of a dtype in ``bits.DTYPES``.
        keep: Unsigned words that broadcast against ``values``.
        flip: The same.
    """
    words = tf.bitcast(values, keep.dtype)
    return tf.bitcast(
        tf.bitwise.bitwise_xor(tf.bitwise.bitwise_and(words, keep), flip), values.dtype
    )


def change_words(tensor: Any, words: tuple[Any, Any, Any, Any], *, fresh: bool) -> Any:
    """Return a batch in which words have changed.

    Args:
        tensor: [samples, ...], of a dtype in ``bits.DTYPES``.
        words: Slot, element, keep and flip, as :data:`Batch` has them.
        fresh: Whether nothing else uses the tensor, nor any that may share its memory, as is so
            just after a gather: it is then changed in place.
    """
    slot, element, keep, flip = words
    rows, size = tensor.shape[0], tensor.shape.num_elements()
    flat = tf.reshape(tensor, (size, 1))
    place = slot * (size // rows) + element
    corrupted = changed(tf.gather(flat, place), keep[:, tf.newaxis], flip[:, tf.newaxis])
    if fresh:
        # tf.tensor_scatter_nd_update would copy the batch, which takes as long as gathering it.
        result = tf.raw_ops.InplaceUpdate(x=flat, i=place, v=corrupted)
    else:
        result = tf.tensor_scatter_nd_update(flat, place[:, tf.newaxis], corrupted)
    return tf.reshape(result, tensor.shape)


def _on_device(
    words: Words, place: npt.NDArray[np.int64], size: int, *, single: bool
) -> tuple[Any, Any, Any, Any]:
    """Return words at their capacity, filled up with what changes nothing more.

    Where each sample has one word, those of the filling samples stay as they are; else the last
    change is written again.
    """
    given = (words.element, words.changes.keep, words.changes.flip)
    same = (0, ~words.changes.keep.dtype.type(0), 0)
    if single:
        element, keep, flip = (
            np.full(size, one, of.dtype) for one, of in zip(same, given, strict=True)
        )
        element[place], keep[place], flip[place] = given
        return tf.range(size, dtype=tf.int32), *map(tf.constant, (element, keep, flip))
    capacity = size if len(words) <= size else 1 << (len(words) - 1).bit_length()
    columns = [place[words.slot].astype(np.int32), *given]
    last = [column[-1] for column in columns] if len(words) else (0, *same)
    filled = (_filled(one, capacity, value) for one, value in zip(columns, last, strict=True))
    slot, element, keep, flip = map(tf.constant, filled)
    return slot, element, keep, flip


def _filled(array: Any, size: int, value: Any) -> Any:
    """Return ``array`` filled up with a value."""
    missing = size - len(array)
    return array if not missing else np.append(array, np.full(missing, value, array.dtype))
