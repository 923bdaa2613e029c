"""The command line. Every command imports what it needs, so that help and status are immediate."""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from injecttf2.config.paths import run_on_disk
from orchestrator.cli import questions
from orchestrator.cli.console import (
    after_work,
    messages,
    print_json,
    screen,
    shown_warnings,
    tell_summary,
    told_logs,
)
from orchestrator.cli.exit_codes import EXIT_INTERRUPTED, EXIT_WRONG_INPUT, GOES_ON, end_by, end_of
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

app.add_typer(questions.app)

CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="Campaign file.")]
RunFolder = Annotated[
    str, typer.Argument(metavar="RUN", help="Run directory.", callback=run_on_disk)
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="Model in place of the file's.", metavar="M")
]
DatasetOption = Annotated[
    str | None, typer.Option("--dataset", help="Data set in place of the file's.", metavar="D")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--override",
        metavar="PATH=VALUE",
        help="A value in place of the file's, such as grid.bits=[30]; may be repeated.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on the standard output.")]


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
    assert option.name is not None  # noqa: S101 - every option has a name
    source = context.get_parameter_source(option.name)
    from_environment = source is not None and source.name == "ENVIRONMENT"
    if from_environment and context.params.get("executor") == ExecutorName.inline:
        return option.get_default(context)
    return value


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
    except _Interrupted:
        messages().print(f"interrupted; {GOES_ON}")
        return EXIT_INTERRUPTED
    except UsageError as error:
        usage = io.StringIO()
        error.show(usage)
        messages().print(usage.getvalue(), end="")
        return EXIT_WRONG_INPUT
    except Exception as error:  # noqa: BLE001 - its exit code would be that of trials given up on
        return end_by(error)


class _Interrupted(BaseException):
    """A signal to stop; typer would turn a KeyboardInterrupt into an exit code of its own."""


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    """End where no session is under way, which handles both signals itself."""
    raise _Interrupted


@app.command()
def run(
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
    report: Annotated[
        bool,
        typer.Option("--report/--no-report", help="Write report.html into the run directory."),
    ] = True,
    sort: questions.Sort = "sdc+due",
    as_json: Json = False,
) -> None:
    """Run a campaign; the same command again goes on where it stopped."""
    from injecttf2.levels import parse_levels
    from orchestrator.campaign.campaign import load_campaign
    from orchestrator.executors.run_options import RunOptions
    from orchestrator.session.launch import launch
    from results.shown import shown_address

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
    )
    summary = launch(loaded, options, messages())
    page = _report_of(folder) if report and not summary.stopped else None
    with after_work():
        tell_summary(folder, summary, as_json=as_json, report=page, sort=sort)
    raise typer.Exit(end_of(summary, shown_address(folder)))


def _report_of(run: str) -> str | None:
    """Write the report of a run and return where it is; None, with a warning, if it cannot be."""
    from orchestrator.session.automatic_report import leave_report

    try:
        return leave_report(run, messages())
    except _Interrupted:
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

    loaded = load_campaign(campaign, model=model, dataset=dataset, overrides=override or ())
    look(loaded)
    device.configure(gpu=False)
    from injecttf2.judging.output_kind import as_columns
    from orchestrator.cli.tables import cells_entry, plan_table
    from orchestrator.planning.estimate import estimate
    from orchestrator.planning.expectation import expectations, warnings_of
    from orchestrator.planning.plan import make_plan

    planned = make_plan(loaded)
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
def status(
    run: RunFolder,
    watch: Annotated[bool, typer.Option("--watch", help="Look again until the run ends.")] = False,
    as_json: Json = False,
) -> None:
    """Say how far a run is, from its directory alone."""
    from dataclasses import asdict

    from results import open_run
    from results.shown import shown_address

    shown = shown_address(run)
    if watch:
        from orchestrator.cli.watch import watch as look

        with suppress(_Interrupted):
            for state in look(run, None if as_json else screen()):
                if as_json:
                    print_json({"run": shown, **asdict(state)})
        return
    state = open_run(run).status()
    if as_json:
        print_json({"run": shown, **asdict(state)})
        return
    from orchestrator.cli.tables import status_table

    screen().print(status_table(shown, state))


