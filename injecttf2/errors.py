"""The exceptions of the engine and of the orchestrator, one tree.

    InjectTF2Error
    ├── UserError            the user can mend it: one message, no traceback, exit code 2
    │   ├── CampaignError    the campaign file, or an option on the command line
    │   ├── ModelError       the model cannot be loaded, walked or cut
    │   ├── DatasetError     the data cannot be loaded or does not fit the model
    │   └── FaultError       there is no such fault model, or one of the user's own is wrong
    ├── EngineError          the engine found itself wrong, for example a cut that does not
    │                        reproduce the golden outputs
    └── StoppedError         of orchestrator.errors: a run had to stop on its way

The package ``results`` has a root of its own (``results.errors.ResultsError``), because reading
results must not depend on the engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class InjectTF2Error(Exception):
    """Root of everything this project raises on purpose."""


class UserError(InjectTF2Error):
    """Something the user can mend.

    Args:
        message: What is wrong, what was received and what was expected.
        place: Where: ``file:line:column``, a file, or an option.
        hint: What to do next.
    """

    def __init__(self, message: str, *, place: str | None = None, hint: str | None = None) -> None:
        self.message = message
        self.place = place
        self.hint = hint
        super().__init__(message, place, hint)

    def __reduce__(self) -> tuple[Any, ...]:
        # The keyword-only arguments would be lost on the way from a worker to the driver.
        return type(self)._rebuild, (type(self), self.message, self.place, self.hint)

    @staticmethod
    def _rebuild(
        kind: type[UserError], message: str, place: str | None, hint: str | None
    ) -> UserError:
        return kind(message, place=place, hint=hint)

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text}\n  {self.hint}" if self.hint else text


@contextmanager
def placed(place: str | None) -> Iterator[None]:
    """Tell the user's errors of a block with a place in front; without one as they are."""
    try:
        yield
    except UserError as error:
        if place is None:
            raise
        raise CampaignError(str(error), place=place) from error


GRAPH_ERROR = "Graph execution error:"

TRACEBACK = "\nTraceback (most recent call last):"

ARGUMENTS = "\nArguments received by "
"""What follows in Keras' messages is the arguments of a call, over many lines."""

BOLD = re.compile(r"\x1b\[\d+m")

TRACED = ("Detected at node ", "<stack traces", " ")
"""What lines begin with that tell where an operation was traced."""


def told(error: BaseException) -> str:
    """Return the class and the message of an error, without where it came about.

    TensorFlow puts that into its message: before it where each operation was traced, and behind it
    the traceback of a function of the user's own that raised. Keras prints it in bold.
    """
    message = str(error).strip()
    if message.startswith(GRAPH_ERROR):
        lines = message.removeprefix(GRAPH_ERROR).splitlines()
        first = (at for at, line in enumerate(lines) if line and not line.startswith(TRACED))
        message = "\n".join(lines[next(first, 0) :])
    for behind in (TRACEBACK, ARGUMENTS):
        message = message.partition(behind)[0].rstrip()
    return f"{type(error).__name__}: {BOLD.sub('', message)}"


def todo(error: BaseException, otherwise: str | None = None) -> str | None:
    """Return what to do about an error that a model raised; ``otherwise`` where it does not tell.

    Keras itself refuses such names, in ``predict`` and not before.
    """
    if "is not a valid scope name" not in str(error):
        return otherwise
    return (
        "give the layer another name, of letters of English, digits, `_`, `.`, `/`, `>` and `-`, "
        "and save the model again"
    )


class CampaignError(UserError):
    """The campaign file or a command-line option is wrong."""


class ModelError(UserError):
    """The model cannot be loaded, walked or cut."""


class DatasetError(UserError):
    """The data cannot be loaded or does not fit the model."""


class FaultError(UserError):
    """There is no such fault model, or one of the user's own does not do as it must."""


class EngineError(InjectTF2Error):
    """The engine's own checks failed; a result would not be trustworthy."""
