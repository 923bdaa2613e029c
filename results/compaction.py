"""Compaction: many small parts of a run directory become few large ones, which read faster.

A merge writes what it is about to do into a journal, publishes the merged part, removes the parts
that it replaces one by one, and then the journal. A process that ends on the way leaves every row
in one part at least. Some rows may then be in two: readers drop what is doubled, and whoever writes
next, a campaign or a compaction, removes what the journal says was replaced.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from results import paths
from results.events import EventLog
from results.ids import Ids, ascending, contains, union
from results.manifest import read_manifest
from results.merging import in_one_chunk, merged_injections, merged_trials, rows_of
from results.parts import (
    find_ids,
    find_parts,
    is_whole,
    numbers,
    part_rows,
    read_dataset,
    read_ids,
    write_part,
)
from results.schema import INJECTIONS, TRIALS
from results.storage import open_storage

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from results.storage import Lock, Storage

TRIAL_ROWS = 1_000_000
"""Trials in a merged part at most, about 40 MB."""

INJECTION_ROWS = 2_000_000
"""Injections in a merged part at most, about 45 MB."""


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


@dataclass(frozen=True)
class _Folder:
    """Parts of one kind, and how they are merged.

    Args:
        name: The folder.
        schema: What its parts hold.
        limit: Rows of a merged part at most.
        merge: Makes the rows of a merged part out of those that are known from others and those
            of its own parts.
    """

    name: str
    schema: pa.Schema
    limit: int
    merge: Callable[[pa.Table, pa.Table], pa.Table]


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
        RunCorruptError: A part belongs to another campaign, or its data are damaged.
        ResultsError: The file system refuses; the same command goes on from there.
    """
    storage = open_storage(path)
    identity = read_manifest(storage).header.identity
    lock = storage.lock()
    try:
        storage.sweep()
        finish_compaction(storage)
        before = _sizes(storage)
        folders = _folders(_done_ids(storage, identity))
        merged = sum(_Merging(storage, lock, folder, identity).run() for folder in folders)
        after = _sizes(storage)
        done = Compacted(merged, len(before), len(after), sum(before), sum(after))
        if merged:
            log = EventLog(storage)
            log.log("compacted", **vars(done))
            log.flush()
        return done
    finally:
        lock.release()


def finish_compaction(storage: Storage) -> None:
    """Remove what a compaction that was killed had replaced. Only for the holder of the lock.

    Raises:
        ResultsError: The file system refuses.
    """
    try:
        journal = json.loads(storage.read(paths.COMPACTING))
        merged, replaced = str(journal["merged"]), {*journal["replaces"]} - {journal["merged"]}
    except FileNotFoundError:
        return
    except (ValueError, TypeError, KeyError):  # not a journal of ours: it tells of no merge
        storage.remove(paths.COMPACTING)
        return
    folder = merged.partition("/")[0]
    there = [f"{folder}/{file}" for file in storage.files(folder) if paths.is_part(file)]
    if merged in there and is_whole(storage, merged):
        for name in there:
            if name in replaced:
                storage.remove(name)
    storage.remove(paths.COMPACTING)


class _Merging:
    """Merges the parts of one folder.

    Args:
        storage: The run directory.
        lock: Its lock.
        folder: The folder.
        identity: What the run's trials mean.
    """

    def __init__(
        self, storage: Storage, lock: Lock, folder: _Folder, identity: Mapping[str, int | str]
    ) -> None:
        self._storage = storage
        self._lock = lock
        self._folder = folder
        self._identity = identity
        self._rows: dict[str, int] = {}
        self._settled: dict[str, Ids] = {}

    def run(self) -> int:
        """Merge until at most one small part is left; return how many merged parts were made."""
        found = find_parts(
            self._storage, self._folder.name, self._folder.schema, self._identity
        ).readable
        self._rows = {name: part_rows(self._storage, name) for name in found}
        small = [name for name in found if self._is_small(name)]
        if len(small) > 1:
            self._settled = {name: self._ids(name) for name in found if name not in small}
        merged = 0
        while len(small) > 1:
            group = _first_group(small, self._rows, self._folder.limit)
            name = self._merge(group)
            small = small[len(group) :] + ([name] if self._is_small(name) else [])
            merged += 1
        return merged

    def _is_small(self, name: str) -> bool:
        return self._rows[name] < self._folder.limit // 2

    def _ids(self, name: str) -> Ids:
        ids = read_ids(self._storage, name)
        return np.empty(0, np.uint64) if ids is None else ascending(ids)

    def _merge(self, group: list[str]) -> str:
        """Put one part in the place of ``group``; return its name."""
        for replaced in group:
            self._settled.pop(replaced, None)
        table = in_one_chunk(read_dataset(self._storage, group, self._folder.schema))
        table = self._folder.merge(self._known(table), table)
        name = _unused_name(self._storage, self._folder.name)
        self._rows[name] = table.num_rows
        self._settled[name] = ascending(numbers(table.column("trial_id")))
        self._lock.check()
        journal = {"merged": name, "replaces": group}
        self._storage.publish(paths.COMPACTING, (json.dumps(journal, indent=2) + "\n").encode())
        write_part(self._storage, name, table, self._identity)
        self._lock.check()
        for replaced in group:
            self._storage.remove(replaced)
        self._storage.remove(paths.COMPACTING)
        return name

    def _known(self, table: pa.Table) -> pa.Table:
        """Return the rows of the settled parts that are of trials in ``table``: few, if any."""
        ids = ascending(numbers(table.column("trial_id")))
        known = [self._folder.schema.empty_table()]
        for name, others in self._settled.items():
            both = ids[contains(others, ids)]
            if len(both):
                where = pc.field("trial_id").isin(pa.array(both))
                known.append(read_dataset(self._storage, [name], self._folder.schema, where=where))
        return pa.concat_tables(known)


def _done_ids(storage: Storage, identity: Mapping[str, int | str]) -> Ids | None:
    """Return the ids of the finished trials; None if some cannot be read."""
    parts = find_ids(storage, paths.TRIALS, TRIALS, identity)
    ids = [part for part in parts.values() if part is not None]
    return union(np.empty(0, np.uint64), *ids) if len(ids) == len(parts) else None


def _folders(done: Ids | None) -> tuple[_Folder, ...]:
    """Return what is merged: of the injections those of trials that are ``done``, or all."""

    def merge_injections(known: pa.Table, table: pa.Table) -> pa.Table:
        return merged_injections(known, table if done is None else rows_of(done, table))

    return (
        _Folder(paths.TRIALS, TRIALS, TRIAL_ROWS, merged_trials),
        _Folder(paths.INJECTIONS, INJECTIONS, INJECTION_ROWS, merge_injections),
    )


def _first_group(small: list[str], rows: Mapping[str, int], limit: int) -> list[str]:
    """Return the first names whose rows fit into one part: two at least, since all are small."""
    total = 0
    for position, name in enumerate(small):
        total += rows[name]
        if total > limit:
            return small[:position]
    return small


def _unused_name(storage: Storage, folder: str) -> str:
    files = [*storage.files(paths.TRIALS), *storage.files(paths.INJECTIONS)]
    return paths.part(folder, paths.next_sequence(files), secrets.token_hex(4))


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
