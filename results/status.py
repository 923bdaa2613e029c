"""How far a run is, from its directory alone and without loading pandas."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from results.frames import first_occurrences
from results.parts import numbers
from results.schema import TRIALS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

RATE_WINDOW = timedelta(minutes=5)
"""Trials per second are those of this long before the last finished trial."""

STATUS_COLUMNS = pa.schema([TRIALS.field(name) for name in ("trial_id", "layer", "finished_at")])
"""What the status is made from."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class LayerStatus:
    """How far a layer is.

    Args:
        planned: Trials of the layer in the plan.
        done: Trials of the layer in the run directory.
    """

    planned: int
    done: int


@dataclass(frozen=True)
class RunStatus:
    """How far a run is.

    Args:
        planned: Trials in the plan of the latest writer.
        done: Trials in the run directory. More than planned if the grid was narrowed since.
        failures: Trials that were given up on and have not succeeded since.
        layers: The same by layer, in the order of the plan.
        trials_per_second: Over the last ``RATE_WINDOW`` with finished trials; None if too few.
        last_finished_at: When the last trial was finished, in UTC; None if none was.
        unreadable: Parts that could not be read: their trials are not counted.
    """

    planned: int
    done: int
    failures: int
    layers: Mapping[str, LayerStatus]
    trials_per_second: float | None
    last_finished_at: datetime | None
    unreadable: tuple[str, ...]


def make_status(
    rows: pa.Table,
    *,
    plan: Mapping[str, Any],
    failed: Collection[int],
    unreadable: tuple[str, ...],
) -> RunStatus:
    """Return the status of a run.

    Args:
        rows: The published rows, with the columns ``STATUS_COLUMNS``.
        plan: ``{"trials": int, "layers": {layer: trials}}``.
        failed: Ids of the trials that were given up on at some time.
        unreadable: Names of the parts that could not be read.
    """
    ids = numbers(rows.column("trial_id"))
    first = first_occurrences(ids)
    finished = numbers(rows.column("finished_at").cast(pa.int64()))[first]
    planned: Mapping[str, int] = plan["layers"]
    done = _count_by_layer(rows, first)
    return RunStatus(
        planned=plan["trials"],
        done=len(first),
        failures=int(np.isin(np.array([*failed], np.uint64), ids, invert=True).sum()),
        layers={
            layer: LayerStatus(planned.get(layer, 0), done[layer])
            for layer in dict.fromkeys([*planned, *done])
        },
        trials_per_second=_rate(finished),
        last_finished_at=_time(finished.max()) if len(finished) else None,
        unreadable=unreadable,
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
