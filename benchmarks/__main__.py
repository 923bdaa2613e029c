"""Run benchmarks by name, or all of them, one after another."""

import argparse
from functools import partial

from benchmarks import (
    campaign,
    coverage,
    deep,
    engine,
    ingest,
    noop,
    peers,
    precision,
    published,
    report,
    resnet,
    resnet50,
    resume,
    scheduler,
    workers,
)

parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks [default: all]")
parser.add_argument(
    "--every",
    type=int,
    default=1,
    help="for a quick try: every n-th layer or fault",
)
parser.add_argument("--long", action="store_true", help="deep with more repetitions as well")
options = parser.parse_args()

BENCHMARKS = {
    "engine": engine.main,
    "resnet": resnet.main,
    "resnet50": resnet50.main,
    "deep": partial(deep.main, every=options.every, long=options.long),
    "published": partial(published.main, every=options.every),
    "peers": peers.main,
    "workers": workers.main,
    "campaign": campaign.main,
    "coverage": coverage.main,
    "precision": precision.main,
    "scheduler": scheduler.main,
    "noop": noop.main,
    "ingest": ingest.main,
    "resume": resume.main,
    "report": report.main,
}

names = options.names or list(BENCHMARKS)
unknown = [name for name in names if name not in BENCHMARKS]
if unknown:
    parser.error(f"no benchmark {', '.join(unknown)}; expected some of {', '.join(BENCHMARKS)}")
for name in names:
    BENCHMARKS[name]()
