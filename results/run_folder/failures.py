"""The records of trials that were given up on: a file for those that were given up on together.

A layer that no worker can run may hold a million trials. So a file has an entry for each cell and
its repetitions, and of a trial that is not shown nothing is read but its id.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from results import paths
from results.ids import Ids, as_texts, ascending, contains, from_json
from results.storage.local_files import NotAFileError

if TYPE_CHECKING:
    from results.run_folder.manifest import Json
    from results.storage.storage import Storage

Record = dict[str, Any]
"""``trial_id``, ``error``, ``traceback``, ``failed_at`` and ``trial``, which tells the trial."""


@dataclass(frozen=True, eq=False)
class GivenUp:
    """Trials of one cell that were given up on together.

    Args:
        ids: uint64 [n], the id of each trial.
        trial: What describes them all, which JSON must be able to hold.
        repetition: That of the first trial, those of the others following one by one; None if it
            is not to be told.
    """

    ids: npt.NDArray[np.uint64]
    trial: Mapping[str, Any]
    repetition: int | None = None


@dataclass(frozen=True, eq=False)
class _Entry:
    """Trials that were given up on, and why."""

    given_up: GivenUp
    error: str
    traceback: str
    failed_at: datetime


@dataclass(frozen=True, eq=False)
class Failures:
    """Trials that were given up on, each with its latest record.

    Args:
        ids: uint64 [n], ascending, each once.
    """

    ids: Ids
    _entries: tuple[_Entry, ...]
    _entry: npt.NDArray[np.intp]
    _place: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.ids)

    def without(self, ids: Ids) -> Failures:
        """Return those that are not among ``ids``, uint64 [m], ascending."""
        return self._only(~contains(ids, self.ids))

    def among(self, ids: Ids) -> Failures:
        """Return those that are among ``ids``, uint64 [m], ascending."""
        return self._only(contains(ids, self.ids))

    def of_plan(self, plan: Json) -> Failures:
        """Return those that are in a plan: in one of its layers, and not named as outside of it."""
        layers = (entry.given_up.trial.get("layer") for entry in self._entries)
        planned = np.array([name is None or name in plan["layers"] for name in layers], np.bool_)
        outside = ascending(from_json(plan.get("failed_outside", ())))
        return self._only(planned[self._entry] & ~contains(outside, self.ids))

    def by_layer(self) -> Counter[str]:
        """Return how many there are of each layer, the layers in no order; others are left out."""
        counts = np.bincount(self._entry, minlength=len(self._entries)).tolist()
        total: Counter[str] = Counter()
        for entry, count in zip(self._entries, counts, strict=True):
            if count and (layer := entry.given_up.trial.get("layer")):
                total[str(layer)] += count
        return total

    def records(self, limit: int | None = None) -> Iterator[Record]:
        """Yield the oldest records, ``limit`` at most, by time and then by id."""
        times = np.array([entry.failed_at.timestamp() for entry in self._entries], np.float64)
        for index in np.lexsort((self.ids, times[self._entry]))[:limit].tolist():
            entry, place = self._entries[self._entry[index]], int(self._place[index])
            trial, first = dict(entry.given_up.trial), entry.given_up.repetition
            yield {
                "trial_id": int(self.ids[index]),
                "error": entry.error,
                "traceback": entry.traceback,
                "failed_at": entry.failed_at,
                "trial": trial if first is None else {**trial, "repetition": first + place},
            }

    def _only(self, mask: npt.NDArray[np.bool_]) -> Failures:
        return replace(self, ids=self.ids[mask], _entry=self._entry[mask], _place=self._place[mask])


def failures_file(given_up: Sequence[GivenUp], *, error: str, traceback: str) -> tuple[str, bytes]:
    """Return name and contents of a file that tells that trials were given up on now."""
    now = datetime.now(UTC)
    contents = {
        "error": error,
        "traceback": traceback,
        "failed_at": now.isoformat(),
        "cells": [
            {
                "trial": dict(cell.trial),
                "repetition": cell.repetition,
                "trial_ids": as_texts(cell.ids),
            }
            for cell in given_up
        ],
    }
    text = json.dumps(contents, ensure_ascii=False) + "\n"
    name = paths.failures(now, secrets.token_hex(4))
    return name, text.encode(errors="replace")  # a traceback may hold half a character


def read_failures(storage: Storage) -> tuple[Failures, list[str]]:
    """Return the trials that were given up on, whether or not they are done since.

    Returns:
        The trials, and the names of the files that cannot be read.

    Raises:
        ResultsError: The file system refuses.
    """
    files = filter(paths.is_failures, storage.files(paths.FAILURES))
    names = [f"{paths.FAILURES}/{file}" for file in files]
    with ThreadPoolExecutor(storage.readers) as pool:
        found = dict(zip(names, pool.map(lambda name: _read(storage, name), names), strict=True))
    entries = [entry for read in found.values() if read is not None for entry in read]
    return _latest(entries), [name for name, read in found.items() if read is None]


def _latest(entries: list[_Entry]) -> Failures:
    """Return every trial of ``entries`` once, with the latest entry that tells of it."""
    entries = sorted(entries, key=lambda entry: entry.failed_at)
    counts = [len(entry.given_up.ids) for entry in entries]
    ids = np.concatenate([np.empty(0, np.uint64), *(entry.given_up.ids for entry in entries)])
    entry = np.repeat(np.arange(len(entries)), counts)
    place = np.concatenate([np.empty(0, np.intp), *map(np.arange, counts)])
    order = np.argsort(ids, kind="stable")
    last = np.ones(len(ids), np.bool_)
    last[:-1] = ids[order[1:]] != ids[order[:-1]]
    kept = order[last]
    return Failures(ids[kept], tuple(entries), entry[kept], place[kept])


def _read(storage: Storage, name: str) -> list[_Entry] | None:
    """Return the entries of the file ``name``; None if it cannot be understood."""
    try:
        contents = json.loads(storage.read(name))
        error, traceback = str(contents["error"]), str(contents["traceback"])
        failed_at = datetime.fromisoformat(contents["failed_at"]).astimezone(UTC)
        return [_Entry(cell, error, traceback, failed_at) for cell in _cells(contents)]
    except (
        NotAFileError,
        FileNotFoundError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        OverflowError,  # a number or a time that is too large
        RecursionError,
    ):
        return None


def _cells(contents: Mapping[str, Any]) -> Iterator[GivenUp]:
    """Yield what a file tells; it used to tell of single trials, and of one before that."""
    if "cells" in contents:
        for cell in contents["cells"]:
            repetition = cell["repetition"]
            yield GivenUp(
                from_json(cell["trial_ids"]),
                _trial(cell["trial"]),
                None if repetition is None else int(repetition),
            )
        return
    for trial in contents.get("trials", [contents]):
        yield GivenUp(from_json([trial["trial_id"]]), _trial(trial["trial"]))


def _trial(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what describes a trial.

    Raises:
        ValueError: Its layer is no name.
    """
    if not isinstance(said.get("layer"), str | None):
        raise ValueError(f"the layer is {said['layer']!r}, expected a name")  # noqa: TRY004
    return dict(said)
