"""The exit codes of the commands, and what is said with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.console import messages
from orchestrator.errors import StoppedError

if TYPE_CHECKING:
    from orchestrator.session import Summary

EXIT_GIVEN_UP = 1
EXIT_WRONG_INPUT = 2
EXIT_INTERRUPTED = 3

GOES_ON = "the same command again goes on from here"


def end_of(summary: Summary, shown: str) -> int:
    """Say what a run has left and return its exit code.

    Args:
        summary: How the run ended.
        shown: The run directory, as it may be shown.
    """
    if summary.stopped:
        messages().print(f"stopped: {summary.stopped}", style="yellow")
        messages().print(GOES_ON)
        return EXIT_INTERRUPTED
    if summary.failed:
        messages().print(
            f"{summary.failed:,} trials were given up on: `injecttf2 status {shown}` lists them, "
            "`injecttf2 run --retry-failed` tries them again",
            style="red",
        )
        return EXIT_GIVEN_UP
    return 0


def end_by(error: Exception) -> int:
    """Print an error that is meant for the user and return the exit code."""
    if isinstance(error, StoppedError):
        messages().print(f"stopped: {error}", style="red")
        messages().print(GOES_ON)
        return EXIT_INTERRUPTED
    notes = getattr(error, "__notes__", [])
    messages().print("\n".join([f"error: {error}", *notes]), style="red")
    return EXIT_WRONG_INPUT
