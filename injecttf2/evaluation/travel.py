"""Samples on their way through the chain, in batches of one fixed shape for each segment.

A model may check itself: ``check_numerics``, an assertion, an index out of range, a function of the
user's own that raises. A fault that it finds so is detected: the sample is ``due``. TensorFlow says
only that a batch raised, so its samples are run in halves, quarters and so on, each at its place in
a batch of the same shape, until those that raise are alone. Whether one does is thus its own
matter, and the others round as ever. Nothing is a fault's doing that also happens without it, or
that tells of the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.evaluation.batching import ALIKE, side_by_side
from injecttf2.evaluation.chain import Chain, Tensors
from injecttf2.evaluation.faults import Batch, Faults
from injecttf2.evaluation.golden_cache import GoldenCache

Index = npt.NDArray[np.int64]

OF_THE_MACHINE = (
    *(tf.errors.ResourceExhaustedError, tf.errors.InternalError, tf.errors.UnavailableError),
    *(tf.errors.CancelledError, tf.errors.AbortedError, tf.errors.DeadlineExceededError),
    *(tf.errors.DataLossError, tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError),
)
"""What TensorFlow raises where memory, a device or a connection fails, not a check of the model."""

Waiting = tuple[Batch, Tensors | None]
"""Samples, and the tensors of their batch; None for golden ones."""

Leave = Callable[[int, Tensors, Any], Any]
"""Receives a boundary, the tensors of a batch there and the rows of its samples, int32 [batch];
returns for each whether it may leave as golden, bool [batch]."""


@dataclass(frozen=True, eq=False)
class Travelling:
    """Samples at a boundary.

    Args:
        samples: Batches of samples, and the tensors of each, [batch of the segment before, ...].
    """

    samples: Sequence[tuple[Batch, Tensors]]

    def __len__(self) -> int:
        return sum(len(batch) for batch, _ in self.samples)


@dataclass(eq=False)
class Fates:
    """What became of samples that do not travel on.

    Attributes:
        raised: Those that make an operation raise.
        golden: Those that left as golden.
        error: What the last of the first raised.
    """

    raised: list[Index] = field(default_factory=list)
    golden: list[Index] = field(default_factory=list)
    error: Exception | None = None


class Traveller:
    """Takes samples through a chain.

    Args:
        chain: The model.
        golden: Its golden tensors.
        rows: int32 [samples], the rows of all samples in the golden block.
        leave: Tells which samples may leave as golden; None where all go to the end.

    Attributes:
        fates: What became of those that do not travel on.
    """

    def __init__(
        self,
        chain: Chain,
        golden: GoldenCache,
        rows: npt.NDArray[np.int32],
        leave: Leave | None = None,
    ) -> None:
        self.fates = Fates()
        self._chain = chain
        self._golden = golden
        self._rows = rows
        self._leave = leave

    def enter(self, faults: Faults, offset: int = 0) -> Travelling:
        """Take samples through the segments in which something is wrong with them.

        Args:
            faults: The samples.
            offset: Which of all samples the first of them is.
        """
        travelling: Travelling | None = None
        for index in range(faults.first, faults.last + 1):
            travelling = self._through(index, travelling, faults, offset)
        assert travelling is not None  # noqa: S101 - for the type checker
        return travelling

    def go_on(self, travelling: Travelling, index: int) -> Travelling:
        """Take samples from a boundary to the end."""
        while index < len(self._chain) and len(travelling):
            travelling = self._through(index, travelling, None, 0)
            index += 1
        return travelling

    def _through(
        self, index: int, travelling: Travelling | None, faults: Faults | None, offset: int
    ) -> Travelling:
        """Take samples through a segment.

        Args:
            index: The segment.
            travelling: The samples; None for those of ``faults`` as they are golden.
            faults: What is wrong with them in this segment.
            offset: Which of all samples is the first that ``faults`` knows.
        """
        size = self._chain.batch[index]
        if faults is None:  # compiled here, not in threads
            self._chain.function(index)
        else:
            faults.compile(self._chain, index)
        if travelling is not None:
            waiting = list(self._packed(travelling, index, size))
        else:
            whole = np.arange(offset, offset + len(faults or ()))
            waiting = [(batch, None) for batch in self.arranged(whole, size)]
        run = partial(self._run, index, faults, offset)
        found: list[tuple[Batch, Tensors]] = []
        first = True
        while waiting:
            failed = []
            for work, result in zip(waiting, self._results(run, waiting), strict=True):
                if isinstance(result, Exception):
                    self.fates.error = result
                    failed.append(work)
                elif len(result[0]):
                    found.append(result)
            if failed and first:
                self._see_that_faults_raise(index, faults)
            self.fates.raised += [batch.index for batch, _ in failed if len(batch) == 1]
            # Where all halves failed as well, most will: one by one is then the shortest way.
            pieces = 2 if first or len(failed) < len(waiting) else size
            waiting = [part for work in failed for part in self._split(work, index, pieces)]
            first = False
        return Travelling(found)

    def _run(self, index: int, faults: Faults | None, offset: int, work: Waiting) -> Any:
        """Take a batch through a segment.

        Returns:
            The samples that travel on, and their tensors; or what an operation raises.
        """
        batch, tensors = work
        rows = tf.constant(self._rows[batch.filled(self._chain.batch[index])])
        given = self._golden.rows(index, rows) if tensors is None else tensors
        mine = Batch(batch.index - offset, batch.place)
        try:
            if faults is None:
                outputs, _ = self._chain.run(index, given)
            else:
                outputs, before = faults.run(self._chain, index, given, mine)
        except OF_THE_MACHINE:
            raise
        except tf.errors.OpError as error:  # which may be a fault's doing
            return error
        if faults is not None:
            faults.keep(index, mine, before)
        wrong = faults is not None and index < faults.last
        if self._leave is None or wrong or index + 1 == len(self._chain):
            return batch, outputs
        left = self._leave(index + 1, outputs, rows).numpy()[batch.place]
        self.fates.golden.append(batch.index[left])
        return Batch(batch.index[~left], batch.place[~left]), outputs

    def _results(self, run: Callable[[Any], Any], waiting: Sequence[Any]) -> Iterable[Any]:
        """Return what a function makes of batches, one after another or several at a time.

        TensorFlow hangs where two threads raise at the same time: it holds a lock while Python
        makes the exception, which another thread may wait for that Python waits for.
        """
        return map(run, waiting) if self._chain.graph.may_raise else side_by_side(run, waiting)

    def _see_that_faults_raise(self, index: int, faults: Faults | None) -> None:
        """Run a segment without any fault.

        Raises:
            tf.errors.OpError: It raises all the same.
        """
        rows = tf.zeros([self._chain.batch[index]], tf.int32)
        given = self._golden.rows(index, rows)
        if faults is None:
            self._chain.run(index, given)
        else:
            faults.run(self._chain, index, given, None)

    def _split(self, work: Waiting, index: int, pieces: int) -> Iterator[Waiting]:
        """Yield a batch in parts, golden samples in the place of others; none where one is left."""
        batch, tensors = work
        count = len(batch)
        if count == 1:
            return
        for chosen in np.array_split(np.arange(count), min(pieces, count)):
            part = Batch(batch.index[chosen], batch.place[chosen])
            yield part, None if tensors is None else self._alone(part, tensors, index)

    def _alone(self, batch: Batch, tensors: Tensors, index: int) -> Tensors:
        """Return the tensors of a batch with a golden sample in the place of all others."""
        size = int(tensors[0].shape[0])
        chosen = np.full(size, size)
        chosen[batch.place] = batch.place
        golden = self._golden.rows(index, self._rows[batch.index[:1]])
        return tuple(
            tf.gather(tf.concat([one, other], 0), chosen)
            for one, other in zip(tensors, golden, strict=True)
        )

    def _packed(self, travelling: Travelling, index: int, size: int) -> Iterator[Waiting]:
        """Yield samples in batches for a segment: as they are, or packed anew to be fewer."""
        samples = travelling.samples
        indices = np.concatenate([batch.index for batch, _ in samples])
        anew = list(self.arranged(np.sort(indices), size))
        if self._chain.batch[index - 1] == size and len(samples) <= len(anew):
            yield from samples
            return
        taken = [tuple(tf.gather(one, batch.place) for one in part) for batch, part in samples]
        together = tuple(tf.concat(columns, 0) for columns in zip(*taken, strict=True))
        at = np.empty(len(self._rows), np.int64)
        at[indices] = np.arange(len(indices))
        for batch in anew:
            chosen = at[batch.filled(size)]
            yield batch, tuple(tf.gather(one, chosen) for one in together)

    def arranged(self, index: Index, size: int) -> Iterator[Batch]:
        """Yield samples, ascending, in batches.

        They fill one batch after another, in order. Where the place in a batch may matter to
        rounding, each sample has a place of its own instead, whatever it is together with.
        """
        count = len(index)
        if size % ALIKE == 0:
            for first in range(0, count, size):
                part = index[first : first + size]
                yield Batch(part, np.arange(len(part)))
            return
        places = self._rows[index].astype(np.int64) % size
        by_place = np.argsort(places, kind="stable")
        ordered = places[by_place]
        turns = np.empty(count, np.int64)
        turns[by_place] = np.arange(count) - np.searchsorted(ordered, ordered)
        by_turn = np.argsort(turns, kind="stable")
        for chosen in np.split(by_turn, np.flatnonzero(np.diff(turns[by_turn])) + 1):
            if len(chosen):
                yield Batch(index[chosen], places[chosen])


def joined(parts: Iterable[Travelling]) -> Travelling:
    """Return samples of several together."""
    return Travelling([sample for part in parts for sample in part.samples])
