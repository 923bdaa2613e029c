"""Stages: stretches of a model that are compiled to run on boxes of what differs from golden.

The first stage begins at the layer that is hit, each further one at a boundary of the chain. The
last may reach the end of the model, and then judges as well.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from injecttf2 import bits
from injecttf2.acceleration.boxes import Box, NoRegion, extents, is_same, laid_over
from injecttf2.acceleration.margins import judged
from injecttf2.acceleration.region import Region, Stretch
from injecttf2.acceleration.rules import RULES
from injecttf2.evaluation.batching import BATCH_BYTES
from injecttf2.evaluation.chain import Tensors
from injecttf2.evaluation.golden_cache import GoldenCache
from injecttf2.graph.cost import work
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.segments import HANDING

SAFETY = 8.0
"""How much further than any that were tried another sample may come apart."""

SUPPOSED = 2.0**-17
"""The bound where trying tells nothing: above what is seen, below the tolerance of ``masked``."""

MOST_ROWS = 2**14
"""Most samples in a batch of boxes."""

ALIVE, GOLDEN, DOUBTFUL = range(3)
"""What a stage finds of a sample: it differs, it is golden again, or rounding could matter."""

SMOOTH = frozenset(
    (
        *("Min", "BatchMatMulV2", "BatchMatMulV3", "Einsum"),
        *("Conv2DBackpropInput", "Conv3D", "Conv3DBackpropInputV2", "MaxPool3D", "AvgPool3D"),
        *("Transpose", "Pack", "Unpack", "Split", "SplitV", "StridedSlice", "Slice", "Tile"),
        *("ResizeBilinear", "ResizeNearestNeighbor", "Pow", "Cast"),
    )
)
"""Operations without a rule that make a small change of what they give out of one of what they are
given. A softmax within a model does not: on huge numbers it may go one way or another."""

WIDE = (tf.float32, tf.float64)
"""dtypes whose rounding is far below the tolerance of ``masked``."""

logger = logging.getLogger("injecttf2")


@dataclass(frozen=True, eq=False)
class Stage:
    """A stretch that is taken on boxes.

    Args:
        stretch: The stretch.
        after: The boundary that it ends at.
        rows: Samples in a batch.
        golden: Names of the golden tensors that are read.
        end: The tensor that differs at its end.
        extents: Size of the box of it that differs.
        work: The counted work of a sample.
        judges: Whether it ends with the model.
        summed: What is summed otherwise than densely.
        function: Takes rows, int32 [rows], and what differs at the start: where its box begins,
            int32 [rows, axes], and what that holds; at the layer that is hit elements, int32
            [rows], and what is done to their words. Returns what is found of each sample, uint8
            [rows]; then where the box begins that differs at the end, and what it holds; of a
            stage that judges outcomes, classes and scores, see :func:`margins.judged`.
    """

    stretch: Stretch
    after: int
    rows: int
    golden: tuple[str, ...]
    end: str
    extents: tuple[int, ...]
    work: float
    judges: bool
    summed: frozenset[str]
    function: Any


class Stages:
    """Compiles stages, which layers have in common but for the first.

    Args:
        cache: The model, and its golden tensors.

    Attributes:
        bound: How far rounding may take scores of the samples that are judged from those of level
            ``dense``; see ``margins``.
    """

    def __init__(self, cache: GoldenCache) -> None:
        self.bound = 0.0
        self._bounds: dict[frozenset[str], float] = {}
        self._functions: dict[Any, Any] = {}
        self._cache = cache
        self._chain = cache.chain
        self._graph = cache.chain.graph
        self._compiled: dict[tuple[Stretch, int], Stage | None] = {}

    def of(self, point: str, first: int, *, channel: bool = False) -> list[Stage]:
        """Return the stages behind a fault, as long as each is less work than level ``dense``.

        Args:
            point: Name of the tensor that differs.
            first: The segment that the fault comes in with.
            channel: Whether a channel of it differs, which is given; else words change in it.
        """
        chain, graph = self._chain, self._graph
        start = max(graph.flow.position[point] + 1, 0)
        shape = tuple(size or 0 for size in (graph.shapes[point] or ())[1:])
        if not suits(graph, start) or not all(shape):
            return []
        stages: list[Stage] = []
        target, place = point, first
        size = (*shape[:-1], 1) if channel else (1,) * len(shape)
        while place < len(chain):
            before = start if place == first else chain.segments[place].start
            is_hit = place == first and not channel
            stage = self._longest(place, before, target, size, is_hit=is_hit)
            if stage is None or stage.work > self.dense_work(range(place, stage.after)) + HANDING:
                break
            stages.append(stage)
            target, size, place = stage.end, stage.extents, stage.after
        return stages

    def dense_work(self, segments: range) -> float:
        """Return the counted work of some segments for a sample at level ``dense``."""
        graph = self._graph
        parts = (self._chain.segments[index] for index in segments)
        operations = (one for part in parts for one in graph.flow.path[part.start : part.stop])
        return sum(work(one, graph.shapes) for one in operations) / graph.samples

    def _longest(
        self, place: int, start: int, target: str, size: tuple[int, ...], *, is_hit: bool
    ) -> Stage | None:
        """Return a stage over a segment and the light ones behind it, or over fewer of them.

        To look for golden samples before a light segment costs more than that.
        """
        stop = place + 1
        while stop < len(self._chain) and self.dense_work(range(stop, stop + 1)) < HANDING:
            stop += 1
        for after in range(stop, place, -1):
            end, names = self._end(after)
            stretch = Stretch(start, end, target, size, names)
            if stretch.start >= stretch.stop:
                continue
            if is_hit:  # from the start of the segment, where all of it has rules
                whole = replace(stretch, start=self._chain.segments[place].start)
                if whole.start < start and (stage := self._stage(whole, after, is_hit=True)):
                    return stage
                stage = self._stage(stretch, after, is_hit=True)
            else:
                key = stretch, after
                if key not in self._compiled:
                    self._compiled[key] = self._stage(stretch, after, is_hit=False)
                stage = self._compiled[key]
            if stage is not None:
                return stage
        return None

    def _end(self, after: int) -> tuple[int, tuple[str, ...]]:
        """Return where a stretch up to a boundary stops, and what is needed behind it."""
        if after < len(self._chain):
            segment = self._chain.segments[after - 1]
            return segment.stop, segment.outputs
        scores = self._graph.scores.name  # by what a softmax is given it is judged
        return max(self._graph.flow.position[scores] + 1, 0), (scores,)

    def _stage(self, stretch: Stretch, after: int, *, is_hit: bool) -> Stage | None:
        """Return a stage, traced; None where it cannot be taken on boxes."""
        graph = self._graph
        dtype = graph.flow.tensor(stretch.target).dtype
        rows = tf.TensorSpec((None,), tf.int32)
        given: tuple[tf.TensorSpec, ...] = (
            tf.TensorSpec((None, len(stretch.extents)), tf.int32),
            tf.TensorSpec((None, *stretch.extents), dtype),
        )
        if is_hit:
            word = tf.TensorSpec((None,), bits.layout(dtype.name).word)
            given = rows, word, word
        judges = after == len(self._chain)
        found: list[Any] = []

        def body(rows: Any, *given: Any) -> tuple[Any, ...]:
            golden: dict[str, Any] = {}

            def read(name: str) -> Any:
                if name not in golden:
                    golden[name] = self._held(name)
                return golden[name]

            region = Region(graph, stretch, rows, read, self._chain.fixed)
            if is_hit:
                shape = (graph.shapes[stretch.target] or ())[1:]
                element, keep, flip = given
                start, differ = _place(element, shape), partial(_hit, keep, flip)
            else:
                start, differ = given[0], partial(_laid, given[1])
            reached = region.reach(start, differ, all_of_it=judges)
            found.extend([region, reached, golden])
            if judges:
                scores, golden_outputs = reached.values, tf.gather(read(graph.output.name), rows)
                outputs = tf.nn.softmax(scores) if graph.scores is not graph.output else scores
                return self._judged(scores, outputs, golden_outputs, reached.doubtful)
            fate = tf.where(reached.same, GOLDEN, ALIVE)
            fate = tf.cast(tf.where(reached.doubtful, DOUBTFUL, fate), tf.uint8)
            return fate, reached.begins, reached.values

        try:
            function = tf.function(body, autograph=False).get_concrete_function(rows, *given)
        except NoRegion as reason:
            logger.debug("%s: no boxes up to %s: %s", stretch.target, stretch.ends, reason)
            return None
        region, reached, golden = found
        fitting = max(1, BATCH_BYTES // max(1, region.widest))  # 4 bytes each of 4 that are alive
        most = int(min(MOST_ROWS, 2 ** (fitting.bit_length() - 1)))
        return Stage(
            stretch,
            after,
            rows=most,
            golden=tuple(golden),
            end=reached.name,
            extents=tuple(reached.values.shape[1:]),
            work=region.work,
            judges=judges,
            summed=frozenset(region.summed),
            function=function,
        )

    def _held(self, name: str) -> Any:
        """Return a golden tensor that is held whenever a stage is run."""
        shape = (self._graph.shapes[name] or ())[1:]
        spec = tf.TensorSpec((None, *shape), self._graph.flow.tensor(name).dtype)
        return at_each_call(partial(self._cache.tensor, name), spec)

    def measured(self, summed: frozenset[str], deviation: Callable[[], float | None]) -> None:
        """Have the bound on what rounding does where some sums are taken otherwise than densely.

        It is measured behind the first layer that is asked for, and again behind one of which other
        sums are taken on boxes: what has no others rounds less often.

        Args:
            summed: The sums.
            deviation: Tries it, and returns how far scores were apart; None where it cannot tell.
        """
        known = [bound for others, bound in self._bounds.items() if summed <= others]
        if not known:
            apart = deviation()
            known = [SUPPOSED if apart is None else SAFETY * max(apart, 2.0**-24)]
            self._bounds[summed] = known[0]
        self.bound = max(known)

    def widen(self, stage: Stage, rows: Any, begins: Any, values: Any) -> Tensors:
        """Return a batch of whole tensors at the boundary behind a stage.

        Args:
            stage: The stage.
            rows: int32 [batch], the rows of golden tensors.
            begins: int32 [batch, axes], where boxes begin.
            values: [batch, *extents], what they hold.
        """
        names = self._chain.boundary(stage.after)
        golden = self._cache.tensors(stage.after)

        def body(golden: Any, rows: Any, begins: Any, values: Any) -> Tensors:
            at = names.index(stage.end)
            is_whole = values.shape[1:] == golden[at].shape[1:]
            tensors = [
                None if number == at and is_whole else tf.gather(one, rows)
                for number, one in enumerate(golden)
            ]
            tensors[at] = values if is_whole else _written(tensors[at], begins, values)
            return tuple(tensors)

        given = golden, tf.constant(rows), begins, values
        key = stage.after, stage.end, stage.extents
        if key not in self._functions:
            self._functions[key] = _compiled(body, *given)
        found: Tensors = self._functions[key](*given)
        return found

    def judge(self, tensors: Tensors, rows: Any) -> Any:
        """Judge a batch at the end of the chain; returns what a stage that judges does.

        Args:
            tensors: What the last segment gave out.
            rows: int32 [batch], the rows of golden tensors.
        """
        golden = self._cache.tensors(len(self._chain))[0]

        def body(golden: Any, tensors: Tensors, rows: Any) -> Any:
            return self._judged(tensors[-1], tensors[0], tf.gather(golden, rows), False)

        given = golden, tensors, tf.constant(rows)
        key = "judge", len(rows)
        if key not in self._functions:
            self._functions[key] = _compiled(body, *given)
        return self._functions[key](*given)

    def _judged(self, scores: Any, outputs: Any, golden: Any, doubtful: Any) -> tuple[Any, ...]:
        """Return what is found of samples at the end of the model."""
        bound = at_each_call(
            lambda: tf.constant(self.bound, tf.float64), tf.TensorSpec((), tf.float64)
        )
        is_softmax = self._graph.scores is not self._graph.output
        code, classes, close = judged(outputs, scores, golden, bound=bound, is_softmax=is_softmax)
        fate = tf.cast(tf.where(close | doubtful, DOUBTFUL, ALIVE), tf.uint8)
        return fate, code, classes, scores


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


def at_each_call(value: Callable[[], Any], spec: tf.TensorSpec) -> Any:
    """Return a tensor in the graph that is being traced, whose value is asked for at each call."""
    return tf.compat.v1.get_default_graph().capture_call_time_value(value, spec)


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


def _compiled(body: Callable[..., Any], golden: Any, *batch: Any) -> Any:
    """Return a function for a batch like one, whatever the number of golden samples."""

    def spec(one: Any, rows: int | None) -> tf.TensorSpec:
        return tf.TensorSpec((rows, *one.shape[1:]), one.dtype)

    specs = [
        tf.nest.map_structure(lambda one: spec(one, None), golden),
        *(tf.nest.map_structure(lambda one: spec(one, one.shape[0]), part) for part in batch),
    ]
    return tf.function(body, autograph=False).get_concrete_function(*specs)


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
