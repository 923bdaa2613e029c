"""A trial as a run directory holds it, and what is needed to run it again; without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from injecttf2.errors import placed
from injecttf2.user_code.references import is_function
from orchestrator.campaign.campaign import Campaign, reload_campaign
from orchestrator.planning.first_look import look
from results import Run, open_run, paths

IMPORTED = {"source", "preprocess", "type", "fault"}
"""Keys of a campaign whose values may name code."""


@dataclass(frozen=True)
class Recorded:
    """A finished trial of a run.

    Args:
        run: The run.
        row: The trial's row.
        campaign: The run's campaign.
    """

    run: Run
    row: Mapping[str, Any]
    campaign: Campaign

    @property
    def place(self) -> str:
        """The file that describes the run."""
        return f"{self.run.path}/{paths.CAMPAIGN}"


def recorded_trial(
    path: str, trial_id: int | str, *, model: str | None = None, dataset: str | None = None
) -> Recorded:
    """Return a trial of a run.

    Args:
        path: The run directory.
        trial_id: The trial's id, a number or the text of one.
        model: Where the model is now, if it has moved.
        dataset: Where the data are now, if they have moved.

    Raises:
        ResultsError: There is no such run or trial.
        UserError: The campaign is none, or its model or data are not there.
    """
    run = open_run(path)
    row = run.trial(trial_id)
    folder = Path(str(run.provenance.get("folder", ".")))
    with placed(f"{run.path}/{paths.CAMPAIGN}"):
        campaign = reload_campaign(run.campaign, folder, model=model, dataset=dataset)
    look(campaign)
    return Recorded(run, row, campaign)


def foreign_code(recorded: Recorded) -> str | None:
    """Return a line that says whose code replaying a trial runs; None where it runs none.

    It is the run directory that names it, and the folder that it is looked up in.
    """
    named = list(dict.fromkeys(_references(recorded.run.campaign)))
    if not named:
        return None
    folder = recorded.campaign.folder
    return f"running code that the run names: {', '.join(named)}, of {folder}{_owner(folder)}"


def _references(value: Any, key: str = "") -> Iterator[str]:
    """Yield each ``package.module:name`` in a resolved campaign that is imported."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _references(one, name)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one, key)
    elif isinstance(value, str) and key in IMPORTED and is_function(value):
        yield from [] if value.startswith(("builtin:", "keras.applications:")) else [value]


def _owner(folder: Path) -> str:
    """Return who else a folder belongs to, if it does."""
    try:
        return "" if folder.stat().st_uid == os.getuid() else f", a folder of {folder.owner()}"
    except (OSError, KeyError):
        return ""
