"""Where faults come in at level ``difference``: as words of a layer's output, or in one channel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2 import bits
from injecttf2.acceleration.rules import again
from injecttf2.acceleration.stages import Stage, Stages, at_each_call
from injecttf2.evaluation.batching import BATCH_BYTES, batches, side_by_side
from injecttf2.evaluation.faults import Faults, OutputFaults, WeightFaults, Words, some
from injecttf2.evaluation.golden_cache import GoldenCache
from injecttf2.faults import masks
from injecttf2.graph.cost import elements, work
from injecttf2.graph.model_graph import ModelGraph

Index = npt.NDArray[np.int64]

KEPT = 4096
"""Faults of which it is kept which channel they act on."""

Channel = tuple[int, npt.NDArray[Any]]
"""An output channel of an operation, and what the operation is given for it."""

TRIED = 96
"""Samples that are evaluated both ways to see how far rounding takes them apart."""


class Entry(ABC):
    """Where faults come in.

    Attributes:
        first: The segment that they come in with.
        golden: Names of the golden tensors that :meth:`state` reads.
        width: Elements of what differs in a sample there.
        work: The counted work of :meth:`state` for a sample.
        summed: What it sums otherwise than densely.
    """

    first: int
    golden: tuple[str, ...] = ()
    width: int = 1
    work: float = 0.0
    summed: frozenset[str] = frozenset()

    @abstractmethod
    def stages(self, compiled: Stages) -> list[Stage]:
        """Return what samples are taken through on boxes."""

    @abstractmethod
    def takes(self, faults: Sequence[Faults]) -> bool:
        """Return whether faults come in here, and nowhere else."""

    @abstractmethod
    def state(self, faults: Sequence[Faults], index: Index) -> tuple[Any, ...]:
        """Return what the first stage takes, [samples, ...] each.

        Args:
            faults: What is wrong with samples.
            index: int64, ascending, which of these samples.
        """

    @abstractmethod
    def tried(self, generator: np.random.Generator, samples: int) -> list[Faults]:
        """Return random faults in ``TRIED`` of the golden samples."""


class OutputEntry(Entry):
    """One word of a layer's output in each sample.

    Args:
        graph: The model.
        point: Name of the layer's tensor.
        segment: The segment that a fault comes in with.
    """

    def __init__(self, graph: ModelGraph, point: str, segment: int) -> None:
        self.first = segment
        self._point = point
        self._shape = (graph.shapes[point] or ())[1:]
        self._dtype = graph.flow.tensor(point).dtype.name

    def stages(self, compiled: Stages) -> list[Stage]:
        """Return what samples are taken through on boxes."""
        return compiled.of(self._point, self.first)

    def takes(self, faults: Sequence[Faults]) -> bool:
        """Return whether one word of each sample changes, and none is to be noted."""
        (one,) = faults
        return isinstance(one, OutputFaults) and one.is_single and not one.seen

    def state(self, faults: Sequence[Faults], index: Index) -> tuple[Any, ...]:
        """Return elements, and what is done to their words."""
        (one,) = faults
        assert isinstance(one, OutputFaults)  # noqa: S101 - for the type checker
        (words,) = one.words
        return words.element[index], words.changes.keep[index], words.changes.flip[index]

    def tried(self, generator: np.random.Generator, samples: int) -> list[Faults]:
        """Return flips of random bits."""
        size = elements(self._shape)
        rows = generator.integers(samples, size=TRIED).astype(np.int32)
        element = generator.integers(size, size=TRIED).astype(np.int32)
        bit = generator.integers(bits.layout(self._dtype).width, size=TRIED)
        flips = masks.flip(bits.masks(bit, self._dtype))
        words = Words(np.arange(TRIED, dtype=np.int32), element, flips)
        return [OutputFaults(rows, [words], [(self.first, self._point, size)])]


class ChannelEntry(Entry):
    """Weights of which each acts on one output channel of one operation.

    That is so for all that operations of ``BY_CHANNEL`` are given beside the data, as the last axis
    of both are channels; of a depthwise kernel the last two are.

    Args:
        cache: The model, and its golden tensors.
        reads: Names of what is read of a variable.

    Raises:
        LookupError: They act on more, or it is not known that they do not.
    """

    BY_CHANNEL = frozenset(
        ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BiasAdd", "Mul", "AddV2", "Sub")
    )

    def __init__(self, cache: GoldenCache, reads: Sequence[str]) -> None:
        graph = cache.chain.graph
        flow = graph.flow
        using = [one for one in flow.path if not set(reads).isdisjoint(flow.closure([one]))]
        if len(using) != 1 or len(reads) != 1 or using[0].type not in self.BY_CHANNEL:
            raise LookupError("several operations, or one that does not go by channels")
        (self._operation,) = using
        inputs = [one.name for one in self._operation.inputs]
        moving = [at for at, name in enumerate(inputs) if name in flow.position]
        bounds = cache.chain.readers(reads)
        if len(moving) != 1 or bounds is None:
            raise LookupError("not one tensor that depends on the data, beside one that does not")
        (self._number,) = moving
        self._bounds = bounds
        self._given, self._beside = inputs[self._number], inputs[1 - self._number]
        self._output = self._operation.outputs[0].name
        self._shape = tuple(size or 0 for size in (graph.shapes[self._output] or ())[1:])
        self._read = reads[0]
        self._channels: dict[int, tuple[Any, Channel | None]] = {}
        self._check(graph, tuple(flow.tensor(self._beside).shape))
        self.first = cache.chain.segment_of(self._output)
        self.golden = (self._given,)
        self.summed = frozenset([f"channel of {self._output}"])
        self.width = elements(self._shape[:-1])
        size = elements((graph.shapes[self._given] or ())[1:])
        self._rows = max(1, BATCH_BYTES // (4 * max(1, size)))
        self.work = work(self._operation, graph.shapes) / graph.samples / self._shape[-1]
        self._cache = cache

    def _check(self, graph: ModelGraph, operand: tuple[int | None, ...]) -> None:
        operation, given = self._operation, (graph.shapes[self._given] or ())[1:]
        if None in operand or not self._shape:
            raise LookupError("what stands beside the data depends on how many there are")
        last = operation.type in ("Conv2D", "DepthwiseConv2dNative", "BiasAdd")
        if last and operation.get_attr("data_format") != b"NHWC":
            raise LookupError("channels first")
        element_wise = operation.type in ("Mul", "AddV2", "Sub")
        if self._number != 0 and not element_wise:
            raise LookupError("data in the place of a kernel")
        if operation.type == "MatMul" and operation.get_attr("transpose_b"):
            raise LookupError("a matrix that is transposed")
        if operation.type == "Conv2D" and operand[2] != given[-1]:
            raise LookupError("groups of channels")
        if not self._is_depthwise and operand[-1:] != self._shape[-1:]:
            raise LookupError("a number for several channels")
        if element_wise and (given != self._shape or len(operand) > len(given)):
            raise LookupError("a tensor that is broadcast against another")

    def stages(self, compiled: Stages) -> list[Stage]:
        """Return what samples are taken through on boxes."""
        return compiled.of(self._output, self.first, channel=True)

    def takes(self, faults: Sequence[Faults]) -> bool:
        """Return whether the weights of one channel change."""
        return all(self._channel(one) is not None for one in faults)

    @cached_property
    def _of(self) -> Any:
        """Takes a value of the variable, and returns what the operation is given."""
        cache = self._cache
        return cache.chain.graph.fixed_of((self._beside,), cache.chain.reads, but=self._read)

    @cached_property
    def _operand(self) -> npt.NDArray[Any]:
        """What the operation is given beside the data."""
        operand: npt.NDArray[Any] = self._of(self._cache.chain.reads[self._read])[0].numpy()
        return operand

    def _channel(self, fault: Faults) -> Channel | None:
        """Return the channel that a fault acts on; None where it acts on several."""
        assert isinstance(fault, WeightFaults)  # noqa: S101 - for the type checker
        if list(fault.reads) != [self._read]:
            return None
        read = fault.reads[self._read]
        if id(read) not in self._channels:
            if len(self._channels) >= KEPT:
                self._channels.clear()
            self._channels[id(read)] = read, self._found(read)  # which is thus not freed
        return self._channels[id(read)][1]

    def _found(self, read: Any) -> Channel | None:
        columns = self._of(read)[0].numpy().reshape(-1, self._shape[-1])
        same = columns.view(np.uint8) == self._operand.reshape(columns.shape).view(np.uint8)
        differ = np.flatnonzero(~same.reshape(*columns.shape, -1).all((0, 2)))
        if len(differ) > 1:
            return None
        channel = int(differ[0]) if len(differ) else 0  # a change may be lost on the way there
        return channel, columns[:, channel].reshape(self._column_shape)

    def state(self, faults: Sequence[Faults], index: Index) -> tuple[Any, ...]:
        """Return where the channel begins, and what the operation gives out there."""
        work: list[tuple[Any, ...]] = []
        for fault in some(faults, index):
            found = self._channel(fault)
            assert found is not None  # noqa: S101 - such faults are not taken
            channel, column = np.int32(found[0]), found[1]
            parts = [fault.rows[slice(*bound)] for bound in batches(len(fault), self._rows)]
            work += [(rows, channel, column) for rows in parts]
        values = side_by_side(lambda one: self._values(*map(tf.constant, one)), work)
        together = tf.concat(list(values), 0)
        begins = np.zeros((len(index), len(self._shape)), np.int32)
        begins[:, -1] = np.repeat([one for _, one, _ in work], [len(rows) for rows, _, _ in work])
        return begins, together

    def tried(self, generator: np.random.Generator, samples: int) -> list[Faults]:
        """Return flips of random bits, each in some samples."""
        golden = self._cache.chain.reads[self._read].numpy()
        found: list[Faults] = []
        for rows in np.split(generator.integers(samples, size=TRIED).astype(np.int32), 8):
            read = golden.copy()
            place = generator.integers(read.size)
            bit = generator.integers(bits.layout(read.dtype.name).width, size=1)
            flip = masks.flip(bits.masks(bit, read.dtype.name))
            read.reshape(-1)[place] = flip.apply(read.reshape(-1)[place : place + 1])[0]
            reads = {self._read: tf.constant(read)}
            found.append(WeightFaults(rows, reads, *self._bounds))
        return [one for one in found if self.takes([one])]

    @cached_property
    def _column_shape(self) -> tuple[int, ...]:
        """The shape of what the operation is given for one channel."""
        shape = self._operand.shape
        return (*shape[:-2], 1, 1) if self._is_depthwise else (*shape[:-1], 1)

    @property
    def _is_depthwise(self) -> bool:
        return bool(self._operation.type == "DepthwiseConv2dNative")

    @cached_property
    def _values(self) -> Any:
        """Takes rows, int32 [rows], a channel, and what the operation is given there.

        Returns what it gives out there, [rows, ..., 1].
        """
        graph = self._cache.chain.graph
        tensor = graph.flow.tensor(self._given)
        shape = (graph.shapes[self._given] or ())[1:]
        whole = self._operation.type in ("Conv2D", "MatMul")
        times = self._operand.shape[-1] if self._is_depthwise else 1

        def body(rows: Any, channel: Any, operand: Any) -> Any:
            spec = tf.TensorSpec((None, *shape), tensor.dtype)
            given = at_each_call(partial(self._cache.tensor, self._given), spec)
            given = tf.gather(given, rows)
            if not whole:
                first = channel // times
                given = given[..., first : first + 1]
            inputs = [operand, operand]
            inputs[self._number] = given
            return again(self._operation, inputs)

        operand = tf.TensorSpec(self._column_shape, self._operand.dtype)
        rows, channel = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.int32)
        return tf.function(body, autograph=False).get_concrete_function(rows, channel, operand)
