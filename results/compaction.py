"""Compaction: many small parts of a run directory become few large ones, which read faster.

``compact`` merges them all, a writer those of its own directory when they have become many. How
one part takes the place of several is in ``replacing``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from results import paths
from results.events import EventLog
from results.ids import Ids, union
from results.manifest import read_manifest
from results.merging import merged_injections, merged_trials, rows_of
from results.parts import find_ids
from results.replacing import Folder, Merging, finish_merge
from results.schema import INJECTIONS
from results.storage import open_storage

if TYPE_CHECKING:
    import os

    from results.manifest import RunHeader
    from results.storage import Lock, Storage

TRIAL_ROWS = 1_000_000
"""Trials in a merged part at most, about 40 MB."""

INJECTION_ROWS = 2_000_000
"""Injections in a merged part at most, about 45 MB."""

MANY_PARTS = 1_000
"""Small parts of a kind that a writer leaves: a reader takes half a second for them."""


@dataclass(frozen=True)
class Compacted:
    """What a compaction did.

    Args:
        merged: Parts that were made out of others; 0 if there was nothing to do.
        parts_before: Parts of trials and injections in the run directory.
        parts_after: The same afterwards.
        bytes_before: Their size.
        bytes_after: The same afterwards.
    """

    merged: int
    parts_before: int
    parts_after: int
    bytes_before: int
    bytes_after: int


def compact(path: str | os.PathLike[str]) -> Compacted:
    """Merge the small parts of a run directory: those of less than half of what a part may hold.

    Rows that are doubled are dropped from the parts that are merged; of a doubled trial, whose rows
    agree but for timing and provenance, one row stays. Injections of trials that are not done are
    dropped too, unless a part of trials cannot be read. Readers see the same trials and injections
    before, meanwhile and afterwards. In memory are the rows of one merged part at a time, and the
    ids of the others. A part that cannot be read is left to the next writer, which sets it aside.

    Args:
        path: The run directory.

    Raises:
        RunNotFoundError: There is no run directory.
        RunLockedError: A process writes into it.
        RunMismatchError: A version of this package with another schema wrote it.
        RunCorruptError: A part belongs to another campaign, or its data are damaged.
        ResultsError: The file system refuses; the same command goes on from there.
    """
    storage = open_storage(path)
    header = read_manifest(storage).header
    lock = storage.lock()
    try:
        storage.sweep()
        finish_merge(storage)
        before = _sizes(storage)
        folders = _folders(header.schema, _done_ids(storage, header))
        merged = sum(Merging(storage, lock, folder, header.identity).run()[0] for folder in folders)
        after = _sizes(storage)
        done = Compacted(merged, len(before), len(after), sum(before), sum(after))
        if merged:
            log = EventLog(storage)
            log.log("compacted", **vars(done))
            log.flush()
        return done
    finally:
        lock.release()


def merge_many(storage: Storage, lock: Lock, header: RunHeader, done: Ids) -> tuple[int, int]:
    """Merge small parts until there are no more than ``MANY_PARTS`` of a kind, the oldest first.

    That is one merged part at most where the parts have become too many one by one, so the caller
    is kept for seconds. Only for the writer, which publishes nothing meanwhile.

    Args:
        storage: The run directory.
        lock: Its lock, held.
        header: What the writer says about the run.
        done: Ids of all finished trials.

    Returns:
        How many merged parts were made, and how many small ones are left of a kind at most.

    Raises:
        RunCorruptError: The data of a part of injections are damaged.
        ResultsError: The file system refuses, or the lock was lost.
    """
    finish_merge(storage)
    ended = [
        Merging(storage, lock, folder, header.identity).run(leave=MANY_PARTS)
        for folder in _folders(header.schema, done)
    ]
    return sum(merged for merged, _ in ended), max(left for _, left in ended)


def count_parts(storage: Storage) -> int:
    """Return how many parts there are of a kind at most, small or not."""
    folders = (paths.TRIALS, paths.INJECTIONS)
    return max(sum(map(paths.is_part, storage.files(folder))) for folder in folders)


def _done_ids(storage: Storage, header: RunHeader) -> Ids | None:
    """Return the ids of the finished trials; None if some cannot be read."""
    parts = find_ids(storage, paths.TRIALS, header.schema, header.identity)
    ids = [part for part in parts.values() if part is not None]
    return union(np.empty(0, np.uint64), *ids) if len(ids) == len(parts) else None


def _folders(schema: pa.Schema, done: Ids | None) -> tuple[Folder, ...]:
    """Return what is merged: trials of ``schema``; the injections of those ``done``, or all."""

    def merge_injections(known: pa.Table, table: pa.Table) -> pa.Table:
        return merged_injections(known, table if done is None else rows_of(done, table))

    return (
        Folder(paths.TRIALS, schema, TRIAL_ROWS, merged_trials),
        Folder(paths.INJECTIONS, INJECTIONS, INJECTION_ROWS, merge_injections),
    )


def _sizes(storage: Storage) -> list[int]:
    """Return the bytes of every part."""
    folders = (paths.TRIALS, paths.INJECTIONS)
    names = [
        f"{folder}/{file}"
        for folder in folders
        for file in storage.files(folder)
        if paths.is_part(file)
    ]
    return [storage.size(name) for name in names]
