"""What a new writer finds in a run directory: which trials are settled, what must be tidied up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from results import paths
from results.failures import read_failures
from results.ids import Ids, union
from results.parts import find_ids, find_parts, holds_any
from results.schema import INJECTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.manifest import RunHeader
    from results.storage import Storage

_TRIALS_LOST = "trials whose rows were only there are executed again."
_INJECTIONS_LOST = (
    "its injections are lost. Their trials are done and keep their tallies; a run into another "
    "directory records them again."
)
_FAILURES_LOST = "trials that only it told were given up on are tried again."


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
        RunCorruptError: A part belongs to another campaign or lacks a column.
        ResultsError: The file system refuses.
    """
    storage.sweep()
    ids = find_ids(storage, paths.TRIALS, header.schema, header.identity)
    injections = find_parts(storage, paths.INJECTIONS, INJECTIONS, header.identity)
    failures, unreadable = read_failures(storage)
    warnings = [
        *(_set_aside(storage, name, _TRIALS_LOST) for name in ids if ids[name] is None),
        *(_set_aside(storage, name, _INJECTIONS_LOST) for name in injections.unreadable),
        *(_set_aside(storage, name, _FAILURES_LOST) for name in unreadable),
    ]
    found = [np.empty(0, np.uint64), *(part for part in ids.values() if part is not None)]
    files = [*storage.files(paths.TRIALS), *storage.files(paths.INJECTIONS)]
    done = union(*found)
    _remove_orphans(storage, injections.readable, done)
    return Recovered(
        done_ids=done,
        failed_ids=failures.ids,
        next_sequence=paths.next_sequence(files),
        warnings=tuple(warnings),
    )


def _remove_orphans(storage: Storage, injections: Sequence[str], done: Ids) -> None:
    """Remove injections whose trials were never published: the trials are executed again.

    Another machine may then give other last bits, and the site would be there twice. A merged part
    has no part of trials of its name either, but trials that are done.
    """
    published = {file for file in storage.files(paths.TRIALS) if paths.is_part(file)}
    for name in injections:
        alone = name.rpartition("/")[2] not in published
        if alone and holds_any(storage, name, done) is False:
            storage.remove(name)


def _set_aside(storage: Storage, name: str, consequence: str) -> str:
    storage.rename(name, paths.torn(name))
    return (
        f"{storage.path(name)} cannot be read and was renamed to {paths.torn(name)}: {consequence}"
    )
