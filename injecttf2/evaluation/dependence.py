"""Whether what a model gives out for a sample is its own, not chance's nor its neighbours'.

An injected sample is evaluated beside samples of other trials, at any place of a batch and at any
time. A model that heeds those would make outcomes of its company. So the segments of a model are
tried one by one on a few samples without faults: a second time, and in other company, which is a
batch of another size in another order, with neighbours of huge values, or copies of one sample
where numbers are whole or a check of the model's own does not let huge ones pass. Each segment
takes the very same numbers for a sample in both cases: what differs is its own doing. What Python
draws is a constant of the graph: so the model is also traced a second time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from injecttf2 import bits
from injecttf2.datasets import Dataset
from injecttf2.errors import ModelError
from injecttf2.evaluation.batching import ALIKE, batch_size
from injecttf2.graph.cost import elements
from injecttf2.graph.dataflow import Dataflow
from injecttf2.graph.functions import Cutter, Segment, read_value, segment_of
from injecttf2.graph.importing import Importer, Values
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.points import Point
from injecttf2.graph.segments import chain_of
from injecttf2.graph.tracing import trace

TOLERANCE = 2.0**-16
"""Most that a layer may differ, relative to the largest value that it gives out.

It is that of ``masked``: what differs by more may make an outcome. Rounding comes nowhere near.
Where the place in a batch mattered to it, the layers of all families of models that the tests have
differed by at most 2^-22 in single precision, and a whole EfficientNet by 2^-20; in batches of 24
nothing differed by a bit.
"""

UNITS = 4
"""The same in units in the last place, for numbers of less than single precision."""

WILD = 1000.0
"""What the values of neighbours are multiplied by, and moved away from 0 by."""

logger = logging.getLogger("injecttf2")

AGAIN = "the second time, for the very same samples"
BESIDE_OTHERS = "beside other samples or another number of them, or at another place in the batch"

HINTS = {
    AGAIN: "let it draw no random numbers and keep no state between calls when training is False; "
    "take the mean in place of a sample of a distribution, stateful=False in a recurrent layer",
    BESIDE_OTHERS: "let it compute each sample by itself when training is False: take no mean, "
    "maximum, order or normalisation over the batch, nor its size, but statistics of the training "
    "data",
}


def check(graph: ModelGraph, dataset: Dataset) -> None:
    """See that what a model gives out for a sample depends on that sample alone.

    Args:
        graph: The model.
        dataset: The data, of which up to ``ALIKE`` samples are taken, or what the model insists on.

    Raises:
        ModelError: It depends on chance, on what ran before or on other samples; the message names
            the layer where that begins.
    """
    for found in (_stateful(graph), _traced_otherwise(graph)):
        if found is not None:
            raise _refusal(graph, found, AGAIN)
    _Check(graph, dataset).run()


def _stateful(graph: ModelGraph) -> Point | None:
    """Return the first point that depends on a variable which inference also assigns to."""
    read = graph.reading.read
    return _first_from(graph, [name for key in graph.trace.assigned for name in read.get(key, ())])


def _traced_otherwise(graph: ModelGraph) -> Point | None:
    """Return the first point that depends on what is another when the model is traced anew.

    That is a number that Python drew: each process would have a graph of its own.
    """
    again = trace(graph.model, [tuple(one.shape[1:]) for one in graph.trace.inputs])
    operations = (one.graph.get_operations() for one in (graph.trace, again))
    pairs = zip(*operations, strict=False)  # where one has more, they differ before
    other = [one for one, two in pairs if _content(one) != _content(two)]
    return _first_from(graph, [tensor.name for one in other for tensor in one.outputs])


def _content(operation: Any) -> tuple[str, bytes]:
    """Return what an operation is, and the number that it holds."""
    if operation.type != "Const" or operation.outputs[0].dtype == tf.string:
        return operation.type, b""
    return operation.type, operation.get_attr("value").SerializeToString()


def _first_from(graph: ModelGraph, names: Sequence[str]) -> Point | None:
    """Return the first point that depends on some tensors."""
    first = graph.flow.first_use(names) if names else None
    return None if first is None else _point_from(graph, graph.flow, first)


def _point_from(graph: ModelGraph, flow: Dataflow, index: int) -> Point:
    """Return the point that an operation of the path leads to first."""
    held = [one for one in graph.points if one.tensor is not None and not one.is_input]
    ends = [(flow.position.get(one.name, -1), one) for one in held]
    return next((one for end, one in ends if end >= index), held[-1])


def _refusal(graph: ModelGraph, point: Point, when: str) -> ModelError:
    return ModelError(
        "what the model gives out for a sample is not its own: the layer "
        f"{point.layer!r} ({graph.type_of(point)}) gives out other values {when}",
        hint=HINTS[when],
    )


class _Check:
    """Runs a model segment by segment, on samples as they are and on the same in other company.

    Args:
        graph: The model.
        dataset: The data.
    """

    def __init__(self, graph: ModelGraph, dataset: Dataset) -> None:
        self._graph = graph
        points = [one.name for one in graph.points if one.reason is None]
        # For any number of samples: nothing is a constant of the batch.
        self._flow = Dataflow(graph.trace, [graph.output], points)
        self._importer = Importer(graph.trace.graph, graph.trace.captures)
        self._segments = chain_of(
            self._flow, graph.shapes, graph.samples, graph.trace.reads, math.inf
        )
        size = graph.batch or max(2, min(ALIKE, batch_size(max(map(self._bytes, points)))))
        self._size = size
        half = size // 2
        self._own_count = size - half
        # A batch of another size, if the model takes one; neighbours there are in any case.
        self._neighbours = half if graph.batch else half // 2 or 2
        self._alike: set[str] = set()  # tensors whose samples are their own
        self._astray: dict[str, Point] = {}  # those without an axis of samples that differ
        chosen = np.linspace(0, len(dataset) - 1, size).astype(np.int64)
        arrays = dict(zip(self._flow.inputs, dataset.input_arrays, strict=True))
        self._values = {name: tf.constant(arrays[name][chosen]) for name in arrays}

    def run(self) -> None:
        """Try all segments.

        Raises:
            ModelError: A sample's values are not its own.
        """
        values = self._values
        others = {name: self._moved(one, wild=True) for name, one in values.items()}
        for segment in self._segments:
            points = self._points_in(segment)
            function = self._compiled(segment, points)
            try:
                made, again = (_run(function, segment, values) for _ in range(2))
            except tf.errors.OpError as error:  # the golden run fails too, or it is told here
                logger.warning(
                    "whether a sample's output is its own was not tried from the layer %r on, "
                    "which raised %s",
                    self._raising(segment, values).layer,
                    type(error).__name__,
                )
                return
            ends = [name for name in segment.outputs if name in self._flow.position]
            for name in dict.fromkeys([*(point.name for point in points), *ends]):
                if _differ(made[name], again[name], TOLERANCE):
                    point = _point_from(self._graph, self._flow, self._flow.position[name])
                    raise _refusal(self._graph, point, AGAIN)
            company = self._in_company(function, segment, values, others)
            for point in points:
                self._compare(point, made[point.name], company[point.name])
            values = {name: made[name] for name in segment.outputs}
            self._compare_ends(segment, values, company)
            others = {name: self._moved(one, wild=True) for name, one in values.items()}

    def _points_in(self, segment: Segment) -> list[Point]:
        held = [one for one in self._graph.points if one.tensor is not None]
        inside = range(segment.start, segment.stop)
        return [one for one in held if self._flow.position.get(one.name, -1) in inside]

    def _compiled(self, segment: Segment, points: Sequence[Point]) -> Any:
        """Return the function of a segment that gives out its points too, by name."""
        names = dict.fromkeys([*segment.outputs, *(point.name for point in points)])
        whole = replace(segment, outputs=tuple(names))
        specs = {name: self._spec(name) for name in (*whole.inputs, *whole.outputs)}
        graph = self._graph
        specs.update((name, graph.spec(name, 1)) for name in segment.reads)
        compiled = Cutter(self._flow, self._importer).cut(whole, specs, {})
        reads = tuple(read_value(graph.trace, name) for name in segment.reads)
        return lambda given: dict(zip(whole.outputs, compiled(given, reads, ())[0], strict=True))

    def _spec(self, name: str) -> tf.TensorSpec:
        """Return shape and dtype of a tensor, for any number of samples if the model takes it."""
        shape, dtype = self._graph.shapes[name], self._flow.tensor(name).dtype
        if self._graph.batch is not None:
            return tf.TensorSpec(shape, dtype)
        if shape is None or shape[:1] != (self._graph.samples,):
            return tf.TensorSpec(None, dtype)
        return tf.TensorSpec((None, *shape[1:]), dtype)

    def _in_company(
        self, function: Any, segment: Segment, values: Values, others: Values
    ) -> Values:
        """Run a segment beside wild neighbours, or tame ones where these make it raise."""
        try:
            return _run(function, segment, others)
        except tf.errors.OpError:
            others = {name: self._moved(one) for name, one in values.items()}
        try:
            return _run(function, segment, others)
        except tf.errors.OpError as error:
            point = self._origin(self._raising(segment, others))
            raise ModelError(
                f"what the model gives out for a sample is not its own: the layer {point.layer!r} "
                f"({type(point.operation).__name__}) raises {type(error).__name__} {BESIDE_OTHERS}",
                hint=HINTS[BESIDE_OTHERS],
            ) from error

    def _raising(self, segment: Segment, values: Values) -> Point:
        """Return the first point of a segment that values do not get to without raising."""
        graph = self._graph
        for point in self._points_in(segment):
            stop = self._flow.position[point.name] + 1
            part = segment_of(self._flow, segment.start, stop, graph.trace.reads)
            try:
                _run(self._compiled(part, ()), part, values)
            except tf.errors.OpError:
                return point
        return _point_from(graph, self._flow, segment.stop - 1)

    def _compare(self, point: Point, made: Any, company: Any) -> None:
        tolerance = max(TOLERANCE, UNITS * _precision(point, made))
        if made.shape[:1] != [self._size] or point.reason is not None:
            if _differ(made, company, tolerance):
                self._astray[point.name] = point
        elif _differ(self._own(self._moved(made)), self._own(company), tolerance):
            raise _refusal(self._graph, self._origin(point), BESIDE_OTHERS)
        else:
            self._alike.add(point.name)

    def _compare_ends(self, segment: Segment, values: Values, company: Values) -> None:
        """Compare what is no point."""
        for name, made in values.items():
            tolerance = max(TOLERANCE, UNITS * _unit(made.dtype.name))
            if _differ(self._own(self._moved(made)), self._own(company[name]), tolerance):
                point = _point_from(self._graph, self._flow, segment.stop - 1)
                raise _refusal(self._graph, self._origin(point), BESIDE_OTHERS)

    def _origin(self, point: Point) -> Point:
        """Return where samples were mixed that a point shows.

        That is at a tensor without an axis of samples, if one leads there, else at the point.
        """
        found = [point]
        waiting, seen = [point.tensor], set(self._alike)
        while waiting:
            for one in waiting.pop().op.inputs:
                if one.name not in seen:
                    seen.add(one.name)
                    waiting.append(one)
                    found.extend([self._astray[one.name]] if one.name in self._astray else [])
        return min(found, key=lambda one: self._flow.position.get(one.name, len(self._flow.path)))

    def _moved(self, tensor: Any, *, wild: bool = False) -> Any:
        """Return a batch of neighbours and then the later half of the samples, in opposite order.

        Neighbours are wild where they are asked to be and have a floating-point dtype, else all of
        them are one and the same sample: a mean over the batch is another then.
        """
        moved, count = tf.reverse(tensor, [0]), self._neighbours
        if wild and tensor.dtype.is_floating:
            signs = tf.constant([(-1.0) ** row for row in range(count)], tensor.dtype)
            signs = tf.reshape(signs, (count, *[1] * (tensor.shape.rank - 1)))
            neighbours = (moved[:count] + 1) * WILD * signs
        else:
            neighbours = tf.gather(tensor, np.zeros(count, np.int32))
        return tf.concat([neighbours, self._own(moved)], axis=0)

    def _own(self, moved: Any) -> Any:
        """Return what is not neighbours."""
        return moved[-self._own_count :]

    def _bytes(self, name: str) -> int:
        shape = self._graph.shapes[name] or ()
        return 8 * elements(shape[1:])


def _run(function: Any, segment: Segment, values: Values) -> Values:
    found: Values = function(tuple(values[name] for name in segment.inputs))
    return found


def _precision(point: Point, tensor: Any) -> float:
    """Return the unit in the last place of 1 in the least precise numbers of a layer."""
    names = tensor.dtype.name, getattr(point.operation, "compute_dtype", "")
    return max(map(_unit, names))


def _unit(dtype: str) -> float:
    """Return the unit in the last place of 1; 0 for whole numbers."""
    return 2.0 ** -bits.LAYOUTS[dtype].mantissa if dtype in bits.LAYOUTS else 0.0


def _differ(one: Any, other: Any, tolerance: float) -> bool:
    """Return whether values differ by more than a share of the largest finite magnitude."""
    if one.dtype in (tf.string, tf.resource, tf.variant):  # not injected
        return False
    if one.shape != other.shape:
        return True
    values, others = (tensor.numpy().astype(np.float64) for tensor in (one, other))
    with np.errstate(invalid="ignore"):
        same = (values == others) | (np.isnan(values) & np.isnan(others))
        difference = np.where(same, 0, np.abs(values - others))
    largest = np.abs(values[np.isfinite(values)]).max(initial=0.0)
    return not (difference <= tolerance * largest).all()
