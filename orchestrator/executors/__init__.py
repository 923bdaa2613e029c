"""Where workers run: the interface, and its backends.

An executor starts workers and sends them chunks; what comes back is a stream of replies. It takes
no decisions: the scheduler does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from injecttf2.trials import Repetitions
from orchestrator.listener import Listener
from orchestrator.worker import ChunkResult, Ready


@dataclass(frozen=True)
class Placed:
    """A worker has a place on a machine and begins to load the model."""

    worker: int


@dataclass(frozen=True)
class Started:
    """A worker is ready."""

    worker: int
    ready: Ready


@dataclass(frozen=True)
class Done:
    """A worker has evaluated a chunk."""

    worker: int
    chunk: int
    result: ChunkResult


@dataclass(frozen=True)
class Failed:
    """A worker could not evaluate a chunk, but goes on.

    ``hopeless`` says that the layer cannot be injected at all, whatever the machine.
    """

    worker: int
    chunk: int
    error: str
    traceback: str
    hopeless: bool


@dataclass(frozen=True)
class Lost:
    """A worker is gone, or could not start.

    ``blameless`` says that its machine went away.
    """

    worker: int
    error: str
    blameless: bool = False


Reply = Placed | Started | Done | Failed | Lost


class Executor(ABC):
    """Runs workers. A context manager: leaving it ends them."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """Workers that fit the machine or the cluster, or that the user asked for."""

    @property
    def listeners(self) -> Sequence[Listener]:
        """What is to be told how the session goes, beside those of the session itself."""
        return ()

    @abstractmethod
    def start_worker(self, worker: int) -> None:
        """Begin to start a worker; ``Placed`` and ``Started``, or ``Lost``, follow."""

    @abstractmethod
    def stop_worker(self, worker: int) -> None:
        """End a worker at once; nothing more follows from it."""

    @abstractmethod
    def submit(self, worker: int, chunk: int, runs: Sequence[Repetitions]) -> None:
        """Send a chunk to a worker that has started; ``Done``, ``Failed`` or ``Lost`` follows."""

    @abstractmethod
    def replies(self, timeout: float) -> list[Reply]:
        """Wait for replies, at most ``timeout`` seconds, and return those that are there.

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
