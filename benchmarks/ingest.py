"""How fast the driver takes finished rows in and publishes them as parts of a run directory."""

import datetime
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks import data, timing
from results import RunHeader, RunWriter, injections_table, trials_table

TRIAL_ROWS = 1_000_000
CHUNK = 200
LAYERS = 20
INJECTED_TRIALS = 10_000
SITES = 100
ASKED_ROWS_PER_SECOND = 100_000


@dataclass(frozen=True)
class Measured:
    """What one run of the writer took.

    Args:
        rows: Rows of trials and injections.
        append: Seconds to open and close the directory and to take the rows in.
        publish: Seconds to publish them.
        parts: Parts that were published.
        size: Their bytes.
    """

    rows: int
    append: float
    publish: float
    parts: int
    size: int

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / (self.append + self.publish)


def main() -> None:
    measured = {
        f"{TRIAL_ROWS:,} trials": measure(list(chunks(TRIAL_ROWS, sites=0)), publish_trials=50_000),
        f"{INJECTED_TRIALS:,} trials, {SITES} sites each": measure(
            list(chunks(INJECTED_TRIALS, sites=SITES)), publish_trials=5_000
        ),
    }
    table = Table(title=f"ingest: append and publish, {CHUNK} trials a chunk")
    for name in ("", *measured, "asked for"):
        table.add_column(name, justify="right" if name else "left")
    every = measured.values()
    table.add_row("rows/s", *(f"{one.rate:,.0f}" for one in every), f">= {ASKED_ROWS_PER_SECOND:,}")
    table.add_row("seconds to take in", *(f"{one.append:.2f}" for one in every), "")
    table.add_row("seconds to publish", *(f"{one.publish:.2f}" for one in every), "")
    table.add_row("parts", *(f"{one.parts:,}" for one in every), "")
    table.add_row("MB", *(f"{one.size / 1e6:.0f}" for one in every), "")
    console = Console(width=110)
    console.print(table)
    console.print(f"one run of each\n{data.machine()}\n", highlight=False)


def measure(rows: list[tuple[pa.Table, pa.Table | None]], *, publish_trials: int) -> Measured:
    """Write the chunks into a new run directory, publishing every so many trials."""
    header = RunHeader({}, {"version": 1}, {}, {"trials": len(rows) * CHUNK, "layers": {}})
    publish = 0.0
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        with RunWriter.open(folder, header, flush_rows=10**9, flush_seconds=1e9) as writer:
            for number, (trials, injections) in enumerate(rows, start=1):
                writer.append(trials, injections)
                if number % (publish_trials // CHUNK) == 0 or number == len(rows):
                    publish += timing.seconds(writer.flush)
        seconds = time.perf_counter() - begin
        files = list(Path(folder).glob("*/part-*"))
        size = sum(file.stat().st_size for file in files)
    count = sum(len(trials) + len(injections or ()) for trials, injections in rows)
    return Measured(count, seconds - publish, publish, len(files), size)


def chunks(trials: int, *, sites: int) -> Iterator[tuple[pa.Table, pa.Table | None]]:
    """Yield what workers send: tables of one layer, each with its own dictionaries."""
    draw = np.random.default_rng(2026)
    for start in range(0, trials, CHUNK):
        ids = draw.integers(2**64, size=CHUNK, dtype=np.uint64)
        layer = start * LAYERS // trials
        yield trial_rows(draw, ids, layer), injection_rows(draw, ids, sites) if sites else None


def trial_rows(draw: np.random.Generator, ids: np.ndarray, layer: int) -> pa.Table:
    """Return the trials of a chunk, their tallies drawn at random."""
    count = len(ids)
    masked, benign, sdc, due = (draw.integers(2_000, size=count) for _ in range(4))
    columns = {
        "trial_id": ids,
        "cell_id": ids // 30,
        "layer": [f"block{layer}/conv2d"] * count,
        "layer_index": np.full(count, layer),
        "layer_type": ["Conv2D"] * count,
        "target": ["outputs"] * count,
        "fault": ["bit_flip"] * count,
        "bit": draw.integers(32, size=count),
        "bit_field": ["exponent"] * count,
        "probability": draw.choice([0.01, 0.1, 1.0], size=count),
        "repetition": np.arange(count) % 30,
        "sampling": ["random"] * count,
        "sites": masked + benign + sdc + due,
        "samples": np.full(count, 10_000),
        "injected": masked + benign + sdc + due,
        "masked": masked,
        "benign": benign,
        "sdc": sdc,
        "sdc_critical": sdc // 2,
        "due": due,
        "due_changed": due // 2,
        "accuracy": draw.random(count),
        "golden_accuracy": np.full(count, 0.98),
        "seconds": draw.random(count),
        "worker": [f"node-{draw.integers(8)}/worker-{draw.integers(64)}"] * count,
        "finished_at": [datetime.datetime.now(datetime.UTC)] * count,
    }
    return trials_table(columns)


def injection_rows(draw: np.random.Generator, ids: np.ndarray, sites: int) -> pa.Table:
    """Return the sites of a chunk, drawn at random."""
    count = len(ids) * sites
    values = draw.standard_normal(count)
    columns = {
        "trial_id": np.repeat(ids, sites),
        "layer": ["block0/conv2d"] * count,
        "sample": draw.integers(10_000, size=count),
        "element": draw.integers(25_088, size=count),
        "bit": draw.integers(32, size=count),
        "original": values,
        "corrupted": -values,
        "outcome": draw.choice(["masked", "benign", "sdc"], size=count),
        "golden_class": draw.integers(10, size=count),
        "faulty_class": draw.integers(10, size=count),
    }
    return injections_table(columns)
