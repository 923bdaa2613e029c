"""How well the rates of a plan's cells will be known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from injecttf2.sampling.rates import Rate
from injecttf2.trial import WEIGHTS
from orchestrator.planning.plan import Plan
from orchestrator.planning.pools import is_adaptive
from results.statistics import wilson

FEWEST = 30
"""Injections of a cell, or faults in weights, below which its rate is hardly known.

Of fewer than 30 a rate of 10 % may well show none (0.9^29 = 5 %), and half the 95 % interval of a
rate of 50 % is 17 % and more.
"""

RATES = (0.5, 0.01)
"""Rates that the width of intervals is told for: the one that is known worst, and a small one."""


@dataclass(frozen=True)
class Expectation:
    """What the cells of one target at one rate will have, if their number of draws is fixed.

    Args:
        target: ``outputs`` or ``weights``.
        rate: Their rate.
        least: Independent injections to expect in a cell that gets fewest: injected samples, in
            weights faults.
        most: The same in a cell that gets most.
        cells: How many cells there are.
        few: How many of them get fewer than ``FEWEST``.
        repetitions: By how many repetitions all would get as many.
    """

    target: str
    rate: Rate
    least: float
    most: float
    cells: int
    few: int
    repetitions: int

    @property
    def half_widths(self) -> dict[float, tuple[float, float]]:
        """Half of the 95 % interval of each of ``RATES``, at the least and at the most."""
        return {rate: (half_width(rate, self.least), half_width(rate, self.most)) for rate in RATES}

    @property
    def unit(self) -> str:
        """What is counted."""
        return "faults" if self.target == WEIGHTS else "injections"


def expectations(plan: Plan) -> list[Expectation]:
    """Return what cells will have, by target and rate.

    Cells that nothing is injected into are left out, as are those that go on until they are known,
    or through every site.
    """
    found: dict[tuple[str, Rate], list[tuple[float, int]]] = {}
    if plan.campaign.precision is None:
        for cell, trials in plan.grid.cells():
            if is_adaptive(cell) and (units := plan.sampling.units(cell)) > 0:
                found.setdefault((cell.target, cell.rate), []).append((units, trials))
    return [_of(target, rate, cells) for (target, rate), cells in found.items()]


def warnings_of(expected: list[Expectation]) -> Iterator[str]:
    """Yield in which target cells will tell next to nothing, and what to do."""
    for target in dict.fromkeys(one.target for one in expected):
        those = [one for one in expected if one.target == target]
        if few := sum(one.few for one in those):
            yield (
                f"{few:,} of {sum(one.cells for one in those):,} cells in {target} will have fewer "
                f"than {FEWEST} {those[0].unit}, of which a rate of 10 % may show none: "
                f"`repetitions: {max(one.repetitions for one in those):,}` gives {FEWEST} to each, "
                "`precision: {half_width: 0.05}` as many as it takes"
            )


def half_width(rate: float, injections: float) -> float:
    """Return half of Wilson's 95 % interval of a rate that some injections had."""
    low, high = wilson(rate * injections, injections)
    return float(high - low) / 2


def _of(target: str, rate: Rate, cells: list[tuple[float, int]]) -> Expectation:
    totals = [units * trials for units, trials in cells]
    return Expectation(
        target,
        rate,
        least=min(totals),
        most=max(totals),
        cells=len(cells),
        few=sum(round(total, 6) < FEWEST for total in totals),
        repetitions=math.ceil(round(FEWEST / min(units for units, _ in cells), 6)),
    )
