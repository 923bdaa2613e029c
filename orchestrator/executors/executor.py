"""Where workers run: the interface, and its backends.

An executor starts workers and sends them chunks; what comes back is a stream of the scheduler's
events. It takes no decisions: the scheduler does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from injecttf2.trial import CellTrials
from orchestrator.scheduling.events import WorkerEvent


class Executor(ABC):
    """Runs workers. A context manager: leaving it ends them."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """Workers that fit the machine or the cluster, or that the user asked for."""

    @abstractmethod
    def start_worker(self, worker: int) -> None:
        """Begin to start a worker.

        ``WorkerPlaced`` and ``WorkerReady``, or ``WorkerLost``, follow.
        """

    @abstractmethod
    def stop_worker(self, worker: int) -> None:
        """End a worker at once; nothing more follows from it."""

    @abstractmethod
    def submit(self, worker: int, chunk: int, runs: Sequence[CellTrials]) -> None:
        """Send a chunk to a worker that is ready.

        ``ChunkDone``, ``ChunkFailed`` or ``WorkerLost`` follows.
        """

    @abstractmethod
    def events(self, timeout: float) -> list[WorkerEvent]:
        """Wait for events, at most ``timeout`` seconds, and return those that are there.

        Raises:
            InjectTF2Error: A worker that was to start found the model or the data unusable.
        """

    @abstractmethod
    def close(self) -> None:
        """End all workers; nothing that they still do is waited for."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
