"""The whole command: time on campaigns/mnist.yaml, and the memory of workers on both models."""

import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import commands, data

CAMPAIGN = Path("campaigns/mnist.yaml")
ASKED_SECONDS = 60
ASKED_BYTES = 2 * 10**9
ASKED_OVERHEAD = 0.10

RESNET = """
name: resnet
model: {model}
dataset: {dataset}
repetitions: 6
grid:
  layers: [stem_conv, stage1_block*_conv2, stage2_block*_add, stage3_block*_bn1, pool]
  bits: [random]
  probabilities: [1.0]
"""


def main() -> None:
    options = ["--model", str(data.mnist_model()), "--dataset", str(data.mnist())]
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        runs[str(CAMPAIGN)] = commands.run(CAMPAIGN, Path(folder) / "mnist", *options)
        model, _ = data.resnet_files()
        if model.exists():
            campaign = Path(folder) / "resnet.yaml"
            campaign.write_text(RESNET.format(model=model, dataset=data.resnet_dataset()))
            runs["ResNet-20, 11 layers"] = commands.run(campaign, Path(folder) / "resnet")
    table = Table(title="campaign: whole commands with Ray")
    for name in ("", *runs, "asked for"):
        table.add_column(name, justify="right" if name else "left")
    summaries = [run.summary for run in runs.values()]
    table.add_row("trials", *(f"{one['trials']:,}" for one in summaries), "")
    table.add_row("injections", *(f"{one['injections']:,}" for one in summaries), "")
    table.add_row(
        "seconds", *(f"{run.seconds:.0f}" for run in runs.values()), f"<= {ASKED_SECONDS}"
    )
    table.add_row(
        "peak memory of a worker, GB",
        *(f"{run.worker_bytes / 1e9:.2f}" for run in runs.values()),
        f"<= {ASKED_BYTES / 1e9:.0f}",
    )
    table.add_row(
        "the same, shared pages shared out, GB",
        *(f"{run.worker_share / 1e9:.2f}" for run in runs.values()),
        "",
    )
    table.add_row(
        "overhead over the workers' engine time",
        *(f"{1 / one['busy'] - 1:.1%}" for one in summaries),
        f"<= {ASKED_OVERHEAD:.0%}",
    )
    console = Console(width=110)
    console.print(table)
    console.print(
        f"one run of each; the seconds are asked for of {CAMPAIGN}\n{data.machine()}\n",
        highlight=False,
    )
