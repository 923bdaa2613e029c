"""Choosing the route behind a cut: by the work of its steps, then by short measurements.

How many steps are taken on windows and where samples that are golden again leave follows from the
work of each step and from the share of samples that are golden again behind it, which is counted
once for each cut; batch shapes follow from the size of the windows. Whether XLA compiles is then
timed, against level ``dense`` too. On the same samples the effect of rounding is measured, which
bounds what must be evaluated densely.

Nothing that is chosen here changes an outcome, so it may depend on the machine and on chance.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from injecttf2 import bits
from injecttf2.batches import BATCH_BYTES, batch_size, padded
from injecttf2.block import GoldenBlock
from injecttf2.datasets import Dataset
from injecttf2.graph import Cut, Graph
from injecttf2.outcomes import MASKED_TOLERANCE
from injecttf2.path import NOT_FINITE, Path, golden_keys
from injecttf2.routes import Route, Routes, Way, Ways
from injecttf2.rules.linear import WIDE
from injecttf2.shortcut import Shortcut
from injecttf2.suffix import DenseSuffix, PackedSites, flipped
from injecttf2.windows import GoldenKey, equal_bits
from injecttf2.work import ELEMENT, REPACKING, WindowWork, dense_work, least, window_work

logger = logging.getLogger("injecttf2")

CHECKED_STEPS = 12
"""Steps behind a cut after which samples are looked at for being golden again."""

LARGEST_BATCH = 2**15
"""Most samples in a batch; more did not help even where a window is a single number."""

SITES = 2**10
"""Sites that a way is timed with, or one batch if that is more."""

ENOUGH_SECONDS = 0.2
"""Time of a measurement, about: what the machine's noise is small against."""

XLA_WORK = 5e6
"""Work of a sample up to which XLA is timed. It saves the start of operations and the way of their
results through memory, which heavy operations hide, and to compile many of those takes minutes."""

CLEARLY = 1.2
"""A ratio of times that is no chance."""

SMALLEST_BOUND = 2.0**-22
"""Least bound of the effect of rounding, however small the measured one is."""

LARGEST_BOUND = 2.0**-15
"""A way that rounds worse is not taken: too much would be evaluated twice."""

SAFETY = 4
"""The bound over the largest effect of rounding that was measured."""

NEAR = 8
"""Rounding matters near the tolerance only, and is measured up to this factor from it."""


