"""Which trials of a plan with a precision are due: the looks at its cells.

Every cell has a range of positions in the grid, as long as it may get trials. The cells whose rate
is asked for as one are a pool: one cell, or those of a layer or of the network. What its cells may
have up to its next look is released; when all of that is done, the look decides whether the pool
has enough, or what each of its cells gets next. So its trials depend on its own rows alone.

A pool one of whose trials is given up on gets no further; `--retry-failed` may change that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from injecttf2.trial import WEIGHTS, Cell, Identity, cell_id
from orchestrator.campaign.precision import CellTally, Precision, Tally
from orchestrator.planning.allocation import PooledTally, allot
from orchestrator.planning.pools import Pool, label_of
from orchestrator.scheduling.events import Range

if TYPE_CHECKING:
    import pandas as pd


_NONE = np.empty(0, np.int32)


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
        weight: By how much it counts in its pool.
        tally: What its trials have brought, as far as they are released.
        released: How many of its trials are released.
        later: Trials of earlier runs that are done and not released.
    """

    group: int
    start: int
    trials: int
    weight: int
    tally: CellTally
    released: int = 0
    later: _Done | None = None

    def add(self, done: _Done) -> None:
        """Count trials, which are released."""
        self.tally = replace(
            self.tally,
            trials=self.tally.trials + len(done.hits),
            injected=self.tally.injected + int(done.injected.sum()),
            hits=self.tally.hits + int(done.hits.sum()),
            squares=self.tally.squares + float(np.square(done.hits.astype(np.float64)).sum()),
        )

    def add_later(self) -> None:
        """Count those trials of earlier runs that are released now."""
        if self.later is not None:
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


@dataclass(slots=True)
class _Pool:
    """The cells whose rate is asked for as one, in the order of the grid.

    Args:
        label: What they are, as users are told; of cells that are alone nothing is.
        looks: Trials of all at its looks, of which the last may be cut off.
        cells: The cells.
        next: Which look comes next; ``len(looks)`` when the pool goes no further.
        is_met: Whether its rate is known as well as asked.
    """

    label: str
    looks: tuple[int, ...]
    cells: list[_State] = field(default_factory=list)
    next: int = 0
    is_met: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it may get more trials."""
        return self.next < len(self.looks)

    @property
    def tally(self) -> Tally:
        """What its trials have brought, as far as they are released."""
        if len(self.cells) == 1:
            return self.cells[0].tally
        return self._pooled

    @property
    def trials(self) -> int:
        """How many of its trials are done, as far as they are released."""
        return sum(cell.tally.trials for cell in self.cells)

    @property
    def _pooled(self) -> PooledTally:
        return PooledTally([one.tally for one in self.cells], [one.weight for one in self.cells])

    def release(self, precision: Precision) -> None:
        """Release the trials up to the next look."""
        total = self.looks[self.next]
        each = [total] if len(self.cells) == 1 else self._allot(total, precision)
        for cell, count in zip(self.cells, each, strict=True):
            cell.released = min(count, cell.trials)
            cell.add_later()

    def _allot(self, total: int, precision: Precision) -> list[int]:
        """Return how many of a total of trials each cell gets."""
        counts = np.array([max(one.released, precision.minimum) for one in self.cells], np.int64)
        shares = self._pooled.shares(precision.allocation or "neyman")
        return allot(total, counts, shares).tolist()  # type: ignore[no-any-return]

    def look(self, precision: Precision) -> None:
        """Look as often as the trials allow."""
        while self.is_open and self.trials == sum(cell.released for cell in self.cells):
            self.next += 1
            if precision.is_met(self.tally):
                self.is_met = True
                self.looks = self.looks[: self.next]
            if self.is_open:
                self.release(precision)

    def go_on(self, precision: Precision) -> list[tuple[int, Range]]:
        """Look, and return what that releases and is not done: groups and positions."""
        before = [(cell.released, cell.later) for cell in self.cells]
        self.look(precision)
        return [
            (cell.group, span)
            for cell, (first, later) in zip(self.cells, before, strict=True)
            for span in cell.ranges(first, _NONE if later is None else later.repetition)
        ]

    def reached(self, precision: Precision) -> dict[str, Any]:
        """Return what is known; see ``AdaptiveSampling.reached``."""
        tally = self.tally
        low, high = tally.interval(precision.confidence)
        numbers = {
            "rate": tally.rate,
            "low": low,
            "high": high,
            "half_width": (high - low) / 2,
            "asked": precision.asked(tally),
        }
        return {
            "of": self.label,
            "metric": precision.metric,
            "trials": self.trials,
            **{name: None if np.isnan(one) else one for name, one in numbers.items()},
            "state": "open" if self.is_open else "reached" if self.is_met else "stopped",
        }


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
        self._pools: list[_Pool] = []
        self._cells: dict[int, tuple[_Pool, _State]] = {}
        for members in pools:
            label = label_of(members, precision) if precision.pools else ""
            pool = _Pool(label, looks(members))
            for cell, group, start, trials in members:
                tally = CellTally(clustered=cell.target == WEIGHTS)
                pool.cells.append(_State(group, start, trials, weight(cell), tally))
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

    def reached(self) -> list[dict[str, Any]]:
        """Return how well the rates of layers or of the network are known, as JSON holds it.

        Returns:
            One for each: ``of``, what it is; ``metric``; ``trials``, of those that count so far;
            ``rate``, ``low``, ``high``; ``half_width`` and the one that is ``asked``, None where
            nothing is known; ``state``: ``reached``, ``open``, or ``stopped`` where all trials that
            it may have did not do. None of cells.
        """
        return [pool.reached(self._precision) for pool in self._pools if self._precision.pools]

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
            state.add_later()
        for pool in self._pools:
            pool.look(self._precision)

    def done(self, trials: pa.Table) -> list[tuple[int, Range]]:
        """Take in trials that were done, and return what they release: groups and positions.

        Args:
            trials: Their ``columns``, released and not taken in yet.
        """
        pools: dict[int, _Pool] = {}
        for pool, state, done in self._by_cell(trials):
            state.add(done)
            pools[id(pool)] = pool
        return [one for pool in pools.values() for one in pool.go_on(self._precision)]

    def _by_cell(self, trials: pa.Table | pd.DataFrame) -> Iterator[tuple[_Pool, _State, _Done]]:
        """Yield the trials of each cell that is looked at, with its pool."""
        keys, *columns = (trials[name].to_numpy() for name in self.columns)
        order = np.argsort(keys, kind="stable")
        edges = np.flatnonzero(np.diff(keys[order])) + 1
        for chosen in np.split(order, edges) if len(order) else ():
            known = self._cells.get(int(keys[chosen[0]]))
            if known is not None:
                yield *known, _Done(*columns).take(chosen)


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
