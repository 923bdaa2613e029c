"""Batches of fixed shapes.

Kernels may round differently at another batch shape, so every batch that goes through a segment of
a model has the same shape and a short one is padded. The size depends on the model alone: neither
on the trials, nor on their order, nor on the machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

BATCH_BYTES = 8 * 2**20
"""Largest size of one tensor of a batch, in bytes, if that holds ``ALIKE`` samples; a core's cache
holds that much."""

MOST_BYTES = 2 * BATCH_BYTES
"""The same where it holds fewer: products with matrices take long for few rows."""

Item = TypeVar("Item")
Result = TypeVar("Result")

LARGEST_BATCH = 24576
"""Most samples in a batch; more did not help even where a sample is tiny."""

ALIKE = 24
"""In batches of a multiple of this many samples, what a sample gives does not depend on its place:
matrix products on CPUs take rows by threes, or by powers of two, and sum those that are left over
at the end in another order."""


def batch_size(row_bytes: int, *, samples: int | None = None, may_raise: bool = False) -> int:
    """Return how many samples go through a stretch of a model at a time.

    At most ``ALIKE`` where the model checks itself, because batches that raise are evaluated again
    in parts. Else the largest 3 * 2^n up to ``LARGEST_BATCH``, and up to what holds all samples,
    for which no tensor exceeds ``BATCH_BYTES``, or up to ``ALIKE`` none ``MOST_BYTES``; 1 where 3
    are too many. So of any two sizes one is a multiple of the other, and from 24 on a multiple of
    ``ALIKE``.

    Args:
        row_bytes: Size of the largest tensor, in bytes a sample.
        samples: Samples in the data set.
        may_raise: Whether the model has operations that may well raise.
    """
    largest = ALIKE if may_raise else LARGEST_BATCH
    if samples is not None:
        largest = min(largest, ALIKE * 2 ** (-(-samples // ALIKE) - 1).bit_length())
    row = max(1, row_bytes)
    fitting = min(largest, max(BATCH_BYTES // row, min(ALIKE, MOST_BYTES // row)))
    return int(3 * 2 ** ((fitting // 3).bit_length() - 1)) if fitting >= 3 else 1


def batches(samples: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds ``start, stop`` of consecutive batches; the last may be short."""
    for start in range(0, samples, size):
        yield start, min(start + size, samples)


def padded(rows: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Return ``rows`` filled up to ``size`` rows with copies of the first."""
    if len(rows) == size:
        return rows
    return np.concatenate([rows, np.broadcast_to(rows[:1], (size - len(rows), *rows.shape[1:]))])


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield what a function makes of each batch, in their order.

    As many run at a time as ``device.configure`` was told of threads: one operation has one thread,
    so that this is how a process uses several cores. A result is yielded once the next batch has
    been started, so that a GPU works on that meanwhile.

    Args:
        function: Runs one batch; it must not trace anything, nor call this.
        items: The batches; they are made in the thread that asks for results.
    """
    threads = tf.config.threading.get_inter_op_parallelism_threads()
    if threads <= 1:
        yield from _one_ahead(map(function, items))
        return
    started: deque[Future[Result]] = deque()
    for item in items:
        started.append(_pool(threads).submit(function, item))
        if len(started) > threads:
            yield started.popleft().result()
    while started:
        yield started.popleft().result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="batch")


def _one_ahead(results: Iterable[Result]) -> Iterator[Result]:
    waiting: list[Result] = []
    for result in results:
        yield from waiting
        waiting = [result]
    yield from waiting
