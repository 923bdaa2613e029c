"""The records of trials that were given up on: a file for those that were given up on together.

A layer that no worker can run may hold all the trials of a campaign; a file for each would take
longer than the campaign.
"""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from results import paths
from results.ids import Ids, ascending, contains

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from results.storage import Storage

Record = dict[str, Any]
"""``trial_id``, ``error``, ``traceback``, ``failed_at`` and ``trial``, which tells the trial."""


def write_failures(
    storage: Storage,
    trials: Sequence[tuple[int, Mapping[str, Any]]],
    *,
    error: str,
    traceback: str,
) -> None:
    """Record that trials were given up on; see ``RunWriter.record_failures``."""
    now = datetime.now(UTC)
    contents = {
        "error": error,
        "traceback": traceback,
        "failed_at": now.isoformat(),
        "trials": [{"trial_id": int(trial_id), "trial": dict(trial)} for trial_id, trial in trials],
    }
    text = json.dumps(contents, ensure_ascii=False) + "\n"
    name = paths.failures(now, secrets.token_hex(4))
    storage.publish(name, text.encode(errors="replace"))  # a traceback may hold half a character


def read_failures(storage: Storage) -> tuple[list[Record], list[str]]:
    """Return the latest record of every trial that has one, whether or not it is done since.

    Returns:
        The records, and the names of the files that cannot be read.

    Raises:
        ResultsError: The file system refuses.
    """
    files = filter(paths.is_failures, storage.files(paths.FAILURES))
    names = [f"{paths.FAILURES}/{file}" for file in files]
    with ThreadPoolExecutor(storage.readers) as pool:
        found = dict(zip(names, pool.map(lambda name: _read(storage, name), names), strict=True))
    records = [record for read in found.values() if read is not None for record in read]
    records.sort(key=lambda record: record["failed_at"])
    latest = {record["trial_id"]: record for record in records}
    return [*latest.values()], [name for name, read in found.items() if read is None]


def recorded_ids(records: Sequence[Record]) -> Ids:
    """Return the ids of the trials that ``records`` tell of: uint64 [n], sorted, each once."""
    return ascending(_ids(records))


def without(records: Sequence[Record], done: Ids) -> list[Record]:
    """Return the records of trials that are not among ``done``."""
    mended = contains(done, _ids(records)).tolist()
    return [record for record, is_mended in zip(records, mended, strict=True) if not is_mended]


def _ids(records: Sequence[Record]) -> npt.NDArray[np.uint64]:
    return np.array([record["trial_id"] for record in records], np.uint64)


def _read(storage: Storage, name: str) -> list[Record] | None:
    """Return the records in the file ``name``; None if it cannot be understood."""
    try:
        return _records(storage.read(name))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _records(text: bytes) -> list[Record]:
    contents = json.loads(text)
    shared = {
        "error": str(contents["error"]),
        "traceback": str(contents["traceback"]),
        "failed_at": datetime.fromisoformat(contents["failed_at"]).astimezone(UTC),
    }
    trials = contents.get("trials", [contents])  # a file used to tell of one trial
    return [
        {"trial_id": _trial_id(trial["trial_id"]), **shared, "trial": dict(trial["trial"])}
        for trial in trials
    ]


def _trial_id(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**64:
        raise ValueError(f"trial_id is {value!r}, expected a number of 64 bits")
    return value
