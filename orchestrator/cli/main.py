"""The command line. Every command imports what it needs, so that help and status are immediate."""

from __future__ import annotations

import io
import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from injecttf2.config.paths import run_on_disk
from injecttf2.config.spelling import nearest
from injecttf2.errors import UserError
from orchestrator.cli import run_commands
from orchestrator.cli.console import (
    after_work,
    messages,
    print_json,
    screen,
    shown_warnings,
    tell_summary,
    told_logs,
)
from orchestrator.cli.exit_codes import (
    EXIT_INTERRUPTED,
    EXIT_WRONG_INPUT,
    GOES_ON,
    Interrupted,
    end_by,
    end_of,
)
from orchestrator.cli.options import (
    CampaignFile,
    DatasetOption,
    Json,
    ModelOption,
    Overrides,
    Sort,
)
from orchestrator.cli.streams import standard_streams
from orchestrator.signals import stop_signals

UsageError: Any = typer.BadParameter.__base__  # typer shows what comes of it, and not its name


class _Commands(TyperGroup):
    """The commands, whose help is not cut to a line."""

    def format_commands(self, context: Any, formatter: Any) -> None:
        """Write each command with the whole first sentence of its help."""
        names = self.list_commands(context)
        found = [(name, self.get_command(context, name)) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, one.get_short_help_str(limit=1000)) for name, one in found if one]
            )


