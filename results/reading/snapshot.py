"""A run as it was at one moment, for whoever asks it more than one question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from results import paths
from results.analysis.criticality import METRIC
from results.analysis.summary import grouping
from results.errors import NothingToShowError
from results.frames import check_columns
from results.reading.run import Run
from results.run_folder.parts import find_rows
from results.run_folder.schema import INJECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd


MOST_INJECTIONS = 5_000_000
"""Recorded injections that are read; more take a minute and many gigabytes of memory."""


class Snapshot(Run):
    """A run whose rows are read once, so that all answers are about the same trials.

    A campaign may be at work on the run meanwhile. Rows are kept in memory, and what was answered.

    Attributes:
        left_out: Names of the parts and records that were found damaged.

    Args:
        run: The run; it is read when a row is first asked for.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run._storage, run._manifest)
        self._trials: pd.DataFrame | None = None
        self._injections: pd.DataFrame | None = None
        self._answers: dict[tuple[str, ...], pd.DataFrame] = {}
        self._whole: Snapshot | None = None
        self.left_out: set[str] = set()

    def only(self, trials: pd.DataFrame) -> Snapshot:
        """Return the same run with some of its trials only, and the injections of those.

        Args:
            trials: Rows of ``trials()``, with all columns.
        """
        part = Snapshot(self)
        part._trials, part._whole = trials.reset_index(drop=True), self
        return part

    def trials(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the finished trials, as ``Run.trials`` does."""
        if self._trials is None:
            self._trials = super().trials()
        names = list(self._trials.columns)
        wanted = names if columns is None else list(columns)
        check_columns(wanted, names, "columns")
        return self._trials[wanted]

    def summary(
        self, by: str | Sequence[str] = ("layer", "bit"), *, confidence: float = 0.95
    ) -> pd.DataFrame:
        """Return the trials added up by group, as ``Run.summary`` does."""
        key, add_up = ("summary", *grouping(by), str(confidence)), super().summary
        return self._once(key, lambda: add_up(by, confidence=confidence))

    def criticality(
        self,
        by: str | Sequence[str] = ("layer", "bit"),
        *,
        metric: str = METRIC,
        confidence: float = 0.95,
    ) -> pd.DataFrame:
        """Return groups of trials ranked by a rate, as ``Run.criticality`` does."""
        key, rank = ("criticality", *grouping(by), metric, str(confidence)), super().criticality
        return self._once(key, lambda: rank(by, metric=metric, confidence=confidence))

    def injections(self) -> pd.DataFrame:
        """Return the recorded injections, as ``Run.injections`` does.

        Raises:
            NothingToShowError: There are more than ``MOST_INJECTIONS``.
        """
        if self._injections is None and self._whole is not None:
            every = self._whole.injections()
            mine = every["trial_id"].isin(self.trials(["trial_id"])["trial_id"])
            self._injections = every[mine].reset_index(drop=True)
        if self._injections is None:
            rows = find_rows(self._storage, paths.INJECTIONS, INJECTIONS, self.identity).values()
            if (count := sum(filter(None, rows))) > MOST_INJECTIONS:
                raise NothingToShowError(
                    f"{count:,} injections were recorded, more than the {MOST_INJECTIONS:,} that a "
                    "report reads; results.report.figures draws them from the run in Python."
                )
            self._injections = super().injections()
        return self._injections

    def _once(self, key: tuple[str, ...], make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Return what was made for ``key``, as a frame of the caller's own."""
        if key not in self._answers:
            self._answers[key] = make()
        return self._answers[key].copy()

    def _warn(self, unreadable: Iterable[str]) -> None:
        names = [*unreadable]
        self.left_out.update(names)
        super()._warn(names)
