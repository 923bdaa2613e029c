"""Running a plan: the loop between scheduler, executor and run directory."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import numpy as np

from injecttf2.trials import trial_ids
from orchestrator import rows
from orchestrator.executors import Done, Executor, Failed, Lost, Reply, Started
from orchestrator.messages import (
    Action,
    Assign,
    ChunkDone,
    ChunkFailed,
    Event,
    Finish,
    GiveUp,
    Range,
    StartWorker,
    Stop,
    WorkerLost,
    WorkerReady,
)
from orchestrator.plan import Plan
from orchestrator.progress import Progress
from orchestrator.scheduler import Scheduler, Settings
from results import RunWriter

POLL_SECONDS = 0.2
"""Between two looks at signals and the clock."""

CHUNK_SECONDS = 2.0
"""Time that a chunk aims at."""


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Args:
        trials: Trials of the plan.
        done: Those whose rows are published, from earlier runs too.
        failed: Those that were given up on in this run.
        injections: Samples that were injected in this run.
        reevaluated: Those of them that a faster level left to level ``dense``.
        seconds: Time of this run, from the start of the workers.
        stopped: Why it stopped before all was done; None when it did not.
    """

    trials: int
    done: int
    failed: int
    injections: int
    reevaluated: int
    seconds: float
    stopped: str | None


class Session:
    """One run of a plan, from the first worker to the last row.

    Args:
        plan: The campaign.
        missing: Positions of the trials to do, ascending ranges.
        writer: Where rows go.
        executor: Where workers run.
        progress: What is told how far it is.
    """

    def __init__(
        self,
        plan: Plan,
        missing: Sequence[Range],
        *,
        writer: RunWriter,
        executor: Executor,
        progress: Progress,
    ) -> None:
        self._plan = plan
        self._writer = writer
        self._executor = executor
        self._progress = progress
        todo = _by_group(plan, missing)
        self._todo = sum(stop - start for ranges in todo for start, stop in ranges)
        samples = len(plan.dataset)
        self._scheduler = Scheduler(
            todo,
            weight=lambda position: rows.weight(plan.grid[position][0], samples),
            settings=Settings(workers=executor.workers, chunk_seconds=CHUNK_SECONDS),
        )
        self._ready: set[int] = set()
        self._failed = 0
        self._done = 0
        self._injections = 0
        self._reevaluated = 0
        self._finish: Finish | None = None

    def run(self) -> Summary:
        """Work until all is done, given up on or interrupted.

        Raises:
            InjectTF2Error: A worker found the model or the data unusable.
            ResultsError: The run directory cannot be written, or belongs to another golden run.
        """
        begin = time.monotonic()
        self._progress.start(self._remaining_by_layer(), len(self._plan.grid))
        with _interrupts() as interrupted:
            self._act(self._scheduler.start())
            while self._finish is None:
                if interrupted.is_set():
                    self._act(self._scheduler.on(Stop()))
                    break
                for reply in self._executor.replies(POLL_SECONDS):
                    self._act(self._scheduler.on(self._take_in(reply)))
                self._writer.maybe_flush()
                self._progress.tick()
        self._writer.flush()
        trials = len(self._plan.grid)
        return Summary(
            trials=trials,
            done=trials - self._todo + self._done,
            failed=self._failed,
            injections=self._injections,
            reevaluated=self._reevaluated,
            seconds=time.monotonic() - begin,
            stopped=None if self._finish is None else self._finish.reason,
        )

    def _remaining_by_layer(self) -> dict[str, int]:
        groups = zip(self._plan.grid.groups, self._scheduler.waiting, strict=True)
        return {group.layer: waiting for group, waiting in groups}

    def _take_in(self, reply: Reply) -> Event:
        """Store what came with a reply and return what the scheduler is to hear."""
        match reply:
            case Started(worker, ready):
                self._writer.set_golden(ready.golden)
                self._progress.worker_started(ready)
                self._ready.add(worker)
                return WorkerReady(worker)
            case Done(worker, chunk, result):
                self._writer.append(result.trials, result.injections)
                self._done += len(result.trials)
                self._injections += result.injected
                self._reevaluated += result.reevaluated
                layer = result.trials["layer"][0].as_py()
                self._progress.chunk_done(layer, len(result.trials), result.injected)
                return ChunkDone(worker, chunk, result.seconds)
            case Failed(worker, chunk, error, traceback, hopeless):
                return ChunkFailed(worker, chunk, error, traceback, hopeless)
            case Lost(worker, error):
                self._progress.worker_lost(error, was_ready=worker in self._ready)
                return WorkerLost(worker, error)

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case StartWorker(worker):
                    self._executor.start_worker(worker)
                case Assign(worker, chunk):
                    runs = list(self._plan.grid.runs(chunk.ranges))
                    self._executor.submit(worker, chunk.id, runs)
                case GiveUp(position, error, traceback):
                    self._give_up(position, error, traceback)
                case Finish():
                    self._finish = action

    def _give_up(self, position: int, error: str, traceback: str) -> None:
        cell, repetition = self._plan.grid[position]
        (trial_id,) = trial_ids(self._plan.identity, cell, [repetition]).tolist()
        trial = {**cell.to_dict(), "repetition": repetition}
        self._writer.record_failure(trial_id, error=error, traceback=traceback, trial=trial)
        self._failed += 1
        self._progress.trial_given_up(cell.layer, error)


def _by_group(plan: Plan, missing: Sequence[Range]) -> list[list[Range]]:
    """Cut ranges of positions at the borders of the grid's groups."""
    groups: list[list[Range]] = [[] for _ in plan.grid.groups]
    starts = np.array([group.start for group in plan.grid.groups])
    for start, stop in missing:
        index = int(np.searchsorted(starts, start, side="right")) - 1
        while start < stop:
            end = min(stop, plan.grid.groups[index].stop)
            groups[index].append((start, end))
            start, index = end, index + 1
    return groups


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Set the event on Ctrl-C or SIGTERM; a second one ends the process as usual."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # only the main thread may handle signals
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def stop(_number: int, _frame: FrameType | None) -> None:
        interrupted.set()
        for number in numbers:
            signal.signal(number, before[number])

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield interrupted
    finally:
        for number in numbers:
            signal.signal(number, before[number])
