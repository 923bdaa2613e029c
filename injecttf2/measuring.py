"""Measuring routes: how long they take, and how far they round from level ``dense``."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from injecttf2.block import GoldenBlock
from injecttf2.outcomes import MASKED_TOLERANCE
from injecttf2.packed import FaultySamples
from injecttf2.path import NOT_FINITE, Path
from injecttf2.routes import Route
from injecttf2.shortcut import Shortcut
from injecttf2.suffix import DenseSuffix

logger = logging.getLogger("injecttf2")

SITES = 2**10
"""Sites that a route is timed with, or one batch if that is more."""

ENOUGH_SECONDS = 0.2
"""Time of a measurement, about: what the machine's noise is small against."""

SMALLEST_BOUND = 2.0**-23
"""Least bound of the effect of rounding, however small the measured one is."""

LARGEST_BOUND = 2.0**-17
"""A route that rounds worse is not taken: too much would be evaluated twice."""

SAFETY = 4
"""The bound over the largest effect of rounding that was measured."""

NEAR = 8
"""Rounding matters near the tolerance only, and is measured up to this factor from it."""

ENOUGH_NEAR = 16
"""Samples near the tolerance that it takes to measure a bound."""

UNMEASURED_BOUND = 2.0**-17
"""Least bound where fewer are near; as few lie within it."""


class Measuring:
    """Level ``dense`` of a cut on a golden block, and routes measured against it.

    Args:
        dense: Level ``dense`` of the cut.
        path: The steps behind the cut.
        block: The golden block that is loaded.
        outputs: Its golden outputs.
    """

    def __init__(self, dense: DenseSuffix, path: Path, block: GoldenBlock, outputs: Any) -> None:
        self._dense = dense
        self._path = path
        self._block = block
        self._outputs = outputs
        self.dense_seconds = self._seconds_for_a_site(
            lambda hits: dense.examine(block, outputs, hits), dense.batch
        )
        count = int(np.clip(ENOUGH_SECONDS / self.dense_seconds, SITES // 2, 8 * SITES))
        self._faults = self._random_faults(count)
        self._judged = self._of_all(lambda hits: dense.examine(block, outputs, hits))

    def shortcut(self, route: Route) -> Shortcut:
        """Return a route, to be compiled when it is first used; its bound is not measured yet."""
        return Shortcut(self._path, route, self._block.keys, bound=0.0)

    def seconds(self, shortcut: Shortcut) -> float:
        """Return the seconds of a route for a site, infinite where XLA cannot compile it."""
        route = shortcut.route
        count = max(SITES, route.tail_batch, route.head_batch if route.check else 0)
        try:
            return self._seconds_for_a_site(
                lambda hits: shortcut.evaluate(self._block, self._outputs, hits), count
            )
        except tf.errors.OpError as error:
            logger.info("%s: %s left out: %s", self._dense.key, route, error.message[:200])
            return math.inf

    def share_left(self, shortcut: Shortcut) -> float | None:
        """Measure how far rounding may change a distance, and set the bound.

        Returns:
            The share of samples that rounding could decide then; None where the bound is too
            large, or something that was decided is not as level ``dense`` has it.
        """
        code, faulty_class, distance = self._judged
        found, found_class, found_distance, sensitivity, floor = self._of_all(
            lambda hits: shortcut.examine(self._block, self._outputs, hits)
        )
        decided = found < NOT_FINITE
        judged = decided & (found_class >= 0)
        near = judged & (distance > MASKED_TOLERANCE / NEAR) & (distance < MASKED_TOLERANCE * NEAR)
        effect = np.abs(found_distance[near] - distance[near]) - floor[near]
        above = effect > 0
        with np.errstate(divide="ignore"):  # what a softmax does not pass on has no bound, inf
            largest = float((effect[above] / sensitivity[near][above]).max(initial=0.0))
        least = SMALLEST_BOUND if np.count_nonzero(near) >= ENOUGH_NEAR else UNMEASURED_BOUND
        shortcut.bound = max(least, SAFETY * largest)
        wrong = decided & ~near & (found != code) | judged & (found_class != faulty_class)
        if shortcut.bound > LARGEST_BOUND or wrong.any():
            return None
        reach = shortcut.bound * sensitivity[judged] + floor[judged]
        close = np.abs(found_distance[judged] - MASKED_TOLERANCE) <= reach
        return float(np.count_nonzero(~decided) + np.count_nonzero(close)) / len(found)

    def _of_all(self, examine: Callable[[FaultySamples], tuple[Any, ...]]) -> tuple[Any, ...]:
        """Return the columns of what is found of each fault, one behind the other."""
        found = zip(*map(examine, self._faults), strict=True)
        return tuple(np.concatenate(column) for column in found)

    def _seconds_for_a_site(self, call: Callable[[Any], Any], count: int) -> float:
        """Return how long a call takes for each of ``count`` sites, compilation left out."""
        faults = self._random_faults(count)
        call(faults[0].take(np.zeros(1, np.int64)))
        times: list[float] = []
        while len(times) < 3 and sum(times) < ENOUGH_SECONDS:
            begin = time.perf_counter()
            for one in faults:
                call(one)
            times.append(time.perf_counter() - begin)
        return min(times) / sum(map(len, faults))

    def _random_faults(self, count: int) -> Sequence[FaultySamples]:
        return self._dense.random_faults(count, self._block.loaded)
