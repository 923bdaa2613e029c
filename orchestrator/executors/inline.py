"""One worker in the caller's own process: for debugging, tests and small runs."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Sequence

from injecttf2.datasets import Dataset
from injecttf2.errors import UserError, told
from injecttf2.models.portable import PortableModel
from injecttf2.trial import CellTrials
from orchestrator.executors.executor import Executor
from orchestrator.executors.worker import Worker, WorkerSettings, is_transient
from orchestrator.scheduling.events import (
    ChunkDone,
    ChunkFailed,
    WorkerEvent,
    WorkerLost,
    WorkerReady,
)


class InlineExecutor(Executor):
    """Evaluates one chunk each time that events are asked for.

    Args:
        settings: Settings of the worker.
        model: The model.
        dataset: The data.
    """

    def __init__(self, settings: WorkerSettings, model: PortableModel, dataset: Dataset) -> None:
        self._settings = settings
        self._model = model
        self._dataset = dataset
        self._worker = Worker(settings)
        self._starting: deque[int] = deque()
        self._chunks: deque[tuple[int, int, Sequence[CellTrials]]] = deque()

    @property
    def workers(self) -> int:
        """One: the process itself."""
        return 1

    def start_worker(self, worker: int) -> None:
        """Note that the worker is to be started."""
        self._starting.append(worker)

    def stop_worker(self, worker: int) -> None:
        """Refuse: it cannot be late, since the caller hears of time only between two chunks.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"worker {worker} is this process")

    def submit(self, worker: int, chunk: int, runs: Sequence[CellTrials]) -> None:
        """Note the chunk."""
        self._chunks.append((worker, chunk, runs))

    def events(self, timeout: float) -> list[WorkerEvent]:
        """Start the worker, or evaluate the oldest chunk."""
        if self._starting:
            return [self._start(self._starting.popleft())]
        if not self._chunks:
            time.sleep(timeout)  # the worker is to be started again, but not yet
            return []
        worker, chunk, runs = self._chunks.popleft()
        try:
            result = self._worker.evaluate(runs)
        except Exception as error:  # noqa: BLE001 - whatever a chunk raises is recorded with it
            hopeless = isinstance(error, UserError)
            return [ChunkFailed(worker, chunk, told(error), traceback.format_exc(), hopeless)]
        return [ChunkDone(worker, chunk, result.seconds, result)]

    def _start(self, worker: int) -> WorkerEvent:
        try:
            ready = self._worker.start(self._model, self._dataset)
        except Exception as error:
            if not is_transient(error):
                raise
            return WorkerLost(worker, told(error))
        return WorkerReady(worker, ready.device, ready)

    def close(self) -> None:
        """Forget what was not evaluated."""
        self._starting.clear()
        self._chunks.clear()
