"""What workers of a simulated crowd have in hand."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from orchestrator.scheduling.events import Chunk, WorkerReady

KINDS = ("", "CPU", "GPU")


def ready(worker: int) -> WorkerReady:
    """Workers of each kind in turns."""
    return WorkerReady(worker, KINDS[worker % len(KINDS)])


@dataclass
class Queue:
    """The chunks of a worker of a kind, and until when the first may take."""

    kind: str = ""
    chunks: deque[Chunk] = field(default_factory=deque)
    prepared: int | None = None
    due: float = math.inf
