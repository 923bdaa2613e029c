"""The one writer of a run directory: the driver's side of publication and resume.

The trial's row is the commit record: a trial is done if and only if its row is in a published
part. Rows wait in memory for a few seconds and are then published together; a crash loses those
seconds and nothing else.

What the writer does besides, its heartbeat and its event log, is best effort: it ends no run.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from results import paths
from results.errors import ResultsError
from results.ids import Ids, as_texts, contains, difference, union
from results.run_folder.events import EventLog
from results.run_folder.failures import GivenUp, failures_file, read_failures
from results.run_folder.heartbeat import HeartbeatWriter
from results.run_folder.manifest import Json, Manifest, RunHeader, keep_torn, write_manifest
from results.run_folder.parts import find_ids
from results.storage.local import LocalStorage
from results.storage.opening import open_storage
from results.writing import compaction
from results.writing.agreement import agreed
from results.writing.recovery import Recovered, recover
from results.writing.replacing import finish_merge
from results.writing.resume_check import check_resumable
from results.writing.retry import Retry, last_refusal
from results.writing.write_buffer import (
    LOCAL_PACE,
    REMOTE_PACE,
    Outbox,
    Pace,
    WaitingRows,
    count_rows,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    import pyarrow as pa

    from results.storage.lock import Lock
    from results.storage.storage import Storage


class RunWriter:
    """Appends trials to a run directory; made by ``RunWriter.open``, used as a context manager.

    Attributes:
        warnings: What was found damaged or could not be done, when the run was opened and since, a
            sentence each.
    """

    def __init__(
        self,
        storage: Storage,
        lock: Lock,
        manifest: Manifest,
        recovered: Recovered,
        *,
        pace: Pace,
    ) -> None:
        self.warnings = list(recovered.warnings)
        self._storage = storage
        self._lock = lock
        self._manifest = manifest
        self._waiting = WaitingRows(pace, manifest.header.schema)
        self._recorded = [recovered.failed_ids]
        self._damaged: set[str] = set()
        self._settled: dict[str, dict[str, Ids]] = {paths.TRIALS: {}, paths.INJECTIONS: {}}
        self._refusal: ResultsError | None = None
        self._closed = False
        self._outage = Retry(pace.patience_seconds)
        self._small_parts = compaction.count_parts(storage)
        self._heartbeat = HeartbeatWriter(storage, pace.heartbeat_seconds)
        self._events = EventLog(storage)
        self._outbox = Outbox(storage, self._events, manifest.header.identity, recovered)
        self._events.log(
            "opened",
            host=socket.gethostname(),
            pid=os.getpid(),
            done=len(recovered.done_ids),
            warnings=self.warnings,
        )
        self._events.flush()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        header: RunHeader,
        *,
        flush_rows: int | None = None,
        flush_seconds: float | None = None,
        heartbeat_seconds: float | None = None,
        patience_seconds: float | None = None,
    ) -> Self:
        """Begin a run directory, or resume one whose identity is the same.

        Args:
            path: The run directory. It need not exist.
            header: What to record about the run; replaces what an earlier writer recorded.
            flush_rows: Publish when this many trials are waiting; by default 50,000.
            flush_seconds: Publish when a trial has been waiting this long, in seconds: what a crash
                may lose. By default 5, on object storage 30.
            heartbeat_seconds: Time between two heartbeats that tell the same state, in seconds; by
                default 10, on object storage 30.
            patience_seconds: How long refusals are borne before the run ends, in seconds; by
                default 0, on object storage 300.

        Returns:
            The writer, which holds the directory's lock until it is closed.

        Raises:
            RunMismatchError: The directory holds another campaign, something else than a run, or
                a run of another version. Nothing in it was changed.
            RunLockedError: Another process writes into it.
            RunCorruptError: A part belongs to another campaign or contradicts another one, or its
                ``campaign.json`` is JSON that does not describe a run. One that is torn is kept
                aside and written anew.
            ResultsError: The file system refuses.
            TypeError: The header holds something that JSON cannot.
        """
        Manifest.begin(header).to_json()
        storage = open_storage(path)
        pace = LOCAL_PACE if isinstance(storage, LocalStorage) else REMOTE_PACE
        asked = {
            "flush_rows": flush_rows,
            "flush_seconds": flush_seconds,
            "heartbeat_seconds": heartbeat_seconds,
            "patience_seconds": patience_seconds,
        }
        given: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
        check_resumable(storage, header)
        storage.create()
        lock = storage.lock()
        try:
            manifest = check_resumable(storage, header)
            finish_merge(storage)
            recovered = recover(storage, header)
            recovered = replace(recovered, warnings=(*keep_torn(storage), *recovered.warnings))
            write_manifest(storage, manifest)
            writer = cls(storage, lock, manifest, recovered, pace=replace(pace, **given))
            writer._merge_many()
        except BaseException:
            lock.release()
            raise
        return writer

    def done_ids(self) -> Ids:
        """Return the ids of the trials in published parts: uint64 [n], sorted, each once."""
        return self._outbox.done_ids()

    def failed_ids(self) -> Ids:
        """Return the ids of the trials that were given up on and are not done since.

        Returns:
            uint64 [n], sorted, each once; those of earlier writers too.
        """
        recorded = union(*self._recorded)
        return recorded[~contains(self.done_ids(), recorded)]

    def lost_ids(self) -> Ids:
        """Return the ids of those done whose rows were damaged since: uint64 [n], sorted.

        They are looked for only where a damaged part was met. Who opens the directory next sets
        the part aside, and finds that they are not done.

        Raises:
            RunCorruptError: A part belongs to another campaign.
            ResultsError: The file system refuses to read a part.
        """
        done = self.done_ids()
        if not self._damaged:
            return done[:0]
        header = self._manifest.header
        found = find_ids(self._storage, paths.TRIALS, header.schema, header.identity).values()
        return difference(done, union(done[:0], *(part for part in found if part is not None)))

    def append(self, trials: pa.Table, injections: pa.Table | None = None) -> None:
        """Take finished trials, and publish what waits if it is enough or has waited long enough.

        Args:
            trials: Rows of ``trials_schema`` of the header's columns, as ``trials_table`` makes
                them.
            injections: Rows of ``INJECTIONS``, of these trials: all of them or none.

        Raises:
            ValueError: A table does not fit its schema, or a trial's tallies do not add up;
                nothing of either table was taken.
            ResultsError: The file system refuses; the rows are still waiting.
        """
        self._check_open()
        self._waiting.take_in(trials, injections)
        self.maybe_flush()

    def maybe_flush(self) -> None:
        """Publish what waits if it is enough or has waited long enough.

        On object storage, a refusal is put off: a later call tries again.

        Raises:
            ResultsError: The file system refuses, an object storage for ``patience_seconds`` or
                until the lock was lost; the rows are still waiting.
        """
        if (self._outbox or self._waiting.is_due()) and not self._outage.is_resting:
            self._publish()

    def flush(self) -> None:
        """Publish what waits, and what was refused before; on object storage, as soon as it can be.

        Raises:
            ResultsError: As for ``maybe_flush``; the message says how many trials are still
                waiting.
        """
        while (self._outbox or self._waiting) and not self._publish():
            self._outage.rest()

    def record_failures(self, given_up: Sequence[GivenUp], *, error: str, traceback: str) -> None:
        """Record at once, in one file, that trials were given up on together.

        Args:
            given_up: The trials, those of each cell together.
            error: What went wrong, one line.
            traceback: Where, as Python prints it.

        Raises:
            ResultsError: As for ``maybe_flush``.
        """
        self._check_open()
        self._outbox.put(*failures_file(given_up, error=error, traceback=traceback))
        self._recorded += [cell.ids for cell in given_up]
        if not self._outage.is_resting:
            self._publish(rows=False)

    def log(self, event: str, /, **fields: Any) -> None:
        """Note in the event log that something happened now.

        It is written with the next rows, heartbeat or end.

        Args:
            event: What, in a word or two.
            **fields: Particulars, under other names than ``at`` and ``event``. They are written as
                they are: pass no secrets.

        Raises:
            ValueError: A field has one of those names.
        """
        self._check_open()
        self._events.log(event, **fields)

    def heartbeat(self, state: Mapping[str, Any]) -> None:
        """Tell those who watch the run directory what the run is doing, if it is time.

        It is time when ``state["state"]`` is another than before, or after
        ``heartbeat_seconds``. A refusal of the file system is passed over.

        Args:
            state: ``state``, ``running`` by default, ``workers``, a number, and whatever else is
                to be told.
        """
        self._check_open()
        if self._heartbeat.is_due(state) and self._holds_lock():
            self._heartbeat.beat(state)
            self._events.flush()

    def set_golden(self, golden: Json, numerics: Json | None = None) -> None:
        """Record a worker's golden run and class of numerics, or check that they fit the recorded.

        Args:
            golden: Metrics and digests; ``decisions`` is the digest of the decisions.
            numerics: The class; the provenance's ``mixed_numerics`` says which others may come.

        Raises:
            RunMismatchError: The recorded golden run decided differently, or it is another class.
            ResultsError: The file system refuses, or the lock was lost.
        """
        self._check_open()
        self._lock.check()
        manifest = agreed(self._manifest, golden, numerics, place=self._storage.path())
        if manifest is not self._manifest:
            self._manifest = manifest
            write_manifest(self._storage, self._manifest)

    def set_outside(self, outside: Mapping[str, int], failed: Ids) -> None:
        """Record which trials are not in the plan: a wider one has left them in the directory.

        Args:
            outside: How many published trials, by layer.
            failed: uint64 [n], ascending: ids of those that were given up on.

        Raises:
            ResultsError: The file system refuses, or the lock was lost.
        """
        self._check_open()
        self._lock.check()
        header = self._manifest.header
        plan = {**header.plan, "outside": dict(outside), "failed_outside": []}
        if len(failed):  # those of other layers are not named: a whole layer may have failed
            named = read_failures(self._storage)[0].among(failed).of_plan(plan)
            plan["failed_outside"] = as_texts(named.ids)
        if plan != {"outside": {}, "failed_outside": [], **header.plan}:
            self._manifest = self._manifest.updated(header=replace(header, plan=plan))
            write_manifest(self._storage, self._manifest)

    def set_planned(
        self, layers: Mapping[str, int], precision: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Record how many trials are planned, where that shows while a campaign runs.

        Args:
            layers: Trials by layer.
            precision: How well the rates that were asked for together are known, one each.

        Raises:
            ResultsError: The file system refuses, or the lock was lost.
        """
        self._check_open()
        self._lock.check()
        header = self._manifest.header
        plan = {**header.plan, "trials": sum(layers.values()), "layers": dict(layers)}
        if precision:
            plan["precision"] = [dict(one) for one in precision]
        if plan != header.plan:
            self._manifest = self._manifest.updated(header=replace(header, plan=plan))
            write_manifest(self._storage, self._manifest)

    def close(self) -> None:
        """Publish what waits and let the run directory go, whether or not that succeeds.

        A heartbeat that said ``running`` is followed by one that says ``stopped``.

        Raises:
            ResultsError: The file system refuses, or the lock was lost; the rows that were waiting
                are lost.
        """
        if self._closed:
            return
        try:
            self.flush()
        finally:
            if self._holds_lock():
                self._heartbeat.end("stopped")
                self._events.log("closed", lost=self._count_waiting())
                self._events.flush()
            self._closed = True
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        refusal = self._refusal
        if error is not None:
            self._outage.bear_no_more()
        try:
            self.close()
        except ResultsError as later:
            if error is None:
                raise
            if error is not refusal:  # the first error is the one to tell; it may tell this too
                error.add_note(str(later))

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("The writer is closed; open the run directory again.")

    def _holds_lock(self) -> bool:
        try:
            self._lock.check()
        except ResultsError:
            return False
        return True

    def _publish(self, *, rows: bool = True) -> bool:
        """Publish what was refused before and, with ``rows``, what waits.

        Returns:
            Whether that is done: it is not where a refusal is put off.

        Raises:
            ResultsError: As for ``maybe_flush``.
        """
        self._check_open()
        before = self._outage.reason
        try:
            self._lock.check()
            self._outbox.publish()
            if rows:
                self._outbox.take_in(self._waiting)
                self._outbox.publish()
        except ResultsError as error:
            if self._outage.bear(error.message) and self._holds_lock():
                if not before:
                    self._events.log("put_off", reason=error.message)
                return False
            self._refusal = last_refusal(error, before=before, unpublished=self._count_waiting())
            raise self._refusal from error
        self._outage.end()
        if rows:
            self._small_parts += 1
            self._merge_many()
        self._events.flush()
        return True

    def _merge_many(self) -> None:
        """Merge small parts if they have become many; a refusal ends no run, only the merge."""
        if self._small_parts <= compaction.MANY_PARTS:
            return
        self._small_parts = 0  # where it is refused, it is tried again after as many parts
        try:
            merged = compaction.merge_many(
                self._storage, self._lock, self._manifest.header, self.done_ids(), self._settled
            )
            self._small_parts = merged.small_parts
            warnings = merged.warnings + self._damage(merged.damaged)
            self.warnings += warnings
            self._outbox.begin_after_merged()
        except ResultsError as error:
            self.warnings.append(f"small parts could not be merged: {error}")
            self._events.log("not_merged", reason=str(error))
            return
        more = {"warnings": warnings} if warnings else {}
        self._events.log("merged", parts=merged.parts, small_parts=self._small_parts, **more)

    def _damage(self, parts: Sequence[str]) -> list[str]:
        """Remember damaged parts of trials; return a sentence on each that is new."""
        new = [name for name in parts if name not in self._damaged]
        self._damaged.update(new)
        return [
            f"{self._storage.path(name)} was damaged while this run was at work: the same "
            "`injecttf2 run` command again sets it aside and executes its trials again."
            for name in new
        ]

    def _count_waiting(self) -> int:
        """Return how many finished trials are not known to be published."""
        return self._outbox.trials + count_rows(self._waiting.trials)
