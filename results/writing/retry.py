"""A service that refuses for a while: how long that is borne, and when it is asked again."""

from __future__ import annotations

import time

from results.errors import ResultsError

RETRY_SECONDS = 5.0
"""After a refusal a service is left alone for this long; a refusal itself takes seconds."""


class Retry:
    """Counts the time since a service began to refuse.

    Args:
        patience: Seconds for which refusals are borne; 0 for none.

    Attributes:
        reason: What was refused last, empty while nothing is.
    """

    def __init__(self, patience: float) -> None:
        self.reason = ""
        self._patience = patience
        self._began = 0.0
        self._next = float("-inf")

    @property
    def is_resting(self) -> bool:
        """Whether it is too early to ask again."""
        return time.monotonic() < self._next

    def bear(self, reason: str) -> bool:
        """Note a refusal, and return whether to ask again later."""
        now = time.monotonic()
        if not self.reason:
            self._began = now
        self.reason = reason
        borne = now - self._began < self._patience
        self._next = now + RETRY_SECONDS if borne else float("-inf")
        return borne

    def rest(self) -> None:
        """Wait until it is time to ask again."""
        time.sleep(max(0.0, self._next - time.monotonic()))

    def end(self) -> None:
        """Note that the service does what it is asked."""
        self.reason = ""
        self._next = float("-inf")

    def bear_no_more(self) -> None:
        """Ask at once, and take the next refusal for the last."""
        self._patience = 0.0
        self._next = float("-inf")


def last_refusal(error: ResultsError, *, before: str, unpublished: int) -> ResultsError:
    """Return the error that a run ends with.

    Args:
        error: What was refused last.
        before: What had been refused before, if anything was.
        unpublished: How many finished trials are lost.
    """
    parts, hint = [error.message], error.hint or "Run the same command to resume."
    if before and before != error.message:
        parts.append(f"before that, {before}")
    if unpublished:
        parts.append(f"{unpublished:,} finished trials are not published")
        hint += " Trials that were not published are executed again."
    return ResultsError("; ".join(parts), place=error.place, hint=hint)
