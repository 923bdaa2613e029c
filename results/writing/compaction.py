"""Compaction: many small parts of a run directory become few large ones, which read faster.

``compact`` merges them all, a writer those of its own directory when they have become many. How
one part takes the place of several is in ``replacing``.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from results import paths
from results.ids import Ids, union
from results.run_folder.doubled import check_doubled
from results.run_folder.events import EventLog
from results.run_folder.manifest import read_manifest
from results.run_folder.merging import merged_injections, merged_trials, rows_of
from results.run_folder.parts import find_ids, part_names
from results.run_folder.schema import INJECTIONS
from results.storage.local_files import NotAFileError
from results.storage.opening import open_storage
from results.writing.recovery import set_aside
from results.writing.replacing import Folder, Merging, finish_merge

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from results.run_folder.manifest import RunHeader
    from results.storage.lock import Lock
    from results.storage.storage import Storage

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
        bytes_before: Their size, in bytes.
        bytes_after: The same afterwards.
        warnings: What was found damaged and set aside, a sentence each.
    """

    merged: int
    parts_before: int
    parts_after: int
    bytes_before: int
    bytes_after: int
    warnings: tuple[str, ...] = ()


def compact(path: str | os.PathLike[str]) -> Compacted:
    """Merge the small parts of a run directory: those of less than half of what a part may hold.

    Rows that are doubled are dropped from the parts that are merged; of a doubled trial, whose rows
    agree but for timing and provenance, one row stays. Injections of trials that are not done are
    dropped too, unless a part of trials cannot be read. Readers see the same trials and injections
    before, meanwhile and afterwards. In memory are the rows of one merged part at a time, and the
    ids of the others. A part that is found damaged is set aside, as a run does.

    Args:
        path: The run directory, local or ``s3://``, ``gs://``, ``abfs://``.

    Returns:
        What was done.

    Raises:
        RunNotFoundError: There is no run directory.
        RunLockedError: A process writes into it.
        RunMismatchError: A version of this package with another schema wrote it.
        RunCorruptError: A part belongs to another campaign, or contradicts another one.
        ResultsError: The file system refuses; the same command goes on from there.

    Examples:
        >>> from results import compact
        >>> compact("runs/first").warnings
        ()
    """
    storage = open_storage(path)
    header = read_manifest(storage).header
    lock = storage.lock()
    try:
        storage.sweep()
        finish_merge(storage)
        before = _sizes(storage)
        ids = find_ids(storage, paths.TRIALS, header.schema, header.identity)
        check_doubled(storage, ids, header.schema)
        warnings = [set_aside(storage, name) for name, part in ids.items() if part is None]
        whole = [part for part in ids.values() if part is not None]
        settled = union(np.empty(0, np.uint64), *whole) if len(whole) == len(ids) else None
        merged = 0
        for folder in _folders(header.schema, settled):
            merging = Merging(storage, lock, folder, header.identity)
            merged += merging.run()[0]
            warnings += merging.warnings
        after = _sizes(storage)
        done = Compacted(merged, len(before), len(after), sum(before), sum(after), tuple(warnings))
        if merged or warnings:
            log = EventLog(storage)
            log.log("compacted", **vars(done))
            log.flush()
        return done
    finally:
        lock.release()


@dataclass(frozen=True)
class Merged:
    """What a merge by a writer did.

    Args:
        parts: Merged parts that were made.
        small_parts: Small ones that are left of a kind at most.
        warnings: What was found damaged and set aside, a sentence each.
        damaged: Parts of trials that were found damaged and stay as they are.
    """

    parts: int
    small_parts: int
    warnings: list[str]
    damaged: list[str]


def merge_many(
    storage: Storage,
    lock: Lock,
    header: RunHeader,
    done: Ids,
    settled: Mapping[str, dict[str, Ids]],
) -> Merged:
    """Merge small parts until there are no more than ``MANY_PARTS`` of a kind, the oldest first.

    That is one merged part at most where the parts have become too many one by one, so the caller
    is kept for seconds. Only for the writer, which publishes nothing meanwhile.

    A damaged part of trials stays as it is: the run that is at work takes its trials for done, and
    who opens the directory next sets it aside and has them executed again.

    Args:
        storage: The run directory.
        lock: Its lock, held.
        header: What the writer says about the run.
        done: Ids of all finished trials.
        settled: See ``replacing.Merging``; by folder.

    Raises:
        ResultsError: The file system refuses, or the lock was lost.
    """
    finish_merge(storage)
    trials, injections = (
        Merging(
            storage,
            lock,
            folder,
            header.identity,
            sets_aside=folder.name != paths.TRIALS,
            settled=settled[folder.name],
        )
        for folder in _folders(header.schema, done)
    )
    ended = [merging.run(leave=MANY_PARTS) for merging in (trials, injections)]
    return Merged(
        parts=sum(merged for merged, _ in ended),
        small_parts=max(left for _, left in ended),
        warnings=injections.warnings,
        damaged=trials.damaged,
    )


def count_parts(storage: Storage) -> int:
    """Return how many parts there are of a kind at most, small or not."""
    folders = (paths.TRIALS, paths.INJECTIONS)
    return max(len(part_names(storage, folder)) for folder in folders)


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
    sizes = []
    for name in (*part_names(storage, paths.TRIALS), *part_names(storage, paths.INJECTIONS)):
        with suppress(NotAFileError):
            sizes.append(storage.size(name))
    return sizes
