"""Running a plan: the loop between scheduler, executor and run directory."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pyarrow as pa

from injecttf2.errors import InjectTF2Error
from injecttf2.judging.output_kind import OutputKind, as_columns
from injecttf2.trial import run_ids
from orchestrator.executors import result_rows
from orchestrator.executors.executor import Executor
from orchestrator.executors.worker import ChunkResult
from orchestrator.planning.adaptive_sampling import CellsReached
from orchestrator.planning.backlog import Backlog, Released
from orchestrator.planning.plan import Plan
from orchestrator.scheduling.events import (
    Action,
    Assign,
    ChunkDone,
    ChunkFailed,
    Event,
    Finish,
    GiveUp,
    MoreWork,
    Range,
    StartWorker,
    Stop,
    StopWorker,
    Tick,
    WorkerEvent,
    WorkerLost,
    WorkerReady,
)
from orchestrator.scheduling.scheduler import Scheduler, Settings
from orchestrator.session.counters import RunCounters
from orchestrator.session.listeners import SessionListener
from orchestrator.signals import stop_signals
from results import GivenUp, ResultsError, RunMismatchError, RunWriter

POLL_SECONDS = 0.2
"""Between two looks at signals and the clock."""

PLANNED_SECONDS = 5.0
"""Between two records of how many trials are planned, where looks at cells release more."""


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Args:
        trials: Trials of the plan.
        done: Those whose rows are published, from earlier runs too.
        failed: Those that were given up on, in earlier runs too, and have not succeeded since.
        injections: Samples that were injected in this run.
        reevaluated: Those of them that a faster level left to level ``dense``.
        seconds: Time of this run, from the start of the workers.
        busy: Share of the workers' time, from ready to the end, that the engine took.
        unmet: Cells, layers or networks that have had all their trials and are not known as asked.
        reached: How well the rates of layers or of the network are known, as
            ``AdaptiveSampling.reached`` tells it; empty where it was not asked for.
        cells_reached: The same of cells; None where it was not asked for.
        outputs: What the model's outputs were taken for; None where nothing depends on it.
        stopped: Why it stopped before all was done; None when it did not.
    """

    trials: int
    done: int
    failed: int
    injections: int = 0
    reevaluated: int = 0
    seconds: float = 0.0
    busy: float | None = None
    unmet: int = 0
    reached: Sequence[Mapping[str, Any]] = ()
    cells_reached: CellsReached | None = None
    outputs: OutputKind | None = None
    stopped: str | None = None


