"""Running a campaign from its file to its results."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console

from injecttf2 import device
from injecttf2.errors import CampaignError
from injecttf2.levels import Level
from orchestrator.campaign import Campaign
from orchestrator.provenance import provenance
from results import RunHeader, RunNotFoundError, RunWriter, open_run
from results.storage import LocalStorage

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
        levels: Levels of ``levels.LEVELS`` that may be used; None takes the campaign's.
    """

    output: str
    executor: str = "ray"
    workers: int | None = None
    cpus: int = 1
    gpus: float | None = None
    address: str | None = None
    levels: tuple[Level, ...] | None = None


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
    _check(options)
    inline = options.executor == "inline"
    device.configure(gpu=inline)
    # TensorFlow must be configured before these modules load it.
    from orchestrator.plan import make_plan
    from orchestrator.progress import make_progress
    from orchestrator.session import Session, Summary

    plan = make_plan(campaign)
    for info in plan.skipped:
        console.print(f"skipping {info.layer}: {info.reason}", style="yellow")
    _check_record(campaign, options)
    with ExitStack() as stack:
        writer = stack.enter_context(RunWriter.open(options.output, _header(plan)))
        for warning in writer.warnings:
            console.print(warning, style="yellow")
        done = writer.done_ids()
        missing = list(plan.grid.missing(plan.identity, done))
        if not missing:
            trials = len(plan.grid)
            return Summary(
                trials, trials, failed=0, injections=0, reevaluated=0, seconds=0.0, stopped=None
            )
        executor = stack.enter_context(_executor(plan, options))
        progress = make_progress(console)
        stack.callback(progress.close)
        session = Session(plan, missing, writer=writer, executor=executor, progress=progress)
        return session.run()


def _check(options: Options) -> None:
    """Refuse options that cannot be followed, before anything is loaded.

    Raises:
        CampaignError: An option has no meaning for the executor.
        ResultsError: The run directory is on object storage.
    """
    if not options.output:
        raise CampaignError("received an empty text, expected a folder", place="--output")
    LocalStorage(options.output)
    ray_only = {
        "--workers": options.workers,
        "--gpus-per-worker": options.gpus,
        "--address": options.address,
        "--cpus-per-worker": None if options.cpus == 1 else options.cpus,
    }
    given = [name for name, value in ray_only.items() if value is not None]
    if options.executor == "inline" and given:
        raise CampaignError(
            "the inline executor runs in this process alone and takes no such option",
            place=", ".join(given),
            hint="leave it out, or use --executor ray",
        )


def _check_record(campaign: Campaign, options: Options) -> None:
    """Refuse to record the sites of the rest of a run only.

    Raises:
        CampaignError: The run directory holds trials whose sites were not recorded.
    """
    try:
        run = open_run(options.output)
    except RunNotFoundError:
        return
    done = run.status().done if run.campaign.get("record") != campaign.record else 0
    if campaign.record == "injections" and done:
        raise CampaignError(
            f"record: injections asked for; {done:,} trials of {options.output} were done without",
            place=campaign.place("record"),
            hint="choose another --output, or leave `record` as it was",
        )


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
    levels = plan.campaign.levels if options.levels is None else options.levels
    settings = WorkerSettings(identity=plan.identity, record=record, levels=levels)
    if options.executor == "inline":
        from orchestrator.executors.inline import InlineExecutor

        return InlineExecutor(settings, plan.model, plan.dataset)
    from orchestrator.executors.ray import RayExecutor, Resources

    resources = Resources(options.workers, options.cpus, options.gpus, options.address)
    return RayExecutor(settings, plan.model, plan.dataset, resources)
