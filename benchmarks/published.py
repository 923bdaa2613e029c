"""A published fault list of ResNet-20's weights: its rate, and our outcomes beside the published.

The list and its table are ``ResNet20_FL.csv`` of cad-polito-it/dnn-benchmarks, made by statistical
fault injection (Ruospo et al., DATE 2023): each fault was evaluated on the 10,000 test images of
CIFAR-10. The campaign is ``campaigns/published/resnet20.yaml`` with files of ``data.folder``.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks import commands, data
from benchmarks.timing import CLOCKS, forward_rate
from injecttf2 import device
from results import PublishedComparison, compare, open_run

ASKED_RATIO = 6
"""Evaluations/s over plain images/s."""

CAMPAIGN = Path(__file__).parents[1] / "campaigns" / "published" / "resnet20.yaml"


def main(*, every: int = 1) -> None:
    """Print the rate of the whole command, and outcomes beside the published ones.

    Args:
        every: Every which fault of the list is evaluated.
    """
    if not data.published().exists():
        print(f"published: left out, INJECTTF2_DATA names no folder with {data.published().name}\n")
        return
    device.configure(threads=device.cores())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        listed, outcomes = folder / "some.csv", folder / "ResNet20_FL.csv"
        data.write_sfi_list(outcomes)
        pd.read_csv(outcomes)[::every].to_csv(listed, index=False)
        run, output = commands.run_inline(campaign(listed), folder)
        _print_rate(run)
        print(f"golden accuracy {open_run(output).trials(['golden_accuracy']).iloc[0, 0]:.1%}\n")
        comparison = compare(open_run(output), outcomes)
        print(comparison)
        _, recorded = commands.run_inline(campaign(listed, samples=1, record="injections"), folder)
        print(f"{_equal_values(recorded):,} original and corrupted values equal the published")
    _print_asked(comparison)
    print(f"{data.machine()}\n")


def campaign(listed: Path, *, samples: int | None = None, **more: str) -> str:
    """Return the campaign on files that are here, as a JSON text."""
    text = yaml.safe_load(CAMPAIGN.read_text())
    model, _ = data.resnet_files()
    given = {"source": str(data.published_images()), "samples": samples}
    text["dataset"] |= {name: value for name, value in given.items() if value is not None}
    table = pd.read_csv(data.published())
    # Of a part of the list, order and shape of the layers do not tell which they are.
    layers = dict(zip(table["torch_layer"], table["layer"], strict=True))
    text["grid"]["sites"] |= {"file": str(listed), "layers": layers}
    return json.dumps(text | {"model": str(model)} | more)


def _print_rate(run: commands.Measured) -> None:
    """Print how many evaluations there are a second, and what the command takes."""
    from injecttf2.models import loading

    model, _ = data.resnet_files()
    with np.load(data.published_images()) as images:
        inputs = np.asarray(images["x_test"], np.float32) / 255
    network = loading.load_file(model)
    plain, plain_cpu = (forward_rate(network, inputs, clock) for clock in CLOCKS)
    evaluations = run.summary["injections"]
    print(
        f"published: {run.summary['trials']:,} faults in weights of ResNet-20 x {len(inputs):,} "
        f"images, the whole command in one process: {run.cpu_seconds:,.0f} CPU s, "
        f"{run.seconds:,.0f} s, peak memory {run.peak_bytes / 1e9:.2f} GB\n"
        f"{evaluations / run.seconds:,.0f} evaluations/s, "
        f"{evaluations / run.seconds / plain:.2f} times the {plain:,.0f} images/s of the plain "
        f"forward pass, asked for >= {ASKED_RATIO}; "
        f"{evaluations / run.cpu_seconds / plain_cpu:.2f} times by CPU time"
    )


def _equal_values(output: Path) -> int:
    """Return of how many faults both values are the published ones; else say which is not.

    Raises:
        AssertionError: One is not.
    """
    run = open_run(output)
    labels = run.trials(["trial_id", "listed_as"])
    found = run.injections().merge(labels, on="trial_id")
    table = pd.read_csv(data.published())
    told = pd.read_csv(output.parents[1] / "ResNet20_FL.csv")
    table["listed_as"] = told["Layer"] + " " + told["TensorIndex"] + " " + told["Bit"].astype(str)
    both = found.merge(table, on="listed_as", validate="1:1")
    assert len(both) == len(labels)
    for ours, theirs in (("original", "golden_value"), ("corrupted", "faulty_value")):
        np.testing.assert_array_equal(both[ours], both[theirs])
    return len(both)


def _print_asked(comparison: PublishedComparison) -> None:
    """Print what a comparison with the published record has to show, and whether it does."""
    bits = comparison.by_bit.set_index("bit").reindex(range(32))
    total = comparison.total.iloc[0]
    hump = bits["rate"].loc[24:26]
    asked: list[tuple[str, Any, bool]] = [
        ("correlation >= 0.995", f"{comparison.correlation:.4f}", comparison.correlation >= 0.995),
        (
            "bit 30 within 0.5 points",
            f"{100 * bits['difference'][30]:+.3f}",
            abs(bits["difference"][30]) <= 0.005,
        ),
        (
            "bit 25 above bits 24 and 26",
            ", ".join(f"{100 * rate:.4f} %" for rate in hump),
            hump[25] > max(hump[24], hump[26]),
        ),
        (
            "all faults within 0.1 points",
            f"{100 * total['rate']:.4f} % and {100 * total['published']:.4f} %",
            abs(total["difference"]) <= 0.001,
        ),
    ]
    for what, found, holds in asked:
        print(f"{what}: {found}: {'yes' if holds else 'NO'}")
