"""What is wrong in the samples that are evaluated, segment by segment of the chain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from injecttf2.evaluation.chain import Chain
from injecttf2.faults.masks import WordMasks

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Words:
    """Words of one layer's outputs that change, each once.

    Args:
        slot: int32 [words], which of the samples each belongs to, ascending.
        element: int32 [words], into the flattened output of that sample.
        changes: [words].
    """

    slot: npt.NDArray[np.int32]
    element: npt.NDArray[np.int32]
    changes: WordMasks

    def __len__(self) -> int:
        return len(self.slot)

    def take(self, index: Index) -> Words:
        """Return the words of some samples, ascending, which are numbered anew."""
        chosen = np.isin(self.slot, index)
        slot = np.searchsorted(index, self.slot[chosen]).astype(np.int32)
        return Words(slot, self.element[chosen], self.changes[np.flatnonzero(chosen)])


class Faults(ABC):
    """Samples to evaluate, and what is wrong in each.

    Attributes:
        rows: int32 [samples], their rows in the golden block.
        first: The first segment in which something is wrong.
        last: The last one.
    """

    rows: npt.NDArray[np.int32]
    first: int
    last: int

    def __len__(self) -> int:
        return len(self.rows)

    @abstractmethod
    def part(self, start: int, stop: int) -> Faults:
        """Return some of the samples; what it takes note of, this does."""

    @abstractmethod
    def take(self, index: Index) -> Faults:
        """Return some of the samples, ascending."""

    @abstractmethod
    def compile(self, chain: Chain, index: int) -> None:
        """Compile what :meth:`run` runs."""

    @abstractmethod
    def run(self, chain: Chain, index: int, given: Any, batch: Batch | None) -> Any:
        """Run a segment with what is wrong in it; see :meth:`Chain.run`.

        Args:
            chain: The model.
            index: The segment.
            given: Tensors at the boundary before it.
            batch: Which samples are where; None for a batch without any fault.
        """

    def keep(  # noqa: B027 - what has no words keeps none
        self, index: int, batch: Batch, before: Sequence[Any]
    ) -> None:
        """Take note of what a segment's words were before."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples in a batch.

    Args:
        index: int64 [samples], which of the samples each is.
        place: int64 [samples], where each is.
    """

    index: Index
    place: Index

    def __len__(self) -> int:
        return len(self.index)

    def filled(self, size: int) -> Index:
        """Return which of the samples stands at each place; where none does, the first of them."""
        filled = np.full(size, self.index[0])
        filled[self.place] = self.index
        return filled


@dataclass(eq=False)
class OutputFaults(Faults):
    """Samples in which words of layers' outputs change.

    Args:
        rows: int32 [samples], their rows in the golden block.
        words: What changes in each layer.
        layers: Of each layer the segment that the fault comes in with, the name of the tensor, and
            the elements of one sample.
        seen: Whether to keep what the words were before.
        until: The last of the layers that is run, with nothing behind it; None to run all.

    Attributes:
        before: The words of each layer before they changed, unsigned; 0 where a sample has not
            come there.
    """

    rows: npt.NDArray[np.int32]
    words: Sequence[Words]
    layers: Sequence[tuple[int, str, int]]
    seen: bool = False
    until: int | None = None
    before: list[npt.NDArray[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.first = self.layers[0][0]
        self.last = self.layers[-1 if self.until is None else self.until][0]
        self.before = [np.zeros_like(one.changes.keep) for one in self.words] if self.seen else []

    @property
    def is_single(self) -> bool:
        """Whether one word of one layer changes in each sample."""
        slot = self.words[0].slot
        return len(self.words) == 1 and len(slot) == len(self) and bool((np.diff(slot) > 0).all())

    def part(self, start: int, stop: int) -> OutputFaults:
        """Return some of the samples; what it takes note of, this does."""
        if (start, stop) == (0, len(self)):
            return self
        bounds = [np.searchsorted(one.slot, [start, stop]) for one in self.words]
        words = [
            Words(one.slot[a:b] - np.int32(start), one.element[a:b], one.changes[a:b])
            for one, (a, b) in zip(self.words, bounds, strict=True)
        ]
        part = replace(self, rows=self.rows[start:stop], words=words)
        if self.seen:
            part.before = [one[a:b] for one, (a, b) in zip(self.before, bounds, strict=True)]
        return part

    def take(self, index: Index) -> OutputFaults:
        """Return some of the samples, ascending."""
        return replace(self, rows=self.rows[index], words=[one.take(index) for one in self.words])

    def compile(self, chain: Chain, index: int) -> None:
        """Compile a segment with the layers in it."""
        points = tuple(self.layers[at][1] for at in self._in(index))
        chain.function(index, points, self._until(index))

    def run(self, chain: Chain, index: int, given: Any, batch: Batch | None) -> Any:
        """Run a segment with the words that change in it."""
        mine = self._in(index)
        points = tuple(self.layers[at][1] for at in mine)
        words = []
        for at in mine:
            part = self._part(at, batch)
            changes = self.words[at].changes
            slot, element = self.words[at].slot[part], self.words[at].element[part]
            place = np.zeros(0, np.int64)
            if batch is not None:
                place = self._places(batch, slot) * self.layers[at][2] + element
            words.append((place, changes.keep[part], changes.flip[part]))
        return chain.run(index, given, points=points, words=words, until=self._until(index))

    def keep(self, index: int, batch: Batch, before: Sequence[Any]) -> None:
        """Take note of what words were before."""
        if not self.seen:
            return
        for at, words in zip(self._in(index), before, strict=True):
            self.before[at][self._part(at, batch)] = words.numpy()

    def _in(self, index: int) -> list[int]:
        """Return which of the layers' faults come in with a segment."""
        layers = self.layers[: None if self.until is None else self.until + 1]
        return [at for at, (segment, _, _) in enumerate(layers) if segment == index]

    def _until(self, index: int) -> str | None:
        """Return the point behind which a segment is not run."""
        if self.until is None or self.layers[self.until][0] != index:
            return None
        return self.layers[self.until][1]

    def _part(self, at: int, batch: Batch | None) -> Any:
        """Return which of a layer's words are in a batch."""
        slot = self.words[at].slot
        if batch is None:
            return slice(0, 0)
        first, last = batch.index[0], batch.index[-1]
        start, stop = np.searchsorted(slot, [first, last + 1])
        if last - first + 1 == len(batch):
            return slice(int(start), int(stop))
        chosen = np.isin(slot[start:stop], batch.index)
        return np.flatnonzero(chosen) + start

    @staticmethod
    def _places(batch: Batch, slot: npt.NDArray[np.int32]) -> Index:
        return batch.place[np.searchsorted(batch.index, slot)]


