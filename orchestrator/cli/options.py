"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from injecttf2.config.paths import run_on_disk
from injecttf2.errors import UserError

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


def check_new_file(file: Path) -> None:
    """See that a file may be written: it is no folder, and lies in one that there is.

    Raises:
        UserError: It may not.
    """
    if file.is_dir():
        raise UserError(
            "this is a folder; expected the name of a file", place=str(file), hint="add a name"
        )
    if not file.parent.is_dir():
        raise UserError(
            f"there is no folder {str(file.parent)!r}",
            place=str(file),
            hint="make it first, or give another file",
        )


def _metric(name: str) -> str:
    """Return a metric that a run may have; of criteria only the run knows."""
    from results.analysis.criticality import METRICS
    from results.run_folder.schema import CRITERION

    if name not in METRICS and not name.startswith(CRITERION):
        known = ", ".join(METRICS)
        told = f"received {name!r}; expected {known} or a criterion, {CRITERION}NAME"
        raise typer.BadParameter(told)
    return name


Sort = Annotated[
    str,
    typer.Option(
        metavar="METRIC",
        callback=_metric,
        help="What is ranked by: sdc+due, sdc, due, critical, accuracy_lost or a criterion.",
    ),
]
