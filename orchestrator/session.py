"""Running a plan: the loop between scheduler, executor and run directory."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from injecttf2.errors import InjectTF2Error
from injecttf2.judges.output_kind import OutputKind, told
from injecttf2.trials import run_ids
from orchestrator import rows
from orchestrator.backlog import Backlog
from orchestrator.executors import Done, Executor, Failed, Lost, Placed, Reply, Started
from orchestrator.listener import Listener
from orchestrator.messages import (
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
    WorkerLost,
    WorkerPlaced,
    WorkerReady,
)
from orchestrator.plan import Plan
from orchestrator.scheduler import Scheduler, Settings
from orchestrator.signals import stop_signals
from orchestrator.worker import ChunkResult, Ready
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
        unmet: Cells that have had all their trials and are not known as well as asked.
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
    outputs: OutputKind | None = None
    stopped: str | None = None


class Session:
    """One run of a plan, from the first worker to the last row.

    Args:
        plan: The campaign.
        backlog: What of it is to be done.
        writer: Where rows go.
        executor: Where workers run.
        listener: Who is told what happens.
        settings: How trials are given to workers.
    """

    def __init__(
        self,
        plan: Plan,
        backlog: Backlog,
        *,
        writer: RunWriter,
        executor: Executor,
        listener: Listener,
        settings: Settings,
    ) -> None:
        self._plan = plan
        self._writer = writer
        self._executor = executor
        self._listener = listener
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
        self._failed = 0
        self._done = 0
        self._injections = 0
        self._reevaluated = 0
        self._finish: Finish | None = None
        self._planned = backlog.planned(plan.grid)
        self._tell_planned_at = 0.0

    def run(self) -> Summary:
        """Work until all is done, given up on or interrupted.

        Raises:
            InjectTF2Error: A worker found the model or the data unusable.
            ResultsError: The run directory cannot be written, or belongs to another golden run.
        """
        begin = time.monotonic()
        todo = self._remaining_by_layer()
        self._listener.start(todo, self._backlog)
        try:
            self._work(begin)
            self._writer.flush()
            self._writer.set_planned(self._planned)
            lost = len(self._writer.lost_ids())
        except Exception as error:
            ours = isinstance(error, InjectTF2Error | ResultsError)
            self._listener.finish(str(error) if ours else f"{type(error).__name__}: {error}")
            raise
        now = time.monotonic()
        worker_seconds = self._worker_seconds + sum(now - at for at in self._ready.values())
        stopped = None if self._finish is None else self._finish.reason
        if lost:
            damage = f"the rows of {lost:,} finished trials were damaged during the run"
            stopped = f"{stopped}; {damage}" if stopped else damage
        self._listener.finish(stopped)
        return Summary(
            trials=self._planned.total(),
            done=max(0, self._backlog.done + self._done - lost),
            failed=self._backlog.given_up + self._failed,
            injections=self._injections,
            reevaluated=self._reevaluated,
            seconds=now - begin,
            busy=self._engine_seconds / worker_seconds if worker_seconds else None,
            unmet=0 if self._backlog.looks is None else self._backlog.looks.unmet,
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
        replies = self._executor.replies(POLL_SECONDS)
        self._act(self._scheduler.on(Tick(time.monotonic())))
        for reply in replies:
            if reply.worker not in self._stopped:
                self._act(self._scheduler.on(self._take_in(reply)))
        self._writer.maybe_flush()
        if self._backlog.looks is not None and time.monotonic() >= self._tell_planned_at:
            self._tell_planned_at = time.monotonic() + PLANNED_SECONDS
            with suppress(ResultsError):  # it is told again; rows meet what lasts
                self._writer.set_planned(self._planned)
        self._listener.tick()

    def _weigh(self, start: int, stop: int) -> Iterator[tuple[int, float]]:
        """Yield how many trials of a cell lie between two positions, and what each costs."""
        idle = rows.TRIAL_COST * len(self._plan.dataset)
        for run in self._plan.grid.runs([(start, stop)]):
            yield len(run), self._plan.hits(run.cell) + idle

    def _remaining_by_layer(self) -> dict[str, int]:
        todo: dict[str, int] = {}
        for group, waiting in zip(self._plan.grid.groups, self._scheduler.waiting, strict=True):
            todo[group.layer] = todo.get(group.layer, 0) + waiting
        return todo

    def _take_in(self, reply: Reply) -> Event:
        """Store what came with a reply and return what the scheduler is to hear."""
        match reply:
            case Placed(worker):
                return WorkerPlaced(worker)
            case Started(worker, ready):
                return self._welcome(worker, ready)
            case Done(worker, chunk, result):
                self._store(result)
                self._look(result)
                return ChunkDone(worker, chunk, result.seconds)
            case Failed(worker, chunk, error, traceback, hopeless):
                self._listener.chunk_failed(error)
                return ChunkFailed(worker, chunk, error, traceback, hopeless)
            case Lost(worker, error, blameless):
                self._lose(worker, error)
                return WorkerLost(worker, error, blameless)

    def _welcome(self, worker: int, ready: Ready) -> Event:
        """Take a worker in if it decides as the others and is of their class of numerics.

        Raises:
            RunMismatchError: It is not, nor is any other, as many as are wanted.
        """
        try:
            golden = {**ready.golden, **told(self._plan.outputs)}
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
        self._listener.worker_started(ready)
        return WorkerReady(worker, ready.device)

    def _store(self, result: ChunkResult) -> None:
        self._writer.append(result.trials, result.injections)
        self._done += len(result.trials)
        self._engine_seconds += result.preparation + result.seconds
        self._injections += result.injected
        self._reevaluated += result.reevaluated
        layer = result.trials["layer"][0].as_py()
        self._listener.chunk_done(layer, result)

    def _look(self, result: ChunkResult) -> None:
        """Have the scheduler do what is released by trials that are done."""
        if self._backlog.looks is None:
            return
        grid, failed = self._plan.grid, self._backlog.failed
        for group, span in self._backlog.looks.done(result.trials):
            layer = grid.groups[group].layer
            todo = tuple(grid.compare(self._plan.identity, failed, [span]).missing)
            released = sum(stop - start for start, stop in todo)
            self._planned[layer] += span[1] - span[0]
            self._failed += span[1] - span[0] - released
            self._listener.trials_released(layer, released)
            if todo:
                self._act(self._scheduler.on(MoreWork(group, todo)))

    def _lose(self, worker: int, error: str) -> None:
        since = self._ready.pop(worker, None)
        was_ready = since is not None
        if since is not None:
            self._worker_seconds += time.monotonic() - since
        self._listener.worker_lost(error, was_ready=was_ready)

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
        self._failed += count
        self._listener.trials_given_up(given_up[0].trial["layer"], count, error)


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
