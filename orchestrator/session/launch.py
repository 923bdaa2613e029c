"""Running a campaign from its file to its results."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from injecttf2 import device
from injecttf2.errors import CampaignError
from injecttf2.user_code.files import Code
from orchestrator.campaign.campaign import Campaign
from orchestrator.errors import StoppedError
from orchestrator.executors.ray_connection import knock
from orchestrator.executors.run_options import RunOptions
from orchestrator.planning.first_look import look
from orchestrator.scheduling.settings import Settings
from orchestrator.session.own_listeners import check_names, guarded
from orchestrator.session.progress import LOADING, Progress, make_progress
from orchestrator.session.provenance import provenance
from results import (
    ResultsError,
    RunCorruptError,
    RunHeader,
    RunMismatchError,
    RunNotFoundError,
    RunWriter,
    open_run,
)
from results.analysis.criticality import METRICS
from results.frames import check_columns
from results.run_folder.schema import CRITERION
from results.shown import shown_address
from results.storage.opening import open_storage
from results.writing import agreement

if TYPE_CHECKING:
    from orchestrator.executors.executor import Executor
    from orchestrator.planning.backlog import Backlog
    from orchestrator.planning.plan import Plan
    from orchestrator.session.listeners import Listener, SessionListener
    from orchestrator.session.session import Summary


PATIENCE = 300.0
"""Seconds without any worker after which a run on this machine stops."""

CLUSTER_PATIENCE = 1800.0
"""The same on a cluster, which may have to start machines first."""

SLOWEST = 2e9
"""Multiply-accumulates that any worker does in a second; deadlines are made from it."""


def launch(
    campaign: Campaign,
    options: RunOptions,
    console: Console,
    listeners: Sequence[str | Listener] = (),
) -> Summary:
    """Run a campaign, or what is left of it, into a run directory.

    Args:
        campaign: The campaign.
        options: How to run it.
        console: Where progress is shown.
        listeners: Those of the user's own, as objects or by name.

    Raises:
        UserError: The campaign, its model, its data or a listener is wrong, or no cluster answers.
        ResultsError: The run directory is another campaign's, in use, or cannot be written.
        StoppedError: It could be written no longer; the same command goes on once it can.
    """
    _check(options)
    if not campaign.criteria:
        _check_metric(options)
    check_names(listeners)
    look(campaign)
    with closing(make_progress(console)) as progress:
        progress.stage(LOADING)
        here = options.executor != "ray"
        device.configure(threads=device.cores() if here else 1, gpu=options.executor == "inline")
        from injecttf2.models.keras_settings import defaults_undone

        with (
            defaults_undone(),  # the model brings its own
            guarded(listeners, campaign.folder) as guards,
        ):
            return _launch(campaign, options, progress, guards)


def _launch(
    campaign: Campaign,
    options: RunOptions,
    progress: Progress,
    others: Sequence[SessionListener],
) -> Summary:
    # TensorFlow must be configured before these modules load it.
    from orchestrator.planning.backlog import take_stock
    from orchestrator.planning.plan import make_plan
    from orchestrator.session.event_recorder import EventRecorder
    from orchestrator.session.session import Session, Summary

    console = progress.console
    plan = make_plan(campaign, progress.stage)
    _check_metric(options, [f"{CRITERION}{one.name}" for one in plan.assessment.criteria])
    for line in plan.skipped_lines():
        console.print(line, style="yellow")
    for line in plan.reading_lines():
        console.print(line)
    _check_record(plan, options)
    began = False
    try:
        with ExitStack() as stack:
            writer = stack.enter_context(RunWriter.open(options.output, _header(plan, options)))
            writer.heartbeat({"workers": 0})
            for warning in writer.warnings:
                console.print(warning, style="yellow")
            stack.callback(_tell_new, writer, len(writer.warnings), console)
            backlog = take_stock(plan, writer, options.output, retry_failed=options.retry_failed)
            writer.set_outside(backlog.outside, backlog.failed_outside)
            if backlog.outside:
                console.print(_stay(backlog.outside), style="yellow")
            planned = backlog.planned(plan.grid)
            reached = backlog.reached(ended=not backlog.trials)
            writer.set_planned(planned, reached)
            if not backlog.trials:
                return Summary(
                    planned.total(),
                    backlog.done,
                    backlog.given_up,
                    unmet=backlog.unmet,
                    reached=reached,
                    cells_reached=backlog.cells_reached,
                    outputs=plan.outputs,
                )
            executor = stack.enter_context(_chosen(plan, backlog, options, progress))
            listeners = [progress, EventRecorder(writer), *_metrics(options), *others]
            for listener in listeners:
                listener.campaign, listener.output = plan.campaign.resolved(), options.output
            session = Session(
                plan,
                backlog,
                writer=writer,
                executor=executor,
                listeners=listeners,
                settings=_settings(plan, options, executor.workers),
            )
            began = True
            return session.run()
    except RunMismatchError:
        raise  # the first worker's golden run: nothing was run
    except ResultsError as error:
        if began:
            raise StoppedError(str(error)) from error
        raise


def _tell_new(writer: RunWriter, told: int, console: Console) -> None:
    """Tell what the writer has found since ``told`` of its warnings were told."""
    for warning in writer.warnings[told:]:
        console.print(warning, style="yellow")


def _stay(outside: Mapping[str, int]) -> str:
    layers = ", ".join(f"{layer} ({count:,})" for layer, count in outside.items())
    return f"trials of an earlier grid that stay in the results: {layers}"


def _settings(plan: Plan, options: RunOptions, workers: int) -> Settings:
    """Return how trials are given to workers; a large model on much data gets longer deadlines."""
    patience = options.patience
    if patience is None:
        patience = CLUSTER_PATIENCE if options.address else PATIENCE
    forward = len(plan.dataset) * plan.graph.work / SLOWEST
    return Settings(
        workers,
        patience=patience,
        first_deadline=Settings.first_deadline + forward,
        start_deadline=Settings.start_deadline + forward,
    )


def _check(options: RunOptions) -> None:
    """Refuse options that cannot be followed, before anything is loaded.

    Raises:
        CampaignError: An option has no meaning for the executor.
        ResultsError: The run directory is on object storage.
    """
    if not options.output:
        raise CampaignError("received an empty text, expected a folder or a URI", place="--output")
    open_storage(options.output)
    if options.address and options.metrics_port is not None:
        raise CampaignError(
            "a cluster that is joined serves its metrics where its owner has said",
            place=options.named("--metrics-port"),
            hint="leave it out; `ray start --metrics-export-port` sets the port of a cluster",
        )
    if options.executor == "inline" and (given := options.ray_options()):
        raise CampaignError(
            "the inline executor runs in this process alone and takes no such option",
            place=", ".join(given),
            hint="leave it out, or use --executor ray",
        )
    if options.address and options.executor != "inline":
        knock(options.address, options.named("--address"))


def _check_metric(options: RunOptions, criteria: Sequence[str] = ()) -> None:
    """Refuse to rank by what trials will not tell, before anything is run.

    Args:
        options: How to run the campaign.
        criteria: Columns of the campaign's criteria.

    Raises:
        CampaignError: It is none of the metrics, as the finished run would say.
    """
    try:
        check_columns([options.metric], [*METRICS, *criteria], "metric")
    except ValueError as error:
        raise CampaignError(str(error)) from error


def _check_record(plan: Plan, options: RunOptions) -> None:
    """Refuse to record the sites of the rest of a run only, or to judge it by another output.

    What a damaged ``campaign.json`` said is not known; the writer mends it, or refuses it.

    Raises:
        CampaignError: The run directory holds trials whose sites were not recorded, or that were
            judged by another output: their ids do not tell.
    """
    campaign, graph = plan.campaign, plan.graph
    shown = shown_address(options.output)
    try:
        run = open_run(options.output)
    except (RunNotFoundError, RunCorruptError):
        return
    judged = (run.campaign.get("judge") or {}).get("output")
    this = graph.output_slots[graph.output_index]
    if judged not in (None, this.key, this.name) and run.status().done:
        raise CampaignError(
            f"the output {this.called!r} is to be judged; the trials of {shown} were "
            f"judged by {judged!r}",
            place=campaign.place("judge"),
            hint="choose another --output",
        )
    done = run.status().done if run.campaign.get("record") != campaign.record else 0
    if campaign.record == "injections" and done:
        raise CampaignError(
            f"record: injections asked for; {done:,} trials of {shown} were done without",
            place=campaign.place("record"),
            hint="choose another --output, or leave `record` as it was",
        )


def _header(plan: Plan, options: RunOptions) -> RunHeader:
    mixed = agreement.DEVICES if options.cpu_workers else agreement.NONE
    injected = {layer for group in plan.grid.groups for layer in group.scope.layers}
    code = reduce(or_, plan.code.values(), Code())
    files = [Path(one.path) for one in code.modules.values()]
    files.extend(plan.campaign.files)
    return RunHeader(
        campaign=plan.campaign.resolved(),
        identity=plan.identity.to_dict(),
        provenance={
            **provenance(plan.campaign.folder, files, code.installed),
            **({"campaign": given} if (given := plan.campaign.given) else {}),
            "keras": asdict(plan.model.settings),
            agreement.MIXED: agreement.ANY if options.any_numerics else mixed,
        },
        plan={
            "trials": len(plan.grid),
            "layers": plan.grid.by_layer(),
            "exhaustive": plan.exhaustive(),
            "data": plan.dataset.told,
            **({"sites": sites} if (sites := plan.sites()) else {}),
        },
        columns=plan.assessment.columns,
        layers={
            info.layer: {"type": info.type, "shape": info.shape, "dtype": info.dtype}
            for info in plan.layers
            if info.layer in injected
        },
        code={name: code.files for name, code in plan.code.items() if code},
    )


def _metrics(options: RunOptions) -> list[SessionListener]:
    """Return what counts for Prometheus; whether a cluster serves it is its owner's choice."""
    if options.executor == "inline" or (options.address is None and options.metrics_port is None):
        return []
    from orchestrator.session.ray_metrics import RayMetrics

    return [RayMetrics()]


