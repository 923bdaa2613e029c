"""What a session tells those who show, count or record what happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.session.counters import RunCounters

if TYPE_CHECKING:
    from orchestrator.executors.worker import ChunkResult, Ready


class Listener:
    """Follows a run; a subclass does something with what it hears.

    One of the user's own is called in a thread of its own, one call after another. Nothing that it
    does changes a row, and a run does not fail because of it.

    Attributes:
        campaign: The campaign with the keys of its file and all defaults, as JSON values.
        output: The run directory, a path or a URI; ``open_run`` opens it.
        counters: How far the run is. One of the user's own sees them as they were when it was
            called.
    """

    campaign: Mapping[str, Any]
    output: str
    counters: RunCounters

    def start(self, todo: Mapping[str, int]) -> None:
        """Hear that a run begins, and how many trials of each layer are to be done."""

    def tick(self) -> None:
        """Hear that time goes by: one of the user's own every ten seconds or less often."""

    def finish(self, stopped: str | None) -> None:
        """Hear that the run has ended, and why if not because all is settled.

        All rows are published by then. One of the user's own hears it last of all: nobody writes
        to the run directory any more.
        """


class SessionListener(Listener):
    """Hears all that happens in a session, in its thread; it ticks several times a second."""

    def worker_started(self, ready: Ready) -> None:
        """Hear that a worker is ready."""

    def worker_lost(self, error: str, *, was_ready: bool) -> None:
        """Hear that a worker is gone, or could not start."""

    def chunk_done(self, layer: str, result: ChunkResult) -> None:
        """Hear that trials of a layer are done."""

    def chunk_failed(self, error: str) -> None:
        """Hear that a worker could not evaluate a chunk; it is tried again, or split."""

    def trials_given_up(self, layer: str, trials: int, error: str) -> None:
        """Hear that so many trials of a layer were given up on."""

    def trials_released(self, layer: str, trials: int) -> None:
        """Hear that so many more trials of a layer are to be done."""
