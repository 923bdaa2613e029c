"""Commands on a run directory: how far it is, what it found, and what can be done with it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from injecttf2.config.paths import run_on_disk
from injecttf2.errors import UserError
from orchestrator.cli.console import after_work, messages, print_json, records, screen
from orchestrator.cli.exit_codes import Interrupted
from orchestrator.cli.options import (
    DatasetOption,
    Json,
    ModelOption,
    RunFolder,
    Sort,
    check_new_file,
)

app = typer.Typer(rich_markup_mode=None)


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

        with suppress(Interrupted):
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
def summary(
    run: RunFolder,
    by: Annotated[
        str, typer.Option(metavar="COLUMNS", help="Columns to group by, with commas between.")
    ] = "layer",
    sort: Sort = "sdc+due",
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Rows to show of each kind of fault and rate [default: all]."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Rank groups of a run's trials, the most critical first: rates with intervals."""
    from orchestrator.cli.outcomes import ranked_table
    from orchestrator.cli.run_tables import GROUPED
    from results import open_run
    from results.frames import check_columns
    from results.reading.snapshot import Snapshot

    opened, names = Snapshot(open_run(run)), [name.strip() for name in by.split(",")]
    with _asked():
        check_columns(names, GROUPED, "by")
        if as_json:
            print_json(records(opened.criticality(names, metric=sort)))
            return
        table = ranked_table(opened, names, metric=sort, each=limit)
    screen().print(table)


@app.command()
def trials(
    run: RunFolder,
    layer: Annotated[str | None, typer.Option(help="Only of this layer.")] = None,
    bit: Annotated[int | None, typer.Option(min=0, help="Only of this bit.")] = None,
    outcome: Annotated[
        str | None, typer.Option(help="Only with such samples: masked, benign, sdc or due.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    as_json: Json = False,
) -> None:
    """List trials, those with most samples of an outcome first; their ids are for `replay`."""
    from orchestrator.cli.run_tables import chosen_trials, trials_table
    from results import open_run

    with _asked():
        chosen = chosen_trials(open_run(run), layer=layer, bit=bit, outcome=outcome)
    if as_json:
        print_json(records(chosen.head(limit)))
        return
    screen().print(trials_table(chosen, limit))


@app.command()
def compare(
    run: RunFolder,
    other: Annotated[
        str,
        typer.Argument(
            metavar="OTHER",
            help="Another run, or a CSV file with published outcomes.",
            callback=run_on_disk,
        ),
    ],
    metric: Annotated[
        str, typer.Option(metavar="METRIC", help="sdc+due, sdc, due, critical or a criterion.")
    ] = "sdc+due",
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    as_json: Json = False,
) -> None:
    """Say how the rates of the same cells differ between two runs, the most certain first."""
    from orchestrator.cli.run_tables import comparison_table
    from results import compare as differences
    from results import open_run
    from results.reading.snapshot import Snapshot
    from results.report.against import against

    a = open_run(run)
    with _asked():
        if other.lower().endswith(".csv"):
            published = differences(a, other)
            if as_json:
                print_json(records(published.faults))
            else:
                screen().print(str(published))
            return
        b = open_run(other)
        rows = differences(a, b, metric=metric)
        if not (rows["runs"] == "both").any():
            against(Snapshot(a), Snapshot(b))  # says what they are apart in
        if as_json:
            print_json(records(rows))
            return
        table = comparison_table(a, b, metric, limit)
    screen().print(table)


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
        typer.Option(
            metavar="RUN",
            callback=run_on_disk,
            help="A run of the same cells to compare it with.",
        ),
    ] = None,
) -> None:
    """Write the report of a run: one HTML file, to be opened in a browser."""
    from orchestrator.session.automatic_report import report_file
    from results import ResultsWarning, open_run, write_report

    if output is not None:
        check_new_file(output)
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
def replay(
    run: RunFolder,
    trial_id: Annotated[str, typer.Argument(metavar="TRIAL_ID", help="As in the results.")],
    model: ModelOption = None,
    dataset: DatasetOption = None,
    as_json: Json = False,
) -> None:
    """Run one trial again and compare it with its row; exit code 1 if they differ."""
    from injecttf2 import device
    from orchestrator.session.progress import LOADING, stages
    from orchestrator.session.recorded import foreign_code, recorded_trial

    recorded = recorded_trial(run, trial_id, model=model, dataset=dataset)
    if (line := foreign_code(recorded)) is not None:
        messages().print(line)
    with stages(messages()) as stage:
        stage(LOADING)
        device.configure()
        from orchestrator.session.replay import run_again

        differences = run_again(recorded, stage)
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

    check_new_file(output)
    count = export(run, output)
    with after_work():
        screen().print(f"{count:,} sites: {output}", soft_wrap=True)


@contextmanager
def _asked() -> Iterator[None]:
    """Tell what was asked for and is not there as what it is: a user's error."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error
