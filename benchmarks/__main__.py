"""Run benchmarks by name, or all of them, one after another."""

import sys

from benchmarks import (
    campaign,
    coverage,
    engine,
    ingest,
    noop,
    peers,
    report,
    resnet,
    resnet50,
    resume,
    scheduler,
    workers,
)

BENCHMARKS = {
    "engine": engine.main,
    "resnet": resnet.main,
    "resnet50": resnet50.main,
    "peers": peers.main,
    "workers": workers.main,
    "campaign": campaign.main,
    "coverage": coverage.main,
    "scheduler": scheduler.main,
    "noop": noop.main,
    "ingest": ingest.main,
    "resume": resume.main,
    "report": report.main,
}

names = sys.argv[1:] or list(BENCHMARKS)
unknown = [name for name in names if name not in BENCHMARKS]
if unknown:
    sys.exit(f"no benchmark {', '.join(unknown)}; expected some of {', '.join(BENCHMARKS)}")
for name in names:
    BENCHMARKS[name]()
