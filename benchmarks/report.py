"""How long the report of a million trials takes, and how large it is."""

import datetime
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks import data, timing
from results import RunHeader, RunWriter, open_run, trials_table, write_report

PROBABILITIES = (0.01, 0.1, 1.0)
BITS = 64
SAMPLES = 10_000
ASKED_SECONDS = 20
ASKED_BYTES = 15_000_000


@dataclass(frozen=True)
class Grid:
    """A campaign of as many layers as it has, each with all bits and probabilities.

    Args:
        layers: Number of layers.
        repetitions: Trials of each cell.
    """

    layers: int
    repetitions: int

    @property
    def trials(self) -> int:
        """Trials in all."""
        return self.layers * BITS * len(PROBABILITIES) * self.repetitions


GRIDS = (Grid(layers=50, repetitions=105), Grid(layers=175, repetitions=30))


def main() -> None:
    table = Table(title="report: from the Parquet files to report.html")
    for name in ("layers", "cells", "trials", "seconds", "MB"):
        table.add_column(name, justify="right")
    for grid in GRIDS:
        seconds, size = measure(grid)
        cells = grid.trials // grid.repetitions
        counts = (f"{count:,}" for count in (grid.layers, cells, grid.trials))
        table.add_row(*counts, f"{seconds:.1f}", f"{size / 1e6:.1f}")
    table.add_section()
    table.add_row("", "", "asked for", f"<= {ASKED_SECONDS}", f"<= {ASKED_BYTES / 1e6:.0f}")
    console = Console(width=110)
    console.print(table)
    console.print(f"one run of each\n{data.machine()}\n", highlight=False)


def measure(grid: Grid) -> tuple[float, int]:
    """Return the seconds that the report of a run takes, and its bytes."""
    draw = np.random.default_rng(2026)
    layers = [f"block{layer}/conv2d" for layer in range(grid.layers)]
    of_layer = grid.trials // grid.layers
    header = RunHeader(
        {"name": "benchmark"},
        {"version": 1},
        {},
        {"trials": grid.trials, "layers": dict.fromkeys(layers, of_layer)},
        layers={
            layer: {"type": "Conv2D", "shape": [8, 8, 4], "dtype": "float64"} for layer in layers
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        with RunWriter.open(folder, header) as writer:
            for place, layer in enumerate(layers):
                writer.append(trial_rows(draw, grid, place, layer))
        file = Path(folder) / "report.html"
        seconds = timing.seconds(lambda: write_report(open_run(folder), file))
        return seconds, file.stat().st_size


def trial_rows(draw: np.random.Generator, grid: Grid, place: int, layer: str) -> pa.Table:
    """Return the trials of a layer: high bits do harm, low ones hardly any."""
    bit, probability, repetition = (
        axis.ravel()
        for axis in np.meshgrid(
            np.arange(BITS), PROBABILITIES, np.arange(grid.repetitions), indexing="ij"
        )
    )
    count = len(bit)
    injected = draw.binomial(SAMPLES, probability)
    sdc = draw.binomial(injected, 0.3 * np.exp((bit - BITS) / 4))
    due = draw.binomial(injected - sdc, np.where(bit == BITS - 2, 0.05, 0))
    masked = draw.binomial(injected - sdc - due, 0.5)
    columns = {
        "trial_id": draw.integers(2**64, size=count, dtype=np.uint64),
        "cell_id": np.arange(count) // grid.repetitions + place * count,
        "layer": [layer] * count,
        "layer_index": np.full(count, place),
        "layer_type": ["Conv2D"] * count,
        "target": ["outputs"] * count,
        "fault": ["bit_flip"] * count,
        "bit": bit,
        "bit_field": np.where(bit == 63, "sign", np.where(bit >= 52, "exponent", "mantissa")),
        "probability": probability,
        "sampling": ["random"] * count,
        "repetition": repetition,
        "sites": injected,
        "samples": np.full(count, SAMPLES),
        "injected": injected,
        "masked": masked,
        "benign": injected - sdc - due - masked,
        "sdc": sdc,
        "sdc_critical": sdc // 2,
        "due": due,
        "due_changed": due // 2,
        "accuracy": 0.98 - (sdc + due) / SAMPLES * 0.9,
        "golden_accuracy": np.full(count, 0.98),
        "seconds": draw.random(count),
        "worker": ["node-0/worker-0"] * count,
        "finished_at": [datetime.datetime.now(datetime.UTC)] * count,
    }
    return trials_table(columns)
