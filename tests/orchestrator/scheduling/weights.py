"""Trials as positions and ranges, and what they weigh in tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from orchestrator.scheduling.events import Range


def trials_of(ranges: Iterable[Range]) -> list[int]:
    return [trial for span in ranges for trial in range(*span)]


def ranges_of(trials: Iterable[int]) -> list[Range]:
    ranges: list[Range] = []
    for trial in sorted(trials):
        if ranges and ranges[-1][1] == trial:
            ranges[-1] = ranges[-1][0], trial + 1
        else:
            ranges.append((trial, trial + 1))
    return ranges


def weight(trial: int) -> float:
    """Weights whose sums are exact."""
    return (1.0, 1.0, 0.25, 4.0)[trial % 4]


def weigh(start: int, stop: int) -> Iterator[tuple[int, float]]:
    for each, trials in groupby(range(start, stop), weight):
        yield len(list(trials)), each
