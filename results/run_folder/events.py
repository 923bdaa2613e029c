"""The event log: what the writers of a run directory did, a JSON-lines file for each of them.

It is for the one who asks what happened to a run; nothing depends on it. Lines wait in memory until
they are appended together, and a refusal of the file system ends no run: they go on waiting, the
oldest making room for new ones.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from results import paths
from results.errors import ResultsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from results.storage.storage import Storage

FLUSH_LINES = 1_000
"""Events that wait before they are appended unasked."""

MAX_WAITING = 10_000
"""Events that wait at most, about 2 MB; older ones are dropped, and the log says how many."""


class EventLog:
    """Appends to the event log of one writer.

    Args:
        storage: The run directory.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._name = paths.events(datetime.now(UTC), secrets.token_hex(4))
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._torn = False

    def log(self, event: str, /, **fields: Any) -> None:
        """Note that something happened now.

        Args:
            event: What, in a word or two.
            **fields: Particulars, under other names than ``at`` and ``event``; what JSON cannot
                hold is written as text.

        Raises:
            ValueError: A field has one of those names.
        """
        taken = sorted({"at", "event"} & {*fields})
        if taken:
            raise ValueError(
                f"The event {event!r} has a field {taken[0]!r}: every event has its own."
            )
        self._waiting.append(_line(event, fields))
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        elif len(self._waiting) % FLUSH_LINES == 0:
            self.flush()

    def flush(self) -> None:
        """Append what waits; if the file system refuses, it goes on waiting."""
        if not self._waiting:
            return
        lost = [_line("events_dropped", {"number": self._dropped})] if self._dropped else []
        # An append that failed may have left a piece of a line, which must not begin the next one.
        text = ("\n" if self._torn else "") + "".join([*lost, *self._waiting])
        try:
            self._storage.append(self._name, text.encode())
        except ResultsError:
            self._torn = True
            return
        self._torn = False
        self._waiting.clear()
        self._dropped = 0


def read_events(storage: Storage) -> list[dict[str, Any]]:
    """Return the events of all writers, oldest writer first; see ``Run.events``.

    Raises:
        ResultsError: The file system refuses to read a log.
    """
    logs = filter(paths.is_events, storage.files(paths.EVENTS))
    return [event for log in logs for event in _events(storage.read(f"{paths.EVENTS}/{log}"))]


def events_frame(events: list[dict[str, Any]]) -> pd.DataFrame:
    """Return ``events`` as a frame; see ``Run.events``."""
    import pandas as pd

    names = list(dict.fromkeys(["at", "event", *(name for event in events for name in event)]))
    rows = [[event.get(name) for name in names] for event in events]
    frame = pd.DataFrame(rows, columns=names, dtype=object)
    frame["at"] = pd.to_datetime(frame["at"], utc=True, format="ISO8601").astype(
        "datetime64[us, UTC]"
    )
    return frame.astype({"event": "str"})


def _line(event: str, fields: dict[str, Any]) -> str:
    said = {"at": datetime.now(UTC).isoformat(), "event": event, **fields}
    return json.dumps(said, ensure_ascii=False, default=str) + "\n"


def _events(text: bytes) -> Iterator[dict[str, Any]]:
    """Yield the events of a log without its torn lines: a writer was killed while it wrote them."""
    for line in text.split(b"\n"):
        try:
            event = json.loads(line)
            datetime.fromisoformat(event["at"])
            event["event"]
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        yield event
