"""Times of calls, and trials to time."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def median_seconds(call: Callable[[], object], rounds: int) -> float:
    """Median time of a call, one before it left out, which may compile."""
    call()
    return statistics.median(seconds(call) for _ in range(rounds))


def trials(layer: str, count: int, *, start: int = 0, bit: int | None = None) -> list[Any]:
    """Trials with a hit in every sample, at a bit or at random ones."""
    from injecttf2.faults import BitFlip
    from injecttf2.rates import Probability
    from injecttf2.trials import Cell, Identity, Repetitions

    fault = BitFlip(bit_field="any") if bit is None else BitFlip(bit=bit)
    identity = Identity("model", "data", seed=2026)
    return list(
        Repetitions(Cell(layer, fault, Probability(1.0)), start, start + count).trials(identity)
    )
