"""Putting one part in the place of several, so that a process may end at any moment.

A merge writes what it is about to do into a journal, publishes the merged part, removes the parts
that it replaces one by one, and then the journal. A process that ends on the way leaves every row
in one part at least. Some rows may then be in two: readers drop what is doubled, and whoever writes
next removes what the journal says was replaced.
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
from results.ids import Ids, ascending, contains
from results.merging import in_one_chunk
from results.parts import (
    find_rows,
    is_whole,
    numbers,
    read_columns,
    read_dataset,
    read_ids,
    write_part,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from results.manifest import Json
    from results.storage import Lock, Storage


@dataclass(frozen=True)
class Folder:
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


def finish_merge(storage: Storage) -> None:
    """Remove what a merge that did not end had replaced. Only for the holder of the lock.

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


class Merging:
    """Merges the parts of one folder.

    Args:
        storage: The run directory.
        lock: Its lock.
        folder: The folder.
        identity: What the run's trials mean.
    """

    def __init__(self, storage: Storage, lock: Lock, folder: Folder, identity: Json) -> None:
        self._storage = storage
        self._lock = lock
        self._folder = folder
        self._identity = identity
        self._rows: dict[str, int] = {}
        self._settled: dict[str, Ids] = {}

    def run(self, *, leave: int = 1) -> tuple[int, int]:
        """Merge until no more than ``leave`` small parts are left, the oldest first.

        Returns:
            How many merged parts were made, and how many small ones are left.
        """
        found = find_rows(self._storage, self._folder.name, self._folder.schema, self._identity)
        self._rows = {name: rows for name, rows in found.items() if rows is not None}
        small = [name for name in self._rows if self._is_small(name)]
        if len(small) > leave:
            large = self._rows.keys() - {*small}
            self._settled = {name: self._ids(name) for name in large}
        merged = 0
        while len(small) > leave:
            group = _first_group(small, self._rows, self._folder.limit)
            name = self._merge(group)
            small = small[len(group) :] + ([name] if self._is_small(name) else [])
            merged += 1
        return merged, len(small)

    def _is_small(self, name: str) -> bool:
        return self._rows[name] < self._folder.limit // 2

    def _ids(self, name: str) -> Ids:
        ids = read_ids(self._storage, name)
        return np.empty(0, np.uint64) if ids is None else ascending(ids)

    def _merge(self, group: list[str]) -> str:
        """Put one part in the place of ``group``; return its name."""
        for replaced in group:
            self._settled.pop(replaced, None)
        table = in_one_chunk(read_columns(self._storage, group, self._folder.schema))
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
