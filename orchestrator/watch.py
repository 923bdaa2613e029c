"""Watching a run from its directory until it ends."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live

from orchestrator.tables import status_table
from results import open_run

WATCH_SECONDS = 2.0
"""Between two looks."""


def watch(run: str, screen: Console) -> None:
    """Show how far a run is until its writer ends or is silent.

    Args:
        run: The run directory.
        screen: Where to show it: in place on a terminal, elsewhere the last look only.

    Raises:
        ResultsError: The run directory cannot be read.
    """
    opened = open_run(run)
    with Live(console=screen, auto_refresh=False) as live:
        while True:
            state = opened.status()
            live.update(status_table(run, state), refresh=True)
            if state.heartbeat is None or not state.heartbeat.alive:
                return
            time.sleep(WATCH_SECONDS)
