"""What the orchestrator raises beside ``injecttf2.errors``."""

from __future__ import annotations

from injecttf2.errors import InjectTF2Error


class StoppedError(InjectTF2Error):
    """A run had to stop on its way: what was published is intact, the same command goes on."""


class OutputError(InjectTF2Error):
    """What a command was asked to print could not be written.

    Args:
        message: Why.
        unwanted: Whether the reader has closed the pipe: it has all that it wanted.
    """

    def __init__(self, message: str, *, unwanted: bool) -> None:
        self.unwanted = unwanted
        super().__init__(message)
