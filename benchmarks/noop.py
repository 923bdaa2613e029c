"""What the system itself can take: Ray with workers whose engine does nothing.

Everything is real but the engine: scheduler, Ray, ids and tables of rows, publication.
"""

import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import data
from injecttf2.faults.bit_faults import BitFlip
from injecttf2.sampling.rates import Probability
from injecttf2.trial import Identity, Scope
from orchestrator.executors.ray import RayExecutor, RayWorker
from orchestrator.executors.run_options import RunOptions
from orchestrator.executors.worker import Ready, WorkerSettings
from orchestrator.planning.backlog import Backlog
from orchestrator.planning.trial_grid import Grid, Product
from orchestrator.scheduling.settings import Settings
from orchestrator.session.listeners import SessionListener
from orchestrator.session.session import Session
from results import RunHeader, RunWriter

ASKED = 20_000
LAYERS, BITS, REPETITIONS = 8, 32, 2_000
ROUNDS = 3
WORKERS = 2
IDENTITY = Identity("model", "data", seed=2026)


class Noop(RayWorker):
    """A worker whose engine hits no sample."""

    def start(self, model: Any, dataset: Any) -> Ready:
        self._engine = NoopEngine()
        golden = {"accuracy": 1.0, "decisions": "none", "device": "none"}
        return Ready(self._name, "none", golden)


class NoopEngine:
    def __init__(self) -> None:
        from injecttf2.evaluation.golden_cache import CacheUse

        self.golden_use = CacheUse()
        self.golden = SimpleNamespace(accuracy=1.0)
        self.dataset = range(10_000)

    def prepare(self, scope: Scope) -> Any:
        from injecttf2.graph.layer_info import LayerInfo

        index = int(scope.label.removeprefix("layer"))
        info = LayerInfo(scope.label, index, "Dense", (10,), "float32", 0, is_input=False)
        known = {"infos": [info], "dtypes": ("float32",), "scope": scope, "reevaluated": 0}
        return SimpleNamespace(**known, evaluate=self.evaluate)

    def evaluate(self, trials: Any, *, record: bool) -> Any:
        from injecttf2.evaluation.records import Evaluation
        from injecttf2.judging.outcomes import OutcomeCounts

        none = np.zeros(len(trials), np.int64)
        correct = np.full(len(trials), float(len(self.dataset)))
        no_columns = np.empty((len(trials), 0))
        no_counts = no_columns.astype(np.int64)
        counts = (none, none, none, none, none, none, none)
        return Evaluation(OutcomeCounts(*counts, correct, no_columns, no_counts), none, None)


class Clock(SessionListener):
    """Notes when the first worker was ready."""

    ready = 0.0

    def worker_started(self, ready: Ready) -> None:
        self.ready = self.ready or time.perf_counter()


def main() -> None:
    from injecttf2 import device

    device.load()
    rates = [_rate() for _ in range(ROUNDS)]
    table = Table(title=f"noop: Ray, {WORKERS} workers whose engine does nothing")
    for name in ("", "measured", "asked for"):
        table.add_column(name, justify="right" if name else "left")
    trials = LAYERS * BITS * REPETITIONS
    table.add_row(
        f"trials/s, {trials:,} trials to published rows",
        f"{statistics.median(rates):,.0f}",
        f">= {ASKED:,}",
    )
    console = Console(width=110)
    console.print(table)
    console.print(f"median of {ROUNDS}; {data.machine()}\n", highlight=False)


def _rate() -> float:
    """Trials in a second, from the first worker that is ready to the last row."""
    faults = tuple(BitFlip(bit=bit) for bit in range(BITS))
    product = Product(faults, (Probability(1.0),), repetitions=REPETITIONS)
    grid = Grid([(Scope((f"layer{index}",)), [product]) for index in range(LAYERS)])
    plan: Any = SimpleNamespace(
        grid=grid, identity=IDENTITY, dataset=range(10_000), hits=lambda _: 10_000
    )
    layers = grid.by_layer()
    header = RunHeader({}, IDENTITY.to_dict(), {}, {"trials": len(grid), "layers": layers})
    clock = Clock()
    none: Any = None
    with (
        tempfile.TemporaryDirectory() as folder,
        RunWriter.open(Path(folder) / "run", header) as writer,
        RayExecutor(
            WorkerSettings(IDENTITY), none, none, RunOptions("", workers=WORKERS), worker=Noop
        ) as executor,
    ):
        backlog = Backlog([[(group.start, group.stop)] for group in grid.groups])
        session = Session(
            plan,
            backlog,
            writer=writer,
            executor=executor,
            listeners=[clock],
            settings=Settings(workers=WORKERS),
        )
        assert session.run().done == len(grid)
        return len(grid) / (time.perf_counter() - clock.ready)
