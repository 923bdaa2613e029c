"""The cut of a model at one layer, compiled: golden data on the device, flips, suffix, judgement.

One compiled function gathers golden rows, flips a bit of each by bitcast, XOR and scatter, runs
the suffix and judges the outputs. Only outcome codes and classes come back.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2 import bits
from injecttf2.batches import batch_size, batches, padded
from injecttf2.datasets import Dataset
from injecttf2.errors import EngineError, ModelError
from injecttf2.golden import GoldenRun
from injecttf2.graph import Graph, Values
from injecttf2.outcomes import BENIGN, equal_up_to_rounding, judge

PackedSites = npt.NDArray[np.int64]
"""int64 [3, sites]: row in the golden block, element, XOR mask as a 64-bit pattern."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What became of injected samples.

    Args:
        outcome: uint8 [sites], codes of ``outcomes.OUTCOMES``.
        faulty_class: int32 [sites], -1 where the outcome is ``due``.
        original: [sites] in the layer's dtype, the values that the bits were flipped in.
    """

    outcome: npt.NDArray[np.uint8]
    faulty_class: npt.NDArray[np.int32]
    original: npt.NDArray[Any]


class InjectedLayer:
    """One layer of a model, ready for injection into its outputs.

    The golden frontier lives on the device for one block of samples at a time, as large a block
    as ``memory`` allows; where the whole data set fits, it is computed once.

    Args:
        graph: The model.
        layer: Address of the layer.
        dataset: Inputs and labels.
        golden: The model's golden run on that data set.
        memory: Bytes that the golden block may take.

    Raises:
        ModelError: The layer cannot be injected; the message says why.
    """

    def __init__(
        self, graph: Graph, layer: str, *, dataset: Dataset, golden: GoldenRun, memory: int
    ) -> None:
        self.layer = layer
        self.info = graph.layers[graph.step(layer).index]
        if self.info.reason is not None:
            raise ModelError(f"the layer {layer!r} cannot be injected: {self.info.reason}")
        self._graph = graph
        self._cut = graph.cut(layer)
        self._dataset = dataset
        self._golden = golden
        self._target = self._cut.frontier[0]
        self._prefix_batch = batch_size(graph, self._cut.prefix)
        self.batch = batch_size(graph, [graph.step(layer), *self._cut.suffix])
        self.block = self._block_size(memory)
        self._loaded: int | None = None
        self._buffers: tuple[Any, ...] = ()
        self._golden_outputs: Any = None
        self._compiled: dict[str, Any] = {}

    @property
    def elements(self) -> int:
        """Elements in the layer's output of one sample."""
        elements = self.info.elements
        assert elements is not None  # noqa: S101 - a graph with data has no open shapes
        return elements

    @property
    def row_bytes(self) -> int:
        """Bytes of the golden frontier for one sample."""
        return sum(self._graph.row_bytes(key) for key in self._cut.frontier)

    @property
    def held_bytes(self) -> int:
        """Bytes of golden data that are on the device now."""
        return self.block * self.row_bytes if self._buffers else 0

    def release(self) -> None:
        """Give the golden data back; it is computed again when it is needed."""
        self._loaded, self._buffers, self._golden_outputs = None, (), None
        self._compiled.clear()
        gc.collect()  # traced functions hold the variables they capture in reference cycles

    def load(self, start: int) -> None:
        """Put the golden frontier and outputs of the block that begins at ``start`` in place.

        Raises:
            EngineError: The suffix does not reproduce the golden outputs from the frontier.
        """
        if self._loaded == start:
            return
        if not self._buffers:
            self._allocate()
        stop = min(start + self.block, len(self._dataset))
        self._fill_frontier(start, stop)
        self._fill_outputs(start, stop)
        self._loaded = start

    def inject(self, packed: PackedSites, *, record: bool = False) -> Judged:
        """Inject one site into each of some golden rows, run the suffix and judge.

        Args:
            packed: int64 [3, sites], rows counted from the start of the loaded block.
            record: Whether to return the original values; they are empty otherwise.
        """
        sites = packed.shape[1]
        function = self._function("record" if record else "inject")
        results = [[part.numpy() for part in function(batch)] for batch in self._batched(packed)]
        outcome, faulty_class, *original = (
            np.concatenate(parts)[:sites] for parts in zip(*results, strict=True)
        )
        return Judged(outcome, faulty_class, original[0] if original else np.empty(0))

    def outputs(self, packed: PackedSites) -> npt.NDArray[Any]:
        """Inject as :meth:`inject` does, and return the model's outputs [sites, classes]."""
        sites = packed.shape[1]
        function = self._function("corrupted")
        return np.concatenate([function(batch).numpy() for batch in self._batched(packed)])[:sites]

    def _batched(self, packed: PackedSites) -> Iterator[Any]:
        """Yield the sites in batches of the fixed shape; what fills the last flips no bit."""
        for start, stop in batches(packed.shape[1], self.batch):
            batch = packed[:, start:stop]
            if stop - start < self.batch:
                batch = np.pad(batch, ((0, 0), (0, self.batch - (stop - start))))
            yield tf.constant(batch)

    def _block_size(self, memory: int) -> int:
        """Return how many samples' golden data fit into ``memory``, in whole batches."""
        samples = len(self._dataset)
        fitting = memory // self.row_bytes // self._prefix_batch * self._prefix_batch
        return int(min(samples, max(fitting, self._prefix_batch)))

    def _allocate(self) -> None:
        graph = self._graph
        self._buffers = tuple(
            _buffer(self.block, self._prefix_batch, graph.shapes[key], graph.dtypes[key])
            for key in self._cut.frontier
        )
        key = id(graph.output)
        self._golden_outputs = _buffer(self.block, self.batch, graph.shapes[key], graph.dtypes[key])

    def _fill_frontier(self, start: int, stop: int) -> None:
        """Compute the golden frontier of the samples from ``start`` to ``stop``."""
        prefix = self._function("prefix")
        for first, last in batches(stop - start, self._prefix_batch):
            inputs = self._dataset.inputs[start + first : start + last]
            prefix(tf.constant(padded(inputs, self._prefix_batch)), tf.constant(first, tf.int64))

    def _fill_outputs(self, start: int, stop: int) -> None:
        """Compute the block's golden outputs by the suffix, and check them against the model's."""
        suffix = self._function("outputs")
        for first, last in batches(stop - start, self.batch):
            expected = padded(self._golden.outputs[start + first : start + last], self.batch)
            right = suffix(tf.constant(first, tf.int64), tf.constant(expected)).numpy()
            wrong = np.count_nonzero(~right[: last - first])
            if wrong:
                raise EngineError(
                    f"the part of the model behind {self.layer!r} does not reproduce the golden "
                    f"outputs of {wrong} of {last - first} samples from the layer's golden "
                    "output, so the model cannot be cut there"
                )

    def _function(self, name: str) -> Any:
        """Return one of the compiled functions, tracing it when it is first asked for."""
        if name not in self._compiled:
            graph = self._graph
            sites = tf.TensorSpec((3, self.batch), tf.int64)
            first = tf.TensorSpec((), tf.int64)
            inputs_shape = (self._prefix_batch, *self._dataset.inputs.shape[1:])
            outputs_shape = (self.batch, *graph.shapes[id(graph.output)])
            inputs = tf.TensorSpec(inputs_shape, graph.input.dtype)
            outputs = tf.TensorSpec(outputs_shape, graph.output.dtype)
            body, signature = {
                "prefix": (self._prefix, (inputs, first)),
                "outputs": (self._outputs, (first, outputs)),
                "inject": (self._inject, (sites,)),
                "record": (self._inject_and_record, (sites,)),
                "corrupted": (self._corrupted_outputs, (sites,)),
            }[name]
            function = tf.function(body, autograph=False)
            self._compiled[name] = function.get_concrete_function(*signature)
        return self._compiled[name]

    def _prefix(self, inputs: Any, first: Any) -> None:
        values = self._graph.run(self._cut.prefix, {id(self._graph.input): inputs})
        for key, buffer in zip(self._cut.frontier, self._buffers, strict=True):
            _write(buffer, first, values[key])

    def _outputs(self, first: Any, expected: Any) -> Any:
        rows = tf.minimum(first + tf.range(self.batch, dtype=tf.int64), self.block - 1)
        outputs = self._suffix(self._gather(rows))
        _write(self._golden_outputs, first, outputs)
        outcome, _ = judge(outputs, expected)
        # At a tie the class may differ by rounding alone, as low precision may within the class.
        return (outcome <= BENIGN) | equal_up_to_rounding(outputs, expected)

    def _suffix(self, values: Values) -> Any:
        return self._graph.run(self._cut.suffix, values)[id(self._graph.output)]

    def _gather(self, rows: Any) -> Values:
        keys_and_buffers = zip(self._cut.frontier, self._buffers, strict=True)
        return {key: tf.gather(buffer, rows) for key, buffer in keys_and_buffers}

    def _inject(self, packed: Any) -> tuple[Any, Any]:
        return self._inject_and_record(packed)[:2]

    def _inject_and_record(self, packed: Any) -> tuple[Any, Any, Any]:
        outputs, original = self._flip_and_run(packed)
        golden = tf.gather(self._golden_outputs, packed[0])
        return *judge(outputs, golden), original

    def _corrupted_outputs(self, packed: Any) -> Any:
        return self._flip_and_run(packed)[0]

    def _flip_and_run(self, packed: Any) -> tuple[Any, Any]:
        """Return the outputs with faults and the values that were hit."""
        rows, elements, patterns = tf.unstack(packed)
        values = self._gather(rows)
        values[self._target], original = flip_elements(values[self._target], elements, patterns)
        return self._suffix(values), original


