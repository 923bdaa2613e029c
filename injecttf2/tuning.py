"""Choosing the route behind a cut: by the work of its steps, then by short measurements.

How many steps are taken on windows and where samples that are golden again leave follows from the
work of each step and from the share of samples that are golden again behind it, which is counted
once for each cut. Whether XLA compiles is timed, against level ``dense`` too, and then batches of
other sizes than the windows suggest. On the same samples the effect of rounding is measured, which
bounds what must be evaluated densely.

Nothing that is chosen here changes an outcome, so it may depend on the machine and on chance.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf

from injecttf2.batches import BATCH_BYTES, batch_size, padded, padded_count
from injecttf2.block import GoldenBlock, golden_of, room_batch
from injecttf2.datasets import Dataset
from injecttf2.graph import Cut, Graph
from injecttf2.hooks import ChangedStep
from injecttf2.measuring import Measuring
from injecttf2.path import Path, golden_keys, is_smooth, scored_step
from injecttf2.routes import Route, Routes, Way
from injecttf2.rules.linear import WIDE
from injecttf2.shortcut import Shortcut
from injecttf2.suffix import DenseSuffix
from injecttf2.windows import GoldenKey, equal_bits
from injecttf2.work import (
    ELEMENT,
    REPACKING,
    WindowWork,
    dense_work,
    golden_bytes,
    least,
    window_work,
)

CHECKED_STEPS = 12
"""Steps behind a cut after which samples are looked at for being golden again."""

LARGEST_WINDOWS = 2**15
"""Most samples in a batch of windows; more did not help even where one is a single number."""

MOST_TAILS = 16
"""Most batches behind the check that one before it fills; the start of a head costs little then."""

XLA_WORK = 5e6
"""Work of a sample up to which XLA is timed. It saves the start of operations and the way of their
results through memory, which heavy operations hide, and to compile many of those takes minutes."""

CLEARLY = 1.2
"""A ratio of times that is no chance."""


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
        self._begin = time.perf_counter()
        self._graph = graph
        self._dataset = dataset
        self._dense = dense
        self._routes = routes
        self._ways = routes.find(dense.key) if suits_levels(graph, dense.cut) else ()
        self._design: Route | None = None
        if self._ways:
            self._design = self._ways[0].route
        elif self._ways is None and levels:
            rows = padded_count(len(dataset), room_batch(graph, dense.cut, dense.batch))
            self._design = self._designed(levels, memory // rows)
        self._path = dense.path(self._design.sparse if self._design else 0)

    def golden_keys(self) -> list[GoldenKey]:
        """Return the golden tensors behind the cut that are needed."""
        needed = [] if self._design is None else golden_keys(self._path, self._design)
        return [key for key in needed if key not in self._dense.cut.frontier]

    def shortcuts(self, block: GoldenBlock, outputs: Any) -> list[Shortcut]:
        """Return the fastest way, timed on the block that is loaded, and what to try after it."""
        if self._design is None:
            return []
        if self._ways is None:
            measuring = Measuring(self._dense, self._path, block, outputs)
            found = self._fastest(self._design, measuring)
            ways = tuple(Way(shortcut.route, shortcut.bound) for shortcut in found)
            seconds = time.perf_counter() - self._begin
            self._routes.keep(self._dense.key, ways, seconds=seconds)
            return found
        return [Shortcut(self._path, way.route, block.keys, bound=way.bound) for way in self._ways]

    def _designed(self, levels: Sequence[str], row_bytes: int) -> Route:
        """Return the route with the least work of those that need little enough golden data."""
        graph, path = self._graph, self._dense.path(None)
        steps = path.steps
        dense = [dense_work(graph, step) for step in steps]
        windows = window_work(path)
        sparse = check = 0
        if "difference" in levels:
            works = [
                sum(windows.steps[:count]) + windows.widening[count] + sum(dense[count:])
                if count == 0 or golden_bytes(graph, needed) <= row_bytes
                else math.inf
                for count, needed in enumerate(windows.golden)
            ]
            sparse = least(works)
        if "drop" in levels and steps:
            again = self._golden_again(path, min(CHECKED_STEPS, len(steps)))
            works = self._work_with_check(path, dense, windows, sparse, again)
            for count in range(1, len(works)):
                live = windows.windows[count] if count <= sparse else path.live(count)
                compared = windows.golden[sparse] | live
                if golden_bytes(graph, compared) > row_bytes:
                    works[count] = math.inf
            check = least(works)
        design = Route(sparse, check, 0, 0, head_jit=False, tail_jit=False)
        return self._sized(design, path, windows)

    def _work_with_check(
        self,
        path: Path,
        dense: Sequence[float],
        windows: WindowWork,
        sparse: int,
        again: Sequence[float],
    ) -> list[float]:
        """Return the work with a check after 0 (none), 1, ... steps."""
        widening = windows.widening[sparse]
        work = [*windows.steps[:sparse], *dense[sparse:]]
        totals = [sum(work) + widening]
        for count, share in enumerate(again, start=1):
            head, tail = sum(work[:count]), sum(work[count:])
            if count > sparse:
                head += widening
                live = sum(math.prod(self._graph.shape(key)) for key in path.live(count))
            else:
                tail += widening
                live = windows.live[count]
            totals.append(head + REPACKING + 4 * ELEMENT * live + (1 - share) * tail)
        return totals

    def _golden_again(self, path: Path, steps: int) -> list[float]:
        """Return the share of samples that are golden again after 1, 2, ... steps."""
        graph, cut = self._graph, self._dense.cut
        size = min(self._dense.batch, batch_size(graph, cut.prefix))
        inputs = [tf.constant(padded(array[:size], size)) for array in self._dataset.input_arrays]

        def count(shared: Any, batch: Any, *inputs: Any) -> list[Any]:
            values = graph.run([*cut.prefix, *cut.suffix], graph.feed(inputs))
            rows, *wrong = batch
            differences = path.differences(
                rows, lambda key: golden_of(graph, key, values), xla=False
            )
            path.inject(differences, shared, wrong)
            golden = {key: tf.gather(tensor, rows) for key, tensor in values.items()}
            faulty = {**golden, path.target: differences.whole(path.target)}
            shares = []
            for index in range(steps):
                path.steps[index].run(faulty)
                same = [equal_bits(faulty[key], golden[key]) for key in path.live(index + 1)]
                shares.append(tf.reduce_mean(tf.cast(tf.reduce_all(same, axis=0), tf.float64)))
            return shares

        faults = self._dense.random_faults(size, size)
        given = [(one.shared, next(one.singles(size))) for one in faults]
        counting = tf.function(count, autograph=False).get_concrete_function(*given[0], *inputs)
        shares = [[float(share) for share in counting(*one, *inputs)] for one in given]
        return [math.fsum(column) / len(given) for column in zip(*shares, strict=True)]

    def _sized(self, route: Route, path: Path, windows: WindowWork) -> Route:
        """Return a route with batches of which no tensor is larger than ``BATCH_BYTES``."""
        steps = path.steps

        def batch(first: int, last: int) -> int:
            widest = max([1, *windows.live[first : min(last, route.sparse) + 1]]) * 8
            widest = max([widest, *(self._graph.row_bytes(key) for key in path.read if not first)])
            if last > route.sparse:
                whole = steps[max(first, route.sparse) : last]
                keys = {key for step in whole for key in (*step.inputs, *step.outputs)}
                widest = max([widest, *(self._graph.row_bytes(key) for key in keys)])
            fitting = max(1, BATCH_BYTES // widest)
            return int(min(LARGEST_WINDOWS, 2 ** (fitting.bit_length() - 1)))

        head, tail = batch(0, route.check), batch(route.check, len(steps))
        head = min(head, MOST_TAILS * tail)
        if not route.check or head <= 4 * tail:
            head = tail  # batches of which nobody leaves go on as they are
        return replace(route, head_batch=head, tail_batch=tail)

    def _fastest(self, design: Route, measuring: Measuring) -> list[Shortcut]:
        """Time some routes and return the fastest.

        XLA rounds in a way of its own, and so leaves more samples open. Of those the same route
        without XLA leaves fewer.
        """
        best: Shortcut | None = None
        shortest = measuring.dense_seconds

        def consider(route: Route) -> float:
            nonlocal best, shortest
            shortcut = measuring.shortcut(route)
            seconds = measuring.seconds(shortcut)
            left = measuring.share_left(shortcut) if seconds < shortest else None
            if left is not None:
                seconds += left * measuring.dense_seconds
                if seconds < shortest:
                    best, shortest = shortcut, seconds
            return seconds

        lost = False
        for route in self._variants(design):
            if not (lost and route.tail_jit):
                lost |= consider(route) > CLEARLY * shortest and route.tail_jit
        if best is None:
            return []
        for route in _other_batches(best.route):
            consider(route)
        if not best.route.tail_jit:
            return [best]
        plain = replace(
            best.route, check=0, tail_batch=self._dense.batch, head_jit=False, tail_jit=False
        )
        second = measuring.shortcut(plain)
        return [best] if measuring.share_left(second) is None else [best, second]

    def _variants(self, design: Route) -> Iterator[Route]:
        """Yield the routes that are timed."""
        compilers = (False, True) if self._is_light(design) else (False,)
        for head_jit in reversed(compilers) if design.check else (False,):
            for tail_jit in compilers:
                yield replace(design, head_jit=head_jit, tail_jit=tail_jit)

    def _is_light(self, design: Route) -> bool:
        """Return whether compiling the steps behind the check by XLA could be worth its time."""
        steps = self._path.steps[design.check :]
        work = math.fsum(dense_work(self._graph, step) for step in steps)
        return work < XLA_WORK


def suits_levels(graph: Graph, cut: Cut) -> bool:
    """Return whether the steps behind a cut may be taken in another way than at level ``dense``.

    Rounding in 16 bits decides outcomes, whole numbers have no windows, and a mask of Keras travels
    beside its tensor, where it is not seen. Where a step jumps, as an argmax does, or an attention
    on huge numbers, rounding decides too; so only steps that are known not to are taken, and none
    that a fault is inside of. A model of a fixed batch cannot be run at another.
    """
    keys = {*cut.frontier, *(key for step in cut.suffix for key in step.outputs)}
    wide = all(graph.dtypes[key] in WIDE for key in keys) and all(
        getattr(step.operation, "compute_dtype", WIDE[0]) in WIDE for step in cut.suffix
    )
    return (
        wide
        and graph.batch is None
        and len(graph.outputs) == 1
        and not any(isinstance(step, ChangedStep) for step in cut.suffix)
        and not graph.has_masks(keys)
        and all(step is scored_step(graph, cut.suffix) or is_smooth(step) for step in cut.suffix)
    )


def _other_batches(route: Route) -> Iterator[Route]:
    """Yield a route with smaller and with larger batches than its windows suggest."""
    for factor in (1 / 4, 4):
        head, tail = (int(size * factor) for size in (route.head_batch, route.tail_batch))
        if min(head, tail) >= 1 and max(head, tail) <= LARGEST_WINDOWS:
            yield replace(route, head_batch=head, tail_batch=tail)
