"""What waits to be published: rows in memory, and then files that have their names.

What was refused is published again under the same name: a refusal may come after the file is
there, when its name cannot be made durable or an answer is lost.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from results import paths
from results.ids import Ids, union
from results.run_folder.parts import ids_of, named_part
from results.run_folder.schema import INJECTIONS
from results.run_folder.tables import check_table, check_tallies

if TYPE_CHECKING:
    from results.run_folder.events import EventLog
    from results.run_folder.manifest import Json
    from results.storage.storage import Storage
    from results.writing.recovery import Recovered


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


@dataclass(frozen=True, eq=False)
class _File:
    """A file that is to be published, and what a part of trials commits: uint64 [n], ids."""

    name: str
    contents: bytes
    rows: int = 0
    ids: Ids | None = None


class Outbox:
    """Makes parts of finished rows, and publishes them and other files.

    Args:
        storage: The run directory.
        events: Where every part is logged.
        identity: What the run's trials mean.
        recovered: What earlier writers left.
    """

    def __init__(
        self,
        storage: Storage,
        events: EventLog,
        identity: Json,
        recovered: Recovered,
    ) -> None:
        self._storage = storage
        self._events = events
        self._identity = identity
        self._sequence = recovered.next_sequence
        self._published = [recovered.done_ids]
        self._files: list[_File] = []

    def __bool__(self) -> bool:
        return bool(self._files)

    @property
    def trials(self) -> int:
        """How many finished trials are not known to be published."""
        return sum(len(file.ids) for file in self._files if file.ids is not None)

    def done_ids(self) -> Ids:
        """Return the ids of the trials in published parts: uint64 [n], sorted, each once."""
        self._published = [union(*self._published)]
        return self._published[0].copy()

    def put(self, name: str, contents: bytes) -> None:
        """Take a file."""
        self._files.append(_File(name, contents))

    def take_in(self, waiting: WaitingRows) -> None:
        """Make parts of the rows that wait: the injections first, the trials' rows commit them."""
        if not waiting:
            return
        sequence, token = self._sequence, secrets.token_hex(4)
        self._sequence += 1
        for folder, tables in (
            (paths.INJECTIONS, waiting.injections),
            (paths.TRIALS, waiting.trials),
        ):
            if count_rows(tables):
                self._files.append(self._part(folder, sequence, token, pa.concat_tables(tables)))
            tables.clear()

    def begin_after_merged(self) -> None:
        """Give later parts higher sequence numbers than those that were merged meanwhile have."""
        folders = (paths.TRIALS, paths.INJECTIONS)
        files = [file for folder in folders for file in self._storage.files(folder)]
        self._sequence = max(self._sequence, paths.next_sequence(files))

    def publish(self) -> None:
        """Publish what is there.

        Raises:
            ResultsError: The file system refuses; what was not published stays.
        """
        while self._files:
            file, begin = self._files[0], time.perf_counter()
            self._storage.publish(file.name, file.contents)
            if file.rows:
                self._events.log(
                    "published",
                    part=file.name,
                    rows=file.rows,
                    bytes=len(file.contents),
                    seconds=round(time.perf_counter() - begin, 3),
                )
            if file.ids is not None:
                self._published.append(file.ids)
            del self._files[0]

    def _part(self, folder: str, sequence: int, token: str, table: pa.Table) -> _File:
        table = table.unify_dictionaries()
        named = named_part(folder, sequence, token, table, self._identity)
        return _File(*named, table.num_rows, ids_of(table) if folder == paths.TRIALS else None)
