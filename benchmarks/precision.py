"""How many faults the rate of a network takes, by who gets them: a replay of a published table.

The table has 16,627 faults in the weights of ResNet-20, each evaluated on 10,000 images (see
``published``). Those of a layer and a bit are what its cell is drawn from here, with replacement; a
cell counts by the true number of its weights. Layers and bits that the table has no fault of are
left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks import data
from benchmarks.data import PUBLISHED_IMAGES
from injecttf2 import device
from orchestrator.campaign.precision import CellTally, Precision
from orchestrator.planning.allocation import PooledTally, allot
from results.statistics.intervals import normal_quantile

CONFIDENCE = 0.99

RATE, DEVIATION, FAULTS, QUANTILE = 0.00275632, 0.03727662, 16_590, 2.576
"""What IterativeFI prints of a campaign: the mean critical share of a fault and its deviation, the
number of faults; and the quantile by which its half width, 0.00104855, is that of the rate."""

ORDERS = 200

Shares = Callable[[PooledTally], npt.NDArray[np.float64]]

ALLOCATIONS: dict[str, Shares] = {
    "equal": lambda pooled: np.ones(len(pooled.tallies)),
    "proportional": lambda pooled: pooled.shares("proportional"),
    "neyman": lambda pooled: pooled.shares("neyman"),
}


@dataclass(frozen=True)
class Population:
    """Faults by cell.

    Args:
        critical: For each cell, int64 [faults], in how many images each is critical.
        weights: By how much each cell counts.
    """

    critical: Sequence[npt.NDArray[np.int64]]
    weights: Sequence[float]

    @property
    def rate(self) -> float:
        """The critical share of all."""
        means = [one.mean() / PUBLISHED_IMAGES for one in self.critical]
        return float(np.average(means, weights=self.weights))


def main() -> None:
    """Print the intervals of the record, and how many faults each allocation takes to them."""
    console = Console(width=100, highlight=False)
    binomial, clustered = half_widths()
    console.print(
        f"precision: {FAULTS:,} faults, rate {RATE}, deviation of a fault {DEVIATION}: half width "
        f"at {CONFIDENCE:.0%} {binomial:.8f} as outcomes of one image each, {clustered:.8f} as "
        f"faults, {binomial / PUBLISHED_IMAGES**0.5:.8f} as outcomes of all images"
    )
    outcomes = data.published()
    if not outcomes.exists():
        print(f"precision: left out, INJECTTF2_DATA names no folder with {outcomes.name}\n")
        return
    faults = pd.read_csv(outcomes)
    shares = faults["critical"] / PUBLISHED_IMAGES
    own = normal_quantile(CONFIDENCE) * float(shares.std()) / len(shares) ** 0.5
    console.print(
        f"the table: {len(faults):,} faults, critical {shares.mean():.4%}, deviation of a fault "
        f"{shares.std():.4f}: half width {own:.6f}; "
        f"{faults.loc[faults['bit'] == 30, 'critical'].sum() / faults['critical'].sum():.1%} of "
        "what is critical is so by bit 30"
    )
    population = _population(faults)
    table = Table(
        title=f"faults until the network's rate is known, {len(population.weights)} cells, of "
        f"{ORDERS} orders"
    )
    table.add_column("half width")
    table.add_column("faults are given")
    for name in ("median", "least", "most", f"of {len(faults):,}", "rate", "holds it"):
        table.add_column(name, justify="right")
    for half_width in (own, binomial, clustered):
        precision = Precision(scope="network", half_width=half_width, confidence=CONFIDENCE)
        for name, allocation in ALLOCATIONS.items():
            ends = [play(population, precision, allocation, seed) for seed in range(ORDERS)]
            counts = [end.trials for end in ends]
            median = np.median(counts)
            table.add_row(
                f"{half_width:.6f}",
                name,
                *(f"{one:,.0f}" for one in (median, min(counts), max(counts))),
                f"{median / len(faults):.0%}",
                f"{np.mean([end.rate for end in ends]):.4%}",
                f"{np.mean([end.holds for end in ends]):.1%}",
            )
    console.print(table)
    console.print(f"the rate of what is drawn from is {population.rate:.4%}\n{data.machine()}\n")


def half_widths() -> tuple[float, float]:
    """Return the half widths of the record: as outcomes of one image each, and by faults."""
    return QUANTILE * (RATE * (1 - RATE) / FAULTS) ** 0.5, QUANTILE * DEVIATION / FAULTS**0.5


@dataclass(frozen=True)
class End:
    """How a replay ended.

    Args:
        trials: Faults that it took.
        rate: The rate that they have.
        holds: Whether its interval holds that of all.
    """

    trials: int
    rate: float
    holds: bool


def play(population: Population, precision: Precision, allocation: Shares, seed: int) -> End:
    """Draw faults, one look after another, until the rate is known.

    Args:
        population: What they are drawn from.
        precision: What is asked for.
        allocation: In which proportion cells get the faults up to the next look.
        seed: Of the draws.
    """
    random = np.random.Generator(np.random.Philox(seed))
    cells = len(population.weights)
    tallies = [CellTally(clustered=True)] * cells
    counts = np.full(cells, precision.minimum)
    for look in precision.looks(1, cells):
        pooled = PooledTally(tallies, population.weights)
        counts = allot(look, counts, allocation(pooled))
        tallies = [
            _more(tally, random.choice(critical, count - tally.trials))
            for tally, critical, count in zip(
                tallies, population.critical, counts.tolist(), strict=True
            )
        ]
        pooled = PooledTally(tallies, population.weights)
        if precision.is_met(pooled):
            break
    low, high = pooled.interval(precision.confidence)
    return End(int(counts.sum()), pooled.rate, low <= population.rate <= high)


def _more(tally: CellTally, critical: npt.NDArray[np.int64]) -> CellTally:
    """Return a tally with more faults, of which these numbers of images are critical."""
    return CellTally(
        tally.trials + len(critical),
        tally.injected + len(critical) * PUBLISHED_IMAGES,
        tally.hits + int(critical.sum()),
        tally.squares + float((critical.astype(float) ** 2).sum()),
        clustered=True,
    )


def _population(faults: pd.DataFrame) -> Population:
    """Return the table's faults by layer and bit; a cell counts by the weights of its layer."""
    device.configure(threads=device.cores())
    from injecttf2.models import loading

    model = loading.load_file(data.resnet_files()[0])
    size = {layer: int(np.prod(model.get_layer(layer).kernel.shape)) for layer in set(faults.layer)}
    cells = list(faults.groupby(["layer", "bit"]))
    return Population(
        [rows["critical"].to_numpy(np.int64) for _, rows in cells],
        [float(size[layer]) for (layer, _), _ in cells],
    )
