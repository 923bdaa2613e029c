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
from results.run_folder.merging import in_one_chunk
from results.run_folder.parts import (
    find_rows,
    ids_of,
    is_whole,
    joined,
    named_part,
    read_rows,
    told_ids,
)
from results.writing.recovery import set_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from results.run_folder.manifest import Json
    from results.storage.lock import Lock
    from results.storage.storage import Storage


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
    except (
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
    ):  # not a journal of ours: it tells of no merge
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
    """Merges the parts of one folder, and sets aside those that turn out to be damaged.

    Attributes:
        damaged: Parts that were found damaged.
        warnings: What was set aside, a sentence each.

    Args:
        storage: The run directory.
        lock: Its lock.
        folder: The folder.
        identity: What the run's trials mean.
        sets_aside: Whether a damaged part is set aside; otherwise it stays as it is.
        settled: Ids of trials in parts that are not to be merged any more, by part: what an
            earlier merge has found, and to keep for a later one.
    """

    def __init__(
        self,
        storage: Storage,
        lock: Lock,
        folder: Folder,
        identity: Json,
        *,
        sets_aside: bool = True,
        settled: dict[str, Ids] | None = None,
    ) -> None:
        self._storage = storage
        self._lock = lock
        self._folder = folder
        self._identity = identity
        self._sets_aside = sets_aside
        self.damaged: list[str] = []
        self.warnings: list[str] = []
        self._rows: dict[str, int] = {}
        self._settled: dict[str, Ids] = {} if settled is None else settled

    def run(self, *, leave: int = 1) -> tuple[int, int]:
        """Merge until no more than ``leave`` small parts are left, the oldest first.

        Returns:
            How many merged parts were made, and how many small ones are left.
        """
        found = find_rows(self._storage, self._folder.name, self._folder.schema, self._identity)
        self._rows = {name: rows for name, rows in found.items() if rows is not None}
        self._take_out(name for name, rows in found.items() if rows is None)
        small = [name for name in self._rows if self._is_small(name)]
        if len(small) > leave:
            self._settle(self._rows.keys() - {*small})
        merged = 0
        while len(small) > leave:
            group = _first_group(small, self._rows, self._folder.limit)
            small = small[len(group) :]
            name = self._merge(group)
            if name is not None:
                merged += 1
                small += [name] if self._is_small(name) else []
        return merged, len(small)

    def _is_small(self, name: str) -> bool:
        return self._rows[name] < self._folder.limit // 2

    def _settle(self, large: set[str]) -> None:
        """Know the ids in the large parts; false ones do no harm, as ``_known`` compares."""
        for name in self._settled.keys() - large:
            del self._settled[name]
        for name in large - self._settled.keys():
            ids = told_ids(self._storage, name)
            self._settled[name] = np.empty(0, np.uint64) if ids is None else ascending(ids)

    def _merge(self, group: list[str]) -> str | None:
        """Put one part in the place of ``group``; return its name, None if all are damaged."""
        for replaced in group:
            self._settled.pop(replaced, None)
        tables = read_rows(self._storage, group, self._folder.schema)
        read = list(zip(group, tables, strict=True))
        self._take_out(name for name, rows in read if rows is None)
        group = [name for name, rows in read if rows is not None]
        if not group:
            return None
        table = in_one_chunk(joined(tables, self._folder.schema))
        table = self._folder.merge(self._known(table), table)
        folder, sequence = self._folder.name, _unused_sequence(self._storage)
        name, contents = named_part(folder, sequence, secrets.token_hex(4), table, self._identity)
        self._rows[name] = table.num_rows
        self._settled[name] = ascending(ids_of(table))
        self._lock.check()
        journal = {"merged": name, "replaces": group}
        self._storage.publish(paths.COMPACTING, (json.dumps(journal, indent=2) + "\n").encode())
        self._storage.publish(name, contents)
        self._lock.check()
        for replaced in group:
            self._storage.remove(replaced)
        self._storage.remove(paths.COMPACTING)
        return name

    def _known(self, table: pa.Table) -> pa.Table:
        """Return the rows of the settled parts that are of trials in ``table``: few, if any."""
        ids = ascending(ids_of(table))
        known = []
        for name, others in self._settled.items():
            both = ids[contains(others, ids)]
            if len(both):
                where = pc.field("trial_id").isin(pa.array(both))
                known += read_rows(self._storage, [name], self._folder.schema, where)
        return joined(known, self._folder.schema)

    def _take_out(self, damaged: Iterable[str]) -> None:
        names = [*damaged]
        self.damaged += names
        if self._sets_aside:
            self.warnings += [set_aside(self._storage, name) for name in names]


def _first_group(small: list[str], rows: Mapping[str, int], limit: int) -> list[str]:
    """Return the first names whose rows fit into one part: two at least, since all are small."""
    total = 0
    for position, name in enumerate(small):
        total += rows[name]
        if total > limit:
            return small[:position]
    return small


def _unused_sequence(storage: Storage) -> int:
    return paths.next_sequence([*storage.files(paths.TRIALS), *storage.files(paths.INJECTIONS)])
