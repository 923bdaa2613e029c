"""A published fault list of ResNet-20's weights: its rate, and our outcomes beside the published.

The list and its table are ``ResNet20_FL.csv`` of cad-polito-it/dnn-benchmarks, made by statistical
fault injection (Ruospo et al., DATE 2023): each fault was evaluated on the 10,000 test images of
CIFAR-10. A prediction is *critical* there when the largest output is another one, NaN included.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks import commands, data
from benchmarks.timing import CLOCKS, forward_rate
from injecttf2 import device
from results import open_run

ASKED_RATIO = 6
"""Evaluations/s over plain images/s."""

PUBLISHED_IMAGES = 10_000

DUE_CRITICAL = 0.9
"""Share of ``due`` samples that are critical: of NaN the first class counts as the largest, and a
tenth of the images have that class."""

OURS = f"sdc + {DUE_CRITICAL} due"
"""What comes nearest to critical in our rows."""

FROM_SHARE = 0.01
"""Critical share from which faults are compared one by one."""

FAULT = ["layer", "element", "bit"]
"""What a fault has to itself."""

COUNTS = ["trial_id", "samples", "sdc", "due", "golden_accuracy"]

CAMPAIGN = """
name: published
model: {model}
dataset: {{source: {images}, mean: [0.4914, 0.4822, 0.4465], std: [0.2023, 0.1994, 0.2010]}}
grid: {{sites: {sites}}}
"""


def main(*, every: int = 1) -> None:
    """Print the rate of the whole command, and outcomes beside the published ones.

    Args:
        every: Every which fault of the list is evaluated.
    """
    model, _ = data.resnet_files()
    images, sites, outcomes = data.published_files()
    if not sites.exists():
        print(f"published: left out, INJECTTF2_DATA names no folder with {sites.name}\n")
        return
    device.configure(threads=device.cores())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        listed = folder / "sites.csv"
        pd.read_csv(sites)[::every].to_csv(listed, index=False)
        text = CAMPAIGN.format(model=model, images=images, sites=listed)
        run, output = commands.run_inline(text, folder)
        trials = open_run(output).trials(COUNTS)
        inputs, faults = _planned(output.with_name("campaign.yaml"))
    found = faults.merge(trials, on="trial_id").merge(pd.read_csv(outcomes), on=FAULT)
    assert len(found) == len(trials) == run.summary["trials"]
    console = Console(width=100, highlight=False)
    _print_rate(console, run, model, inputs)
    _print_outcomes(console, found)
    console.print(f"{data.machine()}\n")


def _planned(campaign: Path) -> tuple[Any, pd.DataFrame]:
    """Return the images as the model takes them, and which fault each trial has.

    Rows do not tell where the sites of a list are; the plan does.
    """
    from orchestrator.campaign.campaign import load_campaign
    from orchestrator.planning.plan import make_plan

    plan = make_plan(load_campaign(campaign))
    cells = [cell for cell, _ in plan.grid.cells()]
    sites = [cell.rate.weights for cell in cells]
    faults = {
        "trial_id": np.concatenate([ids for _, ids in plan.grid.ids(plan.identity)]),
        "layer": [cell.layer for cell in cells],
        "element": [int(one.element[0]) for one in sites],
        "bit": [int(one.bit[0]) for one in sites],
    }
    return plan.dataset.inputs, pd.DataFrame(faults)


def _print_rate(console: Console, run: commands.Measured, model: Path, inputs: Any) -> None:
    """Print how many evaluations there are a second, and what the command takes."""
    from injecttf2.models import loading

    plain, plain_cpu = (forward_rate(loading.load_file(model), inputs, one) for one in CLOCKS)
    evaluations = run.summary["injections"]
    console.print(
        f"published: {run.summary['trials']:,} faults in weights of ResNet-20 x {len(inputs):,} "
        f"images, the whole command in one process: {run.cpu_seconds:.0f} CPU s, "
        f"{run.seconds:.0f} s, peak memory {run.peak_bytes / 1e9:.2f} GB\n"
        f"{evaluations / run.seconds:,.0f} evaluations/s, "
        f"{evaluations / run.seconds / plain:.2f} times the {plain:,.0f} images/s of the plain "
        f"forward pass, asked for >= {ASKED_RATIO}; "
        f"{evaluations / run.cpu_seconds / plain_cpu:.2f} times by CPU time"
    )


def _print_outcomes(console: Console, found: pd.DataFrame) -> None:
    """Print the share of critical predictions, ours and the published, by bit and of all."""
    shares = pd.DataFrame(
        {
            "published": found["critical"] / PUBLISHED_IMAGES,
            "sdc": found["sdc"] / found["samples"],
            OURS: (found["sdc"] + DUE_CRITICAL * found["due"]) / found["samples"],
        }
    )
    table = Table(title="published: critical predictions, %")
    for name in ("bit", "faults", *shares):
        table.add_column(name, justify="right")
    by_bit = [(str(bit), part) for bit, part in shares.groupby(found["bit"])]
    for name, part in [*reversed(by_bit), ("all", shares)]:
        table.add_row(name, f"{len(part):,}", *(f"{one:.4f}" for one in 100 * part.mean()))
    console.print(table)
    many = shares[shares["published"] >= FROM_SHARE]
    correlations = (f"{name} {many['published'].corr(many[name]):.4f}" for name in ("sdc", OURS))
    console.print(
        f"correlation with the published over the {len(many):,} faults of {FROM_SHARE:.0%} and "
        f"more: {', '.join(correlations)}\n"
        f"golden accuracy {found['golden_accuracy'].iloc[0]:.1%}"
    )
