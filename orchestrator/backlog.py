"""What of a plan is still to be done in a run directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from orchestrator.grid import Grid
from orchestrator.looks import Looks, without
from orchestrator.messages import Range
from orchestrator.plan import Plan
from results import RunWriter, open_run
from results.ids import Ids, contains, union


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
    withheld: Mapping[str, int] = field(default_factory=dict)
    looks: Looks | None = None

    @property
    def trials(self) -> int:
        """Trials to do."""
        return sum(map(_length, self.todo))

    def planned(self, grid: Grid) -> Counter[str]:
        """Return how many trials of each layer are done, given up on or to be done by now."""
        planned = Counter(grid.by_layer())
        planned.subtract(self.withheld)
        return planned


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
    compared = grid.compare(identity, done)
    open_trials = by_group(grid, compared.missing)
    todo = open_trials
    outside = compared.outside
    if len(failed):
        settled = grid.compare(identity, union(done, failed))
        outside = settled.outside
        if not retry_failed:
            todo = by_group(grid, settled.missing)
    given_up = sum(map(_length, open_trials)) - sum(map(_length, todo))
    looks = plan.new_looks()
    withheld: dict[str, int] = {}
    if looks is not None:
        if len(done):
            looks.resume(open_run(output).trials(looks.columns))
        due = by_group(grid, without(chain.from_iterable(todo), looks.withheld()))
        for group, every, now in zip(grid.groups, todo, due, strict=True):
            kept = _length(every) - _length(now)
            withheld[group.layer] = withheld.get(group.layer, 0) + kept
        todo = due
    return Backlog(
        todo=todo,
        begun=frozenset(
            index
            for index, group in enumerate(grid.groups)
            if _length(open_trials[index]) < len(group)
        ),
        done=len(done) - len(compared.outside),
        given_up=given_up,
        outside=_by_layer(output, compared.outside) if len(compared.outside) else {},
        failed_outside=outside[contains(failed, outside)],
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
