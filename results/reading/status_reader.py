"""Reading how far a run is, once or again and again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from results import paths
from results.errors import RunCorruptError
from results.ids import ascending
from results.reading.status import STATUS_COLUMNS, RunStatus, make_status
from results.run_folder.consistent_reads import while_replaced
from results.run_folder.doubled import check_doubled
from results.run_folder.failures import read_failures
from results.run_folder.heartbeat import read_heartbeat
from results.run_folder.manifest import Manifest, read_manifest
from results.run_folder.parts import ids_of, joined, read_parts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import pyarrow as pa

    from results.run_folder.manifest import RunHeader
    from results.storage.storage import Storage


class StatusReader:
    """Reads the status of a run. Parts never change, so one that was read is not read again.

    What is kept takes some 20 bytes a trial.

    Args:
        storage: The run directory.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._rows: dict[str, pa.Table] = {}
        self._contradiction: str | None = None

    def read(self, manifest: Manifest | None = None, now: datetime | None = None) -> RunStatus:
        """Return how far the run is.

        Args:
            manifest: What ``campaign.json`` says; by default it is read.
            now: What the heartbeat's age is counted to, in UTC; the present by default.

        Raises:
            RunNotFoundError: There is no run directory.
            RunCorruptError: ``campaign.json`` cannot be understood, or a part belongs to another
                campaign.
            ResultsError: The file system refuses.
        """
        header = (manifest or read_manifest(self._storage)).header
        found = while_replaced(self._storage, paths.TRIALS, lambda: self._look(header))
        self._rows = {name: rows for name, rows in found.items() if rows is not None}
        rows = joined(self._rows.values(), STATUS_COLUMNS)
        failures, records_lost = read_failures(self._storage)
        status = make_status(
            rows,
            plan=header.plan,
            failures=failures.without(ascending(ids_of(rows))),
            heartbeat=read_heartbeat(self._storage, now),
            unreadable=[*(name for name in found if name not in self._rows), *records_lost],
        )
        return replace(status, contradiction=self._contradiction)

    def _look(self, header: RunHeader) -> dict[str, pa.Table | None]:
        """Return what there is in every part of trials; None for one that is damaged."""
        found = read_parts(
            self._storage,
            paths.TRIALS,
            header.schema,
            header.identity,
            columns=STATUS_COLUMNS,
            known=self._rows,
        )
        if found.keys() != self._rows.keys():
            self._contradiction = self._look_for_contradiction(found, header)
        return found

    def _look_for_contradiction(
        self, found: Mapping[str, pa.Table | None], header: RunHeader
    ) -> str | None:
        ids = {name: None if rows is None else ids_of(rows) for name, rows in found.items()}
        try:
            check_doubled(self._storage, ids, header.schema)
        except RunCorruptError as error:
            return str(error)
        return None
