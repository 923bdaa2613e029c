"""Golden tensors of a block of samples, on the device.

The golden data of a cut live on the device for one block of samples at a time, as large a block as
the memory allows; where the whole data set fits, they are computed once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from injecttf2 import bits
from injecttf2.batches import batch_size, batches, padded
from injecttf2.datasets import Dataset
from injecttf2.graph import Graph
from injecttf2.rules.linear import sums
from injecttf2.windows import GoldenKey, Sums, tensor_of


class GoldenBlock:
    """Some golden tensors for a block of samples.

    Args:
        graph: The model.
        dataset: Inputs and labels.
        keys: The tensors.
        memory: Bytes that they may take.
    """

    def __init__(
        self, graph: Graph, dataset: Dataset, keys: Sequence[GoldenKey], *, memory: int
    ) -> None:
        self.keys = tuple(keys)
        self._graph = graph
        self._dataset = dataset
        needed = [graph.step(key.layer).inputs[0] if isinstance(key, Sums) else key for key in keys]
        self._steps = graph.ancestors(needed)
        self._batch = batch_size(graph, self._steps)
        self.samples = self._samples(memory)
        self.start: int | None = None
        self.tensors: tuple[Any, ...] = ()
        self._compute: Any = None

    @property
    def row_bytes(self) -> int:
        """Bytes of all tensors for one sample."""
        return sum(
            math.prod(self._shape(key)) * bits.numpy_dtype(self._dtype(key)).itemsize
            for key in self.keys
        )

    @property
    def held_bytes(self) -> int:
        """Bytes that are on the device now."""
        return self.samples * self.row_bytes if self.tensors else 0

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
        if not self.tensors:
            self.tensors = tuple(_uninitialised(spec) for spec in self.signature())
        if self._compute is None:
            shape = (self._batch, *self._dataset.inputs.shape[1:])
            signature = tf.TensorSpec(shape, self._graph.input.dtype)
            function = tf.function(self._golden, autograph=False)
            self._compute = function.get_concrete_function(signature)
        stop = min(start + self.samples, len(self._dataset))
        for first, last in batches(stop - start, self._batch):
            inputs = padded(self._dataset.inputs[start + first : start + last], self._batch)
            write_rows(self.tensors, first, self._compute(tf.constant(inputs)))
        self.start = start

    def _golden(self, inputs: Any) -> tuple[Any, ...]:
        values = self._graph.run(self._steps, {id(self._graph.input): inputs})
        tensors = []
        for key in self.keys:
            if isinstance(key, Sums):
                step = self._graph.step(key.layer)
                tensors.append(sums(step.operation, values[step.inputs[0]]))
            else:
                tensors.append(values[key])
        return tuple(tensors)

    def _shape(self, key: GoldenKey) -> tuple[int, ...]:
        return self._graph.shape(tensor_of(self._graph, key))

    def _dtype(self, key: GoldenKey) -> str:
        return self._graph.dtypes[tensor_of(self._graph, key)]

    def _samples(self, memory: int) -> int:
        """Return how many samples' tensors fit into ``memory``, in whole batches."""
        fitting = memory // self.row_bytes // self._batch * self._batch
        return int(min(len(self._dataset), max(fitting, self._batch)))

    @property
    def _room(self) -> int:
        return -(-self.samples // self._batch) * self._batch


def write_rows(tensors: Sequence[Any], first: int, rows: Sequence[Any]) -> None:
    """Write ``rows`` into ``tensors`` from row ``first`` on, in place."""
    for tensor, values in zip(tensors, rows, strict=True):
        index = tf.range(first, first + values.shape[0], dtype=tf.int32)
        tf.raw_ops.InplaceUpdate(x=tensor, i=index, v=values)


def _uninitialised(spec: tf.TensorSpec) -> Any:
    # tf.zeros would be written once before it is written; at a gigabyte both are seconds.
    return tf.raw_ops.Empty(shape=tuple(spec.shape), dtype=spec.dtype)
