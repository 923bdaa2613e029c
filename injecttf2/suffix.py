"""Level ``dense``: every injected sample goes through all steps behind the cut.

This defines what a row holds. The batch shape follows from the model alone, and the compiled
functions are plain graphs, so that any two executions round alike; faster levels hand over to it
whatever rounding could decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from injecttf2 import bits
from injecttf2.batches import batch_size, batches, padded, padded_count
from injecttf2.block import GoldenBlock, write_rows
from injecttf2.errors import EngineError
from injecttf2.graph import Graph, Values
from injecttf2.outcomes import BENIGN, equal_up_to_rounding, judge

PackedSites = npt.NDArray[np.int32]
"""int32 [3, sites]: row in the golden block, element, bit; bit -1 flips nothing."""


class DenseSuffix:
    """The steps behind a cut, compiled at one batch shape.

    Args:
        graph: The model.
        layer: Address of the layer.
    """

    def __init__(self, graph: Graph, layer: str) -> None:
        self.layer = layer
        self.cut = graph.cut(layer)
        self.batch = batch_size(graph, [graph.step(layer), *self.cut.suffix])
        self._graph = graph
        self._compiled: dict[str, Any] = {}

    def forget(self) -> None:
        """Forget the compiled functions: golden blocks will have another shape."""
        self._compiled.clear()

    def golden_outputs(self, block: GoldenBlock, expected: npt.NDArray[Any]) -> Any:
        """Compute the golden outputs of the block that is loaded, [samples or more, classes].

        Args:
            block: Golden tensors, those of the frontier first.
            expected: [samples, classes], the model's own golden outputs.

        Raises:
            EngineError: The steps behind the cut do not reproduce them from the frontier.
        """
        function = self._function("golden", block, (self._scalar, self._outputs_spec))
        room = padded_count(block.samples, self.batch)
        outputs = tf.raw_ops.Empty(
            shape=(room, *expected.shape[1:]), dtype=self._graph.output.dtype
        )
        for first, last in batches(len(expected), self.batch):
            rows = padded(expected[first:last], self.batch)
            computed, right = function(
                self._frontier(block), tf.constant(first, tf.int32), tf.constant(rows)
            )
            wrong = np.count_nonzero(~right.numpy()[: last - first])
            if wrong:
                raise EngineError(
                    f"the part of the model behind {self.layer!r} does not reproduce the golden "
                    f"outputs of {wrong} of {last - first} samples from the layer's golden "
                    "output, so the model cannot be cut there"
                )
            write_rows([outputs], first, [computed])
        return outputs

    def judge(self, block: GoldenBlock, outputs: Any, sites: PackedSites) -> tuple[Any, Any, Any]:
        """Inject sites, run the suffix and judge.

        Args:
            block: Golden tensors, those of the frontier first.
            outputs: What :meth:`golden_outputs` returned.
            sites: What to inject.

        Returns:
            Outcome codes uint8 [sites], classes int32 [sites], and how far the outputs are from
            golden, float [sites], relative to the largest golden magnitude.
        """
        golden_spec = tf.TensorSpec(outputs.shape, outputs.dtype)
        function = self._function("judge", block, (golden_spec, self._sites_spec))
        judged = [
            function(self._frontier(block), outputs, batch) for batch in batched(sites, self.batch)
        ]
        columns = (
            np.concatenate([part.numpy() for part in parts]) for parts in zip(*judged, strict=True)
        )
        code, faulty_class, distance = (column[: sites.shape[1]] for column in columns)
        return code, faulty_class, distance

    def outputs(self, block: GoldenBlock, sites: PackedSites) -> npt.NDArray[Any]:
        """Inject sites and return the model's outputs [sites, classes]."""
        function = self._function("faulty", block, (self._sites_spec,))
        parts = [
            function(self._frontier(block), batch).numpy() for batch in batched(sites, self.batch)
        ]
        faulty: npt.NDArray[Any] = np.concatenate(parts)[: sites.shape[1]]
        return faulty

    def originals(self, block: GoldenBlock, sites: PackedSites) -> npt.NDArray[Any]:
        """Return the golden values at sites, [sites] in the layer's dtype."""
        rows, elements, _ = sites
        target = block.tensors[0]
        index = rows.astype(np.int64) * (target.shape.num_elements() // target.shape[0]) + elements
        originals: npt.NDArray[Any] = tf.gather(tf.reshape(target, (-1,)), index).numpy()
        return originals

    def _frontier(self, block: GoldenBlock) -> tuple[Any, ...]:
        return block.tensors[: len(self.cut.frontier)]

    @property
    def _scalar(self) -> tf.TensorSpec:
        return tf.TensorSpec((), tf.int32)

    @property
    def _sites_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec((3, self.batch), tf.int32)

    @property
    def _outputs_spec(self) -> tf.TensorSpec:
        output = self._graph.output
        return tf.TensorSpec((self.batch, *self._graph.shape(id(output))), output.dtype)

    def _function(
        self, name: str, block: GoldenBlock, signature: tuple[tf.TensorSpec, ...]
    ) -> Callable[..., Any]:
        """Return one of the compiled functions, tracing it when it is first asked for."""
        if name not in self._compiled:
            body = {"golden": self._golden, "judge": self._judge, "faulty": self._faulty}[name]
            frontier = block.signature()[: len(self.cut.frontier)]
            function = tf.function(body, autograph=False)
            self._compiled[name] = function.get_concrete_function(frontier, *signature)
        compiled: Callable[..., Any] = self._compiled[name]
        return compiled

    def _golden(self, frontier: Any, first: Any, expected: Any) -> tuple[Any, Any]:
        rows = tf.minimum(first + tf.range(self.batch, dtype=tf.int32), frontier[0].shape[0] - 1)
        outputs = self._run(self._gather(frontier, rows))
        code, _, _ = judge(outputs, expected)
        # At a tie the class may differ by rounding alone, as low precision may within the class.
        return outputs, (code <= BENIGN) | equal_up_to_rounding(outputs, expected)

    def _judge(self, frontier: Any, golden: Any, sites: Any) -> tuple[Any, Any, Any]:
        return judge(self._faulty(frontier, sites), tf.gather(golden, sites[0]))

    def _faulty(self, frontier: Any, sites: Any) -> Any:
        rows, elements, bit = tf.unstack(sites)
        values = self._gather(frontier, rows)
        target = self.cut.frontier[0]
        values[target] = flip_elements(values[target], elements, bit)
        return self._run(values)

    def _gather(self, frontier: Any, rows: Any) -> Values:
        keys_and_tensors = zip(self.cut.frontier, frontier, strict=True)
        return {key: tf.gather(tensor, rows) for key, tensor in keys_and_tensors}

    def _run(self, values: Values) -> Any:
        return self._graph.run(self.cut.suffix, values)[id(self._graph.output)]


def batched(sites: PackedSites, size: int) -> Iterator[Any]:
    """Yield sites in batches of a fixed shape; what fills the last flips no bit."""
    for start, stop in batches(sites.shape[1], size):
        batch = sites[:, start:stop]
        if stop - start < size:
            filling = np.repeat(np.array([[0], [0], [-1]], np.int32), size - stop + start, axis=1)
            batch = np.concatenate([batch, filling], axis=1)
        yield tf.constant(batch)


def flipped(values: Any, bit: Any) -> Any:
    """Flip one bit of each value, on the device.

    Args:
        values: Floating-point, any shape.
        bit: int32, broadcasts against ``values``; -1 flips nothing.
    """
    word = tf.as_dtype(bits.LAYOUTS[values.dtype.name].word)
    ones = tf.cast(bit >= 0, word)
    masks = tf.bitwise.left_shift(ones, tf.cast(tf.maximum(bit, 0), word))
    return tf.bitcast(tf.bitwise.bitwise_xor(tf.bitcast(values, word), masks), values.dtype)


def flip_elements(tensor: Any, elements: Any, bit: Any) -> Any:
    """Flip a bit of one element of each row, on the device and in place.

    Args:
        tensor: Floating-point [rows, ...], fresh from a gather; nothing else may use it.
        elements: int32 [rows], indices into each row flattened in row-major order.
        bit: int32 [rows]; -1 flips nothing.

    Returns:
        The tensor with the flips.
    """
    rows, size = tensor.shape[0], tensor.shape.num_elements()
    flat = tf.reshape(tensor, (size, 1))
    place = tf.range(rows, dtype=tf.int32) * (size // rows) + elements
    corrupted = flipped(tf.gather(flat, place), bit[:, tf.newaxis])
    # tf.tensor_scatter_nd_update would copy the batch, which takes as long as gathering it.
    result = tf.raw_ops.InplaceUpdate(x=flat, i=place, v=corrupted)
    return tf.reshape(result, tensor.shape)
