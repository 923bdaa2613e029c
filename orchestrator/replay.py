"""Executing one trial again and comparing it with its row."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from typing import Any

from injecttf2.engine import Engine
from injecttf2.errors import CampaignError
from injecttf2.faults import FAULTS
from injecttf2.trials import Cell, Trial, trial_ids
from orchestrator import rows
from orchestrator.campaign import reload_campaign
from orchestrator.plan import Plan, make_plan
from results import PURE_COLUMNS, open_run

Differences = dict[str, tuple[Any, Any]]


def replay(
    path: str, trial_id: int, *, model: str | None = None, dataset: str | None = None
) -> Differences:
    """Run a trial again in this process; TensorFlow must have been configured.

    Args:
        path: The run directory.
        trial_id: The trial.
        model: Where the model is now, if it has moved.
        dataset: Where the data are now, if they have moved.

    Returns:
        For each column that differs the recorded and the new value; timing and provenance are
        not compared.

    Raises:
        ResultsError: There is no such run or trial.
        CampaignError: The model or the data are not those of the run.
    """
    run = open_run(path)
    recorded = run.trial(trial_id)
    folder = Path(str(run.provenance.get("folder", ".")))
    campaign = reload_campaign(run.campaign, folder, model=model, dataset=dataset)
    plan = make_plan(campaign)
    _check_identity(plan, run.identity)
    trial = _trial_of(plan, recorded)
    now = _evaluate(plan, trial)
    return {
        name: (recorded[name], now[name])
        for name in PURE_COLUMNS
        if not _equal(recorded[name], now[name])
    }


def _check_identity(plan: Plan, recorded: Any) -> None:
    differing = [key for key, value in plan.identity.to_dict().items() if recorded[key] != value]
    if differing:
        raise CampaignError(
            f"the run was made with another {' and '.join(differing)} than the one found now",
            hint="give the original ones with --model and --dataset",
        )


def _trial_of(plan: Plan, row: dict[str, Any]) -> Trial:
    """Return the trial that a row describes."""
    drawn = row["bit"] is None
    where = {"bit_field": row["bit_field"]} if drawn else {"bit": row["bit"]}
    fault = FAULTS[row["fault"]](**where)
    cell = Cell(row["layer"], fault, row["probability"], row["target"])
    (trial_id,) = trial_ids(plan.identity, cell, [row["repetition"]]).tolist()
    return Trial(cell, row["repetition"], trial_id)


def _evaluate(plan: Plan, trial: Trial) -> dict[str, Any]:
    model = plan.model.build()
    engine = Engine(model, plan.dataset)
    layer = engine.prepare(trial.cell.layer).info
    table = rows.trials_table(
        [trial],
        engine.evaluate([trial]),
        layer=layer,
        identity=plan.identity,
        samples=len(plan.dataset),
        golden_accuracy=engine.golden.accuracy,
        source=rows.Source("replay", 0.0, datetime.datetime.now(datetime.UTC)),
    )
    row: dict[str, Any] = table.to_pylist()[0]
    return row


def _equal(one: Any, other: Any) -> bool:
    both_nan = isinstance(one, float) and isinstance(other, float) and math.isnan(one)
    return bool(one == other) or (both_nan and math.isnan(other))
