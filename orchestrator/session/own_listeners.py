"""Listeners of the user's own: found by name, and called where they can do no harm."""

from __future__ import annotations

import inspect
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

from injecttf2.config.spelling import nearest
from injecttf2.errors import CampaignError
from injecttf2.user_code.references import (
    call,
    first_line,
    import_function,
    installed,
    installed_names,
    is_function,
)
from orchestrator.session.counters import RunCounters
from orchestrator.session.listeners import Listener, SessionListener

logger = logging.getLogger(__name__)

TICK_SECONDS = 10.0
"""Between two ticks that a listener hears, at least."""

NOTICE_SECONDS = 5.0
"""Time that a listener takes for the end of a run after which it is said that it is waited for."""

PATIENCE_SECONDS = 300.0
"""Time after which it is left behind."""

PLACE = "--listener"


def check_names(listeners: Sequence[str | Listener]) -> None:
    """Refuse a name that stands for nothing, before anything is loaded.

    Raises:
        CampaignError: No installed package names such a listener.
    """
    for one in listeners:
        if isinstance(one, str):
            _reference(one)


@contextmanager
def guarded(listeners: Sequence[str | Listener], folder: Path) -> Iterator[list[Guard]]:
    """Give a session listeners of the user's own; they hear of its end when the block ends.

    Args:
        listeners: Names of entry points, ``package.module:Class``, or objects.
        folder: Where a module is looked up before the Python path.

    Raises:
        CampaignError: There is no such class, or no object can be made of it.
    """
    guards = [
        Guard(one, _made(one, folder)) if isinstance(one, str) else Guard(type(one).__name__, one)
        for one in listeners
    ]
    if not guards:
        yield []
        return
    with redirect_stdout(sys.stderr):  # standard output belongs to the command
        try:
            yield guards
        except Exception:
            _close(guards)
            raise
        _close(guards)  # not where a second signal ends all at once


def _close(guards: Sequence[Guard]) -> None:
    for guard in guards:
        guard.close()


class Guard(SessionListener):
    """Calls a listener in a thread of its own; one that has raised is not called any more.

    So the session never waits for it before its end, and a slow one hears fewer ticks. In the
    session's own thread it would hold chunks that are done back until their deadlines are over:
    workers would be ended, and trials given up on.

    Args:
        name: What the user calls it.
        listener: The listener.
    """

    def __init__(self, name: str, listener: Listener) -> None:
        self._name = name
        self._listener = listener
        self._calls: Queue[tuple[str, tuple[Any, ...], RunCounters] | None] = Queue()
        self._thread = Thread(target=self._work, name=f"listener {name}", daemon=True)
        self._next_tick = 0.0
        self._stopped: str | None = None

    def start(self, todo: Mapping[str, int]) -> None:
        """Begin to call it."""
        self._listener.campaign, self._listener.output = self.campaign, self.output
        self._thread.start()
        self._put("start", dict(todo))
        self._next_tick = time.monotonic() + TICK_SECONDS

    def tick(self) -> None:
        """Let it hear that time goes by, unless it is still at work."""
        if time.monotonic() >= self._next_tick and not self._calls.unfinished_tasks:
            self._next_tick = time.monotonic() + TICK_SECONDS
            self._put("tick")

    def finish(self, stopped: str | None) -> None:
        """Note how the session has ended; it hears so when the run directory is closed."""
        self._stopped = stopped

    def close(self) -> None:
        """Let it hear the end, and wait until it is done with it."""
        if not self._thread.is_alive():
            return
        self._put("finish", self._stopped)
        self._calls.put(None)
        self._thread.join(NOTICE_SECONDS)
        if self._thread.is_alive():
            told = "the run has ended; waiting up to %d s for the listener %r"
            logger.warning(told, PATIENCE_SECONDS, self._name)
            self._thread.join(PATIENCE_SECONDS)
        if self._thread.is_alive():
            logger.warning("the listener %r has not ended; it is left behind", self._name)

    def _put(self, method: str, *arguments: Any) -> None:
        counters = replace(self.counters, planned=Counter(self.counters.planned))
        self._calls.put((method, arguments, counters))

    def _work(self) -> None:
        while (called := self._calls.get()) is not None:
            method, arguments, self._listener.counters = called
            try:
                getattr(self._listener, method)(*arguments)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the run goes on
                what = f"{method} raised {type(error).__name__}: {first_line(error)}"
                logger.warning(
                    "the listener %r is not called any more, the run goes on: %s%s",
                    *(self._name, what, _place(error)),
                )
                return
            self._calls.task_done()


def _place(error: BaseException) -> str:
    """Return where in the listener an error came up, as an end of a message."""
    called = error.__traceback__ and error.__traceback__.tb_next
    if called is None:
        return ""
    return f" ({called.tb_frame.f_code.co_filename}:{called.tb_lineno})"


def _reference(name: str) -> str:
    """Return the ``package.module:Class`` that a name stands for.

    Raises:
        CampaignError: It stands for none.
    """
    reference = name if is_function(name) else installed("listeners", name)
    if reference is None:
        names = installed_names("listeners")
        raise CampaignError(
            f"there is no listener {name!r}{nearest(name, names)}",
            place=PLACE,
            hint=f"expected {', '.join([*names, 'package.module:Class'])}; installed packages "
            "name listeners as entry points, in the group injecttf2.listeners",
        )
    return reference


def _made(name: str, folder: Path) -> Listener:
    """Return an object of the class that a name stands for.

    Raises:
        CampaignError: There is no such class, or no object can be made of it.
    """
    kind = import_function(_reference(name), folder, CampaignError, what="class")
    if not (inspect.isclass(kind) and issubclass(kind, Listener)):
        raise CampaignError(f"{name!r} is no subclass of injecttf2.Listener", place=PLACE)
    made: Listener = call(kind, name, CampaignError, what="the listener")
    return made
