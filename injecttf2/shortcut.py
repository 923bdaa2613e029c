"""Levels ``drop`` and ``difference``: the way of an injected sample that is shorter than dense.

A **route** says how the steps behind a cut are taken: the first of them on windows
(``difference``), after some of them the samples whose live tensors are golden again leave
(``drop``), and the others are packed together anew for the rest.

The steps up to that check are one compiled function, the head, those behind it another, the tail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.batches import batches, side_by_side
from injecttf2.block import GoldenBlock
from injecttf2.outcomes import MASKED
from injecttf2.packed import FaultySamples
from injecttf2.packing import Layout, Packing, packed, unpacked
from injecttf2.path import NOT_FINITE, PLAIN, XLA, Path
from injecttf2.routes import Route
from injecttf2.windows import Differences, GoldenKey

ALIVE = 255
"""Code of a sample that still differs from golden."""


class Shortcut:
    """A route, compiled for one cut and block.

    Args:
        path: The steps behind the cut.
        route: How they are taken.
        keys: Golden tensors of the block, among them those of :func:`golden_keys`.
        bound: Most that rounding changes the distance of an output from golden.
    """

    def __init__(
        self, path: Path, route: Route, keys: Sequence[GoldenKey], *, bound: float
    ) -> None:
        self.route = route
        self.bound = bound
        self._path = path
        self._keys = {key: index for index, key in enumerate(keys)}
        self._layouts: list[Layout] = []
        self._head: Any = None
        self._tail: Any = None

    def evaluate(
        self, block: GoldenBlock, golden: Any, hits: FaultySamples
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
        """Inject and judge them.

        Args:
            block: The golden block that is loaded.
            golden: Its golden outputs.
            hits: What to inject, as little in each sample as a faster level can take.

        Returns:
            Codes uint8 [hits], ``CLOSE`` and ``NOT_FINITE`` among them; classes int32 [hits],
            -1 where a sample was dropped.
        """
        code, faulty_class, *_ = self._columns(block, golden, hits, 2)
        return code, faulty_class

    def examine(
        self, block: GoldenBlock, golden: Any, hits: FaultySamples
    ) -> tuple[npt.NDArray[Any], ...]:
        """Inject and return what :meth:`evaluate` does, and how rounding could matter.

        Returns:
            Also distances from golden, how much rounding before and within a softmax matters to
            them, all [hits]; NaN where a sample was dropped.
        """
        return self._columns(block, golden, hits, 5)

    def _columns(
        self, block: GoldenBlock, golden: Any, hits: FaultySamples, count: int
    ) -> tuple[npt.NDArray[Any], ...]:
        """Return the first columns of what the tail returns, with those for dropped samples."""
        self._compile(block, golden)
        size = len(hits)
        code = np.full(size, MASKED, np.uint8)
        columns = code, np.full(size, -1, np.int32), *np.full((3, size), np.nan)
        for index, parts in self._judged(block, golden, hits, code):
            for column, part in zip(columns[:count], parts, strict=False):
                column[index] = part.numpy()[: len(index)]
        return columns[:count]

    def _judged(
        self, block: GoldenBlock, golden: Any, hits: FaultySamples, code: npt.NDArray[np.uint8]
    ) -> list[tuple[npt.NDArray[np.int64], tuple[Any, ...]]]:
        """Return batches of judged samples: places among the hits, what the tail returned."""
        bound = tf.constant(self.bound, tf.float64)

        def run(batch: tuple[npt.NDArray[np.int64], list[Any]]) -> Any:
            index, state = batch
            return index, self._tail(block.tensors, golden, bound, hits.shared, state)

        return list(side_by_side(run, self._survivors(block, hits, code)))

    def _survivors(
        self, block: GoldenBlock, hits: FaultySamples, code: npt.NDArray[np.uint8]
    ) -> Iterator[tuple[npt.NDArray[np.int64], list[Any]]]:
        """Yield batches for the tail: places among the hits, and the state of the samples."""
        route = self.route
        if not route.check:
            for (start, stop), batch in zip(
                batches(len(hits), route.tail_batch), hits.singles(route.tail_batch), strict=True
            ):
                yield np.arange(start, stop), batch
            return
        packing = Packing(route.tail_batch)

        def run(batch: list[Any]) -> Any:
            return self._head(block.tensors, hits.shared, batch)

        heads = side_by_side(run, hits.singles(route.head_batch))
        for (start, stop), (status, *state) in zip(
            batches(len(hits), route.head_batch), heads, strict=True
        ):
            found = status.numpy()[: stop - start]
            alive = np.flatnonzero(found == ALIVE)
            code[start:stop] = found
            packing.add(start + alive, state, alive)
            yield from packing.full()
        yield from packing.rest()

    def _compile(self, block: GoldenBlock, golden: Any) -> None:
        if self._tail is not None:
            return
        route, tensors = self.route, block.signature()
        shared = self._path.shared_specs()
        state = self._path.single_specs(route.tail_batch)
        if route.check:
            head = tf.function(self._run_head, autograph=False, jit_compile=route.head_jit)
            self._head = head.get_concrete_function(
                tensors, shared, self._path.single_specs(route.head_batch)
            )
            _, *outputs = self._head.structured_outputs
            state = [
                tf.TensorSpec((route.tail_batch, *one.shape[1:]), one.dtype) for one in outputs
            ]
        tail = tf.function(self._run_tail, autograph=False, jit_compile=route.tail_jit)
        golden_spec = tf.TensorSpec(golden.shape, golden.dtype)
        self._tail = tail.get_concrete_function(
            tensors, golden_spec, tf.TensorSpec((), tf.float64), shared, state
        )

    def _run_head(self, tensors: Any, shared: Any, batch: list[Any]) -> tuple[Any, ...]:
        """Take the steps up to the check; return codes, and the state of each sample."""
        route = self.route
        rows, *wrong = batch
        differences = self._differences(tensors, rows, jit=route.head_jit)
        self._path.inject(differences, shared, wrong)
        self._path.run(differences, 0, route.check)
        same = differences.same_as_golden()
        status = tf.where(same, tf.constant(MASKED, tf.uint8), tf.constant(ALIVE, tf.uint8))
        status = tf.where(differences.doubtful, tf.constant(NOT_FINITE, tf.uint8), status)
        self._layouts, state = packed(differences)
        return status, *state

    def _run_tail(
        self, tensors: Any, golden: Any, bound: Any, shared: Any, state: list[Any]
    ) -> Any:
        """Take the steps behind the check and judge."""
        route = self.route
        rows, *parts = state
        differences = self._differences(tensors, rows, jit=route.tail_jit)
        if route.check:
            self._path.go_on(differences, shared)
            differences.windows = unpacked(self._layouts, parts)
        else:
            self._path.inject(differences, shared, parts)
        self._path.run(differences, route.check, len(self._path.steps))
        arithmetic = XLA if route.tail_jit else PLAIN
        golden = tf.gather(golden, rows)
        return self._path.judge(differences, golden, bound=bound, arithmetic=arithmetic)

    def _differences(self, tensors: Any, rows: Any, *, jit: bool) -> Differences:
        return self._path.differences(rows, lambda key: tensors[self._keys[key]], xla=jit)
