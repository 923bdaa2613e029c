"""What a session leaves in the run directory beside rows: its event log and its heartbeat."""

from __future__ import annotations

import time
from collections.abc import Mapping

from orchestrator.executors.worker import Ready
from orchestrator.session.listeners import SessionListener
from results import RunWriter


class EventRecorder(SessionListener):
    """Writes what happens to workers and chunks into the event log, and keeps the heartbeat up.

    Args:
        writer: The writer of the run directory.
    """

    def __init__(self, writer: RunWriter) -> None:
        self._writer = writer
        self._begin = time.monotonic()

    def start(self, todo: Mapping[str, int]) -> None:  # noqa: ARG002
        """Log how much there is to do."""
        planned = self.counters.planned.total()
        self._writer.log("session_started", planned=planned, todo=self.counters.todo)
        self._beat("running")

    def worker_started(self, ready: Ready) -> None:
        """Log the worker."""
        self._writer.log(
            "worker_started", worker=ready.name, device=ready.device, numerics=ready.numerics
        )

    def worker_lost(self, error: str, *, was_ready: bool) -> None:
        """Log the loss."""
        self._writer.log("worker_lost", error=error, was_ready=was_ready)

    def chunk_failed(self, error: str) -> None:
        """Log the failure."""
        self._writer.log("chunk_failed", error=error)

    def trials_given_up(self, layer: str, trials: int, error: str) -> None:
        """Log how many, and why; which ones is in the records of failures."""
        self._writer.log("given_up", layer=layer, trials=trials, error=error)

    def tick(self) -> None:
        """Keep the heartbeat up."""
        self._beat("running")

    def finish(self, stopped: str | None) -> None:
        """Log the end, and say it in the heartbeat."""
        state = "finished" if stopped is None else "stopped"
        self._writer.log(f"session_{state}", trials=self.counters.trials, reason=stopped)
        self._beat(state, reason=stopped)

    def _beat(self, state: str, *, reason: str | None = None) -> None:
        seconds, counters = time.monotonic() - self._begin, self.counters
        self._writer.heartbeat(
            {
                "state": state,
                "workers": counters.workers,
                "planned": counters.planned.total(),
                "todo": counters.todo,
                "trials": counters.trials,
                "injections": counters.injections,
                "given_up": counters.given_up,
                "seconds": round(seconds, 1),
                "reason": reason,
            }
        )
