"""Measuring routes: how long they take, and how far they round from level ``dense``."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from injecttf2 import bits
from injecttf2.block import GoldenBlock
from injecttf2.changes import flipping
from injecttf2.graph import Graph
from injecttf2.outcomes import MASKED_TOLERANCE
from injecttf2.packed import Packed, Words
from injecttf2.path import NOT_FINITE, Path
from injecttf2.routes import Route
from injecttf2.shortcut import Shortcut
from injecttf2.suffix import OutputsSuffix

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
        graph: The model.
        dense: Level ``dense`` of the cut.
        path: The steps behind the cut.
        block: The golden block that is loaded.
        outputs: Its golden outputs.
    """

    def __init__(
        self, graph: Graph, dense: OutputsSuffix, path: Path, block: GoldenBlock, outputs: Any
    ) -> None:
        self._graph = graph
        self._dense = dense
        self._path = path
        self._block = block
        self._outputs = outputs
        self.dense_seconds = self._seconds_for_a_site(
            lambda sites: dense.examine(block, outputs, sites), dense.batch
        )
        count = int(np.clip(ENOUGH_SECONDS / self.dense_seconds, SITES // 2, 8 * SITES))
        self._sites = self._random_sites(count)
        self._judged = dense.examine(block, outputs, self._sites)

    def shortcut(self, route: Route) -> Shortcut:
        """Return a route, to be compiled when it is first used; its bound is not measured yet."""
        return Shortcut(self._path, route, self._block.keys, bound=0.0)

    def seconds(self, shortcut: Shortcut) -> float:
        """Return the seconds of a route for a site, infinite where XLA cannot compile it."""
        route = shortcut.route
        count = max(SITES, route.tail_batch, route.head_batch if route.check else 0)
        try:
            return self._seconds_for_a_site(
                lambda sites: shortcut.evaluate(self._block, self._outputs, sites), count
            )
        except tf.errors.OpError as error:
            logger.info("%s: %s left out: %s", self._dense.layer, route, error.message[:200])
            return math.inf

    def share_left(self, shortcut: Shortcut) -> float | None:
        """Measure how far rounding may change a distance, and set the bound.

        Returns:
            The share of samples that rounding could decide then; None where the bound is too
            large, or something that was decided is not as level ``dense`` has it.
        """
        code, faulty_class, distance = self._judged
        found, found_class, found_distance, sensitivity, floor = shortcut.examine(
            self._block, self._outputs, self._sites
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

    def _seconds_for_a_site(self, call: Callable[[Packed], Any], count: int) -> float:
        """Return how long a call takes for each of ``count`` sites, compilation left out."""
        sites = self._random_sites(count)
        call(sites.take(slice(0, 1)))
        times: list[float] = []
        while len(times) < 3 and sum(times) < ENOUGH_SECONDS:
            begin = time.perf_counter()
            call(sites)
            times.append(time.perf_counter() - begin)
        return min(times) / count

    def _random_sites(self, count: int) -> Packed:
        return random_sites(self._graph, self._dense.cut.frontier[0], count, self._block.loaded)


def random_sites(graph: Graph, key: int, count: int, samples: int = 1) -> Packed:
    """Return sites at random elements and bits of a tensor, the same every time.

    Args:
        graph: The model.
        key: The tensor.
        count: Number of sites.
        samples: Rows that they are spread over.
    """
    generator = np.random.Generator(np.random.Philox(0))
    dtype = graph.dtypes[key]
    rows = generator.integers(samples, size=count).astype(np.int32)
    elements = generator.integers(math.prod(graph.shape(key)), size=count).astype(np.int32)
    bit = generator.integers(bits.layout(dtype).width, size=count)
    words = Words(np.arange(count, dtype=np.int32), elements, flipping(bits.masks(bit, dtype)))
    return Packed(rows, (words,))
