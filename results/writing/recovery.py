"""What a new writer finds in a run directory: which trials are settled, what must be tidied up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from results import paths
from results.ids import Ids, union
from results.run_folder.doubled import check_doubled
from results.run_folder.failures import read_failures
from results.run_folder.parts import find_ids, find_rows, holds_any
from results.run_folder.schema import INJECTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.run_folder.manifest import RunHeader
    from results.storage.storage import Storage

_LOST = {
    paths.TRIALS: "trials whose rows were only there are executed again.",
    paths.INJECTIONS: "its injections are lost. Their trials are done and keep their tallies; a "
    "run into another directory records them again.",
    paths.FAILURES: "trials that only it told were given up on are tried again.",
}


@dataclass(frozen=True)
class Recovered:
    """What earlier writers left.

    Args:
        done_ids: Ids of the trials in published parts.
        failed_ids: Ids of the trials that were given up on, whether or not they are done since.
        next_sequence: A sequence number above those of all parts.
        warnings: What was set aside, a sentence each.
    """

    done_ids: Ids
    failed_ids: Ids
    next_sequence: int
    warnings: tuple[str, ...]


def recover(storage: Storage, header: RunHeader) -> Recovered:
    """Remove what is unfinished, rename what cannot be read, and read the ids in the rest.

    Only for the process that holds the lock.

    Raises:
        RunCorruptError: A part belongs to another campaign or lacks a column, or contradicts
            another one.
        ResultsError: The file system refuses.
    """
    storage.sweep()
    ids = find_ids(storage, paths.TRIALS, header.schema, header.identity)
    check_doubled(storage, ids, header.schema)
    injections = find_rows(storage, paths.INJECTIONS, INJECTIONS, header.identity)
    failures, unreadable = read_failures(storage)
    damaged = [name for found in (ids, injections) for name in found if found[name] is None]
    warnings = [set_aside(storage, name) for name in (*damaged, *unreadable)]
    done = union(np.empty(0, np.uint64), *(part for part in ids.values() if part is not None))
    readable = [name for name, rows in injections.items() if rows is not None]
    warnings += _remove_orphans(storage, readable, done)
    files = [*storage.files(paths.TRIALS), *storage.files(paths.INJECTIONS)]
    return Recovered(
        done_ids=done,
        failed_ids=failures.ids,
        next_sequence=paths.next_sequence(files),
        warnings=tuple(warnings),
    )


def set_aside(storage: Storage, name: str) -> str:
    """Rename a file that cannot be read; return a sentence on it. Only for the lock's holder.

    Raises:
        ResultsError: The file system refuses.
    """
    storage.rename(name, paths.torn(name))
    return (
        f"{storage.path(name)} cannot be read and was renamed to {paths.torn(name)}: "
        f"{_LOST[name.partition('/')[0]]}"
    )


def _remove_orphans(storage: Storage, injections: Sequence[str], done: Ids) -> list[str]:
    """Remove injections whose trials were never published: the trials are executed again.

    Another machine may then give other last bits, and the site would be there twice. A merged part
    has no part of trials of its name either, but trials that are done.

    Returns:
        What was found damaged on the way and set aside, a sentence each.
    """
    published = {paths.flushed_with(file) for file in storage.files(paths.TRIALS)}
    warnings = []
    for name in injections:
        if paths.flushed_with(name) in published:
            continue
        held = holds_any(storage, name, done)
        if held is None:
            warnings.append(set_aside(storage, name))
        elif not held:
            storage.remove(name)
    return warnings