app = typer.Typer(
    name="injecttf2",
    cls=_Commands,
    help="Fault-injection campaigns on TensorFlow / Keras models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(run_commands.app)


def _version(asked: bool) -> None:
    if asked:
        from injecttf2 import __version__

        screen().print(f"injecttf2 {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    pass


class ExecutorName(StrEnum):
    """Where workers run."""

    auto = "auto"
    ray = "ray"
    inline = "inline"


def _of_ray(context: typer.Context, option: typer.CallbackParam, value: Any) -> Any:
    """Return the value of an option of Ray's; one of the environment only where there is Ray.

    The environment speaks for all runs, a command for one.
    """
    inline = context.params.get("executor") == ExecutorName.inline
    if inline and _is_of_environment(context, option.name):
        return option.get_default(context)
    return value


def _is_of_environment(context: typer.Context, name: str | None) -> bool:
    """Return whether a variable has given an option."""
    source = None if name is None else context.get_parameter_source(name)
    return source is not None and source.name == "ENVIRONMENT"


def main() -> None:
    """Run the command line and exit with its code; errors meant for the user have no traceback."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    before = {number: signal.signal(number, _interrupted) for number in stop_signals()}
    try:
        with standard_streams(), shown_warnings(), told_logs():
            code = _code()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    sys.exit(code)


def _code() -> int:
    """Run the command line and return its exit code."""
    try:
        return app(standalone_mode=False) or 0
    except Interrupted:
        messages().print(f"interrupted; {GOES_ON}")
        return EXIT_INTERRUPTED
    except UsageError as error:
        if (wrong := _wrong_value(error)) is not None:
            return end_by(wrong)
        usage = io.StringIO()
        error.show(usage)
        messages().print(usage.getvalue(), end="")
        return EXIT_WRONG_INPUT
    except Exception as error:  # noqa: BLE001 - its exit code would be that of trials given up on
        return end_by(error)


def _wrong_value(error: Any) -> UserError | None:
    """Return the error of a value that an option cannot have; None of another misuse."""
    if (errors := getattr(error.__cause__, "errors", None)) is None:  # pydantic's
        return None
    found = errors()[0]
    words = _EXPECTED.get(found["type"], found["msg"].rpartition(" is not ")[2].rstrip("."))
    option, given = error.param, _is_of_environment(error.ctx, error.param.name)
    return UserError(
        f"received {found['input']!r}, expected {words.format(**found.get('ctx', {}))}",
        place=option.envvar if given else option.opts[0],
    )


_EXPECTED = {
    "int_parsing": "a whole number",
    "float_parsing": "a number",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
}
"""What was expected, by pydantic's type of error; of a choice the message says it."""


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    """End where no session is under way, which handles both signals itself."""
    raise Interrupted


@app.command()
def run(
    context: typer.Context,
    campaign: CampaignFile,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            metavar="DIR",
            callback=run_on_disk,
            help="Run directory, or s3://, gs:// or abfs:// [default: runs/NAME].",
        ),
    ] = None,
    override: Overrides = None,
    model: ModelOption = None,
    dataset: DatasetOption = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            envvar="INJECTTF2_WORKERS",
            callback=_of_ray,
            help="Workers [default: as many as fit].",
        ),
    ] = None,
    cpus_per_worker: Annotated[
        int,
        typer.Option(
            min=1, envvar="INJECTTF2_CPUS_PER_WORKER", callback=_of_ray, help="CPUs of a worker."
        ),
    ] = 1,
    gpus_per_worker: Annotated[
        float | None,
        typer.Option(
            min=0,
            envvar="INJECTTF2_GPUS_PER_WORKER",
            callback=_of_ray,
            help="GPUs of a worker, may be a fraction [default: 1 if any].",
        ),
    ] = None,
    cpu_workers: Annotated[
        int,
        typer.Option(
            min=0,
            envvar="INJECTTF2_CPU_WORKERS",
            callback=_of_ray,
            help="Workers without a GPU, beside those with one.",
        ),
    ] = 0,
    any_numerics: Annotated[
        bool,
        typer.Option("--any-numerics", help="Take workers that round otherwise than the others."),
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            envvar="RAY_ADDRESS",
            callback=_of_ray,
            help="Ray cluster to join, or local: start Ray here [default: local].",
        ),
    ] = None,
    executor: Annotated[
        ExecutorName,
        typer.Option(
            envvar="INJECTTF2_EXECUTOR",
            is_eager=True,
            help="Ray actors, or inline: in this process; auto: what is sooner done.",
        ),
    ] = ExecutorName.auto,
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="LEVELS",
            envvar="INJECTTF2_LEVELS",
            help="How injected samples are evaluated faster, without any change of outcomes: "
            "drop,difference or one of them, or dense for none [default: all].",
        ),
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try trials again that were given up on."),
    ] = False,
    patience: Annotated[
        float | None,
        typer.Option(
            min=1,
            metavar="SECONDS",
            envvar="INJECTTF2_PATIENCE",
            callback=_of_ray,
            help="Stop when there has been no worker for this long "
            "[default: 300, on a cluster 1800].",
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            envvar="INJECTTF2_METRICS_PORT",
            callback=_of_ray,
            help="Serve metrics for Prometheus here, to whoever reaches the port.",
        ),
    ] = None,
    listener: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="What follows the run, such as a tracker: an installed package's name for it, or "
            "package.module:Class; may be repeated.",
        ),
    ] = None,
    report: Annotated[
        bool,
        typer.Option("--report/--no-report", help="Write report.html into the run directory."),
    ] = True,
    sort: Sort = "sdc+due",
    as_json: Json = False,
) -> None:
    """Run a campaign; the same command again goes on where it stopped."""
    from injecttf2.levels import parse_levels
    from orchestrator.campaign.campaign import load_campaign
    from orchestrator.executors.run_options import RunOptions
    from orchestrator.session.launch import launch
    from results.shown import shown_address

    _warn_of_variables(context)
    loaded = load_campaign(campaign, model=model, dataset=dataset, overrides=override or ())
    folder = output if output is not None else f"runs/{loaded.name}"
    options = RunOptions(
        folder,
        executor=executor.value,
        workers=workers,
        cpus=cpus_per_worker,
        gpus=gpus_per_worker,
        cpu_workers=cpu_workers,
        any_numerics=any_numerics,
        address=None if address == "local" else address,
        levels=None if levels is None else parse_levels(levels, place="--levels"),
        retry_failed=retry_failed,
        patience=patience,
        metrics_port=metrics_port,
        metric=sort,
        variables=_variables(context),
    )
    summary = launch(loaded, options, messages(), listener or ())
    page = _report_of(folder) if report and not summary.stopped else None
    with after_work():
        tell_summary(folder, summary, as_json=as_json, report=page, sort=sort)
    raise typer.Exit(end_of(summary, shown_address(folder)))


def _variables(context: typer.Context) -> dict[str, str]:
    """Return the variables that have given options, by the options."""
    given = [one for one in context.command.params if _is_of_environment(context, one.name)]
    return {one.opts[0]: str(one.envvar) for one in given}


