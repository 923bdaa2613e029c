"""What the scheduler hears and says: chunks, events and actions.

Events of workers come from executors and may carry what a worker said; the scheduler does not look
at that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Range = tuple[int, int]
"""Positions of trials in the grid, from the first up to, not including, the second."""


@dataclass(frozen=True)
class Chunk:
    """Trials of one group that travel together.

    Args:
        id: Unique in a run.
        group: Index of the group.
        ranges: Positions of the trials, ascending.
        failures: How often these trials have failed together.
        failed_on: The worker that they failed on last.
        machines_lost: Machines that went away while they were at work on them.
    """

    id: int
    group: int
    ranges: tuple[Range, ...]
    failures: int = 0
    failed_on: int | None = None
    machines_lost: int = 0

    def __len__(self) -> int:
        return sum(stop - start for start, stop in self.ranges)


@dataclass(frozen=True)
class Tick:
    """It is now this time, in seconds of a clock that never goes back."""

    now: float


@dataclass(frozen=True)
class WorkerPlaced:
    """A worker has a place on a machine and begins to load the model."""

    worker: int


@dataclass(frozen=True)
class WorkerReady:
    """A worker has started and waits for work.

    ``kind`` names what it runs on: workers of one kind go at about the same pace. ``ready`` is what
    it said of itself.
    """

    worker: int
    kind: str = ""
    ready: Any = None


@dataclass(frozen=True)
class ChunkDone:
    """A worker has evaluated a chunk in ``seconds``, preparation of the layer not counted.

    ``result`` is what came of it.
    """

    worker: int
    chunk: int
    seconds: float
    result: Any = None


@dataclass(frozen=True)
class ChunkFailed:
    """A worker could not evaluate a chunk; the worker itself goes on.

    ``hopeless`` says that no trial of the chunk's group can be evaluated.
    """

    worker: int
    chunk: int
    error: str
    traceback: str = ""
    hopeless: bool = False


@dataclass(frozen=True)
class WorkerLost:
    """A worker has died, or could not start.

    ``blameless`` says that its machine went away: the chunk it was at work on is not to blame,
    unless that happens to it again and again. ``refused`` says that it is well but of no use to the
    run: one worker less is wanted.
    """

    worker: int
    error: str
    blameless: bool = False
    refused: bool = False


@dataclass(frozen=True)
class MoreWork:
    """More trials of a group are to be done: positions, none of them known before.

    It comes before the event of the chunk that brought it about.
    """

    group: int
    ranges: tuple[Range, ...]


@dataclass(frozen=True)
class Stop:
    """The user wants to stop."""


WorkerEvent = WorkerPlaced | WorkerReady | ChunkDone | ChunkFailed | WorkerLost

Event = Tick | WorkerEvent | MoreWork | Stop


@dataclass(frozen=True)
class StartWorker:
    """Start a worker under this number."""

    worker: int


@dataclass(frozen=True)
class StopWorker:
    """End a worker that has passed a deadline: it is counted as lost already.

    Args:
        worker: The worker.
        error: What it did not do in time.
    """

    worker: int
    error: str


@dataclass(frozen=True)
class Assign:
    """Send a chunk to a worker."""

    worker: int
    chunk: Chunk


@dataclass(frozen=True)
class GiveUp:
    """Record that trials were given up on, and why.

    Args:
        ranges: Their positions, ascending.
        error: What happened to the last of them that was tried.
        traceback: Where; empty if that is not known.
    """

    ranges: tuple[Range, ...]
    error: str
    traceback: str


@dataclass(frozen=True)
class Finish:
    """Nothing more will be assigned.

    Args:
        reason: None when every trial is done or given up on; otherwise why the run stops.
    """

    reason: str | None = None


Action = StartWorker | StopWorker | Assign | GiveUp | Finish
