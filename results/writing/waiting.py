"""Rows that wait in memory to be published together, and when it is time for that."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pyarrow as pa

from results.run_folder.schema import INJECTIONS
from results.run_folder.tables import check_table, check_tallies

INJECTION_ROWS = 1_000_000
"""Injections are published at this many rows, about 60 MB, even if their trials are few."""


@dataclass(frozen=True)
class Pace:
    """How often a writer writes.

    Args:
        flush_rows: Publish when this many trials are waiting.
        flush_seconds: Publish when a trial has been waiting this long, in seconds: what a crash
            may lose.
        heartbeat_seconds: Time between two heartbeats that tell the same state, in seconds.
        patience_seconds: How long refusals are borne before the run ends, in seconds.
    """

    flush_rows: int = 50_000
    flush_seconds: float = 5.0
    heartbeat_seconds: float = 10.0
    patience_seconds: float = 0.0


LOCAL_PACE = Pace()
"""On a file system a small file costs little, and ``compact`` merges many."""

REMOTE_PACE = Pace(flush_seconds=30.0, heartbeat_seconds=30.0, patience_seconds=300.0)
"""On object storage every file is a request that is paid for, and for each reader one more. Such a
service is away for seconds now and then; a disk that is full stays so.
"""


class WaitingRows:
    """What a writer has taken in and not published yet.

    Args:
        pace: When it is time to publish.
        schema: The run's schema of trials.

    Attributes:
        trials: Tables with that schema.
        injections: Tables with the schema ``INJECTIONS``, of these trials.
    """

    def __init__(self, pace: Pace, schema: pa.Schema) -> None:
        self.trials: list[pa.Table] = []
        self.injections: list[pa.Table] = []
        self._pace = pace
        self._schema = schema
        self._oldest = 0.0

    def take_in(self, trials: pa.Table, injections: pa.Table | None) -> None:
        """Take finished trials; see ``RunWriter.append``.

        Raises:
            ValueError: A table does not fit its schema, or a trial's tallies do not add up;
                nothing of either table was taken.
        """
        check_table(trials, self._schema)
        check_tallies(trials)
        if injections is not None:
            check_table(injections, INJECTIONS)
            self.injections.append(injections)
        if not self.trials:
            self._oldest = time.monotonic()
        self.trials.append(trials)

    def __bool__(self) -> bool:
        return bool(self.trials or self.injections)

    def is_due(self) -> bool:
        """Tell whether what waits is enough or has waited long enough."""
        return bool(self.trials) and (
            count_rows(self.trials) >= self._pace.flush_rows
            or count_rows(self.injections) >= INJECTION_ROWS
            or time.monotonic() - self._oldest >= self._pace.flush_seconds
        )


def count_rows(tables: list[pa.Table]) -> int:
    """Return the rows of all ``tables`` together."""
    return sum(table.num_rows for table in tables)
