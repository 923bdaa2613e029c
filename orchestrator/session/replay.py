"""Executing one trial again and comparing it with its row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from injecttf2.errors import CampaignError
from injecttf2.faults import registry as fault_registry
from injecttf2.faults.listed import FromFaultList
from injecttf2.models.keras_settings import KerasSettings, kept
from injecttf2.protections import Protection
from injecttf2.sampling.rates import RATES, Exhaustive, Rate
from injecttf2.trial import Cell, CellTrials, Scope, Trial, trial_ids
from injecttf2.user_code.files import Code, code_of
from injecttf2.user_code.references import is_function
from orchestrator.campaign.campaign import Campaign
from orchestrator.executors.worker import Worker, WorkerSettings
from orchestrator.planning.plan import Plan, make_plan
from orchestrator.session.recorded import Recorded, recorded_trial
from results import PROVENANCE_COLUMNS, Run
from results.writing.agreement import differing_numerics

Differences = dict[str, tuple[Any, Any]]


def replay(
    path: str, trial_id: int | str, *, model: str | None = None, dataset: str | None = None
) -> Differences:
    """Run a trial of a run directory again; see :func:`run_again` and :func:`recorded_trial`."""
    return run_again(recorded_trial(path, trial_id, model=model, dataset=dataset))


def run_again(recorded: Recorded, stage: Callable[[str], None] = lambda _: None) -> Differences:
    """Run a trial again in this process; TensorFlow must have been configured.

    Args:
        recorded: The trial, as the run holds it.
        stage: Hears what is done next.

    Returns:
        For each column that differs the recorded and the new value; timing and provenance are
        not compared. Where a column differs and this process is of another class of numerics, that
        is told too, as ``numerics.NAME``.

    Raises:
        CampaignError: The model, the data or the code are not those of the run.
    """
    run, row, campaign = recorded.run, recorded.row, recorded.campaign
    _check_code(run, campaign.folder, _code_by_its_names(run, campaign))
    with kept():
        _apply(run.provenance.get("keras", {}), recorded.place)
        plan = make_plan(campaign, stage)
        _check_code(run, campaign.folder, plan.code)
        _check_identity(plan, run.identity)
        stage("running the trial")
        now, numerics = _evaluate(plan, _trial_of(plan, row))
    differences = {
        name: (row[name], value)
        for name, value in now.items()
        if name not in PROVENANCE_COLUMNS and not _equal(row[name], value)
    }
    others = [differing_numerics(one, numerics) for one in run.numerics]
    if differences and all(others):
        told = {f"numerics.{name}": pair for other in others[:1] for name, pair in other.items()}
        differences.update(told)
    return differences


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


def _trial_of(plan: Plan, row: Mapping[str, Any]) -> Trial:
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
    scope = Scope.of(row["layer"], row["target"])
    if row["protection"] is not None:
        scope = replace(scope, protection=_protection_of(plan, row["protection"]))
    cell = Cell(scope, fault, rate, row["variable"], paired)
    (trial,) = CellTrials(cell, row["repetition"], row["repetition"] + 1).trials(plan.identity)
    return trial


def _protection_of(plan: Plan, label: str) -> Protection:
    """Return the protection that results call so.

    Raises:
        CampaignError: The campaign has none.
    """
    for group in plan.grid.groups:
        protection = group.scope.protection
        if protection is not None and protection.label == label:
            return protection
    raise CampaignError(f"the campaign has no protection {label!r}")


def _listed_trial(plan: Plan, row: Mapping[str, Any]) -> Trial:
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
