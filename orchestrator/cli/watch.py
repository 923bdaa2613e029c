"""Watching a run from its directory until it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

from rich.console import Console
from rich.live import Live

from orchestrator.cli.tables import status_table
from results import RunStatus
from results.reading.status import StatusReader
from results.shown import shown_address
from results.storage.local import LocalStorage
from results.storage.opening import open_storage

LOCAL_SECONDS = 2.0
"""Between two looks at a folder."""

REMOTE_SECONDS = 30.0
"""Between two looks at object storage, where every file that is read is a request."""


def watch(run: str, screen: Console | None) -> Iterator[RunStatus]:
    """Yield how far a run is, again and again until its writer ends or is silent.

    Args:
        run: The run directory.
        screen: Where to show it too: in place on a terminal, elsewhere the last look only.

    Raises:
        ResultsError: The run directory cannot be read.
    """
    storage = open_storage(run)
    seconds = LOCAL_SECONDS if isinstance(storage, LocalStorage) else REMOTE_SECONDS
    reader = StatusReader(storage)
    with ExitStack() as stack:
        live = stack.enter_context(Live(console=screen, auto_refresh=False)) if screen else None
        while True:
            state = reader.read()
            if live is not None:
                live.update(status_table(shown_address(run), state), refresh=True)
            yield state
            if state.heartbeat is None or not state.heartbeat.alive:
                return
            time.sleep(seconds)