def _warn_of_variables(context: typer.Context) -> None:
    """Warn of variables that look like those of options and mean nothing."""
    known = [str(one.envvar) for one in context.command.params if getattr(one, "envvar", None)]
    for name in sorted(os.environ):
        if name.startswith("INJECTTF2_") and name not in (*known, "INJECTTF2_DATA"):
            told = f"the variable {name} means nothing{nearest(name, known, at_most=1)}"
            messages().print(told, style="yellow")


def _report_of(run: str) -> str | None:
    """Write the report of a run and return where it is; None, with a warning, if it cannot be."""
    from orchestrator.session.automatic_report import leave_report

    try:
        return leave_report(run, messages())
    except Interrupted:
        messages().print("interrupted: the report was not written", style="yellow")
        return None


@app.command()
def plan(
    campaign: CampaignFile,
    override: Overrides = None,
    model: ModelOption = None,
    dataset: DatasetOption = None,
    as_json: Json = False,
) -> None:
    """Say what a campaign would do and take; nothing is run."""
    from injecttf2 import device
    from orchestrator.campaign.campaign import load_campaign
    from orchestrator.planning.first_look import look
    from orchestrator.session.progress import LOADING, stages

    loaded = load_campaign(campaign, model=model, dataset=dataset, overrides=override or ())
    look(loaded)
    with stages(messages()) as stage:
        stage(LOADING)
        device.configure(gpu=False)
        from injecttf2.judging.output_kind import as_columns
        from orchestrator.cli.tables import cells_entry, plan_table
        from orchestrator.planning.estimate import estimate
        from orchestrator.planning.expectation import expectations, warnings_of
        from orchestrator.planning.plan import make_plan

        planned = make_plan(loaded, stage)
        stage("timing the model")
        expected = estimate(planned)
        cells = expectations(planned)
    if as_json:
        print_json(
            {
                "trials": planned.trials,
                "cells": sum(group.cells for group in planned.grid.groups),
                "injections": round(planned.injections),
                "seconds": round(expected.seconds, 1),
                "seconds_at_least": round(expected.at_least, 1),
                "bytes": expected.bytes,
                **as_columns(planned.outputs),
                "data": planned.dataset.told,
                **cells_entry(cells),
                **({} if (span := planned.trial_range()) is None else span._asdict()),
            }
        )
        return
    screen().print(plan_table(planned, expected, cells))
    for line in warnings_of(cells):
        messages().print(line, style="yellow")


@app.command()
def layers(
    model: Annotated[str, typer.Argument(help="Model file, SavedModel folder, builtin:NAME, ...")],
    signature: Annotated[
        str | None,
        typer.Option(help="Signature of a SavedModel, if not the one that is served."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List what can be injected in a model, with shapes and dtypes."""
    from injecttf2 import device
    from orchestrator.campaign.campaign import locate
    from orchestrator.planning.first_look import look_at_model
    from orchestrator.session.progress import LOADING, stages

    reference = locate(model)
    look_at_model(reference, Path.cwd())
    with stages(messages()) as stage:
        stage(LOADING)
        device.configure(gpu=False)
        from injecttf2.graph.model_graph import ModelGraph
        from injecttf2.graph.weights import all_counted
        from injecttf2.models.loading import resolve
        from orchestrator.cli.tables import layer_entry, layers_table

        stage("loading the model")
        found = resolve(reference, Path.cwd(), signature=signature)[1]
        stage("tracing the model")
        graph = ModelGraph.of(found)
        weights = all_counted(graph)
    if as_json:
        print_json([layer_entry(info, weights[info.layer]) for info in graph.layers])
        return

    screen().print(layers_table(model, graph.layers, weights))


@app.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="What to write.")] = Path(
        "campaign.yaml"
    ),
    model: Annotated[
        str | None, typer.Option("--model", help="Model that it is for.", metavar="M")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Data set that it is for.", metavar="D")
    ] = None,
) -> None:
    """Write a commented campaign to start from, for a model and data if they are given."""
    from orchestrator.cli.new_campaign import write_campaign
    from orchestrator.session.progress import stages

    with stages(messages()) as stage:
        write_campaign(file, model, dataset, stage)
    with after_work():
        screen().print(f"wrote {file}; run it with: injecttf2 run {file}", soft_wrap=True)


@app.command()
def schema() -> None:
    """Print the JSON Schema of campaign files, by which editors complete and check them."""
    from orchestrator.campaign.json_schema import campaign_schema

    print_json(campaign_schema())
