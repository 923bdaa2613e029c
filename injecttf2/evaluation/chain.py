"""A model as a chain of compiled segments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from injecttf2 import bits
from injecttf2.evaluation.batching import ALIKE, batch_size
from injecttf2.graph.cost import elements
from injecttf2.graph.functions import Segment, read_value
from injecttf2.graph.model_graph import ModelGraph
from injecttf2.graph.segments import chain_of
from injecttf2.graph.shapes import OPAQUE

FEW_SEGMENTS = 4
"""With fewer a fault late in a model costs most of it: then golden tensors are held of fewer
samples at a time, which takes a run of the model for each layer."""

BLOCK = 48
"""Samples that they are held of then, at least."""

KEPT = 32
"""Functions of layers that are kept compiled, those used last."""

Tensors = tuple[Any, ...]


class Chain:
    """The segments of a model, each compiled when it is first needed.

    Boundary ``k`` is before segment ``k``; the last one, behind all segments, holds what is judged.

    Args:
        graph: The model.
        samples: Samples in the data set.
        memory: Bytes that golden tensors at the boundaries may take, if possible of all samples.

    Attributes:
        segments: The segments.
        batch: Samples that go through each segment at a time.
    """

    def __init__(self, graph: ModelGraph, samples: int, memory: float) -> None:
        self.graph = graph
        self._samples = samples
        reads = graph.trace.reads
        self.segments = self._cut(memory / samples)
        if len(self.segments) < FEW_SEGMENTS and samples > BLOCK:
            self.segments = max(self.segments, self._cut(memory / BLOCK), key=len)
        self.batch = tuple(map(self._batch, self.segments))
        self._plain: dict[int, Any] = {}
        self._with_points: dict[tuple[Any, ...], Any] = {}
        self._constants: dict[int, Mapping[str, Any]] = {}
        self.reads = {name: read_value(graph.trace, name) for name in reads}

    def __len__(self) -> int:
        return len(self.segments)

    def boundary(self, place: int) -> tuple[str, ...]:
        """Return the names of the tensors at a boundary."""
        if place == len(self):
            return self.segments[-1].outputs
        return self.segments[place].inputs

    def row_bytes(self, place: int) -> int:
        """Return the bytes of a sample at a boundary."""
        return sum(self.bytes_of(name) for name in self.boundary(place))

    def segment_of(self, point: str) -> int:
        """Return the segment that a fault in a tensor comes in with.

        That is the one that begins with it, or else the one that it is in.
        """
        position = self.graph.flow.position[point] + 1
        found = 0
        for index, segment in enumerate(self.segments):
            begins = segment.start == position and point in segment.inputs
            if begins or segment.start < position:
                found = index
        return found

    def readers(self, names: Sequence[str]) -> tuple[int, int] | None:
        """Return the first and the last segment that reads some of variables; None where none does.

        Args:
            names: Names of the tensors that hold what is read.
        """
        using = [
            index
            for index, segment in enumerate(self.segments)
            if not set(names).isdisjoint(segment.reads)
        ]
        return (using[0], using[-1]) if using else None

    def run(
        self,
        index: int,
        given: Tensors,
        *,
        reads: Mapping[str, Any] | None = None,
        points: tuple[str, ...] = (),
        words: Sequence[Any] = (),
        until: str | None = None,
        ends: tuple[str, ...] | None = None,
    ) -> tuple[Tensors, Tensors]:
        """Run a segment on a batch.

        Args:
            index: Which.
            given: Tensors at the boundary before it, [batch, ...].
            reads: What stands in the place of variables, by the names of what is read of them.
            points: Tensors in which words change.
            words: For each of them ``place``, ``keep`` and ``flip``; see :class:`graph.Cutter`.
            until: The last of them, if nothing behind it is to run.
            ends: Tensors inside the segment to be given out in place of those behind it.

        Returns:
            The tensors at the boundary behind it, and for each point the words before.
        """
        read = {**self.reads, **(reads or {})} if reads else self.reads
        values = tuple(read[name] for name in self.segments[index].reads)
        function = self.function(index, points, until, ends)
        outputs, before = function(given, values, tuple(words))
        return outputs, before

    def function(
        self,
        index: int,
        points: tuple[str, ...] = (),
        until: str | None = None,
        ends: tuple[str, ...] | None = None,
    ) -> Any:
        """Return the compiled function of a segment, compiling it when it is first asked for."""
        if not points and ends is None:
            if index not in self._plain:
                self._plain[index] = self._compiled(self.segments[index], index, ())
            return self._plain[index]
        key = index, points, until, ends
        found = self._with_points.pop(key, None)
        if found is None:
            segment = self.segments[index]
            if until is not None:
                stop = max(segment.start, self.graph.flow.position[until] + 1)
                segment = replace(segment, stop=stop, outputs=())
            if ends is not None:
                stop = max(self.graph.flow.position[name] + 1 for name in ends)
                segment = replace(segment, stop=stop, outputs=ends)
            found = self._compiled(segment, index, points)
        self._with_points[key] = found  # used last
        for forgotten in list(self._with_points)[:-KEPT]:
            del self._with_points[forgotten]
        return found

    @cached_property
    def fixed(self) -> Mapping[str, Any]:
        """Tensors that operations are given and that do not depend on the data, by name."""
        graph, flow = self.graph, self.graph.flow
        names = {
            tensor.name
            for operation in flow.path
            for tensor in operation.inputs
            if tensor.name not in flow.position and tensor.dtype not in OPAQUE
        }
        return graph.fixed(tuple(sorted(names)), self.reads)

    @cached_property
    def unit(self) -> int:
        """Samples of which blocks hold a multiple, so that each has its place in every batch."""
        return math.lcm(ALIKE, *(size for size in self.batch if size % ALIKE))

    def _cut(self, row_bytes: float) -> tuple[Segment, ...]:
        graph = self.graph
        return chain_of(graph.flow, graph.shapes, graph.samples, graph.trace.reads, row_bytes)

    def _compiled(self, segment: Segment, index: int, points: tuple[str, ...]) -> Any:
        batch = self.batch[index]
        names = {*segment.inputs, *segment.outputs, *segment.reads}
        specs = {name: self.graph.spec(name, batch) for name in names}
        if batch not in self._constants:
            self._constants[batch] = self.graph.constants(batch)
        return self.graph.cutter.cut(segment, specs, self._constants[batch], points)

    def _batch(self, segment: Segment) -> int:
        graph = self.graph
        if graph.batch is not None:
            return graph.batch
        part = graph.flow.path[segment.start : segment.stop]
        names = {*segment.inputs, *(one.name for op in part for one in op.outputs)}
        widest = max(map(self.bytes_of, names), default=1)
        return batch_size(widest, samples=self._samples, may_raise=graph.may_raise)

    def bytes_of(self, name: str) -> int:
        """Return the bytes of a sample in a tensor."""
        graph = self.graph
        dtype = graph.flow.tensor(name).dtype.name
        width = bits.numpy_dtype(dtype).itemsize if dtype in bits.DTYPES else 1
        return elements(graph.shapes[name]) * width // graph.samples