def flip_elements(tensor: Any, elements: Any, patterns: Any) -> tuple[Any, Any]:
    """Flip bits of one element of each row, on the device and in place.

    Args:
        tensor: Floating-point [rows, ...], fresh from a gather; nothing else may use it.
        elements: int64 [rows], indices into each row flattened in row-major order.
        patterns: int64 [rows], XOR masks as 64-bit patterns; only a word's bits are set.

    Returns:
        The tensor with the flips, and the elements' original values [rows].
    """
    word = tf.as_dtype(bits.LAYOUTS[tensor.dtype.name].word)
    masks = tf.cast(tf.bitcast(patterns, tf.uint64), word)
    rows, size = tensor.shape[0], tensor.shape.num_elements()
    flat = tf.reshape(tensor, (size, 1))
    place = tf.cast(tf.range(rows, dtype=tf.int64) * (size // rows) + elements, tf.int32)
    original = tf.gather(flat, place)
    flipped = tf.bitcast(
        tf.bitwise.bitwise_xor(tf.bitcast(original, word), masks[:, tf.newaxis]), tensor.dtype
    )
    # tf.tensor_scatter_nd_update would copy the batch, which takes as long as gathering it.
    result = tf.raw_ops.InplaceUpdate(x=flat, i=place, v=flipped)
    return tf.reshape(result, tensor.shape), original[:, 0]


def _buffer(rows: int, batch: int, shape: tuple[int | None, ...], dtype: str) -> Any:
    """Return an uninitialised variable with room for ``rows`` rows in whole batches."""
    room = -(-rows // batch) * batch
    # tf.zeros would be written once and then copied; at a gigabyte both are seconds.
    return tf.Variable(tf.raw_ops.Empty(shape=(room, *shape), dtype=tf.as_dtype(dtype)))


def _write(buffer: Any, first: Any, rows: Any) -> None:
    """Write ``rows`` into ``buffer`` from row ``first`` on, in place."""
    index = first + tf.range(rows.shape[0], dtype=tf.int64)
    tf.raw_ops.ResourceScatterUpdate(resource=buffer.handle, indices=index, updates=rows)
