"""What analyses need of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from results.run_folder.manifest import RunHeader


@runtime_checkable
class TrialSource(Protocol):
    """A run's rows; ``open_run`` gives one."""

    @property
    def path(self) -> str:
        """Where the run is, for messages."""

    @property
    def header(self) -> RunHeader:
        """What the latest writer said about the run."""

    def trials(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the finished trials, one row each."""

    def injections(self) -> pd.DataFrame:
        """Return the recorded injections of the finished trials."""


def sites_of_cells(run: TrialSource) -> Mapping[str, int]:
    """Return by ``cell_id``, as text, by how many sites a cell counts.

    Those are all of an exhaustive cell's, each of which is a trial, and those of cells of a
    precision of a layer or of the network. Other cells are not there.
    """
    plan = run.header.plan
    return {**plan.get("exhaustive", {}), **plan.get("sites", {})}
