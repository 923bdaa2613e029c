"""The exceptions and the warning of the package ``results``.

    ResultsError                 root: one message for the user, no traceback needed
    ├── RunNotFoundError         there is no run directory at that place
    ├── RunMismatchError         the run directory belongs to another campaign
    ├── RunLockedError           another process writes into the run directory
    ├── RunCorruptError          a file in the run directory is not what it must be
    ├── TrialNotFoundError       the run holds no such trial (also a KeyError)
    └── NothingToShowError       a figure would be empty: the message says why

    ResultsWarning (UserWarning) something was left out of what a reader returned

A wrong argument, such as an unknown column or a table with another schema, is a ``ValueError``.
"""

from __future__ import annotations

from collections.abc import Mapping

Differences = Mapping[str, tuple[object, object]]
"""The old and the new value of every field that differs."""


class ResultsError(Exception):
    """Root of everything this package raises on purpose.

    Args:
        message: What is wrong, what was received and what was expected.
        place: Where: a file or a run directory.
        hint: What to do next.
    """

    def __init__(self, message: str, *, place: str | None = None, hint: str | None = None) -> None:
        self.message = message
        self.place = place
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text}\n  {self.hint}" if self.hint else text


class RunNotFoundError(ResultsError):
    """There is no run directory at that place."""


class RunMismatchError(ResultsError):
    """The run directory holds, or may hold, something else than this campaign's results.

    Args:
        message: What is wrong.
        place: The run directory.
        hint: What to do next.
        differences: The recorded and the received value of every field that differs.
    """

    def __init__(
        self,
        message: str,
        *,
        place: str | None = None,
        hint: str | None = None,
        differences: Differences | None = None,
    ) -> None:
        self.differences: Differences = dict(differences or {})
        lines = [f"  {name}: {old} -> {new}" for name, (old, new) in self.differences.items()]
        super().__init__("\n".join([message, *lines]), place=place, hint=hint)


class RunLockedError(ResultsError):
    """Another process writes into the run directory.

    Args:
        message: What is wrong.
        place: The lock file.
        hint: What to do next.
        holder: ``host``, ``pid`` and ``since`` of the process, empty where they are not known.
    """

    def __init__(
        self,
        message: str,
        *,
        place: str | None = None,
        hint: str | None = None,
        holder: Mapping[str, object] | None = None,
    ) -> None:
        self.holder = dict(holder or {})
        super().__init__(message, place=place, hint=hint)


class RunCorruptError(ResultsError):
    """A file in the run directory is not what it must be."""


class TrialNotFoundError(ResultsError, KeyError):
    """The run holds no row for that trial."""


class NothingToShowError(ResultsError):
    """The run holds nothing that the figure shows; the message is a sentence that says why."""


class ResultsWarning(UserWarning):
    """Something could not be read and is missing from what was returned."""
