"""Pools: the cells of a grid whose rate is asked for as one.

With the scope ``cell`` each is one by itself. In a layer or in the network those belong together
that differ in their bits and variables, and in the network in their layers: a rate of different
faults, or of different numbers of sites, would be no rate of anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from injecttf2.errors import CampaignError
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.weights import weights_in
from injecttf2.trial import OUTPUTS, Cell
from orchestrator.campaign.campaign import Campaign
from orchestrator.campaign.precision import Precision
from orchestrator.planning.trial_grid import Grid

_APART = ("bit", "bit_field", "variable")
"""What the cells of a layer that belong together differ in."""


class Member(NamedTuple):
    """A cell of a pool.

    Args:
        cell: The cell.
        group: Index of its group in the grid.
        start: Position of its first trial.
        trials: How many it may get.
    """

    cell: Cell
    group: int
    start: int
    trials: int


Pool = Sequence[Member]


def is_adaptive(cell: Cell) -> bool:
    """Return whether a cell has draws, of which more may be made."""
    return cell.rate.sampling == "random"


def pools_of(grid: Grid, precision: Precision) -> list[Pool]:
    """Return the cells that go on until they are known, by what belongs together, in order."""
    found: dict[str | Cell, list[Member]] = {}
    for index, group in enumerate(grid.groups):
        start = group.start
        for cell, trials in grid.cells(group):
            if is_adaptive(cell):
                key = json.dumps(_shared(cell, precision)) if precision.pools else cell
                found.setdefault(key, []).append(Member(cell, index, start, trials))
            start += trials
    return list(found.values())


def label_of(pool: Pool, precision: Precision) -> str:
    """Return what a pool is, for users: ``weights of conv: bit_flip, count 1``."""
    shared = _shared(pool[0].cell, precision)
    layer, target = shared.pop("layer", "the network"), shared.pop("target")
    fault = shared.pop("fault")
    if (protection := pool[0].cell.scope.protection) is not None:
        shared["protection"] = protection.label
    rest = (f"{name} {value}" for name, value in shared.items())
    return f"{target} of {layer}: {', '.join([fault, *rest])}"


def check_pools(grid: Grid, campaign: Campaign, graph: ModelGraph) -> None:
    """See that what several cells are asked for together makes sense.

    Raises:
        CampaignError: Two of them share sites, which would count twice; or they may have fewer
            trials than each of them gets.
    """
    precision = campaign.precision
    if precision is None or not precision.pools:
        return
    dtypes = {info.layer: info.dtype for info in graph.layers}
    for pool in pools_of(grid, precision):
        seen: dict[tuple[Any, int | None], Cell] = {}
        for cell in (member.cell for member in pool):
            for place in _places(cell, graph, dtypes):
                if (other := seen.setdefault(place, cell)) is not cell:
                    raise CampaignError(
                        f"{_bits(other)} and {_bits(cell)} of {cell.layer} share sites, which "
                        f"would count twice in the rate of the {precision.scope}",
                        place=campaign.place("grid"),
                        hint="leave one of them out, or take `scope: cell`",
                    )
        least = precision.minimum * len(pool)
        if precision.maximum is not None and precision.maximum < least:
            raise CampaignError(
                f"{label_of(pool, precision)} has {len(pool):,} cells, which get {least:,} trials "
                f"at least; received a maximum of {precision.maximum:,}",
                place=campaign.place("precision", "maximum"),
                hint=f"expected {least:,} or more",
            )


def _shared(cell: Cell, precision: Precision) -> dict[str, Any]:
    """Return what the cells of a pool have in common."""
    apart = {*_APART, "layer"} if precision.scope == "network" else _APART
    return {name: value for name, value in cell.to_dict().items() if name not in apart}


def _places(
    cell: Cell, graph: ModelGraph, dtypes: Mapping[str, str]
) -> Iterator[tuple[Any, int | None]]:
    """Yield the tensors that a cell hits, each with the bits that it does; None for whole words."""
    if cell.target == OUTPUTS:
        hit: list[tuple[Any, str]] = [(one, dtypes[one]) for one in cell.scope.layers]
    else:
        named = weights_in(graph, cell.scope.layers)
        hit = [(one.variable.key, one.dtype) for one in named if cell.variable in (None, one.name)]
    for tensor, dtype in hit:
        for bit in cell.fault.choice(dtype).candidates or (None,):
            yield tensor, bit


def _bits(cell: Cell) -> str:
    fault = cell.fault
    return f"the bit {fault.bit}" if fault.bit is not None else f"the bits {fault.bit_field!r}"
