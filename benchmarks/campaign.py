"""The whole command on campaigns/mnist.yaml: time, and the memory of its workers."""

import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import commands, data

CAMPAIGN = Path("campaigns/mnist.yaml")
ASKED_SECONDS = 60
ASKED_BYTES = 2 * 10**9


def main() -> None:
    options = ["--model", str(data.mnist_model()), "--dataset", str(data.mnist())]
    with tempfile.TemporaryDirectory() as folder:
        measured = commands.run(CAMPAIGN, Path(folder) / "run", *options)
    table = Table(title=f"campaign: {CAMPAIGN}, whole command with Ray")
    for name in ("", "measured", "asked for"):
        table.add_column(name, justify="right" if name else "left")
    summary = measured.summary
    table.add_row("trials", f"{summary['trials']:,}", "6,720")
    table.add_row("injections", f"{summary['injections']:,}", "")
    table.add_row("seconds", f"{measured.seconds:.0f}", f"<= {ASKED_SECONDS}")
    table.add_row(
        "peak memory of a worker, GB",
        f"{measured.worker_bytes / 1e9:.2f}",
        f"<= {ASKED_BYTES / 1e9:.0f}",
    )
    console = Console(width=100)
    console.print(table)
    console.print(f"one run; {data.machine()}\n", highlight=False)
