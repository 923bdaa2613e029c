"""Files that have their names and wait to be published, in the order in which they came.

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
from results.writing.waiting import WaitingRows, count_rows

if TYPE_CHECKING:
    from results.run_folder.events import EventLog
    from results.run_folder.manifest import Json
    from results.storage.storage import Storage
    from results.writing.recovery import Recovered


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