@app.command()
def report(
    run: RunFolder,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE.html",
            help="What to write [default: report.html in the run directory, for a run on object "
            "storage in the current folder].",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="A run of the same cells to compare it with."),
    ] = None,
) -> None:
    """Write the report of a run: one HTML file, to be opened in a browser."""
    from orchestrator.session.automatic_report import report_file
    from results import ResultsWarning, open_run, write_report

    opened = open_run(run)
    other = None if against is None else open_run(against)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResultsWarning)
        file = output if output is not None else report_file(run)
        file = write_report(opened, file, against=other)
    with after_work():
        for warning in dict.fromkeys(str(one.message) for one in told):
            messages().print(warning, style="yellow")
        screen().print(f"report: {file}", soft_wrap=True)


@app.command()
def compact(run: RunFolder, as_json: Json = False) -> None:
    """Put the many small files of a run into few large ones; the results stay the same."""
    from dataclasses import asdict

    from orchestrator.cli.tables import compacted_line
    from results import compact as put_together
    from results.shown import shown_address

    compacted = put_together(run)
    with after_work():
        for warning in compacted.warnings:
            messages().print(warning, style="yellow")
        if as_json:
            print_json({"run": shown_address(run), **asdict(compacted)})
        else:
            screen().print(compacted_line(compacted))


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

    reference = locate(model)
    look_at_model(reference)
    device.configure(gpu=False)
    from injecttf2.graph.model_graph import ModelGraph
    from injecttf2.graph.weights import all_counted
    from injecttf2.models.loading import resolve
    from orchestrator.cli.tables import layer_entry, layers_table

    graph = ModelGraph.of(resolve(reference, Path.cwd(), signature=signature)[1])
    weights = all_counted(graph)
    if as_json:
        print_json([layer_entry(info, weights[info.layer]) for info in graph.layers])
        return

    screen().print(layers_table(model, graph.layers, weights))


@app.command()
def replay(
    run: RunFolder,
    trial_id: Annotated[str, typer.Argument(metavar="TRIAL_ID", help="As in the results.")],
    model: ModelOption = None,
    dataset: DatasetOption = None,
    as_json: Json = False,
) -> None:
    """Run one trial again and compare it with its row; exit code 1 if they differ."""
    from injecttf2 import device
    from orchestrator.session.recorded import foreign_code, recorded_trial

    recorded = recorded_trial(run, trial_id, model=model, dataset=dataset)
    if (line := foreign_code(recorded)) is not None:
        messages().print(line)
    device.configure()
    from orchestrator.session.replay import run_again

    differences = run_again(recorded)
    if as_json:
        said = {"trial_id": trial_id, "equal": not differences, "differences": differences}
        print_json({**said, "row": recorded.row})
    else:
        from orchestrator.cli.tables import trial_lines

        out = screen()
        out.print(trial_lines(recorded.row))
        for column, (recorded, now) in differences.items():
            out.print(f"{column}: recorded {recorded}, now {now}")
        verdict = "differs from its row" if differences else "is equal to its row"
        out.print(f"trial {trial_id} {verdict}")
    if differences:
        raise typer.Exit(1)


@app.command("export-sites")
def export_sites(
    run: RunFolder,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A .parquet or .csv file to write.")
    ] = Path("sites.parquet"),
) -> None:
    """Write the recorded sites of a run as a fault list, for `sites:` in a campaign."""
    from orchestrator.cli.export_sites import export_sites as export

    count = export(run, output)
    with after_work():
        screen().print(f"{count:,} sites: {output}", soft_wrap=True)


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

    write_campaign(file, model, dataset)
    with after_work():
        screen().print(f"wrote {file}; run it with: injecttf2 run {file}", soft_wrap=True)


@app.command()
def schema() -> None:
    """Print the JSON Schema of campaign files, by which editors complete and check them."""
    from orchestrator.campaign.json_schema import campaign_schema

    print_json(campaign_schema())
