"""What many tests build: cells by the names that rows have."""

from __future__ import annotations

from injecttf2.faults.fault import Fault
from injecttf2.faults.listed import FromFaultList
from injecttf2.sampling.rates import Rate
from injecttf2.trial import OUTPUTS, Cell, Scope


def cell_of(
    layer: str,
    fault: Fault,
    rate: Rate | FromFaultList,
    target: str = OUTPUTS,
    variable: str | None = None,
    paired: bool = False,
) -> Cell:
    """A cell of a layer, or of several that are hit together, as a row names them."""
    return Cell(Scope.of(layer, target), fault, rate, variable, paired)
