"""What a plan will take: seconds on this machine and bytes of results.

``estimate`` times each segment of the model, which takes seconds itself; ``evaluation_seconds``
only counts, so that a run can ask it before it starts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from injecttf2.engine import GOLDEN_BYTES
from injecttf2.errors import ModelError, todo, told
from injecttf2.evaluation.chain import Chain
from injecttf2.evaluation.golden_cache import GoldenCache
from injecttf2.graph.cost import work
from injecttf2.graph.weights import weights_in
from injecttf2.trial import WEIGHTS, Cell, Scope
from orchestrator.planning.backlog import Backlog, by_group
from orchestrator.planning.plan import Plan

START_SECONDS = 4.0, 20.0
"""Loading TensorFlow in this process at least; starting Ray and loading it in every one at most."""

MARGIN = 1.5
"""What may come on top of the work that is counted: what else the machine does, and small costs.

Five campaigns in this process (outputs and weights, 0.02 to 0.6 million injections, on a machine
that had other work too) took 0.3 to 1.4 times what had been counted.
"""

DRAW_SECONDS = 2e-8
"""Drawing for a trial, for each sample of the data set."""

SITE_SECONDS = 5e-7
"""Drawing a site and corrupting it, which tells where bit error rates draw millions."""

LEAVING = 0.3
"""Share of the dense work behind a fault that is left where samples leave early, at least."""

PACE = 1e11
"""Counted work (``injecttf2.graph.cost``) that a process with two cores does in a second."""

PREPARATION_SECONDS = 0.15
"""Compiling what a further layer, or layers together, come in with."""

TRIAL_BYTES = 35
"""A trial's row in Parquet: 32 MB for a million, and what small files cost."""

INJECTION_BYTES = 24
"""A recorded site's row in Parquet."""


@dataclass(frozen=True)
class Estimate:
    """What a plan will take, roughly.

    Args:
        at_least: Seconds on this machine with all its cores, start-up included, where most samples
            leave early and the machine does nothing else.
        seconds: The same where none does, with what may come on top.
        bytes: In the run directory.
    """

    at_least: float
    seconds: float
    bytes: int


def estimate(plan: Plan) -> Estimate:
    """Estimate a plan from what each segment of the model takes to compile and for a batch.

    Raises:
        ModelError: The model raises on the data, as it would when it is run.
    """
    samples = len(plan.dataset)
    chain = Chain(plan.graph, samples, GOLDEN_BYTES)
    compiling, batch = _timed(plan, chain)
    per_sample = [seconds / size for seconds, size in zip(batch, chain.batch, strict=True)]
    least, most = START_SECONDS
    fixed = sum(compiling) + samples * sum(per_sample)
    for group in plan.grid.groups:
        first = _first(chain, group.scope)
        cells = list(plan.cells(group))
        fixed += _drawing(plan, cells)
        hits = sum(trials * plan.hits(cell) for cell, trials in cells)
        if first < len(chain):
            behind = sum(per_sample[first:]) * hits
            # A part of a batch costs a whole one, in each segment.
            entered = compiling[first] + sum(batch[first:])
            least += entered / 2 + LEAVING * behind
            most += MARGIN * (entered + behind)
    least, most = least + fixed, most + MARGIN * fixed
    size = plan.trials * TRIAL_BYTES
    if plan.campaign.record == "injections":
        size += int(plan.injections) * INJECTION_BYTES
    return Estimate(least, most, size)


def evaluation_seconds(plan: Plan, backlog: Backlog, *, levels: bool = True) -> float:
    """Return what the trials that are left take in one process, once its golden run is done.

    With a precision these are all that it may come to. A process with more than two cores is
    quicker, as Ray is with as many workers.

    Args:
        plan: The plan.
        backlog: What of it is left.
        levels: Whether samples may leave early; those of a fault in weights hardly do.
    """
    graph = plan.graph
    chain = Chain(graph, len(plan.dataset), GOLDEN_BYTES)
    works = [
        sum(work(one, graph.shapes) for one in graph.flow.path[segment.start : segment.stop])
        for segment in chain.segments
    ]
    withheld = by_group(plan.grid, [] if backlog.looks is None else backlog.looks.withheld())
    seconds, prepared = 0.0, set[Scope]()
    for group, spans in zip(
        plan.grid.groups, zip(backlog.todo, withheld, strict=True), strict=True
    ):
        left = sum(stop - start for span in spans for start, stop in span)
        if not left:
            continue
        cells = list(plan.cells(group))
        most = sum(trials for _, trials in cells)
        share = min(left, most) / most
        hits = share * sum(trials * plan.hits(cell) for cell, trials in cells)
        behind = sum(works[_first(chain, group.scope) :]) / graph.samples
        may_leave = levels and group.scope.target != WEIGHTS
        evaluated = hits * behind * (LEAVING if may_leave else 1.0) / PACE
        seconds += evaluated + share * _drawing(plan, cells)
        prepared.add(replace(group.scope, protection=None))  # once for all protections
    return seconds + PREPARATION_SECONDS * len(prepared)


def _drawing(plan: Plan, cells: Iterable[tuple[Cell, int]]) -> float:
    """Return what drawing and corrupting the sites of cells' trials takes, in seconds."""
    each, sites = len(plan.dataset) * DRAW_SECONDS, plan.sampling.sites
    return sum(trials * (each + sites(cell) * SITE_SECONDS) for cell, trials in cells)


def _first(chain: Chain, scope: Scope) -> int:
    """Return the first segment that the faults of a scope come in with."""
    graph = chain.graph
    if scope.target == WEIGHTS:
        read = [graph.reading.read[one.variable.key] for one in weights_in(graph, scope.layers)]
        bounds = (chain.readers(names) for names in read)
        return min((one[0] for one in bounds if one is not None), default=len(chain))
    names = [graph.point(layer).name for layer in scope.layers]
    return min(
        (chain.segment_of(one) for one in names if graph.flow.reaches(one)), default=len(chain)
    )


def _timed(plan: Plan, chain: Chain) -> tuple[list[float], list[float]]:
    """Return what each segment takes to be compiled, and for a batch after that, in seconds.

    Raises:
        ModelError: The model raises on these data.
    """
    cache = GoldenCache(chain, plan.dataset, GOLDEN_BYTES)
    compiling, batch = [], []
    try:
        given = cache.inputs(0, min(max(chain.batch), len(plan.dataset)))
        for index in range(len(chain)):
            begin = time.perf_counter()
            following = cache.through(index, given)
            first = time.perf_counter() - begin
            begin = time.perf_counter()
            cache.through(index, given)
            again = time.perf_counter() - begin
            count = -(-given[0].shape[0] // chain.batch[index])
            batch.append(again / count)
            compiling.append(max(0.0, first - again))
            given = following
    except Exception as error:
        raise ModelError(
            f"the model cannot be run on the data: {told(error)}",
            place=plan.model.name,
            hint=todo(error),
        ) from error
    return compiling, batch
