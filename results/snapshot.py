"""A run as it was at one moment, for whoever asks it more than one question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from results.frames import check_columns
from results.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


class Snapshot(Run):
    """A run whose rows are read once, so that all answers are about the same trials.

    A campaign may be at work on the run meanwhile. Rows are kept in memory.

    Args:
        run: The run; it is read when a row is first asked for.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run._storage, run._manifest)
        self._trials: pd.DataFrame | None = None
        self._injections: pd.DataFrame | None = None

    def trials(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the finished trials, as ``Run.trials`` does."""
        if self._trials is None:
            self._trials = super().trials()
        names = list(self._trials.columns)
        wanted = names if columns is None else list(columns)
        check_columns(wanted, names, "columns")
        return self._trials[wanted]

    def injections(self) -> pd.DataFrame:
        """Return the recorded injections, as ``Run.injections`` does."""
        if self._injections is None:
            self._injections = super().injections()
        return self._injections
