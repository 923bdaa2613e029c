"""Running a campaign from its file to its results."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from injecttf2 import device
from injecttf2.errors import CampaignError
from orchestrator.campaign import Campaign
from orchestrator.provenance import provenance
from results import RunHeader, RunWriter

if TYPE_CHECKING:
    from orchestrator.executors import Executor
    from orchestrator.plan import Plan
    from orchestrator.session import Summary


@dataclass(frozen=True)
class Options:
    """How to run a campaign; nothing here changes a result.

    Args:
        output: The run directory.
        executor: ``ray`` or ``inline``.
        workers: Workers to start; None for as many as fit.
        cpus: CPUs a worker.
        gpus: GPUs a worker, may be a fraction; None for one where there are any.
        address: Of an existing Ray cluster; None starts Ray on this machine.
    """

    output: Path
    executor: str = "ray"
    workers: int | None = None
    cpus: int = 1
    gpus: float | None = None
    address: str | None = None


def launch(campaign: Campaign, options: Options, console: Console) -> Summary:
    """Run a campaign, or what is left of it, into a run directory.

    Args:
        campaign: The campaign.
        options: How to run it.
        console: Where progress is shown.

    Raises:
        UserError: The campaign, its model or its data is wrong, or no cluster answers.
        ResultsError: The run directory is another campaign's, in use, or cannot be written.
    """
    inline = options.executor == "inline"
    device.configure(gpu=inline)
    # TensorFlow must be configured before these modules load it.
    from orchestrator.plan import make_plan
    from orchestrator.progress import make_progress
    from orchestrator.session import Session

    plan = make_plan(campaign)
    for info in plan.skipped:
        console.print(f"skipping {info.layer}: {info.reason}", style="yellow", highlight=False)
    with ExitStack() as stack:
        writer = stack.enter_context(RunWriter.open(options.output, _header(plan)))
        for warning in writer.warnings:
            console.print(warning, style="yellow", highlight=False)
        executor = stack.enter_context(_executor(plan, options))
        progress = make_progress(console)
        stack.callback(progress.close)
        return Session(plan, writer, executor, progress).run()


def _header(plan: Plan) -> RunHeader:
    return RunHeader(
        campaign=plan.campaign.resolved(),
        identity=plan.identity.to_dict(),
        provenance=provenance(plan.campaign.folder),
        plan={
            "trials": len(plan.grid),
            "layers": {group.layer: len(group) for group in plan.grid.groups},
        },
    )


def _executor(plan: Plan, options: Options) -> Executor:
    from orchestrator.worker import WorkerSettings

    record = plan.campaign.record == "injections"
    settings = WorkerSettings(identity=plan.identity, record=record)
    if options.executor == "inline":
        from orchestrator.executors.inline import InlineExecutor

        return InlineExecutor(settings, plan.model, plan.dataset)
    if options.executor != "ray":
        raise CampaignError(
            f"received {options.executor!r}, expected ray or inline", place="--executor"
        )
    from orchestrator.executors.ray import RayExecutor, Resources

    resources = Resources(options.workers, options.cpus, options.gpus, options.address)
    return RayExecutor(settings, plan.model, plan.dataset, resources)
