"""Level ``difference``: while little of a sample differs from golden, only that is computed.

From the layer that is hit, segment by segment of the chain, boxes of what differs are taken on, as
long as there are rules and it is less work than the whole segment. Samples whose box holds golden
values again leave; of the others whole tensors are made, and they go on through the chain. What
rounding could have decided on the way is evaluated densely again.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2 import bits, changes
from injecttf2.acceleration.boxes import Box, NoRegion, extents, is_same, laid_over
from injecttf2.acceleration.margins import close_to_a_tie, deviation, judged
from injecttf2.acceleration.region import Region, Stretch
from injecttf2.acceleration.rules import RULES
from injecttf2.evaluation.batching import BATCH_BYTES, side_by_side
from injecttf2.evaluation.chain import Tensors
from injecttf2.evaluation.evaluator import GROUP_BYTES, Evaluator
from injecttf2.evaluation.faults import Batch, OutputFaults, Words
from injecttf2.evaluation.travel import Traveller, Travelling
from injecttf2.graph.cost import ELEMENT, elements, work
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.segments import HANDING
from injecttf2.judges import Verdict

Index = npt.NDArray[np.int64]

MOST_ROWS = 2**14
"""Most samples in a batch of boxes."""

COMPILING = 3e10
"""Work that compiling a stretch takes as long as."""

TRIED = 96
"""Samples that are evaluated both ways to see how far rounding takes them apart."""

SAFETY = 8.0
"""How much further than any of these another sample may come apart."""

MOST_APART = 2.0**-14
"""Deviation from level dense from which boxes are not worth it."""

logger = logging.getLogger("injecttf2")


@dataclass(frozen=True, eq=False)
class Step:
    """A stretch that is taken on boxes.

    Args:
        stretch: The stretch.
        index: The segment that it ends with.
        rows: Samples in a batch.
        golden: Names of the golden tensors that are read.
        extents: Size of the box that differs at its end, of the tensor ``end``.
        end: The tensor that differs at its end.
        work: The counted work of a sample.
        function: Takes rows, int32 [rows], and what differs at the start; returns where the box
            begins that differs at the end, what it holds, whether that is golden, and whether
            something on the way was not finite. At the layer that is hit it takes elements, and
            what is done to their words.
    """

    stretch: Stretch
    index: int
    rows: int
    golden: tuple[str, ...]
    extents: tuple[int, ...]
    end: str
    work: float
    function: Any


SMOOTH = frozenset(
    (
        *("Mean", "Sum", "Max", "Min", "MatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"),
        *("Conv2DBackpropInput", "Conv3D", "Conv3DBackpropInputV2", "MaxPool3D", "AvgPool3D"),
        *("Transpose", "Pack", "Unpack", "Split", "SplitV", "StridedSlice", "Slice", "Tile"),
        *("ResizeBilinear", "ResizeNearestNeighbor", "Pow", "Cast"),
    )
)
"""Operations without a rule that make a small change of what they give out of one of what they are
given. A softmax within a model does not: on huge numbers it may go one way or another."""

WIDE = (tf.float32, tf.float64)
"""dtypes whose rounding is far below the tolerance of ``masked``."""


def suits(graph: ModelGraph, start: int) -> bool:
    """Return whether what lies behind a place may be computed with other roundings.

    Not where numbers are narrow or whole, or an operation may jump: there rounding decides.

    Args:
        graph: The model.
        start: Operations of the path before the place.
    """
    if graph.may_raise or graph.batch is not None:
        return False
    for operation in graph.flow.path[start:]:
        known = operation.type in SMOOTH or operation.type in RULES
        last = operation.outputs and operation.outputs[0].name == graph.output.name
        if not known or (operation.type in ("Softmax", "LogSoftmax") and not last):
            return False
        if any(one.dtype not in WIDE for one in operation.outputs):
            return False
    return True


class Difference:
    """Judges samples in which one word of one layer's output changes.

    Args:
        evaluator: The model, its data, and level ``dense`` with ``drop``.
        point: Name of the layer's tensor.
        segment: The segment that the fault comes in with.
        shared: What layers have in common of what is compiled; empty at first.

    Attributes:
        reevaluated: Samples that were evaluated densely again so far.
    """

    def __init__(
        self, evaluator: Evaluator, point: str, segment: int, shared: dict[Any, Any]
    ) -> None:
        self.reevaluated = 0
        self._evaluator = evaluator
        self._chain = evaluator.chain
        self._point = point
        self._first = segment
        self._dtype = self._chain.graph.flow.tensor(point).dtype.name
        self._close = close_to_a_tie(evaluator.golden.outputs)
        self._start = max(self._chain.graph.flow.position[point] + 1, 0)
        self._shared = shared
        self._seen = 0

    @property
    def saving(self) -> float:
        """The counted work that is saved for a sample."""
        dense = self._dense_work(range(self._first, self._after))
        return dense - sum(step.work for step in self.steps) - self._widening

    @property
    def _after(self) -> int:
        """The boundary at which whole tensors are made."""
        return self.steps[-1].index + 1 if self.steps else self._first

    @cached_property
    def _widening(self) -> float:
        chain = self._chain
        if not self.steps or self._after == len(chain):
            return 0.0
        return ELEMENT * chain.row_bytes(self._after) / 4

    def _dense_work(self, segments: range) -> float:
        graph = self._chain.graph
        parts = (self._chain.segments[index] for index in segments)
        operations = (one for part in parts for one in graph.flow.path[part.start : part.stop])
        return sum(work(one, graph.shapes) for one in operations) / graph.samples

    @cached_property
    def steps(self) -> list[Step]:
        """The stretches that are taken on boxes: as long as each is less work than dense."""
        if not suits(self._chain.graph, self._start):
            return []
        chain, graph = self._chain, self._chain.graph
        shape = graph.shapes[self._point] or ()
        target, extents_ = self._point, (1,) * (len(shape) - 1)
        steps: list[Step] = []
        for index in range(self._first, len(chain)):
            segment = chain.segments[index]
            start = self._start if index == self._first else segment.start
            stop, ends = segment.stop, segment.outputs
            if index + 1 == len(chain):  # up to what a softmax is given, by which it is judged
                stop, ends = graph.flow.position[graph.scores.name] + 1, (graph.scores.name,)
            if start >= stop:
                break
            stretch = Stretch(start, stop, target, extents_, ends)
            if index == self._first:
                step = self._head(stretch, index)
            else:
                if stretch not in self._shared:
                    self._shared[stretch] = self._step(stretch, index)
                step = self._shared[stretch]
            if not step.rows or step.work > self._dense_work(range(index, index + 1)) + HANDING:
                break
            steps.append(step)
            target, extents_ = step.end, step.extents
        return steps

    def _head(self, stretch: Stretch, index: int) -> Step:
        """Return the first step: from the start of the segment, where all of it has rules."""
        whole = replace(stretch, start=self._chain.segments[index].start)
        if whole.start < stretch.start and (step := self._step(whole, index)).rows:
            return step
        return self._step(stretch, index)

    def _step(self, stretch: Stretch, index: int) -> Step:
        """Return a step, traced; it has no rows where it cannot be taken on boxes."""
        chain, graph, cache = self._chain, self._chain.graph, self._evaluator.cache
        head = index == self._first
        dtype = graph.flow.tensor(stretch.target).dtype
        rows = tf.TensorSpec((None,), tf.int32)
        given: tuple[tf.TensorSpec, ...] = (
            tf.TensorSpec((None, len(stretch.extents)), tf.int32),
            tf.TensorSpec((None, *stretch.extents), dtype),
        )
        if head:
            word = tf.TensorSpec((None,), bits.layout(self._dtype).word)
            given = rows, word, word
        found: list[Any] = []

        def body(rows: Any, *given: Any) -> tuple[Any, ...]:
            golden: dict[str, Any] = {}

            def read(name: str) -> Any:
                if name not in golden:
                    dtype = graph.flow.tensor(name).dtype
                    spec = tf.TensorSpec((None, *(graph.shapes[name] or ())[1:]), dtype)
                    golden[name] = tf.compat.v1.get_default_graph().capture_call_time_value(
                        partial(cache.tensor, name), spec
                    )
                return golden[name]

            region = Region(graph, stretch, rows, read, chain.fixed)
            if head:
                shape = (graph.shapes[stretch.target] or ())[1:]
                element, keep, flip = given
                reached = region.reach(_place(element, shape), partial(_hit, keep, flip))
            else:
                reached = region.reach(given[0], partial(_laid, given[1]))
            found.extend([region, reached, tuple(golden)])
            return reached.begins, reached.values, reached.same, reached.doubtful

        try:
            function = tf.function(body, autograph=False).get_concrete_function(rows, *given)
        except NoRegion as reason:
            logger.debug("%s: no boxes in segment %d: %s", stretch.target, index, reason)
            return Step(stretch, index, 0, (), (), "", math.inf, None)
        region, reached, names = found
        fitting = BATCH_BYTES // max(1, 4 * region.widest)
        most = int(min(MOST_ROWS, 2 ** max(0, fitting.bit_length() - 1)))
        extents_ = tuple(reached.values.shape[1:])
        return Step(stretch, index, most, names, extents_, reached.name, region.work, function)

    def verdict(self, faults: OutputFaults) -> tuple[Verdict, Index, int]:
        """Evaluate samples of the loaded block; see :meth:`Evaluator.verdict`."""
        self._seen += len(faults)
        first = self._dense_work(range(self._first, self._first + 1))
        if not self._worth(self._seen * first, COMPILING, faults):
            return self._evaluator.verdict([faults])
        if not self._worth(self._seen * self.saving, COMPILING * len(self.steps), faults):
            return self._evaluator.verdict([faults])
        self._load()
        if (bound := self._bound) > MOST_APART:
            return self._evaluator.verdict([faults])
        return self._verdict(faults, bound)

    @property
    def _bound(self) -> float:
        """How far rounding may take scores from those of level dense.

        It is measured behind the first layer of the model that is asked for: what follows a later
        one rounds less often.
        """
        segment, bound = self._shared.get("bound", (len(self._chain), 0.0))
        if self._first < segment:
            bound = self._measured()
            self._shared["bound"] = self._first, bound
        return float(bound)

    def _worth(self, saved: float, cost: float, faults: OutputFaults) -> bool:
        """Return whether what is saved of some samples is more than what it costs."""
        return saved > cost > 0 and faults.is_single and not faults.seen

    def _verdict(self, faults: OutputFaults, bound: float) -> tuple[Verdict, Index, int]:
        evaluator = self._evaluator
        rows = faults.rows
        samples = rows.astype(np.int64) + (evaluator.cache.start or 0)
        verdict = Verdict(*(column[samples] for column in evaluator.golden.verdict))
        widest = max(math.prod(step.extents) for step in self.steps)
        most = max(1, GROUP_BYTES // (8 * widest))
        found = [
            self._taken(faults, index, verdict, bound)
            for index in np.array_split(np.arange(len(faults)), -(-len(faults) // most))
        ]
        open_ = np.sort(np.concatenate([again for again, _ in found]))
        raised = np.empty(0, np.int64)
        if len(open_):
            self.reevaluated += len(open_)
            dense, raised, _ = evaluator.verdict([faults.take(open_)])
            for column, values in zip(verdict, dense, strict=True):
                column[open_] = values
            raised = open_[raised]
        left = sum(count for _, count in found)
        return _with_scores(verdict, evaluator, samples), raised, left

    def _taken(
        self, faults: OutputFaults, index: Index, verdict: Verdict, bound: float
    ) -> tuple[Index, int]:
        """Judge some samples, and return which of them are open, and how many left early."""
        evaluator, rows = self._evaluator, faults.rows
        samples = rows.astype(np.int64) + (evaluator.cache.start or 0)
        index, state, golden, doubtful = self._through(faults, index)
        again = [doubtful, golden[self._close[samples[golden]]]]
        count = len(golden)
        most = evaluator.group(min(self._after, len(self._chain)))
        for first in range(0, len(index), most):
            part = slice(first, first + most)
            begins, values = (one[part] for one in state)
            travelling = Travelling(list(self._widened(rows, index[part], begins, values)))
            traveller = Traveller(self._chain, evaluator.cache, rows, evaluator.leave)
            for batch, tensors in traveller.go_on(travelling, self._after).samples:
                code, faulty_class, close = self._judged(tensors, rows, batch, bound)
                verdict.outcome[batch.index] = code
                verdict.faulty_class[batch.index] = faulty_class
                again.append(batch.index[close])
            for left in traveller.fates.golden:
                count += len(left)
                again.append(left[self._close[samples[left]]])
            again += traveller.fates.raised
        return np.concatenate(again), count

    def _judged(
        self, tensors: Tensors, rows: npt.NDArray[np.int32], batch: Batch, bound: float
    ) -> list[npt.NDArray[Any]]:
        chain = self._chain
        size = int(tensors[0].shape[0])
        filled = np.full(size, rows[batch.index[0]])
        filled[batch.place] = rows[batch.index]
        golden = self._evaluator.cache.tensors(len(chain))[0]
        key = "judge", size
        if key not in self._shared:
            is_softmax = len(tensors) > 1

            def body(tensors: Tensors, golden: Any, rows: Any, bound: Any) -> Any:
                outputs, scores = tensors[0], tensors[-1]
                of_rows = tf.gather(golden, rows)
                return judged(outputs, scores, of_rows, bound=bound, is_softmax=is_softmax)

            self._shared[key] = tf.function(body, autograph=False).get_concrete_function(
                tuple(tf.TensorSpec(one.shape, one.dtype) for one in tensors),
                tf.TensorSpec((None, *golden.shape[1:]), golden.dtype),
                tf.TensorSpec((size,), tf.int32),
                tf.TensorSpec((), tf.float64),
            )
        found = self._shared[key](
            tensors, golden, tf.constant(filled), tf.constant(bound, tf.float64)
        )
        return [one.numpy()[batch.place] for one in found]

    def _through(
        self, faults: OutputFaults, index: Index
    ) -> tuple[Index, tuple[Any, ...], Index, Index]:
        """Take some samples on boxes to the boundary at which whole tensors are made.

        Returns:
            Those that come there, and of each where its box begins and what that holds; those that
            are golden again; those in which something was not finite.
        """
        golden: list[Index] = [np.empty(0, np.int64)]
        doubtful: list[Index] = [np.empty(0, np.int64)]
        state: tuple[Any, ...] = ()
        for step in self.steps:
            kept: list[Index] = []
            states: list[tuple[Any, Any]] = []
            for part, result in self._run(step, faults, index, state):
                begins, values, same, doubt = result
                same, doubt = same.numpy()[: len(part)], doubt.numpy()[: len(part)]
                doubtful.append(index[part[doubt]])
                golden.append(index[part[same & ~doubt]])
                alive = np.flatnonzero(~same & ~doubt)
                if len(alive):
                    kept.append(index[part[alive]])
                    states.append((tf.gather(begins, alive), tf.gather(values, alive)))
            index = np.concatenate(kept) if kept else np.empty(0, np.int64)
            if not len(index):
                break
            state = tuple(tf.concat(columns, 0) for columns in zip(*states, strict=True))
        return index, state, np.concatenate(golden), np.concatenate(doubtful)

    def _run(self, step: Step, faults: OutputFaults, index: Index, state: Any) -> Any:
        """Yield parts of some samples, and what of each differs at the end of a step."""
        (words,) = faults.words
        parts = [
            np.arange(first, min(first + step.rows, len(index)))
            for first in range(0, len(index), step.rows)
        ]

        def run(part: Index) -> Any:
            chosen = index[part]
            rows = tf.constant(faults.rows[chosen])
            if not state:
                change = words.changes
                given = (words.element[chosen], change.keep[chosen], change.flip[chosen])
            else:
                given = tuple(one[part[0] : part[-1] + 1] for one in state)
            return step.function(rows, *given)

        return zip(parts, side_by_side(run, parts), strict=True)

    def _widened(self, rows: npt.NDArray[np.int32], index: Index, begins: Any, values: Any) -> Any:
        """Yield batches of whole tensors at the boundary behind the last step."""
        chain, after, step = self._chain, self._after, self.steps[-1]
        size = chain.batch[min(after, len(chain) - 1)]
        names = chain.boundary(after)
        golden = self._evaluator.cache.tensors(after)

        def body(golden: Any, rows: Any, begins: Any, values: Any) -> Tensors:
            at = names.index(step.end)
            if values.shape[1:] == golden[at].shape[1:]:
                golden = [*golden[:at], values, *golden[at + 1 :]]
            whole = [one if one is values else tf.gather(one, rows) for one in golden]
            if whole[at] is not values:
                whole[at] = _written(whole[at], begins, values)
            if after == len(chain) and len(names) > 1:
                whole[0] = tf.nn.softmax(whole[at])
            return tuple(whole)

        key = "widen", after, step.end, step.extents
        if key not in self._shared:
            self._shared[key] = tf.function(body, autograph=False).get_concrete_function(
                tuple(tf.TensorSpec((None, *one.shape[1:]), one.dtype) for one in golden),
                tf.TensorSpec((size,), tf.int32),
                tf.TensorSpec((size, *begins.shape[1:]), begins.dtype),
                tf.TensorSpec((size, *values.shape[1:]), values.dtype),
            )
        function = self._shared[key]
        position = np.empty(len(rows), np.int64)
        position[index] = np.arange(len(index))
        ordered = np.sort(index)
        traveller = Traveller(chain, self._evaluator.cache, rows)
        for batch in traveller.arranged(ordered, size):
            filled = np.full(size, batch.index[0])
            filled[batch.place] = batch.index
            part = position[filled]
            given = tf.gather(begins, part), tf.gather(values, part)
            yield batch, function(golden, tf.constant(rows[filled]), *given)

    def _load(self) -> None:
        """Have golden tensors in place that are at no boundary."""
        for step in self.steps:
            self._evaluator.cache.hold(step.golden)

    def _measured(self) -> float:
        """Return how far rounding may take scores from those of level dense."""
        generator = np.random.Generator(np.random.Philox(0))
        chain, cache = self._chain, self._evaluator.cache
        shape = chain.graph.shapes[self._point]
        rows = generator.integers(cache.samples, size=TRIED).astype(np.int32)
        element = generator.integers(elements((shape or ())[1:]), size=TRIED).astype(np.int32)
        bit = generator.integers(bits.layout(self._dtype).width, size=TRIED)
        words = Words(
            np.arange(TRIED, dtype=np.int32),
            element,
            changes.flipping(bits.masks(bit, self._dtype)),
        )
        layer = (self._first, self._point, elements((shape or ())[1:]))
        faults = OutputFaults(rows, [words], [layer])
        index, state, _, _ = self._through(faults, np.arange(TRIED))
        boxes = Travelling(list(self._widened(rows, index, *state)) if len(index) else [])
        ends = []
        for dense in (False, True):
            traveller = Traveller(chain, cache, rows)
            if dense:
                travelling = traveller.go_on(traveller.enter(faults), faults.last + 1)
            else:
                travelling = traveller.go_on(boxes, self._after)
            found: dict[int, Any] = {}
            for batch, tensors in travelling.samples:
                scores = tensors[-1].numpy()
                found.update(
                    (i, scores[at]) for i, at in zip(batch.index, batch.place, strict=True)
                )
            ends.append(found)
        both = [i for i in ends[0] if i in ends[1]]
        if not both:
            return 0.0
        apart = deviation(*(np.stack([found[i] for i in both]) for found in ends))
        return SAFETY * max(apart, 2.0**-24)


def _place(element: Any, shape: Sequence[Any]) -> Any:
    """Return the place on each axis of elements of a flattened sample, int32 [rows, axes]."""
    places, rest = [], element
    for size in reversed(shape):
        places.append(rest % np.int32(size))
        rest = rest // np.int32(size)
    return tf.stack(places[::-1], 1)


def _hit(keep: Any, flip: Any, golden: Callable[[], Any], held: Box, at: Box) -> Any:
    """Return a box of golden values in which one word of each sample changes."""
    values = golden()
    index: Any = 0
    for span, hit in zip(held, at, strict=True):
        last = np.int32(span.extent - 1)
        index = index * np.int32(span.extent) + tf.clip_by_value(hit.begin - span.begin, 0, last)
    size = math.prod(extents(held))
    word = tf.bitcast(tf.gather(tf.reshape(values, (-1, size)), index, batch_dims=1), keep.dtype)
    after = tf.bitwise.bitwise_xor(tf.bitwise.bitwise_and(word, keep), flip)
    hit_value = tf.reshape(tf.bitcast(after, values.dtype), (-1, *[1] * len(held)))
    return _laid(hit_value, lambda: values, held, at)


def _laid(values: Any, golden: Callable[[], Any], held: Box, at: Box) -> Any:
    """Return a box of golden values with those of another box in their place."""
    return values if is_same(held, at) else laid_over(golden(), held, values, at)


def _written(tensor: Any, begins: Any, values: Any) -> Any:
    """Return a batch with boxes written into it, whose last axes may be whole."""
    shape, extents_ = tuple(tensor.shape[1:]), tuple(values.shape[1:])
    lead = len(shape)
    while lead and extents_[lead - 1] == shape[lead - 1]:
        lead -= 1
    index: Any = tf.range(tf.shape(tensor)[0], dtype=tf.int32)
    for axis in range(lead):
        places = begins[:, axis, tf.newaxis] + tf.range(extents_[axis])[tf.newaxis]
        places = tf.reshape(places, (-1, *[1] * axis, extents_[axis]))
        index = index[..., tf.newaxis] * shape[axis] + places
    rest = math.prod(shape[lead:])
    flat = tf.reshape(tensor, (-1, rest))
    written = tf.tensor_scatter_nd_update(
        flat, tf.reshape(index, (-1, 1)), tf.reshape(values, (-1, rest))
    )
    return tf.reshape(written, (-1, *shape))


def _with_scores(verdict: Verdict, evaluator: Evaluator, samples: Index) -> Verdict:
    """Return a verdict with the scores that classes have."""
    labels = evaluator.dataset.labels[samples]
    return verdict._replace(score=(verdict.faulty_class == labels).astype(np.float64))
