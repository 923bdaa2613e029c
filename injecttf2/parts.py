"""Hits in batches of one fixed shape, and which of them make an operation of the model raise.

A model may check itself: ``check_numerics``, an assertion, an index out of range, a function of the
user's own that raises. A fault that it finds so is detected: the sample is ``due``. TensorFlow says
only that a batch raised, so its hits are evaluated in halves, quarters and so on, each at its place
in a batch of the same shape, until those that raise are alone. Whether one does is thus its own
matter, and the others round as ever.

Nothing is a fault's doing that also happens without it, or that tells of the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.batches import ALIKE
from injecttf2.packed import FaultySamples

Index = npt.NDArray[np.int64]

OF_THE_MACHINE = (
    *(tf.errors.ResourceExhaustedError, tf.errors.InternalError, tf.errors.UnavailableError),
    *(tf.errors.CancelledError, tf.errors.AbortedError, tf.errors.DeadlineExceededError),
    *(tf.errors.DataLossError, tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError),
)
"""What TensorFlow raises where memory, a device or a connection fails, not a check of the model."""


@dataclass(frozen=True, eq=False)
class Part:
    """Hits that go through a compiled function together.

    Args:
        hits: They.
        index: int64 [hits], ascending: which of all hits each is.
        place: int64 [hits], where each is in the batch.
    """

    hits: Any  # FaultySamples of the kind that the suffix takes
    index: Index
    place: Index

    def split(self, pieces: int) -> list[Part]:
        """Return the hits in about as many parts, at their places; none where there is but one."""
        count = len(self.index)
        if count == 1:
            return []
        split = np.array_split(np.arange(count), min(pieces, count))
        return [Part(self.hits.take(one), self.index[one], self.place[one]) for one in split]


Run = Callable[[Iterable[Part]], Iterator[Any]]
"""Yields what a compiled function makes of each part: a tensor or a tuple of them, [batch, ...]."""


def guarded(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that returns what the given one raises if it may be a fault's doing."""

    def run(work: Any) -> Any:
        try:
            return function(work)
        except OF_THE_MACHINE:
            raise
        except tf.errors.OpError as error:
            return error

    return run


@dataclass(frozen=True, eq=False)
class Found:
    """What became of some hits.

    Args:
        hits: How many there are.
        parts: Those that were evaluated, and what the function returned of them.
        raised: int64 [raised], those that make an operation raise, ascending.
        error: What the last of these raised.
    """

    hits: int
    parts: Sequence[tuple[Part, Any]]
    raised: Index
    error: Exception | None

    def columns(self, due: Sequence[Any]) -> list[npt.NDArray[Any]]:
        """Return what the function returned, a tuple of tensors, for each hit.

        Args:
            due: For each tensor what it holds for a hit that raises, NumPy values.
        """
        columns = [np.empty((self.hits, *value.shape), value.dtype) for value in due]
        for column, value in zip(columns, due, strict=True):
            column[self.raised] = value
        for part, tensors in self.parts:
            for column, tensor in zip(columns, tensors, strict=True):
                column[part.index] = tensor.numpy()[part.place]
        return columns

    def by_part(self, hit: Index) -> Iterator[tuple[Any, Index, Index]]:
        """Yield what the function returned of each part, and which sites are in it.

        Args:
            hit: int64 [sites], which of the hits each is in.

        Yields:
            Tensors; sites int64 [n]; their places in the batch int64 [n].
        """
        number, place = np.full(self.hits, -1, np.int64), np.zeros(self.hits, np.int64)
        for index, (part, _) in enumerate(self.parts):
            number[part.index], place[part.index] = index, part.place
        order = np.argsort(number[hit], kind="stable")
        stops = np.searchsorted(number[hit[order]], np.arange(len(self.parts) + 1))
        for index, (_, tensors) in enumerate(self.parts):
            here = order[stops[index] : stops[index + 1]]
            yield tensors, here, place[hit[here]]


def evaluated(
    hits: FaultySamples, run: Run, faultless: FaultySamples, *, size: int, start: int
) -> Found:
    """Evaluate hits in batches, those that make an operation raise among them.

    Args:
        hits: The hits.
        run: As :func:`guarded` functions do it.
        faultless: One sample or more without any fault.
        size: Samples in a batch.
        start: First sample of the golden block that their rows are in.

    Raises:
        tf.errors.OpError: An operation raises that also does without any fault.
    """
    parts: list[tuple[Part, Any]] = []
    raised: list[Index] = []
    last: Exception | None = None
    whole = waiting = list(arranged(hits, size, start))
    while waiting:
        failed: list[Part] = []
        for part, result in zip(waiting, run(waiting), strict=True):
            if isinstance(result, Exception):
                last = result
                failed.append(part)
            else:
                parts.append((part, result))
        raised += [part.index for part in failed if len(part.index) == 1]
        # Where all halves failed as well, most hits will: one by one is then the shortest way.
        pieces = 2 if len(failed) < len(waiting) or waiting is whole else size
        waiting = [piece for part in failed for piece in part.split(pieces)]
    if last is not None:
        for result in run([next(arranged(faultless, size, start))]):
            if isinstance(result, Exception):
                raise result
    found = np.sort(np.concatenate(raised)) if raised else np.empty(0, np.int64)
    return Found(len(hits), parts, found, last)


def arranged(hits: FaultySamples, size: int, start: int) -> Iterator[Part]:
    """Yield hits in batches.

    They fill one batch after another, in order. Where the place in a batch may matter to rounding,
    each sample has a place of its own instead, whatever it is together with.

    Args:
        hits: The hits.
        size: Samples in a batch.
        start: First sample of the golden block that their rows are in.
    """
    count = len(hits)
    if size % ALIKE == 0:
        for first in range(0, count, size):
            index = np.arange(first, min(first + size, count))
            part = hits if len(index) == count else hits.take(index)
            yield Part(part, index, np.arange(len(index)))
        return
    places = (start + hits.rows.astype(np.int64)) % size
    by_place = np.argsort(places, kind="stable")
    ordered = places[by_place]
    turns = np.empty(count, np.int64)
    turns[by_place] = np.arange(count) - np.searchsorted(ordered, ordered)
    by_turn = np.argsort(turns, kind="stable")
    for index in np.split(by_turn, np.flatnonzero(np.diff(turns[by_turn])) + 1):
        if len(index):
            yield Part(hits.take(index), index, places[index])