def _chosen(plan: Plan, backlog: Backlog, options: RunOptions, progress: Progress) -> Executor:
    """Return the executor that was asked for, or the one by which it is sooner done.

    Where only the work speaks for Ray, a machine on which it cannot start does it in this process.
    """
    from orchestrator.session.executor_choice import asked_of_ray, by_work

    if options.executor != "auto":
        return _executor(plan, options, progress)
    name, reason = "ray", asked_of_ray(options, os.environ, device.gpus())
    is_asked = reason is not None
    if reason is None:
        name, reason = by_work(plan, backlog, options, device.cores())
    progress.console.print(f"executor: {name}, {reason}")
    try:
        return _executor(plan, replace(options, executor=name), progress)
    except StoppedError as error:
        if is_asked:
            raise
        progress.console.print(f"executor: inline, {error}", style="yellow")
        return _executor(plan, replace(options, executor="inline"), progress)


def _executor(plan: Plan, options: RunOptions, progress: Progress) -> Executor:
    from orchestrator.executors.worker import WorkerSettings

    record = plan.campaign.record == "injections"
    levels = plan.campaign.levels if options.levels is None else options.levels
    settings = WorkerSettings(
        identity=plan.identity,
        record=record,
        levels=levels,
        assessment=plan.sent_assessment,
        output=plan.campaign.judge.output,
    )
    if options.executor == "inline":
        from orchestrator.executors.inline import InlineExecutor

        progress.stage("golden run")
        settings = replace(settings, threads=device.cores())
        return InlineExecutor(settings, plan.model, plan.dataset)
    progress.stage("joining Ray" if options.address else "starting Ray")
    from orchestrator.executors.ray import RayExecutor

    executor = RayExecutor(settings, plan.model, plan.dataset, options)
    progress.stage("starting workers: TensorFlow, the model and a golden run in each")
    return executor
