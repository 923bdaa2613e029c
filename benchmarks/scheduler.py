"""The scheduler with a simulated crowd: speed, memory, and that every trial is done exactly once.

Time is simulated: workers are entries of a heap, and what they take is drawn, so a campaign of
hours passes as fast as the scheduler decides. Chunks fail and hang and workers die, at random. A
simulation runs in a process of its own, whose peak memory is its own:

    python -m benchmarks.scheduler '{"trials": 10000000}'
"""

import heapq
import itertools
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

from benchmarks import data
from orchestrator.scheduling.events import (
    Action,
    Assign,
    Chunk,
    ChunkDone,
    ChunkFailed,
    Event,
    Finish,
    GiveUp,
    StartWorker,
    StopWorker,
    Tick,
    WorkerLost,
    WorkerPlaced,
    WorkerReady,
)
from orchestrator.scheduling.scheduler import Scheduler
from orchestrator.scheduling.settings import Settings

ASKED_RATE = 50_000
ASKED_BYTES = 300 * 10**6

LAYERS = 100
CELL = 1000
WEIGHTS = (2.0, 0.8, 0.2)
TICK_SECONDS = 0.2


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Args:
        trials: In ``LAYERS`` layers, cells of ``CELL`` trials with one of three probabilities.
        workers: Workers wanted.
        trial_seconds: What a trial takes on average.
        failing: Share of the chunks that fail.
        hanging: Share of the chunks that are never done.
        life_seconds: Mean time after which a ready worker dies.
        slowness: Times as long as a trial takes on every other worker, which is of another kind.
        seed: Of all that is drawn.
    """

    trials: int
    workers: int = 10_000
    trial_seconds: float = 0.02
    failing: float = 0.01
    hanging: float = 1e-4
    life_seconds: float = 300.0
    slowness: float = 1.0
    seed: int = 2026


@dataclass
class Figures:
    """What came of a simulation.

    Args:
        done_once: Trials that were done exactly once.
        chunks: Chunks done.
        failed: Chunks that failed.
        died: Workers that died.
        stopped: Workers that were stopped because they were late.
        events: Events that the scheduler heard.
        scheduler_seconds: CPU time of the scheduler.
        seconds: CPU time of the scheduler and the simulation.
        simulated_seconds: Time that the campaign would have taken.
        peak_bytes: Peak memory of the process.
        finish: How the run ended.
    """

    done_once: int = 0
    chunks: int = 0
    failed: int = 0
    died: int = 0
    stopped: int = 0
    events: int = 0
    scheduler_seconds: float = 0.0
    seconds: float = 0.0
    simulated_seconds: float = 0.0
    peak_bytes: int = 0
    finish: str | None = "it has not ended"


class Simulation:
    """A crowd of workers in simulated time."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.random = Random(scenario.seed)  # noqa: S311 - repeatable
        self.figures = Figures()
        self.counts = bytearray(scenario.trials)
        self.now = 0.0
        self.events: list[tuple[float, int, Event]] = []
        self.scheduled = 0
        self.queues: dict[int, deque[Chunk]] = {}
        self.finished = False
        borders = [scenario.trials * layer // LAYERS for layer in range(LAYERS + 1)]
        self.scheduler = Scheduler(
            [[(start, stop)] for start, stop in itertools.pairwise(borders)],
            weigh=weigh,
            settings=Settings(scenario.workers),
        )

    def run(self) -> Figures:
        """Run to the end."""
        begin = time.process_time()
        self.obey(self.scheduler.start())
        self.later(0.0, Tick(0.0))
        clock = time.process_time
        while not self.finished:
            self.now, _, event = heapq.heappop(self.events)
            if not self.happens(event):
                continue
            before = clock()
            actions = self.scheduler.on(event)
            self.figures.scheduler_seconds += clock() - before
            self.figures.events += 1
            self.obey(actions)
        figures = self.figures
        figures.seconds = clock() - begin
        figures.simulated_seconds = self.now
        figures.done_once = self.counts.count(1)
        figures.peak_bytes = peak_bytes()
        return figures

    def later(self, seconds: float, event: Event) -> None:
        """Have something happen after some seconds."""
        self.scheduled += 1
        heapq.heappush(self.events, (self.now + seconds, self.scheduled, event))

    def happens(self, event: Event) -> bool:
        """Change the world; return whether the scheduler is to hear of it."""
        match event:
            case Tick():
                self.later(TICK_SECONDS, Tick(self.now + TICK_SECONDS))
            case ChunkDone(worker) | ChunkFailed(worker):
                if worker not in self.queues:
                    return False
                self.settle(self.queues[worker].popleft(), done=isinstance(event, ChunkDone))
                self.begin(worker)
            case WorkerReady(worker):
                self.queues[worker] = deque()
                life = self.random.expovariate(1 / self.scenario.life_seconds)
                self.later(life, WorkerLost(worker, "died", blameless=self.random.random() < 0.5))
            case WorkerLost(worker):
                if self.queues.pop(worker, None) is None:
                    return False
                self.figures.died += 1
        return True

    def settle(self, chunk: Chunk, *, done: bool) -> None:
        """Count what became of a chunk."""
        if not done:
            self.figures.failed += 1
            return
        self.figures.chunks += 1
        for start, stop in chunk.ranges:
            if self.counts.count(0, start, stop) != stop - start:
                sys.exit(f"some trials of {start} to {stop} were done twice")
            self.counts[start:stop] = b"\1" * (stop - start)

    def begin(self, worker: int) -> None:
        """Have the first chunk of a worker end some time, or never."""
        if not self.queues[worker]:
            return
        chunk, luck = self.queues[worker][0], self.random.random()
        cost = sum(length * each for span in chunk.ranges for length, each in weigh(*span))
        seconds = cost * self.scenario.trial_seconds * self.random.uniform(0.5, 1.5)
        seconds *= self.scenario.slowness if is_slow(worker) else 1.0
        if luck < self.scenario.failing:
            self.later(seconds, ChunkFailed(worker, chunk.id, "failed"))
        elif luck >= self.scenario.failing + self.scenario.hanging:
            self.later(seconds, ChunkDone(worker, chunk.id, seconds))

    def obey(self, actions: list[Action]) -> None:
        """Do what the scheduler says."""
        for action in actions:
            match action:
                case StartWorker(worker):
                    self.later(1.0, WorkerPlaced(worker))
                    kind = "slow" if is_slow(worker) else "fast"
                    self.later(self.random.uniform(5.0, 15.0), WorkerReady(worker, kind))
                case StopWorker(worker):
                    self.figures.stopped += 1
                    del self.queues[worker]
                case Assign(worker, chunk):
                    self.queues[worker].append(chunk)
                    if len(self.queues[worker]) == 1:
                        self.begin(worker)
                case GiveUp():
                    sys.exit(f"a trial was given up on: {action}")
                case Finish(reason):
                    self.finished = True
                    self.figures.finish = reason


def is_slow(worker: int) -> bool:
    """Return of which of the two kinds a worker is."""
    return worker % 2 == 1


def weigh(start: int, stop: int) -> Iterator[tuple[int, float]]:
    """Cells of ``CELL`` trials, their weights in turns."""
    while start < stop:
        end = min(stop, (start // CELL + 1) * CELL)
        yield end - start, WEIGHTS[start // CELL % len(WEIGHTS)]
        start = end


def peak_bytes() -> int:
    """Return the peak memory of this process since it began to run this program."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def simulate(scenario: Scenario) -> Figures:
    """Run a simulation in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scheduler", json.dumps(asdict(scenario))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Figures(**json.loads(done.stdout))


SCENARIOS = {
    "10 M trials": Scenario(10_000_000),
    "1 M trials": Scenario(1_000_000),
    "300,000 trials, one a chunk": Scenario(300_000, trial_seconds=20.0, life_seconds=20_000.0),
    "1 M trials, half of the workers 300 times slower": Scenario(1_000_000, slowness=300.0),
}


def main() -> None:
    figures = {name: simulate(scenario) for name, scenario in SCENARIOS.items()}
    table = Table(title="scheduler: 10,000 simulated workers, 100 layers")
    for name in ("", *figures, "asked for"):
        table.add_column(name, justify="right" if name else "left")
    rows: dict[str, tuple[Callable[[str], str], str]] = {
        "trials done exactly once": (lambda n: f"{figures[n].done_once:,}", "all"),
        "chunks done": (lambda n: f"{figures[n].chunks:,}", ""),
        "chunks failed": (lambda n: f"{figures[n].failed:,}", "1 %"),
        "workers died": (lambda n: f"{figures[n].died:,}", ""),
        "workers stopped, their chunk hung": (lambda n: f"{figures[n].stopped:,}", ""),
        "time simulated, s": (lambda n: f"{figures[n].simulated_seconds:,.0f}", ""),
        "CPU time of the simulation, s": (
            lambda n: f"{figures[n].seconds - figures[n].scheduler_seconds:.1f}",
            "",
        ),
        "CPU time of the scheduler, s": (lambda n: f"{figures[n].scheduler_seconds:.1f}", ""),
        "trials done a second of that": (
            lambda n: f"{SCENARIOS[n].trials / figures[n].scheduler_seconds:,.0f}",
            f">= {ASKED_RATE:,} for 10 M",
        ),
        "the same, the simulation counted too": (
            lambda n: f"{SCENARIOS[n].trials / figures[n].seconds:,.0f}",
            "",
        ),
        "microseconds an event, of CPU time": (
            lambda n: f"{1e6 * figures[n].scheduler_seconds / figures[n].events:.1f}",
            "",
        ),
        "peak memory of the process, MB": (
            lambda n: f"{figures[n].peak_bytes / 1e6:.0f}",
            f"<= {ASKED_BYTES / 1e6:.0f}",
        ),
        "of it, a byte a trial to count with, MB": (
            lambda n: f"{SCENARIOS[n].trials / 1e6:.0f}",
            "",
        ),
    }
    for name, (cell, asked) in rows.items():
        table.add_row(name, *map(cell, figures), asked)
    console = Console(width=120)
    console.print(table)
    console.print(f"one process each, simulation included; {data.machine()}\n", highlight=False)
    for name, one in figures.items():
        if one.finish is not None or one.done_once != SCENARIOS[name].trials:
            sys.exit(f"{name}: {one.done_once:,} done, ended with {one.finish!r}")


if __name__ == "__main__":
    print(json.dumps(asdict(Simulation(Scenario(**json.loads(sys.argv[1]))).run())))
