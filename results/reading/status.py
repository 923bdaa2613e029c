"""How far a run is, from its directory alone and without loading pandas."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from results import paths
from results.errors import RunCorruptError
from results.frames import first_occurrences
from results.ids import ascending
from results.run_folder.consistent_reads import while_replaced
from results.run_folder.doubled import check_doubled
from results.run_folder.failures import read_failures
from results.run_folder.heartbeat import read_heartbeat
from results.run_folder.manifest import Manifest, read_manifest
from results.run_folder.parts import ids_of, joined, numbers, read_parts
from results.run_folder.schema import TRIALS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from results.run_folder.failures import Failures, Record
    from results.run_folder.heartbeat import Heartbeat
    from results.run_folder.manifest import Json, RunHeader
    from results.storage.storage import Storage


RATE_WINDOW = timedelta(minutes=5)
"""Trials per second are those of this long before the last finished trial."""

SHOWN_FAILURES = 20
"""Failures that a status describes; the others are counted."""

STATUS_COLUMNS = pa.schema([TRIALS.field(name) for name in ("trial_id", "layer", "finished_at")])
"""What the status is made from."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class LayerStatus:
    """How far a layer is.

    Args:
        planned: Trials of the layer in the plan.
        done: Trials of the layer in the run directory.
        failed: Trials of the layer that were given up on and have not succeeded since.
    """

    planned: int
    done: int
    failed: int = 0


@dataclass(frozen=True)
class FailedTrial:
    """A trial that was given up on.

    Args:
        trial_id: The trial.
        trial: What describes it: its layer, bit, rate, repetition.
        error: What went wrong.
    """

    trial_id: int
    trial: str
    error: str


@dataclass(frozen=True)
class RunStatus:
    """How far a run is.

    Args:
        planned: Trials in the plan of the latest writer.
        done: Trials of the plan in the run directory. Where the plan does not tell what is outside
            of it, all that are in the directory.
        failures: Trials of the plan that were given up on and have not succeeded since.
        failed: The first 20 of them, oldest first.
        layers: The same by layer, in the order of the plan.
        outside: Trials in the directory that are no longer in the plan, by layer.
        trials_per_second: Over the last five minutes with finished trials; None if too few.
        seconds_left: Time until the rest of the plan is done at that rate. None if nothing is
            left, if there is no rate, or if the heartbeat tells that nobody works at it.
        last_finished_at: When the last trial was finished, in UTC; None if none was.
        heartbeat: What the writer said last; None if nothing is known.
        unreadable: Parts and records that could not be read: their trials are not counted.
        contradiction: A trial that is there twice with different results, and what to do; None if
            there is none. It is counted once, and nobody else reads the trials until that is done.
        precision: How well the rates of layers or of the network are known, as the writer said
            last: see ``RunHeader.plan``; empty where that was not asked for.
    """

    planned: int
    done: int
    failures: int
    failed: tuple[FailedTrial, ...]
    layers: Mapping[str, LayerStatus]
    outside: Mapping[str, int]
    trials_per_second: float | None
    seconds_left: float | None
    last_finished_at: datetime | None
    heartbeat: Heartbeat | None
    unreadable: tuple[str, ...]
    contradiction: str | None = None
    precision: tuple[Json, ...] = ()

    @property
    def left(self) -> int:
        """Trials of the plan that are still to be done."""
        return max(0, self.planned - self.done - self.failures)

    @property
    def finished(self) -> bool:
        """Whether none is."""
        return self.left == 0


def make_status(
    rows: pa.Table,
    *,
    plan: Json,
    failures: Failures,
    heartbeat: Heartbeat | None,
    unreadable: Iterable[str],
) -> RunStatus:
    """Return the status of a run.

    Args:
        rows: The published rows, with the columns ``STATUS_COLUMNS``.
        plan: ``{"trials": int, "layers": {layer: trials}}``; ``"outside": {layer: trials}`` tells
            how many rows are not of the plan, and ``"failed_outside"`` which trials that were
            given up on are not.
        failures: Trials that were given up on and are not done.
        heartbeat: What the writer said last.
        unreadable: Names of the files that could not be read.
    """
    failures = failures.of_plan(plan)
    first = first_occurrences(numbers(rows.column("trial_id")))
    finished = numbers(rows.column("finished_at").cast(pa.int64()))[first]
    outside: dict[str, int] = dict(plan.get("outside", {}))
    published = _count_by_layer(rows, first)
    done = Counter({name: max(0, n - outside.get(name, 0)) for name, n in published.items()})
    rate = _rate(finished)
    left = plan["trials"] - done.total() - len(failures)
    working = heartbeat is None or heartbeat.alive
    return RunStatus(
        planned=plan["trials"],
        done=done.total(),
        failures=len(failures),
        failed=tuple(map(_failed_trial, failures.records(SHOWN_FAILURES))),
        layers=_layers(plan["layers"], done, failures.by_layer()),
        outside=outside,
        trials_per_second=rate,
        seconds_left=left / rate if rate and left > 0 and working else None,
        last_finished_at=_time(finished.max()) if len(finished) else None,
        heartbeat=heartbeat,
        unreadable=tuple(unreadable),
        precision=tuple(plan.get("precision", ())),
    )


