"""How far a run is, counted in one place: the session counts, listeners show and record it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass
class RunCounters:
    """What has been done, and what is to do.

    Args:
        planned: Trials of each layer that are planned by now, settled ones among them.
        todo: Trials that this run is or was to do.
        done_before: Trials whose rows were published before this run.
        given_up_before: Trials that were given up on before it and are not tried again.

    Attributes:
        trials: Trials done in this run.
        injections: Samples that were injected in it.
        sdc: Those of them whose outcome is sdc.
        due: Those of them whose outcome is due.
        reevaluated: Those of them that a faster level left to level ``dense``.
        given_up: Trials that it gave up on.
        workers: Workers that are ready.
        lost: Workers that are gone, or could not start.
    """

    planned: Counter[str]
    todo: int
    done_before: int
    given_up_before: int
    trials: int = 0
    injections: int = 0
    sdc: int = 0
    due: int = 0
    reevaluated: int = 0
    given_up: int = 0
    workers: int = 0
    lost: int = 0
