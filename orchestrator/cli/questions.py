"""Commands that ask a run: which layers and bits, which trials, and how another run differs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from injecttf2.config.paths import run_on_disk
from injecttf2.errors import UserError
from orchestrator.cli.console import print_json, records, screen

app = typer.Typer(rich_markup_mode=None)

RunFolder = Annotated[
    str, typer.Argument(metavar="RUN", help="Run directory.", callback=run_on_disk)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on the standard output.")]


def _metric(name: str) -> str:
    """Return a metric that a run may have; of criteria only the run knows."""
    from results.analysis.criticality import ACCURACY_LOST
    from results.analysis.summary import RATED

    if name not in (*RATED, ACCURACY_LOST) and not name.startswith("sdc_"):
        known = ", ".join([*RATED, ACCURACY_LOST])
        raise typer.BadParameter(f"received {name!r}; expected {known} or a criterion, sdc_NAME")
    return name


Sort = Annotated[
    str,
    typer.Option(
        metavar="METRIC",
        callback=_metric,
        help="What is ranked by: sdc+due, sdc, due, critical, accuracy_lost or a criterion.",
    ),
]


@app.command()
def summary(
    run: RunFolder,
    by: Annotated[
        str, typer.Option(metavar="COLUMNS", help="Columns to group by, with commas between.")
    ] = "layer",
    sort: Sort = "sdc+due",
    limit: Annotated[int | None, typer.Option(min=1, help="Rows to show [default: all].")] = None,
    as_json: Json = False,
) -> None:
    """Rank groups of a run's trials, the most critical first: rates with intervals."""
    from orchestrator.cli.outcomes import ranked_table
    from results import open_run

    opened, names = open_run(run), [name.strip() for name in by.split(",")]
    with _asked():
        if as_json:
            print_json(records(opened.criticality(names, metric=sort)))
            return
        table = ranked_table(opened, names, metric=sort, shown_rows=limit)
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
    from orchestrator.cli.answers import chosen_trials, trials_table
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
        str, typer.Option(metavar="METRIC", help="sdc, due, sdc+due, critical or a criterion.")
    ] = "sdc",
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 20,
    as_json: Json = False,
) -> None:
    """Say how the rates of the same cells differ between two runs, the most certain first."""
    from orchestrator.cli.answers import comparison_table
    from results import compare as differences
    from results import open_run

    a = open_run(run)
    with _asked():
        if other.lower().endswith(".csv"):
            published = differences(a, other)
            if as_json:
                print_json(records(published.faults))
            else:
                screen().print(str(published))
            return
        found = differences(a, open_run(other), metric=metric)
    if as_json:
        print_json(records(found))
        return
    screen().print(comparison_table(found, metric, limit))


@contextmanager
def _asked() -> Iterator[None]:
    """Tell what was asked for and is not there as what it is: a user's error."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error
