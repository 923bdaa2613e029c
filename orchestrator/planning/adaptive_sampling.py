"""Which trials of a plan with a precision are due: the looks at its cells.

Every cell has a range of positions in the grid, as long as it may get trials. Those up to its next
look are released; when all of them are done, the look decides whether the cell has enough, or which
are released next. So a cell's trials depend on its own rows alone.

A cell one of whose trials is given up on gets no further; `--retry-failed` may change that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from injecttf2.trial import WEIGHTS, Cell, Identity, cell_id
from orchestrator.campaign.precision import CellTally, Precision
from orchestrator.planning.trial_grid import Grid
from orchestrator.scheduling.events import Range

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class _Done:
    """Trials of one cell that are done.

    Args:
        repetition: int32 [trials], each once.
        injected: int64 [trials].
        hits: int64 [trials], injected samples that count for the rate.
    """

    repetition: Any
    injected: Any
    hits: Any

    def take(self, chosen: Any) -> _Done:
        return _Done(self.repetition[chosen], self.injected[chosen], self.hits[chosen])


@dataclass(slots=True)
class _State:
    """What is known of a cell.

    Args:
        group: Index of its group in the grid.
        start: Position of its first trial.
        trials: How many it may get.
        looks: Trials at its looks, of which the last may be cut off.
        tally: What its trials have brought, as far as they are released.
        next: Which look comes next; ``len(looks)`` when the cell goes no further.
        is_met: Whether it is known as well as asked.
        later: Trials of earlier runs that are done and not released.
    """

    group: int
    start: int
    trials: int
    looks: tuple[int, ...]
    tally: CellTally
    next: int = 0
    is_met: bool = False
    later: _Done | None = None

    @property
    def is_open(self) -> bool:
        """Whether the cell may get more trials."""
        return self.next < len(self.looks)

    @property
    def released(self) -> int:
        """How many of its trials are released."""
        return self.looks[self.next if self.is_open else -1]

    def add(self, done: _Done) -> None:
        """Count trials, which are released."""
        self.tally = replace(
            self.tally,
            trials=self.tally.trials + len(done.hits),
            injected=self.tally.injected + int(done.injected.sum()),
            hits=self.tally.hits + int(done.hits.sum()),
            squares=self.tally.squares + float(np.square(done.hits.astype(np.float64)).sum()),
        )

    def look(self, precision: Precision) -> None:
        """Look as often as the trials allow."""
        self._add_later()
        while self.is_open and self.tally.trials == self.looks[self.next]:
            self.next += 1
            if precision.is_met(self.tally):
                self.is_met = True
                self.looks = self.looks[: self.next]
            self._add_later()

    def _add_later(self) -> None:
        """Count those trials of earlier runs that are released now."""
        if self.later is None or not self.is_open:
            return
        now = self.later.repetition < self.released
        self.add(self.later.take(now))
        self.later = self.later.take(~now)

    def ranges(self, first: int, done: Any) -> Iterator[Range]:
        """Yield the positions of released trials from the ``first`` on that are not ``done``."""
        begin = first
        here = done[(done >= first) & (done < self.released)]
        for end in (*np.sort(here).tolist(), self.released):
            if begin < end:
                yield self.start + begin, self.start + end
            begin = end + 1


class AdaptiveSampling:
    """The cells of a grid that go on until they are known well enough.

    Args:
        grid: The grid.
        identity: What the ids of cells are made from.
        precision: What is asked for.
        looks: Returns the trials at the looks of a cell; the last is the number of its trials.
    """

    def __init__(
        self,
        grid: Grid,
        identity: Identity,
        precision: Precision,
        looks: Callable[[Cell], tuple[int, ...]],
    ) -> None:
        self._precision = precision
        self._cells: dict[int, _State] = {}
        for index, group in enumerate(grid.groups):
            start = group.start
            for cell, trials in grid.cells(group):
                if is_adaptive(cell):
                    tally = CellTally(clustered=cell.target == WEIGHTS)
                    state = _State(index, start, trials, looks(cell), tally)
                    self._cells[cell_id(identity, cell)] = state
                start += trials

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of trials that a look needs."""
        return ("cell_id", "repetition", "injected", self._precision.metric)

    @property
    def unmet(self) -> int:
        """How many cells go no further without being known as well as asked."""
        return sum(not state.is_open and not state.is_met for state in self._cells.values())

    def withheld(self) -> Iterator[Range]:
        """Yield the positions that are not released, ascending."""
        for state in self._cells.values():
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
            state = self._cells.get(key)
            if state is not None and state.released <= repetition < state.trials:
                groups[row] = state.group
        return groups

    def resume(self, trials: pa.Table | pd.DataFrame) -> None:
        """Take in what earlier runs have done: look at each cell as often as its trials allow.

        Args:
            trials: The ``columns`` of all trials that are done, in any order, each once.
        """
        for state, done in self._by_cell(trials):
            state.later = done
            state.look(self._precision)

    def done(self, trials: pa.Table) -> list[tuple[int, Range]]:
        """Take in trials that were done, and return what they release: groups and positions.

        Args:
            trials: Their ``columns``, released and not taken in yet.
        """
        released: list[tuple[int, Range]] = []
        for state, done in self._by_cell(trials):
            first = state.released
            earlier = np.empty(0, np.int32) if state.later is None else state.later.repetition
            state.add(done)
            state.look(self._precision)
            released += [(state.group, span) for span in state.ranges(first, earlier)]
        return released

    def _by_cell(self, trials: pa.Table | pd.DataFrame) -> Iterator[tuple[_State, _Done]]:
        """Yield the trials of each cell that is looked at."""
        keys, *columns = (trials[name].to_numpy() for name in self.columns)
        order = np.argsort(keys, kind="stable")
        edges = np.flatnonzero(np.diff(keys[order])) + 1
        for chosen in np.split(order, edges) if len(order) else ():
            state = self._cells.get(int(keys[chosen[0]]))
            if state is not None:
                yield state, _Done(*columns).take(chosen)


def is_adaptive(cell: Cell) -> bool:
    """Return whether a cell has draws, of which more may be made."""
    return cell.rate.sampling == "random"


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
