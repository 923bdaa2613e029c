"""The exit codes of the commands, and what is said with them."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING

from injecttf2.errors import InjectTF2Error
from orchestrator.cli.console import messages
from orchestrator.errors import OutputError, StoppedError
from results.errors import ResultsError

if TYPE_CHECKING:
    from orchestrator.session.session import Summary

EXIT_GIVEN_UP = 1
EXIT_WRONG_INPUT = 2
EXIT_INTERRUPTED = 3
EXIT_UNEXPECTED = os.EX_SOFTWARE
EXIT_NOT_PRINTED = os.EX_IOERR


class Interrupted(BaseException):
    """A signal to stop; typer would turn a KeyboardInterrupt into an exit code of its own."""


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
            f"given up on {summary.failed:,} trials: `injecttf2 status {shown}` lists them, "
            "`injecttf2 run --retry-failed` tries them again",
            style="red",
        )
        return EXIT_GIVEN_UP
    return 0


def end_by(error: Exception) -> int:
    """Print why a command ended and return its exit code; only what nobody expected is traced."""
    if isinstance(error, OutputError):
        if error.unwanted:
            return 0
        messages().print(f"error: {error}", style="red")
        return EXIT_NOT_PRINTED
    if isinstance(error, StoppedError):
        messages().print(f"stopped: {error}", style="red")
        messages().print(GOES_ON)
        return EXIT_INTERRUPTED
    if isinstance(error, InjectTF2Error | ResultsError):
        notes = getattr(error, "__notes__", [])
        messages().print("\n".join([f"error: {error}", *notes]), style="red")
        return EXIT_WRONG_INPUT
    messages().print("".join(traceback.format_exception(error)), end="")
    messages().print(
        "error: this was not expected; please report it with the lines above. What was published "
        "is intact",
        style="red",
    )
    return EXIT_UNEXPECTED
