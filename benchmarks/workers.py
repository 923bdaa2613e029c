"""Two one-core Ray workers against one process with two threads, on the same campaign."""

import statistics
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import commands, data
from results import open_run

CAMPAIGN = """
name: workers
model: {model}
dataset: {dataset}
repetitions: 30
grid:
  layers: [conv2d, max_pooling2d, dense, dense_1]
  bits: [30]
  probabilities: [1.0]
"""

ROUNDS = 3


def main() -> None:
    table = Table(title="workers: example CNN, 10,000 images, 4 layers x 30 trials, bit 30, p = 1")
    for name in ("", "trials/s", "whole command, s"):
        table.add_column(name, justify="right" if name else "left")
    settings = {
        "inline, 1 process, 2 threads": (1, ["--executor", "inline"]),
        "Ray, 2 workers, 1 CPU each": (2, ["--workers", "2"]),
    }
    rates: dict[str, list[float]] = {name: [] for name in settings}
    seconds: dict[str, list[float]] = {name: [] for name in settings}
    with tempfile.TemporaryDirectory() as folder:
        campaign = Path(folder) / "workers.yaml"
        campaign.write_text(CAMPAIGN.format(model=data.mnist_model(), dataset=data.mnist()))
        for number in range(ROUNDS):
            for index, (name, (processes, options)) in enumerate(settings.items()):
                output = Path(folder) / f"run-{number}-{index}"
                measured = commands.run(campaign, output, *options)
                trials = open_run(output).trials(["seconds"])
                rates[name].append(processes * len(trials) / trials["seconds"].sum())
                seconds[name].append(measured.seconds)
    for name in settings:
        rate, wall = statistics.median(rates[name]), statistics.median(seconds[name])
        table.add_row(name, f"{rate:.1f}", f"{wall:.1f}")
    inline, ray = (statistics.median(rates[name]) for name in settings)
    console = Console(width=100)
    console.print(table)
    console.print(
        f"Ray / inline: {ray / inline:.2f}, asked for >= 1; trials/s while evaluating, medians of "
        f"{ROUNDS}; {data.machine()}\n",
        highlight=False,
    )
