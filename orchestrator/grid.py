"""The grid: cells and trials by position, without any of them existing beforehand.

A grid is ordered by scope, then product, variable, fault, rate and repetition, so the trials of a
layer and target are one range of positions. A trial is computed from its position; memory does not
grow with their number.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from injecttf2.fault_model import Fault
from injecttf2.rates import Rate
from injecttf2.trials import Cell, Identity, Repetitions, Scope, run_ids
from orchestrator.messages import Range

BLOCK_TRIALS = 65_536
"""Trials whose ids are made and looked up together: they take a few megabytes."""


@dataclass(frozen=True)
class Product:
    """Every variable with every fault with every rate, each given once.

    Args:
        faults: Fault models.
        rates: How many sites a trial gets.
        variables: Weight variables; None for all of a layer together, and for outputs.
        repetitions: Trials a cell.
        paired: Whether the cells are paired.
    """

    faults: tuple[Fault, ...]
    rates: Sequence[Rate]
    variables: tuple[str | None, ...] = (None,)
    repetitions: int = 1
    paired: bool = False

    def __len__(self) -> int:
        return len(self.variables) * len(self.faults) * len(self.rates)

    @property
    def trials(self) -> int:
        """Trials of all cells."""
        return len(self) * self.repetitions

    def cell(self, scope: Scope, index: int) -> Cell:
        """Return the cell at ``index``, in a scope."""
        index, rate = divmod(index, len(self.rates))
        variable, fault = divmod(index, len(self.faults))
        return Cell(
            scope.layer,
            self.faults[fault],
            self.rates[rate],
            scope.target,
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
class Listing:
    """Cells that are named one by one, each with one trial.

    Args:
        cells: Each once.
    """

    cells: tuple[Cell, ...]
    repetitions: int = 1

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def trials(self) -> int:
        """Trials of all cells."""
        return len(self.cells)

    def cell(self, scope: Scope, index: int) -> Cell:
        """Return the cell at ``index``."""
        del scope  # the cells know it
        return self.cells[index]


Cells = Product | Listing


def union(products: Iterable[Cells]) -> tuple[Cells, ...]:
    """Return disjoint products that hold every cell of ``products`` once, earlier ones first.

    All listings become one, behind the products.
    """
    disjoint: list[Product] = []
    listed: dict[Cell, None] = {}
    for product in products:
        if isinstance(product, Listing):
            listed.update(dict.fromkeys(product.cells))
            continue
        rest = [product]
        for earlier in tuple(disjoint):
            rest = [part for piece in rest for part in piece.without(earlier)]
        disjoint.extend(rest)
    return (*disjoint, *([Listing(tuple(listed))] if listed else []))


@dataclass(frozen=True)
class Group:
    """The trials of one scope: one range of positions.

    Args:
        scope: What is corrupted.
        products: Disjoint; what is injected there.
        start: Position of the first trial.
        stop: One past the position of the last.
    """

    scope: Scope
    products: tuple[Cells, ...]
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def layer(self) -> str:
        """The layers, as a results row names them."""
        return self.scope.layer

    @property
    def cells(self) -> int:
        """How many cells it has."""
        return sum(map(len, self.products))

    def at(self, offset: int) -> tuple[Cell, int, int]:
        """Return the cell of the trial at ``offset``, its repetition, and how many there are."""
        for product in self.products:
            if offset < product.trials:
                index, repetition = divmod(offset, product.repetitions)
                return product.cell(self.scope, index), repetition, product.repetitions
            offset -= product.trials
        raise IndexError(offset)


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
        scopes: What is corrupted, in the order of the model, with the products injected there.
    """

    def __init__(self, scopes: Sequence[tuple[Scope, Sequence[Cells]]]) -> None:
        groups: list[Group] = []
        start = 0
        for scope, products in scopes:
            disjoint = union(products)
            stop = start + sum(product.trials for product in disjoint)
            groups.append(Group(scope, disjoint, start, stop))
            start = stop
        self.groups = tuple(groups)
        self._starts = [group.start for group in groups]

    def __len__(self) -> int:
        return self.groups[-1].stop if self.groups else 0

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

    def runs(self, ranges: Iterable[Range]) -> Iterator[Repetitions]:
        """Yield the trials at some positions as runs of repetitions of one cell, in order."""
        for start, stop in ranges:
            position = start
            while position < stop:
                cell, repetition, repetitions = self._at(position)
                length = min(stop - position, repetitions - repetition)
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
