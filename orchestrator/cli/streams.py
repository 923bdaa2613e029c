"""The standard streams of a command, also where nobody reads them any more.

A pipe may be closed, a terminal gone, a disk full. What a command says of its work is then lost,
and the work goes on; what it was asked to print and could not is an error of its own. Both are
decided here, where text is written, so that no print anywhere can end a run.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from orchestrator.errors import OutputError


class _Stream:
    """A stream of text; what is not of writing is that of the stream inside."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text and return its length."""
        try:
            self._stream.write(text)
        except (OSError, ValueError) as error:  # a ValueError where the stream was closed
            self._refused(error)
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._refused(error)

    def _refused(self, error: Exception) -> None:
        """Hear that nothing can be written."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Answers(_Stream):
    """The standard output: what cannot be written is an error."""

    def _refused(self, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(
            f"the output could not be written: {reason}",
            unwanted=getattr(error, "errno", None) == errno.EPIPE,
        ) from error


def best_effort(stream: TextIO) -> TextIO:
    """Return a stream in which what cannot be written is lost without an error."""
    return cast("TextIO", _Stream(stream))


@contextmanager
def standard_streams() -> Iterator[None]:
    """Have prints to the standard error never fail, others with ``OutputError`` and nothing else.

    Characters that the terminal's encoding lacks are written out. What is left in the streams at
    the end is tried once more, here and not by the interpreter, whose exit code it would change.
    """
    _open_missing()
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = cast("TextIO", _Answers(before[0])), best_effort(before[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in before:
            _empty(stream)


def _open_missing() -> None:
    """Open what was closed as something that cannot be written to.

    The next file that is opened would have its number else, and get what libraries print.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # it takes the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - it lasts
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def _empty(stream: TextIO) -> None:
    """Write what a stream holds, or let it go."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
            stream.flush()
