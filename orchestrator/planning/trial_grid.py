"""The grid: cells and trials by position, without any of them existing beforehand.

A grid is ordered by scope, then product, variable, fault, rate and repetition, so the trials of a
layer and target are one range of positions. A trial is computed from its position; memory does not
grow with their number.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from injecttf2.faults.fault_model import Fault
from injecttf2.sampling.rates import Rate
from injecttf2.trial import Cell, CellTrials, Identity, Scope, run_ids
from orchestrator.scheduling.events import Range

BLOCK_TRIALS = 65_536
"""Trials whose ids are made and looked up together: they take a few megabytes."""


@dataclass(frozen=True)
class Product:
    """Every variable with every fault with every rate, each given once.

    Args:
        faults: Fault models.
        rates: How many sites a trial gets.
        variables: Weight variables; None for all of a layer together, and for outputs.
        repetitions: Trials a cell, or what returns it for a cell.
        paired: Whether the cells are paired.
    """

    faults: tuple[Fault, ...]
    rates: Sequence[Rate]
    variables: tuple[str | None, ...] = (None,)
    repetitions: int | Callable[[Cell], int] = 1
    paired: bool = False

    def __len__(self) -> int:
        return len(self.variables) * len(self.faults) * len(self.rates)

    def cell(self, scope: Scope, index: int) -> Cell:
        """Return the cell at ``index``, in a scope."""
        index, rate = divmod(index, len(self.rates))
        variable, fault = divmod(index, len(self.faults))
        return Cell(
            scope,
            self.faults[fault],
            self.rates[rate],
            self.variables[variable],
            self.paired,
        )

    def without(self, other: Product) -> list[Product]:
        """Return what of this product is not in ``other``, as disjoint products, none empty."""
        variables = _split(self.variables, other.variables)
        faults = _split(self.faults, other.faults)
        rates = _split(self.rates, other.rates)
        parts = [
            replace(self, variables=variables.new),
            replace(self, variables=variables.known, faults=faults.new),
            replace(self, variables=variables.known, faults=faults.known, rates=rates.new),
        ]
        return [part for part in parts if len(part)]


Item = TypeVar("Item")


class _Split(NamedTuple, Generic[Item]):
    new: tuple[Item, ...]
    known: tuple[Item, ...]


def _split(items: Sequence[Item], others: Iterable[Item]) -> _Split[Item]:
    """Tell those that are among others from those that are not."""
    known = frozenset(others)
    return _Split(
        tuple(item for item in items if item not in known),
        tuple(item for item in items if item in known),
    )


@dataclass(frozen=True)
class FaultListCells:
    """Cells that are named one by one, each with one trial.

    Args:
        cells: Each once.
    """

    cells: tuple[Cell, ...]
    repetitions: int = 1

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def faults(self) -> Iterator[Fault]:
        """The fault model of each cell."""
        return (cell.fault for cell in self.cells)

    def cell(self, scope: Scope, index: int) -> Cell:
        """Return the cell at ``index``."""
        del scope  # the cells know it
        return self.cells[index]


Cells = Product | FaultListCells


def union(products: Iterable[Cells]) -> tuple[Cells, ...]:
    """Return disjoint products that hold every cell of ``products`` once, earlier ones first.

    All listings become one, behind the products.
    """
    disjoint: list[Product] = []
    listed: dict[Cell, None] = {}
    for product in products:
        if isinstance(product, FaultListCells):
            listed.update(dict.fromkeys(product.cells))
            continue
        rest = [product]
        for earlier in tuple(disjoint):
            rest = [part for piece in rest for part in piece.without(earlier)]
        disjoint.extend(rest)
    return (*disjoint, *([FaultListCells(tuple(listed))] if listed else []))


class Numbered:
    """Cells one after another, each with its trials.

    Args:
        cells: The cells.
        scope: What they corrupt.
    """

    def __init__(self, cells: Cells, scope: Scope) -> None:
        self.cells = cells
        self._scope = scope
        self._each = cells.repetitions if isinstance(cells.repetitions, int) else None
        self._ends: npt.NDArray[np.int64] | None = None
        if not isinstance(cells.repetitions, int):
            counts = [cells.repetitions(cells.cell(scope, index)) for index in range(len(cells))]
            self._ends = np.cumsum(counts, dtype=np.int64)

    def __len__(self) -> int:
        if self._ends is None:
            return len(self.cells) * (self._each or 0)
        return int(self._ends[-1]) if len(self._ends) else 0

    def at(self, offset: int) -> tuple[Cell, int, int]:
        """Return the cell of the trial at ``offset``, its repetition, and how many there are."""
        if self._ends is None:
            assert self._each is not None  # noqa: S101 - one of them is
            index, repetition = divmod(offset, self._each)
            return self.cells.cell(self._scope, index), repetition, self._each
        index = int(np.searchsorted(self._ends, offset, side="right"))
        first = int(self._ends[index - 1]) if index else 0
        cell = self.cells.cell(self._scope, index)
        return cell, offset - first, int(self._ends[index]) - first


class Group:
    """The trials of one scope: one range of positions.

    Args:
        scope: What is corrupted.
        products: Disjoint; what is injected there.
        start: Position of the first trial.
    """

    def __init__(self, scope: Scope, products: Iterable[Cells], start: int) -> None:
        self.scope = scope
        self._blocks = [Numbered(product, scope) for product in products]
        self._ends = list(accumulate(map(len, self._blocks)))
        self.start = start
        self.stop = start + (self._ends[-1] if self._ends else 0)

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def layer(self) -> str:
        """The layers, as a results row names them."""
        return self.scope.label

    @property
    def cells(self) -> int:
        """How many cells it has."""
        return sum(len(block.cells) for block in self._blocks)

    @property
    def faults(self) -> Iterator[Fault]:
        """Its fault models, some of them several times."""
        return (fault for block in self._blocks for fault in block.cells.faults)

    def at(self, offset: int) -> tuple[Cell, int, int]:
        """Return the cell of the trial at ``offset``, its repetition, and how many there are."""
        if not 0 <= offset < len(self):
            raise IndexError(offset)
        number = bisect_right(self._ends, offset)
        return self._blocks[number].at(offset - (self._ends[number - 1] if number else 0))


@dataclass(frozen=True, eq=False)
class GridDifference:
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
        scopes: What is corrupted, in the order of the model, with the products injected there.
    """

    def __init__(self, scopes: Sequence[tuple[Scope, Sequence[Cells]]]) -> None:
        groups: list[Group] = []
        start = 0
        for scope, products in scopes:
            groups.append(Group(scope, union(products), start))
            start = groups[-1].stop
        self.groups = tuple(groups)
        self._starts = [group.start for group in groups]

    def __len__(self) -> int:
        return self.groups[-1].stop if self.groups else 0

    @property
    def faults(self) -> Iterator[Fault]:
        """Its fault models, some of them several times."""
        return (fault for group in self.groups for fault in group.faults)

    def by_layer(self) -> dict[str, int]:
        """Return how many trials each layer has, as results name it, in order."""
        counts: dict[str, int] = {}
        for group in self.groups:
            counts[group.layer] = counts.get(group.layer, 0) + len(group)
        return counts

    def __getitem__(self, position: int) -> tuple[Cell, int]:
        """Return the cell and the repetition of the trial at ``position``.

        Raises:
            IndexError: The grid has no such position.
        """
        cell, repetition, _ = self._at(position)
        return cell, repetition

    def __iter__(self) -> Iterator[tuple[Cell, int]]:
        for run in self.runs([(0, len(self))]):
            for repetition in range(run.start, run.stop):
                yield run.cell, repetition

    def _at(self, position: int) -> tuple[Cell, int, int]:
        """Return the cell at a position, its repetition, and how many the cell has."""
        if not 0 <= position < len(self):
            raise IndexError(f"a grid of {len(self)} trials has no position {position}")
        group = self.groups[bisect_right(self._starts, position) - 1]
        return group.at(position - group.start)

    def cells(self, group: Group | None = None) -> Iterator[tuple[Cell, int]]:
        """Yield each cell, of a group or of all, with the number of its trials, in order."""
        span = (0, len(self)) if group is None else (group.start, group.stop)
        for run in self.runs([span]):
            yield run.cell, len(run)

    def runs(self, ranges: Iterable[Range]) -> Iterator[CellTrials]:
        """Yield the trials at some positions as runs of repetitions of one cell, in order."""
        for start, stop in ranges:
            position = start
            while position < stop:
                cell, repetition, repetitions = self._at(position)
                length = min(stop - position, repetitions - repetition)
                yield CellTrials(cell, repetition, repetition + length)
                position += length

    def ids(self, identity: Identity) -> Iterator[tuple[int, npt.NDArray[np.uint64]]]:
        """Yield the ids of all trials in blocks, each with the position of its first trial.

        The ids are uint64 [``BLOCK_TRIALS``], fewer in the last block.
        """
        for block in _blocks([(0, len(self))]):
            yield block[0][0], run_ids(identity, self.runs(block))

    def missing(self, identity: Identity, done: npt.NDArray[np.uint64]) -> Iterator[Range]:
        """Yield the ranges of positions whose trials are not among ``done``, ascending.

        Args:
            identity: What the ids are made from.
            done: uint64 [n], ids of finished trials, ascending, each once.
        """
        return self._missing(identity, done, np.zeros(len(done), np.bool_), [(0, len(self))])

    def compare(
        self,
        identity: Identity,
        done: npt.NDArray[np.uint64],
        ranges: Iterable[Range] | None = None,
    ) -> GridDifference:
        """Return what ``done`` lacks of this grid and what it holds beside it, in one pass.

        Args:
            identity: What the ids are made from.
            done: uint64 [n], ids of finished trials, ascending, each once.
            ranges: The positions that count, ascending; None for all.
        """
        met = np.zeros(len(done), np.bool_)
        spans = [(0, len(self))] if ranges is None else ranges
        missing = tuple(self._missing(identity, done, met, spans))
        return GridDifference(missing, done[~met])

    def _missing(
        self,
        identity: Identity,
        done: npt.NDArray[np.uint64],
        met: npt.NDArray[np.bool_],
        ranges: Iterable[Range],
    ) -> Iterator[Range]:
        """Yield what is missing, and mark in ``met``, bool [n], those of ``done`` that are met."""
        begin = end = -1
        for block in _blocks(ranges):
            place = _places(done, run_ids(identity, self.runs(block)))
            met[place[place >= 0]] = True
            positions = np.concatenate([np.arange(*span) for span in block])[place < 0]
            edges = np.flatnonzero(np.diff(positions, prepend=-2, append=-2) != 1)
            for first, last in pairwise(edges.tolist()):
                start, stop = int(positions[first]), int(positions[last - 1]) + 1
                if start != end:
                    if begin < end:
                        yield begin, end
                    begin = start
                end = stop
        if begin < end:
            yield begin, end


def _blocks(ranges: Iterable[Range]) -> Iterator[list[Range]]:
    """Yield ranges cut into blocks of ``BLOCK_TRIALS`` trials, the last of what is left."""
    block: list[Range] = []
    room = BLOCK_TRIALS
    for start, stop in ranges:
        begin = start
        while begin < stop:
            end = min(stop, begin + room)
            block.append((begin, end))
            room -= end - begin
            begin = end
            if not room:
                yield block
                block, room = [], BLOCK_TRIALS
    if block:
        yield block


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
