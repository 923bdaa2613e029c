"""What many tests build: cells, packages that are installed, cases of which few run in short."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from injecttf2.faults.fault_model import Fault
from injecttf2.faults.listed import FromFaultList
from injecttf2.protections import Protection
from injecttf2.sampling.rates import Rate
from injecttf2.trial import OUTPUTS, Cell, Scope


def cell_of(
    layer: str,
    fault: Fault,
    rate: Rate | FromFaultList,
    target: str = OUTPUTS,
    variable: str | None = None,
    paired: bool = False,
    protection: Protection | None = None,
) -> Cell:
    """A cell of a layer, or of several that are hit together, as a row names them."""
    scope = replace(Scope.of(layer, target), protection=protection)
    return Cell(scope, fault, rate, variable, paired)


def install_package(folder: Path, entry_points: str) -> None:
    """Give a folder of modules what an installer writes beside them; it has to be on the path."""
    metadata = folder / "mine-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)


def in_short(*names: str, of: Iterable[str]) -> list[Any]:
    """The names as parameters; all but some of them with ``--full`` only."""
    return [pytest.param(one, marks=[] if one in names else [pytest.mark.full]) for one in of]
