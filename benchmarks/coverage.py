"""How often the intervals of an adaptive plan hold the true rate, and how many trials it takes.

Simulated cells have rates from 0 to 0.5 and independent samples, or, for weights, faults of which
some change 90 % of the decisions and the others 0.5 %. Real ones are bits of the example's last
dense layer, whose true rates over all images and elements an exhaustive campaign tells.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import data
from orchestrator import Campaign, run
from orchestrator.campaign.precision import CellTally, Precision

CELLS = 1_000
"""Cells of each kind."""

HITS = 100
"""Injected samples a trial."""

PRECISION = Precision(half_width=0.01)

GRAVE, HARMLESS = 0.9, 0.005
"""Rates of the two kinds of simulated weight faults."""

ASKED = "93 % to 98 %"


@dataclass(frozen=True)
class Covered:
    """What became of some cells.

    Args:
        holds: Share of the cells whose interval holds the true rate.
        inner: The same among those whose true rate is not below 0.001.
        trials: Trials of all cells.
        fixed: Trials of a plan of one size for all, by Leveugle's formula.
    """

    holds: float
    inner: float
    trials: int
    fixed: int


def main() -> None:
    """Print the table."""
    table = Table(title=f"95 % intervals at a half width of {PRECISION.half_width}")
    table.add_column("")
    found = {
        "simulated": simulated(),
        "simulated weights": simulated_weights(),
        "real, dense_1": real(),
    }
    for name in found:
        table.add_column(name, justify="right")
    table.add_column("asked", justify="right")
    every = found.values()
    table.add_row("cells", *(f"{CELLS:,}" for _ in every), "")
    table.add_row("hold the true rate", *(f"{one.holds:.1%}" for one in every), ASKED)
    table.add_row("  of rates from 0.001", *(f"{one.inner:.1%}" for one in every), "")
    table.add_row("trials", *(f"{one.trials:,}" for one in every), "")
    table.add_row("trials of the fixed plan", *(f"{one.fixed:,}" for one in every), "")
    table.add_row("saved", *(f"{1 - one.trials / one.fixed:.0%}" for one in every), "")
    console = Console(width=100)
    console.print(table)
    console.print(f"{data.machine()}\n", highlight=False)


def simulated(seed: int = 2026) -> Covered:
    """Play the rule on cells whose samples are independent."""
    random = np.random.Generator(np.random.Philox(seed))
    rates = np.linspace(0, 0.5, CELLS)
    looks = PRECISION.looks(HITS)
    tallies = []
    for rate in rates:
        tally = CellTally()
        for look in looks:
            injected = (look - tally.trials) * HITS
            sdc = tally.hits + int(random.binomial(injected, rate))
            tally = CellTally(look, look * HITS, sdc)
            if PRECISION.is_met(tally):
                break
        tallies.append(tally)
    return _covered(rates, tallies, PRECISION.fixed(HITS, 10**12))


def simulated_weights(seed: int = 2026) -> Covered:
    """Play the rule on cells of weight faults, a few of which are grave."""
    random = np.random.Generator(np.random.Philox(seed))
    graves = np.linspace(0, 0.5, CELLS)
    rates = graves * GRAVE + (1 - graves) * HARMLESS
    looks = PRECISION.looks(1)
    tallies = []
    for grave in graves:
        faults = np.where(random.random(looks[-1]) < grave, GRAVE, HARMLESS)
        hits = random.binomial(HITS, faults)
        for look in looks:
            some = hits[:look]
            squares = float((some.astype(float) ** 2).sum())
            tally = CellTally(look, look * HITS, int(some.sum()), squares, clustered=True)
            if PRECISION.is_met(tally):
                break
        tallies.append(tally)
    return _covered(rates, tallies, PRECISION.fixed(1, 10**12))


def real() -> Covered:
    """Run adaptive campaigns under many seeds, and an exhaustive one for the truth."""
    folder = data.folder()
    common = {
        "model": str(folder / "models" / "mnist_model.h5"),
        "dataset": str(folder / "data" / "mnist.npz"),
    }
    grid = {"layers": "dense_1", "bits": "0-31"}
    truth: dict[int, float] = {}
    rates: list[float] = []
    tallies: list[CellTally] = []
    with tempfile.TemporaryDirectory() as place:
        every = Campaign(name="truth", exhaustive=True, grid=grid, **common)
        summary = run(every, Path(place) / "truth", executor="inline", quiet=True).summary("bit")
        truth = dict(zip(summary["bit"], summary["sdc_rate"], strict=True))
        seed = 0
        while len(rates) < CELLS:
            campaign = Campaign(
                name="adaptive",
                seed=seed,
                precision=PRECISION,
                grid={**grid, "probabilities": HITS / data.IMAGES},
                **common,
            )
            output = Path(place) / f"adaptive-{seed}"
            found = run(campaign, output, executor="inline", quiet=True).summary("bit")
            for row in found.to_dict("records"):
                rates.append(truth[row["bit"]])
                tallies.append(CellTally(row["trials"], row["injected"], row["sdc"]))
            seed += 1
    return _covered(
        np.array(rates[:CELLS]), tallies[:CELLS], PRECISION.fixed(HITS, 10 * data.IMAGES)
    )


def _covered(rates: np.ndarray, tallies: Sequence[CellTally], fixed: int) -> Covered:
    bounds = np.array([tally.interval(PRECISION.confidence) for tally in tallies])
    holds = (bounds[:, 0] <= rates) & (rates <= bounds[:, 1])
    return Covered(
        holds=float(holds.mean()),
        inner=float(holds[rates >= 1e-3].mean()),
        trials=sum(tally.trials for tally in tallies),
        fixed=fixed * len(tallies),
    )
