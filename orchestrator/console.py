"""Where the commands print, and how."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from results.errors import ResultsError

if TYPE_CHECKING:
    from orchestrator.session import Summary


def messages() -> Console:
    """Return the console for progress and errors: the standard error.

    What is printed may hold brackets, which are not markup.
    """
    return Console(stderr=True, soft_wrap=True, markup=False, emoji=False, highlight=False)


def screen() -> Console:
    """Return the console for what a command answers: the standard output."""
    return Console(markup=False, emoji=False, highlight=False)


IDS = ("trial_id", "cell_id")
"""Keys whose numbers have 64 bits; most readers of JSON know 53."""


def print_json(value: object) -> None:
    """Print a value as one line of JSON on the standard output, ids as texts."""
    sys.stdout.write(json.dumps(_with_text_ids(value), default=str) + "\n")


def _with_text_ids(value: object, *, of_id: bool = False) -> object:
    if isinstance(value, Mapping):
        return {key: _with_text_ids(item, of_id=key in IDS) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_text_ids(item, of_id=of_id) for item in value]
    return str(value) if of_id and isinstance(value, int) else value


def tell_summary(folder: str, summary: Summary, *, as_json: bool, report: str | None) -> None:
    """Print what a run did; results that cannot be read are left out with a warning.

    Args:
        folder: The run directory.
        summary: How the run ended.
        as_json: Whether to print one line of JSON.
        report: Where its report is, if one was written.
    """
    from orchestrator.tables import outcome_table, summary_lines
    from results.storage import shown_path

    if as_json:
        from injecttf2.judges.output_kind import told

        print_json(
            {
                "run": shown_path(folder),
                "trials": summary.trials,
                "done": summary.done,
                "failed": summary.failed,
                "injections": summary.injections,
                "reevaluated": summary.reevaluated,
                "seconds": round(summary.seconds, 3),
                "stopped": summary.stopped,
                "report": report,
                **({"unmet": summary.unmet} if summary.unmet else {}),
                **told(summary.outputs),
                "busy": None if summary.busy is None else round(summary.busy, 4),
                **_golden(folder),
            }
        )
        return
    try:
        screen().print(outcome_table(folder))
    except ResultsError as error:
        messages().print(f"the outcomes cannot be shown: {error}", style="yellow")
    screen().print(summary_lines(folder, summary, report), crop=False)  # a long path stays whole


def _golden(folder: str) -> dict[str, Any]:
    """Return what was done to the data and what the golden run gave; nothing if it is not known."""
    from results import open_run
    from results.golden import golden_warning

    try:
        run = open_run(folder)
    except ResultsError:
        return {}
    golden = run.golden or {}
    return {
        "data": run.plan.get("data"),
        "golden_accuracy": golden.get("accuracy"),
        "warnings": [warning] if (warning := golden_warning(golden)) else [],
    }
