"""How well the rate of a network is known in the end, and how many faults that takes.

The published table has 16,627 faults in the weights of ResNet-20, each evaluated on 10,000 images
(see ``published``). Those of a layer and a bit are what its cell is drawn from here, with
replacement; a cell counts by the true number of its weights. Layers and bits that the table has no
fault of are left out. Beside it are simulated faults that are critical in all images or in none.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks import data
from benchmarks.data import PUBLISHED_IMAGES
from injecttf2 import device
from orchestrator.campaign.precision import Allocation, CellTally, Precision
from orchestrator.planning.pool_state import CellState, Done, PoolState
from results.statistics.intervals import normal_quantile

CONFIDENCE = 0.99
"""Of the record."""

RATE, DEVIATION, FAULTS, QUANTILE = 0.00275632, 0.03727662, 16_590, 2.576
"""What IterativeFI prints of a campaign: the mean critical share of a fault and its deviation, the
number of faults; and the quantile by which its half width, 0.00104855, is that of the rate."""

ORDERS = 200


@dataclass(frozen=True)
class Population:
    """Faults by cell.

    Args:
        critical: For each cell, int64 [faults], in how many images each is critical.
        weights: By how much each cell counts.
        bits: The bit of each cell.
    """

    critical: Sequence[npt.NDArray[np.int64]]
    weights: Sequence[int]
    bits: Sequence[Hashable]

    @classmethod
    def of(cls, rates: Sequence[float], layers: int = 1) -> Population:
        """Return faults that are critical in all images or in none.

        Args:
            rates: For each bit, how many of its faults are critical, to thousandths.
            layers: How many layers have these bits.
        """
        critical = [
            np.repeat([PUBLISHED_IMAGES, 0], [n := round(1000 * p), 1000 - n]) for p in rates
        ]
        bits = [*range(len(rates))] * layers
        return cls(critical * layers, [1] * len(bits), bits)

    @property
    def rate(self) -> float:
        """The critical share of all."""
        means = [one.mean() / PUBLISHED_IMAGES for one in self.critical]
        return float(np.average(means, weights=self.weights))


@dataclass(frozen=True)
class Ends:
    """How replays in several orders ended, an element each.

    Args:
        trials: int64 [orders], faults that it took.
        rate: float64 [orders], the rate that they have.
        holds: bool [orders], whether the interval holds that of all.
    """

    trials: npt.NDArray[np.int64]
    rate: npt.NDArray[np.float64]
    holds: npt.NDArray[np.bool_]


MIXED = [0.4, *[0.03] * 8, *[0.002] * 23]

SIMULATED = {
    "20 bits of 1 %": (Population.of([0.01] * 20), {"half_width": 0.003}),
    "50 bits of 1 %": (Population.of([0.01] * 50), {"half_width": 0.003}),
    "10 bits of 1 %": (Population.of([0.01] * 10), {"relative": 0.3}),
    "a bit of 40 %, 8 of 3 %, 23 of 0.2 %": (Population.of(MIXED), {"half_width": 0.003}),
    "the same in 20 layers": (Population.of(MIXED, layers=20), {"half_width": 0.003}),
}


def main() -> None:
    """Print the intervals of the record, and what each allocation takes and comes to."""
    console = Console(width=110, highlight=False)
    binomial, clustered = half_widths()
    console.print(
        f"precision: {FAULTS:,} faults, rate {RATE}, deviation of a fault {DEVIATION}: half width "
        f"at {CONFIDENCE:.0%} {binomial:.8f} as outcomes of one image each, {clustered:.8f} as "
        f"faults, {binomial / PUBLISHED_IMAGES**0.5:.8f} as outcomes of all images"
    )
    table = Table(title=f"faults until the rate of the network is known, of {ORDERS} orders")
    for name in ("faults", "asked", "at", "they are given"):
        table.add_column(name)
    for name in ("median", "least", "most", "bias, of what is asked", "holds"):
        table.add_column(name, justify="right")
    for name, (population, asked) in SIMULATED.items():
        _add(table, name, population, Precision(scope="network", **asked))
    if (outcomes := data.published()).exists():
        for name, population, precision in _published(console, pd.read_csv(outcomes)):
            _add(table, name, population, precision)
    else:
        print(f"the published table: left out, INJECTTF2_DATA names no folder with {outcomes.name}")
    console.print(table)
    console.print(f"{data.machine()}\n")


def half_widths() -> tuple[float, float]:
    """Return the half widths of the record: as outcomes of one image each, and by faults."""
    return QUANTILE * (RATE * (1 - RATE) / FAULTS) ** 0.5, QUANTILE * DEVIATION / FAULTS**0.5


def play(population: Population, precision: Precision, orders: int) -> Ends:
    """Draw faults, one look after another, until the rate is known, in several orders."""
    ends = [_play(population, precision, seed) for seed in range(orders)]
    tallies = [end.tally for end in ends]
    bounds = [tally.interval(precision.confidence) for tally in tallies]
    return Ends(
        np.array([end.trials for end in ends]),
        np.array([tally.rate for tally in tallies]),
        np.array([low <= population.rate <= high for low, high in bounds]),
    )


def _play(population: Population, precision: Precision, seed: int) -> PoolState:
    """Return the cells when their rate is known, or after the last look."""
    random = np.random.Generator(np.random.Philox(seed))
    looks = precision.looks(1, len(population.weights))
    cells = [
        CellState(0, 0, looks[-1], weight, CellTally(clustered=True), bit)
        for weight, bit in zip(population.weights, population.bits, strict=True)
    ]
    pool = PoolState("", looks, cells)
    pool.release(precision)
    while pool.is_open:
        for cell, critical in zip(cells, population.critical, strict=True):
            if repetition := range(cell.tally.trials, cell.released):
                hits = random.choice(critical, len(repetition))
                pool.add(cell, Done(repetition, np.full(len(hits), PUBLISHED_IMAGES), hits))
        pool.look(precision)
    return pool


def _add(table: Table, name: str, population: Population, precision: Precision) -> None:
    """Add a row for each allocation."""
    width = precision.half_width or (precision.relative or 0) * population.rate
    for allocation in get_args(Allocation):
        asked = precision.model_copy(update={"allocation": allocation})
        ends = play(population, asked, ORDERS)
        trials = np.median(ends.trials), min(ends.trials), max(ends.trials)
        table.add_row(
            name,
            f"{width:.6f}",
            f"{precision.confidence:.0%}",
            allocation,
            *(f"{one:,.0f}" for one in trials),
            f"{(ends.rate.mean() - population.rate) / width:+.0%}",
            f"{ends.holds.mean():.1%}",
        )


def _published(
    console: Console, faults: pd.DataFrame
) -> Iterator[tuple[str, Population, Precision]]:
    """Yield what of the published table is asked for."""
    shares = faults["critical"] / PUBLISHED_IMAGES
    own = normal_quantile(CONFIDENCE) * float(shares.std()) / len(shares) ** 0.5
    grave = faults["bit"] == 30
    console.print(
        f"the table: {len(faults):,} faults, critical {shares.mean():.4%}, deviation of a fault "
        f"{shares.std():.4f}: half width {own:.6f}; "
        f"{faults.loc[grave, 'critical'].sum() / faults['critical'].sum():.1%} of what is critical "
        "is so by bit 30"
    )
    population, without = _population(faults), _population(faults[~grave])
    for half_width in (own, half_widths()[0]):
        record = Precision(scope="network", half_width=half_width, confidence=CONFIDENCE)
        yield "the table", population, record
    for half_width in (0.002, 0.001):
        yield "the table", population, Precision(scope="network", half_width=half_width)
    yield "without bit 30", without, Precision(scope="network", half_width=0.0005)


def _population(faults: pd.DataFrame) -> Population:
    """Return the table's faults by layer and bit; a cell counts by the weights of its layer."""
    device.configure(threads=device.cores())
    from injecttf2.models import loading

    model = loading.load_file(data.resnet_files()[0])
    size = {layer: int(np.prod(model.get_layer(layer).kernel.shape)) for layer in set(faults.layer)}
    cells = list(faults.groupby(["layer", "bit"]))
    return Population(
        [rows["critical"].to_numpy(np.int64) for _, rows in cells],
        [size[layer] for (layer, _), _ in cells],
        [bit for (_, bit), _ in cells],
    )
