"""What is known of the cells that are looked at together, and which of their trials are released.

What a pool's cells may have up to its next look is released; when all of that is done, the look
decides whether the pool has enough, or what each of its cells gets next.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from orchestrator.campaign.precision import CellTally, Precision, Tally
from orchestrator.planning.allocation import Floats, PooledTally, allot
from orchestrator.scheduling.events import Range

_NONE = np.empty(0, np.int32)


@dataclass(frozen=True, eq=False)
class Done:
    """Trials of one cell that are done.

    Args:
        repetition: int32 [trials], each once.
        injected: int64 [trials].
        hits: int64 [trials], injected samples that count for the rate.
    """

    repetition: Any
    injected: Any
    hits: Any

    def take(self, chosen: Any) -> Done:
        """Return those of the trials that are chosen."""
        return Done(self.repetition[chosen], self.injected[chosen], self.hits[chosen])


@dataclass(slots=True)
class CellState:
    """What is known of a cell.

    Args:
        group: Index of its group in the grid.
        start: Position of its first trial.
        trials: How many it may get.
        weight: By how much it counts in its pool.
        tally: What its trials have brought, as far as they are released.
        kind: What it has in common with cells whose outcomes are as likely to differ: its bits.
        released: How many of its trials are released.
        later: Trials of earlier runs that are done and not released.
    """

    group: int
    start: int
    trials: int
    weight: int
    tally: CellTally
    kind: Hashable = None
    released: int = 0
    later: Done | None = None

    def add(self, done: Done) -> None:
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
class PoolState:
    """The cells whose rate is asked for as one, in the order of the grid.

    Args:
        label: What they are, as users are told; of cells that are alone nothing is.
        looks: Trials of all at its looks, of which the last may be cut off.
        cells: The cells.
        next: Which look comes next; ``len(looks)`` when the pool goes no further.
        is_met: Whether its rate is known as well as asked.
        missing: How many released trials are not done.
        shares: float64 [cells], in which proportion they have trials; None before a look.
    """

    label: str
    looks: tuple[int, ...]
    cells: list[CellState] = field(default_factory=list)
    next: int = 0
    is_met: bool = False
    missing: int = 0
    shares: Floats | None = None

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
        self.add_later()

    def _allot(self, total: int, precision: Precision) -> list[int]:
        """Return how many of a total of trials each cell gets: by sites up to the first look."""
        counts = np.array([max(one.released, precision.minimum) for one in self.cells], np.int64)
        if self.next and precision.is_neyman and self.shares is None:
            self.shares = self._pooled.shares([one.kind for one in self.cells])
        sites = np.array([one.weight for one in self.cells], np.float64)
        shares = sites if self.shares is None else self.shares
        return allot(total, counts, shares).tolist()  # type: ignore[no-any-return]

    def add(self, cell: CellState, done: Done) -> None:
        """Count trials of one of the cells, which are released."""
        cell.add(done)
        self.missing -= len(done.hits)

    def add_later(self) -> None:
        """Count those trials of earlier runs that are released now."""
        for cell in self.cells:
            cell.add_later()
        self.missing = sum(cell.released for cell in self.cells) - self.trials

    def look(self, precision: Precision) -> None:
        """Look as often as the trials allow."""
        while self.is_open and not self.missing:
            self.next += 1
            if precision.is_met(self.tally):
                self.is_met = True
                self.looks = self.looks[: self.next]
            if self.is_open:
                self.release(precision)

    def go_on(self, precision: Precision) -> list[tuple[int, Range]]:
        """Look, and return what that releases and is not done: groups and positions."""
        if self.missing:
            return []
        before = [(cell.released, cell.later) for cell in self.cells]
        self.look(precision)
        return [
            (cell.group, span)
            for cell, (first, later) in zip(self.cells, before, strict=True)
            for span in cell.ranges(first, _NONE if later is None else later.repetition)
        ]

    def reached(self, precision: Precision, *, ended: bool) -> dict[str, Any]:
        """Return what is known; see ``AdaptiveSampling.reached``."""
        if self.is_open:
            state = "waiting" if ended else "open"
        else:
            state = "reached" if self.is_met else "stopped"
        tally = self.tally
        low, high = tally.interval(precision.confidence)
        numbers = {
            "rate": tally.rate,
            "low": low,
            "high": high,
            "margin": precision.margin(tally),
            "asked": precision.asked(tally),
        }
        return {
            "of": self.label,
            "metric": precision.metric,
            "trials": self.trials,
            **{name: None if np.isnan(one) else one for name, one in numbers.items()},
            "state": state,
        }