class Tuner:
    """Finds the route behind one cut.

    Args:
        graph: The model.
        dataset: Inputs and labels.
        dense: Level ``dense`` of the same cut.
        levels: Levels that may be used.
        routes: Where choices are kept.
        memory: Bytes that golden tensors may take.
    """

    def __init__(
        self,
        graph: Graph,
        dataset: Dataset,
        dense: DenseSuffix,
        *,
        levels: Sequence[str],
        routes: Routes,
        memory: int,
    ) -> None:
        self._graph = graph
        self._dataset = dataset
        self._dense = dense
        self._routes = routes
        self._ways = routes.find(dense.layer) if suits_levels(graph, dense.cut) else ()
        self._design: Route | None = None
        if self._ways:
            self._design = self._ways[0].route
        elif self._ways is None and levels:
            self._design = self._designed(levels, memory // len(dataset))
        self._path = Path(graph, dense.layer, self._design.sparse if self._design else 0)

    def golden_keys(self) -> list[GoldenKey]:
        """Return the golden tensors behind the cut that are needed."""
        needed = [] if self._design is None else golden_keys(self._path, self._design)
        return [key for key in needed if key not in self._dense.cut.frontier]

    def shortcuts(self, block: GoldenBlock, outputs: Any) -> list[Shortcut]:
        """Return the fastest way, timed on the block that is loaded, and what to try after it."""
        if self._design is None:
            return []
        if self._ways is None:
            self._ways = self._measured(self._design, block, outputs)
            self._routes.keep(self._dense.layer, self._ways)
        return [Shortcut(self._path, way.route, block.keys, bound=way.bound) for way in self._ways]

    def _designed(self, levels: Sequence[str], row_bytes: int) -> Route:
        """Return the route with the least work of those that need little enough golden data."""
        graph, steps = self._graph, self._dense.cut.suffix
        dense = [dense_work(graph, step) for step in steps]
        windows = window_work(graph, self._dense.layer)
        sparse = check = 0
        if "difference" in levels:
            works = [
                sum(windows.steps[:count]) + windows.widening[count] + sum(dense[count:])
                if count == 0 or needed <= row_bytes
                else math.inf
                for count, needed in enumerate(windows.golden)
            ]
            sparse = least(works)
        if "drop" in levels and steps:
            again = self._golden_again(min(CHECKED_STEPS, len(steps)))
            check = least(self._work_with_check(dense, windows, sparse, again))
        design = Route(sparse, check, 0, 0, head_jit=False, tail_jit=False)
        return self._sized(design, windows)

    def _work_with_check(
        self, dense: Sequence[float], windows: WindowWork, sparse: int, again: Sequence[float]
    ) -> list[float]:
        """Return the work with a check after 0 (none), 1, ... steps."""
        widening = windows.widening[sparse]
        work = [*windows.steps[:sparse], *dense[sparse:]]
        totals = [sum(work) + widening]
        for count, share in enumerate(again, start=1):
            head, tail = sum(work[:count]), sum(work[count:])
            if count > sparse:
                head += widening
                live = sum(math.prod(self._graph.shape(key)) for key in self._live(count))
            else:
                tail += widening
                live = windows.live[count]
            totals.append(head + REPACKING + 4 * ELEMENT * live + (1 - share) * tail)
        return totals

    def _live(self, count: int) -> set[int]:
        """Return the tensors that differ after some steps and are used by later ones."""
        cut = self._dense.cut
        made = {cut.frontier[0], *(key for step in cut.suffix[:count] for key in step.outputs)}
        used = {id(self._graph.output), *(key for s in cut.suffix[count:] for key in s.inputs)}
        return made & used

    def _golden_again(self, steps: int) -> list[float]:
        """Return the share of samples that are golden again after 1, 2, ... steps."""
        graph, cut = self._graph, self._dense.cut
        size = min(self._dense.batch, batch_size(graph, cut.prefix))
        inputs = padded(self._dataset.inputs[:size], size)
        elements, bit = self._random_sites(size)[1:]

        def count(inputs: Any, elements: Any, bit: Any) -> list[Any]:
            golden = graph.run(cut.prefix, {id(graph.input): inputs})
            faulty = {key: golden[key] for key in cut.frontier}
            flat = tf.reshape(golden[cut.frontier[0]], (elements.shape[0], -1))
            hit = tf.range(flat.shape[1], dtype=tf.int32) == elements[:, tf.newaxis]
            corrupted = tf.where(hit, flipped(flat, bit[:, tf.newaxis]), flat)
            faulty[cut.frontier[0]] = tf.reshape(corrupted, golden[cut.frontier[0]].shape)
            shares = []
            for index in range(steps):
                for values in (golden, faulty):
                    cut.suffix[index].run(values)
                same = [equal_bits(faulty[key], golden[key]) for key in self._live(index + 1)]
                shares.append(tf.reduce_mean(tf.cast(tf.reduce_all(same, axis=0), tf.float64)))
            return shares

        shares = tf.function(count, autograph=False)(inputs, elements, bit)
        return [float(share) for share in shares]

    def _sized(self, route: Route, windows: WindowWork) -> Route:
        """Return a route with batches of which no tensor is larger than ``BATCH_BYTES``."""
        steps = self._dense.cut.suffix

        def batch(first: int, last: int) -> int:
            widest = max([1, *windows.live[first : min(last, route.sparse) + 1]]) * 8
            if last > route.sparse:
                whole = steps[max(first, route.sparse) : last]
                keys = {key for step in whole for key in (*step.inputs, *step.outputs)}
                widest = max([widest, *(self._graph.row_bytes(key) for key in keys)])
            fitting = max(1, BATCH_BYTES // widest)
            return int(min(LARGEST_BATCH, 2 ** (fitting.bit_length() - 1)))

        head, tail = batch(0, route.check), batch(route.check, len(steps))
        if head <= 4 * tail:
            head = tail  # batches of which nobody leaves go on as they are
        return replace(route, head_batch=head, tail_batch=tail)

    def _measured(self, design: Route, block: GoldenBlock, outputs: Any) -> Ways:
        """Time some ways and return the fastest.

        XLA rounds in a way of its own, and so leaves more samples open. Of those the same route
        without XLA leaves fewer.
        """
        best, best_time = None, self._dense_time(block, outputs)
        count = int(np.clip(ENOUGH_SECONDS / best_time, SITES // 2, 8 * SITES))
        compared = self._random_sites(count, block.loaded)
        judged = self._dense.judge(block, outputs, compared)
        lost = False
        for route in self._variants(design):
            if lost and route.tail_jit:
                continue
            shortcut = Shortcut(self._path, route, block.keys, bound=0.0)
            try:
                taken = self._time(shortcut, block, outputs)
            except tf.errors.OpError as error:  # XLA cannot compile everything
                logger.info("%s: %s left out: %s", self._dense.layer, route, error.message[:200])
                continue
            lost |= route.tail_jit and taken > CLEARLY * best_time
            if taken < best_time:
                bound = _bound(judged, shortcut, block, outputs, compared)
                if bound is not None:
                    best, best_time = Way(route, bound), taken
        if best is None:
            return ()
        if not best.route.tail_jit:
            return (best,)
        plain = replace(
            best.route, check=0, tail_batch=self._dense.batch, head_jit=False, tail_jit=False
        )
        shortcut = Shortcut(self._path, plain, block.keys, bound=0.0)
        bound = _bound(judged, shortcut, block, outputs, compared)
        return (best,) if bound is None else (best, Way(plain, bound))

    def _variants(self, design: Route) -> Iterator[Route]:
        """Yield the routes that are timed."""
        for head_jit in (True, False) if design.check else (False,):
            for tail_jit in (False, True) if self._is_light(design) else (False,):
                yield replace(design, head_jit=head_jit, tail_jit=tail_jit)

    def _is_light(self, design: Route) -> bool:
        """Return whether compiling the steps behind the check by XLA could be worth its time."""
        steps = self._dense.cut.suffix[design.check :]
        work = math.fsum(dense_work(self._graph, step) for step in steps)
        return work < XLA_WORK

    def _dense_time(self, block: GoldenBlock, outputs: Any) -> float:
        """Return the seconds of level ``dense`` for a site."""
        sites = self._random_sites(self._dense.batch, block.loaded)
        return _seconds(lambda: self._dense.judge(block, outputs, sites)) / self._dense.batch

    def _time(self, shortcut: Shortcut, block: GoldenBlock, outputs: Any) -> float:
        """Return the seconds of a way for a site."""
        route = shortcut.route
        count = max(SITES, route.tail_batch, route.head_batch if route.check else 0)
        sites = self._random_sites(count, block.loaded)
        return _seconds(lambda: shortcut.evaluate(block, outputs, sites)) / count

    def _random_sites(self, count: int, samples: int = 1) -> PackedSites:
        """Return sites at random elements and bits of random samples, the same every time."""
        key = self._dense.cut.frontier[0]
        generator = np.random.Generator(np.random.Philox(0))
        columns = (
            generator.integers(samples, size=count),
            generator.integers(math.prod(self._graph.shape(key)), size=count),
            generator.integers(bits.LAYOUTS[self._graph.dtypes[key]].width, size=count),
        )
        return np.stack(columns).astype(np.int32)


def suits_levels(graph: Graph, cut: Cut) -> bool:
    """Return whether the steps behind a cut may be taken in another way than at level ``dense``.

    Rounding in 16 bits decides outcomes, whole numbers have no windows, and a mask of Keras travels
    beside its tensor, where it is not seen.
    """
    tensors = [tensor for step in cut.suffix for tensor in step.node.outputs]
    keys = {*cut.frontier, *map(id, tensors)}
    wide = all(graph.dtypes[key] in WIDE for key in keys) and all(
        getattr(step.operation, "compute_dtype", WIDE[0]) in WIDE for step in cut.suffix
    )
    tensors += [tensor for step in cut.suffix for tensor in step.node.input_tensors]
    return wide and all(getattr(tensor, "_keras_mask", None) is None for tensor in tensors)


def _bound(
    judged: tuple[Any, Any, Any],
    shortcut: Shortcut,
    block: GoldenBlock,
    outputs: Any,
    sites: PackedSites,
) -> float | None:
    """Return how far rounding may change a distance; None where a way cannot be trusted.

    Args:
        judged: What level ``dense`` says of the sites.
        shortcut: The way.
        block: The golden block.
        outputs: Its golden outputs.
        sites: What to inject.
    """
    code, faulty_class, distance = judged
    found, found_class = shortcut.evaluate(block, outputs, sites)
    found_distance, sensitivity = shortcut.effects(block, outputs, sites)
    near = (distance > MASKED_TOLERANCE / NEAR) & (distance < MASKED_TOLERANCE * NEAR)
    near &= (found < NOT_FINITE) & (found_class >= 0)
    effect = np.abs(found_distance[near] - distance[near]) - shortcut.floor
    above = effect > 0
    with np.errstate(divide="ignore"):  # what a softmax does not pass on has no bound, inf
        largest = float((effect[above] / sensitivity[near][above]).max(initial=0.0))
    bound = max(SMALLEST_BOUND, SAFETY * largest)
    decided = (found < NOT_FINITE) & ~near
    wrong = (found != code) | ((found_class >= 0) & (found_class != faulty_class))
    return None if bound > LARGEST_BOUND or (decided & wrong).any() else bound


def _seconds(call: Callable[[], Any]) -> float:
    """Return how long a call takes, the first one left out, which compiles."""
    call()
    times: list[float] = []
    while len(times) < 3 and sum(times) < ENOUGH_SECONDS:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)
