"""Going on with a run of a million finished trials, or of thousands of small parts.

Every line is measured in a process of its own, which does what a driver or a reader does from
opening the run directory on.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import data
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.sampling.rates import Probability
from injecttf2.trial import Identity, Scope, cell_id
from orchestrator.planning.trial_grid import Grid, Product

LAYERS, BITS, RATES, REPETITIONS = 25, 32, 50, 25
CELLS = LAYERS * BITS * RATES
TRIALS = CELLS * REPETITIONS
PART_ROWS = 10_000
SAMPLES = 10_000

SMALL_PARTS = 2_000
SMALL_ROWS = 20
"""A slow campaign of three hours: a part every five seconds."""

ASKED_SECONDS = 5
ASKED_BYTES = 500 * 10**6

IDENTITY = Identity(model="0123456789abcdef" * 2, data="fedcba9876543210" * 2, seed=2026)


def grid(repetitions: int) -> Grid:
    """All layers with all bits and rates, so many times each."""
    product = Product(
        tuple(BitFlip(bit=bit) for bit in range(BITS)),
        tuple(Probability((rate + 1) / RATES) for rate in range(RATES)),
        repetitions=repetitions,
    )
    return Grid([(Scope((f"block{number}/conv2d",)), [product]) for number in range(LAYERS)])


def header(repetitions: int) -> Any:
    from results import RunHeader

    planned = grid(repetitions)
    return RunHeader(
        campaign={"name": "resume", "repetitions": repetitions},
        identity=IDENTITY.to_dict(),
        provenance={},
        plan={"trials": len(planned), "layers": planned.by_layer()},
    )


def make(run: Path, repetitions: int) -> dict[str, int]:
    """Write the rows of a finished run, made up but for their ids and cells."""
    from results import RunWriter, trials_table

    planned = grid(repetitions)
    ids = np.concatenate([block for _, block in planned.ids(IDENTITY)])
    cells = [cell for cell, _ in planned.cells()]
    cell_ids = np.array([cell_id(IDENTITY, cell) for cell in cells], np.uint64)
    with RunWriter.open(run, header(repetitions), flush_rows=PART_ROWS) as writer:
        for start in range(0, len(ids), PART_ROWS):
            positions = np.arange(start, min(start + PART_ROWS, len(ids)))
            writer.append(trials_table(rows(positions, repetitions, ids, cells, cell_ids)))
    return {"trials": len(ids), "parts": len(list(run.glob("trials/part-*")))}


def make_small(run: Path, repetitions: int) -> dict[str, int]:
    """Write thousands of small parts, as a run leaves them whose parts were never merged."""
    from results import RunWriter, trials_table
    from results.run_folder.parts import named_part
    from results.storage.opening import open_storage

    RunWriter.open(run, header(repetitions)).close()
    planned = grid(repetitions)
    cells = [cell for cell, _ in planned.cells()]
    cell_ids = np.array([cell_id(IDENTITY, cell) for cell in cells], np.uint64)
    count = SMALL_PARTS * SMALL_ROWS
    ids = np.concatenate([block for _, block in planned.ids(IDENTITY)])[:count]
    table = trials_table(rows(np.arange(count), repetitions, ids, cells, cell_ids))
    storage = open_storage(run)
    os.fsync = lambda _: None  # made up rows need not outlast a power cut
    for number in range(SMALL_PARTS):
        part = table.slice(number * SMALL_ROWS, SMALL_ROWS)
        storage.publish(*named_part("trials", number + 1, "00000000", part, IDENTITY.to_dict()))
    return {"trials": count, "parts": SMALL_PARTS}


def rows(
    positions: Any, repetitions: int, ids: Any, cells: list[Any], cell_ids: Any
) -> dict[str, Any]:
    """Columns of the trials at some positions of the grid."""
    rng = np.random.default_rng(positions[0])
    cell, repetition = np.divmod(positions, repetitions)
    chosen = [cells[index] for index in cell.tolist()]
    injected = rng.binomial(SAMPLES, np.array([one.rate.value for one in chosen]))
    outcomes = rng.multinomial(injected, [0.6, 0.2, 0.15, 0.05])
    critical = rng.binomial(outcomes[:, 2], 0.9)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    return {
        "trial_id": ids[positions],
        "cell_id": cell_ids[cell],
        "layer": [one.layer for one in chosen],
        "layer_index": cell // (BITS * RATES),
        "layer_type": ["Conv2D"] * len(chosen),
        "target": [one.target for one in chosen],
        "fault": [one.fault.name for one in chosen],
        "bit": [one.fault.bit for one in chosen],
        "bit_field": [one.fault.field("float32") for one in chosen],
        "probability": [one.rate.value for one in chosen],
        "repetition": repetition,
        "sampling": ["random"] * len(chosen),
        "sites": injected,
        "samples": np.full(len(chosen), SAMPLES),
        "injected": injected,
        **{name: outcomes[:, i] for i, name in enumerate(("masked", "benign", "sdc", "due"))},
        "sdc_critical": critical,
        "due_changed": np.zeros_like(critical),
        "accuracy": (0.98 * SAMPLES - critical) / SAMPLES,
        "golden_accuracy": np.full(len(chosen), 0.98),
        "seconds": rng.gamma(2.0, 0.01, len(chosen)),
        "worker": [f"node-{index % 4}/worker-{index % 16}" for index in cell.tolist()],
        "finished_at": [begin + timedelta(milliseconds=int(one)) for one in positions],
    }


def resume(run: Path, repetitions: int) -> dict[str, int]:
    """What a driver does: open the run, and compare what is done with the grid."""
    from results import RunWriter

    with RunWriter.open(run, header(repetitions)) as writer:
        found = grid(repetitions).compare(IDENTITY, writer.done_ids())
    return {
        "missing": sum(stop - start for start, stop in found.missing),
        "ranges": len(found.missing),
        "outside": len(found.outside),
    }


def status(run: Path, _repetitions: int) -> dict[str, int]:
    """``injecttf2 status RUN --json``."""
    from orchestrator.cli.main import app

    with contextlib.redirect_stdout(io.StringIO()) as output:
        app(["status", str(run), "--json"], standalone_mode=False)
    return {"done": json.loads(output.getvalue())["done"]}


def trials(run: Path, _repetitions: int) -> dict[str, int]:
    """All rows as a pandas frame."""
    from results import open_run

    return {"rows": len(open_run(run).trials())}


ACTIONS: dict[str, Callable[[Path, int], dict[str, int]]] = {
    "make": make,
    "make_small": make_small,
    "resume": resume,
    "status": status,
    "trials": trials,
}


@dataclass(frozen=True)
class Measured:
    """An action in a process of its own.

    Args:
        answer: What it found.
        seconds: Wall time of the action, what it imports included.
        cpu: Processor time of the action, which other work on the machine changes less.
        whole: Wall time of the process.
        peak: Peak memory of the process, bytes.
        tensorflow: Whether TensorFlow was loaded.
    """

    answer: dict[str, int]
    seconds: float
    cpu: float
    whole: float
    peak: int
    tensorflow: bool


def measure(action: str, run: Path, repetitions: int) -> Measured:
    command = [sys.executable, "-m", "benchmarks.resume", action, str(run), str(repetitions)]
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    whole = time.perf_counter() - begin
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return Measured(whole=whole, **json.loads(done.stdout))


def act() -> None:
    """Do what the command line names and print what it took, for ``measure``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("run", type=Path)
    parser.add_argument("repetitions", type=int)
    given = parser.parse_args()
    begin, cpu_begin = time.perf_counter(), time.process_time()
    answer = ACTIONS[given.action](given.run, given.repetitions)
    measured = {
        "answer": answer,
        "seconds": time.perf_counter() - begin,
        "cpu": time.process_time() - cpu_begin,
        "peak": _peak(),
        "tensorflow": "tensorflow" in sys.modules,
    }
    sys.stdout.write(json.dumps(measured))


