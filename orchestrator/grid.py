"""The grid: cells and trials by position, without any of them existing beforehand.

A grid is ordered by layer, then product, fault, rate and repetition, so the trials of a layer are
one range of positions. A trial is computed from its position; memory does not grow with their
number.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from injecttf2.faults import BitFlip
from injecttf2.trials import Cell, Identity, Repetitions, run_ids
from orchestrator.messages import Range

BLOCK_TRIALS = 65_536
"""Trials whose ids are made and looked up together: they take a few megabytes."""


@dataclass(frozen=True)
class Product:
    """Every fault with every probability, each given once."""

    faults: tuple[BitFlip, ...]
    probabilities: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.faults) * len(self.probabilities)

    def __getitem__(self, index: int) -> tuple[BitFlip, float]:
        fault, probability = divmod(index, len(self.probabilities))
        return self.faults[fault], self.probabilities[probability]

    def without(self, other: Product) -> list[Product]:
        """Return what of this product is not in ``other``, as disjoint products, none empty."""
        known_faults, known_rates = frozenset(other.faults), frozenset(other.probabilities)
        new_faults = tuple(fault for fault in self.faults if fault not in known_faults)
        both = tuple(fault for fault in self.faults if fault in known_faults)
        new_rates = tuple(p for p in self.probabilities if p not in known_rates)
        parts = [Product(new_faults, self.probabilities), Product(both, new_rates)]
        return [part for part in parts if len(part)]


def union(products: Iterable[Product]) -> tuple[Product, ...]:
    """Return disjoint products that hold every pair of ``products`` once, earlier ones first."""
    disjoint: list[Product] = []
    for product in products:
        rest = [product]
        for earlier in tuple(disjoint):
            rest = [part for piece in rest for part in piece.without(earlier)]
        disjoint.extend(rest)
    return tuple(disjoint)


@dataclass(frozen=True)
class Group:
    """The trials of one layer and target: one range of positions.

    Args:
        layer: Address of the layer.
        products: Disjoint; what is injected into the layer.
        start: Position of the first trial.
        stop: One past the position of the last.
        target: What is corrupted.
    """

    layer: str
    products: tuple[Product, ...]
    start: int
    stop: int
    target: str = "outputs"

    def __len__(self) -> int:
        return self.stop - self.start

    def cell(self, index: int) -> Cell:
        """Return the cell at ``index`` among the cells of the group."""
        for product in self.products:
            if index < len(product):
                fault, probability = product[index]
                return Cell(self.layer, fault, probability, self.target)
            index -= len(product)
        raise IndexError(index)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What of a grid is done, and what else.

    Args:
        missing: Positions of the trials that are not done, ascending ranges.
        outside: uint64 [n], ascending: ids of what is done but is no trial of the grid.
    """

    missing: tuple[Range, ...]
    outside: npt.NDArray[np.uint64]


class Grid:
    """All trials of a campaign, by position.

    Args:
        layers: For each layer, in the order of the model, the products injected into it.
        repetitions: Trials a cell.
    """

    def __init__(
        self, layers: Sequence[tuple[str, Sequence[Product]]], *, repetitions: int
    ) -> None:
        groups: list[Group] = []
        start = 0
        for layer, products in layers:
            disjoint = union(products)
            stop = start + repetitions * sum(len(product) for product in disjoint)
            groups.append(Group(layer, disjoint, start, stop))
            start = stop
        self.groups = tuple(groups)
        self.repetitions = repetitions
        self._starts = [group.start for group in groups]

    def __len__(self) -> int:
        return self.groups[-1].stop if self.groups else 0

    def __getitem__(self, position: int) -> tuple[Cell, int]:
        """Return the cell and the repetition of the trial at ``position``.

        Raises:
            IndexError: The grid has no such position.
        """
        if not 0 <= position < len(self):
            raise IndexError(f"a grid of {len(self)} trials has no position {position}")
        group = self.groups[bisect_right(self._starts, position) - 1]
        cell, repetition = divmod(position - group.start, self.repetitions)
        return group.cell(cell), repetition

    def __iter__(self) -> Iterator[tuple[Cell, int]]:
        for _, cell in self.cells():
            for repetition in range(self.repetitions):
                yield cell, repetition

    def cells(self) -> Iterator[tuple[int, Cell]]:
        """Yield each cell with the position of its first trial, in order."""
        for group in self.groups:
            for index in range(len(group) // self.repetitions):
                yield group.start + index * self.repetitions, group.cell(index)

    def runs(self, ranges: Iterable[Range]) -> Iterator[Repetitions]:
        """Yield the trials at some positions as runs of repetitions of one cell, in order."""
        for start, stop in ranges:
            position = start
            while position < stop:
                cell, repetition = self[position]
                length = min(stop - position, self.repetitions - repetition)
                yield Repetitions(cell, repetition, repetition + length)
                position += length

    def ids(self, identity: Identity) -> Iterator[tuple[int, npt.NDArray[np.uint64]]]:
        """Yield the ids of all trials in blocks, each with the position of its first trial.

        The ids are uint64 [``BLOCK_TRIALS``], fewer in the last block.
        """
        for start in range(0, len(self), BLOCK_TRIALS):
            stop = min(start + BLOCK_TRIALS, len(self))
            yield start, run_ids(identity, self.runs([(start, stop)]))

    def missing(self, identity: Identity, done: npt.NDArray[np.uint64]) -> Iterator[Range]:
        """Yield the ranges of positions whose trials are not among ``done``, ascending.

        Args:
            identity: What the ids are made from.
            done: uint64 [n], ids of finished trials, ascending, each once.
        """
        return self._missing(identity, done, np.zeros(len(done), np.bool_))

    def compare(self, identity: Identity, done: npt.NDArray[np.uint64]) -> Comparison:
        """Return what ``done`` lacks of this grid and what it holds beside it, in one pass.

        Args:
            identity: What the ids are made from.
            done: uint64 [n], ids of finished trials, ascending, each once.
        """
        met = np.zeros(len(done), np.bool_)
        missing = tuple(self._missing(identity, done, met))
        return Comparison(missing, done[~met])

    def _missing(
        self, identity: Identity, done: npt.NDArray[np.uint64], met: npt.NDArray[np.bool_]
    ) -> Iterator[Range]:
        """Yield what is missing, and mark in ``met``, bool [n], those of ``done`` that are met."""
        begin: int | None = None
        for start, ids in self.ids(identity):
            place = _places(done, ids)
            open_here = place < 0
            met[place[~open_here]] = True
            edges = np.flatnonzero(np.diff(open_here, prepend=begin is not None))
            for edge in (edges + start).tolist():
                if begin is None:
                    begin = edge
                else:
                    yield begin, edge
                    begin = None
        if begin is not None:
            yield begin, len(self)


def _places(
    ordered: npt.NDArray[np.uint64], values: npt.NDArray[np.uint64]
) -> npt.NDArray[np.intp]:
    """Return where each of ``values`` stands in ``ordered``, which ascends; -1 for nowhere."""
    places = np.full(len(values), -1, np.intp)
    if len(ordered) == 0:
        return places
    # Neighbours are looked up one after another, which spares the processor's caches.
    order = np.argsort(values)
    ascending = values[order]
    place = np.minimum(np.searchsorted(ordered, ascending), len(ordered) - 1)
    places[order] = np.where(ordered[place] == ascending, place, -1)
    return places
