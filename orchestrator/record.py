"""What a session leaves in the run directory beside rows: its event log and its heartbeat."""

from __future__ import annotations

import time
from collections.abc import Mapping

from orchestrator.backlog import Backlog
from orchestrator.listener import Listener
from orchestrator.worker import ChunkResult, Ready
from results import RunWriter


class Record(Listener):
    """Writes what happens to workers and chunks into the event log, and keeps the heartbeat up.

    Args:
        writer: The writer of the run directory.
    """

    def __init__(self, writer: RunWriter) -> None:
        self._writer = writer
        self._begin = time.monotonic()
        self._planned = 0
        self._todo = 0
        self._trials = 0
        self._injections = 0
        self._given_up = 0
        self._workers = 0

    def start(self, todo: Mapping[str, int], backlog: Backlog) -> None:  # noqa: ARG002
        """Log how much there is to do."""
        self._todo = backlog.trials
        self._planned = self._todo + backlog.done + backlog.given_up
        self._writer.log("session_started", planned=self._planned, todo=self._todo)
        self._beat("running")

    def worker_started(self, ready: Ready) -> None:
        """Log the worker."""
        self._workers += 1
        self._writer.log(
            "worker_started", worker=ready.name, device=ready.device, numerics=ready.numerics
        )

    def worker_lost(self, error: str, *, was_ready: bool) -> None:
        """Log the loss."""
        self._workers -= was_ready
        self._writer.log("worker_lost", error=error, was_ready=was_ready)

    def chunk_done(self, layer: str, result: ChunkResult) -> None:  # noqa: ARG002 - rows tell more
        """Count; what is published is logged by the writer."""
        self._trials += len(result.trials)
        self._injections += result.injected

    def chunk_failed(self, error: str) -> None:
        """Log the failure."""
        self._writer.log("chunk_failed", error=error)

    def trials_given_up(self, layer: str, trials: int, error: str) -> None:
        """Log how many, and why; which ones is in the records of failures."""
        self._given_up += trials
        self._writer.log("given_up", layer=layer, trials=trials, error=error)

    def trials_released(self, layer: str, trials: int) -> None:  # noqa: ARG002 - counted together
        """Count what is planned."""
        self._planned += trials
        self._todo += trials

    def tick(self) -> None:
        """Keep the heartbeat up."""
        self._beat("running")

    def finish(self, stopped: str | None) -> None:
        """Log the end, and say it in the heartbeat."""
        state = "finished" if stopped is None else "stopped"
        self._writer.log(f"session_{state}", trials=self._trials, reason=stopped)
        self._beat(state, reason=stopped)

    def _beat(self, state: str, *, reason: str | None = None) -> None:
        seconds = time.monotonic() - self._begin
        self._writer.heartbeat(
            {
                "state": state,
                "workers": self._workers,
                "planned": self._planned,
                "todo": self._todo,
                "trials": self._trials,
                "injections": self._injections,
                "given_up": self._given_up,
                "seconds": round(seconds, 1),
                "reason": reason,
            }
        )
