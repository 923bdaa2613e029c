"""Files that have their names and wait to be published, in the order in which they came.

What was refused is published again under the same name: a refusal may come after the file is
there, when its name cannot be made durable or an answer is lost.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import pyarrow as pa

from results import paths
from results.ids import Ids, union
from results.parts import numbers, write_part
from results.waiting import WaitingRows, count_rows

if TYPE_CHECKING:
    from results.events import EventLog
    from results.manifest import Json
    from results.recovery import Recovered
    from results.storage import Storage


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
        self._named: list[tuple[str, pa.Table | bytes]] = []

    def __bool__(self) -> bool:
        return bool(self._named)

    @property
    def trials(self) -> int:
        """How many finished trials are not known to be published."""
        return count_rows([rows for name, rows in self._named if _holds_trials(name)])

    def done_ids(self) -> Ids:
        """Return the ids of the trials in published parts: uint64 [n], sorted, each once."""
        self._published = [union(*self._published)]
        return self._published[0].copy()

    def put(self, name: str, contents: bytes) -> None:
        """Take a file."""
        self._named.append((name, contents))

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
                table = pa.concat_tables(tables).unify_dictionaries()
                self._named.append((paths.part(folder, sequence, token), table))
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
        while self._named:
            name, contents = self._named[0]
            if isinstance(contents, bytes):
                self._storage.publish(name, contents)
            else:
                self._publish_part(name, contents)
            del self._named[0]

    def _publish_part(self, name: str, table: pa.Table) -> None:
        begin = time.perf_counter()
        write_part(self._storage, name, table, self._identity)
        self._events.log(
            "published",
            part=name,
            rows=table.num_rows,
            bytes=self._storage.size(name),
            seconds=round(time.perf_counter() - begin, 3),
        )
        if _holds_trials(name):
            self._published.append(numbers(table.column("trial_id")))


def _holds_trials(name: str) -> bool:
    return name.startswith(f"{paths.TRIALS}/")
