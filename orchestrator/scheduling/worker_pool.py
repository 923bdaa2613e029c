"""The workers that the scheduler has: who starts, who is ready, who has room, who is late."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.scheduling.backoff import Backoff
from orchestrator.scheduling.deadlines import Deadlines
from orchestrator.scheduling.events import Chunk, StartWorker
from orchestrator.scheduling.lazy_priority_queue import Key, LazyPriorityQueue
from orchestrator.scheduling.settings import Settings

NOT_PLACED = (
    "none was given a place; see that a machine has the CPUs, GPUs and memory that a worker needs"
)


@dataclass(slots=True)
class InFlight:
    """A chunk at a worker.

    Args:
        chunk: The chunk.
        weight: What it weighs.
    """

    chunk: Chunk
    weight: float


@dataclass(slots=True)
class PooledWorker:
    """A worker that is ready.

    Args:
        kind: What it runs on.
        group: The group that it stays with.
        prepared: The group of the chunk that it did last.
        flights: By number of the chunk, in the order in which it does them.
        current: The first of them, which it is at work on.
        begun: When that began.
        expected: Seconds that it was expected to take; None where no pace was known.
    """

    kind: str = ""
    group: int | None = None
    prepared: int | None = None
    flights: dict[int, InFlight] = field(default_factory=dict)
    current: InFlight | None = None
    begun: float = 0.0
    expected: float | None = None


class WorkerPool:
    """Workers that come, work, are late and go. It knows time, but no groups.

    Args:
        settings: How to work.

    Attributes:
        members: The workers that are ready, by number.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.members: dict[int, PooledWorker] = {}
        self._with_room = LazyPriorityQueue(self._room)
        self._starting: set[int] = set()
        self._loading: set[int] = set()
        self._started = 0
        self._wanted = settings.workers
        self._now = 0.0
        self._heard = 0.0
        self._deadlines = Deadlines()
        self._backoff = Backoff(settings.backoff, settings.most_backoff)
        self._none_ready_since = math.inf
        self._last_loss = NOT_PLACED

    def tick(self, now: float) -> list[tuple[int, str]]:
        """Take in the time and return who is late, with what."""
        self._heard, self._now = self._now, now
        if not self.members:
            self._none_ready_since = min(self._none_ready_since, now)
        return [(worker, self._lateness(worker)) for worker in self._deadlines.passed(self._heard)]

    def start(self, most: int) -> list[StartWorker]:
        """Start workers until there are as many as are wanted, or ``most``."""
        running = len(self.members) + len(self._starting)
        missing = min(self._wanted, most) - running
        if missing <= 0 or self._backoff.waits(self._now):
            return []
        numbers = range(self._started, self._started + missing)
        self._started = numbers.stop
        self._starting.update(numbers)
        return [StartWorker(number) for number in numbers]

    def placed(self, worker: int) -> None:
        """Note that a worker begins to load the model."""
        if worker in self._starting and worker not in self._loading:
            self._loading.add(worker)
            self._deadlines.set(worker, self._now + self._settings.start_deadline)

    def ready(self, worker: int, kind: str) -> None:
        """Take a worker of a kind in."""
        if worker not in self._starting:
            return
        self._starting.remove(worker)
        self._loading.discard(worker)
        self._deadlines.clear(worker)
        self.members[worker] = PooledWorker(kind)
        self._with_room.touch(worker)
        self._none_ready_since = math.inf

    def lost(self, worker: int, error: str, *, refused: bool = False) -> PooledWorker | None:
        """Let a worker go and return what it was, None if it was not ready.

        In place of one that was refused no other is wanted, as long as one at least is.
        """
        if worker not in self._starting and worker not in self.members:
            return None
        self._wanted = max(1, self._wanted - refused)
        self._last_loss = error
        self._backoff.lost(self._now, self._started)
        self._deadlines.clear(worker)
        self._starting.discard(worker)
        self._loading.discard(worker)
        self._with_room.touch(worker)
        return self.members.pop(worker, None)

    def done(self, worker: int) -> None:
        """Note that a worker has done a chunk, which may end the wait after losses."""
        self._backoff.done(worker)

    def given_up(self) -> None:
        """Note that a trial was given up on: the losses that it has cost are over."""
        self._backoff.reset()

    def out_of_patience(self) -> str | None:
        """Return why the run is to stop if no worker has been ready for too long."""
        if self.members:
            return None
        patience = self._settings.patience
        if self._loading:
            patience += self._settings.start_deadline
        if self._heard - self._none_ready_since < patience:
            return None
        return f"no worker could be had for {patience:g} s: {self._last_loss}"

    def first_with_room(self, besides: int | None) -> int | None:
        """Return the worker that has the fewest chunks and room for another."""
        return self._with_room.first(lambda number: number != besides)

    def give(self, worker: int, flight: InFlight) -> None:
        """Put a chunk at the end of a worker's queue."""
        self.members[worker].flights[flight.chunk.id] = flight
        self._with_room.touch(worker)

    def take(self, worker: int, chunk: int) -> InFlight | None:
        """Take a chunk out of a worker's queue; None if it is not there."""
        member = self.members.get(worker)
        if member is None or chunk not in member.flights:
            return None
        self._with_room.touch(worker)
        return member.flights.pop(chunk)

    def begin(self, worker: int, pace: Callable[[int, str], float | None]) -> None:
        """Set a worker's clock if another chunk is the first in its queue than before.

        Args:
            worker: The worker.
            pace: Returns the weight that a worker of a kind does per second in a group; None if it
                is not known.
        """
        member = self.members[worker]
        first = next(iter(member.flights.values()), None)
        if first is member.current:
            return
        member.current, member.begun = first, self._now
        if first is None:
            self._deadlines.clear(worker)
            return
        known, settings = pace(first.chunk.group, member.kind), self._settings
        member.expected = None if known is None else first.weight / known
        seconds = max(settings.least_deadline, settings.deadline_factor * (member.expected or 0.0))
        if member.expected is None or member.prepared != first.chunk.group:
            seconds = max(seconds, settings.first_deadline)
        self._deadlines.set(worker, self._now + seconds)

    def _room(self, worker: int) -> Key | None:
        member = self.members.get(worker)
        if member is None or len(member.flights) >= self._settings.in_flight:
            return None
        return (len(member.flights),)

    def _lateness(self, worker: int) -> str:
        """Say what a worker did not do in time."""
        member = self.members.get(worker)
        if member is None or member.current is None:
            limit = self._settings.start_deadline
            return f"the worker was stopped: not ready {limit:g} s after it was given a place"
        count, seconds = len(member.current.chunk), self._now - member.begun
        trials = "1 trial" if count == 1 else f"{count} trials"
        return (
            f"the worker was stopped: a chunk of {trials} was not done after {seconds:.0f} s, "
            f"{_expectation(member.expected)}"
        )


def _expectation(seconds: float | None) -> str:
    if seconds is None:
        return "at a layer whose pace is not known yet"
    return f"expected about {seconds:.0f} s" if seconds >= 10 else f"expected about {seconds:.2g} s"