@dataclass(eq=False)
class WeightFaults(Faults):
    """Samples that are run with other weights.

    Args:
        rows: int32 [samples], their rows in the golden block.
        reads: What stands in the place of variables, by the names of what is read of them.
        first: The first segment that reads one.
        last: The last one.
    """

    rows: npt.NDArray[np.int32]
    reads: Mapping[str, Any]
    first: int
    last: int

    def part(self, start: int, stop: int) -> WeightFaults:
        """Return some of the samples."""
        return replace(self, rows=self.rows[start:stop])

    def take(self, index: Index) -> WeightFaults:
        """Return some of the samples, ascending."""
        return replace(self, rows=self.rows[index])

    def compile(self, chain: Chain, index: int) -> None:
        """Compile a segment."""
        chain.function(index)

    def run(self, chain: Chain, index: int, given: Any, batch: Batch | None) -> Any:
        """Run a segment with the weights that are wrong."""
        return chain.run(index, given, reads=None if batch is None else self.reads)


def some(faults: Sequence[Faults], index: Index) -> list[Faults]:
    """Return some samples with their faults.

    Args:
        faults: Of all samples.
        index: int64, ascending, which of them.
    """
    stops = np.cumsum([len(one) for one in faults])
    cuts = np.split(index, np.searchsorted(index, stops[:-1]))
    starts = stops - [len(one) for one in faults]
    return [
        one.take(part - start)
        for one, part, start in zip(faults, cuts, starts, strict=True)
        if len(part)
    ]
