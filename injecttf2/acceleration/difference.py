"""Level ``difference``: while little of a sample differs from golden, only that is computed.

From the layer that is hit, boxes of what differs are taken on, stage by stage, as long as there are
rules and it is less work than whole tensors. Samples whose box holds golden values again leave; of
the others whole tensors are made, and they go on through the chain. What rounding could have
decided on the way is evaluated densely again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2.acceleration.entries import Entry
from injecttf2.acceleration.margins import close_to_a_tie, deviation
from injecttf2.acceleration.stages import ALIVE, DOUBTFUL, GOLDEN, Stage, Stages
from injecttf2.evaluation.batching import side_by_side
from injecttf2.evaluation.chain import Tensors
from injecttf2.evaluation.evaluator import GROUP_BYTES, Evaluator, Judged
from injecttf2.evaluation.faults import Batch, Faults, some
from injecttf2.evaluation.travel import Traveller, Travelling
from injecttf2.graph.cost import ELEMENT
from injecttf2.graph.segments import HANDING
from injecttf2.judging import Verdict

Index = npt.NDArray[np.int64]

End = tuple[Index, Any, Sequence[Any]]
"""Samples at the end of the model, where each is in a batch, and what a stage that judges gives."""

COMPILING = 3e10
"""Work that compiling a stage takes as long as."""

FEW = 8
"""Samples that tell how far rounding takes others, at least."""

MOST_APART = 2.0**-14
"""Deviation from level dense from which boxes are not worth it."""


class Difference:
    """Judges samples with faults that come in at one place.

    Args:
        evaluator: The model, its data, and level ``dense`` with ``drop``.
        entry: The place.
        compiled: What layers have in common.
    """

    def __init__(self, evaluator: Evaluator, entry: Entry, compiled: Stages) -> None:
        self._evaluator = evaluator
        self._chain = evaluator.chain
        self._cache = evaluator.cache
        self._entry = entry
        self._compiled = compiled
        self._close = close_to_a_tie(evaluator.golden.outputs)
        self._seen = 0

    @cached_property
    def stages(self) -> list[Stage]:
        """What samples are taken through on boxes; none where that is more work."""
        return self._entry.stages(self._compiled)

    @property
    def saving(self) -> float:
        """The counted work that is saved for a sample."""
        segments = range(self._entry.first, self._after)
        saved = self._compiled.dense_work(segments) + HANDING * len(segments)
        saved -= self._entry.work + sum(stage.work + HANDING for stage in self.stages)
        if self.stages and self._after < len(self._chain):
            saved -= ELEMENT * self._chain.row_bytes(self._after) / 4  # whole tensors are made
        return saved

    @property
    def _after(self) -> int:
        """The boundary up to which samples are taken on boxes."""
        return self.stages[-1].after if self.stages else self._entry.first

    def judge(self, faults: Sequence[Faults]) -> Judged:
        """Evaluate samples of the loaded block; see :meth:`Evaluator.verdict`."""
        self._seen += sum(map(len, faults))
        if not self._pays() or not self._entry.takes(faults):
            return self._evaluator.verdict(faults)
        names = (name for stage in self.stages for name in stage.golden)
        if not self._cache.hold((*self._entry.golden, *names)):
            return self._evaluator.verdict(faults)
        summed = self._entry.summed.union(*(stage.summed for stage in self.stages))
        self._compiled.measured(summed, self._deviation)
        if self._compiled.bound > MOST_APART:
            return self._evaluator.verdict(faults)
        return self._judged(faults)

    def _pays(self) -> bool:
        """Return whether what boxes save is more than to compile them costs."""
        first = self._entry.first
        own = self._compiled.dense_work(range(first, first + 1)) + HANDING
        if self._seen * own <= COMPILING:  # a short campaign is not asked what stages there are
            return False
        return self._seen * self.saving > COMPILING * len(self.stages) > 0

    def _judged(self, faults: Sequence[Faults]) -> Judged:
        evaluator = self._evaluator
        rows = np.concatenate([one.rows for one in faults])
        samples = rows.astype(np.int64) + (self._cache.start or 0)
        verdict = evaluator.golden_verdict(samples)
        widest = max(self._entry.width, *(math.prod(stage.extents) for stage in self.stages))
        parts = -(-len(rows) * 8 * widest // GROUP_BYTES)
        found = [
            self._taken(faults, index, samples, verdict)
            for index in np.array_split(np.arange(len(rows)), parts)
        ]
        again = np.sort(np.concatenate([one for one, _ in found]))
        left = sum(count for _, count in found)
        raised = np.empty(0, np.int64)
        if len(again):
            dense = evaluator.verdict(some(faults, again))
            left += dense.dropped
            raised = again[dense.raised]
            for column, values in zip(verdict, dense.verdict, strict=True):
                column[again] = values
        right = verdict.faulty_class == evaluator.dataset.labels[samples]
        verdict = verdict._replace(score=right.astype(np.float64))
        return Judged(verdict, raised, left, len(again))

    def _taken(
        self, faults: Sequence[Faults], index: Index, samples: Index, verdict: Verdict
    ) -> tuple[Index, int]:
        """Judge some samples, and return those that are open, and how many left early."""
        again: list[Index] = []
        golden: list[Index] = []
        for here, place, found in self._ends(faults, index, golden, again):
            fate, code, classes = (one.numpy()[place] for one in found[:3])
            verdict.outcome[here] = code
            verdict.faulty_class[here] = classes
            again.append(here[fate == DOUBTFUL])
        close = [one[self._close[samples[one]]] for one in golden]
        again += close
        return np.concatenate(again), sum(map(len, golden)) - sum(map(len, close))

    def _ends(
        self, faults: Sequence[Faults], index: Index, golden: list[Index], again: list[Index]
    ) -> Iterator[End]:
        """Take samples to the end.

        Args:
            faults: What is wrong.
            index: int64, ascending, which of these samples.
            golden: Takes those that are golden again.
            again: Takes those in which something on the way was in doubt, or raised.
        """
        rows = np.concatenate([one.rows for one in faults])
        state = self._entry.state(faults, index)
        for stage in self.stages:
            kept: list[Index] = []
            states = []
            for part, found in _run(stage, rows[index], state):
                here = index[part]
                if stage.judges:
                    yield here, slice(None), found
                    continue
                fate = found[0].numpy()
                again.append(here[fate == DOUBTFUL])
                golden.append(here[fate == GOLDEN])
                alive = np.flatnonzero(fate == ALIVE)
                kept.append(here[alive])
                if len(alive) < len(here):
                    found = [tf.gather(one, alive) for one in found]
                states.append(found[1:])
            if stage.judges:
                return
            index = np.concatenate(kept)
            if not len(index):
                return
            state = tuple(tf.concat(columns, 0) for columns in zip(*states, strict=True))
        yield from self._as_whole(rows, index, state, golden, again)

    def _as_whole(
        self,
        rows: npt.NDArray[np.int32],
        index: Index,
        state: tuple[Any, ...],
        golden: list[Index],
        again: list[Index],
    ) -> Iterator[End]:
        """Take samples to the end as whole tensors; see :meth:`_ends`."""
        most = self._evaluator.group(self._after)
        for first in range(0, len(index), most):
            part = slice(first, first + most)
            traveller = Traveller(self._chain, self._cache, rows, self._evaluator.leave)
            boxes = tuple(one[part] for one in state)
            whole = Travelling(list(self._widened(traveller, rows, index[part], boxes)))
            for batch, tensors in traveller.go_on(whole, self._after).samples:
                of_batch = rows[batch.filled(int(tensors[0].shape[0]))]
                yield batch.index, batch.place, self._compiled.judge(tensors, of_batch)
            golden += traveller.fates.golden
            again += traveller.fates.raised

    def _widened(
        self,
        traveller: Traveller,
        rows: npt.NDArray[np.int32],
        index: Index,
        boxes: tuple[Any, ...],
    ) -> Iterator[tuple[Batch, Tensors]]:
        """Yield batches of whole tensors at the boundary behind the last stage."""
        size = self._chain.batch[self._after]
        at = np.empty(len(rows), np.int64)
        at[index] = np.arange(len(index))
        for batch in traveller.arranged(np.sort(index), size):
            whole = batch.filled(size)
            given = (tf.gather(one, at[whole]) for one in boxes)
            yield batch, self._compiled.widen(self.stages[-1], rows[whole], *given)

    def _deviation(self) -> float | None:
        """Return how far rounding took scores of some samples from those of level dense.

        None where fewer than ``FEW`` came to the end both ways.
        """
        generator = np.random.Generator(np.random.Philox(0))
        faults = self._entry.tried(generator, self._cache.samples)
        if not faults:
            return None
        of_dense = _scores(self._evaluator.ends(faults))
        of_boxes = _scores(self._ends(faults, np.arange(sum(map(len, faults))), [], []))
        both = [at for at in of_boxes if at in of_dense]
        if len(both) < FEW:
            return None
        return deviation(*(np.stack([found[at] for at in both]) for found in (of_boxes, of_dense)))


def _run(
    stage: Stage, rows: npt.NDArray[np.int32], state: tuple[Any, ...]
) -> Iterator[tuple[slice, Any]]:
    """Yield parts of some samples, and what a stage finds of each."""
    parts = [slice(at, at + stage.rows) for at in range(0, len(rows), stage.rows)]

    def run(part: slice) -> Any:
        return stage.function(tf.constant(rows[part]), *(one[part] for one in state))

    return zip(parts, side_by_side(run, parts), strict=True)


def _scores(ends: Iterable[End]) -> dict[int, npt.NDArray[Any]]:
    """Return the scores of samples that came to the end, by which they are."""
    found: dict[int, npt.NDArray[Any]] = {}
    for index, place, tensors in ends:
        found.update(zip(index.tolist(), tensors[-1].numpy()[place], strict=True))
    return found
