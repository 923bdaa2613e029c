"""Short ways to drive a scheduler step by step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from orchestrator.scheduling.events import (
    Action,
    Assign,
    Chunk,
    ChunkDone,
    ChunkFailed,
    Event,
    Range,
    WorkerReady,
)
from orchestrator.scheduling.scheduler import Scheduler
from orchestrator.scheduling.settings import Settings
from tests.orchestrator.scheduling.weights import trials_of


def schedule(
    *groups: Sequence[Range],
    weight: Callable[[int], float] = lambda _: 1.0,
    begun: Collection[int] = (),
    **settings: Any,
) -> Scheduler:
    def weigh(start: int, stop: int) -> Iterator[tuple[int, float]]:
        for trial in range(start, stop):
            yield 1, weight(trial)

    return Scheduler(groups, weigh=weigh, settings=Settings(**settings), begun=begun)


def with_workers(scheduler: Scheduler, *, workers: int) -> list[Assign]:
    """Start a scheduler and report ``workers`` ready, in order; return what they are assigned."""
    scheduler.start()
    return [a for worker in range(workers) for a in assigned(scheduler.on(WorkerReady(worker)))]


def assigned(actions: list[Action]) -> list[Assign]:
    return [action for action in actions if isinstance(action, Assign)]


def attempts_of_one_worker(
    scheduler: Scheduler,
    *,
    seconds: Callable[[list[int]], float] = lambda trials: 1.0 * len(trials),
    poison: frozenset[int] = frozenset(),
) -> list[Chunk]:
    """Let one worker do all there is, in order; return the chunks that it was given."""
    todo = deque(with_workers(scheduler, workers=1))
    chunks = []
    while todo:
        chunk = todo.popleft().chunk
        chunks.append(chunk)
        trials = trials_of(chunk.ranges)
        event: Event = ChunkDone(0, chunk.id, seconds(trials))
        if poison.intersection(trials):
            event = ChunkFailed(0, chunk.id, "error")
        todo.extend(assigned(scheduler.on(event)))
    return chunks


def sizes(chunks: Iterable[Chunk]) -> list[int]:
    return [len(chunk) for chunk in chunks]