def _peak() -> int:
    """Peak memory of this process, bytes; ``getrusage`` would count that of its parent too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no VmHWM")


def main() -> None:
    new = (REPETITIONS * 6 // 5) * CELLS - TRIALS
    cases = {
        "resume: all done": ("resume", REPETITIONS, {"missing": 0, "ranges": 0, "outside": 0}),
        "resume: grid widened to 1,200,000": (
            "resume",
            REPETITIONS * 6 // 5,
            {"missing": new, "ranges": CELLS, "outside": 0},
        ),
        "resume: grid narrowed to 800,000": (
            "resume",
            REPETITIONS * 4 // 5,
            {"missing": 0, "ranges": 0, "outside": TRIALS // 5},
        ),
        "injecttf2 status": ("status", 0, {"done": TRIALS}),
        "Run.trials(): all rows in pandas": ("trials", 0, {"rows": TRIALS}),
    }
    small = SMALL_PARTS * SMALL_ROWS
    left = {"missing": TRIALS - small, "ranges": 1, "outside": 0}
    of_small_parts = {
        f"status: {small:,} trials in {SMALL_PARTS:,} parts": ("status", 0, {"done": small}),
        "resume: the same, which merges them": ("resume", REPETITIONS, left),
        "resume: once more": ("resume", REPETITIONS, left),
        "status: once more": ("status", 0, {"done": small}),
    }
    table = Table(title=f"resume: {TRIALS:,} finished trials of {CELLS:,} cells")
    for name in ("", "seconds", "CPU seconds", "whole process, s", "peak memory, MB"):
        table.add_column(name, justify="right" if name else "left")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        made = measure("make", run, REPETITIONS)
        size = sum(file.stat().st_size for file in run.glob("trials/part-*"))
        measure("make_small", run.with_name("small"), REPETITIONS)
        for one, its_cases in ((run, cases), (run.with_name("small"), of_small_parts)):
            for name, (action, repetitions, expected) in its_cases.items():
                found = measure(action, one, repetitions)
                assert found.answer == expected, (name, found.answer, expected)
                assert not found.tensorflow, name
                times = (f"{value:.1f}" for value in (found.seconds, found.cpu, found.whole))
                table.add_row(name, *times, f"{found.peak / 1e6:.0f}")
    asked = f"<= {ASKED_SECONDS}", "", "", f"<= {ASKED_BYTES // 10**6}"
    table.add_row("asked for, of a scan", *asked)
    console = Console(width=110)
    console.print(table)
    console.print(
        f"one run of each; TensorFlow is loaded by none; {made.answer['parts']} parts, "
        f"{size / 1e6:.0f} MB, made in {made.whole:.0f} s\n{data.machine()}\n",
        highlight=False,
    )


if __name__ == "__main__":
    act()