class Session:
    """One run of a plan, from the first worker to the last row.

    Args:
        plan: The campaign.
        backlog: What of it is to be done.
        writer: Where rows go.
        executor: Where workers run.
        listeners: Who is told what happens, in this order.
        settings: How trials are given to workers.
    """

    def __init__(
        self,
        plan: Plan,
        backlog: Backlog,
        *,
        writer: RunWriter,
        executor: Executor,
        listeners: Sequence[SessionListener],
        settings: Settings,
    ) -> None:
        self._plan = plan
        self._writer = writer
        self._executor = executor
        self._listeners = listeners
        self._backlog = backlog
        self._scheduler = Scheduler(
            backlog.todo, weigh=self._weigh, settings=settings, begun=backlog.begun
        )
        self._ready: dict[int, float] = {}
        self._any_ready = False
        self._refused = 0
        self._stopped: set[int] = set()
        self._engine_seconds = 0.0
        self._worker_seconds = 0.0
        self._finish: Finish | None = None
        self._counters = RunCounters(
            backlog.planned(plan.grid), backlog.trials, backlog.done, backlog.given_up
        )
        self._tell_planned_at = 0.0

    def run(self) -> Summary:
        """Work until all is done, given up on or interrupted.

        Raises:
            InjectTF2Error: A worker found the model or the data unusable.
            ResultsError: The run directory cannot be written, or belongs to another golden run.
        """
        begin = time.monotonic()
        todo, counters = self._remaining_by_layer(), self._counters
        for listener in self._listeners:
            listener.counters = counters
        self._tell(lambda one: one.start(todo))
        try:
            self._work(begin)
            self._writer.flush()
            reached = self._backlog.reached(
                ended=self._finish is not None and not self._finish.reason
            )
            self._writer.set_planned(counters.planned, reached)
            lost = len(self._writer.lost_ids())
        except Exception as error:
            ours = isinstance(error, InjectTF2Error | ResultsError)
            reason = str(error) if ours else f"{type(error).__name__}: {error}"
            self._tell(lambda one: one.finish(reason))
            raise
        now = time.monotonic()
        worker_seconds = self._worker_seconds + sum(now - at for at in self._ready.values())
        stopped = None if self._finish is None else self._finish.reason
        if lost:
            damage = f"the rows of {lost:,} finished trials were damaged during the run"
            stopped = f"{stopped}; {damage}" if stopped else damage
        self._tell(lambda one: one.finish(stopped))
        return Summary(
            trials=counters.planned.total(),
            done=max(0, counters.done_before + counters.trials - lost),
            failed=counters.given_up_before + counters.given_up,
            injections=counters.injections,
            reevaluated=counters.reevaluated,
            seconds=now - begin,
            busy=self._engine_seconds / worker_seconds if worker_seconds else None,
            unmet=self._backlog.unmet,
            reached=reached,
            cells_reached=self._backlog.cells_reached,
            outputs=self._plan.outputs,
            stopped=stopped,
        )

    def _work(self, begin: float) -> None:
        """Let the scheduler act from the first worker to the finish."""
        with _interrupts() as interrupted:
            self._act(self._scheduler.on(Tick(begin)))
            self._act(self._scheduler.start())
            while self._finish is None:
                if interrupted.is_set():
                    self._act(self._scheduler.on(Stop()))
                    break
                self._step()

    def _step(self) -> None:
        """Let time go on and take in what has come from workers."""
        events = self._executor.events(POLL_SECONDS)
        self._act(self._scheduler.on(Tick(time.monotonic())))
        for event in events:
            if event.worker not in self._stopped:
                self._act(self._scheduler.on(self._take_in(event)))
        self._writer.maybe_flush()
        if self._backlog.looks is not None and time.monotonic() >= self._tell_planned_at:
            self._tell_planned_at = time.monotonic() + PLANNED_SECONDS
            with suppress(ResultsError):  # it is told again; rows meet what lasts
                reached = self._backlog.reached(ended=False)
                self._writer.set_planned(self._counters.planned, reached)
        self._tell(lambda one: one.tick())

    def _weigh(self, start: int, stop: int) -> Iterator[tuple[int, float]]:
        """Yield how many trials of a cell lie between two positions, and what each costs."""
        idle = result_rows.TRIAL_COST * len(self._plan.dataset)
        for run in self._plan.grid.runs([(start, stop)]):
            yield len(run), self._plan.hits(run.cell) + idle

    def _remaining_by_layer(self) -> dict[str, int]:
        todo: dict[str, int] = {}
        for group, waiting in zip(self._plan.grid.groups, self._scheduler.waiting, strict=True):
            todo[group.layer] = todo.get(group.layer, 0) + waiting
        return todo

    def _take_in(self, event: WorkerEvent) -> Event:
        """Store what came with an event and return what the scheduler is to hear."""
        match event:
            case WorkerReady():
                return self._welcome(event)
            case ChunkDone(result=result):
                self._store(result)
                self._look(result)
            case ChunkFailed(error=error):
                self._tell(lambda one: one.chunk_failed(error))
            case WorkerLost(worker, error):
                self._lose(worker, error)
        return event

    def _welcome(self, event: WorkerReady) -> Event:
        """Take a worker in if it decides as the others and is of their class of numerics.

        Raises:
            RunMismatchError: It is not, nor is any other, as many as are wanted.
        """
        worker, ready = event.worker, event.ready
        try:
            golden = {**ready.golden, **as_columns(self._plan.outputs)}
            self._writer.set_golden(golden, ready.numerics)
        except RunMismatchError as error:
            self._refused += 1
            if not self._any_ready and self._refused >= self._executor.workers:
                raise
            self._executor.stop_worker(worker)
            message = f"{ready.name} on {ready.device} was refused: {error.message}\n  {error.hint}"
            self._lose(worker, message)
            return WorkerLost(worker, message, refused=True)
        self._any_ready = True
        self._ready[worker] = time.monotonic()
        self._counters.workers = len(self._ready)
        self._tell(lambda one: one.worker_started(ready))
        return event

    def _store(self, result: ChunkResult) -> None:
        self._writer.append(result.trials, result.injections)
        self._engine_seconds += result.preparation + result.seconds
        self._counters.trials += len(result.trials)
        self._counters.injections += result.injected
        self._counters.sdc += _sum(result.trials["sdc"])
        self._counters.due += _sum(result.trials["due"])
        self._counters.reevaluated += result.reevaluated
        layer = result.trials["layer"][0].as_py()
        self._tell(lambda one: one.chunk_done(layer, result))

    def _look(self, result: ChunkResult) -> None:
        """Have the scheduler do what is released by trials that are done."""
        for released in self._backlog.release(self._plan, result.trials):
            self._release(released)

    def _release(self, released: Released) -> None:
        self._counters.planned[released.layer] += released.trials
        self._counters.todo += released.todo
        self._counters.given_up_before += released.trials - released.todo
        self._tell(lambda one: one.trials_released(released.layer, released.todo))
        if released.ranges:
            self._act(self._scheduler.on(MoreWork(released.group, released.ranges)))

    def _lose(self, worker: int, error: str) -> None:
        since = self._ready.pop(worker, None)
        if since is not None:
            self._worker_seconds += time.monotonic() - since
        self._counters.workers = len(self._ready)
        self._counters.lost += 1
        self._tell(lambda one: one.worker_lost(error, was_ready=since is not None))

    def _tell(self, what: Callable[[SessionListener], None]) -> None:
        for listener in self._listeners:
            what(listener)

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case StartWorker(worker):
                    self._executor.start_worker(worker)
                case StopWorker(worker, error):
                    self._stopped.add(worker)
                    self._executor.stop_worker(worker)
                    self._lose(worker, error)
                case Assign(worker, chunk):
                    runs = list(self._plan.grid.runs(chunk.ranges))
                    self._executor.submit(worker, chunk.id, runs)
                case GiveUp(ranges, error, traceback):
                    self._give_up(ranges, error, traceback)
                case Finish():
                    self._finish = action

    def _give_up(self, ranges: Iterable[Range], error: str, traceback: str) -> None:
        identity = self._plan.identity
        given_up = [
            GivenUp(run_ids(identity, [run]), run.cell.to_dict(), run.start)
            for run in self._plan.grid.runs(ranges)
        ]
        self._writer.record_failures(given_up, error=error, traceback=traceback)
        count = sum(len(cell.ids) for cell in given_up)
        self._counters.given_up += count
        layer = given_up[0].trial["layer"]
        self._tell(lambda one: one.trials_given_up(layer, count, error))


def _sum(column: pa.ChunkedArray) -> int:
    """Return the sum of a column without nulls, int64 [trials]."""
    return int(column.to_numpy().sum())


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Set the event on a signal to stop; a second one ends the process as usual."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # only the main thread may handle signals
        return
    numbers = stop_signals()
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
