"""Golden tensors of a block of samples, on the device.

The golden data of a cut live on the device for one block of samples at a time, as large a block as
the memory allows; where the whole data set fits, they are computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from injecttf2.batches import batch_size, padded, padded_count, side_by_side
from injecttf2.datasets import Dataset
from injecttf2.errors import ModelError
from injecttf2.graph import Cut, Graph, Values
from injecttf2.rules.linear import sums
from injecttf2.windows import GoldenKey, Sums, tensor_of

ON_ANY_DEVICE = (
    *("float16", "bfloat16", "float32", "float64"),
    *("int8", "int64", "uint8", "uint64"),
)
"""dtypes that GPUs write in place. Others, masks among them, are held by the CPU: TensorFlow would
write into a copy else, and say nothing."""


@dataclass
class GoldenUse:
    """How often a golden block was asked for.

    Args:
        hits: It was in place.
        computed: It had to be computed.
    """

    hits: int = 0
    computed: int = 0


class GoldenBlock:
    """The golden frontier of a cut, and what else a route reads, for a block of samples.

    The frontier is computed in the same way whatever is needed beside it, because bits of it are
    flipped. What lies behind the cut is computed from it.

    Args:
        graph: The model.
        dataset: Inputs and labels.
        cut: The cut.
        extra: Tensors behind the cut.
        batch: Samples in a batch behind the cut.
        memory: Bytes that all of them may take.
    """

    def __init__(
        self,
        graph: Graph,
        dataset: Dataset,
        cut: Cut,
        extra: Sequence[GoldenKey] = (),
        *,
        batch: int,
        memory: int,
    ) -> None:
        self.keys = (*cut.frontier, *extra)
        self.start: int | None = None
        self.tensors: tuple[Any, ...] = ()
        self._graph = graph
        self._dataset = dataset
        self._cut = cut
        self._extra = tuple(extra)
        self._prefix_batch = batch_size(graph, cut.prefix)
        self._suffix_batch = batch
        self._rows = room_batch(graph, cut, batch if extra else 1)
        self.samples = self._samples(memory)
        self._prefix: Any = None
        self._suffix: Any = None

    @property
    def loaded(self) -> int:
        """Samples that are loaded."""
        return 0 if self.start is None else min(self.samples, len(self._dataset) - self.start)

    @property
    def row_bytes(self) -> int:
        """Bytes of all tensors for one sample."""
        return sum(self._graph.row_bytes(tensor_of(self._graph, key)) for key in self.keys)

    @property
    def held_bytes(self) -> int:
        """Bytes that are on the device now."""
        return self.needed_bytes if self.tensors else 0

    @property
    def needed_bytes(self) -> int:
        """Bytes of all tensors of a block."""
        return self._room * self.row_bytes

    def signature(self) -> tuple[tf.TensorSpec, ...]:
        """Return shapes and dtypes of the tensors: how compiled functions take them."""
        return tuple(
            tf.TensorSpec((self._room, *self._shape(key)), self._dtype(key)) for key in self.keys
        )

    def release(self) -> None:
        """Give the memory back."""
        self.start, self.tensors = None, ()

    def load(self, start: int) -> None:
        """Compute the tensors of the block that begins at sample ``start``."""
        if self.start == start:
            return
        self.start = None  # until all of it is there
        if not self.tensors:
            self.tensors = tuple(_uninitialised(spec) for spec in self.signature())
        if self._prefix is None:
            self._compile()
        frontier = self.tensors[: len(self._cut.frontier)]
        stop = min(start + self.samples, len(self._dataset))

        def run_prefix(first: int) -> Any:
            last = min(first + self._prefix_batch, stop)
            rows = [array[first:last] for array in self._dataset.input_arrays]
            return self._prefix(*(tf.constant(padded(one, self._prefix_batch)) for one in rows))

        def run_suffix(first: int) -> Any:
            return self._suffix(frontier, tf.constant(first, tf.int32))

        firsts = range(start, stop, self._prefix_batch)
        for first, rows in zip(firsts, side_by_side(run_prefix, firsts), strict=True):
            write_rows(frontier, first - start, rows)
        if self._extra:
            firsts = range(0, stop - start, self._suffix_batch)
            for first, rows in zip(firsts, side_by_side(run_suffix, firsts), strict=True):
                write_rows(self.tensors[len(frontier) :], first, rows)
        self.start = start

    def _compile(self) -> None:
        prefix = tf.function(self._run_prefix, autograph=False)
        self._prefix = prefix.get_concrete_function(*self._graph.signature(self._prefix_batch))
        if self._extra:
            frontier = self.signature()[: len(self._cut.frontier)]
            suffix = tf.function(self._run_suffix, autograph=False)
            self._suffix = suffix.get_concrete_function(frontier, tf.TensorSpec((), tf.int32))

    def _run_prefix(self, *inputs: Any) -> tuple[Any, ...]:
        values = self._graph.run(self._cut.prefix, self._graph.feed(inputs))
        for key in self._cut.frontier:
            if values[key].dtype.name != self._dtype(key):
                raise ModelError(
                    f"the layer {self._graph.made_by(key).layer!r} announces {self._dtype(key)} "
                    f"values and computes {values[key].dtype.name}",
                    hint="give it dtype=, or a compute_output_spec that says what it computes",
                )
        return tuple(values[key] for key in self._cut.frontier)

    def _run_suffix(self, frontier: Any, first: Any) -> tuple[Any, ...]:
        rows = first + tf.range(self._suffix_batch, dtype=tf.int32)
        keys_and_tensors = zip(self._cut.frontier, frontier, strict=True)
        values = {key: tf.gather(tensor, rows) for key, tensor in keys_and_tensors}
        needed = [
            self._graph.step(key.layer).inputs[0] if isinstance(key, Sums) else key
            for key in self._extra
        ]
        steps = set(self._graph.cutter.ancestors(needed))
        values = self._graph.run([step for step in self._cut.suffix if step in steps], values)
        return tuple(golden_of(self._graph, key, values) for key in self._extra)

    def _shape(self, key: GoldenKey) -> tuple[int, ...]:
        return self._graph.shape(tensor_of(self._graph, key))

    def _dtype(self, key: GoldenKey) -> str:
        return self._graph.dtypes[tensor_of(self._graph, key)]

    def _samples(self, memory: int) -> int:
        """Return how many samples' tensors fit into ``memory``, in whole batches."""
        fitting = memory // self.row_bytes // self._rows * self._rows
        return int(min(len(self._dataset), max(fitting, self._rows)))

    @property
    def _room(self) -> int:
        return padded_count(self.samples, self._rows)


