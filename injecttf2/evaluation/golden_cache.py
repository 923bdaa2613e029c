"""Golden tensors at the boundaries of the chain, on the device.

They are held for a block of samples at a time, as large a block as the memory allows; where the
whole data set fits, they are computed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.datasets import Dataset
from injecttf2.evaluation.batching import batches, side_by_side
from injecttf2.evaluation.chain import Chain, Tensors

HELD_BESIDE = 2
"""Times the memory that golden tensors inside segments may take, beside those at boundaries: so
much the example's first convolution gives out for 10,000 images, forty times as slow without."""


@dataclass
class CacheUse:
    """How often golden tensors of a block were asked for.

    Args:
        hits: They were in place.
        computed: They had to be computed.
    """

    hits: int = 0
    computed: int = 0


class GoldenCache:
    """Golden tensors of a block of samples at the boundaries from some on.

    Args:
        chain: The model.
        dataset: Inputs and labels.
        memory: Bytes that they may take.

    Attributes:
        chain: The model.
        dataset: The data.
        start: First sample of the block; None where there is none.
        first: The first boundary that is held.
        use: How often they were in place.
    """

    def __init__(self, chain: Chain, dataset: Dataset, memory: int) -> None:
        self.start: int | None = None
        self.first = 0
        self.use = CacheUse()
        self.chain = chain
        self.dataset = dataset
        self._memory = memory
        self._held: dict[int, Tensors] = {}
        self._by_name: dict[str, Any] = {}

    def block(self, first: int) -> int:
        """Return how many samples a block has that is held from some boundary on."""
        if self.start == 0 and self.first <= first and self.samples == len(self.dataset):
            return self.samples
        row = sum(map(self.chain.row_bytes, range(first, len(self.chain) + 1)))
        if self._memory // max(1, row) >= len(self.dataset):
            return len(self.dataset)
        return min(len(self.dataset), self._fitting(row))

    def _fitting(self, row_bytes: int) -> int:
        """Return how many samples of a size fit into the memory; at least a unit."""
        unit = self.chain.unit
        return int(max(unit, self._memory // max(1, row_bytes) // unit * unit))

    @property
    def _at_a_time(self) -> int:
        """Samples that go through all segments at a time."""
        chain = self.chain
        widest = max(map(chain.row_bytes, range(len(chain) + 1)))
        return min(self._fitting(2 * widest), max(1, max(chain.batch) // chain.unit) * chain.unit)

    @property
    def stop(self) -> int:
        """One past the last sample that is held."""
        return (self.start or 0) + self.samples

    @property
    def samples(self) -> int:
        """Samples that are held."""
        return 0 if self.start is None else self._held[len(self.chain)][0].shape[0]

    def load(self, start: int, first: int) -> None:
        """Have the block that begins at a sample in place, from a boundary on."""
        held = 0 if self.block(0) == len(self.dataset) else first
        stop = min(start + self.block(held), len(self.dataset))
        if self.start == start and self.first <= first and self.samples == stop - start:
            self.use.hits += 1
            return
        self.use.computed += 1
        self.release()
        joining = {place: _Joining(stop - start) for place in range(held, len(self.chain) + 1)}
        for begin, end in batches(stop - start, self._at_a_time):
            for place, tensors in self._boundaries(start + begin, start + end):
                if place >= held:
                    joining[place].add(tensors)
        self._held = {place: one.tensors() for place, one in joining.items()}
        self.start, self.first = start, held
        for place, tensors in self._held.items():
            self._by_name.update(zip(self.chain.boundary(place), tensors, strict=True))

    def hold(self, names: Iterable[str]) -> bool:
        """Have golden tensors of any place held as well, instead of those asked for before.

        Returns:
            Whether they are; not where they would take more than ``HELD_BESIDE`` allows.
        """
        flow, held = self.chain.graph.flow, self._by_name
        at_boundaries = {name for place in self._held for name in self.chain.boundary(place)}
        wanted = {*names} - at_boundaries
        if self.samples * sum(map(self.chain.bytes_of, wanted)) > self._memory * HELD_BESIDE:
            return False
        for name in {*held} - at_boundaries - wanted:
            del held[name]
        for index, segment in enumerate(self.chain.segments):
            inside = range(segment.start, segment.stop)
            here = tuple(sorted(n for n in wanted - {*held} if flow.position[n] in inside))
            if here:
                given = self.inputs(self.start or 0, self.stop) if not index else self._held[index]
                held.update(zip(here, self.through(index, given, here), strict=True))
        return True

    def tensor(self, name: str) -> Any:
        """Return a golden tensor that is held, [samples of the block, ...]."""
        return self._by_name[name]

    def release(self) -> None:
        """Give the memory back."""
        self.start = None
        self._held = {}
        self._by_name = {}

    def rows(self, place: int, rows: Any) -> Tensors:
        """Return rows of the golden tensors at a boundary.

        Args:
            place: The boundary.
            rows: int32 [rows].
        """
        return tuple(tf.gather(tensor, rows) for tensor in self._held[place])

    def tensors(self, place: int) -> Tensors:
        """Return the golden tensors at a boundary, [samples of the block, ...]."""
        return self._held[place]

    def all_outputs(self) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Yield what is judged of all samples, with the first of them each, [samples, ...]."""
        samples = len(self.dataset)
        if self.block(0) == samples:
            self.load(0, 0)
            yield 0, self.tensors(len(self.chain))[0].numpy()
            return
        for start, stop in batches(samples, self._at_a_time):
            last: Tensors = ()
            for _, tensors in self._boundaries(start, stop):
                last = tensors
            yield start, last[0].numpy()

    def _boundaries(self, start: int, stop: int) -> Iterator[tuple[int, Tensors]]:
        """Yield boundaries and the golden tensors of some samples there, [samples, ...]."""
        tensors = self.inputs(start, stop)
        yield 0, tensors
        for index in range(len(self.chain)):
            tensors = self.through(index, tensors)
            yield index + 1, tensors

    def inputs(self, start: int, stop: int) -> Tensors:
        """Return what goes into the first segment for some samples."""
        chain = self.chain
        arrays = dict(zip(chain.graph.flow.inputs, self.dataset.input_arrays, strict=True))
        # Copied to the device as it is, not by an operation that might change a NaN.
        return tuple(tf.constant(arrays[name][start:stop]) for name in chain.boundary(0))

    def through(self, index: int, given: Tensors, names: tuple[str, ...] | None = None) -> Tensors:
        """Return what a segment gives out for samples, from what goes in, [samples, ...].

        Args:
            index: The segment.
            given: What goes in.
            names: Tensors inside it, in place of what it gives out.
        """
        chain, size = self.chain, self.chain.batch[index]

        def run(bound: tuple[int, int]) -> Tensors:
            first, last = bound
            part = tuple(_padded(one, first, last, size) for one in given)
            outputs, _ = chain.run(index, part, ends=names)
            return tuple(one[: last - first] for one in outputs)

        chain.function(index, ends=names)  # compiled here, not in threads
        joining = _Joining(given[0].shape[0])
        for part in side_by_side(run, batches(given[0].shape[0], size)):
            joining.add(part)
        return joining.tensors()


def _padded(tensor: Any, first: int, last: int, size: int) -> Any:
    """Return rows of a tensor, filled up to a number with copies of the first of them."""
    part = tensor if last - first == tensor.shape[0] else tensor[first:last]
    if last - first == size:
        return part
    rows = np.arange(size)
    return tf.gather(part, np.where(rows < last - first, rows, 0))


class _Joining:
    """Tensors that come part by part: one after another in the memory of the whole.

    To concatenate them would take that memory twice; what TensorFlow cannot update in place, such
    as 4-bit numbers, is concatenated all the same.

    Args:
        samples: Samples in all parts.
    """

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._filled = 0
        self._columns: list[Any] = []

    def add(self, part: Tensors) -> None:
        """Take the next samples in, [samples, ...] each."""
        first, count = self._filled, part[0].shape[0]
        self._filled += count
        if count == self._samples:
            self._columns = list(part)
            return
        if not first:
            self._columns = [self._empty(one) for one in part]
        rows = tf.range(first, self._filled)
        for at, one in enumerate(part):
            if isinstance(self._columns[at], list):
                self._columns[at].append(one)
            else:  # no other holds it, so that it may change
                self._columns[at] = tf.raw_ops.InplaceUpdate(x=self._columns[at], i=rows, v=one)

    def tensors(self) -> Tensors:
        """Return the whole, once all parts are in."""
        return tuple(tf.concat(one, 0) if isinstance(one, list) else one for one in self._columns)

    def _empty(self, like: Any) -> Any:
        try:
            return tf.raw_ops.Empty(shape=(self._samples, *like.shape[1:]), dtype=like.dtype)
        except tf.errors.NotFoundError:
            return []
