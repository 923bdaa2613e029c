"""A run directory, read: as pandas frames, as a summary, as a status.

Readers need no lock. They see the parts that were published when they look, so a run can be read
while its campaign is running.
"""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from results import frames, paths
from results.errors import ResultsWarning, TrialNotFoundError
from results.manifest import Json, Manifest, RunHeader, read_manifest
from results.parts import Parts, find_parts, numbers, read_columns, read_dataset
from results.schema import INJECTIONS, TALLIES, TRIALS
from results.status import STATUS_COLUMNS, RunStatus, make_status
from results.storage import LocalStorage
from results.summary import MEANS, grouping, summarise

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import pandas as pd

_ID_COLUMN = pa.schema([TRIALS.field("trial_id")])


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open the run directory ``path`` for reading.

    Raises:
        RunNotFoundError: There is no run directory.
        RunMismatchError: A newer version of this package wrote it.
        RunCorruptError: Its ``campaign.json`` cannot be understood.
    """
    storage = LocalStorage(path)
    return Run(storage, read_manifest(storage))


class Run:
    """What a run directory holds; made by ``open_run``.

    What ``campaign.json`` says is read once, when the run is opened; rows and failures are read
    anew by every call.

    Every method that reads rows raises ``RunCorruptError`` for a part that belongs to another
    campaign or whose data are damaged. A part without an intact footer is left out, with a
    ``ResultsWarning``.
    """

    def __init__(self, storage: LocalStorage, manifest: Manifest) -> None:
        self._storage = storage
        self._manifest = manifest

    def __repr__(self) -> str:
        return f"open_run({self._storage.path()!r})"

    @property
    def header(self) -> RunHeader:
        """Campaign, identity, provenance and plan as the latest writer gave them."""
        return self._manifest.header

    @property
    def campaign(self) -> Json:
        """The resolved campaign."""
        return self.header.campaign

    @property
    def identity(self) -> Mapping[str, int | str]:
        """What the trials mean: identity version, model and data digests, seed."""
        return self.header.identity

    @property
    def provenance(self) -> Json:
        """What the results were made with."""
        return self.header.provenance

    @property
    def earlier_provenance(self) -> tuple[Json, ...]:
        """What earlier rows were made with, where that was something else; oldest first."""
        return self._manifest.earlier_provenance

    @property
    def plan(self) -> Json:
        """``{"trials": int, "layers": {layer: trials}}``."""
        return self.header.plan

    @property
    def golden(self) -> Json | None:
        """Metrics and digests of the golden run; None before it is known."""
        return self._manifest.golden

    @property
    def created_at(self) -> datetime:
        """When the run directory was begun, in UTC."""
        return self._manifest.created_at

    @property
    def updated_at(self) -> datetime:
        """When ``campaign.json`` was last written, in UTC."""
        return self._manifest.updated_at

    def trials(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the finished trials, one row each.

        Args:
            columns: Names of the columns wanted, in that order; all of ``TRIALS`` by default.

        Returns:
            Rows sorted by ``frames.TRIAL_ORDER``. Ids are uint64, ``bit`` is Int16, ``count``
            Int64, other numbers are as in ``TRIALS``, strings are categories: ``layer`` in model
            order, the others alphabetically.

        Raises:
            ValueError: There is no such column.
        """
        wanted = TRIALS.names if columns is None else list(columns)
        frames.check_columns(wanted, TRIALS.names, "columns")
        needed = [name for name in TRIALS.names if name in {*wanted, "layer", *frames.TRIAL_ORDER}]
        names = self._readable(paths.TRIALS, TRIALS)
        table = read_dataset(self._storage, names, TRIALS, columns=needed)
        return frames.trials_frame(table)[wanted]

    def injections(self) -> pd.DataFrame:
        """Return the recorded injections of the finished trials, one row a site.

        Returns:
            Rows sorted by ``frames.INJECTION_ORDER``; ``bit`` is Int16, the classes are Int32,
            strings are categories.
        """
        done = self._done_ids()  # read first: a trial's injections are there before its row
        names = self._readable(paths.INJECTIONS, INJECTIONS)
        table = read_dataset(self._storage, names, INJECTIONS)
        mask = np.isin(numbers(table.column("trial_id")), done)
        return frames.injections_frame(table.filter(pa.array(mask)))

    def failures(self) -> pd.DataFrame:
        """Return the trials that were given up on and have not succeeded since.

        Returns:
            Columns ``trial_id`` (uint64), ``error``, ``traceback``, ``failed_at`` (UTC) and
            ``trial`` (a mapping that describes the trial), sorted by ``failed_at``.
        """
        import pandas as pd

        names = ["trial_id", "error", "traceback", "failed_at", "trial"]
        rows = [[record[name] for name in names] for record in self._failure_records()]
        frame = pd.DataFrame(rows, columns=names, dtype=object).astype(
            {"trial_id": "uint64", "error": "str", "traceback": "str"}
        )
        frame["failed_at"] = pd.to_datetime(frame["failed_at"], utc=True, format="ISO8601").astype(
            "datetime64[us, UTC]"
        )
        unmended = ~np.isin(frame["trial_id"].to_numpy(), self._done_ids())
        return frame[unmended].sort_values(["failed_at", "trial_id"], ignore_index=True)

    def summary(
        self, by: str | Sequence[str] = ("layer", "bit"), *, confidence: float = 0.95
    ) -> pd.DataFrame:
        """Return the trials added up by group.

        The bounds are Wilson's over the injected samples, taken as independent. For weights they
        are not: all samples of a trial share its faults, and the bounds are too narrow.

        Args:
            by: A column of ``TRIALS`` or several, other than its tallies and accuracies.
            confidence: Two-sided confidence level of the bounds, between 0 and 1.

        Returns:
            One row a group that occurs (null is a value too), sorted by ``by``, with these
            columns: ``by``; ``trials``; the sums of ``injected``, ``masked``, ``benign``, ``sdc``,
            ``sdc_critical`` and ``due``; ``accuracy`` and ``golden_accuracy``, means weighted by
            samples; ``sdc_rate``, ``sdc_low``, ``sdc_high``, ``due_rate``, ``due_low`` and
            ``due_high`` over the injected samples, NaN where there are none.

        Raises:
            ValueError: A column cannot be grouped by, or ``confidence`` is out of range.
        """
        keys = grouping(by)
        return summarise(self.trials([*keys, *TALLIES, *MEANS]), keys, confidence)

    def status(self) -> RunStatus:
        """Return how far the run is. Needs no pandas and tells unreadable parts without warning."""
        parts = self._parts(paths.TRIALS, TRIALS)
        rows = read_columns(self._storage, parts.readable, STATUS_COLUMNS)
        files = self._storage.files(paths.FAILURES)
        return make_status(
            rows,
            plan=self.plan,
            failed=[int(file[:-5]) for file in files if paths.is_failure(file)],
            unreadable=parts.unreadable,
        )

    def trial(self, trial_id: int) -> dict[str, Any]:
        """Return one trial's row as a mapping from column to value, None where it is null.

        Raises:
            TrialNotFoundError: The run holds no such row.
        """
        from pyarrow import dataset

        rows: list[dict[str, Any]] = []
        if 0 <= trial_id < 2**64:
            names = self._readable(paths.TRIALS, TRIALS)
            same = dataset.field("trial_id") == pa.scalar(int(trial_id), pa.uint64())
            rows = read_dataset(self._storage, names, TRIALS, where=same).to_pylist()
        if not rows:
            raise TrialNotFoundError(
                f"the run holds no finished trial {trial_id}",
                place=self._storage.path(),
                hint="Ids are in the column trial_id of trials(); what failed is in failures().",
            )
        return rows[0]

    def _done_ids(self) -> npt.NDArray[np.uint64]:
        names = self._readable(paths.TRIALS, TRIALS)
        return numbers(read_columns(self._storage, names, _ID_COLUMN).column("trial_id"))

    def _parts(self, folder: str, schema: pa.Schema) -> Parts:
        return find_parts(self._storage, folder, schema, self.identity)

    def _readable(self, folder: str, schema: pa.Schema) -> tuple[str, ...]:
        parts = self._parts(folder, schema)
        for name in parts.unreadable:
            self._warn(name)
        return parts.readable

    def _failure_records(self) -> list[dict[str, Any]]:
        records = []
        for file in filter(paths.is_failure, self._storage.files(paths.FAILURES)):
            name = f"{paths.FAILURES}/{file}"
            try:
                records.append(json.loads(self._storage.read(name)))
            except ValueError:
                self._warn(name)
        return records

    def _warn(self, name: str) -> None:
        warnings.warn(
            f"{self._storage.path(name)} cannot be read: what it held is left out.",
            ResultsWarning,
            stacklevel=4,
        )
