"""How the scheduler works, as numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How the scheduler works. Times are in seconds.

    Args:
        workers: Workers to keep running.
        chunk_seconds: Time that a chunk aims at.
        in_flight: Chunks at a worker at most.
        attempts: Failures after which a trial alone is given up on.
        machines: Machines that may go away under a chunk before it is blamed for it.
        hopeless_after: Trials given up on after which a group with nothing done is. So many chunks
            that fail in a row raise doubt about a group, so many trials that cost workers and were
            given up on in a row prove that the workers are to blame.
        least_deadline: Time that every chunk has.
        deadline_factor: Times the expected time that every chunk has.
        first_deadline: Time of a chunk whose layer may have to be prepared or has no known pace.
        start_deadline: Time that a worker has to be ready from when it has a place.
        backoff: First wait before lost workers are replaced; doubled with each step.
        most_backoff: Longest such wait.
        patience: Time without a ready worker after which the run stops.

    Raises:
        ValueError: A number is less than 1, or a time is not above 0.
    """

    workers: int
    chunk_seconds: float = 2.0
    in_flight: int = 2
    attempts: int = 4
    machines: int = 8
    hopeless_after: int = 8
    least_deadline: float = 120.0
    deadline_factor: float = 20.0
    first_deadline: float = 1800.0
    start_deadline: float = 900.0
    backoff: float = 1.0
    most_backoff: float = 60.0
    patience: float = 300.0

    def __post_init__(self) -> None:
        counts = (
            *(self.workers, self.in_flight, self.attempts),
            *(self.machines, self.hopeless_after),
        )
        times = (
            *(self.chunk_seconds, self.least_deadline, self.deadline_factor, self.first_deadline),
            *(self.start_deadline, self.backoff, self.most_backoff, self.patience),
        )
        if min(counts) < 1 or not min(times) > 0:
            raise ValueError(f"expected counts of at least 1 and times above 0; received {self}")
