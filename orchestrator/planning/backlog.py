"""What of a plan is still to be done in a run directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from orchestrator.planning.adaptive_sampling import AdaptiveSampling, CellsReached, without
from orchestrator.planning.plan import Plan
from orchestrator.planning.trial_grid import Grid
from orchestrator.scheduling.events import Range
from results import RunWriter, open_run
from results.ids import Ids, ascending, contains, difference, union


@dataclass(frozen=True)
class Released:
    """Trials of a cell that a look at it has released.

    Args:
        group: Index of the group in the grid.
        layer: What it hits.
        trials: How many they are.
        ranges: Positions of those that are to be done; the others were given up on before.
    """

    group: int
    layer: str
    trials: int
    ranges: tuple[Range, ...]

    @property
    def todo(self) -> int:
        """How many are to be done."""
        return _length(self.ranges)


@dataclass(frozen=True)
class Backlog:
    """What is to be done, and what is settled.

    Args:
        todo: For each group of the grid, the positions of the trials to do, ascending.
        begun: Indices of the groups of which trials are done.
        done: Trials of the plan whose rows are published.
        given_up: Trials of the plan that were given up on and are not to be tried again.
        outside: Published trials that are not in the plan, by layer: the grid was narrowed.
        failed_outside: uint64 [n], ascending: ids of trials that were given up on and are not in
            the plan.
        failed: uint64 [n], ascending: ids of all trials that are not to be tried again.
        withheld: By layer, trials of the plan that are neither done nor to do before a look at
            their cell decides on them.
        looks: The looks at the cells; None where all trials of the plan are to be done.
    """

    todo: Sequence[Sequence[Range]]
    begun: frozenset[int] = frozenset()
    done: int = 0
    given_up: int = 0
    outside: Mapping[str, int] = field(default_factory=dict)
    failed_outside: Ids = field(default_factory=lambda: np.empty(0, np.uint64))
    failed: Ids = field(default_factory=lambda: np.empty(0, np.uint64))
    withheld: Mapping[str, int] = field(default_factory=dict)
    looks: AdaptiveSampling | None = None

    @property
    def trials(self) -> int:
        """Trials to do."""
        return sum(map(_length, self.todo))

    @property
    def unmet(self) -> int:
        """How many cells, layers or networks had all their trials and are not known as asked."""
        return 0 if self.looks is None else self.looks.unmet

    def reached(self, *, ended: bool) -> list[dict[str, Any]]:
        """Return how well rates are known that were asked for together.

        Args:
            ended: Whether nothing is left to do.
        """
        return [] if self.looks is None else self.looks.reached(ended=ended)

    @property
    def cells_reached(self) -> CellsReached | None:
        """How well rates are known that were asked for of each cell; None where none were."""
        return None if self.looks is None else self.looks.cells_reached()

    def planned(self, grid: Grid) -> Counter[str]:
        """Return how many trials of each layer are done, given up on or to be done by now."""
        planned = Counter(grid.by_layer())
        planned.subtract(self.withheld)
        return planned

    def release(self, plan: Plan, trials: Any) -> Iterator[Released]:
        """Yield what is released by trials that were done: ``AdaptiveSampling.columns`` of them."""
        grid = plan.grid
        for group, (start, stop) in self.looks.done(trials) if self.looks is not None else ():
            todo = tuple(grid.compare(plan.identity, self.failed, [(start, stop)]).missing)
            yield Released(group, grid.groups[group].layer, stop - start, todo)


def take_stock(plan: Plan, writer: RunWriter, output: str, *, retry_failed: bool) -> Backlog:
    """Return what is left of a plan.

    Args:
        plan: The plan.
        writer: Of the run directory.
        output: The run directory.
        retry_failed: Whether trials that were given up on are to be tried again.
    """
    grid, identity = plan.grid, plan.identity
    done, failed = writer.done_ids(), writer.failed_ids()
    looks, later = plan.new_looks(), np.empty(0, np.uint64)
    held: Counter[str] = Counter()
    if looks is not None and len(done):
        rows = open_run(output).trials(["trial_id", *looks.columns])
        looks.resume(rows)
        groups = looks.held_back(rows)
        later = ascending(rows["trial_id"].to_numpy()[groups >= 0])
        held.update(grid.groups[group].layer for group in groups[groups >= 0].tolist())
    released = [(0, len(grid))]
    if looks is not None:
        released = list(without(released, looks.withheld()))
    compared = grid.compare(identity, done, released)
    outside = difference(compared.outside, later)
    open_trials = by_group(grid, compared.missing)
    todo = open_trials
    settled = outside
    if len(failed):
        both = grid.compare(identity, union(done, failed), released)
        settled = difference(both.outside, later)
        if not retry_failed:
            todo = by_group(grid, both.missing)
    withheld = Counter(grid.by_layer())
    for group, spans in zip(grid.groups, by_group(grid, released), strict=True):
        withheld[group.layer] -= _length(spans)
    withheld.subtract(held)
    return Backlog(
        todo=todo,
        begun=frozenset(
            index
            for index, spans in enumerate(by_group(grid, released))
            if _length(open_trials[index]) < _length(spans)
        ),
        done=len(done) - len(outside),
        given_up=sum(map(_length, open_trials)) - sum(map(_length, todo)),
        outside=_by_layer(output, outside) if len(outside) else {},
        failed_outside=settled[contains(failed, settled)],
        failed=np.empty(0, np.uint64) if retry_failed else failed,
        withheld=withheld,
        looks=looks,
    )


def by_group(grid: Grid, ranges: Iterable[Range]) -> list[list[Range]]:
    """Cut ascending ranges of positions at the borders of the grid's groups."""
    groups: list[list[Range]] = [[] for _ in grid.groups]
    index = 0
    for start, stop in ranges:
        while start < stop:
            while grid.groups[index].stop <= start:
                index += 1
            end = min(stop, grid.groups[index].stop)
            groups[index].append((start, end))
            start = end
    return groups


def _length(ranges: Iterable[Range]) -> int:
    return sum(stop - start for start, stop in ranges)


def _by_layer(output: str, ids: Ids) -> dict[str, int]:
    """Count published trials by layer."""
    trials = open_run(output).trials(["trial_id", "layer"])
    counts = trials["layer"][contains(ids, trials["trial_id"].to_numpy())].value_counts(sort=False)
    return {str(layer): int(count) for layer, count in counts.items() if count}
