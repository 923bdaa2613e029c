"""The records of trials that were given up on: a file for each, named after the trial."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from results import paths
from results.ids import Ids, ascending

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from results.storage import Storage

Record = dict[str, Any]
"""``trial_id``, ``error``, ``traceback``, ``failed_at`` and ``trial``, which tells the trial."""


def write_failure(
    storage: Storage, trial_id: int, *, error: str, traceback: str, trial: Mapping[str, Any]
) -> None:
    """Record that a trial was given up on; see ``RunWriter.record_failure``."""
    record = {
        "trial_id": trial_id,
        "error": error,
        "traceback": traceback,
        "trial": dict(trial),
        "failed_at": datetime.now(UTC).isoformat(),
    }
    text = (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()
    storage.publish(paths.failure(trial_id), text)


def recorded_ids(storage: Storage) -> Ids:
    """Return the ids of the trials with a record, whether or not they are done since.

    Returns:
        uint64 [n], sorted, each once.

    Raises:
        ResultsError: The file system refuses.
    """
    files = filter(paths.is_failure, storage.files(paths.FAILURES))
    return ascending(np.array([int(file.removesuffix(".json")) for file in files], np.uint64))


def read_failures(storage: Storage, ids: Iterable[int]) -> tuple[list[Record], list[str]]:
    """Return the records of some trials, and the names of those that cannot be read.

    Raises:
        ResultsError: The file system refuses.
    """
    records, unreadable = [], []
    for trial_id in ids:
        name = paths.failure(trial_id)
        try:
            records.append(_record(storage.read(name)))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            unreadable.append(name)
    return records, unreadable


def _record(text: bytes) -> Record:
    record = json.loads(text)
    return {
        "trial_id": int(record["trial_id"]),
        "error": str(record["error"]),
        "traceback": str(record["traceback"]),
        "failed_at": datetime.fromisoformat(record["failed_at"]).astimezone(UTC),
        "trial": dict(record["trial"]),
    }
