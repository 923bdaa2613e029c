"""Which trials of a plan with a precision are due: the looks at its cells.

Every cell has a range of positions in the grid, as long as it may get trials. The cells whose rate
is asked for as one are a pool: one cell, or those of a layer or of the network. What its cells may
have up to its next look is released; when all of that is done, the look decides whether the pool
has enough, or what each of its cells gets next. So its trials depend on its own rows alone.

A pool one of whose trials is given up on waits for it; `--retry-failed` may change that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from injecttf2.trial import WEIGHTS, Cell, Identity, cell_id
from orchestrator.campaign.precision import CellTally, Precision
from orchestrator.planning.pool_state import CellState, Done, PoolState
from orchestrator.planning.pools import Pool, label_of
from orchestrator.scheduling.events import Range

if TYPE_CHECKING:
    import pandas as pd


class CellsReached(NamedTuple):
    """How well the rates of cells are known, each by itself.

    Args:
        metric: The rate.
        cells: How many cells there are.
        trials: Trials of all that count so far.
        fewest: Of one cell.
        most: Of one cell.
        margin: Of the cell that is the furthest from what is asked; None where nothing is known.
        asked: What is asked of that cell.
    """

    metric: str
    cells: int
    trials: int
    fewest: int
    most: int
    margin: float | None
    asked: float | None


class AdaptiveSampling:
    """The cells of a grid that go on until they are known well enough.

    Args:
        pools: The cells that are looked at together.
        identity: What the ids of cells are made from.
        precision: What is asked for.
        looks: Returns the trials of a pool at its looks.
        weight: Returns by how much a cell counts in its pool.
    """

    def __init__(
        self,
        pools: Iterable[Pool],
        identity: Identity,
        precision: Precision,
        looks: Callable[[Pool], tuple[int, ...]],
        weight: Callable[[Cell], int],
    ) -> None:
        self._precision = precision
        self._pools: list[PoolState] = []
        self._cells: dict[int, tuple[PoolState, CellState]] = {}
        for members in pools:
            label = label_of(members, precision) if precision.pools else ""
            pool = PoolState(label, looks(members))
            for cell, group, start, trials in members:
                tally = CellTally(clustered=cell.target == WEIGHTS)
                bits = cell.fault.bit, cell.fault.bit_field
                pool.cells.append(CellState(group, start, trials, weight(cell), tally, bits))
                self._cells[cell_id(identity, cell)] = pool, pool.cells[-1]
            pool.release(precision)
            self._pools.append(pool)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of trials that a look needs."""
        return ("cell_id", "repetition", "injected", self._precision.metric)

    @property
    def unmet(self) -> int:
        """How many pools go no further without being known as well as asked."""
        return sum(not pool.is_open and not pool.is_met for pool in self._pools)

    def reached(self, *, ended: bool) -> list[dict[str, Any]]:
        """Return how well the rates of layers or of the network are known, as JSON holds it.

        Args:
            ended: Whether nothing is left to do.

        Returns:
            One for each: ``of``, what it is; ``metric``; ``trials``, of those that count so far;
            ``rate``, ``low``, ``high``; ``margin``, how far the interval reaches from the rate, and
            the one that is ``asked``, None where nothing is known; ``state``: ``reached``,
            ``open``, ``waiting`` where nothing is left to do but trials that were given up on, or
            ``stopped`` where all trials that it may have did not do. None of cells.
        """
        if not self._precision.pools:
            return []
        return [pool.reached(self._precision, ended=ended) for pool in self._pools]

    def cells_reached(self) -> CellsReached | None:
        """Return how well the rates of cells are known; None of cells that are asked for together.

        The margin is that of the cell that is the furthest from what is asked.
        """
        if self._precision.pools or not self._pools:
            return None
        every = [pool.reached(self._precision, ended=False) for pool in self._pools]
        trials = [one["trials"] for one in every]
        known = [one for one in every if one["margin"] is not None and one["asked"]]
        widest = max(known, key=lambda one: one["margin"] / one["asked"], default=None)
        return CellsReached(
            metric=self._precision.metric,
            cells=len(every),
            trials=sum(trials),
            fewest=min(trials),
            most=max(trials),
            margin=None if widest is None else widest["margin"],
            asked=None if widest is None else widest["asked"],
        )

    def withheld(self) -> Iterator[Range]:
        """Yield the positions that are not released, ascending."""
        cells = (cell for _, cell in self._cells.values())
        for state in sorted(cells, key=lambda cell: cell.start):
            if state.released < state.trials:
                yield state.start + state.released, state.start + state.trials

    def held_back(self, trials: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Return the groups of trials that are of this plan but not released, -1 for all others.

        Args:
            trials: ``cell_id`` and ``repetition`` of trials that are done.

        Returns:
            int64 [trials].
        """
        keys = zip(trials["cell_id"].tolist(), trials["repetition"].tolist(), strict=True)
        groups = np.full(len(trials), -1, np.int64)
        for row, (key, repetition) in enumerate(keys):
            _, state = self._cells.get(key, (None, None))
            if state is not None and state.released <= repetition < state.trials:
                groups[row] = state.group
        return groups

    def resume(self, trials: pa.Table | pd.DataFrame) -> None:
        """Take in what earlier runs have done: look as often as their trials allow.

        Args:
            trials: The ``columns`` of all trials that are done, in any order, each once.
        """
        for _, state, done in self._by_cell(trials):
            state.later = done
        for pool in self._pools:
            pool.add_later()
            pool.look(self._precision)

    def done(self, trials: pa.Table) -> list[tuple[int, Range]]:
        """Take in trials that were done, and return what they release: groups and positions.

        Args:
            trials: Their ``columns``, released and not taken in yet.
        """
        pools: dict[int, PoolState] = {}
        for pool, state, done in self._by_cell(trials):
            pool.add(state, done)
            pools[id(pool)] = pool
        return [one for pool in pools.values() for one in pool.go_on(self._precision)]

    def _by_cell(
        self, trials: pa.Table | pd.DataFrame
    ) -> Iterator[tuple[PoolState, CellState, Done]]:
        """Yield the trials of each cell that is looked at, with its pool."""
        keys, *columns = (trials[name].to_numpy() for name in self.columns)
        order = np.argsort(keys, kind="stable")
        edges = np.flatnonzero(np.diff(keys[order])) + 1
        for chosen in np.split(order, edges) if len(order) else ():
            known = self._cells.get(int(keys[chosen[0]]))
            if known is not None:
                yield *known, Done(*columns).take(chosen)


def without(ranges: Iterable[Range], withheld: Iterable[Range]) -> Iterator[Range]:
    """Yield ascending ranges without what is withheld, which ascends too."""
    rest = iter(withheld)
    gap = next(rest, None)
    for start, stop in ranges:
        while gap is not None and gap[1] <= start:
            gap = next(rest, None)
        while gap is not None and gap[0] < stop:
            if start < gap[0]:
                yield start, gap[0]
            start = min(stop, gap[1])
            if gap[1] > stop:
                break
            gap = next(rest, None)
        if start < stop:
            yield start, stop
