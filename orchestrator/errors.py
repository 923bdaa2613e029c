"""What the orchestrator raises beside ``injecttf2.errors``."""

from __future__ import annotations

from injecttf2.errors import InjectTF2Error


class StoppedError(InjectTF2Error):
    """A run had to stop on its way: what was published is intact, the same command goes on."""
