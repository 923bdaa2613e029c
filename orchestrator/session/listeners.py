"""What a session tells those who show, count or record what happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.session.counters import RunCounters

if TYPE_CHECKING:
    from orchestrator.executors.worker import ChunkResult, Ready


class Listener:
    """Hears what happens in a session; does nothing with it unless a subclass does.

    Attributes:
        counters: How far the session is; it has counted what it tells.
    """

    counters: RunCounters

    def start(self, todo: Mapping[str, int], counters: RunCounters) -> None:  # noqa: ARG002
        """Hear how many trials of each layer are to be done."""
        self.counters = counters

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

    def tick(self) -> None:
        """Hear that time goes by; called several times a second."""

    def finish(self, stopped: str | None) -> None:
        """Hear that the session ends, and why if not because all is settled."""
