"""The report that a run leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from results import open_run, paths
from results.report.report import publish_report

if TYPE_CHECKING:
    from rich.console import Console


def report_file(run: str) -> Path:
    """Return where `injecttf2 report` writes: into the run directory; here, if that is a URI."""
    return Path(paths.REPORT) if "://" in run else Path(run) / paths.REPORT


def leave_report(run: str, console: Console) -> str | None:
    """Write the report of a run into its directory; whatever is wrong, the run itself is done.

    Args:
        run: The run directory.
        console: Where a warning is printed.

    Returns:
        Where it is; None if it could not be written.
    """
    try:
        return publish_report(open_run(run))
    except Exception as error:  # noqa: BLE001 - the results are published, whatever is wrong here
        console.print(f"the report was not written: {error}", style="yellow")
        console.print("`injecttf2 report` makes it from the results", style="yellow")
        return None
