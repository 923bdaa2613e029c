"""Executing one trial again and comparing it with its row."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from injecttf2.errors import CampaignError, placed
from injecttf2.faults import registry as fault_registry
from injecttf2.faults.listed import FromFaultList
from injecttf2.models.keras_settings import KerasSettings, kept
from injecttf2.sampling.rates import RATES, Exhaustive, Rate
from injecttf2.trial import Cell, CellTrials, Scope, Trial, trial_ids
from injecttf2.user_code.files import Code, code_of
from injecttf2.user_code.references import is_function
from orchestrator.campaign.campaign import Campaign, reload_campaign
from orchestrator.executors.worker import Worker, WorkerSettings
from orchestrator.planning.plan import Plan, make_plan
from results import PROVENANCE_COLUMNS, Run, open_run, paths
from results.writing.agreement import differing_numerics

Differences = dict[str, tuple[Any, Any]]

IMPORTED = {"source", "preprocess", "type", "fault"}
"""Keys of a campaign whose values may name code."""


def replay(
    path: str, trial_id: int | str, *, model: str | None = None, dataset: str | None = None
) -> Differences:
    """Run a trial again in this process; TensorFlow must have been configured.

    Args:
        path: The run directory.
        trial_id: The trial's id, a number or the text of one.
        model: Where the model is now, if it has moved.
        dataset: Where the data are now, if they have moved.

    Returns:
        For each column that differs the recorded and the new value; timing and provenance are
        not compared. Where a column differs and this process is of another class of numerics, that
        is told too, as ``numerics.NAME``.

    Raises:
        ResultsError: There is no such run or trial.
        CampaignError: The model, the data or the code are not those of the run.
    """
    run = open_run(path)
    recorded = run.trial(trial_id)
    folder = Path(str(run.provenance.get("folder", ".")))
    place = f"{run.path}/{paths.CAMPAIGN}"
    with placed(place):
        campaign = reload_campaign(run.campaign, folder, model=model, dataset=dataset)
    _check_code(run, folder, _code_by_its_names(run, campaign))
    with kept():
        _apply(run.provenance.get("keras", {}), place)
        plan = make_plan(campaign)
        _check_code(run, folder, plan.code)
        _check_identity(plan, run.identity)
        now, numerics = _evaluate(plan, _trial_of(plan, recorded))
    differences = {
        name: (recorded[name], value)
        for name, value in now.items()
        if name not in PROVENANCE_COLUMNS and not _equal(recorded[name], value)
    }
    others = [differing_numerics(one, numerics) for one in run.numerics]
    if differences and all(others):
        told = {f"numerics.{name}": pair for other in others[:1] for name, pair in other.items()}
        differences.update(told)
    return differences


def foreign_code(path: str) -> str | None:
    """Return a line that says whose code replaying a trial runs; None where it runs none.

    It is the run directory that names it, and the folder that it is looked up in.

    Raises:
        ResultsError: There is no such run.
    """
    run = open_run(path)
    named = list(dict.fromkeys(_references(run.campaign)))
    if not named:
        return None
    folder = Path(str(run.provenance.get("folder", ".")))
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


def _code_by_its_names(run: Run, campaign: Campaign) -> dict[str, Code]:
    """Return the code of what a run names, as far as it is found before any of it is imported."""
    named = {name: name for name in run.header.code or {}}
    if "model" in named and campaign.model is not None:
        named["model"] = campaign.model.source
    return {
        name: code_of(reference, campaign.folder)
        for name, reference in named.items()
        if is_function(reference)
    }


def _check_code(run: Run, folder: Path, found: Mapping[str, Code]) -> None:
    """Refuse files that are not those of the run; of a run of before, which has none, nothing."""
    recorded = run.header.code or {}
    changed = [
        file
        for name, code in found.items()
        for file, digest in code.files.items()
        if name in recorded and recorded[name].get(file) != digest
    ]
    if changed:
        raise CampaignError(
            f"code is not what the run was made with: {', '.join(dict.fromkeys(changed))}",
            place=str(folder),
            hint="restore it",
        )


def _apply(settings: Mapping[str, Any], place: str) -> None:
    """Make recorded settings of Keras those of this process.

    Raises:
        CampaignError: They are none.
    """
    try:
        KerasSettings(**settings).apply()
    except Exception as error:
        raise CampaignError(
            f"provenance.keras is {dict(settings)}, expected Keras' settings: {error}",
            place=place,
            hint="restore the file from a copy",
        ) from error


def _check_identity(plan: Plan, recorded: Any) -> None:
    now = plan.identity.to_dict()
    differing = [key for key, value in now.items() if recorded.get(key) != value]
    if differing:
        asked = {"judge", "metrics", "criteria"} & {*differing}
        raise CampaignError(
            f"the run was made with another {' and '.join(differing)} than the one found now",
            hint="another version made it, which took the model's outputs for something else: run "
            "the campaign into another --output"
            if asked
            else "give the original ones with --model and --dataset",
        )


def _trial_of(plan: Plan, row: dict[str, Any]) -> Trial:
    """Return the trial that a row describes."""
    fault = fault_registry.from_row(
        row["fault"],
        bit=row["bit"],
        bit_field=row["bit_field"],
        parameters=row["parameters"],
        folder=plan.campaign.folder,
    )
    if row["sampling"] == "listed":
        return _listed_trial(plan, row)
    rate: Rate = Exhaustive()
    if row["sampling"] != "exhaustive":
        (rate,) = [kind(row[name]) for name, kind in RATES.items() if row[name] is not None]
    paired = row["sampling"] == "paired"
    cell = Cell(Scope.of(row["layer"], row["target"]), fault, rate, row["variable"], paired)
    (trial,) = CellTrials(cell, row["repetition"], row["repetition"] + 1).trials(plan.identity)
    return trial


def _listed_trial(plan: Plan, row: dict[str, Any]) -> Trial:
    """Return the trial that a row describes whose sites were listed in a file.

    Raises:
        CampaignError: The file no longer lists them.
    """
    for cell, _ in plan.grid.cells():
        if cell.layer == row["layer"] and isinstance(cell.rate, FromFaultList):
            (trial_id,) = trial_ids(plan.identity, cell, [0]).tolist()
            if trial_id == row["trial_id"]:
                return Trial(cell, 0, trial_id)
    raise CampaignError(
        f"the fault list of the campaign no longer has the sites of trial {row['trial_id']}",
        hint="restore the file that it was run with",
    )


def _evaluate(plan: Plan, trial: Trial) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the row of a trial, and the class of numerics of this process."""
    worker = Worker(
        WorkerSettings(
            plan.identity, assessment=plan.sent_assessment, output=plan.campaign.judge.output
        )
    )
    ready = worker.start(plan.model, plan.dataset)
    result = worker.evaluate([CellTrials(trial.cell, trial.repetition, trial.repetition + 1)])
    row: dict[str, Any] = result.trials.to_pylist()[0]
    return row, ready.numerics or {}


def _equal(one: Any, other: Any) -> bool:
    both_nan = isinstance(one, float) and isinstance(other, float) and math.isnan(one)
    return bool(one == other) or (both_nan and math.isnan(other))
