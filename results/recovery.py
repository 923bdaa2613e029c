"""What a new writer finds in a run directory: ids of done trials, and what must be tidied up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from results import paths
from results.ids import union
from results.parts import find_ids, find_parts
from results.schema import INJECTIONS, TRIALS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from results.storage import Storage


_TRIALS_LOST = "trials whose rows were only there are executed again."
_INJECTIONS_LOST = (
    "its injections are lost. Their trials are done and keep their tallies; a run into another "
    "directory records them again."
)


@dataclass(frozen=True)
class Recovered:
    """What earlier writers left.

    Args:
        done_ids: Ids of the trials in published parts: uint64 [n], sorted, each once.
        next_sequence: A sequence number above those of all parts.
        warnings: What was set aside, a sentence each.
    """

    done_ids: npt.NDArray[np.uint64]
    next_sequence: int
    warnings: tuple[str, ...]


def recover(storage: Storage, identity: Mapping[str, int | str]) -> Recovered:
    """Remove unfinished files, rename parts that cannot be read, and read the ids of the others.

    Only for the process that holds the lock.

    Raises:
        RunCorruptError: A part belongs to another campaign or lacks a column.
        ResultsError: The file system refuses.
    """
    storage.sweep()
    ids = find_ids(storage, paths.TRIALS, TRIALS, identity)
    injections = find_parts(storage, paths.INJECTIONS, INJECTIONS, identity)
    warnings = [
        *(_set_aside(storage, name, _TRIALS_LOST) for name in ids if ids[name] is None),
        *(_set_aside(storage, name, _INJECTIONS_LOST) for name in injections.unreadable),
    ]
    found = [np.empty(0, np.uint64), *(part for part in ids.values() if part is not None)]
    files = [*storage.files(paths.TRIALS), *storage.files(paths.INJECTIONS)]
    return Recovered(
        done_ids=union(*found),
        next_sequence=paths.next_sequence(files),
        warnings=tuple(warnings),
    )


def _set_aside(storage: Storage, name: str, consequence: str) -> str:
    storage.rename(name, paths.torn(name))
    return (
        f"{storage.path(name)} cannot be read and was renamed to {paths.torn(name)}: {consequence}"
    )
