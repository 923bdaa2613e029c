"""The one writer of a run directory: the driver's side of publication and resume.

The trial's row is the commit record: a trial is done if and only if its row is in a published
part. Rows wait in memory for a few seconds and are then published together; a crash loses those
seconds and nothing else.
"""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from results import paths
from results.admission import admit
from results.errors import ResultsError, RunMismatchError
from results.lock import RunLock
from results.manifest import Json, Manifest, RunHeader, write_manifest
from results.parts import numbers, write_part
from results.recovery import Recovered, recover
from results.schema import INJECTIONS, TRIALS, check_table, check_tallies
from results.storage import LocalStorage

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from types import TracebackType

INJECTION_ROWS = 1_000_000
"""Injections are flushed at this many rows, about 60 MB, even if their trials are few."""


class RunWriter:
    """Appends trials to a run directory; made by ``RunWriter.open``, used as a context manager.

    Attributes:
        warnings: What was found and mended when the run was opened, a sentence each.
    """

    def __init__(
        self,
        storage: LocalStorage,
        lock: RunLock,
        manifest: Manifest,
        recovered: Recovered,
        *,
        flush_rows: int,
        flush_seconds: float,
    ) -> None:
        self.warnings = list(recovered.warnings)
        self._storage = storage
        self._lock = lock
        self._manifest = manifest
        self._flush_rows = flush_rows
        self._flush_seconds = flush_seconds
        self._trials: list[pa.Table] = []
        self._injections: list[pa.Table] = []
        self._oldest = 0.0
        self._published = [recovered.done_ids]
        self._sequence = recovered.next_sequence

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        header: RunHeader,
        *,
        flush_rows: int = 50_000,
        flush_seconds: float = 5.0,
    ) -> Self:
        """Begin a run directory, or resume one whose identity is the same.

        Args:
            path: The run directory. It need not exist.
            header: What to record about the run; replaces what an earlier writer recorded.
            flush_rows: Publish when this many trials are waiting.
            flush_seconds: Publish when a trial has been waiting this long, in seconds.

        Raises:
            RunMismatchError: The directory holds another campaign, something else than a run, or
                a run of a newer version. Nothing in it was changed.
            RunLockedError: Another process writes into it.
            RunCorruptError: Its ``campaign.json`` or a part cannot be what was written.
            ResultsError: The file system refuses.
            TypeError: The header holds something that JSON cannot.
        """
        Manifest.begin(header).to_json()
        storage = LocalStorage(path)
        admit(storage, header)
        try:
            storage.create()
            lock = RunLock.acquire(storage.path(paths.LOCK))
        except OSError as error:
            raise ResultsError(
                f"the run directory cannot be written: {error.strerror or error}",
                place=storage.path(),
                hint="Mend the permissions, or choose another --output.",
            ) from error
        try:
            manifest = admit(storage, header)
            recovered = recover(storage, header.identity)
            write_manifest(storage, manifest)
        except BaseException:
            lock.release()
            raise
        return cls(
            storage,
            lock,
            manifest,
            recovered,
            flush_rows=flush_rows,
            flush_seconds=flush_seconds,
        )

    def done_ids(self) -> npt.NDArray[np.uint64]:
        """Return the ids of the trials in published parts: uint64 [n], sorted, each once."""
        return np.unique(np.concatenate(self._published))

    def append(self, trials: pa.Table, injections: pa.Table | None = None) -> None:
        """Take finished trials, and publish what waits if it is enough or has waited long enough.

        Args:
            trials: Rows of ``TRIALS``.
            injections: Rows of ``INJECTIONS``, of these trials: all of them or none.

        Raises:
            ValueError: A table does not fit its schema, or a trial's tallies do not add up;
                nothing of either table was taken.
            ResultsError: The file system refuses; the rows are still waiting.
        """
        self._check_open()
        check_table(trials, TRIALS)
        check_tallies(trials)
        if injections is not None:
            check_table(injections, INJECTIONS)
            self._injections.append(injections)
        if not self._trials:
            self._oldest = time.monotonic()
        self._trials.append(trials)
        self.maybe_flush()

    def maybe_flush(self) -> None:
        """Publish what waits if it is enough or has waited long enough.

        Raises:
            ResultsError: The file system refuses; the rows are still waiting.
        """
        if self._trials and (
            _rows(self._trials) >= self._flush_rows
            or _rows(self._injections) >= INJECTION_ROWS
            or time.monotonic() - self._oldest >= self._flush_seconds
        ):
            self.flush()

    def flush(self) -> None:
        """Publish what waits: the injections first, since the trials' rows commit them.

        Raises:
            ResultsError: The file system refuses; the rows are still waiting.
        """
        if not self._trials and not self._injections:
            return
        self._check_open()
        sequence, token = self._sequence, secrets.token_hex(4)
        self._sequence += 1
        if _rows(self._injections):
            self._publish(paths.part(paths.INJECTIONS, sequence, token), self._injections)
        self._injections.clear()
        if _rows(self._trials):
            table = self._publish(paths.part(paths.TRIALS, sequence, token), self._trials)
            self._published.append(numbers(table.column("trial_id")))
        self._trials.clear()

    def record_failure(
        self, trial_id: int, *, error: str, traceback: str, trial: Mapping[str, Any]
    ) -> None:
        """Record at once that a trial was given up on.

        Args:
            trial_id: The trial.
            error: What went wrong, one line.
            traceback: Where, as Python prints it.
            trial: What describes the trial; JSON must be able to hold it.

        Raises:
            ResultsError: The file system refuses.
        """
        self._check_open()
        record = {
            "trial_id": int(trial_id),
            "error": error,
            "traceback": traceback,
            "trial": dict(trial),
            "failed_at": datetime.now(UTC).isoformat(),
        }
        text = (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()
        self._storage.publish(paths.failure(int(trial_id)), text)

    def set_golden(self, golden: Json) -> None:
        """Record the golden run, or check that it decides as the recorded one did.

        Args:
            golden: Metrics and digests; ``decisions`` is the digest of the decisions.

        Raises:
            RunMismatchError: The recorded golden run decided differently.
            ResultsError: The file system refuses.
        """
        self._check_open()
        recorded = self._manifest.golden
        if recorded is None:
            self._manifest = self._manifest.updated(golden=golden)
            write_manifest(self._storage, self._manifest)
        elif recorded.get("decisions") != golden.get("decisions"):
            raise RunMismatchError(
                "the golden run differs from the recorded one: the same model and data were "
                "decided differently on this machine or with these versions, so its trials "
                "cannot be compared with those in the run directory",
                place=self._storage.path(),
                hint="Resume where the run was begun (see provenance), or choose another --output.",
                differences={"decisions": (recorded.get("decisions"), golden.get("decisions"))},
            )

    def close(self) -> None:
        """Publish what waits and let the run directory go, whether or not that succeeds.

        Raises:
            ResultsError: The file system refuses; the rows that were waiting are lost.
        """
        if not self._lock.held:
            return
        try:
            self.flush()
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if not self._lock.held:
            raise ValueError("The writer is closed; open the run directory again.")

    def _publish(self, name: str, tables: list[pa.Table]) -> pa.Table:
        table = pa.concat_tables(tables).unify_dictionaries()
        write_part(self._storage, name, table, self._manifest.header.identity)
        return table


def _rows(tables: list[pa.Table]) -> int:
    return sum(table.num_rows for table in tables)