def golden_of(graph: Graph, key: GoldenKey, values: Values) -> Any:
    """Return a golden tensor, computed of those of the model where it is none of them."""
    if not isinstance(key, Sums):
        return values[key]
    step = graph.step(key.layer)
    return sums(step.operation, values[step.inputs[0]])


def room_batch(graph: Graph, cut: Cut, batch: int) -> int:
    """Return the batch that a block has room for a whole number of.

    Args:
        graph: The model.
        cut: The cut.
        batch: Samples in a batch behind the cut.
    """
    return max(batch, batch_size(graph, cut.prefix))  # a multiple of the other


def write_rows(tensors: Sequence[Any], first: int, rows: Sequence[Any]) -> None:
    """Write ``rows`` into ``tensors`` from row ``first`` on, in place."""
    for tensor, values in zip(tensors, rows, strict=True):
        with tf.device(_device(tensor.dtype)):
            index = tf.range(first, first + values.shape[0], dtype=tf.int32)
            tf.raw_ops.InplaceUpdate(x=tensor, i=index, v=values)


def _uninitialised(spec: tf.TensorSpec) -> Any:
    # tf.zeros would be written once before it is written; at a gigabyte both are seconds.
    with tf.device(_device(spec.dtype)):
        return tf.raw_ops.Empty(shape=tuple(spec.shape), dtype=spec.dtype)


def _device(dtype: tf.DType) -> str | None:
    """Return where tensors of a dtype are held; None is where TensorFlow puts them."""
    return None if dtype.name in ON_ANY_DEVICE else "CPU"
