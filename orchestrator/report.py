"""The report that a run leaves behind."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from results import open_run, paths, write_report


def report_file(run: str) -> Path:
    """Return where the report of a run is written: in its directory, or here if that is a URI."""
    return Path(paths.REPORT) if "://" in run else Path(run) / paths.REPORT


def try_report(run: str, console: Console) -> Path | None:
    """Write the report of a run; whatever is wrong, the run itself is done.

    Args:
        run: The run directory.
        console: Where a warning is printed.

    Returns:
        The file; None if it could not be written.
    """
    try:
        return write_report(open_run(run), report_file(run))
    except Exception as error:  # noqa: BLE001 - the results are published, whatever is wrong here
        console.print(f"the report was not written: {error}", style="yellow")
        console.print("`injecttf2 report` tries again from the results", style="yellow")
        return None