def _layers(
    planned: Mapping[str, int], done: Counter[str], failed: Counter[str]
) -> dict[str, LayerStatus]:
    """Return the layers of the plan, and then others with trials that are done."""
    more = [layer for layer in done if done[layer] > 0]
    return {
        layer: LayerStatus(planned.get(layer, 0), done[layer], failed[layer])
        for layer in dict.fromkeys([*planned, *more])
    }


def _failed_trial(record: Record) -> FailedTrial:
    trial = {name: value for name, value in record["trial"].items() if value is not None}
    return FailedTrial(
        trial_id=record["trial_id"],
        trial=", ".join(f"{name} {value}" for name, value in trial.items()),
        error=record["error"],
    )


def _count_by_layer(rows: pa.Table, first: npt.NDArray[np.intp]) -> Counter[str]:
    column = rows.column("layer").unify_dictionaries().combine_chunks()
    if not len(first):
        return Counter()
    names = column.dictionary.to_pylist()
    counts = np.bincount(np.from_dlpack(column.indices)[first], minlength=len(names))
    return Counter({name: int(count) for name, count in zip(names, counts, strict=True) if count})


def _rate(finished: npt.NDArray[np.int64]) -> float | None:
    """Return the trials per second; ``finished``: int64 [n], microseconds since 1970.

    The trials that finished at the window's first instant only start the clock: trials come in
    chunks, and theirs ran before it.
    """
    if not len(finished):
        return None
    window = finished[finished >= finished.max() - RATE_WINDOW // timedelta(microseconds=1)]
    begin, end = int(window.min()), int(window.max())
    return float((window > begin).sum()) * 1e6 / (end - begin) if end > begin else None


def _time(microseconds: np.int64) -> datetime:
    return _EPOCH + timedelta(microseconds=int(microseconds))


class StatusReader:
    """Reads the status of a run. Parts never change, so one that was read is not read again.

    What is kept takes some 20 bytes a trial.

    Args:
        storage: The run directory.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._rows: dict[str, pa.Table] = {}
        self._contradiction: str | None = None

    def read(self, manifest: Manifest | None = None, now: datetime | None = None) -> RunStatus:
        """Return how far the run is.

        Args:
            manifest: What ``campaign.json`` says; by default it is read.
            now: What the heartbeat's age is counted to, in UTC; the present by default.

        Raises:
            RunNotFoundError: There is no run directory.
            RunCorruptError: ``campaign.json`` cannot be understood, or a part belongs to another
                campaign.
            ResultsError: The file system refuses.
        """
        header = (manifest or read_manifest(self._storage)).header
        found = while_replaced(self._storage, paths.TRIALS, lambda: self._look(header))
        self._rows = {name: rows for name, rows in found.items() if rows is not None}
        rows = joined(self._rows.values(), STATUS_COLUMNS)
        failures, records_lost = read_failures(self._storage)
        status = make_status(
            rows,
            plan=header.plan,
            failures=failures.without(ascending(ids_of(rows))),
            heartbeat=read_heartbeat(self._storage, now),
            unreadable=[*(name for name in found if name not in self._rows), *records_lost],
        )
        return replace(status, contradiction=self._contradiction)

    def _look(self, header: RunHeader) -> dict[str, pa.Table | None]:
        """Return what there is in every part of trials; None for one that is damaged."""
        found = read_parts(
            self._storage,
            paths.TRIALS,
            header.schema,
            header.identity,
            columns=STATUS_COLUMNS,
            known=self._rows,
        )
        if found.keys() != self._rows.keys():
            self._contradiction = self._look_for_contradiction(found, header)
        return found

    def _look_for_contradiction(
        self, found: Mapping[str, pa.Table | None], header: RunHeader
    ) -> str | None:
        ids = {name: None if rows is None else ids_of(rows) for name, rows in found.items()}
        try:
            check_doubled(self._storage, ids, header.schema)
        except RunCorruptError as error:
            return str(error)
        return None
