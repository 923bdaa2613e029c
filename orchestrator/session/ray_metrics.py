"""How a session goes, as Ray metrics: Ray's agent on the driver's machine serves them."""

from __future__ import annotations

from ray.util.metrics import Counter, Gauge, Histogram

from orchestrator.executors.worker import ChunkResult
from orchestrator.session.listeners import SessionListener

CHUNK_SECONDS = [0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 300.0]
"""Upper bounds of the histogram's buckets, in seconds."""


class RayMetrics(SessionListener):
    """Counts trials, injections, failures and golden data; a Ray must be connected.

    Ray puts ``ray_`` before the names.
    """

    def __init__(self) -> None:
        by_layer = ("layer",)
        self._trials = Counter(
            "injecttf2_trials_done", description="Trials done.", tag_keys=by_layer
        )
        self._injections = Counter(
            "injecttf2_injections", description="Samples that were injected.", tag_keys=by_layer
        )
        self._seconds = Histogram(
            "injecttf2_chunk_seconds",
            description="Time of the evaluation of a chunk, in seconds.",
            boundaries=CHUNK_SECONDS,
            tag_keys=by_layer,
        )
        self._golden = Counter(
            "injecttf2_golden_blocks",
            description="Golden blocks asked for: in place (hit) or not (computed).",
            tag_keys=("result",),
        )
        self._given_up = Counter(
            "injecttf2_trials_given_up", description="Trials given up on.", tag_keys=by_layer
        )
        self._failed = Counter(
            "injecttf2_chunks_failed", description="Chunks that a worker could not evaluate."
        )
        self._lost = Counter("injecttf2_workers_lost", description="Workers that were lost.")
        self._workers = Gauge("injecttf2_workers", description="Workers that are ready.")

    def worker_lost(self, error: str, *, was_ready: bool) -> None:  # noqa: ARG002
        """Count the loss."""
        self._lost.inc()

    def chunk_done(self, layer: str, result: ChunkResult) -> None:
        """Count trials, injections, time and golden data."""
        tags = {"layer": layer}
        self._trials.inc(len(result.trials), tags)
        if result.injected:
            self._injections.inc(result.injected, tags)
        self._seconds.observe(result.seconds, tags)
        if result.golden_use.hits:
            self._golden.inc(result.golden_use.hits, {"result": "hit"})
        if result.golden_use.computed:
            self._golden.inc(result.golden_use.computed, {"result": "computed"})

    def chunk_failed(self, error: str) -> None:  # noqa: ARG002
        """Count the failure."""
        self._failed.inc()

    def trials_given_up(self, layer: str, trials: int, error: str) -> None:  # noqa: ARG002
        """Count the trials."""
        self._given_up.inc(trials, {"layer": layer})

    def tick(self) -> None:
        """Tell how many workers there are: Ray forgets a gauge that it has reported."""
        self._workers.set(self.counters.workers)
